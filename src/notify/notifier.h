// Notifier: messages about runs to a webhook, a command or a mailbox, sent by a thread of its own
// so that nobody waits for them. Rank 2; relies on capi/curl. Thread-safe.
#pragma once

#include <chrono>
#include <cstdint>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "base/clock.h"
#include "base/result.h"

namespace px::notify {

enum class Kind { Failure, Halt, Recovery };
std::string_view name_of(Kind kind);
std::optional<Kind> parse_kind(std::string_view name);

struct Options {
    std::string webhook_url;           ///< gets a POST of JSON; holds a key: never shown
    std::vector<std::string> command;  ///< program and arguments; gets the JSON on stdin
    std::string smtp_url;              ///< smtp://USER:PASSWORD@HOST:PORT; never shown
    std::string mail_from;
    std::vector<std::string> mail_to;
    std::set<Kind> kinds = {Kind::Failure, Kind::Halt, Kind::Recovery};
    /// Of one kind: later ones within this time are counted, and the count told by the next.
    std::chrono::seconds at_most_every{300};
    int attempts = 3;                              ///< of each way, for one message
    std::chrono::milliseconds pause{1'000};        ///< before the second attempt, doubled then
    std::chrono::milliseconds timeout{10'000};     ///< of one attempt
    size_t queue_max = 100;                        ///< messages waiting; further ones are dropped
    std::chrono::milliseconds end_timeout{5'000};  ///< what the destructor waits for the rest

    bool empty() const { return webhook_url.empty() && command.empty() && smtp_url.empty(); }
    Result<void> validate() const;
};

struct Message {
    Kind kind = Kind::Failure;
    std::string pipeline;
    std::string ds;
    std::string run_id;
    int64_t item = 0;
    int64_t attempt = 0;
    std::optional<int64_t> exit_code;
    std::string text;  ///< why
    TimestampMicros at = 0;
    int64_t suppressed = 0;  ///< of this kind since the last one that was sent
};

/// {"event":"failure","pipeline":…,"ds":…,"run_id":…,"item":…,"attempt":…,"exit_code":…,"message":…,
/// "at":…,"suppressed":…}. User and password of addresses in the text are masked.
std::string message_json(const Message& message);
/// "px: pipeline orders failed for 2026-11-23".
std::string message_subject(const Message& message);
/// Addresses without user, password and query: postgresql://***@host/…
std::string without_secrets(std::string_view text);

class Notifier {
  public:
    explicit Notifier(Options options);
    ~Notifier();
    Notifier(const Notifier&) = delete;
    Notifier& operator=(const Notifier&) = delete;

    /// Returns at once. What is rate-limited, unwanted or too much is not sent.
    void send(Message message);

  private:
    struct State;
    std::shared_ptr<State> state_;
};

}  // namespace px::notify
