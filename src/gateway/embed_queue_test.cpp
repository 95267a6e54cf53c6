#include "gateway/embed_queue.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <future>
#include <random>
#include <thread>

namespace px::gateway {
namespace {

using namespace std::chrono_literals;

/// A text's vector is its length, its first and its last byte. Stands still while its gate is
/// closed.
class GatedEncoder final : public embed::Encoder {
  public:
    Result<std::vector<float>> encode(const std::vector<std::string_view>& texts, embed::TextKind,
                                      const Deadline& deadline, Progress&) const override {
        {
            const std::lock_guard lock(mutex_);
            std::vector<std::string> batch(texts.begin(), texts.end());
            batches_.push_back(std::move(batch));
        }
        ++inside_;
        while (closed_) {
            if (Result<void> in_time = deadline.check(); !in_time) return in_time.error();
            std::this_thread::sleep_for(1ms);
        }
        if (failing_) return fail(ErrorCode::Internal, "the encoder is broken");
        std::vector<float> vectors;
        for (const std::string_view text : texts) {
            vectors.push_back(static_cast<float>(text.size()));
            vectors.push_back(static_cast<float>(text.front()));
            vectors.push_back(static_cast<float>(text.back()));
        }
        return vectors;
    }
    size_t width() const override { return 3; }
    size_t max_tokens() const override { return 256; }
    const std::string& model_id() const override { return id_; }
    embed::Precision precision() const override { return embed::Precision::Fp32; }
    std::string_view kernel() const override { return "scalar"; }
    size_t count_tokens(std::string_view text) const override { return text.size(); }

    void close() { closed_ = true; }
    void open() { closed_ = false; }
    void break_down() { failing_ = true; }
    void wait_until_inside(int calls) const {
        while (inside_ < calls) std::this_thread::yield();
    }
    std::vector<std::vector<std::string>> batches() const {
        const std::lock_guard lock(mutex_);
        return batches_;
    }

  private:
    std::string id_ = "gated@000000000000";
    std::atomic<bool> closed_{false}, failing_{false};
    mutable std::atomic<int> inside_{0};
    mutable std::mutex mutex_;
    mutable std::vector<std::vector<std::string>> batches_;
};

std::vector<float> alone(const std::vector<std::string>& texts) {
    const GatedEncoder encoder;
    NoProgress progress;
    return encoder
        .encode({texts.begin(), texts.end()}, embed::TextKind::Passage, Deadline::never(), progress)
        .value();
}

using Answer = Result<std::vector<float>>;

std::future<Answer> ask(EmbedQueue& queue, std::vector<std::string> texts,
                        embed::TextKind kind = embed::TextKind::Passage,
                        Deadline deadline = Deadline::never()) {
    return std::async(std::launch::async, [&queue, texts = std::move(texts), kind, deadline] {
        return queue.encode(texts, kind, deadline);
    });
}

void wait_for_waiting(const EmbedQueue& queue, int64_t texts) {
    while (queue.counts().waiting_texts != texts) std::this_thread::yield();
}

EmbedQueueOptions one_at_a_time() {
    EmbedQueueOptions options;
    options.batches = 1;
    return options;
}

TEST(EmbedQueue, EncodesALoneRequestAtOnce) {
    const GatedEncoder encoder;
    EmbedQueue queue(encoder);
    EXPECT_EQ(queue.encode({"one", "two"}, embed::TextKind::Query, Deadline::never()).value(),
              alone({"one", "two"}));
    EXPECT_EQ(queue.counts().batches, 1);
    EXPECT_EQ(queue.encode({}, embed::TextKind::Query, Deadline::never()).value().size(), 0U);
}

TEST(EmbedQueue, EncodesTogetherWhatComesMeanwhile) {
    GatedEncoder encoder;
    EmbedQueue queue(encoder, one_at_a_time());
    encoder.close();
    auto first = ask(queue, {"first"});
    encoder.wait_until_inside(1);
    std::vector<std::future<Answer>> others;
    for (int i = 0; i < 6; ++i) others.push_back(ask(queue, {std::string(size_t(i) + 1, 'a')}));
    wait_for_waiting(queue, 6);
    encoder.open();
    EXPECT_EQ(first.get().value(), alone({"first"}));
    for (int i = 0; i < 6; ++i)
        EXPECT_EQ(others[size_t(i)].get().value(), alone({std::string(size_t(i) + 1, 'a')}));
    EXPECT_EQ(queue.counts().batches, 2);
    EXPECT_EQ(queue.counts().texts, 7);
}

TEST(EmbedQueue, GivesASmallRequestItsShareBesideABigOne) {
    GatedEncoder encoder;
    EmbedQueueOptions options = one_at_a_time();
    options.batch_texts = 4;
    EmbedQueue queue(encoder, options);
    encoder.close();
    std::vector<std::string> many;
    for (char c = 'a'; c <= 'z'; ++c) many.emplace_back(5, c);
    auto big = ask(queue, many);
    encoder.wait_until_inside(1);
    auto small = ask(queue, {"small"});
    wait_for_waiting(queue, 23);
    encoder.open();
    EXPECT_EQ(small.get().value(), alone({"small"}));
    EXPECT_EQ(big.get().value(), alone(many));
    const auto batches = encoder.batches();
    ASSERT_EQ(batches.size(), 7U);
    EXPECT_EQ(std::ranges::count(batches[1], "small"), 1);
}

TEST(EmbedQueue, KeepsQueriesAndPassagesApart) {
    GatedEncoder encoder;
    EmbedQueue queue(encoder, one_at_a_time());
    encoder.close();
    auto first = ask(queue, {"first"});
    encoder.wait_until_inside(1);
    auto passages = ask(queue, {"p1", "p2"}, embed::TextKind::Passage);
    wait_for_waiting(queue, 2);
    auto queries = ask(queue, {"q1", "q2"}, embed::TextKind::Query);
    wait_for_waiting(queue, 4);
    encoder.open();
    EXPECT_EQ(passages.get().value(), alone({"p1", "p2"}));
    EXPECT_EQ(queries.get().value(), alone({"q1", "q2"}));
    EXPECT_TRUE(first.get());
    EXPECT_EQ(encoder.batches().size(), 3U);
}

TEST(EmbedQueue, RefusesWhatIsTooMuchWhileOthersWait) {
    GatedEncoder encoder;
    EmbedQueueOptions options = one_at_a_time();
    options.waiting_texts = 10;
    options.waiting_bytes = 1'000;
    EmbedQueue queue(encoder, options);
    encoder.close();
    auto first = ask(queue, {"first"});
    encoder.wait_until_inside(1);
    auto second = ask(queue, std::vector<std::string>(8, "second"));
    wait_for_waiting(queue, 8);
    const auto many = queue.encode({"a", "b", "c"}, embed::TextKind::Passage, Deadline::never());
    ASSERT_FALSE(many);
    EXPECT_EQ(many.error().code, ErrorCode::RateLimited);
    const auto large =
        queue.encode({std::string(990, 'x')}, embed::TextKind::Passage, Deadline::never());
    ASSERT_FALSE(large);
    EXPECT_EQ(large.error().code, ErrorCode::RateLimited);
    auto third = ask(queue, {"third"});
    wait_for_waiting(queue, 9);
    encoder.open();
    EXPECT_TRUE(first.get());
    EXPECT_TRUE(second.get());
    EXPECT_TRUE(third.get());
    EXPECT_EQ(queue.counts().waiting_texts, 0);
}

TEST(EmbedQueue, LetsAClientLeaveAtOnce) {
    GatedEncoder encoder;
    EmbedQueue queue(encoder, one_at_a_time());
    encoder.close();
    std::stop_source first_client, second_client;
    auto first = ask(queue, {"first"}, embed::TextKind::Passage,
                     {std::chrono::steady_clock::time_point::max(), first_client.get_token()});
    encoder.wait_until_inside(1);
    auto second = ask(queue, {"second"}, embed::TextKind::Passage,
                      {std::chrono::steady_clock::time_point::max(), second_client.get_token()});
    auto third = ask(queue, {"third"}, embed::TextKind::Passage,
                     Deadline::after(std::chrono::milliseconds(20)));
    second_client.request_stop();
    EXPECT_EQ(second.get().error().code, ErrorCode::Cancelled);
    EXPECT_EQ(third.get().error().code, ErrorCode::DeadlineExceeded);
    EXPECT_EQ(queue.counts().waiting_texts, 0);
    encoder.open();
    EXPECT_TRUE(first.get());
    EXPECT_EQ(encoder.batches().size(), 1U);
}

TEST(EmbedQueue, GivesUpABatchWhenNobodyWaitsForItAnyMore) {
    GatedEncoder encoder;
    EmbedQueueOptions options = one_at_a_time();
    options.batch_texts = 1;
    EmbedQueue queue(encoder, options);
    encoder.close();
    auto worker = ask(queue, {"one", "two"});  // encodes for the other too, in turn
    encoder.wait_until_inside(1);
    std::stop_source client;
    auto other = ask(queue, {"other"}, embed::TextKind::Passage,
                     {std::chrono::steady_clock::time_point::max(), client.get_token()});
    wait_for_waiting(queue, 2);
    client.request_stop();
    EXPECT_EQ(other.get().error().code, ErrorCode::Cancelled);
    encoder.open();
    EXPECT_EQ(worker.get().value(), alone({"one", "two"}));
}

TEST(EmbedQueue, TellsEverybodyOfABatchThatTheEncoderFailed) {
    GatedEncoder encoder;
    EmbedQueue queue(encoder, one_at_a_time());
    encoder.close();
    auto first = ask(queue, {"first"});
    encoder.wait_until_inside(1);
    auto second = ask(queue, {"second"});
    auto third = ask(queue, {"third"});
    wait_for_waiting(queue, 2);
    encoder.break_down();
    encoder.open();
    for (auto* answer : {&first, &second, &third})
        EXPECT_EQ(answer->get().error().code, ErrorCode::Internal);
    EXPECT_EQ(queue.counts().waiting_texts, 0);
}

TEST(EmbedQueue, GivesEveryOneOfManyClientsTheVectorsOfALoneRequest) {
    const GatedEncoder encoder;
    EmbedQueueOptions options;
    options.batch_texts = 7;
    options.batch_bytes = 300;
    options.batches = 2;
    EmbedQueue queue(encoder, options);
    std::atomic<int> wrong{0};
    {
        std::vector<std::jthread> clients;
        for (uint32_t seed = 1; seed <= 16; ++seed) {
            clients.emplace_back([&, seed] {
                std::mt19937 random(seed);
                for (int i = 0; i < 200; ++i) {
                    std::vector<std::string> texts;
                    for (size_t n = 1 + random() % 12; n > 0; --n)
                        texts.emplace_back(1 + random() % 90,
                                           static_cast<char>('a' + random() % 26));
                    const auto kind =
                        random() % 2 == 0 ? embed::TextKind::Query : embed::TextKind::Passage;
                    const auto made = queue.encode(texts, kind, Deadline::never());
                    if (!made || *made != alone(texts)) ++wrong;
                }
            });
        }
    }
    EXPECT_EQ(wrong, 0);
    EXPECT_EQ(queue.counts().waiting_texts, 0);
}

}  // namespace
}  // namespace px::gateway
