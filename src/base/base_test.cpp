#include <gtest/gtest.h>

#include <atomic>

#include "base/clock.h"
#include "base/error.h"
#include "base/parallel.h"
#include "base/result.h"
#include "base/sha256.h"
#include "base/utf8.h"

namespace px {
namespace {

Result<int> half(int number) {
    if (number % 2 != 0) return fail(ErrorCode::InvalidArgument, "odd");
    return number / 2;
}

Result<int> quarter(int number) { return PX_TRY(half(PX_TRY(half(number)))); }

TEST(Result, WhatATemporaryHeldOutlivesIt) {
    const auto words = []() -> Result<std::vector<std::string>> {
        return std::vector<std::string>{"a text too long to be kept inside of a string", "b"};
    };
    static_assert(std::is_same_v<decltype(words().value()), std::vector<std::string>>);
    static_assert(std::is_same_v<decltype(*words()), std::vector<std::string>>);
    static_assert(std::is_same_v<decltype(words().error()), Error>);
    std::string all;
    for (const std::string& word : words().value()) all += word;
    EXPECT_EQ(all, "a text too long to be kept inside of a stringb");
}

TEST(Result, TryReturnsTheFirstFailure) {
    EXPECT_EQ(quarter(8).value(), 2);
    EXPECT_EQ(quarter(6).error().message, "odd");
}

TEST(Error, ReadsAsOneLineWithContextAndHint) {
    const Error error = fail(ErrorCode::NotFound, "no column 'id'", "Add it").with("file a.csv");
    EXPECT_EQ(error.to_string(), "no column 'id' (file a.csv). Add it");
    EXPECT_EQ(error_traits(ErrorCode::ContractViolated).exit_code, 3);
    EXPECT_EQ(error_traits(ErrorCode::Internal).name, "Internal");
}

TEST(Clock, FormatsAndParsesDates) {
    EXPECT_EQ(format_timestamp(0), "1970-01-01T00:00:00.000000Z");
    EXPECT_EQ(format_timestamp(-1), "1969-12-31T23:59:59.999999Z");
    EXPECT_EQ(format_date(parse_date("2024-02-29").value()), "2024-02-29");
    EXPECT_FALSE(parse_date("2023-02-29"));
    EXPECT_FALSE(parse_date("2023-2-01"));
}

TEST(Sha256, MatchesTheStandardVector) {
    EXPECT_EQ(sha256_hex("abc"),
              "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
}

TEST(Utf8, FindsTheFirstIllFormedByte) {
    EXPECT_EQ(utf8_valid_prefix("plain ascii text"), 16U);
    EXPECT_EQ(utf8_valid_prefix("ab\xC0\x80"), 2U);
    EXPECT_EQ(utf8_valid_prefix("ab\xED\xA0\x80"), 2U);
    EXPECT_TRUE(utf8_is_valid("gr\xC3\xBC\xC3\x9F \xF0\x9F\x98\x80"));
    EXPECT_EQ(utf8_sanitize("a\xFFz"), "a\xEF\xBF\xBDz");
    EXPECT_EQ(utf8_length("gr\xC3\xBC\xC3\x9F"), 4U);
}

TEST(ParallelFor, VisitsEveryItemOnceAndReportsTheFirstFailure) {
    std::atomic<int> sum{0};
    ASSERT_TRUE(parallel_for(100, 4, Deadline::never(), [&](size_t i) -> Result<void> {
        sum += static_cast<int>(i);
        return {};
    }));
    EXPECT_EQ(sum, 4950);
    const auto result = parallel_for(10, 2, Deadline::never(), [&](size_t i) -> Result<void> {
        if (i == 3) return fail(ErrorCode::Corrupt, "three");
        return {};
    });
    EXPECT_EQ(result.error().message, "three");
}

}  // namespace
}  // namespace px
