#include "embed/model_config.h"

#include <algorithm>
#include <set>
#include <string_view>

#include <fmt/format.h>

#include "embed/json_file.h"

namespace px::embed {

namespace json = boost::json;

namespace {

Error unsupported(std::string_view field, const std::string& value, std::string_view supported) {
    return fail(ErrorCode::InvalidArgument, fmt::format("{} is {}", field, value),
                fmt::format("Supported: {}", supported));
}

Result<size_t> size_field(const JsonView& root, const char* name, size_t max) {
    const int64_t value = PX_TRY(root.integer(name, 0));
    if (value < 1 || static_cast<uint64_t>(value) > max) {
        return unsupported(name, fmt::format("{}", value), fmt::format("1 to {}", max));
    }
    return static_cast<size_t>(value);
}

Result<void> expect_or_absent(const JsonView& root, const char* name, std::string_view wanted) {
    return root.has(name) ? root.expect(name, wanted) : Result<void>();
}

Result<void> read_transformer(const JsonView& root, ModelConfig& config) {
    PX_TRY(root.expect("model_type", "bert"));
    PX_TRY(root.expect("hidden_act", "gelu"));
    PX_TRY(expect_or_absent(root, "position_embedding_type", "absolute"));
    if (PX_TRY(root.boolean("is_decoder", false)))
        return unsupported("is_decoder", "true", "encoders");
    config.hidden_width = PX_TRY(size_field(root, "hidden_size", 8192));
    config.inner_width = PX_TRY(size_field(root, "intermediate_size", 65536));
    config.layers = PX_TRY(size_field(root, "num_hidden_layers", 256));
    config.heads = PX_TRY(size_field(root, "num_attention_heads", 256));
    config.vocabulary_size = PX_TRY(size_field(root, "vocab_size", size_t{1} << 24));
    config.positions = PX_TRY(size_field(root, "max_position_embeddings", 1 << 16));
    config.types = PX_TRY(size_field(root, "type_vocab_size", 1024));
    const double epsilon = PX_TRY(root.number("layer_norm_eps", 1e-12));
    if (!(epsilon > 0 && epsilon < 1))
        return unsupported("layer_norm_eps", fmt::format("{}", epsilon), "between 0 and 1");
    config.epsilon = static_cast<float>(epsilon);
    if (config.hidden_width % config.heads != 0) {
        return unsupported("num_attention_heads", fmt::format("{}", config.heads),
                           fmt::format("a divisor of hidden_size {}", config.hidden_width));
    }
    config.tokens_max = config.positions;
    return {};
}

Result<void> read_pooling(const JsonView& root, ModelConfig& config) {
    for (const auto& [name, value] : *root.as_object()) {
        const std::string_view key = name;
        if (!key.starts_with("pooling_mode_") || !value.is_bool() || !value.get_bool()) continue;
        if (key == "pooling_mode_cls_token") {
            config.pooling = Pooling::Cls;
        } else if (key != "pooling_mode_mean_tokens") {
            return unsupported(key, "true", "pooling_mode_mean_tokens or pooling_mode_cls_token");
        }
    }
    const bool mean = PX_TRY(root.boolean("pooling_mode_mean_tokens", false));
    if (mean == (config.pooling == Pooling::Cls)) {
        return unsupported("pooling_mode_mean_tokens",
                           mean ? "true beside pooling_mode_cls_token" : "false",
                           "exactly one of pooling_mode_mean_tokens and pooling_mode_cls_token");
    }
    return {};
}

Result<void> read_modules(const json::value& document) {
    static const std::set<std::string_view> kKnown = {"Transformer", "Pooling", "Normalize"};
    if (!document.is_array())
        return fail(ErrorCode::Corrupt, "modules.json is not a list", "Fetch the model again");
    for (const json::value& item : document.get_array()) {
        const std::string type = PX_TRY(JsonView(item, "module").string("type", ""));
        const size_t dot = type.rfind('.');
        const std::string_view name =
            std::string_view(type).substr(dot == std::string::npos ? 0 : dot + 1);
        if (!kKnown.contains(name))
            return unsupported("module.type", type, "Transformer, Pooling, Normalize");
    }
    return {};
}

}  // namespace

Result<ModelConfig> ModelConfig::load(const std::filesystem::path& model_directory) {
    std::error_code code;
    if (!std::filesystem::is_directory(model_directory, code)) {
        return fail(ErrorCode::NotFound,
                    fmt::format("there is no model folder '{}'", model_directory.string()),
                    "Set embedding.model to a folder with config.json, model.safetensors and "
                    "tokenizer.json");
    }
    ModelConfig config;
    const auto read = [&](const char* name, auto&& body, bool required) -> Result<void> {
        const std::filesystem::path file = model_directory / name;
        std::error_code absent;
        if (!required && !std::filesystem::exists(file, absent)) return {};
        const json::value document = PX_TRY(read_json_file(file));
        return body(document).context("file " + file.string());
    };
    const auto object = [](const json::value& document) -> Result<JsonView> {
        if (!document.is_object())
            return fail(ErrorCode::Corrupt, "the file is not a JSON object",
                        "Fetch the model again");
        return JsonView(document, "");
    };
    PX_TRY(read(
        "config.json",
        [&](const json::value& document) -> Result<void> {
            return read_transformer(PX_TRY(object(document)), config);
        },
        true));
    PX_TRY(read("modules.json", read_modules, false));
    PX_TRY(read(
        "1_Pooling/config.json",
        [&](const json::value& document) -> Result<void> {
            return read_pooling(PX_TRY(object(document)), config);
        },
        false));
    PX_TRY(read(
        "sentence_bert_config.json",
        [&](const json::value& document) -> Result<void> {
            const JsonView root = PX_TRY(object(document));
            if (root.has("max_seq_length")) {
                const size_t tokens = PX_TRY(size_field(root, "max_seq_length", 1 << 16));
                if (tokens < 3)
                    return unsupported("max_seq_length", fmt::format("{}", tokens), "at least 3");
                config.tokens_max = std::min(config.positions, tokens);
            }
            config.lowercase_first = PX_TRY(root.boolean("do_lower_case", false));
            return {};
        },
        false));
    return config;
}

}  // namespace px::embed
