#include "answer/answer_json.h"

#include <fmt/format.h>

#include <boost/json.hpp>
#include <climits>
#include <cmath>

#include "answer/citation.h"
#include "chunk/inspect.h"

namespace px::answer {

namespace {

namespace json = boost::json;

double rounded(double value, double steps) { return std::round(value * steps) / steps; }

Result<void> read(const json::object& object, std::string_view name, std::string& out) {
    const json::value* value = object.if_contains({name.data(), name.size()});
    if (value == nullptr || value->is_null()) return {};
    if (!value->is_string())
        return fail(ErrorCode::InvalidArgument,
                    fmt::format("field \"{}\" of the citation is no string", name));
    out.assign(value->get_string().data(), value->get_string().size());
    return {};
}

Result<void> read(const json::object& object, std::string_view name, int64_t& out) {
    const json::value* value = object.if_contains({name.data(), name.size()});
    if (value == nullptr || value->is_null()) return {};
    if (!value->is_int64())
        return fail(ErrorCode::InvalidArgument,
                    fmt::format("field \"{}\" of the citation is no whole number", name));
    out = value->get_int64();
    return {};
}

}  // namespace

json::object to_json(const Passage& passage) {
    const index::Point& point = passage.point;
    json::object object;
    object["score"] = rounded(passage.score, 1e6);
    object["dense"] = rounded(passage.dense, 1e6);
    object["lexical"] = rounded(passage.lexical, 1e6);
    object["chunk_id"] = point.id.value;
    object["document_id"] = raw_document_id(point.document_id);
    object["document"] = point.document_id;
    object["source"] = point.source;
    object["ds"] = point.ds;
    object["title"] = point.title;
    object["author"] = point.author;
    object["category"] = point.category;
    object["date"] = citation_date(point.created_at);
    object["text"] = point.text;
    object["text_start"] = point.span.start;
    object["text_end"] = point.span.end;
    json::array flags;
    for (const std::string& kind : chunk::inspect(point.text)) flags.emplace_back(kind);
    object["flags"] = std::move(flags);
    return object;
}

json::object to_json(const Citation& citation) {
    json::object source;
    source["file"] = citation.source.file;
    source["landed"] = citation.source.landed;
    source["sha256"] = citation.source.sha256;
    source["line"] = citation.source.line;
    source["byte_start"] = citation.source.byte_start;
    source["byte_end"] = citation.source.byte_end;
    json::object object;
    object["n"] = citation.n;
    object["quote"] = citation.quote;
    object["chunk_id"] = citation.chunk_id;
    object["document_id"] = raw_document_id(citation.document_id);
    object["document"] = citation.document_id;
    object["title"] = citation.title;
    object["author"] = citation.author;
    object["date"] = citation.date;
    object["category"] = citation.category;
    object["source"] = std::move(source);
    object["table"] = citation.table;
    object["version"] = citation.version;
    object["release"] = citation.release;
    object["text_start"] = citation.text_start;
    object["text_end"] = citation.text_end;
    return object;
}

json::array to_json(const std::vector<Constraint>& constraints) {
    json::array array;
    for (const Constraint& constraint : constraints) {
        array.push_back({{"field", constraint.field},
                         {"op", constraint.op},
                         {"value", constraint.value},
                         {"text", constraint.text}});
    }
    return array;
}

json::object to_json(const generate::Support& support) {
    json::object object;
    object["score"] = rounded(support.score, 1e4);
    object["meaning"] = rounded(support.meaning, 1e4);
    object["words"] = rounded(support.words, 1e4);
    object["context"] = rounded(support.context, 1e4);
    object["names"] = rounded(support.names, 1e4);
    object["kind"] = rounded(support.kind, 1e4);
    return object;
}

json::object to_json(const Answer& answer) {
    json::array citations;
    for (const Citation& citation : answer.citations) citations.push_back(to_json(citation));
    json::object object;
    object["question"] = answer.question;
    object["constraints"] = to_json(answer.constraints);
    object["support"] = to_json(answer.support);
    object["answer"] = answer.answer;
    object["generator"] = answer.generator;
    object["notice"] = answer.notice;
    json::array unsupported;
    for (const Sentence& sentence : answer.sentences) {
        if (!sentence.supported) unsupported.emplace_back(sentence.text);
    }
    object["unsupported"] = std::move(unsupported);
    json::array figures;
    for (const Figure& figure : answer.figures) {
        figures.push_back({{"citation", figure.citation},
                           {"text", figure.text},
                           {"value", figure.value},
                           {"unit", figure.unit},
                           {"author", figure.author},
                           {"date", figure.date}});
    }
    object["figures"] = std::move(figures);
    json::array disagreements;
    for (const Disagreement& one : answer.disagreements) {
        disagreements.push_back({{"citations", json::value_from(one.citations)},
                                 {"values", json::value_from(one.values)},
                                 {"dates", json::value_from(one.dates)}});
    }
    object["disagreements"] = std::move(disagreements);
    object["sql"] = nullptr;
    if (answer.sql) {
        object["sql"] = json::object{{"query", answer.sql->sql},
                                     {"table", answer.sql->table},
                                     {"explanation", answer.sql->explanation}};
    }
    object["grounded"] = answer.grounded;
    object["citations"] = std::move(citations);
    object["release"] = answer.release;
    object["elapsed_ms"] = rounded(answer.elapsed_ms, 1e3);
    return object;
}

json::object to_json(const Verification& verification) {
    json::array steps;
    for (const auto& [name, passed] : verification.steps)
        steps.push_back({{"step", name}, {"passed", passed}});
    json::object object;
    object["verified"] = verification.verified;
    object["steps"] = std::move(steps);
    object["reason"] = verification.reason;
    return object;
}

Result<Citation> citation_from_json(const json::object& object) {
    Citation citation;
    int64_t n = 0;
    PX_TRY(read(object, "n", n));
    if (n < 0 || n > INT_MAX)
        return fail(ErrorCode::InvalidArgument,
                    fmt::format("field \"n\" of the citation is {}", n));
    citation.n = static_cast<int>(n);
    PX_TRY(read(object, "quote", citation.quote));
    PX_TRY(read(object, "chunk_id", citation.chunk_id));
    PX_TRY(read(object, object.contains("document") ? "document" : "document_id",
                citation.document_id));
    PX_TRY(read(object, "title", citation.title));
    PX_TRY(read(object, "author", citation.author));
    PX_TRY(read(object, "date", citation.date));
    PX_TRY(read(object, "category", citation.category));
    PX_TRY(read(object, "table", citation.table));
    PX_TRY(read(object, "version", citation.version));
    PX_TRY(read(object, "release", citation.release));
    PX_TRY(read(object, "text_start", citation.text_start));
    PX_TRY(read(object, "text_end", citation.text_end));
    if (const json::value* source = object.if_contains("source");
        source != nullptr && !source->is_null()) {
        if (!source->is_object())
            return fail(ErrorCode::InvalidArgument,
                        "field \"source\" of the citation is no object");
        const json::object& fields = source->get_object();
        PX_TRY(read(fields, "file", citation.source.file));
        PX_TRY(read(fields, "landed", citation.source.landed));
        PX_TRY(read(fields, "sha256", citation.source.sha256));
        PX_TRY(read(fields, "line", citation.source.line));
        PX_TRY(read(fields, "byte_start", citation.source.byte_start));
        PX_TRY(read(fields, "byte_end", citation.source.byte_end));
    }
    return citation;
}

}  // namespace px::answer
