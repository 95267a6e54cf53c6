// A release for the tests of the room: documents chunked, indexed and published in a real catalog;
// vectors of a toy encoder that maps shared words to nearness.
#pragma once

#include <fmt/format.h>

#include <cmath>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "answer/answer.h"
#include "base/sha256.h"
#include "index/analysis.h"
#include "index/embedded/embedded_store.h"
#include "store/memory/memory_object_store.h"
#include "testing/matchers.h"
#include "testing/temp_dir.h"

namespace px::answer {

/// Each term of a text adds to one dimension: texts that share terms are near.
class ToyEncoder final : public embed::Encoder {
  public:
    Result<std::vector<float>> encode(const std::vector<std::string_view>& texts, embed::TextKind,
                                      const Deadline& deadline, Progress&) const override {
        PX_TRY(deadline.check());
        ++calls;
        most_texts = std::max(most_texts, texts.size());
        index::Analyzer analyzer;
        std::vector<float> vectors;
        for (const std::string_view text : texts) {
            std::vector<float> vector(kWidth, 0.001F);
            for (const std::string& term : analyzer.terms(text)) {
                const Sha256Digest digest = sha256(term);
                vector[(digest[0] * 256U + digest[1]) % kWidth] += 1;
            }
            double norm = 0;
            for (const float x : vector) norm += static_cast<double>(x) * x;
            for (const float x : vector) vectors.push_back(static_cast<float>(x / std::sqrt(norm)));
        }
        return vectors;
    }
    size_t width() const override { return kWidth; }
    size_t max_tokens() const override { return 256; }
    const std::string& model_id() const override { return id_; }
    embed::Precision precision() const override { return embed::Precision::Fp32; }
    std::string_view kernel() const override { return "toy"; }
    size_t count_tokens(std::string_view text) const override { return text.size(); }

    mutable size_t calls = 0;
    mutable size_t most_texts = 0;

  private:
    static constexpr size_t kWidth = 512;
    std::string id_ = "toy@000000000000";
};

struct TestDocument {
    std::string source, id, title, author, category, date, text;
    bool raw = false;  ///< the text stands in its file as it is, after 10 bytes
};

/// The documents most tests use.
inline std::vector<TestDocument> company() {
    return {{"reports", "2024-q3", "Third quarter report", "Ada Verne", "Finance", "2024-10-01",
             "Revenue grew by 4.5 percent in the third quarter. The growth came from the Zurich "
             "office.\n\n"
             "The financial outlook for next year is cautious. Management expects revenue to grow "
             "by 2 percent.\n\n"
             "Energy costs fell because the plant in Basel closed. Nobody was dismissed."},
            {"reports", "2024-q4", "Fourth quarter report", "Bo Lind", "Finance", "2025-01-02",
             "Revenue was flat in the fourth quarter. A strike halted the Basel railway for two "
             "weeks.\n\n"
             "The financial outlook has improved since October. Orders rose by a tenth."},
            {"filings", "safety.md", "Safety manual", "Cleo Marsh", "Operations", "2023-05-05",
             "Wear a helmet in the hall. Gloves are mandatory near the press.\n\n"
             "Report each accident to the safety officer within one hour.",
             true}};
}

class TestRelease {
  public:
    explicit TestRelease(const std::vector<TestDocument>& documents,
                         chunk::SplitterOptions splitting = {.size = 120, .overlap = 20}) {
        catalog_ = *catalog::open_sqlite_catalog(folder_ / "catalog.db",
                                                 catalog::OpenMode::ReadWrite, clock_);
        vectors_ = *index::open_embedded_store(objects_);
        std::vector<index::Point> points;
        std::map<std::string, std::vector<catalog::DocumentRow>> rows;
        for (const TestDocument& document : documents) {
            catalog::DocumentRow row;
            row.document_id = document.source + "/" + document.id;
            row.source = document.source;
            row.ds = "2026-11-23";
            row.id = document.id;
            row.title = document.title;
            row.author = document.author;
            row.category = document.category;
            if (!document.date.empty())
                row.created_at = *parse_date(document.date) * int64_t{86'400'000'000};
            row.ingested_at = clock_.now();
            row.path = "data/" + document.id;
            row.landed_sha256 = sha256_hex("file of " + document.text);
            row.landed_key = document.source + "/2026-11-23/" + row.landed_sha256;
            row.line = 7;
            row.byte_start = document.raw ? 0 : 100;
            row.byte_end = row.byte_start + 10 + static_cast<int64_t>(document.text.size());
            row.text_sha256 = sha256_hex(document.text);
            row.text_length = static_cast<int64_t>(document.text.size());
            row.extra_json = document.raw ? R"({"text_is_raw":true,"text_offset":10})" : "{}";
            const std::vector<chunk::Span> spans = *chunk::split(document.text, splitting);
            for (const chunk::Span span : spans) {
                index::Point point;
                point.document_id = row.document_id;
                point.source = row.source;
                point.ds = row.ds;
                point.title = row.title;
                point.author = row.author;
                point.category = row.category;
                point.created_at = row.created_at;
                point.text = document.text.substr(static_cast<size_t>(span.start),
                                                  static_cast<size_t>(span.end - span.start));
                point.span = span;
                point.id = index::identify(point);
                NoProgress progress;
                point.vector =
                    *encoder_.encode({chunk::embedding_text(point.title, point.text)},
                                     embed::TextKind::Passage, Deadline::never(), progress);
                points.push_back(std::move(point));
            }
            texts_[row.document_id] = document.text;
            rows[row.source].push_back(std::move(row));
        }
        catalog::Publication publication;
        publication.release.run = (*catalog_->begin_run("2026-11-23", "", "")).id;
        publication.release.ds = "2026-11-23";
        publication.release.index_manifest =
            (*vectors_->apply(std::nullopt, {}, points, Deadline::never())).value;
        publication.release.table_versions = {{"reports", 5}, {"filings", 2}};
        publication.release.documents = static_cast<int64_t>(documents.size());
        publication.release.chunks = static_cast<int64_t>(points.size());
        for (auto& [source, list] : rows)
            publication.documents.push_back({source, std::nullopt, std::move(list)});
        view_.release = *catalog_->publish(publication);
        view_.points = *vectors_->open({view_.release.index_manifest});
        encoder_.calls = 0;
        encoder_.most_texts = 0;
    }

    Rederive rederive() {
        return [this](const catalog::DocumentRow& document,
                      const Deadline& deadline) -> Result<std::string> {
            PX_TRY(deadline.check());
            const auto text = texts_.find(document.document_id);
            if (text == texts_.end()) return fail(ErrorCode::NotFound, "the landed file is gone");
            return text->second;
        };
    }

    const ReleaseView& view() const { return view_; }
    catalog::Catalog& catalog() { return *catalog_; }
    index::VectorStore& vectors() { return *vectors_; }
    const ToyEncoder& encoder() const { return encoder_; }
    std::map<std::string, std::string>& texts() { return texts_; }
    const FixedClock& clock() const { return clock_; }
    const px::testing::TempDir& folder() const { return folder_; }

  private:
    px::testing::TempDir folder_;
    FixedClock clock_{1'763'884'800'000'000};
    store::MemoryObjectStore objects_;
    std::unique_ptr<catalog::Catalog> catalog_;
    std::unique_ptr<index::VectorStore> vectors_;
    ToyEncoder encoder_;
    ReleaseView view_;
    std::map<std::string, std::string> texts_;
};

}  // namespace px::answer
