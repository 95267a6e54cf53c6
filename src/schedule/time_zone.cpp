#include "schedule/time_zone.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cstdlib>
#include <fstream>
#include <iterator>
#include <limits>
#include <optional>
#include <vector>

#include "base/clock.h"

namespace px::schedule {

namespace {

constexpr int64_t kDay = 86'400;
constexpr int64_t kForever = int64_t{1} << 50;
constexpr size_t kFileBytesMax = 1 << 20;
constexpr uint32_t kTransitionsMax = 100'000;
constexpr int32_t kOffsetMax = 26 * 3'600;  // RFC 8536: less than 26 hours

int64_t year_of(int64_t utc_s) {
    // 400 years are 146,097 days; near enough, and put right below.
    int64_t year = 1970 + (utc_s / kDay) * 400 / 146'097;
    while (int64_t{days_from_civil(static_cast<int32_t>(year), 1, 1)} * kDay > utc_s) --year;
    while (int64_t{days_from_civil(static_cast<int32_t>(year) + 1, 1, 1)} * kDay <= utc_s) ++year;
    return year;
}

bool is_leap(int64_t year) { return year % 4 == 0 && (year % 100 != 0 || year % 400 == 0); }

/// When a year's change happens, as a POSIX TZ says: Mm.w.d, Jn or n, and a time of that day.
struct ChangeRule {
    enum class Kind { MonthWeekDay, JulianNoLeap, DayOfYear } kind = Kind::DayOfYear;
    int month = 1, week = 1, day = 0;
    int64_t time_s = 2 * 3'600;

    /// Seconds since 1970 of the wall clock.
    int64_t local_in(int64_t year) const {
        const auto y = static_cast<int32_t>(year);
        int64_t date = days_from_civil(y, 1, 1);
        if (kind == Kind::DayOfYear) {
            date += day;
        } else if (kind == Kind::JulianNoLeap) {
            date += day - 1 + (is_leap(year) && day >= 60 ? 1 : 0);
        } else {
            const int64_t first = days_from_civil(y, month, 1);
            const int64_t next =
                month == 12 ? days_from_civil(y + 1, 1, 1) : days_from_civil(y, month + 1, 1);
            const int64_t weekday = ((first + 4) % 7 + 7) % 7;
            date = first + (day - weekday + 7) % 7 + (week - 1) * 7;
            if (date >= next) date -= 7;
        }
        return date * kDay + time_s;
    }
};

/// The footer: what holds after the last transition of the file.
struct Footer {
    int32_t standard_s = 0;
    int32_t summer_s = 0;
    bool has_summer = false;
    ChangeRule begins, ends;
};

class FooterReader {
  public:
    explicit FooterReader(std::string_view text) : left_(text) {}

    std::optional<Footer> read() {
        Footer footer;
        if (!name() || !offset(footer.standard_s)) return std::nullopt;
        footer.standard_s = -footer.standard_s;
        if (left_.empty()) return footer;
        footer.has_summer = true;
        if (!name()) return std::nullopt;
        footer.summer_s = footer.standard_s + 3'600;
        if (!left_.empty() && left_[0] != ',') {
            if (!offset(footer.summer_s)) return std::nullopt;
            footer.summer_s = -footer.summer_s;
        }
        if (!take(',') || !rule(footer.begins) || !take(',') || !rule(footer.ends) ||
            !left_.empty())
            return std::nullopt;
        return footer;
    }

  private:
    bool take(char c) {
        if (left_.empty() || left_[0] != c) return false;
        left_.remove_prefix(1);
        return true;
    }
    bool name() {
        size_t length = 0;
        if (take('<')) {
            length = left_.find('>');
            if (length == std::string_view::npos || length < 3) return false;
            left_.remove_prefix(length + 1);
            return true;
        }
        while (length < left_.size() && ((left_[length] >= 'A' && left_[length] <= 'Z') ||
                                         (left_[length] >= 'a' && left_[length] <= 'z')))
            ++length;
        left_.remove_prefix(length);
        return length >= 3;
    }
    bool number(int& value, int max) {
        size_t length = 0;
        value = 0;
        while (length < left_.size() && length < 4 && left_[length] >= '0' && left_[length] <= '9')
            value = value * 10 + (left_[length++] - '0');
        left_.remove_prefix(length);
        return length > 0 && value <= max;
    }
    /// [+-]hh[:mm[:ss]]
    bool time(int64_t& seconds, int hours_max) {
        const bool negative = take('-');
        if (!negative) (void)take('+');
        int hours = 0, minutes = 0, rest = 0;
        if (!number(hours, hours_max)) return false;
        if (take(':')) {
            if (!number(minutes, 59)) return false;
            if (take(':') && !number(rest, 59)) return false;
        }
        seconds = hours * 3'600 + minutes * 60 + rest;
        if (negative) seconds = -seconds;
        return true;
    }
    bool offset(int32_t& seconds) {
        int64_t value = 0;
        if (!time(value, 24)) return false;
        seconds = static_cast<int32_t>(value);
        return true;
    }
    bool rule(ChangeRule& rule) {
        if (take('M')) {
            rule.kind = ChangeRule::Kind::MonthWeekDay;
            if (!number(rule.month, 12) || rule.month < 1 || !take('.') || !number(rule.week, 5) ||
                rule.week < 1 || !take('.') || !number(rule.day, 6))
                return false;
        } else if (take('J')) {
            rule.kind = ChangeRule::Kind::JulianNoLeap;
            if (!number(rule.day, 365) || rule.day < 1) return false;
        } else if (!number(rule.day, 365)) {
            return false;
        }
        return !take('/') || time(rule.time_s, 167);
    }

    std::string_view left_;
};

/// Big-endian numbers out of a block whose size was checked.
class Bytes {
  public:
    explicit Bytes(std::string_view bytes) : bytes_(bytes) {}
    size_t left() const { return bytes_.size() - at_; }
    bool skip(uint64_t count) {
        if (count > left()) return false;
        at_ += count;
        return true;
    }
    uint8_t byte() { return static_cast<uint8_t>(bytes_[at_++]); }
    int64_t number(size_t size) {
        uint64_t value = 0;
        for (size_t i = 0; i < size; ++i) value = value << 8 | byte();
        return size == 4 ? static_cast<int32_t>(value) : static_cast<int64_t>(value);
    }
    std::string_view rest() const { return bytes_.substr(at_); }

  private:
    std::string_view bytes_;
    size_t at_ = 0;
};

struct Header {
    char version = 0;
    uint32_t isut = 0, isstd = 0, leap = 0, time = 0, type = 0, chars = 0;
    uint64_t body_bytes(uint64_t time_size) const {
        return time * (time_size + 1) + uint64_t{type} * 6 + chars + leap * (time_size + 4) +
               uint64_t{isstd} + isut;
    }
};

std::optional<Header> read_header(Bytes& bytes) {
    if (bytes.left() < 44 || !bytes.rest().starts_with("TZif")) return std::nullopt;
    (void)bytes.skip(4);
    Header header;
    header.version = static_cast<char>(bytes.byte());
    (void)bytes.skip(15);
    for (uint32_t* count :
         {&header.isut, &header.isstd, &header.leap, &header.time, &header.type, &header.chars})
        *count = static_cast<uint32_t>(bytes.number(4));
    return header;
}

size_t distance(std::string_view a, std::string_view b) {
    std::vector<size_t> row(b.size() + 1);
    for (size_t j = 0; j <= b.size(); ++j) row[j] = j;
    const auto lower = [](char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c; };
    for (size_t i = 1; i <= a.size(); ++i) {
        size_t diagonal = row[0];
        row[0] = i;
        for (size_t j = 1; j <= b.size(); ++j) {
            const size_t above = row[j];
            row[j] = std::min({above + 1, row[j - 1] + 1,
                               diagonal + (lower(a[i - 1]) == lower(b[j - 1]) ? 0U : 1U)});
            diagonal = above;
        }
    }
    return row[b.size()];
}

/// The names nearest to a wrong one, by the whole name or by the city alone.
std::string nearest_zones(const std::string& name, const std::filesystem::path& folder) {
    std::vector<std::pair<size_t, std::string>> near;
    std::error_code code;
    int seen = 0;
    for (std::filesystem::recursive_directory_iterator
             at(folder, std::filesystem::directory_options::skip_permission_denied, code),
         end;
         !code && at != end && seen < 20'000; at.increment(code), ++seen) {
        std::string zone = at->path().lexically_relative(folder).generic_string();
        if (zone.starts_with("posix") || zone.starts_with("right")) {
            at.disable_recursion_pending();
            continue;
        }
        if (zone[0] < 'A' || zone[0] > 'Z' || !at->is_regular_file(code) ||
            zone.find('.') != std::string::npos)
            continue;
        const std::string city = zone.substr(zone.rfind('/') + 1);
        near.emplace_back(
            std::min(distance(name, zone), distance(name.substr(name.rfind('/') + 1), city)),
            std::move(zone));
    }
    std::ranges::sort(near);
    std::string names;
    for (size_t i = 0; i < std::min<size_t>(3, near.size()); ++i)
        names += (names.empty() ? "" : ", ") + near[i].second;
    return names;
}

}  // namespace

struct TimeZone::Data {
    std::string name;
    std::vector<int64_t> transitions;  // ascending
    std::vector<int32_t> offsets;      // before the first, then after each transition
    std::optional<Footer> footer;

    /// The changes of a year by the footer, in order.
    std::array<std::pair<int64_t, int32_t>, 2> changes(int64_t year) const {
        std::array<std::pair<int64_t, int32_t>, 2> both = {
            {{footer->begins.local_in(year) - footer->standard_s, footer->summer_s},
             {footer->ends.local_in(year) - footer->summer_s, footer->standard_s}}};
        if (both[1].first < both[0].first) std::swap(both[0], both[1]);
        return both;
    }
};

TimeZone TimeZone::utc() {
    auto data = std::make_shared<Data>();
    data->name = "UTC";
    data->offsets = {0};
    return TimeZone(std::move(data));
}

const std::string& TimeZone::name() const { return data_->name; }

Result<TimeZone> TimeZone::parse(std::string name, std::string_view bytes) {
    const auto corrupt = [&](std::string_view what) {
        return fail(ErrorCode::Corrupt, fmt::format("the time zone file of {} {}", name, what),
                    "Install the package tzdata again");
    };
    if (bytes.size() > kFileBytesMax) return corrupt("is larger than a megabyte");
    Bytes in(bytes);
    std::optional<Header> header = read_header(in);
    if (!header) return corrupt("is no TZif file");
    size_t time_size = 4;
    if (header->version >= '2') {
        if (!in.skip(header->body_bytes(4))) return corrupt("is cut off");
        header = read_header(in);
        if (!header) return corrupt("lacks its second header");
        time_size = 8;
    }
    if (header->leap != 0) {
        return fail(ErrorCode::InvalidArgument,
                    fmt::format("the time zone {} counts leap seconds", name),
                    "Use the zone of that name outside right/");
    }
    if (header->time > kTransitionsMax || header->type == 0 || header->type > 256 ||
        header->body_bytes(time_size) > in.left())
        return corrupt("is cut off");
    auto data = std::make_shared<Data>();
    data->name = std::move(name);
    for (uint32_t i = 0; i < header->time; ++i) data->transitions.push_back(in.number(time_size));
    std::vector<size_t> types;
    for (uint32_t i = 0; i < header->time; ++i) types.push_back(in.byte());
    std::vector<int32_t> offsets;
    for (uint32_t i = 0; i < header->type; ++i) {
        offsets.push_back(static_cast<int32_t>(in.number(4)));
        (void)in.skip(2);
        if (offsets.back() < -kOffsetMax || offsets.back() > kOffsetMax)
            return fail(ErrorCode::Corrupt,
                        fmt::format("the time zone file of {} holds an offset of {} s", data->name,
                                    offsets.back()),
                        "Install the package tzdata again");
    }
    data->offsets.push_back(offsets[0]);
    for (size_t i = 0; i < types.size(); ++i) {
        if (types[i] >= offsets.size() ||
            (i > 0 && data->transitions[i] <= data->transitions[i - 1]))
            return fail(
                ErrorCode::Corrupt,
                fmt::format("the time zone file of {} has transitions out of order", data->name),
                "Install the package tzdata again");
        data->offsets.push_back(offsets[types[i]]);
    }
    (void)in.skip(header->body_bytes(time_size) - header->time * (time_size + 1) -
                  uint64_t{header->type} * 6);
    std::string_view footer = in.rest();
    if (time_size == 8 && footer.starts_with('\n')) {
        footer.remove_prefix(1);
        footer = footer.substr(0, footer.find('\n'));
        if (!footer.empty()) {
            data->footer = FooterReader(footer).read();
            if (!data->footer)
                return fail(ErrorCode::Corrupt,
                            fmt::format("the time zone file of {} has a footer that can't be read",
                                        data->name),
                            "Install the package tzdata again");
        }
    }
    return TimeZone(std::move(data));
}

std::filesystem::path TimeZone::default_folder() {
    const char* const folder = std::getenv("TZDIR");  // NOLINT(concurrency-mt-unsafe)
    return folder != nullptr && *folder != '\0' ? folder : "/usr/share/zoneinfo";
}

Result<TimeZone> TimeZone::load(const std::string& name, const std::filesystem::path& folder) {
    if (name == "UTC" || name == "Etc/UTC") return utc();
    const bool is_name =
        !name.empty() && name.size() <= 64 && name[0] != '/' &&
        name.find("..") == std::string::npos && std::ranges::all_of(name, [](char c) {
            return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
                   c == '/' || c == '_' || c == '-' || c == '+';
        });
    std::error_code code;
    if (!std::filesystem::is_directory(folder, code)) {
        return fail(ErrorCode::NotFound,
                    fmt::format("there are no time zones in {}", folder.string()),
                    "Install the package tzdata, set TZDIR, or write timezone: UTC");
    }
    const std::filesystem::path file = folder / (is_name ? name : "");
    if (!is_name || !std::filesystem::is_regular_file(file, code)) {
        const std::string near = nearest_zones(name.substr(0, 64), folder);
        return fail(ErrorCode::InvalidArgument, fmt::format("'{}' is no time zone", name),
                    near.empty() ? "Write a name of the tz database, for example Europe/Berlin"
                                 : fmt::format("Did you mean one of {}?", near));
    }
    std::ifstream in(file, std::ios::binary);
    std::string bytes(kFileBytesMax + 1, '\0');
    in.read(bytes.data(), static_cast<std::streamsize>(bytes.size()));
    bytes.resize(static_cast<size_t>(std::max<std::streamsize>(0, in.gcount())));
    return parse(name, bytes);
}

TimeZone::Segment TimeZone::segment_at(int64_t utc_s) const {
    const Data& data = *data_;
    const auto after = std::ranges::upper_bound(data.transitions, utc_s);
    const auto index = static_cast<size_t>(after - data.transitions.begin());
    Segment segment{index == 0 ? -kForever : data.transitions[index - 1],
                    index == data.transitions.size() ? kForever : data.transitions[index],
                    data.offsets[index]};
    if (index < data.transitions.size() || !data.footer) return segment;
    // Beyond the file the footer holds.
    const int64_t known_until = segment.begin_s;
    if (!data.footer->has_summer) {
        segment.offset_s = data.footer->standard_s;
        return segment;
    }
    if (utc_s < -kForever / 2 || utc_s > kForever / 2) return segment;
    const int64_t year = year_of(std::clamp<int64_t>(utc_s, -60'000'000'000, 240'000'000'000));
    for (int64_t y = year - 1; y <= year + 1; ++y) {
        for (const auto& [at, offset_s] : data.changes(y)) {
            if (at <= utc_s) {
                segment.begin_s = std::max(known_until, at);
                segment.offset_s = offset_s;
            } else {
                segment.end_s = at;
                return segment;
            }
        }
    }
    return segment;
}

int64_t TimeZone::first_instant_of(int64_t local_s) const {
    Segment segment = segment_at(local_s - kOffsetMax - 1);
    while (true) {
        const int64_t instant = local_s - segment.offset_s;
        // Before the segment: the change into it skipped this time of the clock.
        if (instant < segment.begin_s) return segment.begin_s;
        if (instant < segment.end_s) return instant;
        segment = segment_at(segment.end_s);
    }
}

}  // namespace px::schedule
