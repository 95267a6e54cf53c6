#include "source/document/zip_archive.h"

#include <fmt/format.h>
#include <zip.h>

#include <algorithm>
#include <utility>

namespace px::source {
namespace {

constexpr std::string_view kExportHint = "Open it in the program that made it and save it again";

struct CloseFile {
    void operator()(zip_file_t* file) const { zip_fclose(file); }
};

struct OwnedError {
    zip_error_t error;
    OwnedError() { zip_error_init(&error); }
    OwnedError(const OwnedError&) = delete;
    OwnedError& operator=(const OwnedError&) = delete;
    ~OwnedError() { zip_error_fini(&error); }
};

}  // namespace

void ZipArchive::Discard::operator()(zip* archive) const { zip_discard(archive); }

Result<ZipArchive> ZipArchive::open(std::string_view bytes, size_t unpacked_bytes_max) {
    OwnedError owned;
    zip_source_t* source = zip_source_buffer_create(bytes.data(), bytes.size(), 0, &owned.error);
    zip_t* archive =
        source != nullptr ? zip_open_from_source(source, ZIP_RDONLY, &owned.error) : nullptr;
    if (archive == nullptr) {
        if (source != nullptr) zip_source_free(source);
        return fail(ErrorCode::Corrupt,
                    fmt::format("the file is not a readable zip archive: {}",
                                zip_error_strerror(&owned.error)),
                    std::string(kExportHint));
    }
    return ZipArchive(std::unique_ptr<zip, Discard>(archive), unpacked_bytes_max);
}

Result<std::optional<std::string>> ZipArchive::read(const std::string& name) {
    const zip_int64_t index = zip_name_locate(archive_.get(), name.c_str(), 0);
    if (index < 0) return std::optional<std::string>();
    const auto entry = static_cast<zip_uint64_t>(index);
    zip_stat_t stat;
    zip_stat_init(&stat);
    if (zip_stat_index(archive_.get(), entry, 0, &stat) != 0) {
        return fail(ErrorCode::Corrupt, fmt::format("part {} cannot be found in the archive", name),
                    std::string(kExportHint));
    }
    if ((stat.valid & ZIP_STAT_ENCRYPTION_METHOD) != 0 && stat.encryption_method != ZIP_EM_NONE) {
        return fail(ErrorCode::Forbidden, fmt::format("part {} of the archive is encrypted", name),
                    "Remove the password and save it again");
    }
    const std::unique_ptr<zip_file_t, CloseFile> file(zip_fopen_index(archive_.get(), entry, 0));
    if (!file) {
        return fail(ErrorCode::Corrupt,
                    fmt::format("part {} cannot be opened: {}", name, zip_strerror(archive_.get())),
                    std::string(kExportHint));
    }
    // The size in the directory is a claim; what counts is what comes out.
    std::string out;
    constexpr size_t kStep = size_t{256} << 10;
    while (true) {
        const size_t have = out.size();
        out.resize(have + kStep);
        const zip_int64_t got = zip_fread(file.get(), out.data() + have, kStep);
        if (got < 0) {
            return fail(ErrorCode::Corrupt,
                        fmt::format("part {} is damaged: {}", name,
                                    zip_error_strerror(zip_file_get_error(file.get()))),
                        std::string(kExportHint));
        }
        const auto count = static_cast<size_t>(got);
        out.resize(have + count);
        if (count > unpacked_bytes_left_) {
            return fail(
                ErrorCode::ResourceExhausted,
                fmt::format("part {} unpacks to more than the limit of {} bytes for one document",
                            name, bound_),
                "Raise the limit of unpacked bytes if the file is to be trusted, or leave it out");
        }
        unpacked_bytes_left_ -= count;
        if (count == 0) break;
    }
    return std::optional<std::string>(std::move(out));
}

}  // namespace px::source
