// Analyses arbitrary text and cuts it into sentences: tokens and sentences must be well-formed
// pieces.
#include <cstdint>
#include <cstdlib>
#include <string>

#include "base/utf8.h"
#include "generate/extractive.h"
#include "generate/sentences.h"
#include "index/analysis.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
    using namespace px;
    const std::string text = utf8_sanitize({reinterpret_cast<const char*>(data), size});
    index::Analyzer analyzer;
    analyzer.tokens(text, [](std::string_view token) {
        if (token.empty() || token.size() > 64 || !utf8_is_valid(token)) std::abort();
    });
    (void)analyzer.terms(text);
    (void)index::fold_case(text);
    size_t end = 0;
    for (const generate::Sentence& sentence : generate::split_sentences(text)) {
        if (sentence.start < end || sentence.end <= sentence.start || sentence.end > text.size())
            std::abort();
        const auto piece =
            std::string_view(text).substr(sentence.start, sentence.end - sentence.start);
        if (!utf8_is_valid(piece)) std::abort();
        (void)generate::display_text(piece);
        end = sentence.end;
    }
    if (!text.empty()) {
        size_t middle = text.size() / 2;
        while (middle < text.size() && (static_cast<unsigned char>(text[middle]) & 0xC0) == 0x80)
            ++middle;
        (void)generate::is_sentence_break(std::string_view(text).substr(0, middle),
                                          std::string_view(text).substr(middle));
    }
    return 0;
}
