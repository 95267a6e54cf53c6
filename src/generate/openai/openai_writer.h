// A writer by an OpenAI-compatible server (Ollama, llama.cpp, vLLM, Azure OpenAI …): POST
// URL/chat/completions, streamed. Rank 2.
#pragma once

#include <chrono>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "generate/writer.h"

namespace px::generate {

struct OpenAiOptions {
    std::string url;      ///< "http://127.0.0.1:11434/v1"; /chat/completions is added
    std::string model;    ///< as the server calls it
    std::string api_key;  ///< sent as a bearer token; empty: none. Never shown.
    std::chrono::milliseconds timeout{20'000};  ///< of a whole answer
    size_t text_bytes_max = 32 << 10;           ///< of an answer; what is longer is refused
    size_t tokens_max = 600;                    ///< asked for
    size_t connections_max = 8;
    /// Errors: InvalidArgument; an address without https beyond loopback when a key is sent.
    Result<void> validate() const;
};
Result<std::unique_ptr<Writer>> open_openai_writer(OpenAiOptions options);

/// The text of a response as it comes: server-sent events of chunks, or one JSON object. Takes any
/// bytes in any pieces.
class OpenAiReply {
  public:
    explicit OpenAiReply(size_t text_bytes_max) : text_bytes_max_(text_bytes_max) {}
    /// Errors: Corrupt (no such event, too long).
    Result<void> push(std::string_view bytes);
    /// Errors: Corrupt (nothing was said, or it was cut).
    Result<std::string> finish();

  private:
    Result<void> line(std::string_view text);
    Result<void> event(std::string_view data);
    size_t text_bytes_max_;
    std::string rest_, text_;
    bool events_ = false, done_ = false;
};

/// The body of a request. boundary: a word the passages can't know.
std::string openai_request(const Prompt& prompt, const std::string& model, size_t tokens_max,
                           std::string_view boundary);

}  // namespace px::generate
