// Least and greatest values of column chunks and files, for Parquet footers and the lake's log.
// Values; not thread-safe.
#pragma once

#include <cstdint>
#include <limits>
#include <optional>
#include <string>
#include <string_view>

#include "columnar/parquet_writer.h"
#include "columnar/record_batch.h"

namespace px::columnar {

/// The extremes of the values added; which members count follows from the column's type.
class Extremes {
  public:
    /// Bool, Int32, Int64, Date, Timestamp, Decimal (unscaled).
    void add_integers(Int128 least, Int128 greatest);
    /// Float32, Float64. NaN makes both unknown.
    void add_doubles(double least, double greatest);
    void add_nan() { nan_ = true; }
    /// String, Binary: ordered by bytes. Only a prefix is kept. O(1) for most values.
    void add_text(std::string_view text) {
        const uint64_t prefix = prefix_of(text);
        if (prefix <= least_prefix_ || prefix >= greatest_prefix_) add_text_slow(text, prefix);
    }
    void merge(const Extremes& other);

    struct Encoded {
        std::optional<std::string> min_value;  ///< PLAIN, without length
        std::optional<std::string> max_value;
        bool min_exact = true;
        bool max_exact = true;
    };
    /// As Parquet wants it; texts longer than 32 code points (or 64 bytes of Binary) are cut, the
    /// greatest rounded up.
    Encoded encode(const DataType& type) const;
    /// As Delta wants it.
    void to_json(const DataType& type, ColumnStatistics& statistics) const;

  private:
    static uint64_t prefix_of(std::string_view text) {
        uint64_t word = 0;
        if (text.size() >= 8) {
            std::memcpy(&word, text.data(), 8);
        } else if (!text.empty()) {
            const size_t n = text.size();
            if (n >= 4) {
                uint32_t head;
                uint32_t tail;
                std::memcpy(&head, text.data(), 4);
                std::memcpy(&tail, text.data() + n - 4, 4);
                word = head | uint64_t{tail} << (n - 4) * 8;
            } else {
                word = static_cast<unsigned char>(text[0]);
                if (n > 1) word |= uint64_t{static_cast<unsigned char>(text[1])} << 8;
                if (n > 2) word |= uint64_t{static_cast<unsigned char>(text[2])} << 16;
            }
        }
        return __builtin_bswap64(word);
    }
    void add_text_slow(std::string_view text, uint64_t prefix);

    bool any_ = false;
    bool nan_ = false;
    Int128 least_integer_ = 0;
    Int128 greatest_integer_ = 0;
    double least_double_ = 0;
    double greatest_double_ = 0;
    uint64_t least_prefix_ = std::numeric_limits<uint64_t>::max();
    uint64_t greatest_prefix_ = 0;
    std::string least_text_;
    std::string greatest_text_;
    bool least_cut_ = false;
    bool greatest_cut_ = false;
};

}  // namespace px::columnar
