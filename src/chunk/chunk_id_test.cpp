#include <gtest/gtest.h>

#include <set>
#include <string>

#include "chunk/chunk.h"

namespace px::chunk {
namespace {

ChunkIdentity sample() {
    return {"reports",    "2026-01-31", "r-1",       "Outlook", "A. Writer",
            "2026-01-30", "report",     "It grows.", {10, 19}};
}

TEST(ChunkId, IsThirtyTwoHexadecimalDigitsAndTheSameForTheSameContent) {
    const ChunkId id = make_chunk_id(sample());
    EXPECT_EQ(id.value.size(), 32U);
    EXPECT_EQ(id.value.find_first_not_of("0123456789abcdef"), std::string::npos);
    EXPECT_EQ(id, make_chunk_id(sample()));
    EXPECT_EQ(id.value, "8e08a2b8805d53e078863beb4b7c7317");
}

TEST(ChunkId, ChangesWithEveryPart) {
    std::set<ChunkId> seen{make_chunk_id(sample())};
    for (auto part : {&ChunkIdentity::source, &ChunkIdentity::ds, &ChunkIdentity::document_id,
                      &ChunkIdentity::title, &ChunkIdentity::author, &ChunkIdentity::date,
                      &ChunkIdentity::category, &ChunkIdentity::text}) {
        ChunkIdentity other = sample();
        other.*part = "another";
        EXPECT_TRUE(seen.insert(make_chunk_id(other)).second);
    }
    ChunkIdentity moved = sample();
    moved.span = {11, 20};
    EXPECT_TRUE(seen.insert(make_chunk_id(moved)).second);
}

TEST(ChunkId, ChangesWithWhoMayReadIt) {
    std::set<ChunkId> seen{make_chunk_id(sample())};
    for (const char* acl : {"", "board", "board,finance", "*"}) {
        ChunkIdentity other = sample();
        other.acl = acl;
        EXPECT_TRUE(seen.insert(make_chunk_id(other)).second) << acl;
    }
}

TEST(ChunkId, DoesNotConfuseWhereOnePartEndsAndTheNextBegins) {
    ChunkIdentity left = sample();
    left.title = "ab";
    left.author = "c";
    ChunkIdentity right = sample();
    right.title = "a";
    right.author = "bc";
    EXPECT_NE(make_chunk_id(left), make_chunk_id(right));
}

TEST(EmbeddingText, PutsTheTitleOnALineInFront) {
    EXPECT_EQ(embedding_text("Title", "text"), "Title\ntext");
    EXPECT_EQ(embedding_text("", "text"), "text");
}

}  // namespace
}  // namespace px::chunk
