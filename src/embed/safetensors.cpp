#include "embed/safetensors.h"

#include <bit>
#include <cerrno>
#include <cstring>
#include <limits>

#include <fcntl.h>
#include <fmt/format.h>
#include <fmt/ranges.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>
#include <boost/json.hpp>

namespace px::embed {

namespace json = boost::json;

namespace {

constexpr uint64_t kHeaderBytesMax = 100'000'000;  // the format's own limit
constexpr size_t kDimensionsMax = 16;
constexpr const char* kFetchAgain = "Fetch the model again: its weights file is damaged";

struct TypeRow {
    std::string_view name;
    DataType type;
    size_t bits;
};

constexpr TypeRow kTypes[] = {
    {"F32", DataType::F32, 32},   {"F16", DataType::F16, 16},   {"BF16", DataType::Bf16, 16},
    {"F64", DataType::Other, 64}, {"I64", DataType::Other, 64}, {"U64", DataType::Other, 64},
    {"I32", DataType::Other, 32}, {"U32", DataType::Other, 32}, {"I16", DataType::Other, 16},
    {"U16", DataType::Other, 16}, {"I8", DataType::Other, 8},   {"U8", DataType::Other, 8},
    {"BOOL", DataType::Other, 8},
};

Error corrupt(std::string message) {
    return fail(ErrorCode::Corrupt, std::move(message), kFetchAgain);
}

bool read_size(const json::value& value, uint64_t& out) {
    if (value.is_int64() && value.get_int64() >= 0) {
        out = static_cast<uint64_t>(value.get_int64());
        return true;
    }
    if (value.is_uint64()) {
        out = value.get_uint64();
        return true;
    }
    return false;
}

float from_f16(uint16_t half) {
    const uint32_t sign = static_cast<uint32_t>(half & 0x8000) << 16;
    const uint32_t exponent = half >> 10 & 0x1F;
    const uint32_t fraction = half & 0x3FF;
    if (exponent == 0) {
        const float magnitude = static_cast<float>(fraction) * 0x1p-24F;
        return sign != 0 ? -magnitude : magnitude;
    }
    const uint32_t wide = exponent == 31 ? 0xFF : exponent + 112;
    return std::bit_cast<float>(sign | wide << 23 | fraction << 13);
}

Result<TensorView> parse_tensor(std::string_view name, const json::value& value,
                                std::string_view data) {
    const json::object* entry = value.if_object();
    const json::value* type_value = entry == nullptr ? nullptr : entry->if_contains("dtype");
    const json::value* shape_value = entry == nullptr ? nullptr : entry->if_contains("shape");
    const json::value* offsets_value =
        entry == nullptr ? nullptr : entry->if_contains("data_offsets");
    if (type_value == nullptr || !type_value->is_string() || shape_value == nullptr ||
        !shape_value->is_array() || offsets_value == nullptr || !offsets_value->is_array() ||
        offsets_value->get_array().size() != 2) {
        return corrupt(fmt::format("tensor '{}' lacks dtype, shape or data_offsets", name));
    }
    const std::string_view type_name = type_value->get_string();
    const TypeRow* row = nullptr;
    for (const TypeRow& known : kTypes) {
        if (known.name == type_name) row = &known;
    }
    TensorView tensor;
    uint64_t begin = 0;
    uint64_t end = 0;
    const json::array& offsets = offsets_value->get_array();
    if (!read_size(offsets[0], begin) || !read_size(offsets[1], end) || begin > end ||
        end > data.size()) {
        return corrupt(fmt::format("tensor '{}' lies at {} of {} bytes of data", name,
                                   std::string(json::serialize(*offsets_value)).substr(0, 80),
                                   data.size()));
    }
    tensor.bytes = data.substr(begin, end - begin);
    const json::array& shape = shape_value->get_array();
    if (shape.size() > kDimensionsMax)
        return corrupt(fmt::format("tensor '{}' has {} dimensions", name, shape.size()));
    uint64_t elements = 1;
    for (const json::value& item : shape) {
        uint64_t dimension = 0;
        if (!read_size(item, dimension) ||
            (dimension != 0 && elements > std::numeric_limits<uint64_t>::max() / 64 / dimension)) {
            return corrupt(fmt::format("tensor '{}' has an impossible shape", name));
        }
        elements *= dimension;
        tensor.shape.push_back(dimension);
    }
    // A type we do not know may be of any width; it is kept out of reach instead of refused, as
    // nothing may need it.
    if (row != nullptr) {
        tensor.type = row->type;
        if (elements * (row->bits / 8) != end - begin) {
            return corrupt(fmt::format("tensor '{}' holds {} bytes, its shape and type {} need {}",
                                       name, end - begin, row->name, elements * (row->bits / 8)));
        }
    }
    return tensor;
}

}  // namespace

uint16_t to_bf16(float x) {
    const auto bits = std::bit_cast<uint32_t>(x);
    if ((bits & 0x7FFFFFFF) > 0x7F800000) return static_cast<uint16_t>(bits >> 16 | 0x40);
    return static_cast<uint16_t>((bits + 0x7FFF + (bits >> 16 & 1)) >> 16);
}

Result<MappedFile> MappedFile::open(const std::filesystem::path& file) {
    const int descriptor = ::open(file.c_str(), O_RDONLY | O_CLOEXEC);
    if (descriptor < 0) return fail_errno(errno, fmt::format("cannot open '{}'", file.string()));
    struct stat status {};
    const int stat_error = fstat(descriptor, &status) == 0 ? 0 : errno;
    if (stat_error != 0 || !S_ISREG(status.st_mode) || status.st_size <= 0) {
        ::close(descriptor);
        if (stat_error != 0)
            return fail_errno(stat_error, fmt::format("cannot read '{}'", file.string()));
        return fail(ErrorCode::Corrupt, fmt::format("'{}' is empty or not a file", file.string()),
                    kFetchAgain);
    }
    MappedFile mapped;
    mapped.size_ = static_cast<size_t>(status.st_size);
    void* data = mmap(nullptr, mapped.size_, PROT_READ, MAP_PRIVATE, descriptor, 0);
    const int map_error = errno;
    ::close(descriptor);
    if (data == MAP_FAILED) {
        mapped.size_ = 0;
        return fail_errno(map_error, fmt::format("cannot map '{}'", file.string()));
    }
    mapped.data_ = static_cast<const char*>(data);
    return mapped;
}

Result<MappedFile> MappedFile::zeros(size_t size) {
    MappedFile mapped;
    void* data = mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (data == MAP_FAILED)
        return fail_errno(errno, fmt::format("cannot have {} bytes of memory", size));
    madvise(data, size, MADV_HUGEPAGE);  // fewer page table walks; no matter when refused
    mapped.data_ = static_cast<const char*>(data);
    mapped.size_ = size;
    return mapped;
}

MappedFile::~MappedFile() {
    if (data_ != nullptr) munmap(const_cast<char*>(data_), size_);
}

size_t TensorView::element_count() const {
    size_t count = 1;
    for (const size_t dimension : shape) count *= dimension;
    return count;
}

void TensorView::read(size_t first, size_t count, float* out) const {
    if (type == DataType::F32) {
        std::memcpy(out, bytes.data() + first * 4, count * 4);
        return;
    }
    for (size_t i = 0; i < count; ++i) {
        uint16_t half;
        std::memcpy(&half, bytes.data() + (first + i) * 2, 2);
        out[i] = type == DataType::F16 ? from_f16(half)
                                       : std::bit_cast<float>(static_cast<uint32_t>(half) << 16);
    }
}

Result<Safetensors> Safetensors::parse(std::string_view bytes) {
    uint64_t header_size = 0;
    if (bytes.size() < 8)
        return corrupt(fmt::format("{} bytes are no safetensors file", bytes.size()));
    for (size_t i = 8; i > 0; --i)
        header_size = header_size << 8 | static_cast<unsigned char>(bytes[i - 1]);
    if (header_size > kHeaderBytesMax || header_size > bytes.size() - 8) {
        return corrupt(
            fmt::format("the header claims {} bytes, the file has {}", header_size, bytes.size()));
    }
    const std::string_view header = bytes.substr(8, header_size);
    const std::string_view data = bytes.substr(8 + header_size);
    boost::system::error_code code;
    const json::value value = json::parse(json::string_view(header.data(), header.size()), code);
    if (code || !value.is_object()) {
        return corrupt(fmt::format("the header is not a JSON object{}{}", code ? ": " : "",
                                   code ? code.message() : ""));
    }
    Safetensors made;
    for (const auto& [name, entry] : value.get_object()) {
        if (name == "__metadata__") continue;
        made.tensors_.emplace(std::string(name), PX_TRY(parse_tensor(name, entry, data)));
    }
    return made;
}

Result<TensorView> Safetensors::get(std::string_view name, const std::vector<size_t>& shape) const {
    const auto found = tensors_.find(name);
    if (found == tensors_.end()) {
        return fail(ErrorCode::Corrupt,
                    fmt::format("there is no tensor '{}' among {}", name, tensors_.size()),
                    "The weights and config.json must be of the same model");
    }
    if (found->second.shape != shape) {
        return fail(ErrorCode::Corrupt,
                    fmt::format("tensor '{}' has the shape [{}], config.json asks for [{}]", name,
                                fmt::join(found->second.shape, ", "), fmt::join(shape, ", ")),
                    "The weights and config.json must be of the same model");
    }
    if (found->second.type == DataType::Other) {
        return fail(ErrorCode::InvalidArgument,
                    fmt::format("tensor '{}' is not F32, F16 or BF16", name),
                    "Convert the weights to one of these types");
    }
    return found->second;
}

}  // namespace px::embed
