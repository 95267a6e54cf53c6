#include "source/document/dates.h"

#include <array>
#include <cctype>
#include <cstdint>
#include <string>

namespace px::source {
namespace {

struct Moment {
    int year = 0, month = 1, day = 1;
    int hour = 0, minute = 0, second = 0;
    int micros = 0;
    int offset_minutes = 0;
};

bool is_digit(char c) { return c >= '0' && c <= '9'; }

int days_in_month(int year, int month) {
    constexpr std::array<int, 12> kDays{31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    const bool leap = (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;
    return month == 2 && leap ? 29 : kDays[static_cast<size_t>(month - 1)];
}

std::optional<TimestampMicros> to_micros(const Moment& m) {
    if (m.year < 1 || m.year > 9999 || m.month < 1 || m.month > 12 || m.day < 1 ||
        m.day > days_in_month(m.year, m.month) || m.hour > 24 || m.minute > 59 || m.second > 60 ||
        m.offset_minutes > 24 * 60 || m.offset_minutes < -24 * 60) {
        return std::nullopt;
    }
    const int64_t days = days_from_civil(m.year, m.month, m.day);
    const int64_t seconds =
        days * 86400 + m.hour * 3600 + m.minute * 60 + m.second - int64_t{m.offset_minutes} * 60;
    return seconds * 1'000'000 + m.micros;
}

/// Walks over a text; every read leaves the position alone when it does not match.
class Cursor {
  public:
    explicit Cursor(std::string_view text) : text_(text) {}
    bool at_end() const { return at_ == text_.size(); }
    char peek() const { return at_end() ? '\0' : text_[at_]; }

    bool take(char c) {
        if (peek() != c) return false;
        ++at_;
        return true;
    }
    void skip_blanks() {
        while (peek() == ' ' || peek() == '\t') ++at_;
    }
    /// Between least and most digits.
    bool number(size_t least, size_t most, int& value) {
        size_t count = 0;
        int out = 0;
        while (count < most && at_ + count < text_.size() && is_digit(text_[at_ + count])) {
            out = out * 10 + (text_[at_ + count] - '0');
            ++count;
        }
        if (count < least) return false;
        at_ += count;
        value = out;
        return true;
    }
    std::string word() {
        std::string out;
        while (!at_end() && std::isalpha(static_cast<unsigned char>(text_[at_]))) {
            out.push_back(
                static_cast<char>(std::tolower(static_cast<unsigned char>(text_[at_++]))));
        }
        return out;
    }
    size_t digit_run() const {
        size_t count = 0;
        while (at_ + count < text_.size() && is_digit(text_[at_ + count])) ++count;
        return count;
    }
    size_t position() const { return at_; }
    void go_to(size_t position) { at_ = position; }

  private:
    std::string_view text_;
    size_t at_ = 0;
};

std::string_view trimmed(std::string_view text) {
    while (!text.empty() && static_cast<unsigned char>(text.front()) <= ' ') text.remove_prefix(1);
    while (!text.empty() && static_cast<unsigned char>(text.back()) <= ' ') text.remove_suffix(1);
    return text;
}

bool read_offset(Cursor& c, Moment& m) {
    const size_t start = c.position();
    c.skip_blanks();
    if (c.take('Z') || c.take('z')) return true;
    if (c.peek() == '+' || c.peek() == '-') {
        const int sign = c.take('-') ? -1 : 1;
        if (sign > 0) c.take('+');
        int hours = 0, minutes = 0;
        if (!c.number(2, 2, hours)) return false;
        c.take(':');
        c.number(2, 2, minutes);
        m.offset_minutes = sign * (hours * 60 + minutes);
        return true;
    }
    const std::string word = c.word();
    if (word == "utc" || word == "gmt") return true;
    c.go_to(start);
    return word.empty();
}

/// hh:mm[:ss[.fraction]] and the offset; the position stands at the first digit.
bool read_time(Cursor& c, Moment& m) {
    if (!c.number(1, 2, m.hour) || !c.take(':') || !c.number(2, 2, m.minute)) return false;
    if (c.take(':')) {
        if (!c.number(2, 2, m.second)) return false;
        if (c.take('.') || c.take(',')) {
            int scale = 100'000, digit = 0;
            if (!c.number(1, 1, digit)) return false;
            do {
                m.micros += digit * scale;
                scale /= 10;
            } while (c.number(1, 1, digit));
        }
    }
    return read_offset(c, m);
}

std::optional<int> month_of(std::string_view word) {
    constexpr std::array<std::string_view, 12> kMonths{
        "january", "february", "march",     "april",   "may",      "june",
        "july",    "august",   "september", "october", "november", "december"};
    if (word.size() < 3) return std::nullopt;
    for (size_t i = 0; i < kMonths.size(); ++i) {
        if (kMonths[i].starts_with(word) || (i == 8 && word == "sept"))
            return static_cast<int>(i) + 1;
    }
    return std::nullopt;
}

bool is_weekday(std::string_view word) {
    constexpr std::array<std::string_view, 7> kDays{"monday", "tuesday",  "wednesday", "thursday",
                                                    "friday", "saturday", "sunday"};
    for (const auto day : kDays) {
        if (word.size() >= 3 && day.starts_with(word)) return true;
    }
    return false;
}

/// The time part that may follow a date, then the end.
std::optional<TimestampMicros> finish(Cursor& c, Moment& m) {
    if (c.take('T') || c.take('t')) {
        if (!read_time(c, m)) return std::nullopt;
    } else {
        c.take(',');
        c.skip_blanks();
        if (is_digit(c.peek()) && !read_time(c, m)) return std::nullopt;
    }
    if (!c.at_end()) return std::nullopt;
    return to_micros(m);
}

std::optional<TimestampMicros> parse_numeric(Cursor c) {
    Moment m;
    if (c.digit_run() == 8) {
        if (!c.number(4, 4, m.year) || !c.number(2, 2, m.month) || !c.number(2, 2, m.day))
            return std::nullopt;
        return finish(c, m);
    }
    if (!c.number(4, 4, m.year)) return std::nullopt;
    const char separator = c.peek();
    if (separator != '-' && separator != '/' && separator != '.') return std::nullopt;
    c.take(separator);
    if (!c.number(1, 2, m.month)) return std::nullopt;
    if (!c.take(separator) || !c.number(1, 2, m.day)) return std::nullopt;
    return finish(c, m);
}

std::optional<TimestampMicros> parse_named(Cursor c) {
    Moment m;
    if (std::string word = c.word(); !word.empty()) {
        if (is_weekday(word)) {
            c.take(',');
            c.skip_blanks();
            word = c.word();
        }
        if (!word.empty()) {  // March 4, 2025
            const auto month = month_of(word);
            if (!month) return std::nullopt;
            m.month = *month;
            c.take('.');
            c.skip_blanks();
            if (!c.number(1, 2, m.day)) return std::nullopt;
            c.take(',');
            c.skip_blanks();
            if (!c.number(4, 4, m.year)) return std::nullopt;
            return finish(c, m);
        }
    }
    if (!c.number(1, 2, m.day)) return std::nullopt;  // 4 March 2025
    c.take('.');
    c.skip_blanks();
    if (!c.take('-')) c.skip_blanks();
    const auto month = month_of(c.word());
    if (!month) return std::nullopt;
    m.month = *month;
    c.take('.');
    c.take(',');
    c.take('-');
    c.skip_blanks();
    if (!c.number(4, 4, m.year)) return std::nullopt;
    return finish(c, m);
}

}  // namespace

std::optional<TimestampMicros> parse_document_date(std::string_view text) {
    text = trimmed(text);
    if (text.empty() || text.size() > 64) return std::nullopt;
    if (const auto at = parse_numeric(Cursor(text))) return at;
    return parse_named(Cursor(text));
}

std::optional<TimestampMicros> parse_pdf_date(std::string_view text) {
    text = trimmed(text);
    if (!text.starts_with("D:")) return parse_document_date(text);
    Cursor c(text.substr(2));
    Moment m;
    if (!c.number(4, 4, m.year)) return std::nullopt;
    if (c.number(2, 2, m.month) && c.number(2, 2, m.day) && c.number(2, 2, m.hour) &&
        c.number(2, 2, m.minute)) {
        c.number(2, 2, m.second);
    }
    if (c.peek() == '+' || c.peek() == '-') {
        const int sign = c.take('-') ? -1 : 1;
        if (sign > 0) c.take('+');
        int hours = 0, minutes = 0;
        c.number(2, 2, hours);
        c.take('\'');
        c.number(2, 2, minutes);
        m.offset_minutes = sign * (hours * 60 + minutes);
    }
    return to_micros(m);
}

}  // namespace px::source
