#include "capi/libpq/libpq.h"

#include <gtest/gtest.h>

#include <random>
#include <thread>

#include "testing/matchers.h"
#include "testing/postgres_server.h"

namespace px::libpq {
namespace {

using px::testing::IsError;
using px::testing::IsOk;
using px::testing::PostgresRelay;
using px::testing::PostgresServer;
using std::chrono::milliseconds;

Result<Connection> connect(const std::string& address) {
    Result<Address> parsed = parse_address(address);
    if (!parsed) return std::move(parsed).error();
    return Connection::connect(*parsed, {}, Deadline::after(milliseconds(20'000)));
}

class Libpq : public ::testing::Test {
  protected:
    void SetUp() override {
        Result<Connection> connected = connect(PostgresServer::shared().address());
        ASSERT_THAT(connected, IsOk());
        connection_ = std::make_unique<Connection>(std::move(*connected));
    }
    Result<Rows> execute(const std::string& sql, const Parameters& parameters = {}) {
        return connection_->execute(sql, parameters, due_);
    }
    std::unique_ptr<Connection> connection_;
    Deadline due_ = Deadline::after(milliseconds(60'000));
};

TEST_F(Libpq, ValuesComeBackAsTheyWent) {
    for (int round = 0; round < 2; ++round) {  // prepared, then prepared already
        for (const int64_t number : {int64_t{0}, int64_t{-1}, INT64_MAX, INT64_MIN}) {
            auto rows = execute("SELECT $1, $2, $3, $4, $5, 7::int2, -8::int4",
                                Parameters()
                                    .int64(number)
                                    .text("ä\n'\\\"")
                                    .boolean(true)
                                    .instant(1'764'000'000'123'456)
                                    .instant(std::nullopt));
            ASSERT_THAT(rows, IsOk());
            EXPECT_EQ(rows->int64(0, 0), number);
            EXPECT_EQ(rows->text(0, 1), "ä\n'\\\"");
            EXPECT_TRUE(rows->boolean(0, 2));
            EXPECT_EQ(rows->instant(0, 3), 1'764'000'000'123'456);
            EXPECT_EQ(rows->optional_instant(0, 4), std::nullopt);
            EXPECT_EQ(rows->int64(0, 5), 7);
            EXPECT_EQ(rows->int64(0, 6), -8);
        }
    }
    for (const TimestampMicros at :
         {TimestampMicros{0}, INT64_MAX, INT64_MIN, TimestampMicros{-62'167'219'200'000'000}}) {
        EXPECT_EQ(execute("SELECT $1", Parameters().instant(at))->instant(0, 0), at);
    }
    EXPECT_EQ(execute("SELECT $1::text", Parameters().instant(-62'135'596'800'000'000))->text(0, 0),
              "0001-01-01 00:00:00+00");
}

TEST_F(Libpq, WhatATextCannotHoldIsReplaced) {
    EXPECT_EQ(execute("SELECT $1", Parameters().text(std::string("a\0b\xff", 4)))->text(0, 0),
              "a\xef\xbf\xbd"
              "b\xef\xbf\xbd");
}

TEST_F(Libpq, CopyTakesRowsAndGivesThemBack) {
    ASSERT_THAT(
        connection_->run("CREATE TEMP TABLE t (a text, b bigint, c boolean, d timestamptz)", due_),
        IsOk());
    int next = 0;
    const auto produce = [&](std::string& chunk) -> Result<bool> {
        CopyRows out(chunk);
        if (next == 0) out.header();
        for (int i = 0; i < 1000; ++i, ++next) {
            out.row(4);
            out.text("row\t" + std::to_string(next));
            out.int64(next);
            out.boolean(next % 2 == 0);
            out.instant(next % 3 == 0 ? std::nullopt : std::optional<TimestampMicros>(next));
        }
        if (next == 20'000) out.trailer();
        return next < 20'000;
    };
    EXPECT_EQ(connection_->copy_in("COPY t FROM STDIN (FORMAT binary)", produce, due_).value(),
              20'000);
    std::vector<std::string> lines;
    EXPECT_EQ(connection_
                  ->copy_out(
                      "COPY (SELECT a, b, c FROM t ORDER BY b) TO STDOUT",
                      [&](std::string_view row) -> Result<void> {
                          lines.emplace_back(row);
                          return {};
                      },
                      due_)
                  .value(),
              20'000);
    EXPECT_EQ(lines[7], "row\\t7\t7\tf\n");
    EXPECT_EQ(execute("SELECT count(*) FROM t WHERE d IS NULL")->int64(0, 0), 6667);
}

TEST_F(Libpq, AFailureOfTheProducerEndsTheCopyAndNothingIsThere) {
    ASSERT_THAT(connection_->run("CREATE TEMP TABLE t (a text)", due_), IsOk());
    const auto failing = [](std::string& chunk) -> Result<bool> {
        CopyRows out(chunk);
        out.header();
        return fail(ErrorCode::Internal, "no more");
    };
    EXPECT_THAT(connection_->copy_in("COPY t FROM STDIN (FORMAT binary)", failing, due_),
                IsError(ErrorCode::Internal, "no more"));
    const auto nonsense = [](std::string& chunk) -> Result<bool> {
        chunk = "nonsense";
        return false;
    };
    EXPECT_THAT(connection_->copy_in("COPY t FROM STDIN (FORMAT binary)", nonsense, due_),
                IsError(ErrorCode::InvalidArgument, "COPY file signature"));
    EXPECT_THAT(connection_->copy_in("COPY absent FROM STDIN", nonsense, due_),
                IsError(ErrorCode::Unavailable, "absent"));
    EXPECT_EQ(execute("SELECT count(*) FROM t")->int64(0, 0), 0);
}

TEST_F(Libpq, ADeadlineAndARequestToStopEndAStatement) {
    const int pid = connection_->backend_pid();
    EXPECT_THAT(connection_->run("SELECT pg_sleep(100)", Deadline::after(milliseconds(30))),
                IsError(ErrorCode::DeadlineExceeded));
    EXPECT_FALSE(connection_->is_usable());
    EXPECT_THAT(connection_->run("SELECT 1", due_), IsError(ErrorCode::Unavailable));
    SetUp();
    std::stop_source stop;
    std::jthread other([&] { stop.request_stop(); });
    EXPECT_THAT(connection_->run("SELECT pg_sleep(100)",
                                 Deadline::after(milliseconds(60'000), stop.get_token())),
                IsError(ErrorCode::Cancelled));
    SetUp();
    // Neither session works on.
    auto left = execute("SELECT count(*) FROM pg_stat_activity WHERE pid = $1 AND state = 'active'",
                        Parameters().int64(pid));
    EXPECT_EQ(left->int64(0, 0), 0);
}

TEST_F(Libpq, AStreamOutStopsWhenItsReaderDoes) {
    int64_t rows = 0;
    EXPECT_THAT(connection_->copy_out(
                    "COPY (SELECT generate_series(1, 100000000)) TO STDOUT",
                    [&](std::string_view) -> Result<void> {
                        if (++rows == 10) return fail(ErrorCode::ResourceExhausted, "enough");
                        return {};
                    },
                    due_),
                IsError(ErrorCode::ResourceExhausted, "enough"));
    EXPECT_EQ(rows, 10);
}

TEST_F(Libpq, ErrorsHaveACodeAndANextStep) {
    EXPECT_THAT(execute("SELECT * FROM nowhere"),
                IsError(ErrorCode::Unavailable, "\"nowhere\" does not exist. it was dropped"));
    EXPECT_EQ(connection_->last_sqlstate(), "42P01");
    EXPECT_THAT(execute("SELEC 1"), IsError(ErrorCode::InvalidArgument, "syntax error"));
    EXPECT_THAT(execute("SELECT 1/0"), IsError(ErrorCode::InvalidArgument, "division by zero"));
    EXPECT_THAT(execute("SELECT 1"), IsOk());
    EXPECT_EQ(connection_->last_sqlstate(), "");
    EXPECT_TRUE(connection_->is_usable());
    EXPECT_EQ(error_code_of("40001"), ErrorCode::Conflict);
    EXPECT_EQ(error_code_of("23505"), ErrorCode::AlreadyExists);
    EXPECT_EQ(error_code_of("23503"), ErrorCode::InvalidArgument);
    EXPECT_EQ(error_code_of("53300"), ErrorCode::Unavailable);
    EXPECT_EQ(error_code_of("53100"), ErrorCode::ResourceExhausted);
    EXPECT_EQ(error_code_of("XX001"), ErrorCode::Corrupt);
    EXPECT_EQ(error_code_of("XX000"), ErrorCode::Internal);
}

TEST_F(Libpq, ASessionTheServerEndedIsNoticed) {
    Connection other = connect(PostgresServer::shared().address()).value();
    EXPECT_FALSE(other.has_hung_up());
    ASSERT_THAT(
        execute("SELECT pg_terminate_backend($1::int)", Parameters().int64(other.backend_pid())),
        IsOk());
    while (execute("SELECT count(*) FROM pg_stat_activity WHERE pid = $1",
                   Parameters().int64(other.backend_pid()))
               ->int64(0, 0) > 0) {
    }
    EXPECT_TRUE(other.has_hung_up());
    EXPECT_FALSE(other.is_usable());
    EXPECT_THAT(other.run("SELECT 1", due_), IsError(ErrorCode::Unavailable));
}

TEST_F(Libpq, WrongAddressesSayWhatToDoAndNeverThePassword) {
    const uint16_t port = PostgresServer::shared().port();
    const std::string at = "@127.0.0.1:" + std::to_string(port);
    const std::string good =
        "postgresql://admin:" + std::string(PostgresServer::kPasswordInAddress);
    const auto text = [](const Result<Connection>& result) {
        return result ? std::string("a connection") : result.error().to_string();
    };
    EXPECT_THAT(connect("postgresql://admin:wrong-pw" + at + "/postgres"),
                IsError(ErrorCode::Unauthenticated, "check user and password"));
    EXPECT_EQ(text(connect("postgresql://admin:wrong-pw" + at + "/postgres")).find("wrong-pw"),
              std::string::npos);
    EXPECT_THAT(connect("postgresql://stranger:x" + at + "/postgres"),
                IsError(ErrorCode::Unauthenticated, "stranger"));
    EXPECT_THAT(connect("postgresql://admin" + at + "/postgres"),
                IsError(ErrorCode::Unauthenticated, "no password supplied"));
    EXPECT_THAT(connect(good + at + "/nothing"),
                IsError(ErrorCode::Unavailable, "\"nothing\" does not exist. create the database"));
    EXPECT_THAT(connect(good + at + "/postgres?sslmode=require"),
                IsError(ErrorCode::Unavailable, "sslmode"));
    EXPECT_THAT(connect(good + "@no-such-host.invalid:5432/db"),
                IsError(ErrorCode::Unavailable, "no-such-host.invalid"));
    EXPECT_THAT(connect(good + "@127.0.0.1:1/db"), IsError(ErrorCode::Unavailable, "refused"));
    for (const std::string& address :
         {std::string("postgresql://u:se/cr@host/db"), std::string("postgresql://u:s@cr@host/db"),
          std::string("postgresql://u:se?cr@host/db"), std::string("postgresql://u:se#cr@host/db"),
          std::string("postgresql://u:secr:host/db"), std::string("postgresql://h/db?secr=1"),
          std::string("postgresql://u:%secr@host/db"), std::string("host=h password=secr"),
          std::string("postgresql://u:p@host:secr/db")}) {
        const Result<Address> refused = parse_address(address);
        ASSERT_THAT(refused, IsError(ErrorCode::InvalidArgument, "can't be read")) << address;
        EXPECT_EQ(refused.error().to_string().find("se"), refused.error().to_string().find("sed"));
        EXPECT_EQ(refused.error().to_string().find("cr"), std::string::npos) << address;
    }
    EXPECT_EQ(parse_address("postgres://u:p@host/db").value().shown, "host:5432/db");
    EXPECT_EQ(parse_address("postgresql://u:p%40@host:1,other:2/db").value().password, "p@");
}

TEST_F(Libpq, AnyAddressIsReadOrRefused) {
    // Seeded; a crash or a leak is what this looks for.
    std::mt19937 random(20261123);
    const std::string base = "postgresql://us%41er:pass@host,other:5432/db?sslmode=disable&a=b";
    for (int i = 0; i < 2000; ++i) {
        std::string text = base;
        for (int change = 0; change <= i % 5; ++change) {
            const size_t at = random() % text.size();
            switch (random() % 3) {
                case 0:
                    text[at] = static_cast<char>(random());
                    break;
                case 1:
                    text.erase(at, random() % 8);
                    break;
                default:
                    text.insert(at, 1, "@/?#%:&=[]"[random() % 10]);
            }
            if (text.empty()) text = "p";
        }
        const Result<Address> parsed = parse_address(text);
        EXPECT_TRUE(!parsed || parsed->text == text);
    }
}

TEST_F(Libpq, ACutConnectionIsUnavailableWhereverItIsCut) {
    PostgresRelay relay(PostgresServer::shared().port());
    const std::string address = PostgresServer::shared().address_at(relay.port(), "postgres");
    for (const PostgresRelay::Cut cut : {PostgresRelay::Cut::Before, PostgresRelay::Cut::LoseReply,
                                         PostgresRelay::Cut::TornReply}) {
        int64_t n = 1;
        for (;; ++n) {
            relay.cut_at(n, cut);
            Result<Connection> through = connect(address);
            Result<Rows> rows =
                through ? through->execute("SELECT 1", {}, due_) : Result<Rows>(through.error());
            if (!relay.has_cut()) {
                EXPECT_THAT(rows, IsOk());
                break;
            }
            EXPECT_THAT(rows, IsError(ErrorCode::Unavailable)) << "message " << n;
            ASSERT_LT(n, 50);
        }
        EXPECT_GT(n, 4);
    }
}

TEST_F(Libpq, TlsIsWhatTheAddressSaysAndTheCertificateIsChecked) {
    px::testing::TempDir folder;
    const auto certificate = [&](const std::string& name) {
        const std::string command =
            "openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=localhost -addext "
            "subjectAltName=IP:127.0.0.1 -keyout " +
            (folder / (name + ".key")).string() + " -out " + (folder / (name + ".crt")).string() +
            " 2>/dev/null";
        ASSERT_EQ(std::system(command.c_str()), 0) << "install the Debian package openssl";
    };
    certificate("good");
    certificate("other");
    PostgresServer server;
    server.write_data_file("server.crt", px::testing::read_file(folder / "good.crt"));
    server.write_data_file("server.key", px::testing::read_file(folder / "good.key"));
    server.stop();
    server.write_data_file("postgresql.auto.conf", "ssl = on\n");
    server.start();
    const std::string base =
        "postgresql://admin:" + std::string(PostgresServer::kPasswordInAddress) +
        "@127.0.0.1:" + std::to_string(server.port()) + "/postgres";
    const auto with = [&](const std::string& mode, const std::string& root) {
        return connect(base + "?sslmode=" + mode + "&sslrootcert=" + (folder / root).string());
    };
    Result<Connection> checked = with("verify-full", "good.crt");
    ASSERT_THAT(checked, IsOk());
    EXPECT_TRUE(checked->uses_tls());
    EXPECT_FALSE(connect(base + "?sslmode=disable")->uses_tls());
    EXPECT_THAT(with("verify-full", "other.crt"), IsError(ErrorCode::Unavailable, "sslrootcert"));
    EXPECT_THAT(with("verify-ca", "absent.crt"), IsError(ErrorCode::Unavailable, "sslrootcert"));
}

}  // namespace
}  // namespace px::libpq
