#include <fmt/format.h>
#include <unistd.h>

#include <boost/json.hpp>
#include <cerrno>
#include <cstdio>
#include <iostream>
#include <sstream>

#include "app/commands/commands.h"
#include "base/utf8.h"

namespace px::app {

Result<std::unique_ptr<App>> CommandContext::open_app() const {
    const std::filesystem::path path = PX_TRY(find_pipeline_file(file));
    Config config = PX_TRY(load_config(path, environment));
    return App::create(std::move(config), environment);
}

answer::Access CommandContext::access() const {
    if (!as_groups) return answer::Access::everything();
    std::vector<std::string> groups;
    std::stringstream list(*as_groups);
    for (std::string group; std::getline(list, group, ',');) groups.push_back(group);
    return answer::Access::of(std::move(groups));
}

void add_as_groups(CLI::App& command, CommandContext& context) {
    command.add_option("--as-groups", context.as_groups,
                       "See what a member of these groups may see (a,b), and nothing else");
}

std::string today(const Clock& clock) { return format_timestamp(clock.now()).substr(0, 10); }

namespace {

int g_output_errno = 0;  // of the first write that failed

}  // namespace

void print(std::string_view text) {
    errno = 0;
    if (std::fwrite(text.data(), 1, text.size(), stdout) != text.size() && g_output_errno == 0)
        g_output_errno = errno != 0 ? errno : EIO;
}

Result<void> finish_output() {
    errno = 0;
    std::cout.flush();  // it writes through stdout
    const bool flushed = std::fflush(stdout) == 0;
    if (g_output_errno == 0 && (!flushed || std::ferror(stdout) != 0 || !std::cout))
        g_output_errno = errno != 0 ? errno : EIO;
    if (g_output_errno == 0 || g_output_errno == EPIPE) return {};
    Error error = fail_errno(g_output_errno, "cannot write standard output");
    error.hint = "What was printed is not complete: mend where it goes, then ask again";
    // No bug of ours, whatever errno it was.
    if (error.code == ErrorCode::Internal) error.code = ErrorCode::Unavailable;
    return error;
}

std::string short_time(TimestampMicros micros) {
    std::string text = format_timestamp(micros).substr(0, 19);
    text[10] = ' ';
    return text;
}

std::string printable(std::string_view text) {
    std::string clean;
    clean.reserve(text.size());
    for (size_t i = 0; i < text.size(); ++i) {
        const auto byte = static_cast<unsigned char>(text[i]);
        // C1 controls (U+0080 to U+009F) are C2 80 … C2 9F in UTF-8.
        const bool c1 = byte == 0xC2 && i + 1 < text.size() &&
                        static_cast<unsigned char>(text[i + 1]) >= 0x80 &&
                        static_cast<unsigned char>(text[i + 1]) <= 0x9F;
        if (c1) {
            ++i;
            continue;
        }
        if ((byte < 0x20 && byte != '\n' && byte != '\t') || byte == 0x7F) continue;
        clean += text[i];
    }
    return clean;
}

std::string json_quote(std::string_view text) {
    return boost::json::serialize(boost::json::value(text));
}

std::string render_table(const std::vector<std::string>& columns,
                         const std::vector<std::vector<std::string>>& rows) {
    constexpr size_t kCellMax = 80;
    const bool cut = ::isatty(STDOUT_FILENO) != 0;  // a file or a pipe gets all of it
    const auto cell = [cut](const std::string& text) {
        std::string flat = printable(text);
        for (char& c : flat) {
            if (c == '\n' || c == '\t') c = ' ';
        }
        if (!cut || utf8_length(flat) <= kCellMax) return flat;
        size_t end = 0;
        for (size_t points = 0; points < kCellMax - 1 && end < flat.size(); ++points)
            utf8_next(flat, end);
        return flat.substr(0, end) + "…";
    };
    std::vector<size_t> widths;
    for (const std::string& column : columns) widths.push_back(utf8_length(column));
    std::vector<std::vector<std::string>> cells;
    for (const auto& row : rows) {
        std::vector<std::string> line;
        for (size_t c = 0; c < row.size(); ++c) {
            line.push_back(cell(utf8_sanitize(row[c])));
            widths[c] = std::max(widths[c], utf8_length(line.back()));
        }
        cells.push_back(std::move(line));
    }
    std::string text;
    const auto append = [&](const std::vector<std::string>& line) {
        std::string out;
        for (size_t c = 0; c < line.size(); ++c) {
            out += line[c];
            if (c + 1 < line.size()) out += std::string(widths[c] - utf8_length(line[c]) + 2, ' ');
        }
        text += out + "\n";
    };
    append(columns);
    for (const auto& line : cells) append(line);
    return text;
}

}  // namespace px::app
