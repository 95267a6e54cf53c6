#include "base/log.h"

#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <functional>
#include <map>
#include <mutex>

#include "base/clock.h"

namespace px::log {

namespace {

std::atomic<Level> g_level{Level::Info};
std::atomic<Format> g_format{Format::Text};
std::mutex g_mutex;
std::map<std::string, std::string, std::less<>> g_context;
void (*g_clear)() = nullptr;
void (*g_redraw)() = nullptr;

void append_value(std::string& line, std::string_view value) {
    const bool plain =
        !value.empty() && value.find_first_of(" \"=\n\r\t") == std::string_view::npos;
    if (plain) {
        line += value;
        return;
    }
    line += '"';
    for (char c : value) {
        switch (c) {
            case '"':
                line += "\\\"";
                break;
            case '\n':
                line += "\\n";
                break;
            case '\r':
                line += "\\r";
                break;
            case '\t':
                line += "\\t";
                break;
            default:
                line += static_cast<unsigned char>(c) < 0x20 ? '?' : c;
        }
    }
    line += '"';
}

bool is_among(std::initializer_list<Field> fields, std::string_view key) {
    return std::ranges::any_of(fields, [&](const Field& field) { return field.key == key; });
}

void append_json(std::string& line, std::string_view key, std::string_view value) {
    line += line.empty() ? '{' : ',';
    for (const std::string_view text : {key, value}) {
        line += '"';
        for (const char c : text) {
            if (c == '"' || c == '\\') {
                line += '\\';
                line += c;
            } else if (static_cast<unsigned char>(c) < 0x20) {
                line += fmt::format("\\u{:04x}", static_cast<unsigned char>(c));
            } else {
                line += c;
            }
        }
        line += '"';
        if (text.data() == key.data()) line += ':';
    }
}

}  // namespace

void set_format(Format format) { g_format = format; }

void set_context(std::string_view key, std::string_view value) {
    const std::lock_guard lock(g_mutex);
    if (value.empty()) {
        g_context.erase(std::string(key));
    } else {
        g_context[std::string(key)] = value;
    }
}

void set_level(Level level) { g_level = level; }
Level level() { return g_level; }

void set_terminal_guard(void (*clear)(), void (*redraw)()) {
    const std::lock_guard lock(g_mutex);
    g_clear = clear;
    g_redraw = redraw;
}

void write(Level level, std::string_view event, std::initializer_list<Field> fields) {
    if (level < g_level) return;
    static constexpr std::string_view kNames[] = {"debug", "info ", "warn ", "error", ""};
    const std::string time = format_timestamp(SystemClock().now());
    const std::string_view name = kNames[static_cast<size_t>(level)];
    const std::lock_guard lock(g_mutex);
    std::string line;
    if (g_format == Format::Json) {
        append_json(line, "time", time);
        append_json(line, "level", name.substr(0, name.find(' ')));
        append_json(line, "event", event);
        for (const Field& field : fields) append_json(line, field.key, field.value);
        for (const auto& [key, value] : g_context) {
            if (!is_among(fields, key)) append_json(line, key, value);
        }
        line += '}';
    } else {
        line = fmt::format("{} {} {}", time.substr(11, 12), name, event);
        const auto append = [&](std::string_view key, std::string_view value) {
            line += ' ';
            line += key;
            line += '=';
            append_value(line, value);
        };
        for (const Field& field : fields) append(field.key, field.value);
        for (const auto& [key, value] : g_context) {
            if (!is_among(fields, key)) append(key, value);
        }
    }
    line += '\n';
    if (g_clear != nullptr) g_clear();
    [[maybe_unused]] const auto written = ::write(STDERR_FILENO, line.data(), line.size());
    if (g_redraw != nullptr) g_redraw();
}

}  // namespace px::log
