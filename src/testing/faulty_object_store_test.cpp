#include "testing/faulty_object_store.h"

#include <gtest/gtest.h>

#include "store/memory/memory_object_store.h"
#include "testing/matchers.h"

namespace px::testing {
namespace {

TEST(FaultyObjectStore, BreaksExactlyTheNthCall) {
    store::MemoryObjectStore inner;
    FaultyObjectStore faulty(inner, {.at_call = 2, .fault = Fault::Fail});
    EXPECT_THAT(faulty.put("a", "1"), IsOk());
    EXPECT_THAT(faulty.put("b", "2"), IsError(ErrorCode::Unavailable, "put b"));
    EXPECT_THAT(faulty.put("c", "3"), IsOk());
    EXPECT_FALSE(inner.head("b").value().has_value());
    EXPECT_EQ(faulty.calls(), 3);
}

TEST(FaultyObjectStore, ALostReplyIsDoneAllTheSame) {
    store::MemoryObjectStore inner;
    FaultyObjectStore faulty(inner, {.at_call = 1, .fault = Fault::LoseReply});
    EXPECT_THAT(faulty.put_if_absent("a", "1"), IsError(ErrorCode::OutcomeUnknown));
    EXPECT_EQ(inner.get("a").value(), "1");
}

TEST(FaultyObjectStore, ATornWriteLeavesAStrictPrefix) {
    for (uint64_t seed = 1; seed <= 20; ++seed) {
        store::MemoryObjectStore inner;
        FaultyObjectStore faulty(inner, {.at_call = 1, .fault = Fault::TornWrite, .seed = seed});
        EXPECT_FALSE(faulty.put("a", "0123456789"));
        const std::string torn = inner.get("a").value();
        EXPECT_LT(torn.size(), 10U) << "seed " << seed;
        EXPECT_TRUE(std::string("0123456789").starts_with(torn)) << "seed " << seed;
    }
}

TEST(FaultyObjectStore, AfterACrashNothingWorks) {
    store::MemoryObjectStore inner;
    FaultyObjectStore faulty(inner,
                             {.at_call = 1, .fault = Fault::CrashAfter, .writes_only = true});
    EXPECT_THAT(faulty.list("", ""), IsOk());
    EXPECT_FALSE(faulty.put("a", "1"));
    EXPECT_FALSE(faulty.get("a"));
    EXPECT_TRUE(faulty.crashed());
    EXPECT_EQ(inner.get("a").value(), "1");
}

TEST(FaultyObjectStore, RandomFaultsRepeatWithTheSeed) {
    const auto outcome = [](uint64_t seed) {
        store::MemoryObjectStore inner;
        FaultyObjectStore faulty(inner, {.random_share = 0.5, .seed = seed});
        std::string text;
        for (int i = 0; i < 64; ++i) text += faulty.put("a", "1") ? 'y' : 'n';
        return text;
    };
    EXPECT_EQ(outcome(7), outcome(7));
    EXPECT_NE(outcome(7), outcome(8));
}

}  // namespace
}  // namespace px::testing
