// /v1/embeddings.
#include <algorithm>

#include "gateway/embed_queue.h"
#include "gateway/requests.h"
#include "gateway/response_json.h"
#include "gateway/routes.h"

namespace px::gateway {

std::vector<Route> Routes::embeddings_routes() const {
    std::vector<Route> routes;
    routes.push_back(
        {.method = "POST",
         .pattern = "/v1/embeddings",
         .tag = "vectors",
         .summary = "Unit vectors of texts, in the form OpenAI's clients use.",
         .description =
             "The model is the one the release was built with. A text longer than the model reads "
             "is cut; usage counts what is read. Requests that come at once are encoded together, "
             "which changes no vector. Above the limit of waiting texts: 429 with Retry-After.",
         .request_schema = "EmbeddingsRequest",
         .response_schema = "EmbeddingsResponse",
         .example = R"({"input": ["What is the financial outlook?", "Copper rose."]})",
         .handler = [this](const Call& call) -> Result<http::Response> {
             const embed::Encoder& encoder = services_.encoder;
             auto input = PX_TRY(read_embeddings(call.request.body, encoder, options_));
             size_t tokens = 0;
             for (const std::string& text : input.texts)
                 tokens += std::min(encoder.count_tokens(text), encoder.max_tokens());
             const std::vector<float> vectors =
                 PX_TRY(embed_queue_->encode(std::move(input.texts), input.kind, call.deadline));
             const auto form = input.encoding == EmbeddingsInput::Encoding::Base64
                                   ? VectorForm::Base64
                                   : VectorForm::Numbers;
             return json_response(embeddings_json(vectors, encoder.width(), form, input.model,
                                                  static_cast<int64_t>(tokens)));
         }});
    return routes;
}

}  // namespace px::gateway
