// ByteBuffer: growing raw memory for encoders; unlike std::vector it never clears what is about to
// be overwritten. Not thread-safe.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <memory>
#include <string_view>

namespace px::columnar {

class ByteBuffer {
  public:
    const char* data() const { return data_.get(); }
    char* data() { return data_.get(); }
    size_t size() const { return size_; }
    bool empty() const { return size_ == 0; }
    std::string_view view() const { return {data_.get(), size_}; }

    void clear() { size_ = 0; }
    void truncate(size_t size) { size_ = std::min(size, size_); }
    /// Gives the memory back when it grew beyond `limit` bytes.
    void shrink_above(size_t limit) {
        if (capacity_ <= limit) return;
        data_.reset();
        size_ = capacity_ = 0;
    }
    /// Room for `more` bytes behind the end, not yet counted; valid until the next call.
    char* prepare(size_t more) {
        if (capacity_ - size_ < more) grow(more);
        return data_.get() + size_;
    }
    /// Counts bytes written into what prepare gave.
    void commit(size_t more) { size_ += more; }
    void append(const void* bytes, size_t count) {
        if (count == 0) return;
        std::memcpy(prepare(count), bytes, count);
        size_ += count;
    }
    void append(std::string_view bytes) { append(bytes.data(), bytes.size()); }
    void append_byte(uint8_t byte) {
        *prepare(1) = static_cast<char>(byte);
        ++size_;
    }
    template <class T>
    void append_value(T value) {
        append(&value, sizeof value);
    }
    void append_varint(uint64_t value) {
        char* out = prepare(10);
        size_t count = 0;
        while (value >= 0x80) {
            out[count++] = static_cast<char>(value | 0x80);
            value >>= 7;
        }
        out[count++] = static_cast<char>(value);
        size_ += count;
    }
    void append_zigzag(int64_t value) {
        append_varint(static_cast<uint64_t>(value) << 1 ^ static_cast<uint64_t>(value >> 63));
    }

  private:
    void grow(size_t more) {
        const size_t capacity = std::max({size_ + more, capacity_ + capacity_ / 2, size_t{256}});
        std::unique_ptr<char[]> larger(new char[capacity]);
        if (size_ != 0) std::memcpy(larger.get(), data_.get(), size_);
        data_ = std::move(larger);
        capacity_ = capacity;
    }

    std::unique_ptr<char[]> data_;
    size_t size_ = 0;
    size_t capacity_ = 0;
};

}  // namespace px::columnar
