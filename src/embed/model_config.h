// What a model folder says about its model: the fields we support, and an error by name for each
// one we do not.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>

#include "base/result.h"

namespace px::embed {

enum class Pooling { Mean, Cls };

struct ModelConfig {
    size_t hidden_width = 0;
    size_t inner_width = 0;
    size_t layers = 0;
    size_t heads = 0;
    size_t vocabulary_size = 0;
    size_t positions = 0;
    size_t types = 0;
    float epsilon = 1e-12F;
    Pooling pooling = Pooling::Mean;
    size_t tokens_max = 0;  ///< of one text, with [CLS] and [SEP]
    bool lowercase_first =
        false;  ///< sentence_bert_config.json: lower-case the text before the tokenizer

    size_t head_width() const { return hidden_width / heads; }

    /// Reads config.json, modules.json, 1_Pooling/config.json and sentence_bert_config.json; the
    /// last three may be absent: mean pooling, tokens_max = positions. Errors: NotFound, Corrupt,
    /// InvalidArgument (the field by name).
    static Result<ModelConfig> load(const std::filesystem::path& model_directory);
};

}  // namespace px::embed
