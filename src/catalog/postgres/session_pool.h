// Sessions on one PostgreSQL server, lent to one caller at a time; what is done again when a
// session is lost or a transaction is refused. Thread-safe.
#pragma once

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/result.h"
#include "capi/libpq/libpq.h"
#include "catalog/catalog.h"

namespace px::catalog {

/// A connection with the catalog's settings, and the time a statement may take.
class Session {
  public:
    Session(libpq::Connection connection, std::chrono::milliseconds statement_timeout)
        : connection_(std::move(connection)), statement_timeout_(statement_timeout) {}

    Result<libpq::Rows> execute(const std::string& sql, const libpq::Parameters& parameters = {}) {
        return connection_.execute(sql, parameters, due());
    }
    Result<void> run(const std::string& sql) { return connection_.run(sql, due()); }
    Result<int64_t> copy_in(const std::string& sql,
                            const std::function<Result<bool>(std::string&)>& produce) {
        return connection_.copy_in(sql, produce, due());
    }
    libpq::Connection& connection() { return connection_; }
    Deadline due() const { return Deadline::after(statement_timeout_); }

  private:
    friend class SessionPool;
    libpq::Connection connection_;
    std::chrono::milliseconds statement_timeout_;
    std::chrono::steady_clock::time_point used_at_ = std::chrono::steady_clock::now();
};

class SessionPool {
  public:
    SessionPool(libpq::Address address, OpenMode mode, PostgresCatalogOptions options)
        : address_(std::move(address)), mode_(mode), options_(std::move(options)) {}

    OpenMode mode() const { return mode_; }
    const PostgresCatalogOptions& options() const { return options_; }
    const std::string& shown() const { return address_.shown; }

    /// body(Session&), which only reads; done again on a new session when the session is lost.
    template <class F>
    auto read(F&& body) -> decltype(body(std::declval<Session&>()));

    /// body(Session&) within one transaction under the catalog's write lock, committed when it
    /// succeeds. Done again when the session is lost, also during COMMIT, and after a deadlock or
    /// serialization failure: so body looks first whether its work is there already.
    template <class F>
    auto write(F&& body) -> decltype(body(std::declval<Session&>()));

    /// A session outside the pool, for as long as its caller wants.
    Result<std::unique_ptr<Session>> connect(const std::string& application_name);

    /// The advisory lock for `purpose` on this catalog: its two keys as SQL.
    std::string lock_keys(std::string_view purpose) const;

  private:
    using Lease = std::unique_ptr<Session>;
    Result<Lease> acquire();
    void release(Lease lease);
    Result<void> begin(Session& session);
    /// True for a lost session, a deadlock and a serialization failure: the same may work next
    /// time.
    static bool is_passing(Session& session, const Error& error);
    static void pause(int attempt);
    Error outcome_unknown(const Error& cause) const;

    libpq::Address address_;
    OpenMode mode_;
    PostgresCatalogOptions options_;
    std::atomic<bool> reached_{false};
    std::mutex mutex_;
    std::condition_variable returned_;
    std::vector<Lease> idle_;
    size_t lent_ = 0;
};

template <class F>
auto SessionPool::read(F&& body) -> decltype(body(std::declval<Session&>())) {
    using R = decltype(body(std::declval<Session&>()));
    for (int attempt = 1;; ++attempt) {
        Lease lease = PX_TRY(acquire());
        R result = body(*lease);
        const bool again = !result && is_passing(*lease, result.error());
        release(std::move(lease));
        if (!again || attempt >= options_.transaction_attempts) return result;
        pause(attempt);
    }
}

template <class F>
auto SessionPool::write(F&& body) -> decltype(body(std::declval<Session&>())) {
    using R = decltype(body(std::declval<Session&>()));
    if (mode_ == OpenMode::ReadOnly) {
        return fail(ErrorCode::Forbidden,
                    "the catalog " + address_.shown + " was opened for reading only");
    }
    bool in_doubt = false;  // a COMMIT was sent and not answered; the next body looks what it did
    for (int attempt = 1;; ++attempt) {
        Result<Lease> leased = acquire();
        if (!leased && in_doubt) return outcome_unknown(leased.error());
        Lease lease = PX_TRY(std::move(leased));
        bool committing = false;
        bool looked = false;
        R result = [&]() -> R {
            PX_TRY(begin(*lease));
            R made = body(*lease);
            looked = true;
            committing = made.has_value();
            if (made) PX_TRY(lease->run("COMMIT"));
            return made;
        }();
        bool again = false;
        if (!result) {
            const bool lost = !lease->connection().is_usable();
            in_doubt = lost ? in_doubt || committing : in_doubt && !looked;
            again = is_passing(*lease, result.error()) && attempt < options_.transaction_attempts;
            if (!lost) (void)lease->run("ROLLBACK");
        }
        release(std::move(lease));
        if (result) return result;
        if (!again) return in_doubt ? R(outcome_unknown(result.error())) : std::move(result);
        pause(attempt);
    }
}

}  // namespace px::catalog
