#include "index/qdrant/qdrant_wire.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <cstring>

#include "base/sha256.h"
#include "base/utf8.h"
#include "capi/curl/digest.h"
#include "index/analysis.h"
#include "index/ranking.h"

namespace px::index::qdrant {

namespace {

// Made once at random; part of the format.
constexpr Uuid kNamespace{0x5d, 0x0c, 0x1e, 0x7a, 0x9b, 0x42, 0x4f, 0x35,
                          0x8a, 0x61, 0x2f, 0xd3, 0x70, 0xc4, 0x16, 0xe9};
constexpr size_t kErrorCharactersMax = 300;

Error corrupt(std::string what) {
    return fail(ErrorCode::Corrupt, "Qdrant's answer " + std::move(what),
                "Check that the address leads to a Qdrant server, and its version.");
}

void append_json(std::string& out, std::string_view text) { out += json::serialize(text); }

void append_counts(std::string& out, const Counts& counts) {
    out += "{\"indices\":[";
    for (size_t i = 0; i < counts.size(); ++i)
        fmt::format_to(std::back_inserter(out), "{}{}", i == 0 ? "" : ",", counts[i].first);
    out += "],\"values\":[";
    for (size_t i = 0; i < counts.size(); ++i)
        fmt::format_to(std::back_inserter(out), "{}{}", i == 0 ? "" : ",", counts[i].second);
    out += "]}";
}

Counts counted(std::vector<uint32_t>& numbers) {
    std::sort(numbers.begin(), numbers.end());
    Counts counts;
    for (const uint32_t number : numbers) {
        if (counts.empty() || counts.back().first != number) {
            counts.emplace_back(number, 1);
        } else {
            ++counts.back().second;
        }
    }
    return counts;
}

/// FNV-1a of 64 bits, then the finalizer of MurmurHash3: all 64 bits decide the number.
class Number {
  public:
    void add(std::string_view bytes) {
        for (const char c : bytes) {
            state_ ^= static_cast<unsigned char>(c);
            state_ *= 0x100000001B3ULL;
        }
    }
    uint32_t value() const {
        uint64_t x = state_;
        x ^= x >> 33;
        x *= 0xFF51AFD7ED558CCDULL;
        x ^= x >> 33;
        x *= 0xC4CEB9FE1A85EC53ULL;
        return static_cast<uint32_t>(x >> 32);
    }

  private:
    uint64_t state_ = 0xCBF29CE484222325ULL;
};

json::object range_of(std::string_view key, int64_t first, int64_t last) {
    return {{"key", key}, {"range", json::object{{"gte", first}, {"lte", last}}}};
}

json::object any_of(std::string_view key, const std::vector<std::string>& values) {
    return {{"key", key},
            {"match", json::object{{"any", json::array(values.begin(), values.end())}}}};
}

Result<float> read_float(const json::value& value, std::string_view what) {
    double number = 0;
    if (value.is_double()) {
        number = value.get_double();
    } else if (value.is_int64()) {
        number = static_cast<double>(value.get_int64());
    } else {
        return corrupt(fmt::format("has a {} that is no number", what));
    }
    const auto narrow = static_cast<float>(number);
    if (!std::isfinite(narrow)) return corrupt(fmt::format("has a {} out of range", what));
    return narrow;
}

Result<Uuid> read_id(const json::object& object) {
    const auto id = parse_uuid(PX_TRY(read_text(object, "id")));
    if (!id) return corrupt("has the id of a point that is no UUID: other points than px's");
    return *id;
}

}  // namespace

size_t UuidHash::operator()(const Uuid& id) const {
    uint64_t half = 0;  // of a SHA-1: any part will do
    std::memcpy(&half, id.data(), sizeof half);
    return half;
}

Uuid make_uuid(std::string_view name) {
    std::string text(reinterpret_cast<const char*>(kNamespace.data()), kNamespace.size());
    text += name;
    const std::string hash = capi::curl::sha1(text);
    Uuid id{};
    std::memcpy(id.data(), hash.data(), id.size());
    id[6] = static_cast<uint8_t>((id[6] & 0x0F) | 0x50);
    id[8] = static_cast<uint8_t>((id[8] & 0x3F) | 0x80);
    return id;
}

std::string format_uuid(const Uuid& id) {
    const std::string hex = format_chunk_id(id);
    return fmt::format("{}-{}-{}-{}-{}", hex.substr(0, 8), hex.substr(8, 4), hex.substr(12, 4),
                       hex.substr(16, 4), hex.substr(20));
}

std::optional<Uuid> parse_uuid(std::string_view text) {
    if (text.size() != 36) return std::nullopt;
    std::array<char, 32> hex{};
    size_t count = 0;
    for (size_t i = 0; i < text.size(); ++i) {
        if (i == 8 || i == 13 || i == 18 || i == 23) {
            if (text[i] != '-') return std::nullopt;
        } else {
            hex[count++] = text[i];
        }
    }
    const auto id = parse_chunk_id({hex.data(), hex.size()});
    if (!id) return std::nullopt;
    return *id;
}

Uuid chunk_uuid(const RawId& chunk, int64_t generation) {
    return make_uuid(fmt::format("chunk/{}/{}", format_chunk_id(chunk), generation));
}
Uuid manifest_uuid(std::string_view manifest) {
    return make_uuid(fmt::format("manifest/{}", manifest));
}
Uuid directory_uuid(int64_t generation, size_t part) {
    return make_uuid(fmt::format("directory/{}/{}", generation, part));
}

uint32_t term_number(std::string_view term) {
    Number number;
    number.add(term);
    return number.value();
}

uint32_t pair_number(std::string_view first, std::string_view second) {
    Number number;
    number.add(first);
    number.add(std::string_view("\0", 1));
    number.add(second);
    return number.value();
}

Lexicon LexiconMaker::make(const Point& point) {
    words_.clear();
    pairs_.clear();
    // The last term of one field and the first of the next are no neighbours.
    for (const std::string* field : {&point.title, &point.author, &point.text}) {
        terms_ = analyzer_.terms(*field);
        for (size_t i = 0; i < terms_.size(); ++i) {
            words_.push_back(term_number(terms_[i]));
            if (i > 0 && makes_phrases(terms_[i - 1]) && makes_phrases(terms_[i]))
                pairs_.push_back(pair_number(terms_[i - 1], terms_[i]));
        }
    }
    Lexicon lexicon;
    lexicon.length = static_cast<uint32_t>(words_.size());
    lexicon.words = counted(words_);
    lexicon.pairs = counted(pairs_);
    return lexicon;
}

Digest digest_of(const Point& point) {
    Sha256 hash;
    const auto number = [&](int64_t value) {
        hash.update({reinterpret_cast<const char*>(&value), sizeof value});
    };
    for (const std::string* text : {&point.document_id, &point.source, &point.ds, &point.title,
                                    &point.author, &point.category, &point.text}) {
        number(static_cast<int64_t>(text->size()));
        hash.update(*text);
    }
    number(point.created_at.value_or(kNoDate));
    number(point.span.start);
    number(point.span.end);
    hash.update(
        {reinterpret_cast<const char*>(point.vector.data()), point.vector.size() * sizeof(float)});
    if (point.acl) {
        number(static_cast<int64_t>(point.acl->size()));
        for (const std::string& group : *point.acl) {
            number(static_cast<int64_t>(group.size()));
            hash.update(group);
        }
    }
    const Sha256Digest whole = hash.finish();
    Digest digest{};
    std::memcpy(digest.data(), whole.data(), digest.size());
    return digest;
}

void append_point(std::string& out, const Point& point, const Lexicon& lexicon, const Uuid& id,
                  int64_t generation) {
    fmt::format_to(std::back_inserter(out), R"({{"id":"{}","vector":{{"dense":[)", format_uuid(id));
    for (size_t i = 0; i < point.vector.size(); ++i)
        fmt::format_to(std::back_inserter(out), "{}{}", i == 0 ? "" : ",", point.vector[i]);
    out += ']';
    if (!lexicon.words.empty()) {
        out += ",\"words\":";
        append_counts(out, lexicon.words);
    }
    if (!lexicon.pairs.empty()) {
        out += ",\"pairs\":";
        append_counts(out, lexicon.pairs);
    }
    fmt::format_to(std::back_inserter(out),
                   R"(}},"payload":{{"kind":"chunk","released_at":{},"chunk_id":"{}")", generation,
                   point.id.value);
    const auto text = [&](std::string_view name, std::string_view value) {
        fmt::format_to(std::back_inserter(out), ",\"{}\":", name);
        append_json(out, value);
    };
    text("document_id", point.document_id);
    text("source", point.source);
    text("ds", point.ds);
    text("title", point.title);
    text("author", point.author);
    text("author_folded", fold_case(point.author));
    text("category", point.category);
    text("category_folded", fold_case(point.category));
    text("text", point.text);
    if (point.created_at)
        fmt::format_to(std::back_inserter(out), ",\"created_at\":{}", *point.created_at);
    if (point.acl) {
        // An empty list would look like none: nobody is in the group without a name.
        out += ",\"acl\":[";
        for (size_t i = 0; i < point.acl->size(); ++i) {
            if (i > 0) out += ',';
            append_json(out, (*point.acl)[i]);
        }
        out += point.acl->empty() ? "\"\"]" : "]";
    }
    fmt::format_to(std::back_inserter(out), ",\"start\":{},\"end\":{}}}}}", point.span.start,
                   point.span.end);
}

void append_generation(Chain& chain, int64_t generation) {
    if (!chain.empty() && chain.back().second + 1 == generation) {
        chain.back().second = generation;
    } else {
        chain.emplace_back(generation, generation);
    }
}

json::object visible_filter(const Chain& chain) {
    json::array released;
    json::array retired;
    for (const auto& [first, last] : chain) {
        released.push_back(range_of(kReleasedAt, first, last));
        retired.push_back(range_of(kRetiredAt, first, last));
    }
    json::array must;
    if (released.size() == 1) {
        must.push_back(std::move(released[0]));
    } else {
        must.push_back(json::object{{"should", std::move(released)}});
    }
    return {{"must", std::move(must)}, {"must_not", std::move(retired)}};
}

json::object visible_filter(const Chain& chain, const FoldedFilter& folded) {
    json::object filter = visible_filter(chain);
    json::array& must = filter["must"].as_array();
    if (!folded.authors.empty()) must.push_back(any_of("author_folded", folded.authors));
    if (!folded.categories.empty()) must.push_back(any_of("category_folded", folded.categories));
    if (!folded.filter.sources.empty()) must.push_back(any_of("source", folded.filter.sources));
    if (folded.filter.document_id)
        must.push_back(any_of("document_id", {*folded.filter.document_id}));
    if (folded.filter.from || folded.filter.to) {
        json::object range;
        if (folded.filter.from) range["gte"] = *folded.filter.from;
        if (folded.filter.to) range["lt"] = *folded.filter.to;
        must.push_back(json::object{{"key", "created_at"}, {"range", std::move(range)}});
    }
    return filter;
}

void narrow_filter(json::object& filter, const std::vector<std::string>& groups,
                   const std::vector<std::string>& open_sources) {
    std::vector<std::string> any = groups;
    any.emplace_back("*");
    json::array should{any_of(kAcl, any), json::object{{"is_empty", json::object{{"key", kAcl}}}}};
    if (!open_sources.empty()) should.push_back(any_of("source", open_sources));
    filter["must"].as_array().push_back(json::object{{"should", std::move(should)}});
}

Result<json::value> parse_result(std::string_view body) {
    json::error_code error;
    json::value value = json::parse({body.data(), body.size()}, error);
    if (error) return corrupt("is no JSON: " + error.message());
    if (!value.is_object() || !value.get_object().contains("result"))
        return corrupt("has no \"result\"");
    return std::move(value.get_object()["result"]);
}

std::string parse_error(std::string_view body) {
    json::error_code error;
    const json::value value = json::parse({body.data(), body.size()}, error);
    std::string text;
    if (error) {
        text = std::string(body.substr(0, kErrorCharactersMax));
    } else if (value.is_object()) {
        const json::value* status = value.get_object().if_contains("status");
        const json::value* words = status != nullptr && status->is_object()
                                       ? status->get_object().if_contains("error")
                                       : nullptr;
        if (words != nullptr && words->is_string())
            text = std::string(words->get_string().subview(0, kErrorCharactersMax));
    }
    text = utf8_sanitize(text);
    for (char& c : text) {
        if (static_cast<unsigned char>(c) < 0x20 || c == 0x7F) c = ' ';
    }
    return text;
}

Result<std::vector<std::vector<Hit>>> parse_hits(const json::value& result, size_t searches) {
    if (!result.is_array() || result.get_array().size() != searches)
        return corrupt("has not one list for each search");
    std::vector<std::vector<Hit>> lists;
    for (const json::value& answer : result.get_array()) {
        if (!answer.is_object()) return corrupt("has a list that is no object");
        const json::array& points = *PX_TRY(read_array(answer.get_object(), "points"));
        std::vector<Hit>& hits = lists.emplace_back();
        hits.reserve(points.size());
        for (const json::value& point : points) {
            if (!point.is_object()) return corrupt("has a point that is no object");
            const json::value* score = point.get_object().if_contains("score");
            if (score == nullptr) return corrupt("has a point without score");
            hits.push_back(
                {PX_TRY(read_id(point.get_object())), PX_TRY(read_float(*score, "score"))});
        }
    }
    return lists;
}

Result<std::vector<Record>> parse_records(const json::value& result) {
    const json::array* points = result.if_array();
    if (points == nullptr) {
        if (!result.is_object()) return corrupt("has no points");
        points = PX_TRY(read_array(result.get_object(), "points"));
    }
    std::vector<Record> records;
    records.reserve(points->size());
    for (const json::value& point : *points) {
        if (!point.is_object()) return corrupt("has a point that is no object");
        Record record;
        record.id = PX_TRY(read_id(point.get_object()));
        const json::value* payload = point.get_object().if_contains("payload");
        if (payload != nullptr && !payload->is_null() && !payload->is_object())
            return corrupt("has a payload that is no object");
        if (payload != nullptr) record.payload = payload->if_object();
        record.vector = point.get_object().if_contains("vector");
        records.push_back(record);
    }
    return records;
}

const json::value* next_page(const json::value& result) {
    const json::object* page = result.if_object();
    const json::value* offset = page == nullptr ? nullptr : page->if_contains("next_page_offset");
    return offset == nullptr || offset->is_null() ? nullptr : offset;
}

Result<void> read_vector(const Record& record, size_t width, float* out) {
    const json::object* named = record.vector == nullptr ? nullptr : record.vector->if_object();
    const json::value* dense = named == nullptr ? nullptr : named->if_contains("dense");
    const json::array* numbers = dense == nullptr ? nullptr : dense->if_array();
    if (numbers == nullptr || numbers->size() != width)
        return corrupt(fmt::format("has a point without vector of {} dimensions", width));
    for (size_t i = 0; i < width; ++i) out[i] = PX_TRY(read_float((*numbers)[i], "vector"));
    return {};
}

Result<Point> read_point(const Record& record) {
    if (record.payload == nullptr) return corrupt("has a point without payload");
    const json::object& payload = *record.payload;
    Point point;
    point.id.value = PX_TRY(read_text(payload, "chunk_id"));
    point.document_id = PX_TRY(read_text(payload, "document_id"));
    point.source = PX_TRY(read_text(payload, "source"));
    point.ds = PX_TRY(read_text(payload, "ds"));
    point.title = PX_TRY(read_text(payload, "title"));
    point.author = PX_TRY(read_text(payload, "author"));
    point.category = PX_TRY(read_text(payload, "category"));
    point.text = PX_TRY(read_text(payload, "text"));
    if (payload.contains("created_at"))
        point.created_at = PX_TRY(read_integer(payload, "created_at"));
    point.span.start = PX_TRY(read_integer(payload, "start"));
    point.span.end = PX_TRY(read_integer(payload, "end"));
    return point;
}

Result<std::vector<int64_t>> read_retired(const Record& record) {
    std::vector<int64_t> numbers;
    const json::value* value =
        record.payload == nullptr ? nullptr : record.payload->if_contains("retired_at");
    if (value == nullptr || value->is_null()) return numbers;
    if (value->is_int64()) return std::vector<int64_t>{value->get_int64()};
    if (!value->is_array()) return corrupt("has a retired_at that is no number");
    for (const json::value& number : value->get_array()) {
        if (!number.is_int64()) return corrupt("has a retired_at that is no number");
        numbers.push_back(number.get_int64());
    }
    return numbers;
}

json::value retired_value(const std::vector<int64_t>& numbers) {
    if (numbers.size() == 1) return numbers.front();
    return json::array(numbers.begin(), numbers.end());
}

Result<int64_t> read_integer(const json::object& object, std::string_view name) {
    const json::value* value = object.if_contains({name.data(), name.size()});
    if (value == nullptr || !value->is_int64())
        return corrupt(fmt::format("has no whole number \"{}\"", name));
    return value->get_int64();
}

Result<std::string_view> read_text(const json::object& object, std::string_view name) {
    const json::value* value = object.if_contains({name.data(), name.size()});
    if (value == nullptr || !value->is_string())
        return corrupt(fmt::format("has no text \"{}\"", name));
    return std::string_view(value->get_string().data(), value->get_string().size());
}

Result<const json::array*> read_array(const json::object& object, std::string_view name) {
    const json::value* value = object.if_contains({name.data(), name.size()});
    if (value == nullptr || !value->is_array())
        return corrupt(fmt::format("has no list \"{}\"", name));
    return value->if_array();
}

}  // namespace px::index::qdrant
