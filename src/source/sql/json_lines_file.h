// What an SQL export writes: a file of JSON Lines, gone unless finished, and JSON's values as text.
// One thread at a time.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

#include "base/clock.h"
#include "base/result.h"

namespace px::source {

void append_json_string(std::string_view text, std::string& out);
void append_base64(std::string_view bytes, std::string& out);

class JsonLinesFile {
  public:
    /// max_bytes: of the whole file.
    static Result<JsonLinesFile> create(const std::filesystem::path& path, int64_t max_bytes);
    ~JsonLinesFile();
    JsonLinesFile(JsonLinesFile&& other) noexcept;
    JsonLinesFile& operator=(JsonLinesFile&&) = delete;

    /// The line of column names. Errors: InvalidArgument (one name twice).
    Result<void> columns(const std::vector<std::string>& names);
    /// Where the value of a column belongs; a row's columns come in their order.
    std::string& value(size_t column);
    /// Ends the row. Errors: ResourceExhausted (max_bytes, disk), Cancelled, DeadlineExceeded.
    Result<void> end_row(const Deadline& deadline);
    /// All is on the disk.
    Result<void> finish();
    int64_t size_bytes() const { return written_ + static_cast<int64_t>(buffer_.size()); }
    int64_t row_count() const { return rows_; }

  private:
    JsonLinesFile(std::filesystem::path path, int descriptor, int64_t max_bytes);
    Result<void> flush();

    std::filesystem::path path_;
    int descriptor_;
    int64_t max_bytes_;
    bool finished_ = false;
    int64_t written_ = 0, rows_ = 0;
    std::string buffer_;
    std::vector<std::string> keys_;  // of the columns, ready to be written
};

}  // namespace px::source
