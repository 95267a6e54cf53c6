#include "gateway/demo_company.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <mutex>
#include <set>
#include <utility>

#include "answer/release_reader.h"
#include "base/sha256.h"
#include "chunk/chunk.h"
#include "columnar/parquet_writer.h"
#include "columnar/record_batch.h"
#include "engine/local/local_engine.h"
#include "index/embedded/embedded_store.h"
#include "lake/delta_table.h"
#include "store/memory/memory_object_store.h"

namespace px::gateway {
namespace {

struct Paper {
    std::string_view source, id, title, author, category, date, path, text;
};

constexpr Paper kPapers[] = {
    {"filings", "outlook-2027", "Financial outlook 2027", "Mara Lindqvist", "Finance", "2026-11-18",
     "data/filings/outlook-2027.md",
     "Financial outlook 2027\n\nThe financial outlook for 2027 is cautiously positive. We expect "
     "revenue to grow by 6 to 8 "
     "percent, carried by the service business, while hardware stays flat.\n\nThe main risk to the "
     "financial outlook is the "
     "price of copper, which rose by 14 percent in the third quarter. A further rise of the same "
     "size would cost 2.1 million "
     "euros of operating profit.\n\nInvestment stays at 9 million euros. Two thirds of it go into "
     "the new test hall in "
     "Tampere, the rest into software for the field service.\n\nThe board will review the outlook "
     "in May, once the order "
     "book for the second half is known."},
    {"filings", "minutes-2026-11", "Minutes of the board, November 2026", "Jonas Adeyemi",
     "Minutes", "2026-11-12", "data/filings/minutes-2026-11.md",
     "Minutes of the board, November 2026\n\nPresent: six of seven members.\n\nThe board approved "
     "the budget. The chief "
     "financial officer presented the financial outlook: liquidity is comfortable, and no new "
     "credit is needed before 2028."
     "\n\nThe board asked for a second supplier of inverter boards before March. Delivery times "
     "had reached 31 weeks in the "
     "summer.\n\nThe remote monitoring pilot with four customers was extended by six months."},
    {"filings", "pump-spec", "Specification of the P-40 pump", "Ines Castro", "Specification",
     "2026-06-30", "data/filings/pump-p40.html",
     "Specification of the P-40 pump\n\nThe P-40 delivers 40 cubic metres an hour at a head of 62 "
     "metres. Its efficiency is "
     "78 percent at the design point.\n\nThe shaft seal must be changed after 16,000 hours of "
     "operation. Running dry for more "
     "than 20 seconds destroys the seal.\n\nPermitted media are clean water and water with up to "
     "30 percent glycol."},
    {"filings", "service-report-q3", "Service report, third quarter", "Mara Lindqvist", "Reports",
     "2026-10-09", "data/filings/service-q3.txt",
     "Service report, third quarter\n\nThe field service closed 1,204 orders, 11 percent more than "
     "a year before. The median "
     "time to repair fell from 3.4 to 2.9 days.\n\nSeal failures of the P-40 were the most common "
     "cause, 212 cases, mostly "
     "after running dry.\n\nCustomer satisfaction reached 4.4 of 5."},
    {"reports", "r-1001", "Revenue by region", "Ines Castro", "Finance", "2026-10-31",
     "data/reports/october.csv",
     "Revenue in the Nordic region reached 18.2 million euros, 7 percent above plan. Central "
     "Europe missed its plan by 3 "
     "percent because two large orders moved into December."},
    {"reports", "r-1002", "Hiring plan", "Priya Raman", "People", "2026-10-31",
     "data/reports/october.csv",
     "Twelve service technicians will be hired in 2027, eight of them in Poland. The "
     "apprenticeship programme grows to 22 "
     "places."},
    {"reports", "r-1003", "Energy use of the plants", "Priya Raman", "Sustainability", "2026-10-31",
     "data/reports/october.csv",
     "The plants used 9.8 gigawatt hours of electricity, 5 percent less than a year before. The "
     "solar roof in Tampere "
     "supplied 11 percent of it."},
    {"reports", "r-1004", "Notes on <script>alert('x')</script>", "Zoë O’Brien", "Finance",
     "2026-11-02", "data/reports/october.csv",
     "Text from sources is data: <b>bold</b> and <script>alert('x')</script> must be shown as they "
     "stand. The financial "
     "outlook of the subsidiary is unchanged: revenue of 4 million zł."},
};

std::vector<std::string> words_of(std::string_view text) {
    static const std::set<std::string, std::less<>> kCommon{
        "a",   "an",  "and",  "are",  "as",    "at",  "be",   "by",  "for", "from",
        "has", "how", "in",   "is",   "it",    "of",  "on",   "or",  "s",   "the",
        "to",  "was", "what", "when", "which", "who", "will", "with"};
    std::vector<std::string> words;
    std::string word;
    const auto finish = [&] {
        if (!word.empty() && !kCommon.contains(word)) words.push_back(word);
        word.clear();
    };
    for (const char c : text) {
        const bool letter = (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') ||
                            static_cast<unsigned char>(c) >= 0x80;
        if (letter) {
            word.push_back(c);
        } else if (c >= 'A' && c <= 'Z') {
            word.push_back(static_cast<char>(c + 32));
        } else {
            finish();
        }
    }
    finish();
    return words;
}

TimestampMicros day(std::string_view date) {
    return TimestampMicros{parse_date(date).value()} * 86'400'000'000;
}

/// A row the contract kept out.
struct Reject {
    std::string_view rule, column, value, reason;
    int64_t line, byte_start, byte_end;
    std::string_view raw;
};

constexpr Reject kRejects[] = {
    {"type", "revenue", "n/a", "'n/a' is not a decimal(18,2)", 7, 812, 901,
     "1005,Stock,Priya Raman,2026-10-31,Finance,n/a,The stock of boards is low."},
    {"required", "id", "", "the value is missing", 9, 1010, 1066,
     ",Untitled,,2026-10-31,Finance,12.00,No id here."},
    {"type", "published_at", "31.10.2026", "'31.10.2026' is not a timestamp", 11, 1130, 1204,
     "1008,Warehouse,Ines Castro,31.10.2026,Finance,1.00,\xE4\xF6 in Latin-1"},
};

columnar::Schema documents_table() {
    using columnar::TypeId;
    return {{{"id", {TypeId::String}, false},
             {"title", {TypeId::String}, true},
             {"author", {TypeId::String}, true},
             {"category", {TypeId::String}, true},
             {"published_at", {TypeId::Timestamp}, true},
             {"revenue", {TypeId::Decimal, 18, 2}, true},
             {"text", {TypeId::String}, true}}};
}

columnar::Schema quarantine_table() {
    using columnar::TypeId;
    return {{{"rule", {TypeId::String}, true},
             {"column", {TypeId::String}, true},
             {"value", {TypeId::String}, true},
             {"reason", {TypeId::String}, true},
             {"file", {TypeId::String}, true},
             {"landed", {TypeId::String}, true},
             {"line", {TypeId::Int64}, true},
             {"byte_start", {TypeId::Int64}, true},
             {"byte_end", {TypeId::Int64}, true},
             {"raw", {TypeId::Binary}, true}}};
}

}  // namespace

Result<std::vector<float>> WordEncoder::encode(const std::vector<std::string_view>& texts,
                                               embed::TextKind, const Deadline& deadline,
                                               Progress&) const {
    PX_TRY(deadline.check());
    std::vector<float> vectors(texts.size() * width(), 0.0F);
    for (size_t i = 0; i < texts.size(); ++i) {
        float* const vector = vectors.data() + i * width();
        vector[0] = 0.01F;  // a text without words still has a direction
        for (const std::string& word : words_of(texts[i])) {
            const auto digest = sha256(word);
            vector[(size_t{digest[0]} * 256 + digest[1]) % width()] += 1.0F;
        }
        float norm = 0;
        for (size_t k = 0; k < width(); ++k) norm += vector[k] * vector[k];
        norm = std::sqrt(norm);
        for (size_t k = 0; k < width(); ++k) vector[k] /= norm;
    }
    return vectors;
}

size_t WordEncoder::count_tokens(std::string_view text) const { return words_of(text).size() + 2; }

struct DemoCompany::State {
    FixedClock clock{day("2026-11-20") + 3'600'000'000};
    WordEncoder encoder;
    std::filesystem::path folder;
    std::unique_ptr<engine::Engine> engine;
    store::MemoryObjectStore index_store{&clock};
    store::MemoryObjectStore lake{&clock};
    std::unique_ptr<catalog::Catalog> catalog;
    std::unique_ptr<index::VectorStore> vectors;
    std::unique_ptr<answer::ReleaseReader> releases;
    std::mutex mutex;
    std::map<std::string, std::string> landed;  ///< document_id → text

    Result<catalog::DocumentRow> land(const Paper& paper, std::vector<index::Point>& points);
    Result<void> release(std::string_view ds, std::string_view changed_text,
                         std::optional<index::ManifestId> base, index::ManifestId& manifest);
    Result<void> fill();
    /// Appends a batch to a table as its next version.
    Result<int64_t> append(const std::string& table, const columnar::RecordBatch& batch,
                           const lake::PartitionValues& partition);
    Result<std::map<std::string, int64_t>> write_tables(std::string_view ds,
                                                        std::string_view up_to);
};

Result<int64_t> DemoCompany::State::append(const std::string& table,
                                           const columnar::RecordBatch& batch,
                                           const lake::PartitionValues& partition) {
    const std::filesystem::path file = folder / "part.parquet";
    auto writer = PX_TRY(columnar::ParquetWriter::create(file, batch.schema(), {}));
    PX_TRY(writer->write(batch));
    const auto info = PX_TRY(writer->close());
    lake::Change change;
    lake::Add add;
    const std::string part_of =
        partition.at("ds").value_or("");  // equal rows of two days are two files
    add.path =
        fmt::format("part-{}.snappy.parquet", sha256_hex(part_of + info.sha256).substr(0, 32));
    add.partition_values = partition;
    add.size_bytes = info.size_bytes;
    add.modification_time_ms = clock.now() / 1000;
    add.stats_json = lake::make_stats_json(batch.schema(), info);
    PX_TRY(lake.put_file(table + "/" + add.path, file));
    const lake::DeltaTable delta(lake, table, clock);
    const auto base = PX_TRY(delta.snapshot());
    lake::DeltaTable writable(lake, table, clock);
    if (!base) {
        change.schema = batch.schema();
        for (const auto& [column, value] : partition) {
            change.schema->fields.push_back({column, {columnar::TypeId::String}, true});
            change.partition_columns.push_back(column);
        }
    }
    change.add.push_back(std::move(add));
    change.info.operation = "WRITE";
    return PX_TRY(writable.commit(base, change)).value;
}

Result<std::map<std::string, int64_t>> DemoCompany::State::write_tables(std::string_view ds,
                                                                        std::string_view up_to) {
    std::map<std::string, int64_t> versions;
    const lake::PartitionValues by_ds{{"ds", std::string(ds)}};
    for (const std::string source : {"filings", "reports"}) {
        columnar::RecordBatch batch(documents_table());
        int64_t cents = 123'456'789'012'345'67;
        for (const Paper& paper : kPapers) {
            if (paper.source != source || paper.id > up_to) continue;
            batch.column(0).append_bytes(paper.id);
            batch.column(1).append_bytes(paper.title);
            batch.column(2).append_bytes(paper.author);
            batch.column(3).append_bytes(paper.category);
            batch.column(4).append_int64(day(paper.date));
            if (source == "reports") {
                batch.column(5).append_int64(cents);
            } else {
                batch.column(5).append_null();
            }
            batch.column(6).append_bytes(paper.text);
            cents /= 100;
        }
        versions[source] = PX_TRY(append(source, batch, by_ds));
    }
    columnar::RecordBatch batch(quarantine_table());
    for (const Reject& reject : kRejects) {
        batch.column(0).append_bytes(reject.rule);
        batch.column(1).append_bytes(reject.column);
        batch.column(2).append_bytes(reject.value);
        batch.column(3).append_bytes(reject.reason);
        batch.column(4).append_bytes("data/reports/october.csv");
        batch.column(5).append_bytes("reports/2026-11-20/october");
        batch.column(6).append_int64(reject.line);
        batch.column(7).append_int64(reject.byte_start);
        batch.column(8).append_int64(reject.byte_end);
        batch.column(9).append_bytes(reject.raw);
    }
    versions["quarantine"] =
        PX_TRY(append("quarantine", batch, {{"source", "reports"}, {"ds", std::string(ds)}}));
    return versions;
}

Result<catalog::DocumentRow> DemoCompany::State::land(const Paper& paper,
                                                      std::vector<index::Point>& points) {
    catalog::DocumentRow row;
    row.document_id = fmt::format("{}/{}", paper.source, paper.id);
    row.source = paper.source;
    row.ds = "2026-11-20";
    row.id = paper.id;
    row.title = paper.title;
    row.author = paper.author;
    row.category = paper.category;
    row.created_at = day(paper.date);
    row.ingested_at = clock.now();
    row.path = paper.path;
    row.landed_sha256 = sha256_hex(paper.text);
    row.landed_key = fmt::format("{}/2026-11-20/{}", paper.source, row.landed_sha256);
    row.line = paper.source == "reports" ? 2 : 1;
    row.byte_end = static_cast<int64_t>(paper.text.size());
    row.text_sha256 = row.landed_sha256;
    row.text_length = static_cast<int64_t>(paper.text.size());
    landed[row.document_id] = paper.text;

    chunk::SplitterOptions splitter;
    splitter.size = 260;
    splitter.overlap = 0;
    const auto spans = PX_TRY(chunk::split(paper.text, splitter));
    for (const chunk::Span& span : spans) {
        index::Point point;
        point.document_id = row.document_id;
        point.source = row.source;
        point.ds = row.ds;
        point.title = row.title;
        point.author = row.author;
        point.category = row.category;
        point.created_at = row.created_at;
        point.span = span;
        point.text = paper.text.substr(static_cast<size_t>(span.start),
                                       static_cast<size_t>(span.end - span.start));
        point.id = index::identify(point);
        const std::string embedded = chunk::embedding_text(point.title, point.text);
        NoProgress progress;
        point.vector = PX_TRY(
            encoder.encode({embedded}, embed::TextKind::Passage, Deadline::never(), progress));
        points.push_back(std::move(point));
    }
    return row;
}

Result<void> DemoCompany::State::release(std::string_view ds, std::string_view up_to,
                                         std::optional<index::ManifestId> base,
                                         index::ManifestId& manifest) {
    const auto run = PX_TRY(catalog->begin_run(
        std::string(ds), "pipeline: demo_company\n# secrets: ${env:ORDERS_URL}\n", sha256_hex(ds)));
    catalog::Publication publication;
    std::vector<index::Point> points;
    std::vector<catalog::LandedFile> files;
    for (const std::string_view source : {"filings", "reports"}) {
        catalog::Publication::Partition partition;
        partition.source = source;
        partition.ds = "2026-11-20";
        for (const Paper& paper : kPapers) {
            if (paper.source != source) continue;
            if (paper.id > up_to) continue;
            partition.documents.push_back(PX_TRY(land(paper, points)));
            const auto& row = partition.documents.back();
            files.push_back({row.source, std::string(ds), row.path, row.landed_key,
                             row.landed_sha256, row.byte_end, clock.now()});
        }
        publication.documents.push_back(std::move(partition));
    }
    for (const std::string task :
         {"land", "stage.filings", "stage.reports", "gate", "embed", "publish"}) {
        const int attempt = PX_TRY(catalog->begin_task(run.id, task));
        clock.set(clock.now() + 1'700'000);
        PX_TRY(catalog->finish_task(run.id, task, attempt, "done", "", "{}"));
    }
    PX_TRY(catalog->record_landed(run.id, files));
    PX_TRY(catalog->record_checks(
        {{run.id, "reports", "published_at is not in the future", "0", "0", true}}));
    PX_TRY(catalog->record_quarantine(
        run.id, {{run.id, "reports", "type", 2}, {run.id, "reports", "required", 1}}));
    const auto chunk_count = static_cast<int64_t>(points.size());
    manifest = PX_TRY(vectors->apply(base, {}, std::move(points), Deadline::never()));
    auto& released = publication.release;
    released.run = run.id;
    released.ds = ds;
    released.published_at = clock.now();
    released.table_versions = PX_TRY(write_tables(ds, up_to));
    released.index_manifest = manifest.value;
    for (const auto& partition : publication.documents) {
        released.documents += static_cast<int64_t>(partition.documents.size());
    }
    released.chunks = chunk_count;
    publication.report = [chunk_count](const catalog::Release& made) {
        return fmt::format(
            R"({{"result":"published","sources":[{{"name":"filings","accepted":4,"quarantined":0}},{{"name":"reports","accepted":{},"quarantined":3}}],"chunks":{{"embed":{},"reuse":0,"delete":0,"total":{}}},"documents":{}}})",
            made.documents - 4, chunk_count, chunk_count, made.documents);
    };
    PX_TRY(catalog->publish(publication));
    return {};
}

Result<void> DemoCompany::State::fill() {
    index::ManifestId manifest;
    PX_TRY(release("2026-11-20", "r-1001", std::nullopt, manifest));
    clock.set(day("2026-11-21") + 3'600'000'000);
    const auto halted = PX_TRY(catalog->begin_run("2026-11-21", "pipeline: demo_company\n", "f1"));
    clock.set(clock.now() + 900'000);
    PX_TRY(catalog->finish_run(
        halted.id, catalog::RunState::Halted,
        "source reports: required column 'revenue' is missing (file data/reports/november.csv); "
        "found: id, title, author, published_at, category, turnover, text. Rename 'turnover' or "
        "change the contract",
        R"({"result":"halted","sources":[{"name":"reports","accepted":0,"quarantined":0}]})"));
    clock.set(day("2026-11-22") + 3'600'000'000);
    const auto same = PX_TRY(catalog->begin_run("2026-11-22", "pipeline: demo_company\n", "f2"));
    clock.set(clock.now() + 420'000);
    PX_TRY(catalog->finish_run(
        same.id, catalog::RunState::Unchanged, "",
        R"({"result":"unchanged","chunks":{"embed":0,"reuse":13,"delete":0,"total":13}})"));
    clock.set(day("2026-11-23") + 3'600'000'000);
    PX_TRY(release("2026-11-23", "~", manifest, manifest));
    clock.set(clock.now() + 120'000'000);
    PX_TRY(catalog->begin_run("2026-11-24", "pipeline: demo_company\n", "f3"));
    return {};
}

DemoCompany::DemoCompany() : state_(std::make_unique<State>()) {}
DemoCompany::~DemoCompany() = default;

Result<std::unique_ptr<DemoCompany>> DemoCompany::create(const std::filesystem::path& folder) {
    std::unique_ptr<DemoCompany> company(new DemoCompany());
    State& state = *company->state_;
    state.folder = folder;
    engine::LocalEngineOptions engine_options;
    engine_options.memory_limit_mb = 256;
    engine_options.thread_count = 1;
    engine_options.temp_directory = folder / "spill";
    state.engine = PX_TRY(engine::open_local_engine(engine_options));
    state.catalog = PX_TRY(catalog::open_sqlite_catalog(folder / "catalog.db",
                                                        catalog::OpenMode::ReadWrite, state.clock));
    state.vectors = PX_TRY(index::open_embedded_store(state.index_store));
    PX_TRY(state.fill());
    state.releases = std::make_unique<answer::ReleaseReader>(
        *state.catalog, *state.vectors, state.lake, *state.engine, state.clock);
    return company;
}

GatewayServices DemoCompany::services() {
    State* const state = state_.get();
    const auto rederive = [state](const catalog::DocumentRow& document,
                                  const Deadline& deadline) -> Result<std::string> {
        PX_TRY(deadline.check());
        const std::lock_guard lock(state->mutex);
        const auto text = state->landed.find(document.document_id);
        if (text == state->landed.end()) {
            return fail(ErrorCode::NotFound, "landed file " + document.landed_key + " is gone");
        }
        if (sha256_hex(text->second) != document.landed_sha256) {
            return fail(ErrorCode::Corrupt, "landed file " + document.landed_key +
                                                " has another SHA-256 than recorded");
        }
        return text->second;
    };
    return GatewayServices{.catalog = *state->catalog,
                           .releases = *state->releases,
                           .encoder = state->encoder,
                           .clock = state->clock,
                           .rederive = rederive,
                           .answer = {},
                           .query_limits = {},
                           .access = [](const http::Request&) -> Result<answer::Access> {
                               return answer::Access::everything();
                           },
                           .pipeline = "demo_company",
                           .version = "0.1.0"};
}

void DemoCompany::tamper(const std::string& document_id) {
    const std::lock_guard lock(state_->mutex);
    state_->landed[document_id] += " (edited)";
}

}  // namespace px::gateway
