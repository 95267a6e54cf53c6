#include "source/byte_stream.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zlib.h>
#include <zstd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <string>
#include <utility>
#include <vector>

namespace px::source {

namespace {

constexpr size_t kCompressedBlockBytes = 256 * 1024;

/// A file descriptor that closes itself.
class FileStream final : public ByteStream {
  public:
    FileStream(int descriptor, std::string name, int64_t offset)
        : descriptor_(descriptor), name_(std::move(name)), consumed_(offset) {}
    FileStream(const FileStream&) = delete;
    FileStream& operator=(const FileStream&) = delete;
    ~FileStream() override { ::close(descriptor_); }

    Result<size_t> read(char* out, size_t size) override {
        size_t filled = 0;
        while (filled < size) {
            const ssize_t got = ::read(descriptor_, out + filled, size - filled);
            if (got < 0) {
                if (errno == EINTR) continue;
                return fail_errno(errno, fmt::format("cannot read {}", name_));
            }
            if (got == 0) break;
            filled += static_cast<size_t>(got);
        }
        consumed_ += static_cast<int64_t>(filled);
        return filled;
    }
    int64_t consumed() const override { return consumed_; }

  private:
    int descriptor_;
    std::string name_;
    int64_t consumed_;
};

/// A block of compressed bytes between the file and a decoder.
class CompressedInput {
  public:
    explicit CompressedInput(std::unique_ptr<ByteStream> file)
        : file_(std::move(file)), block_(kCompressedBlockBytes) {}

    /// True when at least one byte is at hand.
    Result<bool> fill() {
        if (position_ < size_) return true;
        if (ended_) return false;
        size_ = PX_TRY(file_->read(block_.data(), block_.size()));
        position_ = 0;
        ended_ = size_ == 0;
        return size_ > 0;
    }
    const char* data() const { return block_.data() + position_; }
    size_t left() const { return size_ - position_; }
    void advance(size_t count) { position_ += count; }
    int64_t consumed() const { return file_->consumed() - static_cast<int64_t>(left()); }

  private:
    std::unique_ptr<ByteStream> file_;
    std::vector<char> block_;
    size_t position_ = 0;
    size_t size_ = 0;
    bool ended_ = false;
};

Error cut_short(const std::string& name, std::string_view format, int64_t at) {
    return fail(ErrorCode::Corrupt,
                fmt::format("{} ends inside a {} stream, at byte {}", name, format, at),
                "the file was cut: copy it again from its origin");
}

class GzipStream final : public ByteStream {
  public:
    GzipStream(std::unique_ptr<ByteStream> file, std::string name)
        : input_(std::move(file)), name_(std::move(name)) {}
    GzipStream(const GzipStream&) = delete;
    GzipStream& operator=(const GzipStream&) = delete;
    ~GzipStream() override {
        if (ready_) inflateEnd(&state_);
    }

    Result<void> start() {
        if (inflateInit2(&state_, 15 + 16) != Z_OK) {
            return fail(ErrorCode::ResourceExhausted,
                        fmt::format("no memory to decompress {}", name_));
        }
        ready_ = true;
        return {};
    }

    Result<size_t> read(char* out, size_t size) override {
        size_t filled = 0;
        while (filled < size && !ended_) {
            const bool more = PX_TRY(input_.fill());
            if (!more) {
                if (inside_) return cut_short(name_, "gzip", input_.consumed());
                ended_ = true;
                break;
            }
            if (!inside_) {
                // Between members: another member, or padding of zeros up to the end.
                if (*input_.data() == '\0') {
                    input_.advance(1);
                    padded_ = true;
                    continue;
                }
                if (padded_) return trailing_bytes();
                inside_ = true;
            }
            state_.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(input_.data()));
            state_.avail_in = static_cast<uInt>(input_.left());
            state_.next_out = reinterpret_cast<Bytef*>(out + filled);
            const size_t room = std::min<size_t>(size - filled, 1U << 30);
            state_.avail_out = static_cast<uInt>(room);
            const int outcome = inflate(&state_, Z_NO_FLUSH);
            input_.advance(input_.left() - state_.avail_in);
            filled += room - state_.avail_out;
            if (outcome == Z_STREAM_END) {
                inside_ = false;
                first_member_ = false;
                if (inflateReset(&state_) != Z_OK) {
                    return fail(ErrorCode::Internal, "zlib refused to start the next gzip member");
                }
                continue;
            }
            if (outcome == Z_MEM_ERROR) {
                return fail(ErrorCode::ResourceExhausted,
                            fmt::format("no memory to decompress {}", name_));
            }
            if (outcome != Z_OK && outcome != Z_BUF_ERROR) {
                if (!first_member_ && state_.total_out == 0 && state_.total_in < 18)
                    return trailing_bytes();
                return fail(
                    ErrorCode::Corrupt,
                    fmt::format("{} is broken gzip data near byte {}: {}", name_, input_.consumed(),
                                state_.msg != nullptr ? state_.msg : "unknown cause"),
                    "copy the file again from its origin");
            }
        }
        return filled;
    }
    int64_t consumed() const override { return input_.consumed(); }

  private:
    Error trailing_bytes() const {
        return fail(ErrorCode::Corrupt,
                    fmt::format("{} has bytes behind its gzip data, near byte {}", name_,
                                input_.consumed()),
                    "compress the file again");
    }

    CompressedInput input_;
    std::string name_;
    z_stream state_{};
    bool ready_ = false;
    bool inside_ = true;
    bool first_member_ = true;
    bool padded_ = false;
    bool ended_ = false;
};

class ZstdStream final : public ByteStream {
  public:
    ZstdStream(std::unique_ptr<ByteStream> file, std::string name)
        : input_(std::move(file)), name_(std::move(name)), state_(ZSTD_createDStream()) {}
    ZstdStream(const ZstdStream&) = delete;
    ZstdStream& operator=(const ZstdStream&) = delete;
    ~ZstdStream() override { ZSTD_freeDStream(state_); }

    Result<size_t> read(char* out, size_t size) override {
        if (state_ == nullptr) {
            return fail(ErrorCode::ResourceExhausted,
                        fmt::format("no memory to decompress {}", name_));
        }
        ZSTD_outBuffer output{out, size, 0};
        while (output.pos < size && !ended_) {
            // A decoder may hold decoded bytes back: ask it again before reading on.
            const bool more = PX_TRY(input_.fill());
            ZSTD_inBuffer compressed{input_.data(), more ? input_.left() : 0, 0};
            const size_t before = output.pos;
            if (!more && !inside_) {
                ended_ = true;
                break;
            }
            const size_t outcome = ZSTD_decompressStream(state_, &output, &compressed);
            input_.advance(compressed.pos);
            if (ZSTD_isError(outcome) != 0) {
                return fail(ErrorCode::Corrupt,
                            fmt::format("{} is broken zstd data near byte {}: {}", name_,
                                        input_.consumed(), ZSTD_getErrorName(outcome)),
                            "copy the file again from its origin");
            }
            inside_ = outcome != 0;
            if (!more && output.pos == before && inside_) {
                return cut_short(name_, "zstd", input_.consumed());
            }
        }
        return output.pos;
    }
    int64_t consumed() const override { return input_.consumed(); }

  private:
    CompressedInput input_;
    std::string name_;
    ZSTD_DStream* state_;
    bool inside_ = false;
    bool ended_ = false;
};

enum class Compression { None, Gzip, Zstd };

Compression compression_of(const unsigned char* head, size_t size) {
    if (size >= 2 && head[0] == 0x1F && head[1] == 0x8B) return Compression::Gzip;
    if (size >= 4) {
        if (head[0] == 0x28 && head[1] == 0xB5 && head[2] == 0x2F && head[3] == 0xFD)
            return Compression::Zstd;
        if ((head[0] & 0xF0) == 0x50 && head[1] == 0x2A && head[2] == 0x4D && head[3] == 0x18) {
            return Compression::Zstd;  // a skippable frame
        }
    }
    return Compression::None;
}

bool ends_with(const std::filesystem::path& path, std::string_view ending) {
    std::string text = path.extension().string();
    std::transform(text.begin(), text.end(), text.begin(), [](unsigned char c) {
        return static_cast<char>(c >= 'A' && c <= 'Z' ? c + 32 : c);
    });
    return text == ending;
}

}  // namespace

Result<OpenedBytes> open_bytes(const std::filesystem::path& path, int64_t offset) {
    const std::string name = path.string();
    const int descriptor = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
    if (descriptor < 0) return fail_errno(errno, fmt::format("cannot open {}", name));
    auto file = std::make_unique<FileStream>(descriptor, name, offset);
    struct stat status {};
    if (::fstat(descriptor, &status) != 0)
        return fail_errno(errno, fmt::format("cannot look at {}", name));
    if (S_ISDIR(status.st_mode)) {
        return fail(ErrorCode::InvalidArgument, fmt::format("{} is a folder, not a file", name),
                    "name a file, or a pattern such as folder/*.csv");
    }
    unsigned char head[4] = {};
    ssize_t got = 0;
    do {
        got = ::pread(descriptor, head, sizeof head, 0);
    } while (got < 0 && errno == EINTR);
    if (got < 0) return fail_errno(errno, fmt::format("cannot read {}", name));

    const Compression compression = compression_of(head, static_cast<size_t>(got));
    const bool named_gzip = ends_with(path, ".gz") && compression != Compression::Gzip;
    const bool named_zstd = ends_with(path, ".zst") && compression != Compression::Zstd;
    if (named_gzip || named_zstd) {
        return fail(ErrorCode::Corrupt,
                    got == 0 ? fmt::format("{} is empty", name)
                             : fmt::format("{} is not {} data, though its name says so", name,
                                           named_gzip ? "gzip" : "zstd"),
                    "compress the file again, or rename it");
    }
    if (compression == Compression::None) {
        if (offset != 0 && ::lseek(descriptor, offset, SEEK_SET) < 0) {
            return fail_errno(errno, fmt::format("cannot read {} from byte {}", name, offset));
        }
        ::posix_fadvise(descriptor, 0, 0, POSIX_FADV_SEQUENTIAL);
        return OpenedBytes{std::move(file), false};
    }
    if (offset != 0) {
        return fail(ErrorCode::InvalidArgument,
                    fmt::format("{} is compressed: it has no byte offsets of its text", name));
    }
    if (compression == Compression::Gzip) {
        auto stream = std::make_unique<GzipStream>(std::move(file), name);
        PX_TRY(stream->start());
        return OpenedBytes{std::move(stream), true};
    }
    return OpenedBytes{std::make_unique<ZstdStream>(std::move(file), name), true};
}

}  // namespace px::source
