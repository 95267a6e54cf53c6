#include "source/sql/json_lines_file.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <iterator>
#include <system_error>
#include <utility>

namespace px::source {

namespace {
constexpr size_t kWriteBytes = 1 << 20;
}

void append_json_string(std::string_view text, std::string& out) {
    out += '"';
    for (const char c : text) {
        const auto byte = static_cast<unsigned char>(c);
        if (c == '"' || c == '\\') {
            out += '\\';
            out += c;
        } else if (byte >= 0x20) {
            out += c;  // bytes that are no UTF-8 stay: the reader rejects the record by rule
                       // "encoding"
        } else if (c == '\n') {
            out += "\\n";
        } else if (c == '\r') {
            out += "\\r";
        } else if (c == '\t') {
            out += "\\t";
        } else {
            fmt::format_to(std::back_inserter(out), "\\u{:04x}", byte);
        }
    }
    out += '"';
}

void append_base64(std::string_view bytes, std::string& out) {
    static constexpr char kAlphabet[] =
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    const auto at = [&](size_t i) {
        return i < bytes.size() ? static_cast<unsigned char>(bytes[i]) : 0U;
    };
    for (size_t i = 0; i < bytes.size(); i += 3) {
        const unsigned group = at(i) << 16 | at(i + 1) << 8 | at(i + 2);
        out += kAlphabet[group >> 18];
        out += kAlphabet[group >> 12 & 63];
        out += i + 1 < bytes.size() ? kAlphabet[group >> 6 & 63] : '=';
        out += i + 2 < bytes.size() ? kAlphabet[group & 63] : '=';
    }
}

JsonLinesFile::JsonLinesFile(std::filesystem::path path, int descriptor, int64_t max_bytes)
    : path_(std::move(path)), descriptor_(descriptor), max_bytes_(max_bytes) {}

JsonLinesFile::JsonLinesFile(JsonLinesFile&& other) noexcept
    : path_(std::move(other.path_)),
      descriptor_(std::exchange(other.descriptor_, -1)),
      max_bytes_(other.max_bytes_),
      finished_(std::exchange(other.finished_, true)),
      written_(other.written_),
      rows_(other.rows_),
      buffer_(std::move(other.buffer_)),
      keys_(std::move(other.keys_)) {}

JsonLinesFile::~JsonLinesFile() {
    if (descriptor_ >= 0) ::close(descriptor_);
    if (!finished_) {
        std::error_code ignored;
        std::filesystem::remove(path_, ignored);
    }
}

Result<JsonLinesFile> JsonLinesFile::create(const std::filesystem::path& path, int64_t max_bytes) {
    const int descriptor = ::open(path.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (descriptor < 0) return fail_errno(errno, fmt::format("cannot create {}", path.string()));
    return JsonLinesFile(path, descriptor, max_bytes);
}

Result<void> JsonLinesFile::columns(const std::vector<std::string>& names) {
    for (size_t i = 0; i < names.size(); ++i) {
        if (std::find(names.begin(), names.begin() + static_cast<ptrdiff_t>(i), names[i]) !=
            names.begin() + static_cast<ptrdiff_t>(i)) {
            return fail(ErrorCode::InvalidArgument,
                        fmt::format("the query yields two columns named \"{}\"", names[i]),
                        "give one of them another name: select … as …");
        }
        std::string key = i == 0 ? "{" : ",";
        append_json_string(names[i], key);
        keys_.push_back(key + ":");
        buffer_ += i == 0 ? '[' : ',';
        append_json_string(names[i], buffer_);
    }
    buffer_ += "]\n";
    return {};
}

std::string& JsonLinesFile::value(size_t column) { return buffer_ += keys_[column]; }

Result<void> JsonLinesFile::end_row(const Deadline& deadline) {
    buffer_ += "}\n";
    ++rows_;
    if (size_bytes() > max_bytes_) {
        return fail(ErrorCode::ResourceExhausted,
                    fmt::format("the export is larger than max_bytes ({})", max_bytes_),
                    "narrow the query, for example by :ds, or raise the limit");
    }
    if (buffer_.size() >= kWriteBytes) {
        PX_TRY(deadline.check());
        PX_TRY(flush());
    }
    return {};
}

Result<void> JsonLinesFile::flush() {
    size_t done = 0;
    while (done < buffer_.size()) {
        const ssize_t written = ::write(descriptor_, buffer_.data() + done, buffer_.size() - done);
        if (written < 0) {
            if (errno == EINTR) continue;
            return fail_errno(errno, fmt::format("cannot write {}", path_.string()));
        }
        done += static_cast<size_t>(written);
    }
    written_ += static_cast<int64_t>(buffer_.size());
    buffer_.clear();
    return {};
}

Result<void> JsonLinesFile::finish() {
    PX_TRY(flush());
    if (::fsync(descriptor_) != 0 || ::close(std::exchange(descriptor_, -1)) != 0)
        return fail_errno(errno, fmt::format("cannot write {}", path_.string()));
    finished_ = true;
    return {};
}

}  // namespace px::source
