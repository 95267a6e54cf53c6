// What a service behind a port tells about itself, for `px doctor`.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

namespace px {

struct ServiceFacts {
    std::string version;                    ///< "PostgreSQL 15.18"; empty: nothing to tell
    std::optional<bool> is_encrypted;       ///< the connection; absent: there is none
    bool is_loopback = false;               ///< nothing leaves this machine
    std::optional<int64_t> clock_ahead_ms;  ///< its clock before ours, as far as it tells
    std::optional<int64_t> free_bytes;      ///< where it writes, or keeps copies
    std::string more;                       ///< what else a person wants to know
};

}  // namespace px
