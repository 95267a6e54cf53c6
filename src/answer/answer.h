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

#include "answer/access.h"
#include "answer/constraints.h"
#include "base/clock.h"
#include "base/result.h"
#include "catalog/catalog.h"
#include "embed/encoder.h"
#include "engine/engine.h"
#include "generate/extractive.h"
#include "generate/writer.h"
#include "index/vector_store.h"

namespace px::answer {

struct SearchRequest {
    std::string question;
    size_t top_k = 10;
    index::Filter filter;
    enum class Mode { Hybrid, Dense, Lexical } mode = Mode::Hybrid;
    /// Whether what the question says of author and date narrows the search (find_passages, ask).
    enum class Constraints { Read, Ignore } constraints = Constraints::Read;
    std::vector<std::string> without;  ///< constraints not to apply, by their text
    /// Newer documents first: a passage's score halves with every so many days between its
    /// document and the newest one found. 0: the date does not count.
    double half_life_days = 0;
    std::vector<std::string> history;  ///< earlier questions of the conversation, oldest first
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
    /// false: a model wrote it and no passage supports it. Shown marked, never counted as grounded.
    bool supported = true;
};

/// A number of the answer with what makes it one: "5.4 percent", who says so, when.
struct Figure {
    int citation = 0;
    std::string text;   ///< as it stands in the quote: "$600 billion"
    std::string value;  ///< "600"
    std::string unit;   ///< "$ billion", "percent", "basis points"; "" for none
    std::string author, date;
};
/// Cited sentences that say the same of the same with other numbers.
struct Disagreement {
    std::vector<int> citations;       ///< oldest first
    std::vector<std::string> values;  ///< of each, as it stands there
    std::vector<std::string> dates;   ///< of each; "" without
};

/// A question about numbers of the lake, as SQL over its tables. Only offered: whoever asks runs
/// it, in the sandbox.
struct SqlOffer {
    std::string sql;
    std::string table;
    std::string explanation;  ///< in words: "sum of revenue by author in 2024"
};
/// What a contract says of a table's columns, for questions about numbers.
struct TableRoles {
    std::string table;
    struct Column {
        std::string name, type, role;  ///< types and roles by the words of the pipeline file
    };
    std::vector<Column> columns;
};

struct Answer {
    std::string question;                 ///< as it was understood, a follow-up made whole
    std::vector<Constraint> constraints;  ///< read from it and applied
    generate::Support support;
    std::string answer;  ///< sentences, each ending in its [n]; or "Not in the sources."
    std::vector<Sentence> sentences;  ///< the same, one by one
    std::vector<Figure> figures;
    std::vector<Disagreement> disagreements;
    std::optional<SqlOffer> sql;
    std::string generator = "extractive";  ///< or the name of the model that wrote it
    std::string notice;                    ///< why the model's answer was not taken; "" otherwise
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
    double min_support = 0.5;   ///< generate::Support::score below which the answer is
                                ///< "not in the sources"
    size_t per_document = 3;    ///< passages of one document among those
    /// Writes the answer instead of quoting sentences; null: quote.
    std::shared_ptr<const generate::Writer> writer;
    std::vector<TableRoles> tables;  ///< whose numbers may be asked about
};

/// Everything of one release that search needs.
struct ReleaseView {
    catalog::Release release;
    std::shared_ptr<const index::CollectionView> points;
    std::shared_ptr<const std::vector<std::string>> authors;  ///< of its documents; may be null
    Access access;                                            ///< whose view it is
    std::shared_ptr<const Admitted> admitted;                 ///< his documents; null: all of them
};

/// Best passages for a question. An empty question is InvalidArgument.
Result<std::vector<Passage>> search(const ReleaseView& view, const embed::Encoder& encoder,
                                    const SearchRequest& request, const AnswerOptions& options,
                                    const Deadline& deadline);
struct Found {
    std::vector<Passage> passages;
    std::vector<Constraint> constraints;  ///< that were read from the question and applied
};
/// search() with what the question itself says of author and date, and with recency.
Result<Found> find_passages(const ReleaseView& view, const embed::Encoder& encoder,
                            SearchRequest request, const AnswerOptions& options,
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
