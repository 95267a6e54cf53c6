#include "gateway/response_json.h"

#include <fmt/format.h>

#include <bit>
#include <boost/json/parse.hpp>
#include <boost/json/value.hpp>
#include <cmath>
#include <cstdint>
#include <iterator>
#include <utility>

#include "answer/answer_json.h"
#include "engine/result_json.h"

namespace px::gateway {
namespace {

namespace json = boost::json;

void append_texts(std::string& out, const std::vector<std::string>& texts) {
    out.push_back('[');
    for (size_t i = 0; i < texts.size(); ++i) {
        if (i > 0) out.push_back(',');
        engine::append_json_string(texts[i], out);
    }
    out.push_back(']');
}

void append_value(std::string& out, const json::value& value) {
    const auto into = std::back_inserter(out);
    switch (value.kind()) {
        case json::kind::null:
            out += "null";
            break;
        case json::kind::bool_:
            out += value.get_bool() ? "true" : "false";
            break;
        case json::kind::int64:
            fmt::format_to(into, "{}", value.get_int64());
            break;
        case json::kind::uint64:
            fmt::format_to(into, "{}", value.get_uint64());
            break;
        case json::kind::double_: {
            const double number = value.get_double();
            if (!std::isfinite(number)) {
                out += "null";
            } else {
                fmt::format_to(into, "{}", number);
            }
            break;
        }
        case json::kind::string:
            engine::append_json_string({value.get_string().data(), value.get_string().size()}, out);
            break;
        case json::kind::array: {
            out.push_back('[');
            bool first = true;
            for (const json::value& item : value.get_array()) {
                if (!std::exchange(first, false)) out.push_back(',');
                append_value(out, item);
            }
            out.push_back(']');
            break;
        }
        case json::kind::object: {
            out.push_back('{');
            bool first = true;
            for (const auto& [name, item] : value.get_object()) {
                if (!std::exchange(first, false)) out.push_back(',');
                engine::append_json_string({name.data(), name.size()}, out);
                out.push_back(':');
                append_value(out, item);
            }
            out.push_back('}');
            break;
        }
    }
}

/// Text that is JSON already, or a string if it isn't.
json::value embedded(const std::string& text) {
    if (text.empty()) return nullptr;
    json::error_code error;
    json::value value = json::parse(text, error);
    return error ? json::value(text) : value;
}

}  // namespace

std::string write_json(const json::value& value) {
    std::string out;
    append_value(out, value);
    return out;
}

json::value time_json(std::optional<TimestampMicros> time) {
    return time ? json::value(format_timestamp(*time)) : json::value(nullptr);
}

json::object release_json(const catalog::Release& release, bool restricted) {
    json::object tables;
    for (const auto& [name, version] : release.table_versions) {
        if (!restricted) tables[name] = version;
    }
    json::object object;
    object["id"] = release.id.value;
    object["run"] = release.run.value;
    object["ds"] = release.ds;
    object["published_at"] = time_json(release.published_at);
    object["documents"] = restricted ? json::value(nullptr) : json::value(release.documents);
    object["chunks"] = restricted ? json::value(nullptr) : json::value(release.chunks);
    object["tables"] = std::move(tables);
    object["index_manifest"] = restricted ? std::string() : release.index_manifest;
    return object;
}

json::object run_json(const catalog::Run& run) {
    json::object object;
    object["id"] = run.id.value;
    object["ds"] = run.ds;
    object["state"] = catalog::run_state_name(run.state);
    object["started_at"] = time_json(run.started_at);
    object["finished_at"] = time_json(run.finished_at);
    object["duration_ms"] =
        run.finished_at ? json::value(static_cast<double>(*run.finished_at - run.started_at) / 1000)
                        : json::value(nullptr);
    object["message"] = run.message;
    object["release"] = run.release ? json::value(run.release->value) : json::value(nullptr);
    object["report"] = embedded(run.report_json);
    return object;
}

json::object task_json(const catalog::TaskAttempt& task) {
    json::object object;
    object["task"] = task.task;
    object["attempt"] = task.attempt;
    object["state"] = task.state;
    object["started_at"] = time_json(task.started_at);
    object["finished_at"] = time_json(task.finished_at);
    object["message"] = task.message;
    return object;
}

json::object document_json(const catalog::DocumentRow& document) {
    json::object object;
    object["document_id"] = document.document_id;
    object["source"] = document.source;
    object["ds"] = document.ds;
    object["title"] = document.title;
    object["author"] = document.author;
    object["category"] = document.category;
    object["created_at"] = time_json(document.created_at);
    object["ingested_at"] = time_json(document.ingested_at);
    object["file"] = document.path;
    object["landed"] = document.landed_key;
    object["sha256"] = document.landed_sha256;
    object["line"] = document.line;
    object["byte_start"] = document.byte_start;
    object["byte_end"] = document.byte_end;
    object["text_length"] = document.text_length;
    return object;
}

json::object table_json(const answer::TableInfo& table) {
    json::array columns;
    for (const columnar::Field& field : table.schema.fields) {
        columns.push_back({{"name", field.name},
                           {"type", columnar::delta_type_name(field.type)},
                           {"nullable", field.nullable}});
    }
    json::object object;
    object["name"] = table.name;
    object["version"] = table.version;
    object["columns"] = std::move(columns);
    object["partition_columns"] =
        json::array(table.partition_columns.begin(), table.partition_columns.end());
    object["file_count"] = table.narrowed ? json::value(nullptr) : json::value(table.file_count);
    object["size_bytes"] = table.narrowed ? json::value(nullptr) : json::value(table.size_bytes);
    object["row_count"] = table.row_count ? json::value(*table.row_count) : json::value(nullptr);
    return object;
}

json::array citations_json(const std::vector<answer::Citation>& citations) {
    json::array array;
    for (const answer::Citation& citation : citations) array.push_back(answer::to_json(citation));
    return array;
}

json::array passages_json(const std::vector<answer::Passage>& passages) {
    json::array array;
    for (const answer::Passage& passage : passages) array.push_back(answer::to_json(passage));
    return array;
}

std::string query_result_json(const engine::QueryResult& result, int64_t release, Cells cells) {
    std::string out;
    out.reserve(256 + result.rows.size() * result.columns.size() * 12);
    out += "{\"columns\":";
    append_texts(out, result.columns);
    out += ",\"types\":";
    append_texts(out, result.types);
    out += ",\"rows\":[";
    for (size_t r = 0; r < result.rows.size(); ++r) {
        out += r > 0 ? ",[" : "[";
        for (size_t c = 0; c < result.rows[r].size(); ++c) {
            if (c > 0) out.push_back(',');
            const bool as_text = cells == Cells::Text || c >= result.types.size();
            engine::append_json_cell(as_text ? std::string_view("VARCHAR") : result.types[c],
                                     result.rows[r][c], out);
        }
        out.push_back(']');
    }
    fmt::format_to(std::back_inserter(out),
                   "],\"row_count\":{},\"truncated\":{},\"elapsed_ms\":{:.3f},\"release\":{}",
                   result.rows.size(), result.truncated, result.elapsed_ms, release);
    if (result.plan) {
        out += ",\"plan\":";
        engine::append_json_string(result.plan->text, out);
        fmt::format_to(std::back_inserter(out), ",\"rows_scanned\":{},\"bytes_scanned\":{}",
                       result.plan->rows_scanned, result.plan->bytes_scanned);
    }
    out += '}';
    return out;
}

namespace {

/// RFC 4648, with padding.
void put_base64(std::string_view bytes, std::string& out) {
    static constexpr std::string_view kDigits =
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    for (size_t i = 0; i < bytes.size(); i += 3) {
        uint32_t group = 0;
        for (size_t j = 0; j < 3; ++j) {
            group <<= 8;
            if (i + j < bytes.size()) group |= static_cast<unsigned char>(bytes[i + j]);
        }
        for (size_t j = 0; j < 4; ++j)
            out += i + j > bytes.size() ? '=' : kDigits[group >> (18 - 6 * j) & 63U];
    }
}

}  // namespace

std::string embeddings_json(const std::vector<float>& vectors, size_t width, VectorForm form,
                            std::string_view model, int64_t token_count) {
    static_assert(std::endian::native == std::endian::little);
    std::string out = R"({"object":"list","data":[)";
    out.reserve(vectors.size() * (form == VectorForm::Base64 ? 6 : 13) + 1024);
    const auto into = std::back_inserter(out);
    for (size_t first = 0; first < vectors.size(); first += width) {
        fmt::format_to(into, R"({}{{"object":"embedding","index":{},"embedding":)",
                       first == 0 ? "" : ",", first / width);
        if (form == VectorForm::Base64) {
            out += '"';
            put_base64(
                {reinterpret_cast<const char*>(vectors.data() + first), width * sizeof(float)},
                out);
            out += '"';
        } else {
            for (size_t d = 0; d < width; ++d)
                fmt::format_to(into, "{}{}", d == 0 ? '[' : ',', vectors[first + d]);
            out += ']';
        }
        out += '}';
    }
    fmt::format_to(
        into, R"(],"model":{},"usage":{{"prompt_tokens":{},"total_tokens":{}}}}})",
        write_json(boost::json::value(boost::json::string_view(model.data(), model.size()))),
        token_count, token_count);
    return out;
}

}  // namespace px::gateway
