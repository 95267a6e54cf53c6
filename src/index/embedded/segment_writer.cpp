#include "index/embedded/segment_writer.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cmath>
#include <cstring>
#include <limits>
#include <numeric>
#include <unordered_map>

#include "base/sha256.h"
#include "index/analysis.h"
#include "index/embedded/crc32c.h"
#include "index/embedded/kernels/kernels.h"
#include "index/embedded/varint.h"

namespace px::index {

namespace {

constexpr size_t kBufferBytes = 1 << 20;
constexpr size_t kDeadlineEvery = 1024;  // points between looks at the deadline

template <class T>
void append_raw(std::string& out, const T& value) {
    out.append(reinterpret_cast<const char*>(&value), sizeof(T));
}

/// The file being written: buffers, hashes, knows where its sections are. Removes the file unless
/// finished.
class SegmentFile {
  public:
    static Result<SegmentFile> create(const std::filesystem::path& path) {
        const int descriptor = ::open(path.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
        if (descriptor < 0)
            return fail_errno(errno, fmt::format("cannot create {}", path.string()));
        return SegmentFile(path, descriptor);
    }
    SegmentFile(SegmentFile&& other) noexcept
        : path_(std::move(other.path_)),
          descriptor_(std::exchange(other.descriptor_, -1)),
          buffer_(std::move(other.buffer_)),
          hash_(std::move(other.hash_)),
          table_(std::move(other.table_)) {}
    SegmentFile& operator=(SegmentFile&&) = delete;
    ~SegmentFile() {
        if (descriptor_ < 0) return;
        ::close(descriptor_);
        std::error_code ignored;
        std::filesystem::remove(path_, ignored);
    }

    Result<void> write(const void* bytes, size_t size) {
        crc_ = crc32c(crc_, bytes, size);
        offset_ += size;
        if (buffer_.size() + size > kBufferBytes) PX_TRY(flush());
        if (size >= kBufferBytes) return put({static_cast<const char*>(bytes), size});
        buffer_.append(static_cast<const char*>(bytes), size);
        return {};
    }
    Result<void> write(std::string_view bytes) { return write(bytes.data(), bytes.size()); }
    Result<void> align() {
        static constexpr char kZeros[kSectionAlignment] = {};
        return write(kZeros, (kSectionAlignment - offset_ % kSectionAlignment) % kSectionAlignment);
    }
    Result<void> begin_section() {
        PX_TRY(align());
        crc_ = 0;
        section_at_ = offset_;
        return {};
    }
    void end_section(SectionKind kind) {
        append_raw(table_, static_cast<uint32_t>(kind));
        append_raw(table_, crc_);
        append_raw(table_, section_at_);
        append_raw(table_, offset_ - section_at_);
        append_raw(table_, uint64_t{0});
    }
    Result<void> section(SectionKind kind, std::string_view bytes) {
        PX_TRY(begin_section());
        PX_TRY(write(bytes));
        end_section(kind);
        return {};
    }
    Result<WrittenSegment> finish() {
        PX_TRY(align());
        std::string tail;
        append_raw(tail, offset_);
        append_raw(tail, static_cast<uint32_t>(table_.size() / kSectionEntryBytes));
        append_raw(tail, crc32c(0, table_.data(), table_.size()));
        tail.resize(52, '\0');
        append_raw(tail, crc32c(0, tail.data(), tail.size()));
        tail += kSegmentEndMagic;
        PX_TRY(write(table_));
        PX_TRY(write(tail));
        PX_TRY(flush());
        if (::fsync(descriptor_) != 0)
            return fail_errno(errno, fmt::format("cannot write {}", path_.string()));
        if (::close(std::exchange(descriptor_, -1)) != 0)
            return fail_errno(errno, fmt::format("cannot write {}", path_.string()));
        return WrittenSegment{to_hex(hash_.finish()), offset_};
    }

  private:
    SegmentFile(std::filesystem::path path, int descriptor)
        : path_(std::move(path)), descriptor_(descriptor) {
        buffer_.reserve(kBufferBytes);
    }
    Result<void> flush() {
        PX_TRY(put(buffer_));
        buffer_.clear();
        return {};
    }
    Result<void> put(std::string_view bytes) {
        hash_.update(bytes);
        while (!bytes.empty()) {
            const ssize_t written = ::write(descriptor_, bytes.data(), bytes.size());
            if (written < 0) {
                if (errno == EINTR) continue;
                return fail_errno(errno, fmt::format("cannot write {}", path_.string()));
            }
            bytes.remove_prefix(static_cast<size_t>(written));
        }
        return {};
    }

    std::filesystem::path path_;
    int descriptor_ = -1;
    std::string buffer_;
    Sha256 hash_;
    std::string table_;
    uint64_t offset_ = 0;
    uint64_t section_at_ = 0;
    uint32_t crc_ = 0;
};

struct Quantised {
    float scale = 0;
    double error = 0;  // norm of p - p̂
    double norm = 0;   // of p̂
};

Quantised quantise(const float* vector, size_t width, uint8_t* codes, size_t stride) {
    Quantised result;
    float largest = 0;
    for (size_t i = 0; i < width; ++i) largest = std::max(largest, std::fabs(vector[i]));
    result.scale = largest / 127.0F;
    if (result.scale < std::numeric_limits<float>::min())
        result.scale = 0;  // zero, or too small to divide by
    double error = 0;
    double norm = 0;
    for (size_t i = 0; i < width; ++i) {
        const float steps = result.scale == 0 ? 0.0F : std::nearbyint(vector[i] / result.scale);
        const int code = static_cast<int>(std::clamp(steps, -127.0F, 127.0F));
        codes[i] = static_cast<uint8_t>(code + 128);
        const double approximate = static_cast<double>(result.scale) * code;
        error += (vector[i] - approximate) * (vector[i] - approximate);
        norm += approximate * approximate;
    }
    std::memset(codes + width, 128, stride - width);
    result.error = std::sqrt(error);
    result.norm = std::sqrt(norm);
    return result;
}

/// At least value, as f32.
float round_up(double value) {
    const auto rounded = static_cast<float>(value * 1.000001);
    return std::nextafter(rounded, std::numeric_limits<float>::infinity());
}

/// Streams a string table: offsets first, then the strings.
template <class At>
Result<void> write_string_table(SegmentFile& file, SectionKind kind, size_t count, At&& at) {
    PX_TRY(file.begin_section());
    std::string head;
    head.reserve(8 * (count + 2));
    append_raw(head, static_cast<uint64_t>(count));
    uint64_t offset = 0;
    append_raw(head, offset);
    for (size_t i = 0; i < count; ++i) {
        offset += at(i).size();
        append_raw(head, offset);
    }
    PX_TRY(file.write(head));
    for (size_t i = 0; i < count; ++i) PX_TRY(file.write(at(i)));
    file.end_section(kind);
    return {};
}

Result<void> write_column(SegmentFile& file, SectionKind names_kind,
                          std::span<const PointRef> points, std::string_view PointRef::*field) {
    std::vector<std::string_view> names;
    names.reserve(points.size());
    for (const PointRef& point : points) names.push_back(point.*field);
    std::sort(names.begin(), names.end());
    names.erase(std::unique(names.begin(), names.end()), names.end());
    std::unordered_map<std::string_view, uint32_t> places;
    places.reserve(names.size());
    for (size_t i = 0; i < names.size(); ++i) places.emplace(names[i], static_cast<uint32_t>(i));
    std::vector<uint32_t> codes;
    codes.reserve(points.size());
    for (const PointRef& point : points) codes.push_back(places.find(point.*field)->second);
    PX_TRY(write_string_table(file, names_kind, names.size(), [&](size_t i) { return names[i]; }));
    PX_TRY(file.section(
        static_cast<SectionKind>(static_cast<uint32_t>(names_kind) + 1),
        {reinterpret_cast<const char*>(codes.data()), codes.size() * sizeof(uint32_t)}));
    return {};
}

struct StringHash {
    using is_transparent = void;
    size_t operator()(std::string_view text) const { return std::hash<std::string_view>()(text); }
};
using StringMap = std::unordered_map<std::string, uint32_t, StringHash, std::equal_to<>>;

/// Terms of all points: which point has which term at which positions.
class LexicalBuilder {
  public:
    void add(const PointRef& point) {
        current_.clear();
        uint32_t position = 0;
        const auto sink = [&](std::string_view token) {
            const uint32_t term = term_of(token);
            if (term != kStop) current_.emplace_back(term, position++);
        };
        analyzer_.tokens(point.title, sink);
        ++position;  // the last term of one field and the first of the next are no neighbours
        analyzer_.tokens(point.author, sink);
        ++position;
        analyzer_.tokens(point.text, sink);
        lengths_.push_back(static_cast<uint32_t>(current_.size()));
        std::sort(current_.begin(), current_.end());
        const auto ordinal = static_cast<uint32_t>(lengths_.size() - 1);
        for (size_t i = 0; i < current_.size(); ++i) {
            const auto [term, place] = current_[i];
            occurrences_.push_back({term, ordinal, place});
            ++count_[term];
            if (i == 0 || current_[i - 1].first != term) ++df_[term];
        }
    }

    Result<void> write(SegmentFile& file) {
        // Occurrences are in order of points; a counting sort by term keeps that order within each
        // term.
        std::vector<uint32_t> by_name(names_.size());
        std::iota(by_name.begin(), by_name.end(), 0U);
        std::sort(by_name.begin(), by_name.end(),
                  [&](uint32_t a, uint32_t b) { return names_[a] < names_[b]; });
        PX_TRY(write_string_table(file, SectionKind::Terms, by_name.size(),
                                  [&](size_t i) { return std::string_view(names_[by_name[i]]); }));
        std::vector<size_t> first(names_.size());
        size_t total = 0;
        for (const uint32_t term : by_name) {
            first[term] = total;
            total += count_[term];
        }
        std::vector<Occurrence> sorted(occurrences_.size());
        for (const Occurrence& occurrence : occurrences_)
            sorted[first[occurrence.term]++] = occurrence;
        occurrences_ = {};
        std::string postings;
        std::string positions;
        std::string index;
        size_t at = 0;
        for (const uint32_t term : by_name) {
            write_term(std::span(sorted).subspan(at, count_[term]), df_[term], postings, positions);
            at += count_[term];
            append_raw(index, static_cast<uint64_t>(postings.size()));
            append_raw(index, static_cast<uint64_t>(positions.size()));
            append_raw(index, df_[term]);
            append_raw(index, uint32_t{0});
        }
        PX_TRY(file.section(SectionKind::TermIndex, index));
        PX_TRY(file.section(SectionKind::Postings, postings));
        PX_TRY(file.section(SectionKind::Lengths, {reinterpret_cast<const char*>(lengths_.data()),
                                                   lengths_.size() * sizeof(uint32_t)}));
        return file.section(SectionKind::Positions, positions);
    }

  private:
    static constexpr uint32_t kStop = UINT32_MAX;
    static constexpr size_t kTokenMemory = 1 << 20;  // distinct tokens remembered: bounds memory
    struct Occurrence {
        uint32_t term, ordinal, position;
    };

    static void append_values(std::string& out, const std::vector<uint32_t>& values, size_t width) {
        for (const uint32_t value : values)
            out.append(reinterpret_cast<const char*>(&value), width);
    }
    static size_t width_of(uint32_t largest) {
        return largest < 0x100 ? 1 : largest < 0x10000 ? 2 : 4;
    }

    /// One term's blocks and positions: docs/formats/segment.md.
    void write_term(std::span<const Occurrence> occurrences, uint32_t df, std::string& postings,
                    std::string& positions) const {
        const size_t positions_begin = positions.size();
        std::string heads;
        std::string data;
        std::vector<uint32_t> deltas;
        std::vector<uint32_t> frequencies;
        uint32_t next = 0;
        size_t block_positions = 0;
        uint32_t length_min = UINT32_MAX;
        const auto finish_block = [&] {
            const uint32_t delta_max = *std::max_element(deltas.begin(), deltas.end());
            const uint32_t frequency_max =
                *std::max_element(frequencies.begin(), frequencies.end());
            const size_t delta_width = width_of(delta_max);
            const size_t frequency_width = frequency_max == 1 ? 0 : width_of(frequency_max);
            data.push_back(static_cast<char>(delta_width | frequency_width << 4));
            append_values(data, deltas, delta_width);
            append_values(data, frequencies, frequency_width);
            append_raw(heads, PostingsBlock{next - 1, static_cast<uint32_t>(data.size()),
                                            static_cast<uint32_t>(block_positions), length_min,
                                            frequency_max});
            deltas.clear();
            frequencies.clear();
            length_min = UINT32_MAX;
            block_positions = positions.size() - positions_begin;
        };
        for (size_t at = 0; at < occurrences.size();) {
            const uint32_t ordinal = occurrences[at].ordinal;
            size_t last = at + 1;
            while (last < occurrences.size() && occurrences[last].ordinal == ordinal) ++last;
            deltas.push_back(ordinal - next);
            frequencies.push_back(static_cast<uint32_t>(last - at));
            length_min = std::min(length_min, lengths_[ordinal]);
            for (uint32_t before = 0; at < last; ++at) {
                append_varint(positions, occurrences[at].position - before);
                before = occurrences[at].position;
            }
            next = ordinal + 1;
            if (deltas.size() == kPostingsBlock) finish_block();
        }
        if (!deltas.empty()) finish_block();
        if (df > kPostingsBlock) postings += heads;
        postings += data;
    }

    uint32_t term_of(std::string_view token) {
        if (const auto known = tokens_.find(token); known != tokens_.end()) return known->second;
        uint32_t term = kStop;
        const std::string_view stem = analyzer_.term_of(token);
        if (!stem.empty()) {
            const auto known = terms_.find(stem);
            if (known != terms_.end()) {
                term = known->second;
            } else {
                term = static_cast<uint32_t>(names_.size());
                names_.emplace_back(stem);
                terms_.emplace(stem, term);
                df_.push_back(0);
                count_.push_back(0);
            }
        }
        if (tokens_.size() >= kTokenMemory) tokens_.clear();
        tokens_.emplace(token, term);
        return term;
    }

    Analyzer analyzer_;
    StringMap tokens_;  // token as written → term
    StringMap terms_;
    std::vector<std::string> names_;
    std::vector<uint32_t> df_;                            // points with the term
    std::vector<uint32_t> count_;                         // occurrences of the term
    std::vector<std::pair<uint32_t, uint32_t>> current_;  // (term, position) of one point
    std::vector<Occurrence> occurrences_;
    std::vector<uint32_t> lengths_;
};

}  // namespace

Result<WrittenSegment> write_segment(const std::filesystem::path& path,
                                     std::span<const PointRef> given, size_t width,
                                     const SegmentOptions& options, const Deadline& deadline) {
    const size_t n = given.size();
    // Passages of a document stand together, as they do in its text.
    std::vector<PointRef> points(given.begin(), given.end());
    std::sort(points.begin(), points.end(), [](const PointRef& a, const PointRef& b) {
        if (const int order = a.document.compare(b.document); order != 0) return order < 0;
        return std::tuple(a.span.start, a.id) < std::tuple(b.span.start, b.id);
    });
    const size_t stride =
        (width + kernels::kRowAlignment - 1) / kernels::kRowAlignment * kernels::kRowAlignment;
    // The header holds the bounds of the quantisation. Rows are kept for the graph.
    std::vector<uint8_t> codes(n * stride);
    std::vector<float> scales;
    scales.reserve(n);
    double error_max = 0;
    double norm_max = 0;
    for (size_t i = 0; i < n; ++i) {
        if (i % kDeadlineEvery == 0) PX_TRY(deadline.check());
        const Quantised row = quantise(points[i].vector, width, codes.data() + i * stride, stride);
        scales.push_back(row.scale);
        error_max = std::max(error_max, row.error);
        norm_max = std::max(norm_max, row.norm);
    }

    SegmentFile file = PX_TRY(SegmentFile::create(path));
    std::string header(kSegmentMagic);
    append_raw(header, kSegmentVersion);
    append_raw(header, static_cast<uint32_t>(width));
    append_raw(header, static_cast<uint64_t>(n));
    append_raw(header, static_cast<uint32_t>(stride));
    append_raw(header, round_up(error_max));
    append_raw(header, round_up(norm_max));
    header.resize(60, '\0');
    append_raw(header, crc32c(0, header.data(), header.size()));
    PX_TRY(file.write(header));

    PX_TRY(file.begin_section());
    for (const PointRef& point : points) PX_TRY(file.write(point.id.data(), point.id.size()));
    file.end_section(SectionKind::Ids);
    PX_TRY(file.section(SectionKind::Codes,
                        {reinterpret_cast<const char*>(codes.data()), codes.size()}));
    PX_TRY(file.section(SectionKind::Scales,
                        {reinterpret_cast<const char*>(scales.data()), n * sizeof(float)}));
    PX_TRY(file.begin_section());
    for (size_t i = 0; i < n; ++i) {
        if (i % kDeadlineEvery == 0) PX_TRY(deadline.check());
        PX_TRY(file.write(points[i].vector, width * sizeof(float)));
    }
    file.end_section(SectionKind::Vectors);
    PX_TRY(file.begin_section());
    for (const PointRef& point : points) {
        const int64_t span[2] = {point.span.start, point.span.end};
        PX_TRY(file.write(span, sizeof(span)));
    }
    file.end_section(SectionKind::Spans);
    PX_TRY(file.begin_section());
    for (const PointRef& point : points) PX_TRY(file.write(&point.created_at, sizeof(int64_t)));
    file.end_section(SectionKind::Created);
    PX_TRY(
        write_string_table(file, SectionKind::Text, n, [&](size_t i) { return points[i].text; }));

    std::vector<uint32_t> ordinals(n);
    std::iota(ordinals.begin(), ordinals.end(), 0U);
    std::sort(ordinals.begin(), ordinals.end(),
              [&](uint32_t a, uint32_t b) { return points[a].id < points[b].id; });
    PX_TRY(file.section(SectionKind::IdOrder,
                        {reinterpret_cast<const char*>(ordinals.data()), n * sizeof(uint32_t)}));
    PX_TRY(write_column(file, SectionKind::DocumentNames, points, &PointRef::document));
    PX_TRY(write_column(file, SectionKind::SourceNames, points, &PointRef::source));
    PX_TRY(write_column(file, SectionKind::DsNames, points, &PointRef::ds));
    PX_TRY(write_column(file, SectionKind::TitleNames, points, &PointRef::title));
    PX_TRY(write_column(file, SectionKind::AuthorNames, points, &PointRef::author));
    PX_TRY(write_column(file, SectionKind::CategoryNames, points, &PointRef::category));

    std::vector<uint32_t> document_first{0};
    for (size_t i = 0; i < n; ++i) {
        if (i + 1 == n || points[i].document != points[i + 1].document)
            document_first.push_back(static_cast<uint32_t>(i + 1));
    }
    PX_TRY(file.section(SectionKind::DocumentFirst,
                        {reinterpret_cast<const char*>(document_first.data()),
                         document_first.size() * sizeof(uint32_t)}));

    LexicalBuilder lexical;
    for (size_t i = 0; i < n; ++i) {
        if (i % kDeadlineEvery == 0) PX_TRY(deadline.check());
        lexical.add(points[i]);
    }
    PX_TRY(lexical.write(file));
    std::string graph;
    if (n >= options.graph_points_min) {
        graph = PX_TRY(build_graph({codes.data(), scales.data(), stride, n}, options.graph,
                                   *options.kernels, deadline));
    }
    PX_TRY(file.section(SectionKind::Graph, graph));
    return file.finish();
}

}  // namespace px::index
