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
    const auto sql = read_sql(body, options);
    if (sql && sql->sql.size() > options.sql_bytes) std::abort();
    return 0;
}
