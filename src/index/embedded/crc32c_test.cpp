#include "index/embedded/crc32c.h"

#include <gtest/gtest.h>

#include <random>
#include <string>

namespace px::index {
namespace {

TEST(Crc32c, MatchesThePublishedVectors) {  // RFC 3720, appendix B.4
    EXPECT_EQ(crc32c(0, std::string(32, '\0').data(), 32), 0x8A9136AAU);
    EXPECT_EQ(crc32c(0, std::string(32, '\xFF').data(), 32), 0x62A8AB43U);
    EXPECT_EQ(crc32c(0, "123456789", 9), 0xE3069283U);
    EXPECT_EQ(crc32c(0, nullptr, 0), 0U);
}

TEST(Crc32c, IsTheSameInPiecesAndByTables) {
    std::mt19937_64 random(7);
    for (int round = 0; round < 200; ++round) {
        std::string bytes(random() % 300, '\0');
        for (char& c : bytes) c = static_cast<char>(random());
        const size_t cut = bytes.empty() ? 0 : random() % bytes.size();
        const uint32_t whole = crc32c(0, bytes.data(), bytes.size());
        EXPECT_EQ(crc32c(crc32c(0, bytes.data(), cut), bytes.data() + cut, bytes.size() - cut),
                  whole);
        EXPECT_EQ(crc32c_portable(0, bytes.data(), bytes.size()), whole);
    }
}

}  // namespace
}  // namespace px::index
