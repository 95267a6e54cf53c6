// A file that lives in memory, for fuzzing readers that open paths.
#pragma once

#include <sys/mman.h>
#include <unistd.h>

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string>

namespace px::fuzz {

class MemoryFile {
  public:
    MemoryFile(const uint8_t* data, size_t size)
        : descriptor_(::memfd_create("fuzz", MFD_CLOEXEC)) {
        if (descriptor_ < 0) std::abort();
        while (size > 0) {
            const ssize_t written = ::write(descriptor_, data, size);
            if (written <= 0) std::abort();
            data += written;
            size -= static_cast<size_t>(written);
        }
    }
    MemoryFile(const MemoryFile&) = delete;
    MemoryFile& operator=(const MemoryFile&) = delete;
    ~MemoryFile() { ::close(descriptor_); }

    std::string path() const { return "/proc/self/fd/" + std::to_string(descriptor_); }

  private:
    int descriptor_;
};

}  // namespace px::fuzz
