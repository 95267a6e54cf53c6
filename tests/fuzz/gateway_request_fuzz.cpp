// Any bytes as the body of a request: refused as InvalidArgument with a message that is UTF-8, or
// within the limits.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string_view>

#include "answer/answer_json.h"
#include "base/utf8.h"
#include "gateway/request_fields.h"
#include "gateway/requests.h"

namespace {

/// What a request for vectors is checked against.
class OneWidth final : public px::embed::Encoder {
  public:
    px::Result<std::vector<float>> encode(const std::vector<std::string_view>& texts,
                                          px::embed::TextKind, const px::Deadline&,
                                          px::Progress&) const override {
        return std::vector<float>(texts.size() * width());
    }
    size_t width() const override { return 384; }
    size_t max_tokens() const override { return 256; }
    const std::string& model_id() const override { return model_id_; }
    px::embed::Precision precision() const override { return px::embed::Precision::Fp32; }
    std::string_view kernel() const override { return "scalar"; }
    size_t count_tokens(std::string_view) const override { return 2; }

  private:
    std::string model_id_ = "model@000000000000";
};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
    using namespace px::gateway;
    const std::string_view body(reinterpret_cast<const char*>(data), size);
    const GatewayOptions options;
    auto object = parse_object(body);
    if (!object) return px::utf8_is_valid(object.error().to_string()) ? 0 : (std::abort(), 0);
    (void)px::answer::citation_from_json(*object);
    const auto search = read_search(std::move(*object), SearchFields::Ask, options);
    if (search &&
        (search->request.question.size() > options.question_bytes || search->request.top_k > 200))
        std::abort();
    if (!search && !px::utf8_is_valid(search.error().to_string())) std::abort();
    const OneWidth encoder;
    const auto vectors = read_embeddings(body, encoder, options);
    if (vectors && (vectors->texts.empty() || vectors->texts.size() > options.embed_inputs))
        std::abort();
    if (!vectors && !px::utf8_is_valid(vectors.error().to_string())) std::abort();
    const auto sql = read_sql(body, options);
    if (sql && sql->sql.size() > options.sql_bytes) std::abort();
    return 0;
}
