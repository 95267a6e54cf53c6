// ParsedHtml: a gumbo tree in an arena with a memory bound and a clock. The only header with gumbo
// in it. Rank 2.
#pragma once

#include <gumbo.h>

#include <memory>
#include <string>
#include <string_view>

#include "base/result.h"
#include "source/document/extract.h"

namespace px::source {

/// Owns the tree and all its memory, freed at once, so that a tree of any depth is dropped without
/// recursion.
class ParsedHtml {
  public:
    /// utf8_text must outlive the result. Errors: ResourceExhausted (deeper than html_depth_max, or
    /// than a large file may be; tree larger than html_memory_max), DeadlineExceeded, Cancelled.
    static Result<ParsedHtml> parse(std::string_view utf8_text, const ExtractOptions& options);

    ParsedHtml(ParsedHtml&&) noexcept;
    ParsedHtml& operator=(ParsedHtml&&) noexcept;
    ~ParsedHtml();

    const GumboNode* root() const;

  private:
    struct Tree;
    explicit ParsedHtml(std::unique_ptr<Tree> tree);
    std::unique_ptr<Tree> tree_;
};

}  // namespace px::source
