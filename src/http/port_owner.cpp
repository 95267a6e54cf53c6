#include "http/port_owner.h"

#include <fmt/format.h>

#include <array>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <string_view>
#include <system_error>

namespace px::http {
namespace {

/// Inode of the listening socket in one of /proc/net/tcp and tcp6; "" if there is none.
std::string listening_inode(const char* table, uint16_t port) {
    std::ifstream in(table);
    std::string line;
    const std::string wanted = fmt::format(":{:04X}", port);
    while (std::getline(in, line)) {
        // sl local_address rem_address st tx:rx tr:when retrnsmt uid timeout inode
        std::istringstream fields(line);
        std::string slot, local, remote, state, queues, timer, retransmit, uid, timeout, inode;
        fields >> slot >> local >> remote >> state >> queues >> timer >> retransmit >> uid >>
            timeout >> inode;
        if (state == "0A" && local.ends_with(wanted)) return inode;
    }
    return {};
}

}  // namespace

std::string port_owner(uint16_t port) {
    std::string inode = listening_inode("/proc/net/tcp", port);
    if (inode.empty()) inode = listening_inode("/proc/net/tcp6", port);
    if (inode.empty()) return {};
    const std::string wanted = "socket:[" + inode + "]";
    std::error_code error;
    for (std::filesystem::directory_iterator process("/proc", error), end; !error && process != end;
         process.increment(error)) {
        const std::string id = process->path().filename();
        if (id.find_first_not_of("0123456789") != std::string::npos) continue;
        std::error_code unreadable;
        for (std::filesystem::directory_iterator file(process->path() / "fd", unreadable);
             !unreadable && file != end; file.increment(unreadable)) {
            std::error_code gone;
            if (std::filesystem::read_symlink(file->path(), gone) != wanted || gone) continue;
            std::ifstream in(process->path() / "comm");
            std::string name;
            std::getline(in, name);
            return fmt::format("{} (process {})", name, id);
        }
    }
    return "another process";
}

}  // namespace px::http
