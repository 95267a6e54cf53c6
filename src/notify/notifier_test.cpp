#include "notify/notifier.h"

#include <arpa/inet.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <signal.h>
#include <sys/socket.h>
#include <unistd.h>

#include <atomic>
#include <boost/json.hpp>
#include <condition_variable>
#include <mutex>
#include <thread>

#include "http/server.h"
#include "testing/matchers.h"
#include "testing/temp_dir.h"

namespace px::notify {
namespace {

using std::chrono::milliseconds;
using ::testing::HasSubstr;
using ::testing::Not;

Message failure() {
    Message message;
    message.kind = Kind::Failure;
    message.pipeline = "orders";
    message.ds = "2026-11-23";
    message.run_id = "2026-11-23-0001";
    message.item = 7;
    message.attempt = 3;
    message.exit_code = 4;
    message.text = "no answer of postgresql://ada:pa55@db:5432/orders?sslkey=k\nline two";
    message.at = 1'795'456'800'000'000;
    return message;
}

/// What arrives, and how many one wants to wait for.
template <class T>
class Inbox {
  public:
    void put(T value) {
        const std::lock_guard lock(mutex_);
        all_.push_back(std::move(value));
        changed_.notify_all();
    }
    std::vector<T> wait(size_t count) {
        std::unique_lock lock(mutex_);
        changed_.wait_for(lock, std::chrono::seconds(30), [&] { return all_.size() >= count; });
        return all_;
    }

  private:
    std::mutex mutex_;
    std::condition_variable changed_;
    std::vector<T> all_;
};

/// A web server that answers 500 to the first `failing` requests.
class Hook {
  public:
    explicit Hook(int failing = 0) : failing_(failing) {
        http::ServerOptions options;
        options.port = 0;
        http::Handlers handlers;
        handlers.handle = [this](const http::Request& request) {
            inbox.put(std::string(request.body));
            http::Response response;
            response.status = failing_-- > 0 ? 500 : 204;
            return response;
        };
        server_ = http::HttpServer::start(options, handlers).value();
    }
    std::string url() const {
        return "http://127.0.0.1:" + std::to_string(server_->port()) + "/hook?key=s3cret";
    }
    Inbox<std::string> inbox;

  private:
    std::atomic<int> failing_;
    std::unique_ptr<http::HttpServer> server_;
};

/// A mail server of one connection after another: what it was told, and the mail.
class Mailbox {
  public:
    explicit Mailbox(bool refuses_login = false) {
        listener_ = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
        sockaddr_in address{};
        address.sin_family = AF_INET;
        address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
        ::bind(listener_, reinterpret_cast<sockaddr*>(&address), sizeof address);
        ::listen(listener_, 8);
        socklen_t size = sizeof address;
        ::getsockname(listener_, reinterpret_cast<sockaddr*>(&address), &size);
        port = ntohs(address.sin_port);
        thread_ = std::thread([this, refuses_login] {
            while (true) {
                const int client = ::accept(listener_, nullptr, nullptr);
                if (client < 0) return;
                serve(client, refuses_login);
                ::close(client);
            }
        });
    }
    ~Mailbox() {
        ::shutdown(listener_, SHUT_RDWR);
        thread_.join();
        ::close(listener_);
    }
    uint16_t port = 0;
    Inbox<std::string> inbox;

  private:
    void serve(int client, bool refuses_login) {
        std::string session, left;
        const auto say = [&](const std::string& text) {
            [[maybe_unused]] const auto sent =
                ::send(client, text.data(), text.size(), MSG_NOSIGNAL);
        };
        const auto line = [&]() -> std::string {
            size_t end = 0;
            while ((end = left.find("\r\n")) == std::string::npos) {
                char buffer[4096];
                const ssize_t got = ::recv(client, buffer, sizeof buffer, 0);
                if (got <= 0) return "QUIT";
                left.append(buffer, static_cast<size_t>(got));
            }
            std::string text = left.substr(0, end);
            left.erase(0, end + 2);
            session += text + "\n";
            return text;
        };
        say("220 test\r\n");
        while (true) {
            const std::string command = line();
            if (command.starts_with("EHLO")) {
                say("250-test\r\n250-AUTH PLAIN\r\n250 8BITMIME\r\n");
            } else if (command.starts_with("AUTH")) {
                if (command == "AUTH PLAIN") {
                    say("334 \r\n");
                    (void)line();
                }
                say(refuses_login ? "535 no\r\n" : "235 ok\r\n");
            } else if (command == "DATA") {
                say("354 go\r\n");
                while (line() != ".") {
                }
                say("250 taken\r\n");
                inbox.put(session);
            } else if (command == "QUIT") {
                say("221 bye\r\n");
                return;
            } else {
                say("250 ok\r\n");
            }
        }
    }
    int listener_ = -1;
    std::thread thread_;
};

std::string from_base64(const std::string& text) {
    std::string bytes;
    uint32_t group = 0;
    int bits = 0;
    for (const char c : text) {
        static const std::string kDigits =
            "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
        const size_t digit = kDigits.find(c);
        if (digit == std::string::npos) continue;
        group = group << 6 | static_cast<uint32_t>(digit);
        if ((bits += 6) >= 8) bytes += static_cast<char>(group >> (bits -= 8) & 0xFF);
    }
    return bytes;
}

TEST(Notifier, PostsJsonAndTriesAgainAfterAServerError) {
    Hook hook(2);
    Options options;
    options.webhook_url = hook.url();
    options.pause = milliseconds(1);
    {
        Notifier notifier(options);
        notifier.send(failure());
        ASSERT_EQ(hook.inbox.wait(3).size(), 3U);
    }
    const auto value = boost::json::parse(hook.inbox.wait(3).back()).as_object();
    EXPECT_EQ(value.at("event"), "failure");
    EXPECT_EQ(value.at("pipeline"), "orders");
    EXPECT_EQ(value.at("exit_code"), 4);
    EXPECT_EQ(value.at("suppressed"), 0);
    EXPECT_EQ(value.at("at"), "2026-11-23T18:00:00.000000Z");
    EXPECT_EQ(value.at("message"), "no answer of postgresql://***@db:5432/orders?***\nline two");
}

TEST(Notifier, GivesUpAfterItsAttempts) {
    Hook hook(1'000);
    Options options;
    options.webhook_url = hook.url();
    options.pause = milliseconds(1);
    options.at_most_every = std::chrono::seconds(0);
    Notifier notifier(options);
    notifier.send(failure());
    Message other = failure();
    other.kind = Kind::Recovery;
    notifier.send(other);
    const auto all = hook.inbox.wait(6);
    ASSERT_EQ(all.size(), 6U);
    EXPECT_THAT(all[2], HasSubstr("failure"));
    EXPECT_THAT(all[3], HasSubstr("recovery"));
}

TEST(Notifier, OneKindIsToldOnceWithinItsTimeAndTheRestCounted) {
    Hook hook;
    Options options;
    options.webhook_url = hook.url();
    options.at_most_every = std::chrono::seconds(1);
    Notifier notifier(options);
    for (int i = 0; i < 50; ++i) notifier.send(failure());
    Message halt = failure();
    halt.kind = Kind::Halt;
    notifier.send(halt);
    ASSERT_EQ(hook.inbox.wait(2).size(), 2U);
    size_t seen = 2;
    while (seen == 2) {
        std::this_thread::sleep_for(milliseconds(20));
        notifier.send(failure());
        seen = hook.inbox.wait(0).size();
    }
    const auto last = boost::json::parse(hook.inbox.wait(3).back()).as_object();
    EXPECT_GE(last.at("suppressed").as_int64(), 49);
}

TEST(Notifier, UnwantedKindsAreNotTold) {
    Hook hook;
    Options options;
    options.webhook_url = hook.url();
    options.kinds = {Kind::Recovery};
    Notifier notifier(options);
    notifier.send(failure());
    Message recovery = failure();
    recovery.kind = Kind::Recovery;
    notifier.send(recovery);
    EXPECT_THAT(hook.inbox.wait(1).front(), HasSubstr("recovery"));
}

TEST(Notifier, ACommandGetsTheJsonOnItsStdin) {
    px::testing::TempDir folder;
    const std::string file = (folder / "out").string();
    Options options;
    options.command = {"/bin/sh", "-c", "cat > " + file + ".part && mv " + file + ".part " + file};
    Notifier notifier(options);
    notifier.send(failure());
    const auto until = std::chrono::steady_clock::now() + std::chrono::seconds(30);
    while (!std::filesystem::exists(file) && std::chrono::steady_clock::now() < until)
        std::this_thread::sleep_for(milliseconds(5));
    EXPECT_EQ(px::testing::read_file(file), message_json(failure()));
}

TEST(Notifier, NobodyWaitsForACommandThatHangs) {
    Options options;
    const px::testing::TempDir folder;
    const std::string file = (folder / "pid").string();
    options.command = {"/bin/sh", "-c", "echo $$ > " + file + "; exec sleep 600"};
    options.timeout = milliseconds(200);
    options.end_timeout = milliseconds(500);
    const auto start = std::chrono::steady_clock::now();
    {
        Notifier notifier(options);
        for (int i = 0; i < 1'000; ++i) notifier.send(failure());
        EXPECT_LT(std::chrono::steady_clock::now() - start, std::chrono::seconds(5));
    }
    EXPECT_LT(std::chrono::steady_clock::now() - start, std::chrono::seconds(20));
    const pid_t last = std::stoi(px::testing::read_file(file));
    EXPECT_EQ(::kill(last, 0), -1) << "the command outlived its notifier";
}

TEST(Notifier, ACommandThatIsStillBusyAtTheEndIsKilled) {
    Options options;
    const px::testing::TempDir folder;
    const std::string file = (folder / "pid").string();
    options.command = {"/bin/sh", "-c", "echo $$ > " + file + "; exec sleep 600"};
    options.end_timeout = milliseconds(500);
    {
        Notifier notifier(options);
        notifier.send(failure());
    }
    const pid_t last = std::stoi(px::testing::read_file(file));
    EXPECT_EQ(::kill(last, 0), -1) << "the command outlived its notifier";
}

TEST(Notifier, AMailArrivesWithoutRoomForForgedHeaders) {
    Mailbox mailbox;
    Options options;
    options.smtp_url = "smtp://user:s3cret@127.0.0.1:" + std::to_string(mailbox.port);
    options.mail_from = "px@example.org";
    options.mail_to = {"ada@example.org", "bob@example.org"};
    Notifier notifier(options);
    Message message = failure();
    message.pipeline = "orders\r\nBcc: eve@example.org";
    message.text = "first\r\n.\r\nMAIL FROM:<eve@example.org>";
    notifier.send(message);
    const auto all = mailbox.inbox.wait(1);
    ASSERT_EQ(all.size(), 1U);
    const std::string& session = all.front();
    EXPECT_THAT(session, HasSubstr("MAIL FROM:<px@example.org>"));
    EXPECT_THAT(session, HasSubstr("RCPT TO:<ada@example.org>"));
    EXPECT_THAT(session, HasSubstr("RCPT TO:<bob@example.org>"));
    EXPECT_THAT(session, HasSubstr("Date: Mon, 23 Nov 2026 18:00:00 +0000"));
    EXPECT_THAT(session, Not(HasSubstr("eve@example.org")));
    EXPECT_THAT(from_base64(session.substr(session.find("\n\n") + 2)),
                HasSubstr("MAIL FROM:<eve@example.org>"));
}

TEST(Notifier, AWrongAddressIsRefusedBeforeAnythingIsSent) {
    Options options;
    options.webhook_url = "file:///etc/passwd";
    EXPECT_THAT(options.validate(), px::testing::IsError(ErrorCode::InvalidArgument));
    options = {};
    options.smtp_url = "smtp://127.0.0.1";
    EXPECT_THAT(options.validate(), px::testing::IsError(ErrorCode::InvalidArgument));
}

TEST(Notifier, AddressesLoseTheirSecrets) {
    EXPECT_EQ(without_secrets("see https://u:p@h/x?k=1 and smtp://h:25"),
              "see https://***@h/x?*** and smtp://h:25");
    EXPECT_EQ(without_secrets("nothing here"), "nothing here");
    EXPECT_EQ(without_secrets("a://b@c@d e://"), "a://***@d e://");
}

}  // namespace
}  // namespace px::notify
