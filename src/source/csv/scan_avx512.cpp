// Built with -mavx512bw; called only where the machine has it.
#include <immintrin.h>

#include "source/csv/scan.h"

namespace px::source::csv {

void classify_avx512(const char* data, size_t chunk_count, const ScanSet& set, ChunkMask* out,
                     ScanNotes& notes) {
    const __m512i delimiter = _mm512_set1_epi8(set.delimiter);
    const __m512i quote = _mm512_set1_epi8(set.quote);
    const __m512i escape = _mm512_set1_epi8(set.escape);
    const __m512i line_feed = _mm512_set1_epi8('\n');
    const __m512i carriage_return = _mm512_set1_epi8('\r');
    uint64_t high = 0;
    uint64_t nul = 0;
    for (size_t chunk = 0; chunk < chunk_count; ++chunk) {
        const __m512i bytes = _mm512_loadu_si512(data + chunk * kChunkBytes);
        ChunkMask mask;
        const uint64_t lf = _mm512_cmpeq_epi8_mask(bytes, line_feed);
        const uint64_t cr = _mm512_cmpeq_epi8_mask(bytes, carriage_return);
        const __m512i behind = _mm512_loadu_si512(data + chunk * kChunkBytes + 1);
        mask.line_end = lf | (cr & ~_mm512_cmpeq_epi8_mask(behind, line_feed));
        mask.quote = _mm512_cmpeq_epi8_mask(bytes, quote) | _mm512_cmpeq_epi8_mask(bytes, escape);
        mask.special = _mm512_cmpeq_epi8_mask(bytes, delimiter) | lf | cr | mask.quote;
        out[chunk] = mask;
        high |= _mm512_movepi8_mask(bytes);
        nul |= _mm512_testn_epi8_mask(bytes, bytes);
    }
    if (high != 0) notes.has_non_ascii = true;
    if (nul != 0) notes.has_nul = true;
}

}  // namespace px::source::csv
