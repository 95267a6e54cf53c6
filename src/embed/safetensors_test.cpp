#include "embed/safetensors.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <bit>
#include <cmath>
#include <cstring>
#include <random>
#include <string>
#include <vector>

namespace px::embed {
namespace {

std::string file_of(const std::string& header, const std::string& data) {
    std::string bytes(8, '\0');
    const uint64_t size = header.size();
    for (size_t i = 0; i < 8; ++i) bytes[i] = static_cast<char>(size >> (8 * i) & 0xFF);
    return bytes + header + data;
}

std::string floats(const std::vector<float>& values) {
    std::string bytes(values.size() * 4, '\0');
    std::memcpy(bytes.data(), values.data(), bytes.size());
    return bytes;
}

std::string good_file() {
    return file_of(
        R"({"__metadata__":{"format":"pt"},"a":{"dtype":"F32","shape":[2,2],"data_offsets":[0,16]},)"
        R"("h":{"dtype":"F16","shape":[4],"data_offsets":[16,24]},"b":{"dtype":"BF16","shape":[2],"data_offsets":[24,28]},)"
        R"("ids":{"dtype":"I64","shape":[1],"data_offsets":[28,36]},"n":{"dtype":"F32","shape":[],"data_offsets":[36,40]}})",
        floats({1, 2, 3, 4}) + std::string("\x00\x3C\x00\xC0\x01\x00\xFF\x7B", 8) +
            std::string("\x80\x3F\x20\xC0", 4) + std::string(8, '\1') + floats({7}));
}

void expect_corrupt(const std::string& bytes, const std::string& says) {
    const auto parsed = Safetensors::parse(bytes);
    ASSERT_FALSE(parsed) << says;
    EXPECT_EQ(parsed.error().code, ErrorCode::Corrupt);
    EXPECT_THAT(parsed.error().message, testing::HasSubstr(says));
}

TEST(Safetensors, ReadsEveryFloatingPointType) {
    const std::string bytes = good_file();
    const Safetensors file = Safetensors::parse(bytes).value();
    EXPECT_EQ(file.size(), 5U);
    float out[4] = {};
    file.get("a", {2, 2}).value().read(1, 3, out);
    EXPECT_EQ(out[0], 2);
    EXPECT_EQ(out[2], 4);
    file.get("h", {4}).value().read(0, 4, out);
    EXPECT_EQ(out[0], 1);
    EXPECT_EQ(out[1], -2);
    EXPECT_EQ(out[2], 0x1p-24F);
    EXPECT_EQ(out[3], 65504);
    file.get("b", {2}).value().read(0, 2, out);
    EXPECT_EQ(out[0], 1);
    EXPECT_EQ(out[1], -2.5F);
    EXPECT_EQ(file.get("n", {}).value().element_count(), 1U);
}

TEST(Safetensors, NamesTheTensorThatIsNotAsAsked) {
    const std::string bytes = good_file();
    const Safetensors file = Safetensors::parse(bytes).value();
    EXPECT_THAT(file.get("a", {4}).error().message, testing::HasSubstr("'a' has the shape [2, 2]"));
    EXPECT_EQ(file.get("x", {4}).error().code, ErrorCode::Corrupt);
    EXPECT_EQ(file.get("ids", {1}).error().code, ErrorCode::InvalidArgument);
}

TEST(Safetensors, RefusesLengthsThatDoNotFitTheFile) {
    expect_corrupt("abc", "3 bytes");
    expect_corrupt(std::string(8, '\xFF') + "{}", "header claims");
    expect_corrupt(file_of("[]", ""), "not a JSON object");
    expect_corrupt(file_of("{", ""), "not a JSON object");
    expect_corrupt(file_of(R"({"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}})", "1234"),
                   "'a' lies at");
    expect_corrupt(file_of(R"({"a":{"dtype":"F32","shape":[2],"data_offsets":[8,0]}})", "12345678"),
                   "'a' lies at");
    expect_corrupt(
        file_of(R"({"a":{"dtype":"F32","shape":[2],"data_offsets":[-8,0]}})", "12345678"),
        "'a' lies at");
    expect_corrupt(file_of(R"({"a":{"dtype":"F32","shape":[3],"data_offsets":[0,8]}})", "12345678"),
                   "'a' holds 8 bytes");
    expect_corrupt(
        file_of(R"({"a":{"dtype":"F32","shape":[4294967296,4294967296,4],"data_offsets":[0,0]}})",
                ""),
        "impossible shape");
    expect_corrupt(file_of(R"({"a":{"dtype":"F32","shape":"2","data_offsets":[0,8]}})", "12345678"),
                   "'a' lacks");
    expect_corrupt(file_of(R"({"a":7})", ""), "'a' lacks");
}

TEST(Safetensors, SurvivesSeededMutations) {
    const std::string good = good_file();
    for (uint32_t seed = 1; seed <= 3000; ++seed) {
        std::mt19937 random(seed);
        std::string bytes = good;
        for (uint32_t i = 0; i <= random() % 4; ++i) {
            const size_t at = random() % bytes.size();
            switch (random() % 3) {
                case 0:
                    bytes[at] = static_cast<char>(random());
                    break;
                case 1:
                    bytes.erase(at, random() % 9);
                    break;
                default:
                    bytes.insert(at, 1 + random() % 3, "0123456789{}[],:\""[random() % 17]);
                    break;
            }
            if (bytes.empty()) bytes.push_back('x');
        }
        const std::string exact(
            bytes);  // no slack behind the end, so that a sanitizer sees a step too far
        const auto parsed = Safetensors::parse(exact);
        if (!parsed) {
            EXPECT_FALSE(parsed.error().message.empty());
            continue;
        }
        for (const auto& shape : {std::vector<size_t>{2, 2}, std::vector<size_t>{4}}) {
            const auto tensor = parsed->get("a", shape);
            if (!tensor) continue;
            std::vector<float> out(tensor->element_count());
            tensor->read(0, out.size(), out.data());
        }
    }
}

TEST(MappedFile, SaysWhichFileItCannotOpen) {
    const auto absent = MappedFile::open("/nonexistent/model.safetensors");
    ASSERT_FALSE(absent);
    EXPECT_EQ(absent.error().code, ErrorCode::NotFound);
    EXPECT_THAT(absent.error().message, testing::HasSubstr("/nonexistent/model.safetensors"));
    EXPECT_EQ(MappedFile::open("/").error().code, ErrorCode::Corrupt);
}

}  // namespace
}  // namespace px::embed
