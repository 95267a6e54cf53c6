// Points for the tests of the index: seeded, with vectors in clusters like those of real
// embeddings.
#pragma once

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <random>
#include <string>
#include <vector>

#include "base/sha256.h"
#include "index/vector_store.h"

namespace px::index {

inline std::vector<float> unit(std::vector<float> vector) {
    double norm = 0;
    for (const float x : vector) norm += static_cast<double>(x) * x;
    norm = std::sqrt(norm);
    for (float& x : vector) x = static_cast<float>(x / norm);
    return vector;
}

class PointMaker {
  public:
    explicit PointMaker(uint64_t seed, size_t width = 48, size_t clusters = 20)
        : random_(seed), width_(width) {
        for (size_t i = 0; i < clusters; ++i) centres_.push_back(noise(1));
    }

    std::vector<float> vector() {
        std::vector<float> sum = centres_[random_() % centres_.size()];
        const std::vector<float> jitter = noise(0.5F);
        for (size_t i = 0; i < width_; ++i) sum[i] += jitter[i];
        return unit(std::move(sum));
    }

    Point point(int number) {
        static const char* kWords[] = {"inflation", "growth", "market",  "labor",   "policy",
                                       "rate",      "bank",   "credit",  "outlook", "risk",
                                       "energy",    "price",  "housing", "economy", "demand",
                                       "supply",    "wage",   "trade"};
        Point point;
        point.document_id = fmt::format("reports/doc-{}", number / 7);
        point.id.value = sha256_hex(fmt::format("point {}", number)).substr(0, 32);
        point.source = number % 3 == 0 ? "filings" : "reports";
        point.ds = "2026-11-23";
        point.title = fmt::format("Report {}", number / 7);
        point.author = number % 5 == 0 ? "" : fmt::format("Author {}", number % 5);
        point.category = number % 2 == 0 ? "Finance" : "Énergie";
        if (number % 4 != 0) point.created_at = 1'700'000'000'000'000 + number * 86'400'000'000LL;
        const size_t words = 5 + random_() % 40;
        for (size_t i = 0; i < words; ++i) {
            // Squared: a few words are frequent, others rare.
            const double u = static_cast<double>(random_() % 1000) / 1000;
            point.text += fmt::format("{}{}", i == 0 ? "" : " ",
                                      kWords[static_cast<size_t>(u * u * std::size(kWords))]);
        }
        point.span = {(number % 7) * 100,
                      (number % 7) * 100 + static_cast<int64_t>(point.text.size())};
        point.vector = vector();
        return point;
    }

    std::vector<Point> points(int first, int count) {
        std::vector<Point> result;
        for (int i = 0; i < count; ++i) result.push_back(point(first + i));
        return result;
    }

    std::mt19937_64& random() { return random_; }

  private:
    std::vector<float> noise(float size) {
        std::normal_distribution<float> normal(0, size);
        std::vector<float> vector(width_);
        for (float& x : vector) x = normal(random_);
        return vector;
    }

    std::mt19937_64 random_;
    size_t width_;
    std::vector<std::vector<float>> centres_;
};

}  // namespace px::index
