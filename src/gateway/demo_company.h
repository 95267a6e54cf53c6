// A small company behind the gateway, for tests and for tool_gateway_demo: a real catalog, index,
// lake and engine, in a folder and in memory, with two releases of a few documents. Only the
// encoder is a stand-in: words instead of a model.
#pragma once

#include <filesystem>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "embed/encoder.h"
#include "gateway/gateway.h"

namespace px::gateway {

/// Words as vectors: texts that share words are near each other.
class WordEncoder final : public embed::Encoder {
  public:
    Result<std::vector<float>> encode(const std::vector<std::string_view>& texts,
                                      embed::TextKind kind, const Deadline& deadline,
                                      Progress& progress) const override;
    size_t width() const override { return 384; }
    size_t max_tokens() const override { return 256; }
    const std::string& model_id() const override { return model_id_; }
    embed::Precision precision() const override { return embed::Precision::Fp32; }
    std::string_view kernel() const override { return "scalar"; }
    size_t count_tokens(std::string_view text) const override;

  private:
    std::string model_id_ = "words@000000000000";
};

class DemoCompany {
  public:
    /// folder: for the catalog and files on their way; removed by whoever made it.
    static Result<std::unique_ptr<DemoCompany>> create(const std::filesystem::path& folder);
    ~DemoCompany();
    GatewayServices services();
    /// Changes a landed document behind everyone's back: verification must see it.
    void tamper(const std::string& document_id);

  private:
    struct State;
    DemoCompany();
    std::unique_ptr<State> state_;
};

}  // namespace px::gateway
