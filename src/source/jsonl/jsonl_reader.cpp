#include "source/jsonl/jsonl_reader.h"

#include <fmt/format.h>

#include <algorithm>
#include <boost/json/basic_parser_impl.hpp>
#include <boost/json/error.hpp>
#include <boost/json/parse.hpp>
#include <boost/json/value.hpp>
#include <cstring>
#include <functional>
#include <optional>
#include <unordered_map>
#include <utility>

#include "base/utf8.h"
#include "source/text_feed.h"

namespace px::source {

namespace {

namespace json = boost::json;

constexpr size_t kMaxDepth = 64;
constexpr size_t kMaxBlockFields = 1 << 20;
constexpr size_t kLongRecordRawBytes = 64 * 1024;

struct TextHash {
    using is_transparent = void;
    size_t operator()(std::string_view text) const { return std::hash<std::string_view>()(text); }
};
using ColumnIndex = std::unordered_map<std::string, size_t, TextHash, std::equal_to<>>;

/// Receives the parse of one line: takes the members of its object as fields, nested values as
/// compact JSON.
class LineHandler {
  public:
    static constexpr size_t max_object_size = static_cast<size_t>(-1);
    static constexpr size_t max_array_size = static_cast<size_t>(-1);
    static constexpr size_t max_key_size = static_cast<size_t>(-1);
    static constexpr size_t max_string_size = static_cast<size_t>(-1);

    LineHandler() = default;

    /// Starts a line that stands in `storage`. fields: one for each column, all absent; null: keys
    /// are only collected.
    void begin(std::string_view line, TextStorage* storage, const std::vector<std::string>* columns,
               const ColumnIndex* index, RecordBlock::FieldValue* fields) {
        line_ = line;
        storage_ = storage;
        columns_ = columns;
        index_ = index;
        fields_ = fields;
        keys.clear();
        problem.clear();
        unknown_key.clear();
        has_unknown_key = has_nul = false;
        depth_ = 0;
        next_column_ = 0;
        partial_ = false;
        string_open_ = false;
        text_.clear();
    }

    std::vector<std::string> keys;  ///< when collecting
    std::string problem;            ///< what is wrong although the JSON is well-formed
    std::string unknown_key;
    bool has_unknown_key = false;
    bool has_nul = false;

    bool on_document_begin(json::error_code&) { return true; }
    bool on_document_end(json::error_code&) { return true; }
    bool on_object_begin(json::error_code&) {
        if (depth_++ > 0) open_nested('{');
        return true;
    }
    bool on_object_end(size_t, json::error_code&) {
        if (--depth_ > 0) close_nested('}');
        return true;
    }
    bool on_array_begin(json::error_code& error) {
        if (depth_ == 0) return refuse("the line holds an array, not an object", error);
        ++depth_;
        open_nested('[');
        return true;
    }
    bool on_array_end(size_t, json::error_code&) {
        --depth_;
        close_nested(']');
        return true;
    }
    bool on_key_part(json::string_view part, size_t, json::error_code&) {
        append_string(view(part));
        return true;
    }
    bool on_key(json::string_view part, size_t, json::error_code& error) {
        if (depth_ > 1) {
            append_string(view(part));
            end_string();
            text_ += ':';
            return true;
        }
        std::string_view key = view(part);
        if (partial_) {
            text_.append(key);
            key = text_;
        }
        const bool taken = take_key(key, error);
        partial_ = false;
        text_.clear();
        return taken;
    }
    bool on_string_part(json::string_view part, size_t, json::error_code&) {
        append_string(view(part));
        return true;
    }
    bool on_string(json::string_view part, size_t, json::error_code& error) {
        if (depth_ == 0) return refuse("the line holds a string, not an object", error);
        if (depth_ > 1) {
            append_string(view(part));
            end_string();
            return true;
        }
        const std::string_view last = view(part);
        if (partial_) {
            text_.append(last);
            put(text_, true);
        } else {
            put(last, true);
        }
        partial_ = false;
        text_.clear();
        return true;
    }
    bool on_number_part(json::string_view part, json::error_code&) {
        if (!partial_ && depth_ > 1) separate();
        partial_ = true;
        text_.append(view(part));
        return true;
    }
    bool on_int64(int64_t, json::string_view part, json::error_code& error) {
        return literal(part, error);
    }
    bool on_uint64(uint64_t, json::string_view part, json::error_code& error) {
        return literal(part, error);
    }
    bool on_double(double, json::string_view part, json::error_code& error) {
        return literal(part, error);
    }
    bool on_bool(bool value, json::error_code& error) {
        return literal(value ? "true" : "false", error);
    }
    bool on_null(json::error_code& error) {
        if (depth_ == 0) return refuse("the line holds null, not an object", error);
        if (depth_ > 1) {
            separate();
            text_ += "null";
        }
        return true;
    }
    bool on_comment_part(json::string_view, json::error_code&) { return true; }
    bool on_comment(json::string_view, json::error_code&) { return true; }

  private:
    static std::string_view view(json::string_view text) { return {text.data(), text.size()}; }

    bool refuse(std::string reason, json::error_code& error) {
        problem = std::move(reason);
        error = json::make_error_code(json::error::syntax);
        return false;
    }
    bool take_key(std::string_view key, json::error_code& error) {
        target_ = nullptr;
        if (key.find('\0') != std::string_view::npos) {  // names no column; the record is refused
            has_nul = true;
            return true;
        }
        if (fields_ == nullptr) {
            if (std::find(keys.begin(), keys.end(), key) != keys.end()) {
                return refuse(fmt::format("the key \"{}\" stands twice", key), error);
            }
            keys.emplace_back(key);
            return true;
        }
        // Records mostly have their keys in the same order.
        size_t column = next_column_;
        if (column >= columns_->size() || (*columns_)[column] != key) {
            const auto found = index_->find(key);
            if (found == index_->end()) {
                if (!has_unknown_key) unknown_key = std::string(key.substr(0, 200));
                has_unknown_key = true;
                return true;
            }
            column = found->second;
        }
        next_column_ = column + 1;
        target_ = fields_ + column;
        // A field is marked when its key is seen, so that null counts as well.
        if (target_->quoted)
            return refuse(fmt::format("the key \"{}\" stands twice", key.substr(0, 200)), error);
        target_->quoted = true;
        return true;
    }
    void put(std::string_view text, bool is_string) {
        if (is_string && !has_nul && std::memchr(text.data(), 0, text.size()) != nullptr)
            has_nul = true;
        if (target_ == nullptr) return;
        // Text that stands in the line as it is needs no copy.
        if (std::less<>()(text.data(), line_.data()) ||
            !std::less<>()(text.data(), line_.data() + line_.size())) {
            char* const copy = storage_->allocate(text.size());
            std::memcpy(copy, text.data(), text.size());
            text = {copy, text.size()};
        }
        target_->text = text;
        target_->present = true;
    }
    bool literal(json::string_view part, json::error_code& error) {
        if (depth_ == 0) return refuse("the line holds a single value, not an object", error);
        if (depth_ > 1) {
            if (!partial_) separate();
            text_.append(view(part));
            partial_ = false;
            return true;
        }
        if (partial_) {
            text_.append(view(part));
            put(text_, false);
        } else {
            put(view(part), false);
        }
        partial_ = false;
        text_.clear();
        return true;
    }
    /// The comma between two values of a nested array or object.
    void separate() {
        if (text_.empty()) return;
        const char last = text_.back();
        if (last != '{' && last != '[' && last != ':') text_ += ',';
    }
    void open_nested(char bracket) {
        separate();
        text_ += bracket;
    }
    void close_nested(char bracket) {
        text_ += bracket;
        if (depth_ > 1) return;
        put(text_, false);
        text_.clear();
    }
    void append_string(std::string_view part) {
        if (depth_ <= 1) {
            partial_ = true;
            text_.append(part);
            return;
        }
        if (!string_open_) {
            separate();
            text_ += '"';
            string_open_ = true;
        }
        for (const char c : part) {
            const auto byte = static_cast<unsigned char>(c);
            if (byte >= 0x20 && c != '"' && c != '\\') {
                text_ += c;
                continue;
            }
            switch (c) {
                case '"':
                    text_ += "\\\"";
                    break;
                case '\\':
                    text_ += "\\\\";
                    break;
                case '\n':
                    text_ += "\\n";
                    break;
                case '\r':
                    text_ += "\\r";
                    break;
                case '\t':
                    text_ += "\\t";
                    break;
                case '\b':
                    text_ += "\\b";
                    break;
                case '\f':
                    text_ += "\\f";
                    break;
                default:
                    text_ += fmt::format("\\u{:04x}", byte);
            }
        }
    }
    void end_string() {
        text_ += '"';
        string_open_ = false;
    }

    std::string_view line_;
    TextStorage* storage_ = nullptr;
    const std::vector<std::string>* columns_ = nullptr;
    const ColumnIndex* index_ = nullptr;
    RecordBlock::FieldValue* fields_ = nullptr;
    RecordBlock::FieldValue* target_ = nullptr;
    size_t depth_ = 0;
    size_t next_column_ = 0;
    bool partial_ = false;  ///< a key, string or number comes in several parts; they are in text_
    bool string_open_ = false;  ///< a nested string was begun in text_
    std::string text_;
};

json::parse_options strict_options() {
    json::parse_options options;
    options.max_depth = kMaxDepth;
    return options;
}

std::string_view trimmed(std::string_view text) {
    const size_t first = text.find_first_not_of(" \t\r");
    if (first == std::string_view::npos) return {};
    return text.substr(first, text.find_last_not_of(" \t\r") - first + 1);
}

/// The names in a first line such as ["id","day"]; nullopt when it is something else.
std::optional<std::vector<std::string>> header_names(std::string_view line) {
    line = trimmed(line);
    if (line.empty() || line.front() != '[') return std::nullopt;
    json::error_code error;
    const json::value value = json::parse(json::string_view(line.data(), line.size()), error);
    if (error || !value.is_array() || value.as_array().empty()) return std::nullopt;
    std::vector<std::string> names;
    for (const json::value& name : value.as_array()) {
        if (!name.is_string()) return std::nullopt;
        names.emplace_back(name.as_string().c_str(), name.as_string().size());
    }
    return names;
}

class JsonlFileReader final : public JsonlReader {
  public:
    JsonlFileReader(std::string name, const JsonlOptions& options, OpenedText text)
        : name_(std::move(name)),
          options_(options),
          encoding_(text.encoding),
          feed_(std::move(text), static_cast<size_t>(options.block_bytes),
                static_cast<size_t>(std::max(options.max_record_bytes, options.block_bytes))),
          parser_(strict_options()) {}

    /// The columns by header line or sample. is_header: the first line with text names them.
    struct Columns {
        std::vector<std::string> names;
        bool is_header = false;
    };
    Result<Columns> find_columns();
    Result<void> use_columns(Columns columns);

    const std::vector<std::string>& columns() const override { return columns_; }
    Result<bool> next(RecordBlock& block, const Deadline& deadline) override;
    bool offsets_are_raw() const override { return feed_.is_raw(); }
    int64_t bytes_read() const override { return feed_.bytes_read(); }
    Result<void> parse_one(std::string_view record, int64_t byte_start, int64_t line,
                           RecordBlock& block) override;

  private:
    enum class Found { Line, End, TooLong };
    struct Line {
        Found found = Found::End;
        std::string_view text;  ///< without its end
        int64_t byte_start = 0;
        int64_t number = 0;
    };
    /// The next line with text in it. AtHand: the block must not be left, as records of it are out;
    /// End then means that nothing more is at hand.
    enum class Reach { AtHand, ReadOn };
    Result<Line> next_line(Reach reach);
    Result<void> skip_long_line(RecordBlock& block, const Deadline& deadline);
    void parse_row(RecordBlock& block, size_t row, std::string_view line, TextStorage& storage);

    std::string name_;
    JsonlOptions options_;
    TextEncoding encoding_;
    TextFeed feed_;
    json::basic_parser<LineHandler> parser_;
    std::vector<std::string> columns_;
    ColumnIndex index_;
    size_t position_ = 0;
    int64_t line_ = 1;
    bool started_ = false;
};

Result<JsonlFileReader::Line> JsonlFileReader::next_line(Reach reach) {
    if (!started_) {
        PX_TRY(feed_.advance(0));
        started_ = true;
    }
    for (;;) {
        const char* const data = feed_.data();
        const size_t size = feed_.size();
        const auto* newline = static_cast<const char*>(
            position_ < size ? std::memchr(data + position_, '\n', size - position_) : nullptr);
        if (newline == nullptr && !feed_.at_end()) {
            if (reach == Reach::AtHand) return Line{};
            if (position_ > 0) {
                PX_TRY(feed_.advance(position_));
                position_ = 0;
            } else if (!PX_TRY(feed_.grow())) {
                return Line{Found::TooLong, {}, feed_.offset(), line_};
            }
            continue;
        }
        if (newline == nullptr && position_ == size) return Line{};
        const size_t start = position_;
        size_t end = newline == nullptr ? size : static_cast<size_t>(newline - data);
        position_ = newline == nullptr ? size : end + 1;
        if (end > start && data[end - 1] == '\r') --end;
        const std::string_view text(data + start, end - start);
        const int64_t number = line_++;
        if (trimmed(text).empty()) continue;
        return Line{Found::Line, text, feed_.offset() + static_cast<int64_t>(start), number};
    }
}

Result<JsonlFileReader::Columns> JsonlFileReader::find_columns() {
    Columns columns;
    ColumnIndex seen;
    int64_t records = 0;
    bool first = true;
    bool any = false;
    while (records < options_.sample_records &&
           feed_.offset() + static_cast<int64_t>(position_) < options_.sample_bytes) {
        const Line line = PX_TRY(next_line(Reach::ReadOn));
        if (line.found != Found::Line) {
            any |= line.found == Found::TooLong;
            break;
        }
        any = true;
        if (first) {
            first = false;
            if (auto names = header_names(line.text)) {
                columns.names = std::move(*names);
                columns.is_header = true;
                break;
            }
        }
        ++records;
        parser_.reset();
        LineHandler& handler = parser_.handler();
        handler.begin(line.text, nullptr, nullptr, nullptr, nullptr);
        json::error_code error;
        const size_t used = parser_.write_some(false, line.text.data(), line.text.size(), error);
        if (error || used != line.text.size() || !parser_.done())
            continue;  // next() tells about it
        for (const std::string& key : handler.keys) {
            if (seen.emplace(key, columns.names.size()).second) columns.names.push_back(key);
        }
        if (columns.names.size() > static_cast<size_t>(options_.max_columns)) break;
    }
    if (!any) {
        return fail(ErrorCode::Corrupt, fmt::format("{}: empty file, no record", name_),
                    "remove the file, or write a first line such as [\"id\",\"name\"] that names "
                    "the columns");
    }
    if (!feed_.text().binary_format.empty()) {
        return fail(ErrorCode::Corrupt,
                    fmt::format("{} is {}, not JSON Lines", name_, feed_.text().binary_format),
                    "leave it out of the source's pattern");
    }
    if (columns.names.empty()) {
        return fail(ErrorCode::Corrupt,
                    fmt::format("{}: none of the first {} lines is a JSON object with a key", name_,
                                records),
                    "JSON Lines hold one object a line; a single JSON array is another format");
    }
    return columns;
}

Result<void> JsonlFileReader::use_columns(Columns columns) {
    if (columns.names.size() > static_cast<size_t>(options_.max_columns)) {
        return fail(
            ErrorCode::Corrupt,
            fmt::format("{}: the first records have more than max_columns ({}) different keys",
                        name_, options_.max_columns),
            "keys that are data belong into a nested object; or raise max_columns");
    }
    columns_ = std::move(columns.names);
    for (size_t i = 0; i < columns_.size(); ++i) {
        if (columns_[i].find('\0') != std::string::npos) {
            return fail(
                ErrorCode::Corrupt,
                fmt::format("{}: the name of column {} holds a NUL character", name_, i + 1),
                "rename it");
        }
        if (!index_.emplace(columns_[i], i).second) {
            return fail(ErrorCode::Corrupt,
                        fmt::format("{}: the column \"{}\" is named twice", name_, columns_[i]));
        }
    }
    if (columns.is_header) PX_TRY(next_line(Reach::ReadOn));
    return {};
}

void JsonlFileReader::parse_row(RecordBlock& block, size_t row, std::string_view line,
                                TextStorage& storage) {
    RecordBlock::FieldValue* const fields = block.fields.data() + row * columns_.size();
    RecordBlock::FieldValue* const fields_end = fields + columns_.size();
    std::fill(fields, fields_end, RecordBlock::FieldValue{{}, false, false});
    parser_.reset();
    LineHandler& handler = parser_.handler();
    handler.begin(line, &storage, &columns_, &index_, fields);
    json::error_code error;
    const size_t used = parser_.write_some(false, line.data(), line.size(), error);

    std::string rule;
    std::string reason;
    const auto too_long = [&](const RecordBlock::FieldValue& field) {
        return field.text.size() > static_cast<size_t>(options_.max_field_bytes);
    };
    if (line.size() > static_cast<size_t>(options_.max_record_bytes)) {
        rule = "too_long";
        reason = fmt::format("the record has {} bytes; max_record_bytes is {}", line.size(),
                             options_.max_record_bytes);
    } else if (error && handler.problem.empty() && !utf8_is_valid(line)) {
        rule = "encoding";
        reason = fmt::format("no {} character at byte {} of the record",
                             text_encoding_name(encoding_), utf8_valid_prefix(line));
    } else if (error) {
        rule = "json";
        reason = handler.problem.empty()
                     ? fmt::format("{} at byte {} of the record", error.message(), used)
                     : handler.problem;
    } else if (!parser_.done()) {
        rule = "json";
        reason = "the line ends inside its JSON object";
    } else if (used != line.size()) {
        rule = "json";
        reason = fmt::format("text behind the JSON object, at byte {} of the record", used);
    } else if (handler.has_unknown_key) {
        rule = "field_count";
        reason = fmt::format("the key \"{}\" is not among the {} columns of the file",
                             handler.unknown_key, columns_.size());
    } else if (handler.has_nul) {
        rule = "encoding";
        reason = "a NUL character in a value or key";
    } else if (const auto* const field = std::find_if(fields, fields_end, too_long);
               field != fields_end) {
        rule = "too_long";
        reason = fmt::format("column {} has {} bytes; max_field_bytes is {}",
                             columns_[static_cast<size_t>(field - fields)], field->text.size(),
                             options_.max_field_bytes);
    }
    for (auto* field = fields; field != fields_end; ++field)
        field->quoted = false;  // was the mark of a key seen
    if (rule.empty()) return;
    std::fill(fields, fields_end, RecordBlock::FieldValue{{}, false, false});
    block.malformed.push_back({row, std::move(rule), std::move(reason)});
}

Result<bool> JsonlFileReader::next(RecordBlock& block, const Deadline& deadline) {
    const size_t column_count = columns_.size();
    block.column_count = column_count;
    block.readable = false;
    block.malformed.clear();
    block.storage.reset();
    const size_t row_max =
        std::min(static_cast<size_t>(options_.block_rows),
                 std::max<size_t>(1, kMaxBlockFields / std::max<size_t>(1, column_count)));
    PX_TRY(deadline.check());
    size_t row = 0;
    size_t text_bytes = 0;
    while (row < row_max && text_bytes < static_cast<size_t>(options_.block_bytes)) {
        const Line line = PX_TRY(next_line(row == 0 ? Reach::ReadOn : Reach::AtHand));
        if (line.found == Found::TooLong) {
            PX_TRY(skip_long_line(block, deadline));
            return true;
        }
        if (line.found == Found::End) break;
        if (row == block.positions.size() || (row + 1) * column_count > block.fields.size()) {
            block.positions.resize(std::max(block.positions.size(), row + 32));
            block.raw.resize(block.positions.size());
            block.fields.resize(block.positions.size() * column_count);
        }
        block.positions[row] = {line.number, line.byte_start,
                                line.byte_start + static_cast<int64_t>(line.text.size())};
        block.raw[row] = line.text;
        parse_row(block, row, line.text, *feed_.storage());
        text_bytes += line.text.size();
        ++row;
    }
    block.positions.resize(row);
    block.raw.resize(row);
    block.fields.resize(row * column_count);
    if (row > 0) block.storage = feed_.storage();
    return row > 0;
}

Result<void> JsonlFileReader::skip_long_line(RecordBlock& block, const Deadline& deadline) {
    RecordPosition place{line_, feed_.offset(), 0};
    // In storage of its own: the block's is read into again while the line is passed over.
    const size_t kept = std::min(feed_.size(), kLongRecordRawBytes);
    auto storage = std::make_shared<TextStorage>(kept);
    std::memcpy(storage->data(), feed_.data(), kept);
    for (;;) {
        const auto* newline = static_cast<const char*>(
            feed_.size() > 0 ? std::memchr(feed_.data(), '\n', feed_.size()) : nullptr);
        if (newline != nullptr) {
            position_ = static_cast<size_t>(newline - feed_.data()) + 1;
            place.byte_end = feed_.offset() + static_cast<int64_t>(position_) - 1;
            break;
        }
        if (feed_.at_end()) {
            position_ = feed_.size();
            place.byte_end = feed_.offset() + static_cast<int64_t>(position_);
            break;
        }
        PX_TRY(deadline.check());
        PX_TRY(feed_.discard());
    }
    ++line_;
    block.positions.assign(1, place);
    block.raw.assign(1, {storage->data(), kept});
    block.fields.assign(columns_.size(), RecordBlock::FieldValue{{}, false, false});
    block.malformed.push_back(
        {0, "too_long",
         fmt::format("the record has {} bytes; max_record_bytes is {} (raw holds its first {})",
                     place.byte_end - place.byte_start, options_.max_record_bytes, kept)});
    block.storage = std::move(storage);
    return {};
}

Result<void> JsonlFileReader::parse_one(std::string_view record, int64_t byte_start, int64_t line,
                                        RecordBlock& block) {
    auto storage = std::make_shared<TextStorage>(record.size());
    std::memcpy(storage->data(), record.data(), record.size());
    block.column_count = columns_.size();
    block.readable = false;
    block.positions.assign(1, {line, byte_start, byte_start + static_cast<int64_t>(record.size())});
    block.raw.assign(1, {storage->data(), record.size()});
    block.malformed.clear();
    block.fields.assign(columns_.size(), {});
    block.storage = storage;
    parse_row(block, 0, block.raw[0], *storage);
    return {};
}

}  // namespace

Result<void> JsonlOptions::validate() const {
    for (const auto& [name, value, least] :
         {std::tuple{"sample_records", sample_records, int64_t{1}},
          {"sample_bytes", sample_bytes, 1},
          {"max_field_bytes", max_field_bytes, 1},
          {"max_record_bytes", max_record_bytes, 1},
          {"max_columns", max_columns, 1},
          {"block_bytes", block_bytes, 64},
          {"block_rows", block_rows, 1}}) {
        if (value < least || value > (int64_t{1} << 40)) {
            return fail(
                ErrorCode::InvalidArgument,
                fmt::format("jsonl option {}: {} is not in {} to 2^40", name, value, least));
        }
    }
    return {};
}

/// JSON is UTF-8 (RFC 8259, section 8.1): other encodings only by their mark, their zeros, or when
/// told.
static Result<OpenedText> open_json_text(const std::filesystem::path& path, TextEncoding encoding) {
    OpenedText text = PX_TRY(open_text(path, encoding));
    if (encoding == TextEncoding::Auto && text.encoding == TextEncoding::Windows1252) {
        return open_text(path, TextEncoding::Utf8);
    }
    return text;
}

Result<std::unique_ptr<JsonlReader>> open_jsonl(const std::filesystem::path& path,
                                                const JsonlOptions& options) {
    PX_TRY(options.validate());
    JsonlFileReader::Columns columns{options.column_names, false};
    if (columns.names.empty()) {
        JsonlFileReader sampler(path.string(), options,
                                PX_TRY(open_json_text(path, options.encoding)));
        columns = PX_TRY(sampler.find_columns());
    }
    auto reader = std::make_unique<JsonlFileReader>(path.string(), options,
                                                    PX_TRY(open_json_text(path, options.encoding)));
    PX_TRY(reader->use_columns(std::move(columns)));
    return std::unique_ptr<JsonlReader>(std::move(reader));
}

}  // namespace px::source
