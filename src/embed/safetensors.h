// Reader of the safetensors format: named tensors in one memory-mapped file. Every length and
// offset in the file is checked against the file before it is used. Immutable after open; any
// thread. Source: the format's description in the safetensors project; docs/formats/model.md says
// what of it we take.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace px::embed {

/// A file mapped read-only, or memory of its own. Move-only.
class MappedFile {
  public:
    /// Errors: NotFound, Forbidden, Corrupt (empty or not a file), ResourceExhausted.
    static Result<MappedFile> open(const std::filesystem::path& file);
    MappedFile() = default;
    MappedFile(MappedFile&& other) noexcept { swap(other); }
    MappedFile& operator=(MappedFile&& other) noexcept {
        swap(other);
        return *this;
    }
    ~MappedFile();

    /// Zeros to be written to, in large pages where the system has them. Errors: ResourceExhausted.
    static Result<MappedFile> zeros(size_t size);

    std::string_view bytes() const { return {data_, size_}; }
    /// The start of the bytes, to be written to only when they are of zeros().
    std::byte* data() const { return reinterpret_cast<std::byte*>(const_cast<char*>(data_)); }

  private:
    void swap(MappedFile& other) noexcept {
        std::swap(data_, other.data_);
        std::swap(size_, other.size_);
    }
    const char* data_ = nullptr;
    size_t size_ = 0;
};

enum class DataType { F32, F16, Bf16, Other };

/// A tensor's place; bytes stay with the file they are of.
struct TensorView {
    DataType type = DataType::Other;
    std::vector<size_t> shape;
    std::string_view bytes;

    size_t element_count() const;
    /// Elements [first, first + count) as f32. The range must lie inside; type must not be Other.
    void read(size_t first, size_t count, float* out) const;
};

/// The tensors of a file's bytes, which must outlive them.
class Safetensors {
  public:
    /// Errors: Corrupt, naming the tensor and what is wrong with it.
    static Result<Safetensors> parse(std::string_view bytes);

    bool has(std::string_view name) const { return tensors_.find(name) != tensors_.end(); }
    /// The floating-point tensor of that name and shape. Errors: Corrupt (absent, another shape),
    /// InvalidArgument (another type).
    Result<TensorView> get(std::string_view name, const std::vector<size_t>& shape) const;
    size_t size() const { return tensors_.size(); }

  private:
    std::map<std::string, TensorView, std::less<>> tensors_;
};

/// Nearest bf16 of x, halves to even; NaN stays NaN.
uint16_t to_bf16(float x);

}  // namespace px::embed
