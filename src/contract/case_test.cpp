// Runs tests/cases/contract/*.case: what each value, header and rule comes to. UPDATE_CASES=1
// rewrites the outcomes.
//
// A line is what goes in, then "-> value" or "!! why not". Lines before them set the stage:
//   column type=decimal(18,2) min=0 …    the column that the following values are judged by
//     type= required unique default= one_of=a|b min= max= pattern= transform=trim,lower null=|NA
//   contract id! title author=nobody extra=keep    the contract that the following headers are
//   bound to (! required, = default) "text" or absent                     a value; \n \t \r \\ \"
//   \xHH header id,title                      a header of the file f.csv
// Words with spaces stand in quotes: one_of="a b|c".
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <map>

#include "base/clock.h"
#include "contract/contract.h"

namespace px::contract {
namespace {

namespace fs = std::filesystem;

std::string escaped(std::string_view text) {
    std::string out = "\"";
    for (const char c : text) {
        const auto byte = static_cast<unsigned char>(c);
        if (c == '"' || c == '\\') {
            out += '\\';
            out += c;
        } else if (c == '\n') {
            out += "\\n";
        } else if (c == '\t') {
            out += "\\t";
        } else if (c == '\r') {
            out += "\\r";
        } else if (byte < 0x20 || byte == 0x7F) {
            out += fmt::format("\\x{:02X}", byte);
        } else {
            out += c;
        }
    }
    return out + "\"";
}

/// Reads words of a line: key=value, quoted stretches anywhere.
class Words {
  public:
    explicit Words(std::string_view line) : line_(line) {}
    /// The next word; nullopt at the end of the line or before "->" and "!!".
    std::optional<std::string> next() {
        while (at_ < line_.size() && line_[at_] == ' ') ++at_;
        const std::string_view rest = line_.substr(at_);
        if (rest.empty() || rest.starts_with("-> ") || rest.starts_with("!! ")) return std::nullopt;
        std::string word;
        while (at_ < line_.size() && line_[at_] != ' ') {
            if (line_[at_] == '"') {
                word += quoted();
            } else {
                word += line_[at_++];
            }
        }
        return word;
    }
    /// Where the words ended.
    size_t at() const { return at_; }

  private:
    std::string quoted() {
        std::string text;
        ++at_;
        while (at_ < line_.size() && line_[at_] != '"') {
            if (line_[at_] != '\\' || at_ + 1 >= line_.size()) {
                text += line_[at_++];
                continue;
            }
            const char kind = line_[at_ + 1];
            at_ += 2;
            if (kind == 'x') {
                text +=
                    static_cast<char>(std::stoi(std::string(line_.substr(at_, 2)), nullptr, 16));
                at_ += 2;
            } else {
                text += kind == 'n' ? '\n' : kind == 't' ? '\t' : kind == 'r' ? '\r' : kind;
            }
        }
        ++at_;
        return text;
    }
    std::string_view line_;
    size_t at_ = 0;
};

std::vector<std::string> split(std::string_view text, char by) {
    std::vector<std::string> parts;
    for (size_t begin = 0;;) {
        const size_t end = text.find(by, begin);
        parts.emplace_back(text.substr(begin, end - begin));
        if (end == std::string_view::npos) return parts;
        begin = end + 1;
    }
}

std::string value_text(const columnar::Column& column, int64_t row) {
    using columnar::TypeId;
    if (column.is_null(row)) return "NULL";
    switch (column.type().id) {
        case TypeId::String:
            return escaped(column.bytes_at(row));
        case TypeId::Bool:
            return column.value_at<uint8_t>(row) != 0 ? "true" : "false";
        case TypeId::Date:
            return format_date(column.value_at<int32_t>(row));
        case TypeId::Timestamp:
            return format_timestamp(column.value_at<int64_t>(row));
        case TypeId::Float64:
            return fmt::format("{}", column.value_at<double>(row));
        case TypeId::Decimal:
            return columnar::format_decimal(column.type().precision > 18
                                                ? column.value_at<columnar::Int128>(row)
                                                : columnar::Int128{column.value_at<int64_t>(row)},
                                            column.type().scale);
        default:
            return std::to_string(column.value_at<int64_t>(row));
    }
}

class CaseFile {
  public:
    /// The line with the outcome it has now; lines without an outcome as they are.
    std::string run(const std::string& line) {
        if (line.empty() || line[0] == '#') return line;
        Words words(line);
        const std::string first = words.next().value_or("");
        std::string outcome;
        if (first == "column") {
            outcome = set_column(words);
        } else if (first == "contract") {
            set_contract(words);
        } else if (first == "header") {
            std::string names;
            while (const auto word = words.next()) names += (names.empty() ? "" : " ") + *word;
            outcome = bind(names.empty() ? std::vector<std::string>{} : split(names, ','));
        } else {
            outcome = judge(line.starts_with('"') ? std::optional<std::string_view>(first)
                                                  : std::nullopt);
        }
        std::string input = line.substr(0, words.at());
        input.erase(input.find_last_not_of(' ') + 1);
        return outcome.empty() ? input : fmt::format("{} {}", input, outcome);
    }

  private:
    std::string set_column(Words& words) {
        Contract contract;
        ColumnRule rule;
        rule.name = "c";
        while (const auto word = words.next()) {
            const size_t equals = word->find('=');
            const std::string key = word->substr(0, equals);
            const std::string value = equals == std::string::npos ? "" : word->substr(equals + 1);
            if (key == "type") {
                const auto type = parse_type(value);
                if (!type) return "!! " + type.error().to_string();
                rule.type = *type;
            } else if (key == "required") {
                rule.required = true;
            } else if (key == "unique") {
                rule.unique = true;
            } else if (key == "default") {
                rule.default_value = value;
            } else if (key == "one_of") {
                rule.one_of = split(value, '|');
            } else if (key == "min") {
                rule.min = value;
            } else if (key == "max") {
                rule.max = value;
            } else if (key == "pattern") {
                rule.pattern = value;
            } else if (key == "null") {
                contract.null_values = split(value, '|');
            } else if (key == "transform") {
                for (const std::string& name : split(value, ',')) {
                    static const std::map<std::string, Transform> kTransforms = {
                        {"trim", Transform::Trim},
                        {"lower", Transform::Lower},
                        {"upper", Transform::Upper},
                        {"title_case", Transform::TitleCase},
                        {"collapse_spaces", Transform::CollapseSpaces}};
                    rule.transforms.push_back(kTransforms.at(name));
                }
            } else {
                return "!! unknown word " + key;
            }
        }
        contract.columns = {rule};
        const auto valid = contract.validate();
        if (!valid) return "!! " + valid.error().to_string();
        HeaderBinding binding;
        binding.field_of_column = {0};
        validator_ = Validator::create(contract, binding).value();
        out_.emplace(contract.table_schema({}));
        return {};
    }

    std::string judge(std::optional<std::string_view> text) {
        if (!validator_) return "!! no column is set";
        const auto verdict = validator_->validate({text}, *out_);
        if (verdict) return fmt::format("!! {}: {}", verdict->rule, verdict->reason);
        return "-> " + value_text(out_->column(0), out_->column(0).length() - 1);
    }

    void set_contract(Words& words) {
        contract_ = {};
        while (const auto word = words.next()) {
            if (word->starts_with("extra=")) {
                contract_.extra_columns = *word == "extra=keep"   ? ExtraColumns::Keep
                                          : *word == "extra=drop" ? ExtraColumns::Drop
                                                                  : ExtraColumns::Reject;
                continue;
            }
            ColumnRule rule;
            rule.name = word->substr(0, word->find_first_of("!="));
            rule.required = word->find('!') != std::string::npos;
            if (const size_t equals = word->find('='); equals != std::string::npos) {
                rule.default_value = word->substr(equals + 1);
            }
            contract_.columns.push_back(rule);
        }
    }

    std::string bind(const std::vector<std::string>& names) const {
        const auto binding = bind_header(contract_, names, "f.csv");
        if (!binding) {
            return fmt::format("!! {}: {}", error_traits(binding.error().code).name,
                               binding.error().to_string());
        }
        std::string text = "->";
        for (size_t c = 0; c < contract_.columns.size(); ++c) {
            const auto field = binding->field_of_column[c];
            text += fmt::format(" {}:{}", contract_.columns[c].name,
                                field ? std::to_string(*field) : "none");
        }
        for (size_t e = 0; e < binding->extra_fields.size(); ++e) {
            text += fmt::format(" +{}:{}", binding->extra_names[e], binding->extra_fields[e]);
        }
        return text;
    }

    std::unique_ptr<Validator> validator_;
    std::optional<columnar::RecordBatch> out_;
    Contract contract_;
};

TEST(ContractCases, ComeOutAsWritten) {
    size_t files = 0;
    const bool update = std::getenv("UPDATE_CASES") != nullptr;
    for (const auto& entry : fs::directory_iterator(PX_SOURCE_DIR "/tests/cases/contract")) {
        if (entry.path().extension() != ".case") continue;
        ++files;
        std::ifstream in(entry.path(), std::ios::binary);
        CaseFile cases;
        std::string rewritten;
        std::string line;
        for (int number = 1; std::getline(in, line); ++number) {
            const std::string now = cases.run(line);
            rewritten += now + "\n";
            if (!update) {
                EXPECT_EQ(now, line) << entry.path().filename() << ":" << number;
            }
        }
        if (update) std::ofstream(entry.path(), std::ios::binary) << rewritten;
    }
    EXPECT_GE(files, 4U);
}

}  // namespace
}  // namespace px::contract
