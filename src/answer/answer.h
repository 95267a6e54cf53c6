// Answer: question → passages → grounded answer with citations, and SQL, all over one release.
// Rank 4. A ReleaseView is immutable and thread-safe; it keeps its segments and files open while it
// lives.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/clock.h"
#include "base/result.h"
#include "catalog/catalog.h"
#include "embed/encoder.h"
#include "engine/engine.h"
#include "index/vector_store.h"

namespace px::answer {

struct SearchRequest {
    std::string question;
    size_t top_k = 10;
    index::Filter filter;
    enum class Mode { Hybrid, Dense, Lexical } mode = Mode::Hybrid;
};

struct Passage {
    index::Point point;             ///< without vector
    double score = 0;               ///< fused, in [0, 1], best first
    double dense = 0, lexical = 0;  ///< raw scores; 0 when not found that way
};

/// Where an answer's words come from, down to the bytes.
struct Citation {
    int n = 0;          ///< [n] in the answer
    std::string quote;  ///< verbatim from the chunk
    std::string chunk_id, document_id, title, author, date, category;
    struct Source {
        std::string file;    ///< path as the source named it
        std::string landed;  ///< key in the landing zone
        std::string sha256;
        int64_t line = 0, byte_start = 0, byte_end = 0;
    } source;
    std::string table;
    int64_t version = 0;  ///< of the table
    int64_t release = 0;
    int64_t text_start = 0, text_end = 0;  ///< the quote in the document's text (UTF-8 bytes)
};

/// One sentence of an answer, as its source says it.
struct Sentence {
    std::string text;  ///< without its mark; brackets in it are the source's own
    int citation = 0;  ///< n of its citation; 0: none
};

struct Answer {
    std::string answer;  ///< sentences, each ending in its [n]; or "Not in the sources."
    std::vector<Sentence> sentences;  ///< the same, one by one
    bool grounded = false;
    std::vector<Citation> citations;
    std::vector<Passage> passages;
    int64_t release = 0;
    double elapsed_ms = 0;
};

struct AnswerOptions {
    size_t candidates = 100;    ///< documents (hybrid) or passages taken from each search
    double dense_weight = 0.5;  ///< of meaning against words
    size_t passages = 8;        ///< the answer is made from
    size_t sentences = 5;       ///< of the answer at most
    double min_support = 0.35;  ///< cosine of question and best sentence below which the answer is
                                ///< "not in the sources"
};

/// Everything of one release that search needs.
struct ReleaseView {
    catalog::Release release;
    std::shared_ptr<const index::CollectionView> points;
};

/// Best passages for a question. An empty question is InvalidArgument.
Result<std::vector<Passage>> search(const ReleaseView& view, const embed::Encoder& encoder,
                                    const SearchRequest& request, const AnswerOptions& options,
                                    const Deadline& deadline);
/// Best passage of each document, for evaluation: (document id as its source has it, score), best
/// first. Documents of two sources or dates with one id are two entries.
Result<std::vector<std::pair<std::string, double>>> search_documents(const ReleaseView& view,
                                                                     const embed::Encoder& encoder,
                                                                     const SearchRequest& request,
                                                                     const AnswerOptions& options,
                                                                     const Deadline& deadline);
/// A grounded answer. Citations are filled from the catalog's documents of the release.
Result<Answer> ask(const ReleaseView& view, catalog::Catalog& catalog,
                   const embed::Encoder& encoder, const SearchRequest& request,
                   const AnswerOptions& options, const Deadline& deadline);
/// The citation of a whole chunk of the release, e.g. for the page. Errors: NotFound.
Result<Citation> cite(const ReleaseView& view, catalog::Catalog& catalog,
                      const std::string& chunk_id);

/// Re-derives a document's text from the landed bytes, by the pipeline file of the run that brought
/// the row; provided by the pipeline. Checks the landed file's sha256. Errors: also those of the
/// deadline.
using Rederive = std::function<Result<std::string>(const catalog::DocumentRow& document,
                                                   const Deadline& deadline)>;
struct Verification {
    bool verified = false;
    std::vector<std::pair<std::string, bool>>
        steps;  ///< "landed file sha256", "record bytes", "document text", "chunk id", "quote"
    /// Of the steps: how many were looked at. A step behind a broken one that it rests on is
    /// neither passed nor checked.
    size_t checked = 0;
    std::string reason;  ///< of the first failed step
};
Result<Verification> verify(const ReleaseView& view, catalog::Catalog& catalog,
                            const Citation& citation, const Rederive& rederive,
                            const Deadline& deadline);

}  // namespace px::answer
