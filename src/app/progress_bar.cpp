#include "app/progress_bar.h"

#include <fmt/format.h>
#include <unistd.h>

#include <chrono>
#include <map>
#include <mutex>
#include <string>

#include "base/log.h"

namespace px::app {

namespace {

using SteadyClock = std::chrono::steady_clock;

std::string amount(double value, std::string_view unit) {
    if (unit == "bytes") {
        static constexpr const char* kUnits[] = {"B", "kB", "MB", "GB", "TB"};
        size_t u = 0;
        while (value >= 1000.0 && u + 1 < std::size(kUnits)) {
            value /= 1000.0;
            ++u;
        }
        return fmt::format("{:.{}f} {}", value, u < 2 ? 0 : 1, kUnits[u]);
    }
    return fmt::format("{:.0f} {}", value, unit);
}

struct Stage {
    SteadyClock::time_point started = SteadyClock::now();
    SteadyClock::time_point told = started;
    int64_t done = 0, total = 0;
    std::string unit;

    std::string line(const std::string& name) const {
        const double seconds = std::chrono::duration<double>(SteadyClock::now() - started).count();
        const double rate = seconds > 0.05 ? static_cast<double>(done) / seconds : 0.0;
        std::string text = fmt::format("{} ", name);
        if (total > 0) {
            const double share = static_cast<double>(done) / static_cast<double>(total);
            const auto filled = static_cast<size_t>(share * 20.0);
            text += fmt::format("[{}{}] {:3.0f}% ", std::string(filled, '#'),
                                std::string(20 - std::min<size_t>(filled, 20), '.'), share * 100.0);
        }
        text += amount(static_cast<double>(done), unit);
        if (rate > 0) text += fmt::format(", {}/s", amount(rate, unit));
        if (rate > 0 && total > done) {
            text += fmt::format(", {:.0f} s left", static_cast<double>(total - done) / rate);
        }
        return text;
    }
};

std::string
    g_bar;  // what stands on the last line of the terminal; guarded by the log's mutex and ours

void clear_bar() {
    if (!g_bar.empty()) [[maybe_unused]]
        const auto written = ::write(STDERR_FILENO, "\r\033[K", 4);
}
void redraw_bar() {
    if (!g_bar.empty()) [[maybe_unused]]
        const auto written = ::write(STDERR_FILENO, g_bar.data(), g_bar.size());
}

class StderrProgress final : public Progress {
  public:
    explicit StderrProgress(bool terminal) : terminal_(terminal) {
        if (terminal_) log::set_terminal_guard(clear_bar, redraw_bar);
    }
    ~StderrProgress() override {
        if (terminal_) {
            clear_bar();
            log::set_terminal_guard(nullptr, nullptr);
            g_bar.clear();
        }
    }

    void update(std::string_view stage, int64_t done, int64_t total,
                std::string_view unit) override {
        const std::lock_guard lock(mutex_);
        const auto [entry, is_new] = stages_.try_emplace(std::string(stage));
        Stage& state = entry->second;
        state.done = done;
        state.total = total;
        state.unit = unit;
        const auto pause =
            terminal_ ? std::chrono::milliseconds(100) : std::chrono::milliseconds(5'000);
        const SteadyClock::time_point now = SteadyClock::now();
        if (now - state.told < pause) return;
        state.told = now;
        if (!terminal_) {
            log::info("progress", {{"stage", stage}, {"state", state.line(entry->first)}});
            return;
        }
        show();
    }

    void finish(std::string_view stage) override {
        const std::lock_guard lock(mutex_);
        stages_.erase(std::string(stage));
        if (terminal_) show();
    }

  private:
    void show() {
        std::string text;
        for (const auto& [name, state] : stages_)
            text += (text.empty() ? "" : " | ") + state.line(name);
        clear_bar();
        g_bar = text.substr(0, 200);
        redraw_bar();
    }

    bool terminal_;
    std::mutex mutex_;
    std::map<std::string, Stage> stages_;
};

}  // namespace

std::unique_ptr<Progress> make_progress() {
    return std::make_unique<StderrProgress>(::isatty(STDERR_FILENO) == 1);
}

}  // namespace px::app
