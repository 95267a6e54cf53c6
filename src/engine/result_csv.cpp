#include "engine/result_csv.h"

namespace px::engine {

std::string to_csv(const QueryResult& result) {
    std::string text;
    const auto append = [&](const std::string& field, bool quoted) {
        if (!quoted && field.find_first_of("\",\r\n") == std::string::npos) {
            text += field;
            return;
        }
        text += '"';
        for (const char c : field) {
            if (c == '"') text += '"';
            text += c;
        }
        text += '"';
    };
    for (size_t c = 0; c < result.columns.size(); ++c) {
        if (c > 0) text += ',';
        append(result.columns[c], false);
    }
    text += "\r\n";
    for (const auto& row : result.rows) {
        for (size_t c = 0; c < row.size(); ++c) {
            if (c > 0) text += ',';
            if (row[c]) append(*row[c], row[c]->empty());
        }
        text += "\r\n";
    }
    return text;
}

}  // namespace px::engine
