// tool_source_dump: prints what a reader makes of a file, one JSON value a line, for the
// comparisons in tests/peers.
//   tool_source_dump FILE [OPTIONS]     OPTIONS: a JSON object of CSV options as in
//   tests/cases/source/csv.case
// First line: {"columns":[…],"raw":true}; then one a record: [line, byte_start, byte_end, fields or
// rule]; on failure last
// {"error":"…"} and exit code 1.
#include <boost/json.hpp>

#include <cstdio>
#include <iostream>
#include <string>

#include "source/open.h"
#include "source/record_text.h"

namespace json = boost::json;

namespace {

int failed(const px::Error& error) {
    std::cout << json::serialize(json::object{{"error", error.to_string()}}) << "\n";
    return 1;
}

int dump(const std::string& path, const json::object& options_json) {
    px::source::RecordOptions options;
    options.csv = px::source::testing::csv_options_from(options_json);
    options.jsonl = px::source::testing::jsonl_options_from(options_json);
    const auto format = px::source::format_of(path);
    auto reader =
        px::source::open_records(path, format.value_or(px::source::SourceFormat::Csv), options);
    if (!reader) return failed(reader.error());
    json::array columns((*reader)->columns().begin(), (*reader)->columns().end());
    std::cout << json::serialize(
                     json::object{{"columns", columns}, {"raw", (*reader)->offsets_are_raw()}})
              << "\n";
    px::source::RecordBlock block;
    for (;;) {
        const auto more = (*reader)->next(block, px::Deadline::never());
        if (!more) return failed(more.error());
        if (!*more) return 0;
        size_t malformed = 0;
        for (size_t row = 0; row < block.row_count(); ++row) {
            const auto& at = block.positions[row];
            json::array line{at.line, at.byte_start, at.byte_end};
            if (malformed < block.malformed.size() && block.malformed[malformed].row_index == row) {
                line.emplace_back(block.malformed[malformed++].rule);
            } else {
                json::array fields;
                for (size_t i = 0; i < block.column_count; ++i) {
                    const auto& field = block.fields[row * block.column_count + i];
                    fields.push_back(field.present ? json::value(json::string_view(
                                                         field.text.data(), field.text.size()))
                                                   : json::value(nullptr));
                }
                line.push_back(std::move(fields));
            }
            std::cout << json::serialize(line) << "\n";
        }
    }
}

}  // namespace

int main(int argc, char** argv) {
    if (argc < 2 || argc > 3) {
        std::cerr << "usage: tool_source_dump FILE [OPTIONS]\n";
        return 2;
    }
    std::ios::sync_with_stdio(false);
    json::error_code error;
    const json::value options = json::parse(argc == 3 ? argv[2] : "{}", error);
    if (error || !options.is_object()) {
        std::cerr << "the options are no JSON object\n";
        return 2;
    }
    return dump(argv[1], options.as_object());
}
