// TimeZone: offsets of local time from UTC, read from a TZif file of the system's tzdata (RFC 8536,
// versions 1 to 3 with the POSIX TZ footer for later years). Pure but for load(); rank 5;
// immutable, any thread.
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>
#include <string_view>

#include "base/result.h"

namespace px::schedule {

class TimeZone {
  public:
    /// A stretch of time with one offset: [begin_s, end_s) in seconds since 1970 UTC.
    struct Segment {
        int64_t begin_s;
        int64_t end_s;
        int32_t offset_s;  ///< local = UTC + offset
    };

    /// Offset 0, for ever; needs no file.
    static TimeZone utc();
    /// The bytes of a TZif file. Errors: Corrupt saying what is wrong with it, InvalidArgument for
    /// one with leap seconds ("right/…").
    static Result<TimeZone> parse(std::string name, std::string_view bytes);
    /// "Europe/Berlin" from a folder of tzdata; "UTC" needs none. Errors: InvalidArgument (no such
    /// zone, with the nearest names), NotFound (no tzdata: what to install), Corrupt.
    static Result<TimeZone> load(const std::string& name, const std::filesystem::path& folder);
    /// $TZDIR, else /usr/share/zoneinfo.
    static std::filesystem::path default_folder();

    const std::string& name() const;
    /// The stretch that holds an instant. O(log transitions).
    Segment segment_at(int64_t utc_s) const;
    int32_t offset_at(int64_t utc_s) const { return segment_at(utc_s).offset_s; }
    /// The first instant the wall clock shows local_s (seconds since 1970 of that clock); where a
    /// change skips it, the first instant after the gap.
    int64_t first_instant_of(int64_t local_s) const;

  private:
    struct Data;
    explicit TimeZone(std::shared_ptr<const Data> data) : data_(std::move(data)) {}
    std::shared_ptr<const Data> data_;
};

}  // namespace px::schedule
