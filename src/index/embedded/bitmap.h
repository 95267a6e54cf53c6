// A set of ordinals of one segment, one bit each. A value.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

namespace px::index {

class Bitmap {
  public:
    Bitmap() = default;
    explicit Bitmap(size_t size, bool filled = false)
        : size_(size), words_((size + 63) / 64, filled ? ~uint64_t{0} : 0) {
        if (filled && size % 64 != 0) words_.back() &= (uint64_t{1} << (size % 64)) - 1;
    }
    bool empty() const { return size_ == 0; }
    size_t size() const { return size_; }
    bool test(size_t i) const { return ((words_[i / 64] >> (i % 64)) & 1) != 0; }
    void set(size_t i) { words_[i / 64] |= uint64_t{1} << (i % 64); }
    void reset(size_t i) { words_[i / 64] &= ~(uint64_t{1} << (i % 64)); }
    std::vector<uint64_t>& words() { return words_; }
    const std::vector<uint64_t>& words() const { return words_; }
    size_t count() const {
        size_t total = 0;
        for (const uint64_t word : words_) total += static_cast<size_t>(__builtin_popcountll(word));
        return total;
    }

  private:
    size_t size_ = 0;
    std::vector<uint64_t> words_;
};

}  // namespace px::index
