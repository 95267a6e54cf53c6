#include "source/csv/scan.h"

#include <gtest/gtest.h>

#include <random>
#include <string>
#include <vector>

namespace px::source::csv {
namespace {

TEST(Scan, EveryKernelAgreesWithScalar) {
    std::mt19937 random(7);
    const std::string alphabet("a,\"\\\n\r;\0\x80\xFF z", 13);
    for (int round = 0; round < 300; ++round) {
        const size_t chunks = 1 + random() % 9;
        std::string text(chunks * kChunkBytes + 1, ' ');
        for (char& c : text) c = alphabet[random() % (round % 3 == 0 ? alphabet.size() : 6)];
        ScanSet set;
        set.delimiter = ",;a"[random() % 3];
        set.quote = '"';
        set.escape = "\"\\"[random() % 2];
        std::vector<ChunkMask> expected(chunks);
        ScanNotes expected_notes;
        classify_scalar(text.data(), chunks, set, expected.data(), expected_notes);
        for (const ScanKernel& kernel : supported_scan_kernels()) {
            std::vector<ChunkMask> found(chunks);
            ScanNotes notes;
            kernel.classify(text.data(), chunks, set, found.data(), notes);
            for (size_t i = 0; i < chunks; ++i) {
                EXPECT_EQ(found[i].special, expected[i].special)
                    << kernel.name << " round " << round;
                EXPECT_EQ(found[i].quote, expected[i].quote) << kernel.name << " round " << round;
                EXPECT_EQ(found[i].line_end, expected[i].line_end)
                    << kernel.name << " round " << round;
            }
            EXPECT_EQ(notes.has_non_ascii, expected_notes.has_non_ascii) << kernel.name;
            EXPECT_EQ(notes.has_nul, expected_notes.has_nul) << kernel.name;
        }
    }
}

TEST(Scan, AKernelCanBeForcedByName) {
    EXPECT_EQ(scan_kernel("scalar").name, "scalar");
    EXPECT_EQ(scan_kernel().name, supported_scan_kernels().back().name);
    EXPECT_EQ(scan_kernel("of another machine").name, supported_scan_kernels().back().name);
}

}  // namespace
}  // namespace px::source::csv
