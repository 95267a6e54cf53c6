// How well a release finds what judges found fitting: nDCG@10, recall@100, MRR and latency over a
// file of queries and one of judgements (docs/answers.md), and the condition under which a release
// may be served. Rank 4. Any thread.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "answer/answer.h"

namespace px::answer {

struct EvalQuery {
    std::string id, text;
};
/// JSON lines {"query_id": …, "text": …}; blank lines are passed over. name: of the file, for
/// errors. Errors: InvalidArgument with the line: no such object, an id twice, no query at all.
Result<std::vector<EvalQuery>> parse_queries(std::string_view text, std::string_view name);

/// query → document (id as its source has it) → how fitting, 0 and up.
using Judgements = std::map<std::string, std::map<std::string, double>>;
/// Lines "query_id<TAB>doc_id<TAB>relevance" after an optional heading, or TREC's four columns
/// "query_id 0 doc_id relevance". Errors: InvalidArgument with the line.
Result<Judgements> parse_judgements(std::string_view text, std::string_view name);

struct Evaluation {
    int64_t release = 0;
    int64_t queries = 0;  ///< with at least one fitting document; others are not counted
    double ndcg_at_10 = 0, recall_at_100 = 0, mrr = 0;  ///< means over those, 0 to 1
    double p50_ms = 0, p99_ms = 0;                      ///< of one search, encoding included
};
/// The measures of one query. ranking: documents, best first. Gains are 2^relevance − 1.
struct QueryMeasures {
    double ndcg_at_10 = 0, recall_at_100 = 0, reciprocal_rank = 0;
};
QueryMeasures measure(const std::vector<std::string>& ranking,
                      const std::map<std::string, double>& judged);
/// One search after another. Errors: InvalidArgument (no query has a judgement), those of search.
Result<Evaluation> evaluate(const ReleaseView& view, const embed::Encoder& encoder,
                            const std::vector<EvalQuery>& queries, const Judgements& judgements,
                            const AnswerOptions& options, const Deadline& deadline);

/// "ndcg_at_10 >= last - 0.01", "mrr > 0.5": a measure (ndcg_at_10, recall_at_100, mrr), > or >=,
/// and a number, or the last served release's own measure plus or minus a number.
struct PromotionRule {
    std::string text;
    std::string measure;
    bool or_equal = true;
    bool against_last = false;
    double number = 0;  ///< added to last's, or the bound itself
};
/// Errors: InvalidArgument saying what is wrong with it.
Result<PromotionRule> parse_promotion_rule(std::string_view text);
struct PromotionVerdict {
    bool promoted = true;
    std::string reason;  ///< "ndcg_at_10 is 0.6120, last was 0.6514"
};
/// last: nullopt when no release is served yet; then a rule against it holds.
PromotionVerdict judge(const PromotionRule& rule, const Evaluation& now,
                       const std::optional<Evaluation>& last);

}  // namespace px::answer
