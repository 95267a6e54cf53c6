#include "embed/encoder.h"

#include <algorithm>
#include <atomic>
#include <mutex>
#include <numeric>
#include <thread>

#include <fmt/format.h>

#include "base/log.h"
#include "base/parallel.h"
#include "base/sha256.h"
#include "embed/bert.h"
#include "embed/kernels/select.h"
#include "embed/model_config.h"
#include "embed/packed_model.h"
#include "embed/safetensors.h"
#include "embed/tokenizer.h"

namespace px::embed {

namespace {

constexpr size_t kTextsPerBlock = 64;  ///< texts tokenized as one item of work
constexpr size_t kPassTokens =
    256;  ///< what a pass holds stays in the second-level cache; more gain nothing
constexpr std::string_view kStage = "embed";

/// Name and hash of everything that shapes the vectors but the precision.
Result<std::string> make_model_id(const EncoderOptions& options,
                                  const std::string& weights_sha256) {
    Sha256 hash;
    hash.update(weights_sha256);
    for (const char* name : {"config.json", "tokenizer.json", "vocab.txt", "tokenizer_config.json",
                             "1_Pooling/config.json", "sentence_bert_config.json"}) {
        const std::filesystem::path file = options.model_directory / name;
        std::error_code code;
        if (!std::filesystem::exists(file, code)) continue;
        const MappedFile mapped = PX_TRY(MappedFile::open(file));
        hash.update(to_hex(sha256(mapped.bytes())));
    }
    hash.update(fmt::format("{}:{}{}:{}", options.query_prefix.size(), options.query_prefix,
                            options.passage_prefix.size(), options.passage_prefix));
    std::filesystem::path folder = options.model_directory.lexically_normal();
    if (!folder.has_filename()) folder = folder.parent_path();
    return fmt::format("{}@{}", folder.filename().string(), to_hex(hash.finish()).substr(0, 12));
}

class BertEncoder final : public Encoder {
  public:
    BertEncoder(const EncoderOptions& options, MappedFile file, Tokenizer tokenizer, Bert bert,
                const Kernels& kernels, std::string id, size_t thread_count)
        : options_(options),
          file_(std::move(file)),
          tokenizer_(std::move(tokenizer)),
          bert_(std::move(bert)),
          kernels_(kernels),
          id_(std::move(id)),
          thread_count_(thread_count) {}

    Result<std::vector<float>> encode(const std::vector<std::string_view>& texts, TextKind kind,
                                      const Deadline& deadline, Progress& progress) const override {
        EncodeStats stats;
        return encode_counted(texts, kind, deadline, progress, stats);
    }

    Result<std::vector<float>> encode_counted(const std::vector<std::string_view>& texts,
                                              TextKind kind, const Deadline& deadline,
                                              Progress& progress,
                                              EncodeStats& stats) const override {
        const std::string& prefix =
            kind == TextKind::Query ? options_.query_prefix : options_.passage_prefix;
        // Token ids first, so that passes can be cut to equal size; a long text costs no more than
        // its first tokens.
        const size_t block_count = (texts.size() + kTextsPerBlock - 1) / kTextsPerBlock;
        std::vector<std::vector<int32_t>> ids(block_count);
        std::vector<size_t> lengths(texts.size());
        std::atomic<size_t> truncated{0};
        PX_TRY(
            parallel_for(block_count, thread_count_, deadline, [&](size_t block) -> Result<void> {
                std::string joined;
                size_t cut = 0;
                const size_t end = std::min(texts.size(), (block + 1) * kTextsPerBlock);
                for (size_t i = block * kTextsPerBlock; i < end; ++i) {
                    std::vector<int32_t>& some = ids[block];
                    const size_t before = some.size();
                    // One token more than fits, to know of texts that do not.
                    tokenizer_.encode(prefixed(prefix, texts[i], joined), max_tokens() + 1, some);
                    if (some.size() - before > max_tokens()) {
                        some.erase(some.end() - 2);
                        ++cut;
                    }
                    lengths[i] = some.size() - before;
                }
                truncated += cut;
                return {};
            }));

        struct Pass {
            size_t first_text, text_count, tokens;
        };
        const size_t limit = std::max(std::min(options_.batch_tokens, kPassTokens), size_t{1});
        std::vector<Pass> passes;
        for (size_t i = 0; i < texts.size(); ++i) {
            if (passes.empty() || passes.back().tokens + lengths[i] > limit)
                passes.push_back({i, 0, 0});
            passes.back().text_count += 1;
            passes.back().tokens += lengths[i];
        }

        std::vector<float> vectors(texts.size() * width());
        std::vector<size_t> starts(texts.size());  // of each text within its block's ids
        for (size_t i = 0; i < texts.size(); ++i)
            starts[i] = i % kTextsPerBlock == 0 ? 0 : starts[i - 1] + lengths[i - 1];
        std::atomic<size_t> done{0};
        PX_TRY(
            parallel_for(passes.size(), thread_count_, deadline, [&](size_t index) -> Result<void> {
                const Pass& pass = passes[index];
                std::vector<int32_t> tokens;
                std::vector<size_t> offsets{0};
                tokens.reserve(pass.tokens);
                for (size_t i = pass.first_text; i < pass.first_text + pass.text_count; ++i) {
                    const auto begin =
                        ids[i / kTextsPerBlock].begin() + static_cast<std::ptrdiff_t>(starts[i]);
                    tokens.insert(tokens.end(), begin,
                                  begin + static_cast<std::ptrdiff_t>(lengths[i]));
                    offsets.push_back(tokens.size());
                }
                Workspace workspace = take_workspace();
                bert_.forward(tokens, offsets, workspace,
                              vectors.data() + pass.first_text * width());
                give_back(std::move(workspace));
                const size_t finished = done.fetch_add(pass.text_count) + pass.text_count;
                progress.update(kStage, static_cast<int64_t>(finished),
                                static_cast<int64_t>(texts.size()), "chunks");
                return {};
            }));
        progress.finish(kStage);
        stats.texts += texts.size();
        stats.tokens += std::accumulate(lengths.begin(), lengths.end(), size_t{0});
        stats.truncated += truncated;
        return vectors;
    }

    size_t width() const override { return bert_.config().hidden_width; }
    size_t max_tokens() const override { return bert_.config().tokens_max; }
    const std::string& model_id() const override { return id_; }
    Precision precision() const override { return options_.precision; }
    std::string_view kernel() const override { return kernels_.name; }

    size_t count_tokens(std::string_view text) const override {
        std::vector<int32_t> ids;
        tokenizer_.encode(text, Tokenizer::kNoLimit, ids);
        return ids.size();
    }

  private:
    static std::string_view prefixed(const std::string& prefix, std::string_view text,
                                     std::string& joined) {
        if (prefix.empty()) return text;
        joined.assign(prefix);
        joined.append(text);
        return joined;
    }

    Workspace take_workspace() const {
        const std::lock_guard lock(mutex_);
        if (spare_.empty()) return {};
        Workspace workspace = std::move(spare_.back());
        spare_.pop_back();
        return workspace;
    }

    void give_back(Workspace workspace) const {
        const std::lock_guard lock(mutex_);
        if (spare_.size() < thread_count_) spare_.push_back(std::move(workspace));
    }

    EncoderOptions options_;
    MappedFile file_;
    Tokenizer tokenizer_;
    Bert bert_;
    const Kernels& kernels_;
    std::string id_;
    size_t thread_count_;
    mutable std::mutex mutex_;
    mutable std::vector<Workspace> spare_;
};

Result<std::unique_ptr<Encoder>> load_encoder(const EncoderOptions& options) {
    if (options.batch_tokens == 0) {
        return fail(ErrorCode::InvalidArgument, "embed.batch_tokens is 0",
                    "Give at least 1, for example 4096");
    }
    const Kernels* kernels = PX_TRY(select_kernels(options.kernel));
    const ModelConfig config = PX_TRY(ModelConfig::load(options.model_directory));
    const size_t threads = options.thread_count != 0
                               ? options.thread_count
                               : std::max<size_t>(1, std::thread::hardware_concurrency());
    const std::filesystem::path weights_path = options.model_directory / "model.safetensors";
    MappedFile file = PX_TRY(MappedFile::open(weights_path));
    const std::string layout =
        fmt::format("{}/{}", kernels->name, precision_name(options.precision));
    const PackedIdentity identity{PX_TRY(FileState::of(weights_path)), config, layout};
    std::filesystem::path packed_file;
    std::optional<PackedModel> packed;
    if (!options.cache_directory.empty())
        packed_file = packed_path(options.cache_directory, options.model_directory, layout);

    // The hash and the tokenizer are worked out beside the reading or packing of the weights.
    std::string weights_sha256;
    std::optional<Result<Tokenizer>> tokenizer;
    std::optional<Result<Bert>> bert;
    PX_TRY(parallel_for(2, threads, Deadline::never(), [&](size_t part) -> Result<void> {
        if (part == 0) {
            tokenizer = Tokenizer::load(options.model_directory);
            return {};
        }
        const auto read = [&]() -> Result<Bert> {
            const Safetensors weights = PX_TRY(Safetensors::parse(file.bytes()));
            if (!packed_file.empty()) packed = read_packed(packed_file, identity);
            if (packed) {
                weights_sha256 = packed->weights_sha256;
                auto opened = Bert::open(config, weights, *kernels, options.precision,
                                         std::move(packed->file), packed->offset);
                if (opened) return opened;
            }
            std::optional<Result<Bert>> made;
            PX_TRY(parallel_for(2, threads, Deadline::never(), [&](size_t half) -> Result<void> {
                if (half == 0) {
                    weights_sha256 = to_hex(sha256(file.bytes()));
                } else {
                    made = Bert::load(config, weights, *kernels, options.precision, threads);
                }
                return {};
            }));
            if (*made && !packed_file.empty()) {
                // A cache that cannot be written only costs time.
                const auto written =
                    write_packed(packed_file, identity, weights_sha256, (*made)->memory());
                if (!written) {
                    log::warning("embed.cache", {{"file", packed_file.string()},
                                                 {"error", written.error().message}});
                }
            }
            return std::move(*made);
        };
        bert = read().context("file " + weights_path.string());
        return {};
    }));
    Tokenizer words = PX_TRY(std::move(*tokenizer));
    Bert model = PX_TRY(std::move(*bert));
    std::string model_id = PX_TRY(make_model_id(options, weights_sha256));
    if (words.vocabulary_size() > config.vocabulary_size) {
        return fail(ErrorCode::Corrupt,
                    fmt::format("the tokenizer has {} tokens, the model {}",
                                words.vocabulary_size(), config.vocabulary_size),
                    "tokenizer.json and config.json must be of the same model");
    }
    if (config.lowercase_first && !words.lowercases()) {
        return fail(ErrorCode::InvalidArgument,
                    "sentence_bert_config.json sets do_lower_case for a tokenizer that keeps case",
                    "Only models that lower-case in their tokenizer may set it");
    }
    return std::unique_ptr<Encoder>(
        std::make_unique<BertEncoder>(options, std::move(file), std::move(words), std::move(model),
                                      *kernels, std::move(model_id), threads));
}

}  // namespace

Result<Precision> parse_precision(std::string_view text) {
    for (const Precision precision : {Precision::Fp32, Precision::Bf16, Precision::Int8}) {
        if (text == precision_name(precision)) return precision;
    }
    return fail(ErrorCode::InvalidArgument, fmt::format("precision '{}' is unknown", text),
                "Use fp32, bf16 or int8");
}

std::string_view precision_name(Precision precision) {
    switch (precision) {
        case Precision::Fp32:
            return "fp32";
        case Precision::Bf16:
            return "bf16";
        case Precision::Int8:
            break;
    }
    return "int8";
}

Result<std::vector<float>> Encoder::encode_counted(const std::vector<std::string_view>& texts,
                                                   TextKind kind, const Deadline& deadline,
                                                   Progress& progress, EncodeStats& stats) const {
    auto vectors = PX_TRY(encode(texts, kind, deadline, progress));
    stats.texts += texts.size();
    for (const std::string_view text : texts) {
        const size_t tokens = count_tokens(text);
        stats.tokens += std::min(tokens, max_tokens());
        stats.truncated += tokens > max_tokens() ? 1 : 0;
    }
    return vectors;
}

Result<std::unique_ptr<Encoder>> Encoder::load(const EncoderOptions& options) {
    return load_encoder(options).context("model " + options.model_directory.string());
}

}  // namespace px::embed
