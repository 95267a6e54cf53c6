// The packed cache: what Bert::load made of a model's weights, in a file that the next start maps
// instead of packing and hashing anew. docs/formats/packed_model.md is the format. A file that is
// damaged, short or of another version, model, kernel or precision is no error: it is made anew.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <string_view>

#include "base/result.h"
#include "embed/model_config.h"
#include "embed/safetensors.h"

namespace px::embed {

/// Tells one state of a file from another without reading it.
struct FileState {
    uint64_t size = 0;
    int64_t modified_ns = 0;
    uint64_t inode = 0;

    /// Errors: NotFound, Forbidden.
    static Result<FileState> of(const std::filesystem::path& file);
    bool operator==(const FileState&) const = default;
};

/// What a packed file was made of, all of which must agree for it to be used.
struct PackedIdentity {
    FileState weights;   ///< of model.safetensors
    ModelConfig config;  ///< its sizes
    std::string layout;  ///< "<kernel>/<precision>"
};

struct PackedModel {
    MappedFile file;
    size_t offset = 0;           ///< where the memory of Bert begins
    std::string weights_sha256;  ///< of model.safetensors, 64 hexadecimal digits
};

/// The file of a model folder in a cache folder, one for each kernel and precision.
std::filesystem::path packed_path(const std::filesystem::path& cache_directory,
                                  const std::filesystem::path& model_directory,
                                  std::string_view layout);

/// The file if it is whole and of that identity. O(its size): every byte is in the checksum.
std::optional<PackedModel> read_packed(const std::filesystem::path& path,
                                       const PackedIdentity& identity);

/// Writes aside, syncs, renames, syncs the folder; creates the folder. Errors: Forbidden,
/// ResourceExhausted and others of the system.
Result<void> write_packed(const std::filesystem::path& path, const PackedIdentity& identity,
                          std::string_view weights_sha256, std::string_view memory);

}  // namespace px::embed
