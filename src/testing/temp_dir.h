// A folder of its own for a test, removed with everything in it at the end. For tests only.
#pragma once

#include <filesystem>
#include <string>
#include <string_view>

namespace px::testing {

/// Aborts the program when no folder can be made: without one no test means anything.
class TempDir {
  public:
    TempDir();
    ~TempDir();
    TempDir(const TempDir&) = delete;
    TempDir& operator=(const TempDir&) = delete;

    const std::filesystem::path& path() const { return path_; }
    std::filesystem::path operator/(std::string_view name) const { return path_ / name; }

  private:
    std::filesystem::path path_;
};

/// Whole content of a file; aborts when it can't be read.
std::string read_file(const std::filesystem::path& path);
/// Creates or replaces a file and its folders; aborts when it can't.
void write_file(const std::filesystem::path& path, std::string_view bytes);

}  // namespace px::testing
