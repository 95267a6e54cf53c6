#include "embed/packed_model.h"

#include <atomic>
#include <bit>
#include <cerrno>
#include <cstring>

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/sha256.h"

namespace px::embed {

namespace {

static_assert(std::endian::native == std::endian::little);

constexpr char kMagic[8] = {'P', 'X', 'P', 'A', 'C', 'K', 'E', 'D'};
/// Raise it whenever the header or what the kernels expect of a layout changes.
constexpr uint32_t kVersion = 2;
constexpr size_t kHeaderBytes = 4096;

struct Header {
    char magic[8];
    uint32_t version;
    uint32_t header_bytes;
    uint64_t weights_size;
    int64_t weights_modified_ns;
    uint64_t weights_inode;
    uint64_t sizes[7];  ///< hidden, inner, layers, heads, vocabulary, positions, types
    char weights_sha256[64];
    char layout[64];  ///< padded with zeros
    uint64_t memory_bytes;
    uint64_t memory_checksum;
    uint64_t header_checksum;  ///< of all before it
};
static_assert(sizeof(Header) == 248 && sizeof(Header) <= kHeaderBytes);

/// Four interleaved sums of 8-byte words, each multiplied on by an odd number: finds any damage of
/// one word and, but for one in 2^64, of more. No defence against forgery.
uint64_t checksum(std::string_view bytes) {
    constexpr uint64_t kFactor = 0x9E3779B97F4A7C15U;
    uint64_t sums[4] = {1, 2, 3, 4};
    size_t at = 0;
    const auto word = [&](size_t place, size_t size) {
        uint64_t value = 0;
        std::memcpy(&value, bytes.data() + place, size);
        return value;
    };
    for (; at + 32 <= bytes.size(); at += 32) {
        for (size_t lane = 0; lane < 4; ++lane)
            sums[lane] = std::rotl((sums[lane] ^ word(at + lane * 8, 8)) * kFactor, 29);
    }
    for (; at < bytes.size(); at += 8) {
        sums[0] =
            std::rotl((sums[0] ^ word(at, std::min<size_t>(8, bytes.size() - at))) * kFactor, 29);
    }
    uint64_t all = bytes.size();
    for (const uint64_t sum : sums) all = std::rotl((all ^ sum) * kFactor, 29);
    return all;
}

Header header_of(const PackedIdentity& identity, std::string_view weights_sha256,
                 std::string_view memory) {
    Header header{};
    std::memcpy(header.magic, kMagic, sizeof kMagic);
    header.version = kVersion;
    header.header_bytes = kHeaderBytes;
    header.weights_size = identity.weights.size;
    header.weights_modified_ns = identity.weights.modified_ns;
    header.weights_inode = identity.weights.inode;
    const ModelConfig& config = identity.config;
    const size_t sizes[] = {config.hidden_width,    config.inner_width, config.layers, config.heads,
                            config.vocabulary_size, config.positions,   config.types};
    for (size_t i = 0; i < std::size(sizes); ++i) header.sizes[i] = sizes[i];
    weights_sha256.copy(header.weights_sha256, sizeof header.weights_sha256);
    std::string_view(identity.layout).copy(header.layout, sizeof header.layout - 1);
    header.memory_bytes = memory.size();
    header.memory_checksum = checksum(memory);
    return header;
}

uint64_t header_checksum(const Header& header) {
    return checksum({reinterpret_cast<const char*>(&header), offsetof(Header, header_checksum)});
}

Result<void> write_all(int file, std::string_view bytes, const std::string& name) {
    while (!bytes.empty()) {
        const ssize_t count = ::write(file, bytes.data(), bytes.size());
        if (count < 0 && errno == EINTR) continue;
        if (count < 0) return fail_errno(errno, "cannot write '" + name + "'");
        bytes.remove_prefix(static_cast<size_t>(count));
    }
    return {};
}

/// Closes a descriptor at the end of its scope.
class Descriptor {
  public:
    explicit Descriptor(int number) : number_(number) {}
    Descriptor(const Descriptor&) = delete;
    Descriptor& operator=(const Descriptor&) = delete;
    ~Descriptor() {
        if (number_ >= 0) ::close(number_);
    }
    int get() const { return number_; }

  private:
    int number_;
};

}  // namespace

Result<FileState> FileState::of(const std::filesystem::path& file) {
    struct stat status {};
    if (::stat(file.c_str(), &status) != 0)
        return fail_errno(errno, fmt::format("cannot read '{}'", file.string()));
    return FileState{
        static_cast<uint64_t>(status.st_size),
        static_cast<int64_t>(status.st_mtim.tv_sec) * 1'000'000'000 + status.st_mtim.tv_nsec,
        static_cast<uint64_t>(status.st_ino)};
}

std::filesystem::path packed_path(const std::filesystem::path& cache_directory,
                                  const std::filesystem::path& model_directory,
                                  std::string_view layout) {
    std::error_code code;
    std::filesystem::path model = std::filesystem::weakly_canonical(model_directory, code);
    if (code) model = std::filesystem::absolute(model_directory, code);
    if (!model.has_filename()) model = model.parent_path();
    std::string kind(layout);
    for (char& letter : kind) {
        if (letter == '/') letter = '-';
    }
    return cache_directory / fmt::format("{}-{}-{}.packed", model.filename().string(),
                                         sha256_hex(model.string()).substr(0, 12), kind);
}

std::optional<PackedModel> read_packed(const std::filesystem::path& path,
                                       const PackedIdentity& identity) {
    auto file = MappedFile::open(path);
    if (!file || file->bytes().size() < kHeaderBytes) return std::nullopt;
    const std::string_view memory = file->bytes().substr(kHeaderBytes);
    Header header;
    std::memcpy(&header, file->bytes().data(), sizeof header);
    // All that is not of the content is as if we wrote it now.
    Header wanted = header_of(identity, {header.weights_sha256, sizeof header.weights_sha256}, "");
    wanted.memory_bytes = memory.size();
    wanted.memory_checksum = header.memory_checksum;
    wanted.header_checksum = header_checksum(wanted);
    if (std::memcmp(&header, &wanted, sizeof header) != 0) return std::nullopt;
    if (checksum(memory) != header.memory_checksum) return std::nullopt;
    PackedModel packed;
    packed.file = std::move(*file);
    packed.offset = kHeaderBytes;
    packed.weights_sha256.assign(header.weights_sha256, sizeof header.weights_sha256);
    return packed;
}

Result<void> write_packed(const std::filesystem::path& path, const PackedIdentity& identity,
                          std::string_view weights_sha256, std::string_view memory) {
    Header header = header_of(identity, weights_sha256, memory);
    header.header_checksum = header_checksum(header);
    std::string first(kHeaderBytes, '\0');
    std::memcpy(first.data(), &header, sizeof header);

    std::error_code code;
    std::filesystem::create_directories(path.parent_path(), code);
    if (code) {
        return fail_errno(code.value(),
                          fmt::format("cannot create '{}'", path.parent_path().string()));
    }
    static std::atomic<unsigned> counter{0};
    std::filesystem::path aside = path;
    aside += fmt::format(".{}-{}.tmp", ::getpid(), counter.fetch_add(1));
    const auto write = [&]() -> Result<void> {
        const Descriptor file(::open(aside.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644));
        if (file.get() < 0)
            return fail_errno(errno, fmt::format("cannot create '{}'", aside.string()));
        PX_TRY(write_all(file.get(), first, aside.string()));
        PX_TRY(write_all(file.get(), memory, aside.string()));
        if (::fsync(file.get()) != 0)
            return fail_errno(errno, fmt::format("cannot fsync '{}'", aside.string()));
        if (::rename(aside.c_str(), path.c_str()) != 0)
            return fail_errno(errno, fmt::format("cannot rename to '{}'", path.string()));
        const Descriptor folder(
            ::open(path.parent_path().c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
        if (folder.get() >= 0) ::fsync(folder.get());
        return {};
    };
    auto written = write();
    if (!written) ::unlink(aside.c_str());
    return written;
}

}  // namespace px::embed
