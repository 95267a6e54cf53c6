// Analysis: text → the terms of the lexical index. Words by Unicode categories, case folded,
// accents stripped, English stop words dropped, Snowball English stems; scripts written without
// spaces give pairs of characters (bigrams). Rank 2. Points and queries pass through the same code;
// a change here changes the version of the segment format.
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <type_traits>
#include <vector>

namespace px::index {

/// Not thread-safe (the stemmer keeps a buffer); cheap to make: one for each thread or query.
class Analyzer {
  public:
    Analyzer();
    ~Analyzer();
    Analyzer(const Analyzer&) = delete;
    Analyzer& operator=(const Analyzer&) = delete;

    /// Calls sink(token) for each folded word, number or bigram of text in order; a token lives
    /// until sink returns. text: well-formed UTF-8. Numbers keep their decimal point and lose
    /// thousands commas; a token has at most 64 bytes. O(text), no allocation per token.
    template <class Sink>
    void tokens(std::string_view text, Sink&& sink) {
        using Callable = std::remove_reference_t<Sink>;
        walk(
            text,
            [](void* context, std::string_view token) {
                (*static_cast<Callable*>(context))(token);
            },
            const_cast<void*>(static_cast<const void*>(&sink)));
    }
    /// The term of a token: its stem; empty for a stop word. Valid until the next call.
    std::string_view term_of(std::string_view token);
    /// Terms of text in order, repeats included. For queries and sentences.
    std::vector<std::string> terms(std::string_view text);

  private:
    using Emit = void (*)(void* context, std::string_view token);
    void walk(std::string_view text, Emit emit, void* context);
    struct State;
    std::unique_ptr<State> state_;
};

/// Unicode case folding (full), canonically composed; ill-formed bytes become U+FFFD. For comparing
/// authors and categories.
std::string fold_case(std::string_view text);

}  // namespace px::index
