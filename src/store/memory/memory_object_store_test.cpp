#include "store/memory/memory_object_store.h"

#include "store/conformance.h"

namespace px::store {
namespace {

INSTANTIATE_TEST_SUITE_P(Memory, ObjectStoreConformance,
                         ::testing::Values(StoreUnderTest{
                             "memory",
                             [](const std::filesystem::path&) -> std::unique_ptr<ObjectStore> {
                                 return std::make_unique<MemoryObjectStore>();
                             }}),
                         conformance_name);

TEST(MemoryObjectStore, TakesTheTimeFromItsClock) {
    FixedClock clock(1'000'000);
    MemoryObjectStore store(&clock);
    ASSERT_TRUE(store.put("a", "1"));
    clock.set(2'000'000);
    ASSERT_TRUE(store.put("b", "1"));
    EXPECT_EQ(store.head("a").value()->modified_at, 1'000'000);
    EXPECT_EQ(store.head("b").value()->modified_at, 2'000'000);
}

}  // namespace
}  // namespace px::store
