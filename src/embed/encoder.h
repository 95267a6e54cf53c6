// Encoder: text → unit vector, by a BERT encoder of our own over safetensors weights. Rank 2.
// Thread-safe after load: encode() may be called from any thread at once.
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/clock.h"
#include "base/progress.h"
#include "base/result.h"

namespace px::embed {

enum class Precision { Fp32, Bf16, Int8 };
Result<Precision> parse_precision(std::string_view text);  ///< "fp32", "bf16", "int8"
std::string_view precision_name(Precision precision);

struct EncoderOptions {
    std::filesystem::path
        model_directory;  ///< config.json, model.safetensors, vocab.txt or tokenizer.json
    Precision precision = Precision::Bf16;
    size_t thread_count = 0;  ///< 0: one per hardware thread
    std::string kernel;  ///< "" picks the best supported; "scalar", "avx2", "avx512", … forces one
    size_t batch_tokens = 4096;  ///< tokens packed into one forward pass: bounds memory
    std::string query_prefix,
        passage_prefix;  ///< put before the text, for models that want one (E5, BGE)
    std::filesystem::path cache_directory;  ///< where packed weights are kept; empty: nowhere
};

/// What became of some texts.
struct EncodeStats {
    size_t texts = 0;
    size_t tokens = 0;     ///< that were encoded, [CLS] and [SEP] among them
    size_t truncated = 0;  ///< texts of more than max_tokens(), which were cut
};

enum class TextKind { Passage, Query };

class Encoder {
  public:
    /// Loads the model. Errors: NotFound (folder), InvalidArgument (a field we don't support, by
    /// name), Corrupt.
    static Result<std::unique_ptr<Encoder>> load(const EncoderOptions& options);
    virtual ~Encoder() = default;

    /// Vectors of texts: [texts.size(), width()] row-major f32, each of L2 norm 1. Longer texts are
    /// cut at max_tokens(). Same text, same precision, same kernel → same bits, whatever the batch
    /// and the thread count. Errors: Cancelled, DeadlineExceeded. Cost: about 22.6 MFLOP a token
    /// for MiniLM-L6.
    virtual Result<std::vector<float>> encode(const std::vector<std::string_view>& texts,
                                              TextKind kind, const Deadline& deadline,
                                              Progress& progress) const = 0;
    /// The same, and adds to stats what became of the texts.
    virtual Result<std::vector<float>> encode_counted(const std::vector<std::string_view>& texts,
                                                      TextKind kind, const Deadline& deadline,
                                                      Progress& progress, EncodeStats& stats) const;
    virtual size_t width() const = 0;
    virtual size_t max_tokens() const = 0;  ///< with [CLS] and [SEP]
    /// Identity for the cache: model name + hash of its weights, precision left out.
    /// "all-MiniLM-L6-v2@<12 hex>".
    virtual const std::string& model_id() const = 0;
    virtual Precision precision() const = 0;
    virtual std::string_view kernel() const = 0;
    virtual size_t count_tokens(std::string_view text) const = 0;  ///< before the cut
};

}  // namespace px::embed
