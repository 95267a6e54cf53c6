#include "index/embedded/segment.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <bit>
#include <cerrno>
#include <cmath>
#include <cstring>

#include "index/analysis.h"
#include "index/embedded/crc32c.h"
#include "index/embedded/kernels/kernels.h"
#include "index/embedded/varint.h"

namespace px::index {

static_assert(std::endian::native == std::endian::little,
              "the formats are little-endian and mapped as they are");

namespace {

template <class T>
T load_at(std::span<const uint8_t> bytes, size_t offset) {
    T value;
    std::memcpy(&value, bytes.data() + offset, sizeof(T));
    return value;
}

template <class T>
const T* as(std::span<const uint8_t> bytes) {
    return reinterpret_cast<const T*>(bytes.data());
}

bool all_zero(std::span<const uint8_t> bytes) {
    return std::all_of(bytes.begin(), bytes.end(), [](uint8_t byte) { return byte == 0; });
}

struct KindName {
    SectionKind kind;
    std::string_view name;
    bool large;  // verified within the budget only
};
constexpr KindName kKinds[] = {{SectionKind::Ids, "ids", false},
                               {SectionKind::Codes, "codes", true},
                               {SectionKind::Scales, "scales", false},
                               {SectionKind::Vectors, "vectors", true},
                               {SectionKind::Spans, "spans", false},
                               {SectionKind::Created, "created", false},
                               {SectionKind::Text, "text", true},
                               {SectionKind::IdOrder, "id order", false},
                               {SectionKind::DocumentNames, "document names", false},
                               {SectionKind::DocumentCodes, "document codes", false},
                               {SectionKind::SourceNames, "source names", false},
                               {SectionKind::SourceCodes, "source codes", false},
                               {SectionKind::DsNames, "ds names", false},
                               {SectionKind::DsCodes, "ds codes", false},
                               {SectionKind::TitleNames, "title names", false},
                               {SectionKind::TitleCodes, "title codes", false},
                               {SectionKind::AuthorNames, "author names", false},
                               {SectionKind::AuthorCodes, "author codes", false},
                               {SectionKind::CategoryNames, "category names", false},
                               {SectionKind::CategoryCodes, "category codes", false},
                               {SectionKind::DocumentFirst, "document first", false},
                               {SectionKind::Terms, "terms", false},
                               {SectionKind::TermIndex, "term index", false},
                               {SectionKind::Postings, "postings", true},
                               {SectionKind::Lengths, "lengths", false},
                               {SectionKind::Positions, "positions", true},
                               {SectionKind::Graph, "graph", true}};

std::string_view kind_name(SectionKind kind) {
    for (const KindName& entry : kKinds) {
        if (entry.kind == kind) return entry.name;
    }
    return "?";
}

}  // namespace

std::optional<uint32_t> StringTable::find(std::string_view value) const {
    size_t low = 0;
    size_t high = count_;
    while (low < high) {
        const size_t middle = low + (high - low) / 2;
        const int order = (*this)[middle].compare(value);
        if (order == 0) return static_cast<uint32_t>(middle);
        if (order < 0) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return std::nullopt;
}

Result<StringTable> StringTable::parse(std::span<const uint8_t> section, Order order,
                                       std::string_view what) {
    const auto bad = [&](std::string_view why) {
        return fail(ErrorCode::Corrupt, fmt::format("section {}: {}", what, why));
    };
    if (section.size() < 16) return bad("shorter than a string table");
    StringTable table;
    table.count_ = load_at<uint64_t>(section, 0);
    if (table.count_ > (section.size() - 16) / 8 || table.count_ > UINT32_MAX)
        return bad("more strings than bytes");
    table.offsets_ = as<uint64_t>(section.subspan(8));
    const size_t heap_at = 8 + 8 * (table.count_ + 1);
    const uint64_t heap_size = section.size() - heap_at;
    table.bytes_ = as<char>(section.subspan(heap_at));
    if (table.offsets_[0] != 0 || table.offsets_[table.count_] != heap_size)
        return bad("offsets don't span the strings");
    for (uint64_t i = 0; i < table.count_; ++i) {
        if (table.offsets_[i] > table.offsets_[i + 1]) return bad("offsets descend");
        if (table.offsets_[i + 1] > heap_size) return bad("a string ends outside");
    }
    if (order == Order::Ascending) {
        for (size_t i = 1; i < table.count_; ++i) {
            if (table[i - 1] >= table[i]) return bad("strings don't ascend");
        }
    }
    return table;
}

PostingsReader::PostingsReader(const TermPostings& postings, uint32_t point_count)
    : postings_(postings),
      point_count_(point_count),
      block_count_((postings.df + kPostingsBlock - 1) / kPostingsBlock) {
    if (block_count_ > 1 && postings_.bytes.size() / sizeof(PostingsBlock) < block_count_) fail();
}

bool PostingsReader::fail() {
    corrupt_ = true;
    size_ = 0;
    block_ = block_count_;
    return false;
}

PostingsBlock PostingsReader::head(size_t block) const {
    PostingsBlock head{};
    std::memcpy(&head, postings_.bytes.data() + block * sizeof(head), sizeof(head));
    return head;
}

bool PostingsReader::seek(uint32_t target) {
    if (corrupt_) return false;
    if (block_ < block_count_ && size_ > 0 && ordinals_[size_ - 1] >= target) return true;
    size_t block = block_ + 1;  // of SIZE_MAX: 0
    if (block_count_ > 1) {
        while (block < block_count_ && head(block).last < target) ++block;
    }
    return load(block);
}

bool PostingsReader::load(size_t block) {
    size_ = 0;
    if (corrupt_) return false;
    block_ = std::min(block, block_count_);
    if (block_ == block_count_) return false;
    const size_t heads = block_count_ > 1 ? block_count_ * sizeof(PostingsBlock) : 0;
    size_t begin = heads;
    size_t end = postings_.bytes.size();
    int64_t before = -1;
    uint32_t positions = 0;
    if (block_count_ > 1) {
        const PostingsBlock own = head(block_);
        end = heads + own.end;
        positions = own.positions;
        if (block_ > 0) {
            const PostingsBlock previous = head(block_ - 1);
            begin = heads + previous.end;
            before = previous.last;
        }
    }
    const size_t count = std::min<size_t>(kPostingsBlock, postings_.df - block_ * kPostingsBlock);
    if (begin >= end || end > postings_.bytes.size() || positions > postings_.positions.size())
        return fail();
    const uint8_t* at = postings_.bytes.data() + begin;
    const size_t ordinal_width = *at & 15U;
    const size_t frequency_width = *at >> 4;
    if ((ordinal_width != 1 && ordinal_width != 2 && ordinal_width != 4) ||
        (frequency_width > 2 && frequency_width != 4) ||
        end - begin != 1 + count * (ordinal_width + frequency_width)) {
        return fail();
    }
    ++at;
    const auto widen = [&](size_t width, std::array<uint32_t, kPostingsBlock>& values) {
        if (width == 0) {
            std::fill_n(values.begin(), count, 1U);
        } else if (width == 1) {
            for (size_t i = 0; i < count; ++i) values[i] = at[i];
        } else if (width == 2) {
            for (size_t i = 0; i < count; ++i) {
                uint16_t value = 0;
                std::memcpy(&value, at + 2 * i, sizeof(value));
                values[i] = value;
            }
        } else {
            std::memcpy(values.data(), at, 4 * count);
        }
        at += width * count;
    };
    widen(ordinal_width, ordinals_);
    widen(frequency_width, frequencies_);
    uint64_t ordinal = static_cast<uint64_t>(before + 1);
    uint32_t zeros = 0;
    for (size_t i = 0; i < count; ++i) {
        ordinal += ordinals_[i];
        ordinals_[i] = static_cast<uint32_t>(ordinal);
        ++ordinal;
        zeros += frequencies_[i] == 0 ? 1U : 0U;
    }
    // No sum of 128 values of 32 bits overflows.
    if (zeros > 0 || ordinal > point_count_) return fail();
    size_ = count;
    place_ = 0;
    positions_at_ = postings_.positions.data() + positions;
    return true;
}

void PostingsReader::positions(size_t i, std::vector<uint32_t>& places) {
    places.clear();
    const uint8_t* const end = postings_.positions.data() + postings_.positions.size();
    uint32_t delta = 0;
    const auto bad = [&] {
        places.clear();
        fail();
    };
    for (; place_ < i; ++place_) {
        for (uint32_t k = 0; k < frequencies_[place_]; ++k) {
            if (!read_varint(positions_at_, end, delta)) return bad();
        }
    }
    ++place_;
    uint64_t place = 0;
    for (uint32_t k = 0; k < frequencies_[i]; ++k) {
        if (!read_varint(positions_at_, end, delta) || (delta == 0 && k > 0) ||
            place + delta >= UINT32_MAX) {
            return bad();
        }
        place += delta;
        places.push_back(static_cast<uint32_t>(place));
    }
}

Error Segment::corrupt(std::string what) const {
    return fail(ErrorCode::Corrupt,
                fmt::format("index segment {}.pxseg is damaged: {}", name_, what),
                "`px run` makes the index anew from the lake; or restore the file from a backup.");
}

Result<std::shared_ptr<const Segment>> Segment::open(const std::filesystem::path& file,
                                                     std::string name, uint64_t size,
                                                     uint64_t& verify_bytes) {
    const int descriptor = ::open(file.c_str(), O_RDONLY | O_CLOEXEC);
    if (descriptor < 0)
        return fail_errno(errno, fmt::format("cannot read index segment {}.pxseg", name));
    struct stat status {};
    if (::fstat(descriptor, &status) != 0) {
        const int error_number = errno;
        ::close(descriptor);
        return fail_errno(error_number, fmt::format("cannot read index segment {}.pxseg", name));
    }
    std::shared_ptr<Segment> segment(new Segment);
    segment->name_ = std::move(name);
    if (static_cast<uint64_t>(status.st_size) != size || size == 0) {
        ::close(descriptor);
        return segment->corrupt(fmt::format("it has {} bytes instead of {}", status.st_size, size));
    }
    void* mapped = ::mmap(nullptr, size, PROT_READ, MAP_SHARED, descriptor, 0);
    const int error_number = errno;
    segment->descriptor_ = descriptor;
    if (mapped == MAP_FAILED) {
        return fail_errno(error_number,
                          fmt::format("cannot map index segment {}.pxseg", segment->name_));
    }
    segment->bytes_ = {static_cast<const uint8_t*>(mapped), size};
    segment->mapped_ = true;
    PX_TRY(segment->load(verify_bytes));
    return std::shared_ptr<const Segment>(std::move(segment));
}

Result<std::shared_ptr<const Segment>> Segment::parse(std::span<const uint8_t> bytes,
                                                      std::string name, uint64_t& verify_bytes) {
    std::shared_ptr<Segment> segment(new Segment);
    segment->name_ = std::move(name);
    segment->bytes_ = bytes;
    PX_TRY(segment->load(verify_bytes));
    return std::shared_ptr<const Segment>(std::move(segment));
}

Segment::~Segment() {
    if (mapped_) ::munmap(const_cast<uint8_t*>(bytes_.data()), bytes_.size());
    if (descriptor_ >= 0) ::close(descriptor_);
}

void Segment::forget(SectionKind kind) const {
    if (!mapped_ || (kind != SectionKind::Vectors && kind != SectionKind::Text)) return;
    const std::span<const uint8_t> bytes = sections_.at(kind).bytes;
    const auto page = static_cast<uintptr_t>(::sysconf(_SC_PAGESIZE));
    const auto begin = (reinterpret_cast<uintptr_t>(bytes.data()) + page - 1) / page * page;
    const uintptr_t end = reinterpret_cast<uintptr_t>(bytes.data() + bytes.size()) / page * page;
    // Advice: what is read again comes from the file's cache.
    if (begin < end) ::madvise(reinterpret_cast<void*>(begin), end - begin, MADV_DONTNEED);
}

Result<const float*> Segment::read_vector(size_t ordinal, float* room) const {
    if (descriptor_ < 0) return vector(ordinal);
    const size_t size = width_ * sizeof(float);
    const auto at =
        static_cast<size_t>(reinterpret_cast<const uint8_t*>(vector(ordinal)) - bytes_.data());
    for (size_t done = 0; done < size;) {
        const ssize_t got = ::pread(descriptor_, reinterpret_cast<char*>(room) + done, size - done,
                                    static_cast<off_t>(at + done));
        if (got < 0 && errno == EINTR) continue;
        if (got < 0)
            return fail_errno(errno, fmt::format("cannot read index segment {}.pxseg", name_));
        if (got == 0) return corrupt("it became shorter while it was open");
        done += static_cast<size_t>(got);
    }
    return room;
}

Result<void> Segment::verify(SectionKind kind) const {
    const Section& section = sections_.at(kind);
    if (crc32c(0, section.bytes.data(), section.bytes.size()) != section.crc) {
        return corrupt(fmt::format("checksum of section {} does not match", kind_name(kind)));
    }
    forget(kind);
    return {};
}

Result<void> Segment::load(uint64_t& verify_bytes) {
    if (bytes_.size() < kSegmentHeaderBytes + kSegmentTailBytes) return corrupt("it is too short");
    // Header.
    const auto header = bytes_.first(kSegmentHeaderBytes);
    if (std::memcmp(header.data(), kSegmentMagic.data(), 8) != 0)
        return corrupt("it does not begin as a segment");
    if (crc32c(0, header.data(), 60) != load_at<uint32_t>(header, 60))
        return corrupt("checksum of the header does not match");
    const auto version = load_at<uint32_t>(header, 8);
    if (version != kSegmentVersion) {
        return fail(
            ErrorCode::InvalidArgument,
            fmt::format("index segment {}.pxseg has version {}; this program reads version {}",
                        name_, version, kSegmentVersion),
            "`px run` makes a release with a new index; this one needs the program that wrote it.");
    }
    const auto width = load_at<uint32_t>(header, 12);
    const auto count = load_at<uint64_t>(header, 16);
    const auto stride = load_at<uint32_t>(header, 24);
    error_max_ = load_at<float>(header, 28);
    norm_max_ = load_at<float>(header, 32);
    if (width == 0 || width > kWidthMax || count == 0 || count > INT32_MAX ||
        !std::isfinite(error_max_) || !std::isfinite(norm_max_) || error_max_ < 0 ||
        norm_max_ < 0 || !all_zero(header.subspan(36, 24)) ||
        stride != (width + kernels::kRowAlignment - 1) / kernels::kRowAlignment *
                      kernels::kRowAlignment) {
        return corrupt("a value of the header is out of range");
    }
    width_ = width;
    stride_ = stride;
    point_count_ = static_cast<uint32_t>(count);
    // Tail and section table.
    const auto tail = bytes_.last(kSegmentTailBytes);
    if (std::memcmp(tail.data() + 56, kSegmentEndMagic.data(), 8) != 0)
        return corrupt("it does not end as a segment");
    if (crc32c(0, tail.data(), 52) != load_at<uint32_t>(tail, 52))
        return corrupt("checksum of the tail does not match");
    const auto table_offset = load_at<uint64_t>(tail, 0);
    const auto section_count = load_at<uint32_t>(tail, 8);
    const uint64_t table_end = bytes_.size() - kSegmentTailBytes;
    if (section_count != std::size(kKinds) || table_offset > table_end ||
        table_offset % kSectionAlignment != 0 ||
        table_end - table_offset != section_count * kSectionEntryBytes ||
        !all_zero(tail.subspan(16, 36))) {
        return corrupt("its section table is out of place");
    }
    const auto table = bytes_.subspan(table_offset, table_end - table_offset);
    if (crc32c(0, table.data(), table.size()) != load_at<uint32_t>(tail, 12)) {
        return corrupt("checksum of the section table does not match");
    }
    uint64_t end = kSegmentHeaderBytes;
    for (size_t i = 0; i < section_count; ++i) {
        const auto entry = table.subspan(i * kSectionEntryBytes, kSectionEntryBytes);
        const auto kind = static_cast<SectionKind>(load_at<uint32_t>(entry, 0));
        const auto offset = load_at<uint64_t>(entry, 8);
        const auto size = load_at<uint64_t>(entry, 16);
        if (kind != kKinds[i].kind)
            return corrupt("its section table does not list what a segment has");
        if (offset < end || offset - end >= kSectionAlignment || offset % kSectionAlignment != 0 ||
            offset > table_offset || size > table_offset - offset ||
            load_at<uint64_t>(entry, 24) != 0) {
            return corrupt(fmt::format("section {} is out of place", kKinds[i].name));
        }
        if (!all_zero(bytes_.subspan(end, offset - end)))
            return corrupt("bytes between its sections are not zero");
        end = offset + size;
        sections_[kind] = {load_at<uint32_t>(entry, 4), bytes_.subspan(offset, size)};
    }
    if (table_offset - end >= kSectionAlignment ||
        !all_zero(bytes_.subspan(end, table_offset - end))) {
        return corrupt("bytes before its section table are not zero");
    }
    // Sizes that follow from the counts.
    const uint64_t n = count;
    const std::pair<SectionKind, uint64_t> sizes[] = {
        {SectionKind::Ids, 16 * n},          {SectionKind::Codes, stride * n},
        {SectionKind::Scales, 4 * n},        {SectionKind::Vectors, 4ULL * width * n},
        {SectionKind::Spans, 16 * n},        {SectionKind::Created, 8 * n},
        {SectionKind::DocumentCodes, 4 * n}, {SectionKind::SourceCodes, 4 * n},
        {SectionKind::DsCodes, 4 * n},       {SectionKind::TitleCodes, 4 * n},
        {SectionKind::AuthorCodes, 4 * n},   {SectionKind::CategoryCodes, 4 * n},
        {SectionKind::Lengths, 4 * n},       {SectionKind::IdOrder, 4 * n}};
    for (const auto& [kind, size] : sizes) {
        if (sections_[kind].bytes.size() != size) {
            return corrupt(fmt::format("section {} has {} bytes instead of {}", kind_name(kind),
                                       sections_[kind].bytes.size(), size));
        }
    }
    // Checksums: small sections always, large ones while the budget lasts.
    for (const KindName& entry : kKinds) {
        const uint64_t size = sections_[entry.kind].bytes.size();
        if (entry.large && size > verify_bytes) {
            unverified_.push_back(entry.kind);
            continue;
        }
        if (entry.large) verify_bytes -= size;
        PX_TRY(verify(entry.kind));
    }
    all_verified_.store(unverified_.empty(), std::memory_order_release);
    // Pointers, and what they lead to.
    const auto bytes_of = [&](SectionKind kind) { return sections_[kind].bytes; };
    ids_ = as<RawId>(bytes_of(SectionKind::Ids));
    codes_ = bytes_of(SectionKind::Codes).data();
    scales_ = as<float>(bytes_of(SectionKind::Scales));
    vectors_ = as<float>(bytes_of(SectionKind::Vectors));
    spans_ = as<int64_t>(bytes_of(SectionKind::Spans));
    created_ = as<int64_t>(bytes_of(SectionKind::Created));
    lengths_ = as<uint32_t>(bytes_of(SectionKind::Lengths));
    postings_ = bytes_of(SectionKind::Postings);
    positions_ = bytes_of(SectionKind::Positions);
    id_order_ = as<uint32_t>(bytes_of(SectionKind::IdOrder));
    for (size_t i = 0; i < n; ++i) {
        if (id_order_[i] >= n || (i > 0 && ids_[id_order_[i - 1]] >= ids_[id_order_[i]]))
            return corrupt("its ids don't ascend");
    }
    auto graph = Graph::parse(bytes_of(SectionKind::Graph), n);
    if (!graph) return corrupt(graph.error().message);
    graph_ = *graph;
    for (size_t i = 0; i < n; ++i) {
        // One that is no number would make every comparison of its row false.
        if (!std::isfinite(scales_[i]) || scales_[i] < 0)
            return corrupt("section scales has a value that is no scale");
        total_length_ += lengths_[i];
    }
    const auto table_of = [&](SectionKind kind, StringTable::Order order) {
        auto parsed = StringTable::parse(bytes_of(kind), order, kind_name(kind));
        if (!parsed) parsed = corrupt(parsed.error().message);
        return parsed;
    };
    texts_ = PX_TRY(table_of(SectionKind::Text, StringTable::Order::Any));
    if (texts_.size() != n) return corrupt("section text has not one text a point");
    const std::tuple<Column*, SectionKind, SectionKind> columns[] = {
        {&document_, SectionKind::DocumentNames, SectionKind::DocumentCodes},
        {&source_, SectionKind::SourceNames, SectionKind::SourceCodes},
        {&ds_, SectionKind::DsNames, SectionKind::DsCodes},
        {&title_, SectionKind::TitleNames, SectionKind::TitleCodes},
        {&author_, SectionKind::AuthorNames, SectionKind::AuthorCodes},
        {&category_, SectionKind::CategoryNames, SectionKind::CategoryCodes}};
    for (const auto& [column, names, codes] : columns) {
        column->names = PX_TRY(table_of(names, StringTable::Order::Ascending));
        column->codes = {as<uint32_t>(bytes_of(codes)), n};
        for (const uint32_t code : column->codes) {
            if (code >= column->names.size())
                return corrupt(fmt::format("section {} names an absent string", kind_name(codes)));
        }
    }
    const auto document_first = bytes_of(SectionKind::DocumentFirst);
    const uint64_t documents = document_.names.size();
    if (document_first.size() != 4 * (documents + 1))
        return corrupt("section document first has a wrong size");
    document_first_ = as<uint32_t>(document_first);
    if (document_first_[0] != 0 || document_first_[documents] != n)
        return corrupt("section document first does not span the points");
    for (uint32_t i = 0; i < documents; ++i) {
        if (document_first_[i] > document_first_[i + 1] || document_first_[i + 1] > n)
            return corrupt("section document first descends");
        for (uint32_t k = document_first_[i]; k < document_first_[i + 1]; ++k) {
            if (document_.codes[k] != i)
                return corrupt("section document first is not in the order of the points");
        }
    }
    terms_ = PX_TRY(table_of(SectionKind::Terms, StringTable::Order::Ascending));
    const auto term_index = bytes_of(SectionKind::TermIndex);
    if (term_index.size() != sizeof(TermEntry) * terms_.size())
        return corrupt("section term index has a wrong size");
    term_index_ = {as<TermEntry>(term_index), terms_.size()};
    uint64_t begin = 0;
    uint64_t positions_begin = 0;
    for (const TermEntry& entry : term_index_) {
        if (entry.end < begin || entry.end > postings_.size() || entry.df > n ||
            entry.positions_end < positions_begin || entry.positions_end > positions_.size() ||
            entry.reserved != 0) {
            return corrupt("section term index leads outside the postings");
        }
        begin = entry.end;
        positions_begin = entry.positions_end;
    }
    if (begin != postings_.size() || positions_begin != positions_.size())
        return corrupt("section term index does not span the postings");
    for (size_t i = 0; i < author_.names.size(); ++i)
        folded_authors_.push_back(fold_case(author_.names[i]));
    for (size_t i = 0; i < category_.names.size(); ++i)
        folded_categories_.push_back(fold_case(category_.names[i]));
    return {};
}

Result<void> Segment::verify_rest() const {
    if (all_verified_.load(std::memory_order_acquire)) return {};
    const std::lock_guard lock(verify_mutex_);
    if (verify_failure_) return *verify_failure_;
    for (const SectionKind kind : unverified_) {
        auto verified = verify(kind);
        if (!verified) {
            verify_failure_ = verified.error();
            return *verify_failure_;
        }
    }
    unverified_.clear();
    all_verified_.store(true, std::memory_order_release);
    return {};
}

std::optional<uint32_t> Segment::find(const RawId& id) const {
    const uint32_t* end = id_order_ + point_count_;
    const uint32_t* at = std::lower_bound(
        id_order_, end, id,
        [this](uint32_t ordinal, const RawId& wanted) { return ids_[ordinal] < wanted; });
    if (at == end || ids_[*at] != id) return std::nullopt;
    return *at;
}

uint64_t Segment::search_bytes() const {
    uint64_t total = 0;
    for (const auto& [kind, section] : sections_) {
        if (kind != SectionKind::Text && kind != SectionKind::Vectors)
            total += section.bytes.size();
    }
    return total;
}

std::optional<TermPostings> Segment::postings(std::string_view term) const {
    const auto place = terms_.find(term);
    if (!place) return std::nullopt;
    const TermEntry& own = term_index_[*place];
    uint64_t begin = 0;
    uint64_t positions_begin = 0;
    if (*place > 0) {
        begin = term_index_[*place - 1].end;
        positions_begin = term_index_[*place - 1].positions_end;
    }
    return TermPostings{own.df, postings_.subspan(begin, own.end - begin),
                        positions_.subspan(positions_begin, own.positions_end - positions_begin)};
}

}  // namespace px::index
