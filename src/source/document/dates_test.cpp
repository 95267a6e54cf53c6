#include "source/document/dates.h"

#include <gtest/gtest.h>

#include <string>

namespace px::source {
namespace {

std::string shown(std::optional<TimestampMicros> at) { return at ? format_timestamp(*at) : "none"; }

TEST(DocumentDate, ReadsWhatDocumentsWrite) {
    EXPECT_EQ(shown(parse_document_date("2025-03-04")), "2025-03-04T00:00:00.000000Z");
    EXPECT_EQ(shown(parse_document_date(" 2025/3/4 ")), "2025-03-04T00:00:00.000000Z");
    EXPECT_EQ(shown(parse_document_date("20250304")), "2025-03-04T00:00:00.000000Z");
    EXPECT_EQ(shown(parse_document_date("2025-03-04T10:20:30Z")), "2025-03-04T10:20:30.000000Z");
    EXPECT_EQ(shown(parse_document_date("2025-03-04T10:20:30.25+02:00")),
              "2025-03-04T08:20:30.250000Z");
    EXPECT_EQ(shown(parse_document_date("2025-03-04 10:20 -0130")), "2025-03-04T11:50:00.000000Z");
    EXPECT_EQ(shown(parse_document_date("4 March 2025")), "2025-03-04T00:00:00.000000Z");
    EXPECT_EQ(shown(parse_document_date("Mar. 4, 2025")), "2025-03-04T00:00:00.000000Z");
    EXPECT_EQ(shown(parse_document_date("Tue, 04 Mar 2025 10:00:00 GMT")),
              "2025-03-04T10:00:00.000000Z");
    EXPECT_EQ(shown(parse_document_date("29 February 2024")), "2024-02-29T00:00:00.000000Z");
}

TEST(DocumentDate, RefusesWhatIsNoDate) {
    for (const char* text : {"", "soon", "2025", "2025-02-30", "29 February 2025", "2025-13-01",
                             "2025-03-04 noon", "2025-03-04T25:00", "99999-01-01", "0000-01-01",
                             "March", "4 Marchember 2025", "2025-03/04"}) {
        EXPECT_EQ(parse_document_date(text), std::nullopt) << text;
    }
}

TEST(PdfDate, ReadsTheFormOfTheSpecification) {
    EXPECT_EQ(shown(parse_pdf_date("D:20101204143835+01'00'")), "2010-12-04T13:38:35.000000Z");
    EXPECT_EQ(shown(parse_pdf_date("D:20230525051224Z00'00'")), "2023-05-25T05:12:24.000000Z");
    EXPECT_EQ(shown(parse_pdf_date("D:20230503165647")), "2023-05-03T16:56:47.000000Z");
    EXPECT_EQ(shown(parse_pdf_date("D:2023")), "2023-01-01T00:00:00.000000Z");
    EXPECT_EQ(shown(parse_pdf_date("D:202305")), "2023-05-01T00:00:00.000000Z");
    EXPECT_EQ(shown(parse_pdf_date("2023-05-03")), "2023-05-03T00:00:00.000000Z");
    EXPECT_EQ(parse_pdf_date("D:20231399"), std::nullopt);
    EXPECT_EQ(parse_pdf_date("yesterday"), std::nullopt);
}

}  // namespace
}  // namespace px::source
