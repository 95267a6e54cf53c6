#include "catalog/postgres/session_pool.h"

#include <fmt/format.h>

#include <algorithm>
#include <string_view>
#include <thread>

#include "base/sha256.h"

namespace px::catalog {
namespace {

using std::chrono::milliseconds;
using Steady = std::chrono::steady_clock;

constexpr std::chrono::seconds kTrustedIdle{30};  // a session unused for longer is asked first
constexpr int kVersionMin = 140000;
constexpr milliseconds kPauseMin{20}, kPauseMax{1000};

milliseconds pause_before(int attempt) {
    return std::min(kPauseMax, kPauseMin * (1 << std::min(attempt - 1, 10)));
}

}  // namespace

std::string SessionPool::lock_keys(std::string_view purpose) const {
    // One database may hold catalogs of several schemas, and other programs' locks.
    const std::string hash = sha256_hex(fmt::format("px {} {}", purpose, options_.schema));
    const auto key = [&](size_t at) {
        return static_cast<int32_t>(std::stoul(hash.substr(at, 8), nullptr, 16));
    };
    return fmt::format("{}, {}", key(0), key(8));
}

Result<std::unique_ptr<Session>> SessionPool::connect(const std::string& application_name) {
    const auto until = Steady::now() + options_.reconnect_timeout;
    for (int attempt = 1;; ++attempt) {
        libpq::ConnectOptions connect_options;
        connect_options.application_name = application_name;
        connect_options.connect_timeout = options_.connect_timeout;
        Result<libpq::Connection> connected =
            libpq::Connection::connect(address_, connect_options, Deadline::never());
        if (!connected) {
            const Error& error = connected.error();
            const bool passes =
                error.code == ErrorCode::Unavailable && (reached_ || libpq::says_not_yet(error));
            if (!passes || Steady::now() >= until) return std::move(connected).error();
            std::this_thread::sleep_for(pause_before(attempt));
            continue;
        }
        if (connected->server_version() < kVersionMin) {
            return fail(
                ErrorCode::Unavailable,
                fmt::format("PostgreSQL {} is version {}, and px needs 14 or newer (made for "
                            "15)",
                            address_.shown, connected->parameter("server_version")),
                "upgrade the server, or give the address of a newer one");
        }
        if (connected->parameter("server_encoding") != "UTF8") {
            return fail(ErrorCode::Unavailable,
                        fmt::format("the database {} is encoded in {}, and px needs UTF8",
                                    address_.shown, connected->parameter("server_encoding")),
                        "create one with: createdb --encoding=UTF8 --template=template0 NAME");
        }
        if (mode_ == OpenMode::ReadWrite &&
            (connected->parameter("in_hot_standby") == "on" ||
             connected->parameter("default_transaction_read_only") == "on")) {
            return fail(
                ErrorCode::Unavailable,
                fmt::format("PostgreSQL {} only reads: it is a standby, or set to read-only",
                            address_.shown),
                std::string(libpq::next_step_of("25006")));
        }
        auto session = std::make_unique<Session>(std::move(*connected), options_.statement_timeout);
        const std::string settings = fmt::format(
            "SET search_path = {}, pg_temp; SET lock_timeout = {}; SET client_min_messages = "
            "error; "
            "SET statement_timeout = 0; SET default_transaction_isolation = 'read committed'; "
            "SET idle_in_transaction_session_timeout = {}; "
            "SELECT set_config('synchronous_commit', 'on', false) "
            "WHERE current_setting('synchronous_commit') = 'off'{}",
            session->connection().quote_identifier(options_.schema), options_.lock_timeout.count(),
            options_.statement_timeout.count(),
            mode_ == OpenMode::ReadOnly ? "; SET default_transaction_read_only = on" : "");
        Result<void> set = session->run(settings);
        if (!set) {
            if (!session->connection().is_usable() && reached_ && Steady::now() < until) continue;
            return std::move(set).error();
        }
        // A pooler that hands each transaction to another backend keeps neither our settings nor
        // our locks.
        Result<libpq::Rows> backend =
            session->execute("SELECT pg_catalog.pg_backend_pid()::bigint");
        if (!backend) {
            if (!session->connection().is_usable() && reached_ && Steady::now() < until) continue;
            return std::move(backend).error();
        }
        if (backend->int64(0, 0) != session->connection().backend_pid()) {
            return fail(
                ErrorCode::Unavailable,
                fmt::format("{} is a connection pooler, not the server itself", address_.shown),
                "give the server's own port (5432 instead of 6432 on Azure): px needs "
                "sessions of its own");
        }
        reached_ = true;
        return session;
    }
}

Result<SessionPool::Lease> SessionPool::acquire() {
    for (;;) {
        Lease lease;
        {
            std::unique_lock lock(mutex_);
            returned_.wait(lock,
                           [&] { return !idle_.empty() || lent_ < options_.connections_max; });
            ++lent_;
            if (!idle_.empty()) {
                lease = std::move(idle_.back());
                idle_.pop_back();
            }
        }
        if (!lease) {
            Result<Lease> made = connect("px");
            if (!made) release(nullptr);
            return made;
        }
        if (!lease->connection().has_hung_up() &&
            (Steady::now() - lease->used_at_ < kTrustedIdle || lease->run("SELECT 1")))
            return lease;
        release(nullptr);  // this one is lost; take another
    }
}

void SessionPool::release(Lease lease) {
    {
        const std::lock_guard lock(mutex_);
        --lent_;
        if (lease && lease->connection().is_usable()) {
            lease->used_at_ = Steady::now();
            idle_.push_back(std::move(lease));
        }
    }
    returned_.notify_one();
}

Result<void> SessionPool::begin(Session& session) {
    PX_TRY(session.run("BEGIN"));
    Result<libpq::Rows> locked = session.execute(
        fmt::format("SELECT pg_catalog.pg_advisory_xact_lock({})", lock_keys("write")));
    if (!locked) {
        if (session.connection().last_sqlstate() != "55P03") return std::move(locked).error();
        return fail(ErrorCode::Unavailable,
                    fmt::format("another process has been writing to the catalog {} for more than "
                                "{} ms",
                                address_.shown, options_.lock_timeout.count()),
                    "try again");
    }
    return {};
}

bool SessionPool::is_passing(Session& session, const Error& error) {
    const std::string& sqlstate = session.connection().last_sqlstate();
    if (sqlstate == "40001" || sqlstate == "40P01") return true;
    return !session.connection().is_usable() && error.code == ErrorCode::Unavailable;
}

void SessionPool::pause(int attempt) { std::this_thread::sleep_for(pause_before(attempt)); }

Error SessionPool::outcome_unknown(const Error& cause) const {
    return fail(ErrorCode::OutcomeUnknown,
                fmt::format("the catalog {} did not say whether it committed: {}", address_.shown,
                            cause.message),
                "run the same command again once the server answers: it looks, and goes on from "
                "there");
}

}  // namespace px::catalog
