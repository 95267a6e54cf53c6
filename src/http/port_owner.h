// Who listens on a TCP port of this machine, for error messages. Rank 1. Any thread.
#pragma once

#include <cstdint>
#include <string>

namespace px::http {

/// "px (process 4711)" by /proc, "another process" when the owner can't be seen, "" when nobody
/// listens.
std::string port_owner(uint16_t port);

}  // namespace px::http
