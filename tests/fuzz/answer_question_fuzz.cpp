// Any text as a question, as a model's answer, and as the files of an evaluation.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string>

#include "answer/compose.h"
#include "answer/constraints.h"
#include "answer/evaluation.h"
#include "answer/table_question.h"
#include "base/utf8.h"
#include "chunk/inspect.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
    const std::string bytes(reinterpret_cast<const char*>(data), size);
    const std::string text = px::utf8_sanitize(bytes);
    const std::vector<std::string> authors{"Ada B. Verne", "Federal Open Market Committee"};
    for (const auto& constraint : px::answer::read_constraints(text, authors, 0)) {
        if (text.find(constraint.text) == std::string::npos) std::abort();
    }
    px::answer::rewrite_follow_up({"What did Verne say in 2023?"}, text, authors, 0);
    px::answer::rewrite_follow_up({text}, "and in 2024?", authors, 0);
    for (const auto& sentence : px::answer::read_written(text)) {
        if (!px::utf8_is_valid(sentence.text)) std::abort();
    }
    (void)px::answer::numbers_of(text);
    (void)px::answer::offer_sql(text, {{"t", {{"n", "long", ""}, {"d", "date", "date"}}}}, authors,
                                0);
    (void)px::answer::parse_queries(bytes, "q");
    (void)px::answer::parse_judgements(bytes, "q");
    (void)px::answer::parse_promotion_rule(bytes);
    px::chunk::inspect(text);
    if (!px::utf8_is_valid(px::chunk::visible_text(text))) std::abort();
    return 0;
}
