// Any bytes as a time zone file: no crash, and every instant lies in its stretch.
#include <cstdint>
#include <cstdlib>
#include <string_view>

#include "schedule/time_zone.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
    const auto zone = px::schedule::TimeZone::parse(
        "Fuzz/Zone", std::string_view(reinterpret_cast<const char*>(data), size));
    if (!zone) return 0;
    for (const int64_t at :
         {int64_t{-5'000'000'000}, int64_t{0}, int64_t{1'800'000'000}, int64_t{20'000'000'000}}) {
        const auto segment = zone->segment_at(at);
        if (segment.begin_s > at || segment.end_s <= at) std::abort();
        (void)zone->first_instant_of(at);
    }
    return 0;
}
