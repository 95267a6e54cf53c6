#include "contract/key_set.h"

#include <algorithm>

namespace px::contract {

using columnar::UInt128;

namespace {

uint64_t load_64(const char* from) {
    uint64_t word;
    std::memcpy(&word, from, 8);
    return word;
}

uint64_t fold(uint64_t a, uint64_t b) {
    const UInt128 product = static_cast<UInt128>(a) * b;
    return static_cast<uint64_t>(product) ^ static_cast<uint64_t>(product >> 64);
}

}  // namespace

Key key_of(std::string_view bytes) {
    if (bytes.size() < 16) {
        char padded[16] = {};
        if (!bytes.empty()) std::memcpy(padded, bytes.data(), bytes.size());
        padded[15] = static_cast<char>(bytes.size() + 1);
        return {__builtin_bswap64(load_64(padded + 8)), __builtin_bswap64(load_64(padded))};
    }
    // Two lanes with their own constants, fed with the same 16 bytes a step.
    uint64_t a = 0x243F6A8885A308D3ULL ^ bytes.size();
    uint64_t b = 0x13198A2E03707344ULL + bytes.size();
    const auto step = [&](const char* at) {
        const uint64_t first = load_64(at);
        const uint64_t second = load_64(at + 8);
        a = fold(first ^ 0xA4093822299F31D0ULL ^ a, second ^ 0x082EFA98EC4E6C89ULL);
        b = fold(second ^ 0x452821E638D01377ULL ^ b, first ^ 0xBE5466CF34E90C6CULL);
    };
    size_t at = 0;
    for (; at + 16 <= bytes.size(); at += 16) step(bytes.data() + at);
    if (at < bytes.size()) step(bytes.data() + bytes.size() - 16);
    const uint64_t low = fold(a ^ 0xC0AC29B7C97C50DDULL, b ^ 0x3F84D5B5B5470917ULL);
    const uint64_t high = fold(b ^ 0x9216D5D98979FB1BULL, a ^ 0xD1310BA698DFB5ACULL);
    return {low | 0xFF, high};  // the last byte of a short text's key is its length and 1
}

bool KeySet::rising_contains(const Key& key) const {
    if (rising_count_ == 0 || last_.before(key)) return false;
    const auto block = std::upper_bound(blocks_.begin(), blocks_.end(), key,
                                        [](const Key& k, const auto& b) { return k.before(b[0]); });
    if (block == blocks_.begin()) return false;
    const Key* const first = std::prev(block)->get();
    const size_t size = block == blocks_.end() ? (rising_count_ - 1) % kBlockKeys + 1 : kBlockKeys;
    return std::binary_search(first, first + size, key,
                              [](const Key& a, const Key& b) { return a.before(b); });
}

bool KeySet::contains(const Key& key) const {
    if (rising_count_ == 0 || last_.before(key)) return false;
    if (rising_contains(key)) return true;
    const uint64_t hash = hash_of(key);
    const Part& part = parts_[hash % kParts];
    if (part.slots.empty()) return false;
    for (size_t place = place_of(hash, part.slots.size()); part.slots[place].low != 0;) {
        if (part.slots[place] == key) return true;
        if (++place == part.slots.size()) place = 0;
    }
    return false;
}

void KeySet::grow(Part& part) {
    std::vector<Key> larger(std::max<size_t>(64, part.slots.size() + part.slots.size() / 2));
    for (const Key& key : part.slots) {
        if (key.low == 0) continue;
        size_t place = place_of(hash_of(key), larger.size());
        while (larger[place].low != 0) {
            if (++place == larger.size()) place = 0;
        }
        larger[place] = key;
    }
    part.slots = std::move(larger);
}

bool KeySet::insert_hashed(const Key& key) {
    const uint64_t hash = hash_of(key);
    Part& part = parts_[hash % kParts];
    if ((part.used + 1) * 5 > part.slots.size() * 4) grow(part);
    size_t place = place_of(hash, part.slots.size());
    while (part.slots[place].low != 0) {
        if (part.slots[place] == key) return false;
        if (++place == part.slots.size()) place = 0;
    }
    part.slots[place] = key;
    ++part.used;
    return true;
}

size_t KeySet::size() const {
    size_t total = rising_count_;
    for (const Part& part : parts_) total += part.used;
    return total;
}

size_t KeySet::size_bytes() const {
    size_t total = blocks_.size() * kBlockKeys * sizeof(Key);
    for (const Part& part : parts_) total += part.slots.size() * sizeof(Key);
    return total;
}

}  // namespace px::contract
