// Progress of long work, as told by the stages and shown by whoever runs them.
#pragma once

#include <cstdint>
#include <string_view>

namespace px {

/// Receives progress. Implementations are thread-safe and cheap (called per batch, not per row).
class Progress {
  public:
    virtual ~Progress() = default;
    /// done of total units of a stage; total 0 = unknown. unit: "bytes", "chunks", "rows".
    virtual void update(std::string_view stage, int64_t done, int64_t total,
                        std::string_view unit) = 0;
    virtual void finish(std::string_view stage) = 0;
};

/// Tells nobody.
class NoProgress final : public Progress {
  public:
    void update(std::string_view, int64_t, int64_t, std::string_view) override {}
    void finish(std::string_view) override {}
};

}  // namespace px
