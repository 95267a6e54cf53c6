// KeySet: the distinct values of a unique column, 16 bytes each. Not thread-safe.
// Keys that come in rising order, as ids mostly do, are kept as a list; only the others need a hash
// table. Values of up to 15 bytes are kept as they are; longer ones as a hash of 120 bits, so that
// two values are taken for one with a chance of about n^2 / 2^121.
#pragma once

#include <array>
#include <cstdint>
#include <cstring>
#include <memory>
#include <string_view>
#include <vector>

#include "columnar/record_batch.h"

namespace px::contract {

struct Key {
    uint64_t low = 0;  ///< never 0 in a key
    uint64_t high = 0;
    bool operator==(const Key&) const = default;
    /// An order in which short texts stand as their bytes do, and numbers as numbers.
    bool before(const Key& other) const {
        return high != other.high ? high < other.high : low < other.low;
    }
};

/// A key of bytes.
Key key_of(std::string_view bytes);
/// A key of an integer; not comparable with keys of bytes.
inline Key key_of(int64_t value) { return {1, static_cast<uint64_t>(value) ^ uint64_t{1} << 63}; }

class KeySet {
  public:
    bool contains(const Key& key) const;
    /// False if it was there already.
    bool insert(const Key& key) {
        if (rising_count_ == 0 || last_.before(key)) {
            append_rising(key);
            return true;
        }
        return !rising_contains(key) && insert_hashed(key);
    }
    /// Brings the place of a key near, ahead of insert or contains.
    void prefetch(const Key& key) const {
        if (rising_count_ == 0 || last_.before(key)) return;
        const uint64_t hash = hash_of(key);
        const Part& part = parts_[hash % kParts];
        if (!part.slots.empty()) __builtin_prefetch(&part.slots[place_of(hash, part.slots.size())]);
    }
    size_t size() const;
    size_t size_bytes() const;

  private:
    /// The keys are spread over parts that grow by themselves, half again each time, so that
    /// growing needs little memory besides.
    static constexpr size_t kParts = 64;
    struct Part {
        std::vector<Key> slots;  ///< low == 0: free
        size_t used = 0;
    };
    static uint64_t hash_of(const Key& key) {
        const columnar::UInt128 product =
            static_cast<columnar::UInt128>(key.low ^ 0x9E3779B97F4A7C15ULL) *
            (key.high ^ 0xC2B2AE3D27D4EB4FULL);
        return static_cast<uint64_t>(product) ^ static_cast<uint64_t>(product >> 64);
    }
    static size_t place_of(uint64_t hash, size_t slots) {
        return static_cast<size_t>(static_cast<columnar::UInt128>(hash) * slots >> 64);
    }
    static void grow(Part& part);
    bool insert_hashed(const Key& key);
    void append_rising(const Key& key) {
        // A key that stands in the table already is no greater than last_, for a key goes there
        // only behind a greater one.
        const size_t at = rising_count_ % kBlockKeys;
        if (at == 0) blocks_.push_back(std::make_unique<Key[]>(kBlockKeys));
        blocks_.back()[at] = key;
        last_ = key;
        ++rising_count_;
    }
    bool rising_contains(const Key& key) const;

    static constexpr size_t kBlockKeys = 4096;
    std::vector<std::unique_ptr<Key[]>> blocks_;  ///< of rising keys
    size_t rising_count_ = 0;
    Key last_;
    std::array<Part, kParts> parts_;
};

}  // namespace px::contract
