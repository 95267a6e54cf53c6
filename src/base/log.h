// Log lines are events for people and machines: `lake.commit table=reports version=42`.
// They go to stderr; never rows, prompts or secrets. Thread-safe; one write(2) a line.
#pragma once

#include <fmt/format.h>

#include <initializer_list>
#include <string>
#include <string_view>
#include <type_traits>

namespace px::log {

enum class Level { Debug, Info, Warning, Error, Off };

/// Lines below this level are dropped. Default Info. Set once at start.
void set_level(Level level);
Level level();

/// Text: `12:00:01.123 info  lake.commit table=reports`. Json: an object a line, with `time` in
/// full.
enum class Format { Text, Json };
void set_format(Format format);

/// A field of every line from here on, such as the run's id; an empty value takes it away.
void set_context(std::string_view key, std::string_view value);

/// One `key=value` of a log line.
struct Field {
    std::string_view key;
    std::string value;

    template <class T>
    Field(std::string_view field_key, const T& field_value)
        : key(field_key), value(fmt::format("{}", field_value)) {}
};

void write(Level level, std::string_view event, std::initializer_list<Field> fields);

inline void debug(std::string_view event, std::initializer_list<Field> fields = {}) {
    if (level() <= Level::Debug) write(Level::Debug, event, fields);
}
inline void info(std::string_view event, std::initializer_list<Field> fields = {}) {
    write(Level::Info, event, fields);
}
inline void warning(std::string_view event, std::initializer_list<Field> fields = {}) {
    write(Level::Warning, event, fields);
}
inline void error(std::string_view event, std::initializer_list<Field> fields = {}) {
    write(Level::Error, event, fields);
}

/// Called around each line while a progress bar owns the last line of the terminal: clears it
/// before, draws it again after. Null: nothing to clear.
void set_terminal_guard(void (*clear)(), void (*redraw)());

}  // namespace px::log
