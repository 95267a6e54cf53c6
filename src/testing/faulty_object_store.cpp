#include "testing/faulty_object_store.h"

#include <fstream>
#include <iterator>
#include <utility>

namespace px::testing {
namespace {

Error injected(ErrorCode code, std::string_view call, std::string_view key) {
    return fail(code, "injected fault in " + std::string(call) + " " + std::string(key));
}

}  // namespace

std::string_view fault_name(Fault fault) {
    switch (fault) {
        case Fault::None:
            return "none";
        case Fault::Fail:
            return "fail";
        case Fault::LoseReply:
            return "lose_reply";
        case Fault::TornWrite:
            return "torn_write";
        case Fault::CrashBefore:
            return "crash_before";
        case Fault::CrashAfter:
            return "crash_after";
    }
    return "?";
}

FaultyObjectStore::FaultyObjectStore(store::ObjectStore& inner, FaultPlan plan)
    : inner_(inner), plan_(plan), random_(plan.seed) {}

std::vector<std::string> FaultyObjectStore::journal() const {
    const std::lock_guard lock(mutex_);
    return journal_;
}

Fault FaultyObjectStore::next_fault(CallKind kind, std::string_view call,
                                    std::string_view key) const {
    if (plan_.writes_only && kind == CallKind::Read) return Fault::None;
    const std::lock_guard lock(mutex_);
    journal_.push_back(std::string(call) + " " + std::string(key));
    if (++calls_ == plan_.at_call) return plan_.fault;
    if (plan_.random_share > 0 &&
        std::uniform_real_distribution<double>(0, 1)(random_) < plan_.random_share) {
        return (random_() & 1U) != 0 ? Fault::Fail : Fault::LoseReply;
    }
    return Fault::None;
}

size_t FaultyObjectStore::torn_size(size_t size) const {
    const std::lock_guard lock(mutex_);
    return size == 0 ? 0 : static_cast<size_t>(random_() % size);
}

template <class Body, class Torn>
auto FaultyObjectStore::run(CallKind kind, std::string_view call, std::string_view key, Body body,
                            Torn torn) const -> decltype(body()) {
    if (crashed_) return injected(ErrorCode::Unavailable, call, key);
    switch (next_fault(kind, call, key)) {
        case Fault::None:
            return body();
        case Fault::Fail:
            return injected(ErrorCode::Unavailable, call, key);
        case Fault::LoseReply: {
            const auto done = body();
            if (!done) return done;
            return injected(ErrorCode::OutcomeUnknown, call, key);
        }
        case Fault::TornWrite:
            torn();
            return injected(ErrorCode::Unavailable, call, key);
        case Fault::CrashBefore:
            crashed_ = true;
            return injected(ErrorCode::Unavailable, call, key);
        case Fault::CrashAfter: {
            const auto done = body();
            crashed_ = true;
            if (!done) return done;
            return injected(ErrorCode::Unavailable, call, key);
        }
    }
    return body();
}

Result<bool> FaultyObjectStore::ensure_container() {
    return run(
        CallKind::Read, "ensure_container", "", [&] { return inner_.ensure_container(); }, [] {});
}

Result<std::optional<store::ObjectMeta>> FaultyObjectStore::head(std::string_view key) const {
    return run(
        CallKind::Read, "head", key, [&] { return inner_.head(key); }, [] {});
}

Result<std::string> FaultyObjectStore::get(std::string_view key) const {
    return run(
        CallKind::Read, "get", key, [&] { return inner_.get(key); }, [] {});
}

Result<std::string> FaultyObjectStore::get_range(std::string_view key, int64_t offset,
                                                 int64_t length) const {
    return run(
        CallKind::Read, "get_range", key, [&] { return inner_.get_range(key, offset, length); },
        [] {});
}

Result<void> FaultyObjectStore::put(std::string_view key, std::string_view bytes) {
    return run(
        CallKind::Write, "put", key, [&] { return inner_.put(key, bytes); },
        [&] { (void)inner_.put(key, bytes.substr(0, torn_size(bytes.size()))).has_value(); });
}

Result<void> FaultyObjectStore::put_if_absent(std::string_view key, std::string_view bytes) {
    return run(
        CallKind::Write, "put_if_absent", key, [&] { return inner_.put_if_absent(key, bytes); },
        [&] {
            (void)inner_.put_if_absent(key, bytes.substr(0, torn_size(bytes.size()))).has_value();
        });
}

Result<void> FaultyObjectStore::put_file(std::string_view key, const std::filesystem::path& file) {
    return run(
        CallKind::Write, "put_file", key, [&] { return inner_.put_file(key, file); },
        [&] {
            std::ifstream stream(file, std::ios::binary);
            const std::string bytes{std::istreambuf_iterator<char>(stream), {}};
            (void)inner_.put(key, std::string_view(bytes).substr(0, torn_size(bytes.size())))
                .has_value();
        });
}

Result<std::vector<store::ObjectMeta>> FaultyObjectStore::list(std::string_view prefix,
                                                               std::string_view start_after) const {
    return run(
        CallKind::Read, "list", prefix, [&] { return inner_.list(prefix, start_after); }, [] {});
}

Result<void> FaultyObjectStore::remove(std::string_view key) {
    return run(
        CallKind::Write, "remove", key, [&] { return inner_.remove(key); }, [] {});
}

Result<std::filesystem::path> FaultyObjectStore::local_path(std::string_view key) const {
    return run(
        CallKind::Read, "local_path", key, [&] { return inner_.local_path(key); }, [] {});
}

}  // namespace px::testing
