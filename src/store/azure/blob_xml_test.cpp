#include "store/azure/blob_xml.h"

#include <gtest/gtest.h>

#include <random>

#include "testing/matchers.h"

namespace px::store {
namespace {

using px::testing::IsError;
using px::testing::IsOk;

const std::string kPage =
    "\xEF\xBB\xBF<?xml version=\"1.0\" encoding=\"utf-8\"?>"
    "<EnumerationResults ServiceEndpoint=\"https://acme.blob.core.windows.net/\" "
    "ContainerName=\"lake\"><Prefix>t/</Prefix><MaxResults>5000</MaxResults><Blobs>"
    "<Blob><Name>t/a &amp; b</Name><Properties><Last-Modified>Mon, 23 Nov 2026 08:27:01 GMT"
    "</Last-Modified><Etag>0x8D</Etag><Content-Length>1234567890123</Content-Length>"
    "<ResourceType>file</ResourceType></Properties><Metadata><owner>x</owner></Metadata></Blob>"
    "<Blob><Name Encoded=\"true\">t/%EF%BF%BE</Name><Properties><Content-Length>0"
    "</Content-Length></Properties></Blob>"
    "<Blob><Name>t/dir</Name><Properties><Content-Length>0</Content-Length></Properties>"
    "<Metadata><hdi_isfolder>true</hdi_isfolder></Metadata></Blob>"
    "<Blob><Name>t/dir2</Name><Properties><ResourceType>directory</ResourceType></Properties>"
    "</Blob></Blobs><NextMarker>2!76!x</NextMarker></EnumerationResults>";

TEST(BlobXml, APageHasNamesSizesTimesAndTheNextMarker) {
    const auto page = parse_list_page(kPage);
    ASSERT_THAT(page, IsOk());
    EXPECT_EQ(page->next_marker, "2!76!x");
    ASSERT_EQ(page->blobs.size(), 4U);
    EXPECT_EQ(page->blobs[0].name, "t/a & b");
    EXPECT_EQ(page->blobs[0].size_bytes, 1'234'567'890'123);
    EXPECT_EQ(format_timestamp(page->blobs[0].modified_at), "2026-11-23T08:27:01.000000Z");
    EXPECT_FALSE(page->blobs[0].is_folder);
    EXPECT_EQ(page->blobs[1].name, "t/\xEF\xBF\xBE");
    EXPECT_TRUE(page->blobs[2].is_folder);
    EXPECT_TRUE(page->blobs[3].is_folder);
    EXPECT_TRUE(parse_list_page("<EnumerationResults/>")->blobs.empty());
}

TEST(BlobXml, WhatIsNoListingIsCorrupt) {
    for (const char* text :
         {"", "x", "<html></html>", "<EnumerationResults><Blobs>", "{\"a\":1}",
          "<EnumerationResults><Blobs><Blob/></Blobs></EnumerationResults>",
          "<EnumerationResults><Blobs><Blob><Name>a</Name></Blob></Blobs></EnumerationResults>",
          "<EnumerationResults><Blobs><Blob><Name>a</Name><Properties><Content-Length>-1"
          "</Content-Length></Properties></Blob></Blobs></EnumerationResults>",
          "<EnumerationResults><Blobs><Blob><Name>a</Name><Properties><Content-Length>9x"
          "</Content-Length></Properties></Blob></Blobs></EnumerationResults>",
          "<EnumerationResults><Blobs><Blob><Name Encoded=\"true\">%4</Name><Properties>"
          "<Content-Length>9</Content-Length></Properties></Blob></Blobs></EnumerationResults>"})
        EXPECT_THAT(parse_list_page(text), IsError(ErrorCode::Corrupt)) << text;
    EXPECT_THAT(parse_list_page(std::string(kListPageBytesMax + 1, ' ')),
                IsError(ErrorCode::Corrupt, "too large"));
}

TEST(BlobXml, EntitiesOfTheTextAreNotFollowed) {
    const auto page = parse_list_page(
        "<!DOCTYPE x [<!ENTITY e SYSTEM \"file:///etc/passwd\"><!ENTITY b \"&e;&e;\">]>"
        "<EnumerationResults><Blobs><Blob><Name>&e;&b;</Name><Properties><Content-Length>1"
        "</Content-Length></Properties></Blob></Blobs></EnumerationResults>");
    ASSERT_THAT(page, IsOk());
    EXPECT_EQ(page->blobs[0].name, "&e;&b;");
}

TEST(BlobXml, AnErrorHasACodeOrNone) {
    EXPECT_EQ(parse_error_code("<?xml version=\"1.0\"?><Error><Code>BlobNotFound</Code><Message>"
                               "The specified blob does not exist.</Message></Error>"),
              "BlobNotFound");
    EXPECT_EQ(parse_error_code(""), "");
    EXPECT_EQ(parse_error_code("<html>502</html>"), "");
    EXPECT_EQ(parse_error_code("<Error><Code>a\nb: c</Code></Error>"), "");
    EXPECT_EQ(plain_error_code("ConditionNotMet"), "ConditionNotMet");
    EXPECT_EQ(plain_error_code(std::string(65, 'a')), "");
}

TEST(BlobXml, DamagedPagesGiveAPageOrAnErrorAndNothingElse) {
    std::mt19937_64 random(20261123);
    for (int round = 0; round < 500; ++round) {
        std::string text = kPage;
        for (uint64_t n = random() % 8 + 1; n > 0 && !text.empty(); --n) {
            const size_t at = random() % text.size();
            switch (random() % 4) {
                case 0:
                    text[at] = static_cast<char>(random());
                    break;
                case 1:
                    text.erase(at, random() % 30);
                    break;
                case 2:
                    text.insert(at, text.substr(random() % text.size(), random() % 60));
                    break;
                default:
                    text.resize(at + 1);
            }
        }
        const auto page = parse_list_page(text);
        if (page) {
            for (const ListedBlob& blob : page->blobs) {
                EXPECT_FALSE(blob.name.empty()) << "round " << round;
                EXPECT_GE(blob.size_bytes, blob.is_folder ? INT64_MIN : 0) << "round " << round;
            }
        } else {
            EXPECT_EQ(page.error().code, ErrorCode::Corrupt) << "round " << round;
        }
        (void)parse_error_code(text);
    }
}

}  // namespace
}  // namespace px::store
