// A world in which time passes as fast as the computer can: clocks that may be set, and processes
// that end when their time has come, whoever started them. For tests only.
#pragma once

#include <fmt/format.h>

#include <functional>
#include <map>
#include <random>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "base/clock.h"
#include "schedule/scheduler.h"

namespace px::schedule {

/// The wall clock is steady time and an offset somebody may change.
class SimulatedClock final : public Clock {
  public:
    TimestampMicros now() const override { return steady_us + offset_us; }
    int64_t steady_us = 0;
    int64_t offset_us = 0;
};

/// All processes of the simulated machine. A pipeline is locked by the run that works on it: a
/// second one is counted as doubled.
class SimulatedMachine {
  public:
    struct Process {
        std::string pipeline, ds;
        int64_t ends_us = 0;
        Exit exit{};
        bool ended = false;
        bool told = false;    // SIGTERM
        bool killed = false;  // SIGKILL
    };
    /// How long and how: by default a minute, done.
    std::function<std::pair<int64_t, Exit>(const std::string& ds)> plan = [](const std::string&) {
        return std::pair(int64_t{60'000'000}, Exit{});
    };
    bool ignores_term = false;

    explicit SimulatedMachine(SimulatedClock& clock) : clock_(clock) {}

    std::string start(const std::string& pipeline, const std::string& ds) {
        if (is_locked(pipeline)) ++doubled;
        const std::string name = fmt::format("sim:boot:{}:0", ++last_pid_);
        Process process{pipeline, ds};
        const auto [lasts_us, exit] = plan(ds);
        process.ends_us = clock_.steady_us + lasts_us;
        process.exit = exit;
        if (done.contains({pipeline, ds}) && exit.code == 0 && exit.signal == 0)
            process.exit.code = 99;
        processes_[name] = process;
        return name;
    }
    void pass() {
        for (auto& [name, process] : processes_) {
            if (process.ended || clock_.steady_us < process.ends_us) continue;
            process.ended = true;
            if (process.exit.code == 0 && process.exit.signal == 0)
                ++done[{process.pipeline, process.ds}];
        }
    }
    Process* find(const std::string& name) {
        pass();
        const auto at = processes_.find(name);
        return at == processes_.end() ? nullptr : &at->second;
    }
    bool is_locked(const std::string& pipeline) {
        pass();
        for (const auto& [name, process] : processes_) {
            if (!process.ended && process.pipeline == pipeline) return true;
        }
        return false;
    }
    int64_t next_end_us() {
        pass();
        int64_t next = INT64_MAX;
        for (const auto& [name, process] : processes_) {
            if (!process.ended) next = std::min(next, process.ends_us);
        }
        return next;
    }
    /// What has ended and been seen by everybody is forgotten.
    void forget_ended() {
        std::erase_if(processes_, [](const auto& each) { return each.second.ended; });
    }

    int doubled = 0;
    std::map<std::pair<std::string, std::string>, int> done;  // successes by pipeline and ds
    std::vector<std::string> started;

  private:
    SimulatedClock& clock_;
    std::map<std::string, Process> processes_;
    int64_t last_pid_ = 1;
};

/// Of one scheduler: knows its own children, and adopted ones by name.
class SimulatedRunner final : public Runner {
  public:
    SimulatedRunner(SimulatedMachine& machine, SimulatedClock& clock)
        : machine_(machine), clock_(clock) {}

    Result<std::string> start(
        const Command& command,
        const std::function<Result<void>(const std::string& child)>& announce) override {
        // words: pipeline, ds
        const std::string name = machine_.start(command.words.at(0), command.words.at(1));
        const Result<void> announced = announce(name);
        if (!announced) {
            machine_.find(name)->ended = true;
            return announced.error();
        }
        machine_.started.push_back(command.words.at(1));
        own_.insert(name);
        return name;
    }
    std::optional<Exit> poll(const std::string& child) override {
        const SimulatedMachine::Process* const process = machine_.find(child);
        if (process != nullptr && !process->ended) return std::nullopt;
        if (process == nullptr || !own_.contains(child)) {
            Exit gone;
            gone.unknown = true;
            return gone;
        }
        return process->exit;
    }
    void terminate(const std::string& child, bool by_force) override {
        SimulatedMachine::Process* const process = machine_.find(child);
        if (process == nullptr || process->ended) return;
        (by_force ? process->killed : process->told) = true;
        if (!by_force && machine_.ignores_term) return;
        process->exit.code = 0;
        process->exit.signal = by_force ? 9 : 15;
        process->ends_us = std::min(process->ends_us, clock_.steady_us + 2'000'000);
        if (by_force) process->ends_us = clock_.steady_us;
    }
    void wait(std::chrono::microseconds, std::stop_token) override {}

  private:
    SimulatedMachine& machine_;
    SimulatedClock& clock_;
    std::set<std::string> own_;
};

}  // namespace px::schedule
