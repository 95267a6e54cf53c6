// The Azure store behind a proxy that goes wrong: the same result as without the fault, or a clear
// error.
#include <gtest/gtest.h>

#include <mutex>
#include <set>
#include <thread>
#include <vector>

#include "store/azure/test_azurite.h"
#include "testing/fault_proxy.h"

namespace px::store {
namespace {

using px::testing::fault_at;
using px::testing::FaultProxy;
using px::testing::IsError;
using px::testing::IsOk;
using px::testing::ProxyFault;
using px::testing::read_file;
using px::testing::TempDir;
using px::testing::write_file;

class AzureFaults : public ::testing::Test {
  protected:
    AzureFaults()
        : proxy_(AzuriteEnvironment::server().port()),
          container_(new_container()),
          store_(open(quick_options())) {
        EXPECT_TRUE(store_->ensure_container().value());
    }
    std::unique_ptr<AzureObjectStore> open(AzureObjectStoreOptions options) {
        return std::make_unique<AzureObjectStore>(
            azurite_address(container_, "p", proxy_.port()), azurite_credentials(),
            FileCacheOptions{.folder = dir_ / "cache"}, std::move(options));
    }
    /// Without the proxy.
    std::unique_ptr<AzureObjectStore> direct() {
        return std::make_unique<AzureObjectStore>(
            azurite_address(container_, "p"), azurite_credentials(),
            FileCacheOptions{.folder = dir_ / "direct"}, quick_options());
    }

    TempDir dir_;
    FaultProxy proxy_;
    std::string container_;
    std::unique_ptr<AzureObjectStore> store_;
};

struct NamedFault {
    const char* name;
    ProxyFault fault;
};
const NamedFault kFaults[] = {
    {"cut before", ProxyFault::cut_before()},
    {"request torn at once", ProxyFault::cut_request(1)},
    {"request torn", ProxyFault::cut_request(300)},
    {"reply lost", ProxyFault::cut_reply()},
    {"reply torn in its head", ProxyFault::cut_reply(20)},
    {"reply torn", ProxyFault::cut_reply(300)},
    {"request late", ProxyFault::delay_request(std::chrono::milliseconds(30))},
    {"reply late", ProxyFault::delay_reply(std::chrono::milliseconds(30))},
    {"twice", ProxyFault::duplicate()},
    {"500", ProxyFault::http("500 Internal Server Error")},
    {"503", ProxyFault::http("503 Server Busy")},
    {"429", ProxyFault::http("429 Too Many Requests", {"Retry-After: 0"})},
    {"408", ProxyFault::http("408 Request Timeout")},
    {"no HTTP", ProxyFault::reply("garbage\r\n\r\n")},
};

/// Every operation of the port once, with its results checked.
void walk(AzureObjectStore& store, const TempDir& dir, const std::string& where) {
    SCOPED_TRACE(where);
    std::string large(600'000, 'x');
    for (size_t i = 0; i < large.size(); i += 7) large[i] = static_cast<char>(i);
    ASSERT_THAT(store.ensure_container(), IsOk());
    ASSERT_THAT(store.put_if_absent("log/1", "first"), IsOk());
    ASSERT_THAT(store.put_if_absent("log/1", "second"), IsError(ErrorCode::AlreadyExists));
    ASSERT_THAT(store.put("hot", "old"), IsOk());
    ASSERT_THAT(store.put("hot", "new"), IsOk());
    ASSERT_EQ(store.get("hot").value(), "new");
    write_file(dir / "part", large);
    ASSERT_THAT(store.put_file("part", dir / "part"), IsOk());
    ASSERT_TRUE(store.get("part").value() == large);
    ASSERT_EQ(store.get_range("part", 300'000, 9).value(), large.substr(300'000, 9));
    std::filesystem::remove_all(dir / "cache");
    ASSERT_TRUE(read_file(store.local_path("part").value()) == large);
    const auto listed = store.list("");
    ASSERT_THAT(listed, IsOk());
    ASSERT_EQ(listed->size(), 3U);
    ASSERT_EQ(store.get("log/1").value(), "first");
    for (const char* key : {"log/1", "hot", "part"}) ASSERT_THAT(store.remove(key), IsOk());
    ASSERT_FALSE(store.head("hot").value().has_value());
}

TEST_F(AzureFaults, EveryFaultAtEveryRequestLeavesTheResultAsItWas) {
    AzureObjectStoreOptions options = quick_options();
    options.block_bytes = 256 << 10;
    options.single_put_bytes_max = 256 << 10;
    options.blocks_in_flight = 1;  // so that the n-th request is the same each time
    const auto store = open(options);
    proxy_.set_plan(nullptr);
    walk(*store, dir_, "no fault");
    const int64_t requests = proxy_.requests();
    ASSERT_GT(requests, 20);
    for (const NamedFault& fault : kFaults) {
        for (int64_t n = 1; n <= requests && !HasFailure(); ++n) {
            proxy_.set_plan(fault_at(n, fault.fault));
            walk(*store, dir_, std::string(fault.name) + " at request " + std::to_string(n));
            EXPECT_EQ(proxy_.faults(), 1);
        }
    }
}

TEST_F(AzureFaults, AStalledRequestIsGivenUpAndRepeated) {
    ASSERT_THAT(store_->put("a", "1"), IsOk());
    proxy_.set_plan(fault_at(1, ProxyFault::stall()));
    EXPECT_EQ(store_->get("a").value(), "1");
    EXPECT_EQ(proxy_.requests(), 2);
}

TEST_F(AzureFaults, RetryAfterIsHonouredAndAttemptsEnd) {
    ASSERT_THAT(store_->put("a", "1"), IsOk());
    proxy_.set_plan(fault_at(1, ProxyFault::http("503 Server Busy", {"Retry-After: 1"})));
    const auto start = std::chrono::steady_clock::now();
    EXPECT_EQ(store_->get("a").value(), "1");
    EXPECT_GE(std::chrono::steady_clock::now() - start, std::chrono::milliseconds(950));
    proxy_.set_plan([](int64_t, std::string_view) { return ProxyFault::http("503 Server Busy"); });
    EXPECT_THAT(store_->get("a"), IsError(ErrorCode::Unavailable, "6 attempts"));
    EXPECT_EQ(proxy_.requests(), 6);
    proxy_.set_plan(
        [](int64_t, std::string_view) { return ProxyFault::http("429 Too Many Requests"); });
    EXPECT_THAT(store_->get("a"), IsError(ErrorCode::RateLimited));
    proxy_.set_plan([](int64_t, std::string_view) { return ProxyFault::cut_before(); });
    EXPECT_THAT(store_->get("a"), IsError(ErrorCode::Unavailable, "cut"));
}

TEST_F(AzureFaults, RefusalsOfTheAccountAreToldApartAndNotRepeated) {
    const auto answer = [](const char* status, const std::string& code) {
        const std::string body =
            "<?xml version=\"1.0\"?><Error><Code>" + code + "</Code><Message>m</Message></Error>";
        const std::string text = "HTTP/1.1 " + std::string(status) +
                                 "\r\nContent-Length: " + std::to_string(body.size()) +
                                 "\r\nConnection: close\r\n\r\n" + body;
        return [text](int64_t, std::string_view) { return ProxyFault::reply(text); };
    };
    proxy_.set_plan(answer("403 Forbidden", "AccountIsDisabled"));
    EXPECT_THAT(store_->get("a"), IsError(ErrorCode::Unauthenticated, "is disabled"));
    EXPECT_EQ(proxy_.requests(), 1);
    proxy_.set_plan(answer("403 Forbidden", "AuthorizationFailure"));
    EXPECT_THAT(store_->put("a", "1"), IsError(ErrorCode::Unauthenticated, "network rules"));
    AzureCredentials sas;
    sas.sas_token = "sv=1&sig=2";
    AzureObjectStore by_sas(azurite_address(container_, "p", proxy_.port()), sas,
                            FileCacheOptions{.folder = dir_ / "cache"}, quick_options());
    proxy_.set_plan(answer("403 Forbidden", "AuthorizationPermissionMismatch"));
    EXPECT_THAT(by_sas.put("a", "1"), IsError(ErrorCode::Unauthenticated, "permissions racwdl"));
    proxy_.set_plan(answer("403 Forbidden", "KeyBasedAuthenticationNotPermitted"));
    EXPECT_THAT(store_->get("a"), IsError(ErrorCode::Unauthenticated, "AZURE_TENANT_ID"));
    proxy_.set_plan(answer("409 Conflict", "ContainerBeingDeleted"));
    EXPECT_THAT(store_->put("a", "1"), IsError(ErrorCode::Unavailable, "being deleted"));
    proxy_.set_plan(answer("412 Precondition Failed", "LeaseIdMissing"));
    EXPECT_THAT(store_->put("a", "1"), IsError(ErrorCode::Conflict, "lease"));
    proxy_.set_plan([](int64_t, std::string_view) {
        return ProxyFault::reply(
            "HTTP/1.1 403 Forbidden\r\nx-ms-error-code: AuthenticationFailed\r\n"
            "Date: Mon, 23 Nov 2020 08:27:01 GMT\r\nContent-Length: 0\r\nConnection: "
            "close\r\n\r\n");
    });
    EXPECT_THAT(store_->get("a"), IsError(ErrorCode::Unauthenticated, "clock"));
}

bool is_put(std::string_view head) { return head.starts_with("PUT"); }

TEST_F(AzureFaults, ALostReplyOfACommitIsDecidedByReadingBack) {
    // The reply to every write is lost: what stands there says who wrote it.
    proxy_.set_plan([](int64_t, std::string_view head) {
        return is_put(head) ? ProxyFault::cut_reply() : ProxyFault();
    });
    EXPECT_THAT(store_->put_if_absent("mine", "1"), IsOk());
    EXPECT_EQ(direct()->get("mine").value(), "1");
    ASSERT_THAT(direct()->put_if_absent("theirs", "2"), IsOk());
    EXPECT_THAT(store_->put_if_absent("theirs", "2"), IsError(ErrorCode::AlreadyExists));
}

TEST_F(AzureFaults, ACommitThatCannotBeReadBackIsOutcomeUnknown) {
    proxy_.set_plan([](int64_t, std::string_view head) {
        return is_put(head) ? ProxyFault::cut_reply() : ProxyFault::cut_before();
    });
    EXPECT_THAT(store_->put_if_absent("a", "1"),
                IsError(ErrorCode::OutcomeUnknown, "is not known"));
    EXPECT_EQ(direct()->get("a").value(), "1");
    // It never arrived, but no one can tell: it may still be under way.
    proxy_.set_plan([](int64_t, std::string_view head) {
        return is_put(head) ? ProxyFault::cut_request(40) : ProxyFault();
    });
    EXPECT_THAT(store_->put_if_absent("b", "1"), IsError(ErrorCode::OutcomeUnknown));
    EXPECT_FALSE(direct()->head("b").value().has_value());
    // Nothing was ever sent.
    AzureObjectStore nowhere(azurite_address(container_, "p", 9), azurite_credentials(),
                             FileCacheOptions{.folder = dir_ / "cache"}, quick_options());
    EXPECT_THAT(nowhere.put_if_absent("a", "1"), IsError(ErrorCode::Unavailable));
}

TEST_F(AzureFaults, ABlobThatChangesWhileItIsFetchedIsFetchedAgain) {
    AzureObjectStoreOptions options = quick_options();
    options.block_bytes = 100'000;
    options.blocks_in_flight = 2;
    const auto store = open(options);
    const auto other = direct();
    ASSERT_THAT(other->put("a", std::string(1'000'000, 'o')), IsOk());
    bool replaced = false;
    proxy_.set_plan([&](int64_t, std::string_view head) {
        if (head.starts_with("GET") && !replaced) {
            replaced = true;
            EXPECT_THAT(other->put("a", std::string(900'000, 'n')), IsOk());
        }
        return ProxyFault();
    });
    EXPECT_TRUE(read_file(store->local_path("a").value()) == std::string(900'000, 'n'));
}

TEST_F(AzureFaults, ConnectionsAreReusedAndBounded) {
    AzureObjectStoreOptions options = quick_options();
    options.http.connections_max = 3;
    const auto store = open(options);
    for (int i = 0; i < 20; ++i) ASSERT_THAT(store->put("a", "1"), IsOk());
    EXPECT_LE(proxy_.connections_most(), 2);  // one of the fixture's, one of this store's
    std::vector<std::jthread> threads;
    for (int t = 0; t < 16; ++t) {
        threads.emplace_back([&] {
            for (int i = 0; i < 10; ++i) EXPECT_EQ(store->get("a").value(), "1");
        });
    }
    threads.clear();
    EXPECT_LE(proxy_.connections_most(), 4);
}

TEST_F(AzureFaults, OfThirtyTwoWritersOverABadLineNoneIsLostAndNoneCommitsTwice) {
    // Each writer commits its entries at the next free number, as the lake does. Every tenth
    // request goes wrong, most of them in ways that hide whether the write happened.
    constexpr int kWriters = 32, kCommits = 50;
    proxy_.set_plan([](int64_t n, std::string_view) {
        if (n % 10 != 0) return ProxyFault();
        switch (n / 10 % 5) {
            case 0:
                return ProxyFault::cut_reply();
            case 1:
                return ProxyFault::cut_before();
            case 2:
                return ProxyFault::http("503 Server Busy");
            case 3:
                return ProxyFault::duplicate();
            default:
                return ProxyFault::cut_reply(30);
        }
    });
    std::atomic<int64_t> head{0};  // a hint where the log may end
    std::atomic<int> unknown{0};
    {
        std::vector<std::jthread> writers;
        for (int w = 0; w < kWriters; ++w) {
            writers.emplace_back([&, w] {
                for (int c = 0; c < kCommits; ++c) {
                    const std::string entry = std::to_string(w) + "/" + std::to_string(c);
                    for (int64_t version = head;;) {
                        const std::string key = "log/" + std::to_string(1'000'000 + version);
                        const auto put = store_->put_if_absent(key, entry);
                        if (put) break;
                        if (put.error().code == ErrorCode::AlreadyExists) {
                            version = std::max<int64_t>(version + 1, head);
                            for (int64_t seen = head; seen < version;) {
                                if (head.compare_exchange_weak(seen, version)) break;
                            }
                        } else if (put.error().code == ErrorCode::OutcomeUnknown) {
                            ++unknown;
                            const auto there = store_->get(key);
                            if (there && *there == entry) break;
                        } else {
                            ADD_FAILURE() << put.error().to_string();
                            return;
                        }
                    }
                }
            });
        }
    }
    const auto reader = direct();
    const auto listed = reader->list("log/").value();
    ASSERT_EQ(listed.size(), static_cast<size_t>(kWriters * kCommits));
    std::set<std::string> entries;
    for (size_t i = 0; i < listed.size(); ++i) {
        EXPECT_EQ(listed[i].key, "log/" + std::to_string(1'000'000 + i));
        entries.insert(reader->get(listed[i].key).value());
    }
    EXPECT_EQ(entries.size(), listed.size());
    EXPECT_GT(proxy_.faults(), 50);
    RecordProperty("outcomes_unknown", unknown);
}

}  // namespace
}  // namespace px::store
