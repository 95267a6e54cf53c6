// What goes to Qdrant and comes from it, as text: names of points, the body of an upsert, answers
// taken apart. Internal to the adapter. Pure; any thread. Bytes from outside are checked: Corrupt.
#pragma once

#include <array>
#include <boost/json.hpp>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/result.h"
#include "index/analysis.h"
#include "index/point_rules.h"

namespace px::index::qdrant {

namespace json = boost::json;

/// Payload fields. "released_at" and "retired_at" belong to chunks alone.
inline constexpr std::string_view kKind = "kind";
inline constexpr std::string_view kChunk = "chunk";
inline constexpr std::string_view kManifest = "manifest";
inline constexpr std::string_view kDirectory = "directory";
inline constexpr std::string_view kReleasedAt = "released_at";
inline constexpr std::string_view kRetiredAt = "retired_at";
inline constexpr std::string_view kGeneration = "generation";
/// Groups that may read a chunk; absent: everybody.
inline constexpr std::string_view kAcl = "acl";
/// Named vectors.
inline constexpr std::string_view kDense = "dense";
inline constexpr std::string_view kWords = "words";
inline constexpr std::string_view kPairs = "pairs";

using Uuid = std::array<uint8_t, 16>;
struct UuidHash {
    size_t operator()(const Uuid& id) const;
};
/// RFC 9562, version 5, in a namespace of px.
Uuid make_uuid(std::string_view name);
std::string format_uuid(const Uuid& id);
/// 8-4-4-4-12 lower-case hexadecimal digits.
std::optional<Uuid> parse_uuid(std::string_view text);
Uuid chunk_uuid(const RawId& chunk, int64_t generation);
Uuid manifest_uuid(std::string_view manifest);
Uuid directory_uuid(int64_t generation, size_t part);

/// The number of a term, or of two neighbouring terms, in a sparse vector.
uint32_t term_number(std::string_view term);
uint32_t pair_number(std::string_view first, std::string_view second);

/// How often each number stands in a point, ascending.
using Counts = std::vector<std::pair<uint32_t, uint32_t>>;
/// The lexical side of a point: title, author and text, analysed as docs/formats/segment.md says.
struct Lexicon {
    Counts words, pairs;
    uint32_t length = 0;  ///< terms, repeats included
};
class LexiconMaker {
  public:
    Lexicon make(const Point& point);

  private:
    Analyzer analyzer_;
    std::vector<std::string> terms_;
    std::vector<uint32_t> words_, pairs_;
};

/// Half a SHA-256 over all that is kept of a point.
using Digest = std::array<uint8_t, 16>;
Digest digest_of(const Point& point);

/// Appends a point of an upsert: {"id":…,"vector":{…},"payload":{…}}.
void append_point(std::string& out, const Point& point, const Lexicon& lexicon, const Uuid& id,
                  int64_t generation);

/// First and last generation, both inclusive, ascending and apart.
using Chain = std::vector<std::pair<int64_t, int64_t>>;
void append_generation(Chain& chain, int64_t generation);
/// Points a release shows: released in one of its generations, retired in none.
json::object visible_filter(const Chain& chain);
/// The same within a user's filter.
json::object visible_filter(const Chain& chain, const FoldedFilter& folded);
/// Narrows a filter to points that somebody of these groups may read: those that name one of them
/// or everybody, and those that name nobody at all.
void narrow_filter(json::object& filter, const std::vector<std::string>& groups,
                   const std::vector<std::string>& open_sources);

/// The "result" of a 2xx answer. Errors: Corrupt.
Result<json::value> parse_result(std::string_view body);
/// What the server says is wrong: its status.error, or a plain text; at most 300 characters, one
/// line.
std::string parse_error(std::string_view body);

struct Hit {
    Uuid id{};
    float score = 0;
};
/// One list for each search of a batch. Errors: Corrupt.
Result<std::vector<std::vector<Hit>>> parse_hits(const json::value& result, size_t searches);

struct Record {
    Uuid id{};
    const json::object* payload = nullptr;  ///< in the result
    const json::value* vector = nullptr;
};
/// Points of a retrieve (an array) or of a page of a scroll (an object). Errors: Corrupt.
Result<std::vector<Record>> parse_records(const json::value& result);
/// "next_page_offset" of a scroll; null at its end.
const json::value* next_page(const json::value& result);
/// width finite numbers. Errors: Corrupt.
Result<void> read_vector(const Record& record, size_t width, float* out);
/// Without its vector. Errors: Corrupt.
Result<Point> read_point(const Record& record);

/// The generations that retired a point: none, a number or a list. Errors: Corrupt.
Result<std::vector<int64_t>> read_retired(const Record& record);
/// The other way round; numbers: at least one.
json::value retired_value(const std::vector<int64_t>& numbers);

/// Members of an object. Errors: Corrupt, naming the member.
Result<int64_t> read_integer(const json::object& object, std::string_view name);
Result<std::string_view> read_text(const json::object& object, std::string_view name);
Result<const json::array*> read_array(const json::object& object, std::string_view name);

}  // namespace px::index::qdrant
