// Built with -mavx2; called only where the machine has it.
#include <immintrin.h>

#include "source/csv/scan.h"

namespace px::source::csv {

namespace {

uint64_t join(__m256i low, __m256i high) {
    const auto low_bits = static_cast<uint32_t>(_mm256_movemask_epi8(low));
    const auto high_bits = static_cast<uint32_t>(_mm256_movemask_epi8(high));
    return low_bits | static_cast<uint64_t>(high_bits) << 32;
}

}  // namespace

void classify_avx2(const char* data, size_t chunk_count, const ScanSet& set, ChunkMask* out,
                   ScanNotes& notes) {
    const __m256i delimiter = _mm256_set1_epi8(set.delimiter);
    const __m256i quote = _mm256_set1_epi8(set.quote);
    const __m256i escape = _mm256_set1_epi8(set.escape);
    const __m256i line_feed = _mm256_set1_epi8('\n');
    const __m256i carriage_return = _mm256_set1_epi8('\r');
    __m256i any_high = _mm256_setzero_si256();
    __m256i smallest = _mm256_set1_epi8(-1);
    for (size_t chunk = 0; chunk < chunk_count; ++chunk) {
        const auto* at = reinterpret_cast<const __m256i*>(data + chunk * kChunkBytes);
        const __m256i a = _mm256_loadu_si256(at);
        const __m256i b = _mm256_loadu_si256(at + 1);
        any_high = _mm256_or_si256(any_high, _mm256_or_si256(a, b));
        smallest = _mm256_min_epu8(smallest, _mm256_min_epu8(a, b));
        const auto* behind = reinterpret_cast<const __m256i*>(data + chunk * kChunkBytes + 1);
        const __m256i lf_a = _mm256_cmpeq_epi8(a, line_feed);
        const __m256i lf_b = _mm256_cmpeq_epi8(b, line_feed);
        const __m256i cr_a = _mm256_cmpeq_epi8(a, carriage_return);
        const __m256i cr_b = _mm256_cmpeq_epi8(b, carriage_return);
        const __m256i before_lf_a = _mm256_cmpeq_epi8(_mm256_loadu_si256(behind), line_feed);
        const __m256i before_lf_b = _mm256_cmpeq_epi8(_mm256_loadu_si256(behind + 1), line_feed);
        const __m256i quote_a =
            _mm256_or_si256(_mm256_cmpeq_epi8(a, quote), _mm256_cmpeq_epi8(a, escape));
        const __m256i quote_b =
            _mm256_or_si256(_mm256_cmpeq_epi8(b, quote), _mm256_cmpeq_epi8(b, escape));
        ChunkMask mask;
        mask.line_end = join(_mm256_or_si256(lf_a, _mm256_andnot_si256(before_lf_a, cr_a)),
                             _mm256_or_si256(lf_b, _mm256_andnot_si256(before_lf_b, cr_b)));
        mask.quote = join(quote_a, quote_b);
        const __m256i other_a =
            _mm256_or_si256(_mm256_cmpeq_epi8(a, delimiter), _mm256_or_si256(lf_a, cr_a));
        const __m256i other_b =
            _mm256_or_si256(_mm256_cmpeq_epi8(b, delimiter), _mm256_or_si256(lf_b, cr_b));
        mask.special = join(other_a, other_b) | mask.quote;
        out[chunk] = mask;
    }
    if (_mm256_movemask_epi8(any_high) != 0) notes.has_non_ascii = true;
    if (_mm256_movemask_epi8(_mm256_cmpeq_epi8(smallest, _mm256_setzero_si256())) != 0)
        notes.has_nul = true;
}

}  // namespace px::source::csv
