#include "app/config.h"

#include "answer/evaluation.h"

#include <fmt/format.h>
#include <unistd.h>
#include <yaml-cpp/yaml.h>

#include <algorithm>
#include <charconv>
#include <fstream>
#include <sstream>
#include <thread>

#include "base/utf8.h"
#include "capi/curl/digest.h"
#include "schedule/cron.h"
#include "store/open.h"

extern char** environ;

namespace px::app {

namespace {

using pipeline::CostDefinition;
using pipeline::SourceKind;
using pipeline::SourceMode;

/// Insertions, deletions, replacements and swaps of neighbours.
size_t edit_distance(std::string_view a, std::string_view b) {
    std::vector<size_t> before_last(b.size() + 1);
    std::vector<size_t> last(b.size() + 1);
    std::vector<size_t> row(b.size() + 1);
    for (size_t j = 0; j <= b.size(); ++j) last[j] = j;
    for (size_t i = 1; i <= a.size(); ++i) {
        row[0] = i;
        for (size_t j = 1; j <= b.size(); ++j) {
            const size_t replaced = last[j - 1] + (a[i - 1] == b[j - 1] ? 0 : 1);
            row[j] = std::min({last[j] + 1, row[j - 1] + 1, replaced});
            if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1])
                row[j] = std::min(row[j], before_last[j - 2] + 1);
        }
        std::swap(before_last, last);
        std::swap(last, row);
    }
    return last[b.size()];
}

/// "NAME=value" lines; # comments; quotes around a value are dropped.
std::map<std::string, std::string> read_dotenv(const std::filesystem::path& file) {
    std::map<std::string, std::string> variables;
    std::ifstream stream(file);
    std::string line;
    while (std::getline(stream, line)) {
        if (!line.empty() && line.back() == '\r') line.pop_back();
        const size_t start = line.find_first_not_of(" \t");
        if (start == std::string::npos || line[start] == '#') continue;
        if (line.compare(start, 7, "export ") == 0) line.erase(start, 7);
        const size_t equals = line.find('=', start);
        if (equals == std::string::npos) continue;
        std::string name = line.substr(start, equals - start);
        while (!name.empty() && (name.back() == ' ' || name.back() == '\t')) name.pop_back();
        std::string value = line.substr(equals + 1);
        const size_t first = value.find_first_not_of(" \t");
        value = first == std::string::npos ? "" : value.substr(first);
        if (value.size() >= 2 && (value[0] == '"' || value[0] == '\'') &&
            value.find(value[0], 1) != std::string::npos) {
            value = value.substr(1, value.find(value[0], 1) - 1);
        } else {
            const size_t comment = value.find(" #");
            if (comment != std::string::npos) value.resize(comment);
            while (!value.empty() && (value.back() == ' ' || value.back() == '\t'))
                value.pop_back();
        }
        variables[name] = value;
    }
    return variables;
}

/// An address as it may be shown: user:***@, and *** for the passwords among its parameters.
std::string without_password(std::string address) {
    const size_t begin = address.find("://");
    if (begin == std::string::npos) return address;
    size_t path = address.find_first_of("/?", begin + 3);
    // A password that was not encoded may hold a slash.
    if (const size_t at = address.rfind('@'); at != std::string::npos) {
        const size_t colon = address.find(':', begin + 3);
        if (colon < at) {
            address.replace(colon + 1, at - colon - 1, "***");
            path = address.find_first_of("/?", colon + 4);
        }
    }
    for (const std::string_view name : {"password=", "sslpassword=", "sig="}) {
        for (size_t at = address.find(name, path == std::string::npos ? begin : path);
             at != std::string::npos; at = address.find(name, at + name.size())) {
            const size_t from = at + name.size();
            const size_t to = std::min(address.find('&', from), address.size());
            address.replace(from, to - from, "***");
        }
    }
    return address;
}

/// Reads nodes with their place, resolves ${env:NAME}, notes where each setting came from.
class FileReader {
  public:
    FileReader(std::string file_name, const Environment& environment,
               std::map<std::string, std::string> dotenv)
        : file_(std::move(file_name)), environment_(environment), dotenv_(std::move(dotenv)) {}

    Error error(const YAML::Node& node, std::string message, std::string hint = {}) const {
        const YAML::Mark mark = node.Mark();
        return fail(ErrorCode::InvalidArgument,
                    mark.is_null() ? fmt::format("{}: {}", file_, message)
                                   : fmt::format("{}:{}:{}: {}", file_, mark.line + 1,
                                                 mark.column + 1, message),
                    std::move(hint));
    }

    Result<void> expect_map(const YAML::Node& node, const std::string& path,
                            const std::vector<std::string>& known) const {
        if (!node.IsMap())
            return error(node, fmt::format("{} must be a mapping of keys to values", path));
        std::vector<std::string> seen;
        for (const auto& entry : node) {
            const std::string key = entry.first.Scalar();
            if (std::ranges::find(seen, key) != seen.end()) {
                return error(entry.first, fmt::format("key '{}' stands twice in {}", key, path),
                             "Remove one of them");
            }
            seen.push_back(key);
            if (known.empty() || std::ranges::find(known, key) != known.end()) continue;
            const std::optional<std::string> near = nearest(key, known);
            std::string list;
            for (const std::string& name : known) list += (list.empty() ? "" : ", ") + name;
            return error(entry.first, fmt::format("unknown key '{}' in {}", key, path),
                         near ? fmt::format("Did you mean '{}'?", *near)
                              : fmt::format("Known keys: {}", list));
        }
        return {};
    }

    Result<std::string> text(const YAML::Node& node, const std::string& path) {
        if (!node.IsScalar()) return error(node, fmt::format("{} must be a single value", path));
        const std::string raw = node.Scalar();
        bool secret = false;
        std::string value;
        size_t at = 0;
        while (true) {
            const size_t open = raw.find("${env:", at);
            value += raw.substr(at, open - at);
            if (open == std::string::npos) break;
            const size_t close = raw.find('}', open);
            if (close == std::string::npos)
                return error(node, fmt::format("{}: '${{env:' is never closed", path), "Add }");
            const std::string name = raw.substr(open + 6, close - open - 6);
            const std::optional<std::string> found = variable(name);
            if (!found) {
                return error(
                    node, fmt::format("{} needs the variable {}, which is not set", path, name),
                    fmt::format("Export {} or put it into the .env file beside the pipeline file",
                                name));
            }
            secret = true;
            value += *found;
            at = close + 1;
        }
        note(path, secret ? "***" : without_password(value), node);
        return value;
    }

    Result<int64_t> number(const YAML::Node& node, const std::string& path, int64_t min,
                           int64_t max) {
        const std::string value = PX_TRY(text(node, path));
        int64_t parsed = 0;
        const auto [end, code] = std::from_chars(value.data(), value.data() + value.size(), parsed);
        if (code != std::errc() || end != value.data() + value.size() || parsed < min ||
            parsed > max) {
            return error(node, fmt::format("{} is '{}', not a whole number from {} to {}", path,
                                           value, min, max));
        }
        return parsed;
    }

    Result<bool> boolean(const YAML::Node& node, const std::string& path) {
        const std::string value = PX_TRY(text(node, path));
        if (value == "true") return true;
        if (value == "false") return false;
        return error(node, fmt::format("{} is '{}', not true or false", path, value));
    }

    Result<std::vector<std::string>> list(const YAML::Node& node, const std::string& path) {
        if (node.IsScalar()) return std::vector<std::string>{PX_TRY(text(node, path))};
        if (!node.IsSequence()) return error(node, fmt::format("{} must be a list", path));
        std::vector<std::string> values;
        for (size_t i = 0; i < node.size(); ++i) {
            values.push_back(PX_TRY(text(node[i], fmt::format("{}[{}]", path, i))));
        }
        return values;
    }

    template <class T>
    Result<T> one_of(const YAML::Node& node, const std::string& path,
                     const std::vector<std::pair<std::string, T>>& choices) {
        const std::string value = PX_TRY(text(node, path));
        std::vector<std::string> names;
        for (const auto& [name, choice] : choices) {
            if (name == value) return choice;
            names.push_back(name);
        }
        std::string all;
        for (const std::string& name : names) all += (all.empty() ? "" : ", ") + name;
        const std::optional<std::string> near = nearest(value, names);
        return error(node, fmt::format("{} is '{}'", path, value),
                     near ? fmt::format("Did you mean '{}'? Allowed: {}", *near, all)
                          : fmt::format("Allowed: {}", all));
    }

    std::optional<std::string> variable(const std::string& name) const {
        if (const auto it = environment_.variables.find(name); it != environment_.variables.end())
            return it->second;
        if (const auto it = dotenv_.find(name); it != dotenv_.end()) return it->second;
        return std::nullopt;
    }
    bool in_process(const std::string& name) const { return environment_.variables.contains(name); }

    void note(const std::string& path, std::string value, const YAML::Node& node) {
        settings_.push_back(
            {path, std::move(value), fmt::format("{}:{}", file_, node.Mark().line + 1)});
    }
    void note(const std::string& path, std::string value, std::string origin) {
        std::erase_if(settings_, [&](const Setting& setting) { return setting.key == path; });
        settings_.push_back({path, std::move(value), std::move(origin)});
    }
    bool noted(const std::string& path) const {
        return std::ranges::find(settings_, path, &Setting::key) != settings_.end();
    }
    std::vector<Setting> take_settings() { return std::move(settings_); }

  private:
    std::string file_;
    const Environment& environment_;
    std::map<std::string, std::string> dotenv_;
    std::vector<Setting> settings_;
};

/// The address POSTGRES_HOST, PORT, USER, PASSWORD and DB make, for `catalog.url: postgresql:`.
Result<std::string> postgres_address(const FileReader& reader) {
    const auto value = [&](const char* name, const char* otherwise) {
        const std::optional<std::string> found = reader.variable(name);
        return capi::curl::percent_encode(found && !found->empty() ? *found : otherwise);
    };
    const std::string user = value("POSTGRES_USER", "");
    const std::string password = value("POSTGRES_PASSWORD", "");
    if (user.empty()) {
        return fail(ErrorCode::InvalidArgument,
                    "catalog.url is 'postgresql:', and POSTGRES_USER is not set",
                    "Set POSTGRES_HOST, POSTGRES_USER, POSTGRES_PASSWORD and POSTGRES_DB in the "
                    "environment or .env, or write the whole address");
    }
    const std::string host = value("POSTGRES_HOST", "localhost");
    const bool is_here = host == "localhost" || host == "127.0.0.1" || host == "%3A%3A1";
    return fmt::format("postgresql://{}{}@{}:{}/{}{}", user, password.empty() ? "" : ":" + password,
                       host, value("POSTGRES_PORT", "5432"), value("POSTGRES_DB", user.c_str()),
                       is_here ? "" : "?sslmode=require");
}

Result<double> share(FileReader& reader, const YAML::Node& node, const std::string& path) {
    std::string value = PX_TRY(reader.text(node, path));
    const bool percent = !value.empty() && value.back() == '%';
    if (percent) value.pop_back();
    try {
        size_t used = 0;
        const double number = std::stod(value, &used) / (percent ? 100.0 : 1.0);
        if (used == value.size() && number >= 0.0 && number <= 1.0) return number;
    } catch (const std::exception&) {
        // told below
    }
    return reader.error(node, fmt::format("{} is '{}'", path, node.Scalar()),
                        "Write a share such as 1% or 0.01");
}

Result<std::chrono::seconds> duration(FileReader& reader, const YAML::Node& node,
                                      const std::string& path) {
    const std::string value = PX_TRY(reader.text(node, path));
    int64_t count = 0;
    const auto [end, code] = std::from_chars(value.data(), value.data() + value.size(), count);
    const std::string unit(end, value.data() + value.size());
    const int64_t factor = unit == "s" || unit.empty() ? 1
                           : unit == "m"               ? 60
                           : unit == "h"               ? 3600
                                                       : 0;
    if (code != std::errc() || factor == 0 || count < 0 || count > 1'000'000) {
        return reader.error(node, fmt::format("{} is '{}'", path, value),
                            "Write a duration such as 30s, 5m or 1h");
    }
    return std::chrono::seconds(count * factor);
}

Result<double> price(FileReader& reader, const YAML::Node& node, const std::string& path) {
    const std::string value = PX_TRY(reader.text(node, path));
    double parsed = 0;
    const auto [end, code] = std::from_chars(value.data(), value.data() + value.size(), parsed);
    if (code != std::errc() || end != value.data() + value.size() || !(parsed >= 0 && parsed < 1e9))
        return reader.error(node, fmt::format("{} is '{}'", path, value),
                            "Write a price such as 0.045");
    return parsed;
}

Result<notify::Options> read_notify(FileReader& reader, const YAML::Node& node) {
    notify::Options options;
    PX_TRY(
        reader.expect_map(node, "notify", {"webhook", "command", "smtp", "on", "at_most_every"}));
    if (const YAML::Node n = node["webhook"]) {
        PX_TRY(reader.expect_map(n, "notify.webhook", {"url"}));
        if (!n["url"]) return reader.error(n, "notify.webhook lacks 'url'");
        options.webhook_url = PX_TRY(reader.text(n["url"], "notify.webhook.url"));
        // An address of a webhook is its key: nobody is shown it.
        reader.note("notify.webhook.url", "***", n["url"]);
    }
    if (const YAML::Node n = node["command"])
        options.command = PX_TRY(reader.list(n, "notify.command"));
    if (const YAML::Node n = node["smtp"]) {
        PX_TRY(reader.expect_map(n, "notify.smtp", {"url", "from", "to"}));
        for (const char* key : {"url", "from", "to"}) {
            if (!n[key]) return reader.error(n, fmt::format("notify.smtp lacks '{}'", key));
        }
        options.smtp_url = PX_TRY(reader.text(n["url"], "notify.smtp.url"));
        options.mail_from = PX_TRY(reader.text(n["from"], "notify.smtp.from"));
        options.mail_to = PX_TRY(reader.list(n["to"], "notify.smtp.to"));
    }
    if (const YAML::Node n = node["on"]) {
        options.kinds.clear();
        for (const std::string& name : PX_TRY(reader.list(n, "notify.on"))) {
            const std::optional<notify::Kind> kind = notify::parse_kind(name);
            if (!kind) {
                return reader.error(n, fmt::format("notify.on is '{}'", name),
                                    "Allowed: failure, halt, recovery");
            }
            options.kinds.insert(*kind);
        }
    }
    if (const YAML::Node n = node["at_most_every"])
        options.at_most_every = PX_TRY(duration(reader, n, "notify.at_most_every"));
    const Result<void> valid = options.validate();
    if (!valid) return reader.error(node, "notify: " + valid.error().message, valid.error().hint);
    return options;
}

Result<char> character(FileReader& reader, const YAML::Node& node, const std::string& path) {
    const std::string value = PX_TRY(reader.text(node, path));
    if (value.size() == 1) return value[0];
    return reader.error(node, fmt::format("{} is '{}', not one ASCII character", path, value));
}

/// The format key of a source: a glob, or a mapping with path and dialect.
Result<void> read_files(FileReader& reader, const YAML::Node& node, const std::string& path,
                        pipeline::SourceDefinition& source) {
    if (node.IsScalar()) {
        source.pattern = PX_TRY(reader.text(node, path));
        return {};
    }
    if (source.kind != SourceKind::Csv) {
        PX_TRY(reader.expect_map(node, path, {"path"}));
        if (!node["path"]) return reader.error(node, path + " lacks 'path'");
        source.pattern = PX_TRY(reader.text(node["path"], path + ".path"));
        return {};
    }
    PX_TRY(reader.expect_map(node, path,
                             {"path", "delimiter", "quote", "escape", "comment", "header",
                              "header_lines", "skip_lines", "columns", "encoding", "ragged",
                              "stray_quotes", "trim", "max_field_bytes", "max_record_bytes"}));
    if (!node["path"]) return reader.error(node, path + " lacks 'path'");
    source.pattern = PX_TRY(reader.text(node["path"], path + ".path"));
    source::CsvOptions& csv = source.csv;
    if (const YAML::Node n = node["delimiter"]) {
        std::string value = PX_TRY(reader.text(n, path + ".delimiter"));
        if (value == "auto") {
            csv.delimiter.reset();
        } else {
            if (value == "tab" || value == "\\t") value = "\t";
            csv.delimiter = value;
        }
    }
    if (const YAML::Node n = node["quote"]) {
        if (PX_TRY(reader.text(n, path + ".quote")) == "none") {
            csv.quote.reset();
        } else {
            csv.quote = PX_TRY(character(reader, n, path + ".quote"));
        }
    }
    if (const YAML::Node n = node["escape"])
        csv.escape = PX_TRY(character(reader, n, path + ".escape"));
    if (const YAML::Node n = node["comment"])
        csv.comment = PX_TRY(character(reader, n, path + ".comment"));
    if (const YAML::Node n = node["header"])
        csv.header_lines = PX_TRY(reader.boolean(n, path + ".header")) ? 1 : 0;
    if (const YAML::Node n = node["header_lines"]) {
        csv.header_lines =
            static_cast<int>(PX_TRY(reader.number(n, path + ".header_lines", 0, 100)));
    }
    if (const YAML::Node n = node["skip_lines"]) {
        csv.skip_lines = PX_TRY(reader.number(n, path + ".skip_lines", 0, 1'000'000));
    }
    if (const YAML::Node n = node["columns"]) {
        csv.column_names = PX_TRY(reader.list(n, path + ".columns"));
        csv.header_lines = 0;
    }
    if (const YAML::Node n = node["encoding"]) {
        const Result<source::TextEncoding> encoding =
            source::parse_text_encoding(PX_TRY(reader.text(n, path + ".encoding")));
        if (!encoding) return reader.error(n, encoding.error().message, encoding.error().hint);
        csv.encoding = *encoding;
    }
    if (const YAML::Node n = node["ragged"]) {
        csv.ragged = PX_TRY(reader.one_of<source::RaggedRows>(
            n, path + ".ragged",
            {{"reject", source::RaggedRows::Reject}, {"pad", source::RaggedRows::PadShort}}));
    }
    if (const YAML::Node n = node["stray_quotes"]) {
        csv.stray_quotes = PX_TRY(reader.one_of<source::StrayQuotes>(
            n, path + ".stray_quotes",
            {{"reject", source::StrayQuotes::Reject}, {"keep", source::StrayQuotes::Keep}}));
    }
    if (const YAML::Node n = node["trim"]) csv.trim = PX_TRY(reader.boolean(n, path + ".trim"));
    if (const YAML::Node n = node["max_field_bytes"]) {
        csv.max_field_bytes = PX_TRY(reader.number(n, path + ".max_field_bytes", 1, 1LL << 40));
    }
    if (const YAML::Node n = node["max_record_bytes"]) {
        csv.max_record_bytes = PX_TRY(reader.number(n, path + ".max_record_bytes", 1, 1LL << 40));
    }
    return {};
}

Result<contract::ColumnRule> read_column(FileReader& reader, const YAML::Node& node,
                                         const std::string& path) {
    PX_TRY(reader.expect_map(node, path,
                             {"name", "type", "required", "unique", "role", "transform", "default",
                              "one_of", "min", "max", "pattern"}));
    contract::ColumnRule rule;
    if (!node["name"]) return reader.error(node, path + " lacks 'name'");
    rule.name = PX_TRY(reader.text(node["name"], path + ".name"));
    rule.type = {columnar::TypeId::String};
    if (const YAML::Node n = node["type"]) {
        const Result<columnar::DataType> type =
            contract::parse_type(PX_TRY(reader.text(n, path + ".type")));
        if (!type)
            return reader.error(n, fmt::format("column {}: {}", rule.name, type.error().message),
                                type.error().hint);
        rule.type = *type;
    }
    if (const YAML::Node n = node["required"])
        rule.required = PX_TRY(reader.boolean(n, path + ".required"));
    if (const YAML::Node n = node["unique"])
        rule.unique = PX_TRY(reader.boolean(n, path + ".unique"));
    if (const YAML::Node n = node["role"]) {
        using contract::Role;
        rule.role = PX_TRY(reader.one_of<Role>(n, path + ".role",
                                               {{"id", Role::Id},
                                                {"title", Role::Title},
                                                {"author", Role::Author},
                                                {"date", Role::Date},
                                                {"category", Role::Category},
                                                {"text", Role::Text},
                                                {"acl", Role::Acl}}));
        if (rule.role == Role::Id) rule.required = rule.unique = true;
    }
    if (const YAML::Node n = node["transform"]) {
        using contract::Transform;
        const auto read = [&](const YAML::Node& item) {
            return reader.one_of<Transform>(item, path + ".transform",
                                            {{"trim", Transform::Trim},
                                             {"lower", Transform::Lower},
                                             {"upper", Transform::Upper},
                                             {"title_case", Transform::TitleCase},
                                             {"collapse_spaces", Transform::CollapseSpaces}});
        };
        if (n.IsScalar()) {
            rule.transforms.push_back(PX_TRY(read(n)));
        } else {
            for (size_t i = 0; i < n.size(); ++i) rule.transforms.push_back(PX_TRY(read(n[i])));
        }
    }
    if (const YAML::Node n = node["default"])
        rule.default_value = PX_TRY(reader.text(n, path + ".default"));
    if (const YAML::Node n = node["one_of"]) rule.one_of = PX_TRY(reader.list(n, path + ".one_of"));
    if (const YAML::Node n = node["min"]) rule.min = PX_TRY(reader.text(n, path + ".min"));
    if (const YAML::Node n = node["max"]) rule.max = PX_TRY(reader.text(n, path + ".max"));
    if (const YAML::Node n = node["pattern"])
        rule.pattern = PX_TRY(reader.text(n, path + ".pattern"));
    return rule;
}

Result<contract::Contract> read_contract(FileReader& reader, const YAML::Node& node,
                                         const std::string& name) {
    const std::string path = "contracts." + name;
    PX_TRY(reader.expect_map(
        node, path,
        {"columns", "extra_columns", "quarantine", "max_drop", "checks", "null_values"}));
    contract::Contract contract;
    contract.name = name;
    const YAML::Node columns = node["columns"];
    if (!columns || !columns.IsSequence())
        return reader.error(node, path + " lacks a list 'columns'");
    for (size_t i = 0; i < columns.size(); ++i) {
        contract.columns.push_back(
            PX_TRY(read_column(reader, columns[i], fmt::format("{}.columns[{}]", path, i))));
    }
    if (const YAML::Node n = node["extra_columns"]) {
        using contract::ExtraColumns;
        contract.extra_columns =
            PX_TRY(reader.one_of<ExtraColumns>(n, path + ".extra_columns",
                                               {{"reject", ExtraColumns::Reject},
                                                {"keep", ExtraColumns::Keep},
                                                {"drop", ExtraColumns::Drop}}));
    }
    if (const YAML::Node n = node["quarantine"]) {
        PX_TRY(reader.expect_map(n, path + ".quarantine", {"halt_above"}));
        if (n["halt_above"])
            contract.halt_above =
                PX_TRY(share(reader, n["halt_above"], path + ".quarantine.halt_above"));
    }
    if (const YAML::Node n = node["max_drop"])
        contract.max_drop = PX_TRY(share(reader, n, path + ".max_drop"));
    if (const YAML::Node n = node["null_values"])
        contract.null_values = PX_TRY(reader.list(n, path + ".null_values"));
    if (const YAML::Node n = node["checks"]) {
        if (!n.IsSequence()) return reader.error(n, path + ".checks must be a list");
        for (size_t i = 0; i < n.size(); ++i) {
            const std::string at = fmt::format("{}.checks[{}]", path, i);
            PX_TRY(reader.expect_map(n[i], at, {"name", "sql", "expect"}));
            if (!n[i]["sql"] || !n[i]["expect"])
                return reader.error(n[i], at + " needs 'sql' and 'expect'");
            contract::TableCheck check;
            check.name = n[i]["name"] ? PX_TRY(reader.text(n[i]["name"], at + ".name"))
                                      : fmt::format("check {}", i + 1);
            check.sql = PX_TRY(reader.text(n[i]["sql"], at + ".sql"));
            check.expect = PX_TRY(reader.text(n[i]["expect"], at + ".expect"));
            contract.checks.push_back(std::move(check));
        }
    }
    const Result<void> valid = contract.validate();
    if (!valid)
        return reader.error(node, fmt::format("contract {}: {}", name, valid.error().message),
                            valid.error().hint);
    return contract;
}

Result<void> check_name(const FileReader& reader, std::string_view what, const YAML::Node& key) {
    const Result<void> fine = pipeline::check_table_name(what, key.Scalar());
    if (!fine) return reader.error(key, fine.error().message, fine.error().hint);
    return {};
}

Result<pipeline::SourceDefinition> read_source(
    FileReader& reader, const YAML::Node& node, const std::string& name,
    const std::map<std::string, contract::Contract>& contracts) {
    const std::string path = "sources." + name;
    PX_TRY(reader.expect_map(
        node, path,
        {"csv", "jsonl", "parquet", "documents", "sql", "mode", "contract", "partition"}));
    pipeline::SourceDefinition source;
    source.name = name;
    static const std::vector<std::pair<std::string, SourceKind>> kKinds{
        {"csv", SourceKind::Csv},
        {"jsonl", SourceKind::JsonLines},
        {"parquet", SourceKind::Parquet},
        {"documents", SourceKind::Documents},
        {"sql", SourceKind::Sql}};
    int kinds = 0;
    for (const auto& [key, kind] : kKinds) {
        const YAML::Node n = node[key];
        if (!n) continue;
        ++kinds;
        source.kind = kind;
        const std::string at = path + "." + key;
        if (kind != SourceKind::Sql) {
            PX_TRY(read_files(reader, n, at, source));
            continue;
        }
        PX_TRY(reader.expect_map(n, at, {"connection", "query"}));
        if (!n["connection"] || !n["query"])
            return reader.error(n, at + " needs 'connection' and 'query'");
        source.connection = PX_TRY(reader.text(n["connection"], at + ".connection"));
        source.query = PX_TRY(reader.text(n["query"], at + ".query"));
    }
    if (kinds != 1) {
        return reader.error(
            node,
            fmt::format("{} must have exactly one of csv, jsonl, parquet, documents, sql", path));
    }
    if (const YAML::Node n = node["mode"]) {
        source.mode = PX_TRY(reader.one_of<SourceMode>(n, path + ".mode",
                                                       {{"append", SourceMode::Append},
                                                        {"snapshot", SourceMode::Snapshot},
                                                        {"merge", SourceMode::Merge}}));
    }
    if (const YAML::Node n = node["partition"]) {
        if (PX_TRY(reader.text(n, path + ".partition")) != "ds") {
            return reader.error(n, path + ".partition can only be ds",
                                "Tables are partitioned by the logical date");
        }
    }
    if (const YAML::Node n = node["contract"]) {
        const std::string wanted = PX_TRY(reader.text(n, path + ".contract"));
        const auto found = contracts.find(wanted);
        if (found == contracts.end()) {
            std::vector<std::string> names;
            for (const auto& [known, contract] : contracts) names.push_back(known);
            const std::optional<std::string> near = nearest(wanted, names);
            return reader.error(
                n, fmt::format("there is no contract '{}'", wanted),
                near ? fmt::format("Did you mean '{}'?", *near) : "Add it under `contracts:`");
        }
        source.contract = found->second;
    } else if (source.kind == SourceKind::Documents) {
        source.contract = pipeline::document_contract();
    } else {
        // Without a contract every column is text and nothing is refused but what can't be read.
        source.contract.name = "(none)";
        source.contract.extra_columns = contract::ExtraColumns::Keep;
        source.contract.halt_above = 0.0;
    }
    return source;
}

/// Settings that the environment may override: key, variable, where it goes.
struct Override {
    std::string key, variable;
    std::string* target;
};

}  // namespace

std::optional<std::string> nearest(std::string_view word,
                                   const std::vector<std::string>& candidates) {
    std::optional<std::string> best;
    size_t best_distance = std::max<size_t>(1, word.size() / 3) + 1;
    for (const std::string& candidate : candidates) {
        const size_t distance = edit_distance(word, candidate);
        if (distance < best_distance) {
            best_distance = distance;
            best = candidate;
        }
    }
    return best;
}

size_t Config::thread_count() const {
    return threads > 0 ? threads : std::max<size_t>(1, std::thread::hardware_concurrency());
}

Environment process_environment() {
    Environment environment;
    for (char** entry = environ; *entry != nullptr; ++entry) {
        const std::string_view line(*entry);
        const size_t equals = line.find('=');
        if (equals != std::string_view::npos) {
            environment.variables[std::string(line.substr(0, equals))] =
                std::string(line.substr(equals + 1));
        }
    }
    std::error_code code;
    environment.program = std::filesystem::read_symlink("/proc/self/exe", code);
    return environment;
}

Result<std::filesystem::path> find_pipeline_file(const std::optional<std::string>& flag) {
    std::error_code code;
    if (flag) {
        std::filesystem::path path = std::filesystem::absolute(*flag, code);
        if (std::filesystem::is_directory(path, code)) path /= "pipeline.yaml";
        if (std::filesystem::is_regular_file(path, code)) return path.lexically_normal();
        return fail(ErrorCode::InvalidArgument, fmt::format("there is no pipeline file {}", *flag),
                    "Check --file");
    }
    for (const char* name : {"pipeline.yaml", "pipeline.yml"}) {
        const std::filesystem::path path = std::filesystem::absolute(name, code);
        if (std::filesystem::is_regular_file(path, code)) return path.lexically_normal();
    }
    return fail(ErrorCode::InvalidArgument, "there is no pipeline.yaml in this folder",
                "Make one with `px init`, or name another with --file");
}

Result<Config> load_config(const std::filesystem::path& file, const Environment& environment) {
    std::ifstream stream(file, std::ios::binary);
    if (!stream) return fail_errno(errno, "cannot read " + file.string());
    std::stringstream text;
    text << stream.rdbuf();
    const std::string content = text.str();
    if (const size_t valid = utf8_valid_prefix(content); valid != content.size()) {
        const std::string_view before = std::string_view(content).substr(0, valid);
        const size_t line_start = before.rfind('\n') + 1;  // npos + 1 is 0
        return fail(ErrorCode::InvalidArgument,
                    fmt::format("{}:{}:{}: this is not UTF-8 (byte 0x{:02X})",
                                file.filename().string(), 1 + std::ranges::count(before, '\n'),
                                1 + utf8_length(before.substr(line_start)),
                                static_cast<unsigned char>(content[valid])),
                    "Save the file as UTF-8");
    }
    return parse_config(content, file, environment);
}

Result<Config> parse_config(const std::string& text, const std::filesystem::path& file,
                            const Environment& environment) {
    Config config;
    config.file = file;
    config.definition.text = text;
    config.definition.base_folder = file.parent_path();
    FileReader reader(file.filename().string(), environment,
                      read_dotenv(file.parent_path() / ".env"));

    YAML::Node root;
    try {
        root = YAML::Load(text);
    } catch (const YAML::Exception& exception) {
        return fail(ErrorCode::InvalidArgument,
                    fmt::format("{}:{}:{}: {}", file.filename().string(), exception.mark.line + 1,
                                exception.mark.column + 1, exception.msg),
                    "Mend the YAML at that place");
    }
    if (!root.IsMap()) {
        return fail(ErrorCode::InvalidArgument,
                    fmt::format("{} holds no pipeline", file.filename().string()),
                    "See docs/formats/pipeline.md, or start with `px init`");
    }
    pipeline::Definition& definition = config.definition;
    try {
        PX_TRY(reader.expect_map(
            root, "the pipeline file",
            {"pipeline", "schedule", "retries", "notify", "sources", "contracts", "models",
             "landing", "lake", "catalog", "vectors", "cache", "engine", "chunking", "embedding",
             "generator", "serve", "costs", "telemetry"}));
        if (!root["pipeline"])
            return reader.error(root, "the file lacks 'pipeline', the pipeline's name");
        definition.name = PX_TRY(reader.text(root["pipeline"], "pipeline"));
        if (const YAML::Node n = root["schedule"]) {
            PX_TRY(reader.expect_map(
                n, "schedule", {"cron", "timezone", "catchup", "max_active_runs", "timeout"}));
            if (n["cron"]) {
                definition.schedule.cron = PX_TRY(reader.text(n["cron"], "schedule.cron"));
                const auto parsed = schedule::Cron::parse(definition.schedule.cron);
                if (!parsed)
                    return reader.error(n["cron"], "schedule.cron: " + parsed.error().message,
                                        parsed.error().hint);
            }
            if (n["timeout"]) {
                definition.schedule.timeout =
                    PX_TRY(duration(reader, n["timeout"], "schedule.timeout"));
            }
            if (n["timezone"])
                definition.schedule.timezone =
                    PX_TRY(reader.text(n["timezone"], "schedule.timezone"));
            if (n["catchup"])
                definition.schedule.catchup =
                    PX_TRY(reader.boolean(n["catchup"], "schedule.catchup"));
            if (n["max_active_runs"]) {
                definition.schedule.max_active_runs = static_cast<int>(
                    PX_TRY(reader.number(n["max_active_runs"], "schedule.max_active_runs", 1, 1)));
            }
        }
        if (const YAML::Node n = root["retries"]) {
            PX_TRY(reader.expect_map(n, "retries", {"attempts", "delay", "backoff", "timeout"}));
            if (n["attempts"]) {
                definition.retries.attempts = static_cast<int>(
                    PX_TRY(reader.number(n["attempts"], "retries.attempts", 1, 100)));
            }
            if (n["delay"])
                definition.retries.delay = PX_TRY(duration(reader, n["delay"], "retries.delay"));
            if (n["timeout"])
                definition.retries.timeout =
                    PX_TRY(duration(reader, n["timeout"], "retries.timeout"));
            if (n["backoff"]) {
                definition.retries.exponential = PX_TRY(reader.one_of<bool>(
                    n["backoff"], "retries.backoff", {{"exponential", true}, {"constant", false}}));
            }
        }
        if (const YAML::Node n = root["notify"]) config.notify = PX_TRY(read_notify(reader, n));
        std::map<std::string, contract::Contract> contracts;
        if (const YAML::Node n = root["contracts"]) {
            PX_TRY(reader.expect_map(n, "contracts", {}));
            for (const auto& entry : n) {
                const std::string name = entry.first.Scalar();
                contracts[name] = PX_TRY(read_contract(reader, entry.second, name));
            }
        }
        if (const YAML::Node n = root["sources"]) {
            PX_TRY(reader.expect_map(n, "sources", {}));
            for (const auto& entry : n) {
                PX_TRY(check_name(reader, "source", entry.first));
                definition.sources.push_back(
                    PX_TRY(read_source(reader, entry.second, entry.first.Scalar(), contracts)));
            }
        }
        if (const YAML::Node n = root["models"]) {
            PX_TRY(reader.expect_map(n, "models", {}));
            for (const auto& entry : n) {
                const std::string name = entry.first.Scalar();
                PX_TRY(check_name(reader, "model", entry.first));
                PX_TRY(reader.expect_map(entry.second, "models." + name, {"sql"}));
                if (!entry.second["sql"])
                    return reader.error(entry.second, "models." + name + " lacks 'sql'");
                definition.models.push_back(
                    {name, PX_TRY(reader.text(entry.second["sql"], "models." + name + ".sql"))});
            }
        }
        for (const auto& [key, target] :
             {std::pair<const char*, std::string*>{"landing", &definition.landing_url},
              {"lake", &definition.lake_url},
              {"catalog", &definition.catalog_url},
              {"vectors", &definition.vectors_url}}) {
            const YAML::Node n = root[key];
            if (!n) continue;
            PX_TRY(reader.expect_map(n, key, {"url"}));
            if (n["url"]) *target = PX_TRY(reader.text(n["url"], std::string(key) + ".url"));
        }
        if (const YAML::Node n = root["cache"]) {
            PX_TRY(reader.expect_map(n, "cache", {"folder", "limit_gb"}));
            if (n["folder"]) {
                config.cache_folder = config.definition.base_folder /
                                      PX_TRY(reader.text(n["folder"], "cache.folder"));
            }
            if (n["limit_gb"]) {
                config.cache_limit_bytes =
                    PX_TRY(reader.number(n["limit_gb"], "cache.limit_gb", 1, 1 << 20)) << 30;
            }
        }
        if (const YAML::Node n = root["costs"]) {
            PX_TRY(reader.expect_map(n, "costs", {"cpu_hour", "storage_gb_month", "currency"}));
            CostDefinition& costs = definition.costs;
            if (n["cpu_hour"])
                costs.cpu_hour = PX_TRY(price(reader, n["cpu_hour"], "costs.cpu_hour"));
            if (n["storage_gb_month"])
                costs.storage_gb_month =
                    PX_TRY(price(reader, n["storage_gb_month"], "costs.storage_gb_month"));
            if (n["currency"])
                costs.currency = PX_TRY(reader.text(n["currency"], "costs.currency"));
        }
        if (const YAML::Node n = root["telemetry"]) {
            PX_TRY(reader.expect_map(n, "telemetry", {"otlp"}));
            if (n["otlp"]) config.otlp_url = PX_TRY(reader.text(n["otlp"], "telemetry.otlp"));
        }
        if (const YAML::Node n = root["engine"]) {
            PX_TRY(reader.expect_map(n, "engine", {"kind", "memory_mb", "threads", "queries"}));
            if (n["kind"]) {
                config.engine_kind = PX_TRY(
                    reader.one_of<std::string>(n["kind"], "engine.kind", {{"local", "local"}}));
            }
            if (n["memory_mb"]) {
                config.engine_memory_mb =
                    PX_TRY(reader.number(n["memory_mb"], "engine.memory_mb", 64, 1 << 20));
            }
            if (n["queries"]) {
                config.sql_queries = static_cast<size_t>(
                    PX_TRY(reader.number(n["queries"], "engine.queries", 1, 1000)));
            }
            if (n["threads"]) {
                config.threads = static_cast<size_t>(
                    PX_TRY(reader.number(n["threads"], "engine.threads", 1, 1024)));
            }
        }
        if (const YAML::Node n = root["chunking"]) {
            PX_TRY(reader.expect_map(n, "chunking", {"size", "overlap", "unit", "separators"}));
            if (n["size"])
                definition.chunking.size =
                    PX_TRY(reader.number(n["size"], "chunking.size", 1, 1'000'000));
            if (n["overlap"]) {
                definition.chunking.overlap =
                    PX_TRY(reader.number(n["overlap"], "chunking.overlap", 0, 1'000'000));
            }
            if (n["unit"]) {
                PX_TRY(reader.one_of<bool>(n["unit"], "chunking.unit", {{"characters", true}}));
            }
            if (n["separators"])
                definition.chunking.separators =
                    PX_TRY(reader.list(n["separators"], "chunking.separators"));
        }
        if (const YAML::Node n = root["embedding"]) {
            PX_TRY(reader.expect_map(
                n, "embedding",
                {"model", "precision", "kernel", "query_prefix", "passage_prefix"}));
            if (n["query_prefix"])
                definition.query_prefix =
                    PX_TRY(reader.text(n["query_prefix"], "embedding.query_prefix"));
            if (n["passage_prefix"])
                definition.passage_prefix =
                    PX_TRY(reader.text(n["passage_prefix"], "embedding.passage_prefix"));
            if (n["model"])
                definition.embedding_model = PX_TRY(reader.text(n["model"], "embedding.model"));
            if (n["precision"]) {
                definition.embedding_precision =
                    PX_TRY(reader.text(n["precision"], "embedding.precision"));
            }
            if (n["kernel"]) config.kernel = PX_TRY(reader.text(n["kernel"], "embedding.kernel"));
        }
        std::string address = "127.0.0.1:8501";
        if (const YAML::Node n = root["serve"]) {
            PX_TRY(reader.expect_map(n, "serve", {"address", "promote_if", "queries", "qrels"}));
            if (n["address"]) address = PX_TRY(reader.text(n["address"], "serve.address"));
            if (n["promote_if"]) {
                config.promote_if = PX_TRY(reader.text(n["promote_if"], "serve.promote_if"));
                PX_TRY(answer::parse_promotion_rule(config.promote_if).context("serve.promote_if"));
                if (!n["queries"] || !n["qrels"]) {
                    return fail(ErrorCode::InvalidArgument,
                                "serve.promote_if needs serve.queries and serve.qrels",
                                "Name the files it is measured by, see docs/answers.md");
                }
            }
            if (n["queries"]) {
                config.promote_queries =
                    definition.base_folder / PX_TRY(reader.text(n["queries"], "serve.queries"));
            }
            if (n["qrels"]) {
                config.promote_qrels =
                    definition.base_folder / PX_TRY(reader.text(n["qrels"], "serve.qrels"));
            }
        }
        if (const YAML::Node n = root["generator"]) {
            PX_TRY(reader.expect_map(n, "generator",
                                     {"kind", "url", "model", "api_key_env", "timeout"}));
            if (n["kind"]) {
                config.generator_kind = PX_TRY(reader.one_of<std::string>(
                    n["kind"], "generator.kind",
                    {{"extractive", "extractive"}, {"openai", "openai"}}));
            }
            if (n["url"]) config.generator_url = PX_TRY(reader.text(n["url"], "generator.url"));
            if (n["model"])
                config.generator_model = PX_TRY(reader.text(n["model"], "generator.model"));
            if (n["timeout"]) {
                config.generator_timeout =
                    PX_TRY(duration(reader, n["timeout"], "generator.timeout"));
            }
            if (n["api_key_env"]) {
                const std::string name =
                    PX_TRY(reader.text(n["api_key_env"], "generator.api_key_env"));
                const auto key = reader.variable(name);
                if (!key) {
                    return fail(
                        ErrorCode::InvalidArgument,
                        fmt::format("generator.api_key_env names {}, which is not set", name),
                        "Set it in the environment or in .env");
                }
                config.generator_key = *key;
            }
        }
        // The environment speaks last.
        const std::vector<Override> overrides{
            {"landing.url", "PX_LANDING_URL", &definition.landing_url},
            {"lake.url", "PX_LAKE_URL", &definition.lake_url},
            {"catalog.url", "PX_CATALOG_URL", &definition.catalog_url},
            {"vectors.url", "PX_VECTORS_URL", &definition.vectors_url},
            {"embedding.model", "PX_EMBEDDING_MODEL", &definition.embedding_model},
            {"embedding.precision", "PX_EMBEDDING_PRECISION", &definition.embedding_precision},
            {"embedding.kernel", "PX_EMBEDDING_KERNEL", &config.kernel},
            {"serve.address", "PX_SERVE_ADDRESS", &address},
            {"telemetry.otlp", "OTEL_EXPORTER_OTLP_ENDPOINT", &config.otlp_url},
        };
        for (const Override& item : overrides) {
            if (const std::optional<std::string> value = reader.variable(item.variable)) {
                *item.target = *value;
                reader.note(
                    item.key, without_password(*value),
                    (reader.in_process(item.variable) ? "environment " : ".env ") + item.variable);
            } else if (!reader.noted(item.key)) {
                reader.note(item.key, *item.target, "default");
            }
        }
        if (definition.catalog_url == "postgresql:" || definition.catalog_url == "postgres:")
            definition.catalog_url = PX_TRY(postgres_address(reader));
        const auto lookup = [&](std::string_view name) {
            return reader.variable(std::string(name));
        };
        config.vectors =
            PX_TRY(index::parse_vectors_address(definition.vectors_url, definition.name, lookup));
        if (store::is_remote_address(definition.landing_url) ||
            store::is_remote_address(definition.lake_url) ||
            (config.vectors.kind == index::VectorsAddress::Kind::Embedded &&
             store::is_remote_address(config.vectors.objects))) {
            config.azure = PX_TRY(store::resolve_azure_credentials(lookup));
        }
        const size_t colon = address.rfind(':');
        int port = -1;
        if (colon != std::string::npos) {
            const auto [end, code] =
                std::from_chars(address.data() + colon + 1, address.data() + address.size(), port);
            if (code != std::errc() || end != address.data() + address.size()) port = -1;
        }
        if (port < 0 || port > 65535) {
            return fail(ErrorCode::InvalidArgument, fmt::format("serve.address is '{}'", address),
                        "Write it as 127.0.0.1:8501");
        }
        config.serve_address = address.substr(0, colon);
        config.serve_port = port;
    } catch (const YAML::Exception& exception) {
        return fail(ErrorCode::InvalidArgument,
                    fmt::format("{}:{}:{}: {}", file.filename().string(), exception.mark.line + 1,
                                exception.mark.column + 1, exception.msg),
                    "Mend the YAML at that place");
    }
    PX_TRY(definition.validate().context(file.filename().string()));

    // The model: a folder by path, or by name beside the program.
    const std::filesystem::path by_path = definition.base_folder / definition.embedding_model;
    std::error_code code;
    if (std::filesystem::is_directory(by_path, code)) {
        config.model_folder = by_path;
    } else {
        config.model_folder = environment.program.parent_path().parent_path() / "share/px/models" /
                              definition.embedding_model;
    }
    config.settings = reader.take_settings();
    return config;
}

}  // namespace px::app
