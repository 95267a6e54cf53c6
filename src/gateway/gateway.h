// Gateway: the HTTP API and the page over the releases of one pipeline. Rank 5. Loopback only:
// there are no keys yet. start() and stop() belong to the owner.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>

#include "answer/answer.h"
#include "answer/release_reader.h"
#include "base/clock.h"
#include "base/result.h"
#include "catalog/catalog.h"
#include "embed/encoder.h"
#include "engine/engine.h"
#include "gateway/embed_queue.h"
#include "http/server.h"

namespace px::gateway {

/// What the routes answer from. All references outlive the gateway.
struct GatewayServices {
    catalog::Catalog& catalog;
    answer::ReleaseReader& releases;
    const embed::Encoder& encoder;
    const Clock& clock;
    answer::Rederive rederive;
    answer::AnswerOptions answer;
    engine::QueryLimits query_limits;
    /// Who sends a request, so what it may see. Errors refuse it. Unset: nobody, of no group.
    std::function<Result<answer::Access>(const http::Request&)> access{};
    std::string pipeline;  ///< its name
    std::string version;   ///< of px
};

struct GatewayOptions {
    http::ServerOptions http;  ///< address must be a loopback address or "localhost"
    std::chrono::milliseconds request_time{30'000};  ///< per request, queueing left out
    size_t question_bytes = 8 << 10;                 ///< of a question at most
    size_t sql_bytes = 100 << 10;                    ///< of a SQL text at most
    int64_t top_k = 200;                             ///< passages a search returns at most
    int64_t list_rows = 1000;      ///< of runs, releases, documents, quarantine in one response
    int64_t context_bytes = 1500;  ///< of document text shown on either side of a cited passage
    size_t embed_inputs = 2'048;   ///< texts of one request for vectors at most
    size_t embed_input_bytes = 64 << 10;  ///< of each of them; the model reads less anyway
    EmbedQueueOptions embed_queue;        ///< what requests for vectors share
    Result<void> validate() const;
};

/// Whether a client may name us so in its Host header: localhost, 127.0.0.0/8, [::1], with or
/// without a port. Anything else is a web page that had its own name point here (DNS rebinding).
bool is_loopback_host(std::string_view host);

class Gateway {
  public:
    /// Errors: InvalidArgument (options; an address beyond loopback), AlreadyExists (port taken),
    /// Internal.
    static Result<std::unique_ptr<Gateway>> start(GatewayServices services, GatewayOptions options);
    ~Gateway();  ///< stop()

    uint16_t port() const;
    std::string url() const;  ///< "http://127.0.0.1:8501"
    /// Lets running requests end within options.http.drain_timeout. Idempotent.
    void stop();

  private:
    struct State;
    explicit Gateway(std::unique_ptr<State> state);
    std::unique_ptr<State> state_;
};

}  // namespace px::gateway
