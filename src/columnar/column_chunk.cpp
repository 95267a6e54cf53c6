#include "columnar/column_chunk.h"

#include <snappy-sinksource.h>
#include <snappy.h>

#include <algorithm>
#include <cmath>
#include <type_traits>

#include "columnar/encoding.h"
#include "columnar/thrift_writer.h"

namespace px::columnar {

namespace {

constexpr int64_t kSampleRows = 16'384;      // after which a text dictionary must pay
constexpr int64_t kFirstSampleRows = 2'048;  // after which it must have found a repeat at least
constexpr size_t kWordSample = 1'024;
constexpr size_t kKeptCapacity = 8 * 1024 * 1024;

/// Two stretches of bytes as one input of Snappy.
class TwoParts final : public snappy::Source {
  public:
    TwoParts(std::string_view first, std::string_view second) : parts_{first, second} {}
    size_t Available() const override { return parts_[0].size() + parts_[1].size(); }
    const char* Peek(size_t* size) override {
        const std::string_view part = parts_[0].empty() ? parts_[1] : parts_[0];
        *size = part.size();
        return part.data();
    }
    void Skip(size_t count) override {
        const size_t first = std::min(count, parts_[0].size());
        parts_[0].remove_prefix(first);
        parts_[1].remove_prefix(count - first);
    }

  private:
    std::string_view parts_[2];
};

void append_bits(std::vector<uint8_t>& to, size_t to_count, const uint8_t* from, size_t from_bit,
                 size_t count) {
    to.resize((to_count + count + 7) / 8 + 1, 0);
    for (size_t done = 0; done < count;) {
        const size_t n = std::min<size_t>(8, count - done);
        uint32_t bits = 0xFF;
        if (from != nullptr) {
            const size_t at = from_bit + done;
            bits = from[at / 8];
            if (at % 8 + n > 8) bits |= static_cast<uint32_t>(from[at / 8 + 1]) << 8;
            bits >>= at % 8;
        }
        bits &= (1U << n) - 1;
        const size_t at = to_count + done;
        bits <<= at % 8;
        to[at / 8] = static_cast<uint8_t>(to[at / 8] | bits);
        to[at / 8 + 1] = static_cast<uint8_t>(to[at / 8 + 1] | bits >> 8);
        done += n;
    }
    to.resize((to_count + count + 7) / 8);
}

/// True if Snappy gains nothing on samples of a page: packed and random values. out: room for a
/// compressed sample.
bool is_dense(std::string_view body, char* out) {
    constexpr size_t kSample = 4096;
    if (body.size() < 8 * kSample) return false;
    size_t compressed = 0;
    for (const size_t at : {body.size() / 4, body.size() / 2, body.size() / 4 * 3}) {
        size_t size = 0;
        snappy::RawCompress(body.data() + at, kSample, out, &size);
        compressed += size;
    }
    return compressed * 100 > 3 * kSample * 97;
}

/// A Snappy stream that is one literal: what Snappy would come to, without the search for repeats.
/// Source: google/snappy, format_description.txt.
size_t store_as_literals(std::string_view first, std::string_view second, char* out) {
    const size_t size = first.size() + second.size();
    char* to = out;
    for (size_t rest = size;; rest >>= 7) {
        *to++ = static_cast<char>(rest >= 0x80 ? rest | 0x80 : rest);
        if (rest < 0x80) break;
    }
    *to++ = static_cast<char>(63 << 2);  // a literal whose length, less one, stands in four bytes
    const auto length = static_cast<uint32_t>(size - 1);
    std::memcpy(to, &length, 4);
    to += 4;
    if (!first.empty()) std::memcpy(to, first.data(), first.size());
    to += first.size();
    std::memcpy(to, second.data(), second.size());
    return static_cast<size_t>(to - out) + second.size();
}

void store_32(char* to, size_t value) {
    const auto word = static_cast<uint32_t>(value);
    std::memcpy(to, &word, 4);
}

uint32_t load_32(const char* from) {
    uint32_t word;
    std::memcpy(&word, from, 4);
    return word;
}

}  // namespace

PhysicalType physical_type(const DataType& type) {
    switch (type.id) {
        case TypeId::Bool:
            return PhysicalType::Boolean;
        case TypeId::Int32:
        case TypeId::Date:
            return PhysicalType::Int32;
        case TypeId::Int64:
        case TypeId::Timestamp:
            return PhysicalType::Int64;
        case TypeId::Float32:
        case TypeId::FloatList:
            return PhysicalType::Float;
        case TypeId::Float64:
            return PhysicalType::Double;
        case TypeId::Decimal:
            return type.precision <= 9    ? PhysicalType::Int32
                   : type.precision <= 18 ? PhysicalType::Int64
                                          : PhysicalType::FixedLenByteArray;
        case TypeId::String:
        case TypeId::Binary:
            return PhysicalType::ByteArray;
    }
    return PhysicalType::ByteArray;
}

// ---- dictionaries ----

void TextDictionary::clear() {
    slots_.assign(1024, Slot{});
    starts_.clear();
    bytes_.clear();
}

void TextDictionary::truncate(uint32_t size) {
    if (size >= starts_.size()) return;
    bytes_.truncate(starts_[size]);
    starts_.resize(size);
}

std::string_view TextDictionary::at(uint32_t index) const {
    const char* entry = bytes_.data() + starts_[index];
    return {entry + 4, load_32(entry)};
}

bool TextDictionary::is_same(const Slot& slot, std::string_view value, const Key& key) const {
    if (slot.low != key.low || slot.high != key.high || slot.size != value.size()) return false;
    return value.size() <= 16 || std::memcmp(bytes_.data() + starts_[slot.index_plus_1 - 1] + 4,
                                             value.data(), value.size()) == 0;
}

void TextDictionary::grow() {
    std::vector<Slot> larger(slots_.size() * 2);
    const size_t mask = larger.size() - 1;
    for (const Slot& slot : slots_) {
        if (slot.index_plus_1 == 0) continue;
        const std::string_view value = at(slot.index_plus_1 - 1);
        size_t place = key_of(value.data(), value.size(), false).hash & mask;
        while (larger[place].index_plus_1 != 0) place = (place + 1) & mask;
        larger[place] = slot;
    }
    slots_ = std::move(larger);
}

uint32_t TextDictionary::find_or_add_slow(std::string_view value, const Key& key, size_t limit) {
    size_t mask = slots_.size() - 1;
    size_t place = key.hash & mask;
    while (slots_[place].index_plus_1 != 0) {
        if (is_same(slots_[place], value, key)) return slots_[place].index_plus_1 - 1;
        place = (place + 1) & mask;
    }
    if (bytes_.size() + 4 + value.size() > limit) return kFull;
    if (starts_.size() * 2 >= slots_.size()) {
        grow();
        mask = slots_.size() - 1;
        place = key.hash & mask;
        while (slots_[place].index_plus_1 != 0) place = (place + 1) & mask;
    }
    const auto index = static_cast<uint32_t>(starts_.size());
    slots_[place] = {key.low, key.high, index + 1, static_cast<uint32_t>(value.size())};
    starts_.push_back(static_cast<uint32_t>(bytes_.size()));
    bytes_.append_value(static_cast<uint32_t>(value.size()));
    bytes_.append(value);
    return index;
}

void WordDictionary::clear() {
    slots_.assign(2048, 0);
    words_.clear();
}

void WordDictionary::truncate(uint32_t size) {
    if (size < words_.size()) words_.resize(size);
}

void WordDictionary::grow() {
    std::vector<uint32_t> larger(slots_.size() * 2, 0);
    const size_t mask = larger.size() - 1;
    for (uint32_t index = 0; index < words_.size(); ++index) {
        size_t place = hash_word(words_[index]) & mask;
        while (larger[place] != 0) place = (place + 1) & mask;
        larger[place] = index + 1;
    }
    slots_ = std::move(larger);
}

uint32_t WordDictionary::find_or_add(uint64_t word, size_t count_max) {
    const uint64_t hash = hash_word(word);
    size_t mask = slots_.size() - 1;
    size_t place = hash & mask;
    while (slots_[place] != 0) {
        if (words_[slots_[place] - 1] == word) return slots_[place] - 1;
        place = (place + 1) & mask;
    }
    if (words_.size() >= count_max) return kFull;
    if (words_.size() * 2 >= slots_.size()) {
        grow();
        mask = slots_.size() - 1;
        place = hash & mask;
        while (slots_[place] != 0) place = (place + 1) & mask;
    }
    words_.push_back(word);
    slots_[place] = static_cast<uint32_t>(words_.size());
    return slots_[place] - 1;
}

// ---- levels ----

void LevelRuns::add(uint8_t level, uint64_t count) {
    if (count == 0) return;
    if (level != level_ && count_ != 0) {
        append_level_run(out_, level_, count_);
        count_ = 0;
    }
    level_ = level;
    count_ += count;
}

std::string_view LevelRuns::finish() {
    if (count_ != 0) append_level_run(out_, level_, count_);
    count_ = 0;
    return out_.view();
}

void LevelRuns::clear() {
    out_.clear();
    count_ = 0;
}

// ---- taking rows ----

ColumnChunkWriter::ColumnChunkWriter(const Field& field, const ParquetWriterOptions& options)
    : type_(field.type),
      physical_(physical_type(field.type)),
      nullable_(field.nullable),
      options_(options),
      row_bytes_(type_.id == TypeId::Decimal && type_.precision <= 9 ? 4 : fixed_width(type_)) {
    texts_.clear();
    words_.clear();
}

int64_t ColumnChunkWriter::rows_that_fit(const Column& column, int64_t begin, int64_t end) const {
    const int64_t room = options_.page_bytes - page_estimate_;
    int64_t fit = 0;
    if (row_bytes_ != 0) {
        fit = std::min(end - begin, room / static_cast<int64_t>(row_bytes_));
    } else {
        // Four bytes a row for its length, null or not; monotone in the row, so searched by halves.
        const auto& offsets = column.offsets();
        const int64_t unit = type_.id == TypeId::FloatList ? 4 : 1;
        const int64_t first = offsets[static_cast<size_t>(begin)];
        const auto size = [&](int64_t row) {
            return (offsets[static_cast<size_t>(row)] - first) * unit + 4 * (row - begin);
        };
        int64_t low = begin;
        int64_t high = end;
        while (low < high) {
            const int64_t middle = low + (high - low + 1) / 2;
            if (size(middle) <= room) {
                low = middle;
            } else {
                high = middle - 1;
            }
        }
        fit = low - begin;
    }
    return page_rows_ == 0 ? std::max<int64_t>(fit, 1) : std::max<int64_t>(fit, 0);
}

void ColumnChunkWriter::append(const Column& column, int64_t begin, int64_t end) {
    while (begin < end) {
        const int64_t rows = rows_that_fit(column, begin, end);
        if (rows == 0) {
            flush_page();
            continue;
        }
        append_rows(column, begin, begin + rows);
        begin += rows;
    }
}

void ColumnChunkWriter::append_validity(const Column& column, int64_t begin, int64_t end) {
    const auto rows_before = static_cast<size_t>(page_rows_);
    const auto rows = static_cast<size_t>(end - begin);
    if (column.null_count() == 0) {
        if (!page_validity_.empty()) append_bits(page_validity_, rows_before, nullptr, 0, rows);
        return;
    }
    if (page_validity_.empty() && rows_before > 0) {
        append_bits(page_validity_, 0, nullptr, 0, rows_before);
    }
    append_bits(page_validity_, rows_before, column.validity().data(), static_cast<size_t>(begin),
                rows);
}

void ColumnChunkWriter::append_rows(const Column& column, int64_t begin, int64_t end) {
    if (type_.id == TypeId::FloatList) {
        append_lists(column, begin, end);
    } else {
        append_validity(column, begin, end);
        switch (type_.id) {
            case TypeId::Bool:
                append_fixed<uint8_t, uint8_t>(column, begin, end);
                break;
            case TypeId::Decimal:
                if (type_.precision <= 9) {
                    append_fixed<int64_t, int32_t>(column, begin, end);
                } else if (type_.precision <= 18) {
                    append_fixed<int64_t, int64_t>(column, begin, end);
                } else {
                    append_decimal128(column, begin, end);
                }
                break;
            case TypeId::String:
            case TypeId::Binary:
                append_text(column, begin, end);
                break;
            default:
                if (row_bytes_ == 4) {
                    append_fixed<int32_t, int32_t>(column, begin, end);
                } else {
                    append_fixed<int64_t, int64_t>(column, begin, end);
                }
                break;
        }
    }
    page_rows_ += end - begin;
    if (row_bytes_ != 0) {
        page_estimate_ += (end - begin) * static_cast<int64_t>(row_bytes_);
    } else {
        const int64_t unit = type_.id == TypeId::FloatList ? 4 : 1;
        const auto& offsets = column.offsets();
        page_estimate_ += 4 * (end - begin) + unit * (offsets[static_cast<size_t>(end)] -
                                                      offsets[static_cast<size_t>(begin)]);
    }
}

template <class From, class To>
void ColumnChunkWriter::append_fixed(const Column& column, int64_t begin, int64_t end) {
    const auto* values = reinterpret_cast<const From*>(column.data().data());
    const auto rows = static_cast<size_t>(end - begin);
    char* const start = page_.prepare(rows * sizeof(To));
    auto* to = reinterpret_cast<To*>(start);
    if (column.null_count() == 0) {
        if constexpr (std::is_same_v<From, To>) {
            std::memcpy(start, values + begin, rows * sizeof(To));
        } else {
            for (int64_t row = begin; row < end; ++row) *to++ = static_cast<To>(values[row]);
        }
        page_.commit(rows * sizeof(To));
        page_values_ += rows;
        return;
    }
    const uint8_t* validity = column.validity().data();
    size_t taken = 0;
    for (int64_t row = begin; row < end; ++row) {
        to[taken] = static_cast<To>(values[row]);
        taken += validity[row >> 3] >> (row & 7) & 1;
    }
    page_.commit(taken * sizeof(To));
    page_values_ += taken;
}

void ColumnChunkWriter::append_decimal128(const Column& column, int64_t begin, int64_t end) {
    char* to = page_.prepare(static_cast<size_t>(end - begin) * 16);
    size_t taken = 0;
    for (int64_t row = begin; row < end; ++row) {
        if (column.is_null(row)) continue;
        const auto value = column.value_at<Int128>(row);
        info_.extremes.add_integers(value, value);
        const uint64_t halves[2] = {
            __builtin_bswap64(static_cast<uint64_t>(static_cast<UInt128>(value) >> 64)),
            __builtin_bswap64(static_cast<uint64_t>(value))};
        std::memcpy(to + taken * 16, halves, 16);
        ++taken;
    }
    page_.commit(taken * 16);
    page_values_ += taken;
}

void ColumnChunkWriter::append_text(const Column& column, int64_t begin, int64_t end) {
    while (begin < end && dictionary_state_ != DictionaryState::Off) {
        const bool undecided = dictionary_state_ == DictionaryState::Undecided;
        const int64_t sample = text_rows_ < kFirstSampleRows ? kFirstSampleRows : kSampleRows;
        const int64_t stop = undecided ? std::min(end, begin + sample - text_rows_) : end;
        const int64_t reached = append_text_indices(column, begin, stop);
        text_rows_ += reached - begin;
        begin = reached;
        if (reached < stop) {
            give_up_text_dictionary();
        } else if (undecided && text_rows_ == kFirstSampleRows) {
            if (texts_.size() * uint64_t{100} > text_values_ * 95) give_up_text_dictionary();
        } else if (undecided && text_rows_ >= kSampleRows) {
            if (text_dictionary_pays(4, 5)) {
                dictionary_state_ = DictionaryState::On;
            } else {
                give_up_text_dictionary();
            }
        }
    }
    append_text_plain(column, begin, end);
}

int64_t ColumnChunkWriter::append_text_indices(const Column& column, int64_t begin, int64_t end) {
    const int64_t* offsets = column.offsets().data();
    const char* data = column.data().data();
    const size_t data_size = column.data().size();
    const size_t before = page_indices_.size();
    page_indices_.resize(before + static_cast<size_t>(end - begin));
    uint32_t* to = page_indices_.data() + before;
    const auto limit = static_cast<size_t>(options_.dictionary_bytes);
    // Looked up in groups, so that the memory of a large dictionary is waited for once a group.
    constexpr size_t kGroup = 32;
    struct Pending {
        int64_t row;
        std::string_view text;
        TextDictionary::Key key;
    };
    Pending group[kGroup];
    const bool have_nulls = column.null_count() != 0;
    const bool is_small = texts_.size_bytes() < 16 * 1024;
    size_t plain_bytes = 0;
    bool full = false;
    int64_t row = begin;
    while (row < end && !full) {
        size_t count = 0;
        for (; row < end && count < kGroup; ++row) {
            if (have_nulls && column.is_null(row)) continue;
            const auto at = static_cast<size_t>(offsets[row]);
            const auto size = static_cast<size_t>(offsets[row + 1]) - at;
            group[count].row = row;
            group[count].text = {data + at, size};
            group[count].key = TextDictionary::key_of(data + at, size, at + 16 <= data_size);
            if (!is_small) texts_.prefetch(group[count].key);
            ++count;
        }
        for (size_t i = 0; i < count; ++i) {
            const uint32_t index = texts_.find_or_add(group[i].text, group[i].key, limit);
            if (index == TextDictionary::kFull) {
                row = group[i].row;
                full = true;
                break;
            }
            *to++ = index;
            plain_bytes += 4 + group[i].text.size();
        }
    }
    const auto taken = static_cast<size_t>(to - page_indices_.data()) - before;
    page_indices_.resize(before + taken);
    page_values_ += taken;
    text_values_ += taken;
    text_plain_bytes_ += plain_bytes;
    return row;
}

void ColumnChunkWriter::append_text_plain(const Column& column, int64_t begin, int64_t end) {
    if (begin >= end) return;
    const int64_t* offsets = column.offsets().data();
    const char* data = column.data().data();
    const bool have_nulls = column.null_count() != 0;  // of no bytes
    page_.append(data + offsets[begin], static_cast<size_t>(offsets[end] - offsets[begin]));
    const size_t before = page_lengths_.size();
    page_lengths_.resize(before + static_cast<size_t>(end - begin));
    int32_t* to = page_lengths_.data() + before;
    Extremes& extremes = info_.extremes;
    for (int64_t row = begin; row < end; ++row) {
        if (have_nulls && column.is_null(row)) continue;
        const auto at = static_cast<size_t>(offsets[row]);
        const auto size = static_cast<size_t>(offsets[row + 1]) - at;
        extremes.add_text({data + at, size});
        *to++ = static_cast<int32_t>(size);
    }
    const auto taken = static_cast<size_t>(to - page_lengths_.data()) - before;
    page_lengths_.resize(before + taken);
    page_values_ += taken;
}

bool ColumnChunkWriter::text_dictionary_pays(size_t numerator, size_t denominator) const {
    const size_t width = std::max(1U, bits_for(texts_.size() == 0 ? 0 : texts_.size() - 1));
    const size_t cost = texts_.size_bytes() + text_values_ * width / 8;
    return cost * denominator < text_plain_bytes_ * numerator;
}

void ColumnChunkWriter::give_up_text_dictionary() {
    for (uint32_t i = 0; i < texts_.size(); ++i) info_.extremes.add_text(texts_.at(i));
    page_.clear();
    for (const uint32_t index : page_indices_) {
        const std::string_view value = texts_.at(index);
        page_lengths_.push_back(static_cast<int32_t>(value.size()));
        page_.append(value);
    }
    page_indices_.clear();
    texts_.truncate(dictionary_flushed_);
    dictionary_state_ = DictionaryState::Off;
}

void ColumnChunkWriter::append_lists(const Column& column, int64_t begin, int64_t end) {
    const int64_t* offsets = column.offsets().data();
    const char* data = column.data().data();
    const uint8_t present = nullable_ ? 1 : 0;  // the level of an empty list
    for (int64_t row = begin; row < end; ++row) {
        const auto count = static_cast<uint64_t>(offsets[row + 1] - offsets[row]);
        repetitions_.add(0, 1);
        if (column.is_null(row)) {
            definitions_.add(0, 1);
            ++info_.null_rows;
            ++page_levels_;
        } else if (count == 0) {
            definitions_.add(present, 1);
            ++page_levels_;
        } else {
            repetitions_.add(1, count - 1);
            definitions_.add(static_cast<uint8_t>(present + 1), count);
            page_levels_ += static_cast<int64_t>(count);
        }
    }
    const auto first = static_cast<size_t>(offsets[begin]);
    const auto count = static_cast<size_t>(offsets[end]) - first;
    page_.append(data + first * sizeof(float), count * sizeof(float));
    page_values_ += count;
}

// ---- pages ----

void ColumnChunkWriter::note(Encoding encoding) {
    auto& seen = info_.encodings;
    if (std::find(seen.begin(), seen.end(), encoding) == seen.end()) seen.push_back(encoding);
}

void ColumnChunkWriter::encode_levels() {
    levels_.clear();
    const auto append_sized = [&](std::string_view runs) {
        levels_.append_value(static_cast<uint32_t>(runs.size()));
        levels_.append(runs);
    };
    if (type_.id == TypeId::FloatList) {
        append_sized(repetitions_.finish());
        append_sized(definitions_.finish());
        return;
    }
    if (!nullable_) return;
    levels_.append_value(uint32_t{0});
    if (page_validity_.empty()) {
        append_level_run(levels_, 1, static_cast<uint64_t>(page_rows_));
    } else {
        append_level_bitmap(levels_, page_validity_.data(), static_cast<size_t>(page_rows_));
    }
    store_32(levels_.data(), levels_.size() - 4);
}

void ColumnChunkWriter::emit(ByteBuffer& to, PageKind kind, std::string_view levels,
                             std::string_view body, Encoding encoding, int64_t value_count) {
    const size_t plain_size = levels.size() + body.size();
    size_t stored_size = plain_size;
    if (options_.snappy) {
        scratch_.clear();
        char* out = scratch_.prepare(snappy::MaxCompressedLength(plain_size));
        if (kind == PageKind::Data && is_dense(body, out)) {
            stored_size = store_as_literals(levels, body, out);
        } else if (levels.empty()) {
            snappy::RawCompress(body.data(), body.size(), out, &stored_size);
        } else {
            TwoParts parts(levels, body);
            snappy::UncheckedByteArraySink sink(out);
            stored_size = snappy::Compress(&parts, &sink);
        }
        scratch_.commit(stored_size);
    }
    header_.clear();
    ThriftWriter header(header_);
    header.field_i32(1, kind == PageKind::Dictionary ? 2 : 0);
    header.field_i32(2, static_cast<int32_t>(plain_size));
    header.field_i32(3, static_cast<int32_t>(stored_size));
    header.begin_struct(kind == PageKind::Dictionary ? 7 : 5);
    header.field_i32(1, static_cast<int32_t>(value_count));
    header.field_i32(2, static_cast<int32_t>(encoding));
    if (kind == PageKind::Data) {
        header.field_i32(3, static_cast<int32_t>(Encoding::Rle));
        header.field_i32(4, static_cast<int32_t>(Encoding::Rle));
    }
    header.end_struct();
    header.end_struct();
    to.append(header_.view());
    if (options_.snappy) {
        to.append(scratch_.view());
    } else {
        to.append(levels);
        to.append(body);
    }
    info_.uncompressed_bytes += static_cast<int64_t>(header_.size() + plain_size);
    info_.compressed_bytes += static_cast<int64_t>(header_.size() + stored_size);
    note(encoding);
}

void ColumnChunkWriter::emit_page(std::string_view body, Encoding encoding) {
    const int64_t levels = type_.id == TypeId::FloatList ? page_levels_ : page_rows_;
    emit(pages_, PageKind::Data, levels_.view(), body, encoding, levels);
    info_.value_count += levels;
    info_.null_count += levels - static_cast<int64_t>(page_values_);
}

void ColumnChunkWriter::flush_page() {
    if (page_rows_ == 0) return;
    encode_levels();
    if (page_values_ == 0) {
        page_indices_.clear();
        emit_page({}, Encoding::Plain);
    } else if (physical_ == PhysicalType::ByteArray) {
        flush_text_page();
    } else {
        flush_fixed_page();
    }
    page_rows_ = 0;
    page_estimate_ = 0;
    page_levels_ = 0;
    page_values_ = 0;
    page_validity_.clear();
    page_.clear();
    page_.shrink_above(kKeptCapacity);
    scratch_.shrink_above(kKeptCapacity);
    page_indices_.clear();
    page_lengths_.clear();
    body_.shrink_above(kKeptCapacity);
    definitions_.clear();
    repetitions_.clear();
}

void ColumnChunkWriter::flush_text_page() {
    if (dictionary_state_ != DictionaryState::Off) {
        if (text_dictionary_pays(9, 10)) {
            dictionary_state_ = DictionaryState::On;
        } else {
            give_up_text_dictionary();
        }
    }
    if (dictionary_state_ == DictionaryState::Off) {
        flush_plain_texts();
        return;
    }
    const unsigned width = std::max(1U, bits_for(texts_.size() - 1));
    body_.clear();
    body_.append_byte(static_cast<uint8_t>(width));
    append_hybrid(body_, page_indices_.data(), page_indices_.size(), width);
    emit_page(body_.view(), Encoding::RleDictionary);
    dictionary_flushed_ = texts_.size();
}

/// Lengths apart from the bytes, unless they stand better beside them.
void ColumnChunkWriter::flush_plain_texts() {
    body_.clear();
    if (!options_.compatible) {
        append_delta(body_, page_lengths_.data(), page_lengths_.size());
        if (body_.size() < 4 * page_lengths_.size()) {
            body_.append(page_.view());
            emit_page(body_.view(), Encoding::DeltaLengthByteArray);
            return;
        }
        body_.clear();
    }
    const char* from = page_.data();
    char* const start = body_.prepare(page_.size() + 4 * page_lengths_.size());
    char* to = start;
    for (const int32_t length : page_lengths_) {
        const auto size = static_cast<size_t>(length);
        store_32(to, size);
        if (size != 0) std::memcpy(to + 4, from, size);
        to += 4 + size;
        from += size;
    }
    body_.commit(static_cast<size_t>(to - start));
    emit_page(body_.view(), Encoding::Plain);
}

void ColumnChunkWriter::flush_fixed_page() {
    switch (physical_) {
        case PhysicalType::Boolean:
            flush_bool_page();
            break;
        case PhysicalType::Int32:
            flush_words_page<int32_t>();
            break;
        case PhysicalType::Int64:
            flush_words_page<int64_t>();
            break;
        case PhysicalType::Float:
            if (type_.id == TypeId::FloatList) {
                emit_page(page_.view(), Encoding::Plain);
            } else {
                flush_words_page<float>();
            }
            break;
        case PhysicalType::Double:
            flush_words_page<double>();
            break;
        default:
            emit_page(page_.view(), Encoding::Plain);
            break;
    }
}

void ColumnChunkWriter::flush_bool_page() {
    const char* values = page_.data();
    body_.clear();
    const size_t size = (page_values_ + 7) / 8;
    char* out = body_.prepare(size);
    std::memset(out, 0, size);
    bool seen[2] = {false, false};
    for (size_t i = 0; i < page_values_; ++i) {
        const unsigned bit = values[i] != 0 ? 1 : 0;
        seen[bit] = true;
        out[i / 8] = static_cast<char>(static_cast<uint8_t>(out[i / 8]) | bit << i % 8);
    }
    body_.commit(size);
    info_.extremes.add_integers(seen[0] ? 0 : 1, seen[1] ? 1 : 0);
    emit_page(body_.view(), Encoding::Plain);
}

template <class T>
void ColumnChunkWriter::flush_words_page() {
    const auto* values = reinterpret_cast<const T*>(page_.data());
    const size_t count = page_values_;
    T least = values[0];
    T greatest = values[0];
    if constexpr (std::is_floating_point_v<T>) {
        bool nan = false;
        for (size_t i = 0; i < count; ++i) {
            nan = nan || std::isnan(values[i]);
            least = std::min(least, values[i]);
            greatest = std::max(greatest, values[i]);
        }
        if (nan) {
            info_.extremes.add_nan();
        } else {
            info_.extremes.add_doubles(static_cast<double>(least), static_cast<double>(greatest));
        }
    } else {
        for (size_t i = 0; i < count; ++i) {
            least = std::min(least, values[i]);
            greatest = std::max(greatest, values[i]);
        }
        info_.extremes.add_integers(least, greatest);
    }
    const size_t plain_bytes = count * sizeof(T);
    size_t rival_bytes = plain_bytes;
    body_.clear();
    if constexpr (!std::is_floating_point_v<T>) {
        if (!options_.compatible) {
            append_delta(body_, values, count);
            rival_bytes = std::min(rival_bytes, body_.size());
        }
    }
    if (dictionary_state_ != DictionaryState::Off) {
        if (encode_words_as_dictionary(values, count, rival_bytes)) {
            dictionary_state_ = DictionaryState::On;
            dictionary_flushed_ = words_.size();
            emit_page(indices_.view(), Encoding::RleDictionary);
            return;
        }
        words_.truncate(dictionary_flushed_);
        dictionary_state_ = DictionaryState::Off;
    }
    if (rival_bytes < plain_bytes) {
        emit_page(body_.view(), Encoding::DeltaBinaryPacked);
    } else {
        emit_page(page_.view(), Encoding::Plain);
    }
}

template <class T>
bool ColumnChunkWriter::encode_words_as_dictionary(const T* values, size_t count,
                                                   size_t rival_bytes) {
    const auto word_of = [](T value) {
        using U = std::conditional_t<sizeof(T) == 4, uint32_t, uint64_t>;
        return static_cast<uint64_t>(std::bit_cast<U>(value));
    };
    const auto count_max = static_cast<size_t>(options_.dictionary_bytes) / sizeof(T);
    if (dictionary_state_ == DictionaryState::Undecided) {
        // A sample that hardly repeats a value is not worth a dictionary.
        const size_t step = std::max<size_t>(1, count / kWordSample);
        size_t taken = 0;
        for (size_t i = 0; i < count; i += step, ++taken) {
            words_.find_or_add(word_of(values[i]), count);
        }
        const bool repeats = words_.size() * 2 <= taken;
        words_.clear();
        if (!repeats) return false;
    }
    page_indices_.resize(count);
    const uint32_t before = words_.size();
    uint64_t last = ~word_of(values[0]);
    uint32_t index = 0;
    for (size_t i = 0; i < count; ++i) {
        const uint64_t word = word_of(values[i]);
        if (word != last) {
            index = words_.find_or_add(word, count_max);
            if (index == WordDictionary::kFull) return false;
            last = word;
        }
        page_indices_[i] = index;
    }
    const unsigned width = std::max(1U, bits_for(words_.size() - 1));
    indices_.clear();
    indices_.append_byte(static_cast<uint8_t>(width));
    append_hybrid(indices_, page_indices_.data(), count, width);
    const size_t cost = indices_.size() + (words_.size() - before) * sizeof(T);
    return cost * 5 < rival_bytes * 4;
}

void ColumnChunkWriter::finish(EncodedRowGroup& group) {
    flush_page();
    const auto add = [&](ByteBuffer& bytes) {
        const int64_t offset = group.size_bytes;
        group.size_bytes += static_cast<int64_t>(bytes.size());
        group.parts.push_back(std::exchange(bytes, ByteBuffer()));
        return offset;
    };
    if (dictionary_flushed_ > 0) {
        ByteBuffer dictionary_page;
        body_.clear();
        std::string_view bytes;
        if (physical_ == PhysicalType::ByteArray) {
            if (dictionary_state_ != DictionaryState::Off) {
                for (uint32_t i = 0; i < texts_.size(); ++i) info_.extremes.add_text(texts_.at(i));
            }
            texts_.truncate(dictionary_flushed_);
            bytes = texts_.bytes();
        } else {
            for (uint32_t i = 0; i < dictionary_flushed_; ++i) {
                const uint64_t word = words_.at(i);
                body_.append(&word, row_bytes_);
            }
            bytes = body_.view();
        }
        emit(dictionary_page, PageKind::Dictionary, {}, bytes, Encoding::Plain,
             dictionary_flushed_);
        info_.dictionary_offset = add(dictionary_page);
    }
    note(Encoding::Rle);  // of the levels
    info_.data_offset = add(pages_);
    if (type_.id != TypeId::FloatList) info_.null_rows = info_.null_count;
    dictionary_state_ = DictionaryState::Undecided;
    texts_.clear();
    words_.clear();
    dictionary_flushed_ = 0;
    text_rows_ = 0;
    text_plain_bytes_ = 0;
    text_values_ = 0;
    group.chunks.push_back(std::exchange(info_, ChunkInfo{}));
}

}  // namespace px::columnar
