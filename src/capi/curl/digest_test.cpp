#include "capi/curl/digest.h"

#include <gtest/gtest.h>

#include "testing/matchers.h"

namespace px::capi::curl {
namespace {

using px::testing::IsError;

std::string hex(std::string_view bytes) {
    std::string text;
    for (const char c : bytes) {
        text += "0123456789abcdef"[static_cast<unsigned char>(c) >> 4];
        text += "0123456789abcdef"[static_cast<unsigned char>(c) & 15];
    }
    return text;
}

TEST(Digest, HmacIsThatOfRfc4231) {
    EXPECT_EQ(hex(hmac_sha256("Jefe", "what do ya want for nothing?")),
              "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843");
    EXPECT_EQ(hex(hmac_sha256(std::string(20, '\x0b'), "Hi There")),
              "b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7");
}

TEST(Digest, Md5IsThatOfRfc1321) {
    EXPECT_EQ(hex(md5("")), "d41d8cd98f00b204e9800998ecf8427e");
    EXPECT_EQ(hex(md5("message digest")), "f96b697d7cb7938d525a2f31aaf161d0");
    Md5 parts;
    parts.update("message ");
    parts.update("digest");
    EXPECT_EQ(hex(parts.finish()), "f96b697d7cb7938d525a2f31aaf161d0");
}

TEST(Digest, Base64IsThatOfRfc4648AndStrict) {
    const std::pair<const char*, const char*> cases[] = {{"", ""},
                                                         {"f", "Zg=="},
                                                         {"fo", "Zm8="},
                                                         {"foo", "Zm9v"},
                                                         {"foob", "Zm9vYg=="},
                                                         {"fooba", "Zm9vYmE="},
                                                         {"foobar", "Zm9vYmFy"},
                                                         {"\xFB\xEF\xFF", "++//"}};
    for (const auto& [bytes, text] : cases) {
        EXPECT_EQ(base64_encode(bytes), text);
        EXPECT_EQ(base64_decode(text).value(), bytes);
    }
    for (const char* text :
         {"Z", "Zg", "Zg=", "Z===", "====", "Zm9v\n", "Zm 9", "Zg==Zg==", "_-__"})
        EXPECT_THAT(base64_decode(text), IsError(ErrorCode::InvalidArgument)) << text;
}

TEST(Digest, PercentEncodingKeepsOnlyUnreservedBytes) {
    EXPECT_EQ(percent_encode("aZ09-._~"), "aZ09-._~");
    EXPECT_EQ(percent_encode("a b/\xC3\xBC?&=%+", "/"), "a%20b/%C3%BC%3F%26%3D%25%2B");
    EXPECT_EQ(percent_encode("a/b"), "a%2Fb");
}

TEST(Digest, RandomNamesDiffer) {
    EXPECT_EQ(random_hex(16).size(), 32U);
    EXPECT_NE(random_hex(16), random_hex(16));
}

}  // namespace
}  // namespace px::capi::curl
