// An ObjectStore around a real one that goes wrong when told: to prove what a room does when the
// nth call fails, its reply is lost, its write is torn, or the program dies there. For tests only.
// Thread-safe.
#pragma once

#include <atomic>
#include <cstdint>
#include <mutex>
#include <random>
#include <string>
#include <vector>

#include "store/object_store.h"

namespace px::testing {

enum class Fault {
    None,
    Fail,         ///< nothing is done; Unavailable
    LoseReply,    ///< done, but the caller gets OutcomeUnknown
    TornWrite,    ///< a put leaves only a prefix of its bytes and fails; other calls as Fail
    CrashBefore,  ///< not done, and every later call fails as well: the program died
    CrashAfter,   ///< done, and every later call fails
};
std::string_view fault_name(Fault fault);

struct FaultPlan {
    /// Which call goes wrong, counted from 1; 0: none.
    int64_t at_call = 0;
    Fault fault = Fault::None;
    /// Besides: the share of calls that go wrong by chance (Fail or LoseReply), 0 to 1.
    double random_share = 0;
    uint64_t seed = 1;
    /// Count (and break) only put, put_if_absent, put_file and remove.
    bool writes_only = false;
};

class FaultyObjectStore final : public store::ObjectStore {
  public:
    /// inner outlives this.
    FaultyObjectStore(store::ObjectStore& inner, FaultPlan plan);

    /// Calls counted so far: a run without fault tells how many there are to break.
    int64_t calls() const { return calls_; }
    bool crashed() const { return crashed_; }
    /// "put_if_absent reports/_delta_log/…", one entry a counted call.
    std::vector<std::string> journal() const;

    std::string url() const override { return inner_.url(); }
    Result<ServiceFacts> facts() const override { return inner_.facts(); }
    Result<bool> ensure_container() override;
    Result<std::optional<store::ObjectMeta>> head(std::string_view key) const override;
    Result<std::string> get(std::string_view key) const override;
    Result<std::string> get_range(std::string_view key, int64_t offset,
                                  int64_t length) const override;
    Result<void> put(std::string_view key, std::string_view bytes) override;
    Result<void> put_if_absent(std::string_view key, std::string_view bytes) override;
    Result<void> put_file(std::string_view key, const std::filesystem::path& file) override;
    Result<std::vector<store::ObjectMeta>> list(std::string_view prefix,
                                                std::string_view start_after) const override;
    Result<void> remove(std::string_view key) override;
    Result<std::filesystem::path> local_path(std::string_view key) const override;

  private:
    enum class CallKind { Read, Write };
    Fault next_fault(CallKind kind, std::string_view call, std::string_view key) const;
    size_t torn_size(size_t size) const;
    /// Runs body as the fault says; torn does the half of a write.
    template <class Body, class Torn>
    auto run(CallKind kind, std::string_view call, std::string_view key, Body body, Torn torn) const
        -> decltype(body());

    store::ObjectStore& inner_;
    FaultPlan plan_;
    mutable std::atomic<int64_t> calls_{0};
    mutable std::atomic<bool> crashed_{false};
    mutable std::mutex mutex_;
    mutable std::mt19937_64 random_;
    mutable std::vector<std::string> journal_;
};

}  // namespace px::testing
