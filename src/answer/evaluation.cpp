#include "answer/evaluation.h"

#include <fmt/format.h>

#include <algorithm>
#include <boost/json.hpp>
#include <charconv>
#include <chrono>
#include <cmath>
#include <set>

#include "base/utf8.h"

namespace px::answer {

namespace {

namespace json = boost::json;

constexpr size_t kDepth = 100;  // of a ranking that is looked at
constexpr double kRelevanceMax = 20;

/// Calls sink(line, number) for each line that is not blank.
template <class Sink>
Result<void> lines(std::string_view text, Sink&& sink) {
    int64_t number = 0;
    for (size_t at = 0; at < text.size();) {
        const size_t end = std::min(text.find('\n', at), text.size());
        std::string_view line = text.substr(at, end - at);
        at = end + 1;
        ++number;
        while (!line.empty() && (line.back() == '\r' || line.back() == ' ')) line.remove_suffix(1);
        if (line.find_first_not_of(" \t") == std::string_view::npos) continue;
        PX_TRY(sink(line, number));
    }
    return {};
}

Error bad_line(std::string_view name, int64_t number, std::string_view what,
               std::string_view shape) {
    return fail(ErrorCode::InvalidArgument, fmt::format("{}:{} {}", name, number, what),
                fmt::format("Write {} on each line", shape));
}

std::optional<double> decimal(std::string_view text) {
    double value = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
    if (error != std::errc() || end != text.data() + text.size() || !std::isfinite(value))
        return std::nullopt;
    return value;
}

double measure_of(const Evaluation& evaluation, std::string_view name) {
    if (name == "recall_at_100") return evaluation.recall_at_100;
    if (name == "mrr") return evaluation.mrr;
    return evaluation.ndcg_at_10;
}

double percentile(std::vector<double> sorted, double share) {
    if (sorted.empty()) return 0;
    std::sort(sorted.begin(), sorted.end());
    const auto at = static_cast<size_t>(std::ceil(share * static_cast<double>(sorted.size())));
    return sorted[std::clamp<size_t>(at, 1, sorted.size()) - 1];
}

}  // namespace

Result<std::vector<EvalQuery>> parse_queries(std::string_view text, std::string_view name) {
    constexpr std::string_view kShape = R"({"query_id": "q1", "text": "…"})";
    std::vector<EvalQuery> queries;
    std::set<std::string> seen;
    PX_TRY(lines(text, [&](std::string_view line, int64_t number) -> Result<void> {
        json::error_code error;
        const json::value value = json::parse(json::string_view(line.data(), line.size()), error);
        const json::object* object = error ? nullptr : value.if_object();
        const json::value* id = object == nullptr ? nullptr : object->if_contains("query_id");
        const json::value* asked = object == nullptr ? nullptr : object->if_contains("text");
        if (id == nullptr || asked == nullptr || !asked->is_string() ||
            (!id->is_string() && !id->is_int64())) {
            return bad_line(name, number, "is not a query", kShape);
        }
        EvalQuery query{
            id->is_string() ? std::string(id->get_string()) : std::to_string(id->get_int64()),
            std::string(asked->get_string())};
        if (query.text.find_first_not_of(" \t\r\n\f\v") == std::string::npos)
            return bad_line(name, number, "has an empty text", kShape);
        if (!seen.insert(query.id).second) {
            return bad_line(name, number,
                            fmt::format("has the query_id '{}' a second time", query.id), kShape);
        }
        queries.push_back(std::move(query));
        return {};
    }));
    if (queries.empty())
        return fail(ErrorCode::InvalidArgument, fmt::format("{} holds no query", name));
    return queries;
}

Result<Judgements> parse_judgements(std::string_view text, std::string_view name) {
    constexpr std::string_view kShape = "query_id, document_id and relevance, separated by tabs,";
    Judgements judgements;
    PX_TRY(lines(text, [&](std::string_view line, int64_t number) -> Result<void> {
        if (!utf8_is_valid(line)) return bad_line(name, number, "is not UTF-8", kShape);
        std::vector<std::string_view> cells;
        const bool tabs = line.find('\t') != std::string_view::npos;
        for (size_t at = 0; at <= line.size();) {
            const size_t end = std::min(line.find_first_of(tabs ? "\t" : " ", at), line.size());
            if (end > at || tabs) cells.push_back(line.substr(at, end - at));
            at = end + 1;
        }
        if (cells.size() == 4) cells.erase(cells.begin() + 1);  // TREC's second column
        if (cells.size() != 3 || cells[0].empty() || cells[1].empty())
            return bad_line(name, number, fmt::format("has {} columns", cells.size()), kShape);
        const auto relevance = decimal(cells[2]);
        if (!relevance && number == 1) return {};  // the heading
        if (!relevance || *relevance > kRelevanceMax) {
            return bad_line(name, number,
                            fmt::format("has the relevance '{}'", cells[2].substr(0, 40)), kShape);
        }
        double& kept = judgements[std::string(cells[0])][std::string(cells[1])];
        kept = std::max(kept, *relevance);
        return {};
    }));
    return judgements;
}

QueryMeasures measure(const std::vector<std::string>& ranking,
                      const std::map<std::string, double>& judged) {
    QueryMeasures measures;
    std::vector<double> ideal;
    for (const auto& [document, relevance] : judged) {
        if (relevance > 0) ideal.push_back(relevance);
    }
    if (ideal.empty()) return measures;
    std::sort(ideal.begin(), ideal.end(), std::greater<>());
    const auto gain = [](double relevance, size_t rank) {
        return (std::exp2(relevance) - 1) / std::log2(static_cast<double>(rank) + 2);
    };
    double best = 0;
    for (size_t i = 0; i < std::min<size_t>(10, ideal.size()); ++i) best += gain(ideal[i], i);
    double got = 0;
    size_t found = 0;
    for (size_t i = 0; i < std::min(kDepth, ranking.size()); ++i) {
        const auto entry = judged.find(ranking[i]);
        if (entry == judged.end() || entry->second <= 0) continue;
        if (i < 10) got += gain(entry->second, i);
        if (found++ == 0) measures.reciprocal_rank = 1 / static_cast<double>(i + 1);
    }
    measures.ndcg_at_10 = got / best;
    measures.recall_at_100 = static_cast<double>(found) / static_cast<double>(ideal.size());
    return measures;
}

Result<Evaluation> evaluate(const ReleaseView& view, const embed::Encoder& encoder,
                            const std::vector<EvalQuery>& queries, const Judgements& judgements,
                            const AnswerOptions& options, const Deadline& deadline) {
    Evaluation sum;
    sum.release = view.release.id.value;
    std::vector<double> times;
    for (const EvalQuery& query : queries) {
        const auto judged = judgements.find(query.id);
        if (judged == judgements.end() ||
            std::none_of(judged->second.begin(), judged->second.end(),
                         [](const auto& entry) { return entry.second > 0; })) {
            continue;
        }
        SearchRequest request;
        request.question = query.text;
        request.top_k = kDepth;
        const auto started = std::chrono::steady_clock::now();
        const auto found = PX_TRY(search_documents(view, encoder, request, options, deadline)
                                      .context("query " + query.id));
        times.push_back(
            std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now() - started)
                .count());
        std::vector<std::string> ranking;
        std::set<std::string> seen;  // an id of two days counts once
        for (const auto& [document, score] : found) {
            if (seen.insert(document).second) ranking.push_back(document);
        }
        const QueryMeasures measures = measure(ranking, judged->second);
        sum.ndcg_at_10 += measures.ndcg_at_10;
        sum.recall_at_100 += measures.recall_at_100;
        sum.mrr += measures.reciprocal_rank;
        ++sum.queries;
    }
    if (sum.queries == 0) {
        return fail(ErrorCode::InvalidArgument, "no query has a judged document that fits",
                    "The query_id of both files must be the same");
    }
    const auto count = static_cast<double>(sum.queries);
    sum.ndcg_at_10 /= count;
    sum.recall_at_100 /= count;
    sum.mrr /= count;
    sum.p50_ms = percentile(times, 0.5);
    sum.p99_ms = percentile(times, 0.99);
    return sum;
}

Result<PromotionRule> parse_promotion_rule(std::string_view text) {
    const auto refused = [&](std::string_view why) {
        return fail(ErrorCode::InvalidArgument,
                    fmt::format("the condition '{}' {}", utf8_sanitize(text.substr(0, 80)), why),
                    "Write it as ndcg_at_10 >= last - 0.01, or mrr > 0.5");
    };
    std::vector<std::string_view> words;
    for (size_t at = 0; at < text.size();) {
        const char c = text[at];
        if (c == ' ' || c == '\t') {
            ++at;
            continue;
        }
        size_t end = at + 1;
        const bool comparing = c == '>' || c == '<' || c == '=';
        const bool sign = (c == '+' || c == '-');
        while (!sign && end < text.size() && text[end] != ' ' && text[end] != '\t' &&
               (comparing ? text[end] == '='
                          : std::string_view("<>=+-").find(text[end]) == std::string_view::npos)) {
            ++end;
        }
        words.push_back(text.substr(at, end - at));
        at = end;
    }
    PromotionRule rule;
    rule.text = std::string(text);
    if (words.size() != 3 && words.size() != 5) return refused("has not the shape of one");
    if (words[0] != "ndcg_at_10" && words[0] != "recall_at_100" && words[0] != "mrr")
        return refused("names no measure: they are ndcg_at_10, recall_at_100 and mrr");
    rule.measure = std::string(words[0]);
    if (words[1] != ">=" && words[1] != ">") return refused("compares by neither >= nor >");
    rule.or_equal = words[1] == ">=";
    rule.against_last = words[2] == "last";
    if (!rule.against_last) {
        const auto bound = decimal(words[2]);
        if (!bound || words.size() != 3) return refused("has no number to compare with");
        rule.number = *bound;
        return rule;
    }
    if (words.size() == 5) {
        const auto by = decimal(words[4]);
        if (!by || (words[3] != "-" && words[3] != "+")) return refused("has no number after last");
        rule.number = words[3] == "-" ? -*by : *by;
    }
    return rule;
}

PromotionVerdict judge(const PromotionRule& rule, const Evaluation& now,
                       const std::optional<Evaluation>& last) {
    const double value = measure_of(now, rule.measure);
    if (rule.against_last && !last)
        return {true, fmt::format("{} is {:.4f}, the first", rule.measure, value)};
    const double old = last ? measure_of(*last, rule.measure) : 0;
    const double bound = rule.number + (rule.against_last ? old : 0);
    constexpr double kRounding = 1e-9;  // equal measures are equal however they were summed
    PromotionVerdict verdict;
    verdict.promoted = rule.or_equal ? value >= bound - kRounding : value > bound + kRounding;
    verdict.reason = rule.against_last ? fmt::format("{} is {:.4f}, of release {} {:.4f}",
                                                     rule.measure, value, last->release, old)
                                       : fmt::format("{} is {:.4f}", rule.measure, value);
    return verdict;
}

}  // namespace px::answer
