#include "source/text_feed.h"

#include <fmt/format.h>
#include <algorithm>
#include <atomic>
#include <cstdlib>
#include <cstring>
#include <new>
#include <utility>

namespace px::source {

namespace {

constexpr size_t kPooledStorages = 32;
constexpr size_t kFieldPieceBytes = 64 * 1024;
constexpr size_t kAround = 16;  // readable bytes before and behind an unescaped field

}  // namespace

TextStorage::TextStorage(size_t capacity) {
    if (!reserve(capacity, 0)) throw std::bad_alloc();
}

TextStorage::~TextStorage() {
    if (data_ != nullptr) std::free(data_ - kPadding);
}

bool TextStorage::reserve(size_t capacity, size_t kept) {
    char* old = data_ == nullptr ? nullptr : data_ - kPadding;
    if (kept == 0) {
        std::free(old);
        old = data_ = nullptr;
        capacity_ = 0;
    }
    // realloc of a large block moves pages, not bytes.
    auto* data = static_cast<char*>(std::realloc(old, capacity + 2 * kPadding));
    if (data == nullptr) return false;
    if (old == nullptr) std::memset(data, ' ', kPadding);
    data_ = data + kPadding;
    capacity_ = capacity;
    return true;
}

char* TextStorage::allocate(size_t size) {
    if (pieces_.empty() || pieces_.back().second - piece_used_ < size + kAround) {
        const size_t piece = std::max(size + 2 * kAround, kFieldPieceBytes);
        pieces_.emplace_back(std::make_unique<char[]>(piece), piece);
        piece_used_ = kAround;
    }
    char* out = pieces_.back().first.get() + piece_used_;
    piece_used_ += size;
    return out;
}

void TextStorage::clear_fields() {
    if (pieces_.size() > 1 || (!pieces_.empty() && pieces_.back().second > 16 * kFieldPieceBytes)) {
        pieces_.clear();
    }
    piece_used_ = kAround;
}

TextFeed::TextFeed(OpenedText text, size_t block_bytes, size_t max_bytes)
    : text_(std::move(text)),
      block_bytes_(block_bytes),
      max_bytes_(std::max(block_bytes, max_bytes)),
      offset_(text_.first_offset) {
    storage_ = take_storage();
}

TextFeed::TextFeed(std::shared_ptr<TextStorage> storage, size_t begin, size_t size, int64_t offset,
                   bool is_raw)
    : block_bytes_(0),
      max_bytes_(0),
      storage_(std::move(storage)),
      begin_(begin),
      size_(size),
      offset_(offset),
      at_end_(true) {
    text_.is_raw = is_raw;
}

std::shared_ptr<TextStorage> TextFeed::take_storage() {
    for (const auto& pooled : pool_) {
        if (pooled.use_count() != 1) continue;
        std::atomic_thread_fence(std::memory_order_acquire);  // after the last reader's release
        if (pooled->capacity() > 4 * block_bytes_) pooled->reserve(block_bytes_, 0);
        pooled->clear_fields();
        return pooled;
    }
    auto fresh = std::make_shared<TextStorage>(block_bytes_);
    if (pool_.size() < kPooledStorages) pool_.push_back(fresh);
    return fresh;
}

Result<void> TextFeed::fill(size_t from) {
    char* data = storage_->data();
    size_ = from;
    if (!at_end_) {
        const size_t got = PX_TRY(text_.stream->read(data + from, storage_->capacity() - from));
        size_ += got;
        at_end_ = size_ < storage_->capacity();
    }
    std::memset(data + size_, ' ', TextStorage::kPadding);
    return {};
}

Result<void> TextFeed::advance(size_t keep_from) {
    const std::shared_ptr<TextStorage> old = std::move(storage_);
    storage_ = take_storage();
    const size_t kept = size_ - keep_from;
    if (storage_->capacity() < kept + block_bytes_ / 2 &&
        !storage_->reserve(kept + block_bytes_, 0)) {
        return fail(ErrorCode::ResourceExhausted,
                    fmt::format("no memory for a block of {} bytes", kept + block_bytes_));
    }
    std::memcpy(storage_->data(), old->data() + keep_from, kept);
    offset_ += static_cast<int64_t>(keep_from);
    return fill(kept);
}

Result<bool> TextFeed::grow() {
    const size_t capacity = storage_->capacity();
    if (capacity >= max_bytes_) return false;
    const size_t wanted = std::min(max_bytes_, capacity * 2);
    if (!storage_->reserve(wanted, size_)) {
        return fail(ErrorCode::ResourceExhausted,
                    fmt::format("no memory for a record of {} bytes", capacity),
                    "lower max_record_bytes, or give the machine more memory");
    }
    storage_->clear_fields();
    PX_TRY(fill(size_));
    return true;
}

Result<void> TextFeed::discard() {
    offset_ += static_cast<int64_t>(size_);
    return fill(0);
}

}  // namespace px::source
