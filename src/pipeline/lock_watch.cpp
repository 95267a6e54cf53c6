#include "pipeline/lock_watch.h"

#include <utility>

#include "base/log.h"

namespace px::pipeline {

LockWatch::LockWatch(std::function<Result<void>()> check, const Deadline& deadline,
                     std::chrono::milliseconds interval)
    : check_(std::move(check)),
      deadline_{deadline.at, over_.get_token()},
      caller_stops_(deadline.stop, [this] { over_.request_stop(); }),
      thread_([this, interval](const std::stop_token& stop) {
          std::unique_lock lock(mutex_);
          while (!lost_) {
              wake_.wait_for(lock, stop, interval, [] { return false; });
              if (stop.stop_requested()) return;
              if (Result<void> held = ask_locked(); !held) {
                  log::warning("run.lock_lost", {{"error", held.error().to_string()}});
                  over_.request_stop();
              }
          }
      }) {}

Result<void> LockWatch::check() {
    const std::lock_guard lock(mutex_);
    return ask_locked();
}

Result<void> LockWatch::ask_locked() {
    if (lost_) return *lost_;
    Result<void> held = check_();
    if (!held) lost_ = held.error();
    return held;
}

}  // namespace px::pipeline
