// The row policy over every route: what somebody gets must be the same, byte for byte, as from a
// company that never had the rows he may not see.
#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <boost/json.hpp>
#include <cstdlib>
#include <map>
#include <random>
#include <regex>
#include <set>

#include "base/sha256.h"
#include "columnar/parquet_writer.h"
#include "engine/local/local_engine.h"
#include "gateway/demo_company.h"
#include "gateway/routes.h"
#include "http/target.h"
#include "index/embedded/embedded_store.h"
#include "lake/delta_table.h"
#include "store/local/local_object_store.h"
#include "store/memory/memory_object_store.h"
#include "testing/matchers.h"
#include "testing/temp_dir.h"

namespace px::gateway {
namespace {

namespace json = boost::json;
using px::testing::IsOk;
using Groups = std::vector<std::string>;

/// A row of the source "notes", or of "papers", which everybody may read.
struct Note {
    std::string source, id, title, author, category, text;
    std::optional<std::string> acl;  ///< as it stands in the column
    bool lacks_acl = false;          ///< its document was released before there was a policy
};

/// What an acl says, once more and by itself.
bool may_read(const Note& note, const Groups& groups) {
    if (note.source == "papers") return true;
    if (note.lacks_acl || !note.acl) return false;
    std::stringstream list(*note.acl);
    for (std::string group; std::getline(list, group, ',');) {
        group = std::regex_replace(group, std::regex("^[ \t\r\n]+|[ \t\r\n]+$"), "");
        if (group == "*" || std::ranges::find(groups, group) != groups.end()) return true;
    }
    return false;
}

/// Tells how many sessions were opened.
class CountingEngine final : public engine::Engine {
  public:
    explicit CountingEngine(std::unique_ptr<engine::Engine> engine) : engine_(std::move(engine)) {}
    Result<std::unique_ptr<engine::Session>> open_session() override {
        ++sessions;
        return engine_->open_session();
    }
    std::string version() const override { return engine_->version(); }
    int sessions = 0;

  private:
    std::unique_ptr<engine::Engine> engine_;
};

/// Two releases over catalog, index, lake and engine.
class World {
  public:
    explicit World(const std::vector<std::vector<Note>>& releases) {
        engine::LocalEngineOptions options;
        options.memory_limit_mb = 256;
        options.thread_count = 1;
        options.temp_directory = folder_ / "spill";
        engine_ = std::make_unique<CountingEngine>(engine::open_local_engine(options).value());
        std::filesystem::create_directory(folder_ / "lake");
        lake_ = store::open_object_store("./lake", folder_.path()).value();
        catalog_ = catalog::open_sqlite_catalog(folder_ / "catalog.db",
                                                catalog::OpenMode::ReadWrite, clock_)
                       .value();
        vectors_ = index::open_embedded_store(objects_).value();
        for (const auto& notes : releases) publish(notes);
        answer::ReleaseReaderOptions reading;
        reading.scratch_directory = folder_ / "scratch";
        reading.policy.tables = {{"notes", {"readers"}},
                                 {"papers", {}},
                                 {"authors_of_notes", {"readers"}},
                                 {"totals", {"readers"}}};
        reader_ = std::make_unique<answer::ReleaseReader>(*catalog_, *vectors_, *lake_, *engine_,
                                                          clock_, reading);
        services_ = std::make_unique<GatewayServices>(GatewayServices{
            .catalog = *catalog_,
            .releases = *reader_,
            .encoder = encoder_,
            .clock = clock_,
            .rederive = [this](const catalog::DocumentRow& document, const Deadline&)
                -> Result<std::string> { return texts_.at(document.landed_key); },
            .answer = {},
            .query_limits = {},
            .access = [this](const http::Request&) -> Result<answer::Access> {
                if (refuses_) return fail(ErrorCode::Unauthenticated, "the key is unknown");
                return access_;
            },
            .pipeline = "world",
            .version = "1"});
        routes_ = std::make_unique<Routes>(*services_, options_);
    }

    /// Status and body, without what is another at each request.
    std::string send(const answer::Access& access, const std::string& method,
                     std::string_view target, std::string body) {
        access_ = access;
        http::Request request;
        request.method = method;
        const auto parts = http::parse_target(target).value();
        request.path = parts.path;
        request.query = parts.query;
        request.headers = {{"Host", "localhost:8501"}, {"X-Request-Id", "same"}};
        request.body = std::move(body);
        http::Response response = routes_->handle(request);
        struct Collector final : http::StreamWriter {
            std::string bytes;
            Result<void> write(std::string_view piece) override {
                bytes += piece;
                return {};
            }
        } collector;
        if (response.stream) {
            EXPECT_TRUE(response.stream(collector));
            response.body = collector.bytes;
        }
        std::string text(response.static_body.empty() ? response.body : response.static_body);
        static const std::regex kElapsed(R"("elapsed_ms":[-0-9.eE+]+)");
        text = std::regex_replace(text, kElapsed, "");
        for (const auto& header : response.headers)
            text += "\n" + header.name + ": " + header.value;
        return fmt::format("{}\n{}", response.status, text);
    }
    void refuse_all() { refuses_ = true; }
    int sessions() const { return engine_->sessions; }
    std::vector<std::string> chunk_ids() const { return chunk_ids_; }
    std::vector<std::string> document_ids() const { return document_ids_; }

  private:
    int64_t write_table(const std::string& name, const columnar::Schema& schema,
                        const columnar::RecordBatch& batch) {
        auto writer = columnar::ParquetWriter::create(folder_ / "part", schema, {}).value();
        if (batch.row_count() > 0) {
            EXPECT_THAT(writer->write(batch), IsOk());
        }
        const auto info = writer->close().value();
        const std::string path = fmt::format("part-{}.parquet", ++files_);
        EXPECT_THAT(lake_->put_file(name + "/" + path, folder_ / "part"), IsOk());
        lake::DeltaTable table(*lake_, name, clock_);
        const auto base = table.snapshot().value();
        lake::Change change;
        if (base) {
            for (const lake::Add& add : base->files) change.remove.push_back(add.path);
        } else {
            change.schema = schema;
        }
        change.add.push_back(
            {path, {}, info.size_bytes, 0, true, lake::make_stats_json(schema, info)});
        return table.commit(base, change).value().value;
    }

    static columnar::Schema strings(const std::vector<std::string>& names) {
        columnar::Schema schema;
        for (const std::string& name : names)
            schema.fields.push_back({name, {columnar::TypeId::String}, true});
        return schema;
    }

    void publish(const std::vector<Note>& notes) {
        const std::string ds = "2026-11-23";
        clock_.set(clock_.now() + 3'600'000'000);
        catalog::Publication publication;
        publication.release.run = catalog_->begin_run(ds, "pipeline: world\n", "").value().id;
        publication.release.ds = ds;
        auto& versions = publication.release.table_versions;
        const auto schema =
            strings({"id", "title", "author", "category", "text", "readers", "_px_file"});
        for (const std::string source : {"notes", "papers"}) {
            columnar::RecordBatch batch(schema);
            catalog::Publication::Partition partition{source, std::nullopt, {}};
            for (const Note& note : notes) {
                if (note.source != source) continue;
                size_t column = 0;
                for (const std::string* text :
                     {&note.id, &note.title, &note.author, &note.category, &note.text})
                    batch.column(column++).append_bytes(*text);
                if (note.acl && !note.lacks_acl) {
                    batch.column(column++).append_bytes(*note.acl);
                } else {
                    batch.column(column++).append_null();
                }
                batch.column(column).append_bytes("landed/" + note.id);
                partition.documents.push_back(document(note, ds));
            }
            versions[source] = write_table(source, schema, batch);
            publication.documents.push_back(std::move(partition));
        }
        // A model that carries the column, one that does not, and what no acl covers.
        columnar::RecordBatch authors(strings({"author", "readers"}));
        columnar::RecordBatch totals(strings({"all_titles"}));
        std::string all;
        for (const Note& note : notes) {
            all += note.title + " ";
            if (note.source != "notes" || note.lacks_acl) continue;
            authors.column(0).append_bytes(note.author);
            if (note.acl) {
                authors.column(1).append_bytes(*note.acl);
            } else {
                authors.column(1).append_null();
            }
        }
        totals.column(0).append_bytes(all);
        versions["authors_of_notes"] =
            write_table("authors_of_notes", strings({"author", "readers"}), authors);
        for (const std::string name : {"totals", "quarantine", "chunks", "table_of_old"})
            versions[name] = write_table(name, strings({"all_titles"}), totals);
        for (const Note& note : notes) add_points(note, ds);
        // In two steps: segments of which nobody may see a point, and mixed ones.
        const auto half = added_.begin() + static_cast<std::ptrdiff_t>(added_.size() / 2);
        manifest_ = vectors_
                        ->apply(std::nullopt, {}, std::vector<index::Point>(added_.begin(), half),
                                Deadline::never())
                        .value();
        manifest_ = vectors_
                        ->apply(manifest_, {}, std::vector<index::Point>(half, added_.end()),
                                Deadline::never())
                        .value();
        added_.clear();
        publication.release.index_manifest = manifest_->value;
        publication.release.chunks = static_cast<int64_t>(chunk_ids_.size());
        EXPECT_THAT(catalog_->publish(publication), IsOk());
    }

    catalog::DocumentRow document(const Note& note, const std::string& ds) {
        catalog::DocumentRow row;
        row.document_id = note.source + "/" + note.id;
        row.source = note.source;
        row.ds = ds;
        row.id = note.id;
        row.title = note.title;
        row.author = note.author;
        row.category = note.category;
        row.ingested_at = 1;
        row.path = "data/" + note.id;
        row.landed_sha256 = sha256_hex(note.text);
        row.landed_key = note.source + "/" + note.id;
        row.line = 3;
        row.byte_end = static_cast<int64_t>(note.text.size());
        row.text_sha256 = sha256_hex(note.text);
        row.text_length = static_cast<int64_t>(note.text.size());
        if (const auto acl = acl_groups(note)) {
            row.extra_json = json::serialize(json::object{
                {"acl", json::array(acl->begin(), acl->end())}, {"acl_column", "readers"}});
        }
        texts_[row.landed_key] = note.text;
        document_ids_.push_back(row.document_id);
        return row;
    }
    static std::optional<Groups> acl_groups(const Note& note) {
        if (note.source == "papers" || note.lacks_acl) return std::nullopt;
        std::set<std::string> groups;
        std::stringstream list(note.acl.value_or(""));
        for (std::string group; std::getline(list, group, ',');) {
            group = std::regex_replace(group, std::regex("^[ \t\r\n]+|[ \t\r\n]+$"), "");
            if (!group.empty()) groups.insert(group);
        }
        return Groups(groups.begin(), groups.end());
    }
    void add_points(const Note& note, const std::string& ds) {
        for (const chunk::Span span : chunk::split(note.text, {.size = 90, .overlap = 0}).value()) {
            index::Point point;
            point.document_id = note.source + "/" + note.id;
            point.source = note.source;
            point.ds = ds;
            point.title = note.title;
            point.author = note.author;
            point.category = note.category;
            point.acl = acl_groups(note);
            point.span = span;
            point.text = note.text.substr(static_cast<size_t>(span.start),
                                          static_cast<size_t>(span.end - span.start));
            point.id = index::identify(point);
            NoProgress progress;
            point.vector = encoder_
                               .encode({chunk::embedding_text(point.title, point.text)},
                                       embed::TextKind::Passage, Deadline::never(), progress)
                               .value();
            chunk_ids_.push_back(point.id.value);
            added_.push_back(std::move(point));
        }
    }

    px::testing::TempDir folder_;
    FixedClock clock_{1'763'884'800'000'000};
    store::MemoryObjectStore objects_;
    std::unique_ptr<store::ObjectStore> lake_;
    std::unique_ptr<CountingEngine> engine_;
    std::unique_ptr<catalog::Catalog> catalog_;
    std::unique_ptr<index::VectorStore> vectors_;
    std::optional<index::ManifestId> manifest_;
    WordEncoder encoder_;
    std::unique_ptr<answer::ReleaseReader> reader_;
    std::unique_ptr<GatewayServices> services_;
    GatewayOptions options_;
    std::unique_ptr<Routes> routes_;
    answer::Access access_;
    bool refuses_ = false;
    std::map<std::string, std::string> texts_;
    std::vector<std::string> chunk_ids_, document_ids_;
    std::vector<index::Point> added_;
    int files_ = 0;
};

constexpr const char* kWords[] = {"revenue", "outlook", "growth", "copper", "board",  "budget",
                                  "pump",    "seal",    "energy", "plant",  "hiring", "service"};
constexpr const char* kGroups[] = {"finance", "board", "people", "it", "o'neil \"x\""};

class Dice {
  public:
    explicit Dice(uint64_t seed) : random_(seed) {}
    size_t below(size_t n) { return random_() % n; }
    const char* word() { return kWords[below(std::size(kWords))]; }
    std::string acl() {
        if (below(8) == 0) return below(2) == 0 ? " *\t" : " ,\r\n ";
        std::string text;
        for (size_t i = 0, n = 1 + below(3); i < n; ++i)
            text += fmt::format("{}{}{}", i == 0 ? "" : ",", below(2) == 0 ? " \t" : "",
                                kGroups[below(std::size(kGroups))]);
        return text;
    }
    Note note(int number, bool open) {
        // What tells of this row alone, in each of its fields.
        const std::string token = fmt::format("zq{}x", number);
        Note note;
        note.source = open ? "papers" : "notes";
        note.id = fmt::format("n{}-{}", number, token);
        note.title = fmt::format("{} {} {}", word(), word(), token);
        note.author = below(3) == 0 ? "Ada Verne" : fmt::format("Author {}a", token);
        note.category = below(2) == 0 ? "Finance" : fmt::format("Kind {}c", token);
        for (size_t i = 0, n = 2 + below(5); i < n; ++i) {
            note.text += fmt::format("The {} of the {} {} reached {} percent in {}t. ", word(),
                                     word(), word(), below(90), token);
        }
        if (below(9) != 0) note.acl = acl();
        note.lacks_acl = below(12) == 0;
        return note;
    }

  private:
    std::mt19937_64 random_;
};

struct Sent {
    std::string method, target, body;
};

std::string text_json(std::string_view text) { return json::serialize(json::value(text)); }

/// One request of each kind; hidden: something the reader may not see, named in it.
std::vector<Sent> requests(Dice& dice, const World& world, const Note& any) {
    const std::string release = fmt::format("{}", 1 + dice.below(2));
    const std::string question =
        fmt::format("What {} of the {} {}?", dice.word(), dice.word(),
                    dice.below(3) == 0 ? any.title : std::string(dice.word()));
    const char* modes[] = {"hybrid", "dense", "lexical"};
    const auto chunks = world.chunk_ids();
    const std::string chunk = chunks[dice.below(chunks.size())];
    const std::string document = any.source + "/" + any.id;
    std::vector<Sent> all;
    const auto get = [&](std::string target) { all.push_back({"GET", std::move(target), ""}); };
    const auto post = [&](std::string target, std::string body) {
        all.push_back({"POST", std::move(target), std::move(body)});
    };
    post("/search",
         fmt::format(R"({{"question":{},"top_k":{}}})", text_json(question), 1 + dice.below(60)));
    post("/v1/search",
         fmt::format(R"({{"question":{},"top_k":{},"mode":"{}","as_of":"{}"}})",
                     text_json(question), 1 + dice.below(100), modes[dice.below(3)], release));
    post("/v1/search", fmt::format(R"({{"question":{},"filters":{{"author":[{}]}},"as_of":"{}"}})",
                                   text_json(question), text_json(any.author), release));
    get(fmt::format("/v1/search?question={}&top_k=50&recency_days=30", any.id));
    post("/v1/ask", fmt::format(R"({{"question":{},"as_of":"{}"}})", text_json(question), release));
    post("/v1/ask", fmt::format(R"({{"question":{},"stream":true}})",
                                text_json("What did " + any.author + " say of " + dice.word())));
    get(fmt::format("/v1/citations/{}?as_of={}", chunk, release));
    post(
        "/v1/verify",
        fmt::format(
            R"({{"citation":{{"n":1,"quote":"The","chunk_id":"{}","document_id":{},"title":{},"author":"","date":"","category":"","source":{{"file":"data/{}","landed":{},"sha256":"{}","line":3,"byte_start":0,"byte_end":3}},"table":"{}","version":0,"release":{},"text_start":0,"text_end":3}}}})",
            chunk, text_json(document), text_json(any.title), any.id, text_json(document),
            sha256_hex(any.text), any.source, release));
    get(fmt::format("/v1/documents?limit={}&offset={}&as_of={}", 1 + dice.below(30), dice.below(20),
                    release));
    get("/v1/documents?limit=1000");
    get("/v1/tables?as_of=" + release);
    get("/v1/quarantine");
    get("/v1/runs");
    get("/v1/runs/2026-11-23-0001");
    get("/v1/releases");
    get("/health");
    get("/metrics");
    const std::string token = any.id.substr(any.id.find('-') + 1);
    for (const std::string& sql : {
             std::string("select * from notes order by id"),
             std::string(
                 "select count(*), min(title), max(text), count(distinct readers) from notes"),
             std::string("select author, count(*) from documents group by all order by all"),
             std::string("select * from analytics_metadata order by document_id"),
             std::string("select * from authors_of_notes order by all"),
             std::string("select * from totals"),
             std::string("select * from quarantine"),
             std::string("select * from chunks"),
             std::string("select * from table_of_old"),
             // What stands in a row must not come out by an error of its own.
             std::string("select cast(title as integer) from notes"),
             std::string("select count(*) from notes where cast(text as date) > date '2020-01-01'"),
             fmt::format("select case when id like '%{}%' then error(title) end from notes", token),
             fmt::format("select 1 from notes where id like '%{}%' and 1 / (length(title) - "
                         "length(title)) > 0",
                         token),
             fmt::format("select exists (select 1 from notes n, papers p where n.id like '%{}%')",
                         token),
             fmt::format("select (select title from notes where id like '%{}%')", token),
             std::string("select n.title from notes n full join papers p on n.author = p.author "
                         "order by all"),
             std::string("with t as (select * from notes) select sum(length(text)) from t"),
             fmt::format("select * from \"NOTES\" where readers is null or title like '%{}%'",
                         token),
             std::string("select * from notes using sample 100 percent (bernoulli, 1)"),
             std::string("select nothing from notes"),
             std::string("summarize notes"),
         }) {
        post("/v1/sql", fmt::format(R"({{"sql":{},"as_of":"{}"}})", text_json(sql), release));
    }
    return all;
}

TEST(RowPolicy, EverybodyGetsWhatHeWouldGetIfTheRestDidNotExist) {
    constexpr uint64_t kSeed = 20261123;
    int compared = 0, with_answer = 0;
    // More of them by PX_POLICY_ROUNDS: each compares about 900 answers.
    const char* const asked = std::getenv("PX_POLICY_ROUNDS");
    const uint64_t rounds = asked == nullptr ? 2 : std::strtoull(asked, nullptr, 10);
    for (uint64_t round = 0; round < rounds; ++round) {
        Dice dice(kSeed + round);
        std::vector<std::vector<Note>> releases(2);
        for (int i = 0; i < 36; ++i) releases[0].push_back(dice.note(i, i % 4 == 0));
        // Rows change hands, some go, some come.
        releases[1] = releases[0];
        for (Note& note : releases[1]) {
            if (dice.below(3) == 0) note.acl = dice.acl();
        }
        releases[1].erase(releases[1].begin() + 5);
        for (int i = 36; i < 44; ++i) releases[1].push_back(dice.note(i, i % 4 == 0));
        World world(releases);
        for (const Groups& groups : {Groups{},
                                     {"finance"},
                                     {"board", "people"},
                                     {"finance", "board", "people", "it"},
                                     {"o'neil \"x\""},
                                     {"nobody"},
                                     {"*"},
                                     {" it "}}) {
            const answer::Access access = answer::Access::of(groups);
            std::vector<std::vector<Note>> own(2);
            std::set<std::string> hidden, shown;
            for (size_t r = 0; r < 2; ++r) {
                for (const Note& note : releases[r]) {
                    const std::string token = note.id.substr(note.id.find('-') + 1);
                    const bool sees = may_read(note, access.groups);
                    (sees ? shown : hidden).insert(token);
                    if (sees) own[r].push_back(note);
                }
            }
            World alone(own);
            for (int turn = 0; turn < 3; ++turn) {
                const auto& notes = releases[dice.below(2)];
                const Note& any = notes[dice.below(notes.size())];
                for (const Sent& sent : requests(dice, world, any)) {
                    const std::string got = world.send(access, sent.method, sent.target, sent.body);
                    const std::string expected =
                        alone.send(access, sent.method, sent.target, sent.body);
                    ASSERT_EQ(got, expected)
                        << "seed " << kSeed + round << ", groups "
                        << fmt::format("{}", fmt::join(groups, ",")) << ": " << sent.method << " "
                        << sent.target << " " << sent.body;
                    ++compared;
                    with_answer += got.starts_with("200") ? 1 : 0;
                    // And nothing that stands in a hidden row alone, but for what was asked.
                    std::string answer = got;
                    for (const std::string& token : hidden) {
                        if (shown.contains(token) ||
                            (sent.body + sent.target).find(token) != std::string::npos)
                            continue;
                        ASSERT_EQ(answer.find(token), std::string::npos)
                            << sent.target << " " << sent.body << ": " << token;
                    }
                }
            }
        }
        // Sessions are kept for the next query of the same reader: one for a release and reader
        // each, besides those that made the files of his rows and grew by a table.
        EXPECT_LT(world.sessions(), 8 * 2 * 12) << "of " << compared << " answers";
        // Who is not restricted sees every row, in the same process, before and after.
        const std::string all = world.send(
            answer::Access::everything(), "POST", "/v1/sql",
            R"({"sql":"select count(*) from notes union all select count(*) from quarantine"})");
        EXPECT_THAT(all,
                    ::testing::HasSubstr(fmt::format(
                        "[[{}],[1]]", std::ranges::count(releases[1], "notes", &Note::source))));
    }
    std::printf("%d answers compared, %d of them with status 200\n", compared, with_answer);
    EXPECT_GT(with_answer, static_cast<int>(450 * rounds));
}

TEST(RowPolicy, WhoCantBeNamedGetsNothing) {
    // A gateway that was not told who asks lets nobody see a restricted row.
    Dice dice(7);
    std::vector<Note> notes;
    for (int i = 0; i < 12; ++i) notes.push_back(dice.note(i, i % 3 == 0));
    World world({notes});
    const std::string rows = world.send({}, "POST", "/v1/sql", R"({"sql":"select id from notes"})");
    for (const Note& note : notes) {
        if (note.source == "notes" && !may_read(note, {})) {
            EXPECT_EQ(rows.find(note.id), std::string::npos);
        }
    }
}

TEST(RowPolicy, WhoIsRefusedLearnsNothing) {
    Dice dice(8);
    World world({{dice.note(1, false), dice.note(2, true)}});
    world.refuse_all();
    for (const char* target : {"/v1/tables", "/v1/documents", "/v1/releases", "/v1/runs"}) {
        const std::string answer = world.send(answer::Access::everything(), "GET", target, "");
        EXPECT_TRUE(answer.starts_with("401\n")) << answer;
        EXPECT_EQ(answer.find("notes"), std::string::npos);
    }
}

TEST(RowPolicy, AccessIsKeptApartByItsKey) {
    using answer::Access;
    EXPECT_EQ(Access::of({"b", " a ", "a", "", "x,y"}).groups, (Groups{"a", "b"}));
    std::set<std::string> keys;
    const std::vector<Access> all{
        Access::everything(),    Access::of({}),     Access::of({"a"}),   Access::of({"a", "b"}),
        Access::of({"a b"}),     Access::of({"ab"}), Access::of({"1:a"}), Access::of({"a 1:b"}),
        Access::of({"a", "b1"}), Access::of({"all"})};
    for (const Access& access : all) keys.insert(access.key());
    EXPECT_EQ(keys.size(), all.size());
    EXPECT_FALSE(Access().unrestricted);
    EXPECT_FALSE(Access().may_read({}));
    EXPECT_FALSE(Access::of({"*"}).may_read({"a"})) << "everybody is no group to be a member of";
    EXPECT_TRUE(Access().may_read({"*"}));
}

}  // namespace
}  // namespace px::gateway
