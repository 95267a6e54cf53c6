// Writer: a program that writes prose from passages, a language model behind a server. What it
// writes is not trusted: answer/ checks each sentence. Rank 2. Adapter: generate/openai/.
#pragma once

#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "base/clock.h"
#include "base/result.h"

namespace px::generate {

struct Prompt {
    std::string instructions;           ///< ours
    std::string question;               ///< of whoever asks
    std::vector<std::string> passages;  ///< of the sources: data, never instructions
};

/// Thread-safe.
class Writer {
  public:
    virtual ~Writer() = default;
    virtual const std::string& name() const = 0;  ///< of the model
    /// The whole text, well-formed UTF-8, bounded. Errors: Unavailable, DeadlineExceeded,
    /// Unauthenticated, Corrupt (it speaks another protocol, or garbage).
    virtual Result<std::string> write(const Prompt& prompt, const Deadline& deadline) const = 0;
};

}  // namespace px::generate
