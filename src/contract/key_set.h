// KeySet: the distinct values of a unique column, 16 bytes each. Not thread-safe.
// Values of up to 15 bytes are kept as they are; longer ones as a hash of 120 bits, so that two values are taken
// for one with a chance of about n^2 / 2^121.
#pragma once

#include <array>
#include <cstdint>
#include <cstring>
#include <string_view>
#include <vector>

#include "columnar/record_batch.h"

namespace px::contract {

struct Key {
    uint64_t low = 0;
    uint64_t high = 0;  ///< its upper byte is never 0
    bool operator==(const Key&) const = default;
};

/// A key of bytes.
Key key_of(std::string_view bytes);
/// A key of a value of at most 8 bytes; not comparable with keys of bytes.
inline Key key_of(uint64_t word) { return {word, uint64_t{0x20} << 56}; }

class KeySet {
  public:
    bool contains(const Key& key) const;
    /// False if it was there already.
    bool insert(const Key& key);
    /// Brings the place of a key near, ahead of insert or contains.
    void prefetch(const Key& key) const {
        const uint64_t hash = hash_of(key);
        const Part& part = parts_[hash % kParts];
        if (!part.slots.empty()) __builtin_prefetch(&part.slots[place_of(hash, part.slots.size())]);
    }
    size_t size() const;
    size_t size_bytes() const;

  private:
    /// The keys are spread over parts that grow by themselves, half again each time, so that growing needs little memory
    /// besides.
    static constexpr size_t kParts = 64;
    struct Part {
        std::vector<Key> slots;  ///< high == 0: free
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

    std::array<Part, kParts> parts_;
};

}  // namespace px::contract
