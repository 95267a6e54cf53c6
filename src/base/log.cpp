#include "base/log.h"

#include <unistd.h>

#include <atomic>
#include <mutex>

#include "base/clock.h"

namespace px::log {

namespace {

std::atomic<Level> g_level{Level::Info};
std::mutex g_mutex;
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

}  // namespace

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
    std::string line = format_timestamp(SystemClock().now()).substr(11, 12);
    line += ' ';
    line += kNames[static_cast<size_t>(level)];
    line += ' ';
    line += event;
    for (const Field& field : fields) {
        line += ' ';
        line += field.key;
        line += '=';
        append_value(line, field.value);
    }
    line += '\n';
    const std::lock_guard lock(g_mutex);
    if (g_clear != nullptr) g_clear();
    [[maybe_unused]] const auto written = ::write(STDERR_FILENO, line.data(), line.size());
    if (g_redraw != nullptr) g_redraw();
}

}  // namespace px::log
