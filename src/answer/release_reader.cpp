#include "answer/release_reader.h"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <condition_variable>
#include <list>
#include <map>
#include <mutex>
#include <utility>

namespace px::answer {

namespace {

constexpr TimestampMicros kSecond = 1'000'000;
constexpr TimestampMicros kDay = 86'400 * kSecond;
constexpr int64_t kDocumentsAtOnce = 10'000;
constexpr std::chrono::milliseconds kWaitMax{3'600'000};
constexpr std::string_view kDocumentTables[] = {"documents", "analytics_metadata"};

bool all_digits(std::string_view text) {
    return !text.empty() &&
           std::all_of(text.begin(), text.end(), [](char c) { return c >= '0' && c <= '9'; });
}

/// Two digits at `at`, at most `most`.
std::optional<int64_t> two_digits(std::string_view text, size_t at, int64_t most) {
    if (at + 2 > text.size() || !all_digits(text.substr(at, 2))) return std::nullopt;
    const int64_t value = (text[at] - '0') * 10 + (text[at + 1] - '0');
    if (value > most) return std::nullopt;
    return value;
}

/// The micros of "THH:MM[:SS[.ffffff]][Z|±HH:MM]" within its day; an offset is taken away. nullopt:
/// not such a text.
std::optional<int64_t> parse_time_of_day(std::string_view text) {
    if (text.empty() || (text[0] != 'T' && text[0] != 't' && text[0] != ' ')) return std::nullopt;
    const auto hour = two_digits(text, 1, 23);
    const auto minute = two_digits(text, 4, 59);
    if (!hour || !minute || text[3] != ':') return std::nullopt;
    int64_t micros = (*hour * 60 + *minute) * 60 * kSecond;
    size_t at = 6;
    if (at < text.size() && text[at] == ':') {
        const auto second = two_digits(text, at + 1, 59);
        if (!second) return std::nullopt;
        micros += *second * kSecond;
        at += 3;
        if (at < text.size() && text[at] == '.') {
            int64_t unit = kSecond / 10;
            const size_t first = ++at;
            for (; at < text.size() && text[at] >= '0' && text[at] <= '9'; ++at, unit /= 10)
                micros += (text[at] - '0') * unit;
            if (at == first || at - first > 9) return std::nullopt;
        }
    }
    const std::string_view zone = text.substr(at);
    if (zone.empty() || zone == "Z" || zone == "z") return micros;
    const auto zone_hour = two_digits(zone, 1, 14);
    const auto zone_minute = two_digits(zone, zone.size() == 6 ? 4 : 3, 59);
    if ((zone[0] != '+' && zone[0] != '-') || !zone_hour || !zone_minute ||
        !((zone.size() == 6 && zone[3] == ':') || zone.size() == 5)) {
        return std::nullopt;
    }
    const int64_t offset = (*zone_hour * 60 + *zone_minute) * 60 * kSecond;
    return zone[0] == '+' ? micros - offset : micros + offset;
}

columnar::Schema documents_schema() {
    using columnar::DataType;
    using columnar::TypeId;
    const DataType text{TypeId::String};
    const DataType number{TypeId::Int64};
    const DataType time{TypeId::Timestamp};
    return {{{"document_id", text, false},
             {"source", text, false},
             {"ds", text, false},
             {"id", text, false},
             {"title", text, true},
             {"author", text, true},
             {"category", text, true},
             {"created_at", time, true},
             {"ingested_at", time, false},
             {"file", text, false},
             {"landed", text, false},
             {"sha256", text, false},
             {"line", number, false},
             {"byte_start", number, false},
             {"byte_end", number, false},
             {"text_sha256", text, false},
             {"text_length", number, false}}};
}

void append_document(columnar::RecordBatch& batch, const catalog::DocumentRow& row) {
    size_t column = 0;
    const auto text = [&](const std::string& value) { batch.column(column++).append_bytes(value); };
    const auto optional_text = [&](const std::string& value) {
        if (value.empty()) {
            batch.column(column++).append_null();
        } else {
            batch.column(column++).append_bytes(value);
        }
    };
    const auto number = [&](int64_t value) { batch.column(column++).append_int64(value); };
    text(row.document_id);
    text(row.source);
    text(row.ds);
    text(row.id);
    optional_text(row.title);
    optional_text(row.author);
    optional_text(row.category);
    if (row.created_at) {
        number(*row.created_at);
    } else {
        batch.column(column++).append_null();
    }
    number(row.ingested_at);
    text(row.path);
    text(row.landed_key);
    text(row.landed_sha256);
    number(row.line);
    number(row.byte_start);
    number(row.byte_end);
    text(row.text_sha256);
    number(row.text_length);
}

/// A file of ours that goes when nobody uses it any more.
struct TemporaryFile {
    std::filesystem::path path;
    explicit TemporaryFile(std::filesystem::path file) : path(std::move(file)) {}
    TemporaryFile(const TemporaryFile&) = delete;
    TemporaryFile& operator=(const TemporaryFile&) = delete;
    ~TemporaryFile() {
        std::error_code ignored;
        std::filesystem::remove(path, ignored);
    }
};

/// The tables of one release, as sessions and listings want them. Immutable.
struct Tables {
    std::vector<engine::TableSource> sources;
    std::vector<TableInfo> infos;
    std::shared_ptr<const TemporaryFile> documents;
};

struct Opened {
    int64_t release = 0;
    std::shared_ptr<const ReleaseView> view;
    std::shared_ptr<const Tables> tables;  ///< once somebody asked for them
};

bool equal_ignoring_case(char a, char b) { return (a | 0x20) == (b | 0x20); }

bool mentions(std::string_view sql, std::string_view name) {
    return std::search(sql.begin(), sql.end(), name.begin(), name.end(), equal_ignoring_case) !=
           sql.end();
}

}  // namespace

Result<AsOf> parse_as_of(std::string_view text) {
    const auto bad = [&] {
        return fail(
            ErrorCode::InvalidArgument,
            fmt::format("\"{}\" names no release and no time", text.substr(0, 64)),
            "Write a release id (12), a day (2026-11-23) or a time (2026-11-23T08:00:00Z).");
    };
    AsOf as_of;
    if (text.empty()) return as_of;
    if (all_digits(text)) {
        if (text.size() > 18) return bad();
        int64_t id = 0;
        for (const char c : text) id = id * 10 + (c - '0');
        if (id == 0) return bad();
        as_of.release = id;
        return as_of;
    }
    if (text.size() < 10) return bad();
    const auto day = parse_date(text.substr(0, 10));
    if (!day) return bad();
    const TimestampMicros midnight = static_cast<TimestampMicros>(*day) * kDay;
    if (text.size() == 10) {
        as_of.time = midnight + kDay - 1;
        return as_of;
    }
    const auto time = parse_time_of_day(text.substr(10));
    if (!time) return bad();
    as_of.time = midnight + *time;
    return as_of;
}

Result<std::optional<std::string>> why_not_served(catalog::Catalog& catalog,
                                                  const catalog::Release& release) {
    for (const catalog::CheckResult& check : PX_TRY(catalog.checks(release.run))) {
        if (check.source == "serve" && check.check == "promote_if" && !check.passed)
            return std::optional(fmt::format("{} (demanded: {})", check.actual, check.expected));
    }
    return std::optional<std::string>();
}

struct ReleaseReader::State {
    catalog::Catalog& catalog;
    index::VectorStore& vectors;
    store::ObjectStore& lake;
    engine::Engine& engine;
    const Clock& clock;
    ReleaseReaderOptions options;

    std::mutex mutex;
    std::list<Opened> opened;  // most recently used first

    std::mutex places_mutex{};
    std::condition_variable_any place_free{};
    size_t places_taken = 0;

    std::mutex served_mutex{};
    std::map<int64_t, std::optional<std::string>> served{};  // what why_not_served said; bounded

    Result<std::optional<std::string>> not_served(const catalog::Release& release) {
        constexpr size_t kKept = 1'000;
        {
            const std::lock_guard lock(served_mutex);
            if (const auto known = served.find(release.id.value); known != served.end())
                return known->second;
        }
        auto why = PX_TRY(why_not_served(catalog, release));
        const std::lock_guard lock(served_mutex);
        if (served.size() >= kKept) served.erase(served.begin());
        served[release.id.value] = why;
        return why;
    }

    std::shared_ptr<const ReleaseView> find(int64_t release) {
        const std::lock_guard lock(mutex);
        const auto at = std::find_if(opened.begin(), opened.end(),
                                     [&](const Opened& entry) { return entry.release == release; });
        if (at == opened.end()) return nullptr;
        opened.splice(opened.begin(), opened, at);
        return at->view;
    }

    std::shared_ptr<const ReleaseView> keep(std::shared_ptr<const ReleaseView> view) {
        const std::lock_guard lock(mutex);
        const int64_t release = view->release.id.value;
        const auto at = std::find_if(opened.begin(), opened.end(),
                                     [&](const Opened& entry) { return entry.release == release; });
        if (at != opened.end()) return at->view;  // another thread was first
        opened.push_front({release, view, nullptr});
        while (opened.size() > std::max<size_t>(1, options.open_views)) opened.pop_back();
        return view;
    }

    Result<std::shared_ptr<const Tables>> tables(const ReleaseView& view) {
        const int64_t release = view.release.id.value;
        {
            const std::lock_guard lock(mutex);
            for (const Opened& entry : opened) {
                if (entry.release == release && entry.tables) return entry.tables;
            }
        }
        auto read = PX_TRY(read_tables(view));
        const std::lock_guard lock(mutex);
        for (Opened& entry : opened) {
            if (entry.release != release) continue;
            if (!entry.tables) entry.tables = read;
            return entry.tables;
        }
        return read;
    }

    Result<std::shared_ptr<const Tables>> read_tables(const ReleaseView& view) {
        auto tables = std::make_shared<Tables>();
        for (const auto& [name, version] : view.release.table_versions) {
            const lake::DeltaTable table(lake, name, clock);
            const lake::Snapshot snapshot = PX_TRY(table.snapshot_at({version}).context(
                fmt::format("table {} of release {}", name, view.release.id.value)));
            engine::TableSource source{name, snapshot.schema, {}};
            TableInfo info{name,
                           version,
                           snapshot.schema,
                           snapshot.partition_columns,
                           static_cast<int64_t>(snapshot.files.size()),
                           0,
                           snapshot.row_count()};
            for (const lake::Add& add : snapshot.files) {
                engine::TableFile file;
                file.path = name + "/" + add.path;  // its key: session() asks for the file
                for (const std::string& column : snapshot.partition_columns) {
                    const auto value = add.partition_values.find(column);
                    file.partition_values.emplace_back(
                        column, value == add.partition_values.end() ? std::nullopt : value->second);
                }
                source.files.push_back(std::move(file));
                info.size_bytes += add.size_bytes;
            }
            tables->sources.push_back(std::move(source));
            tables->infos.push_back(std::move(info));
        }
        return std::shared_ptr<const Tables>(std::move(tables));
    }

    /// The metadata of a release as a Parquet file, for SQL; written when a query first names it.
    Result<std::shared_ptr<const TemporaryFile>> documents(const ReleaseView& view) {
        const int64_t release = view.release.id.value;
        {
            const std::lock_guard lock(mutex);
            for (const Opened& entry : opened) {
                if (entry.release == release && entry.tables && entry.tables->documents)
                    return entry.tables->documents;
            }
        }
        static std::atomic<uint64_t> counter{0};
        std::error_code error;
        std::filesystem::path folder = options.scratch_directory;
        if (folder.empty()) folder = std::filesystem::temp_directory_path(error);
        if (error) folder = "/tmp";
        std::filesystem::create_directories(folder, error);
        const auto file = std::make_shared<const TemporaryFile>(
            folder / fmt::format("px-documents-{}-{}-{}.parquet", ::getpid(), release,
                                 counter.fetch_add(1)));
        std::filesystem::remove(file->path, error);  // of a crashed process with the same number
        auto writer = PX_TRY(columnar::ParquetWriter::create(file->path, documents_schema(), {}));
        columnar::RecordBatch batch(documents_schema());
        for (int64_t offset = 0;; offset += kDocumentsAtOnce) {
            const auto rows = PX_TRY(catalog.documents(view.release.id, kDocumentsAtOnce, offset));
            batch.clear();
            for (const catalog::DocumentRow& row : rows) append_document(batch, row);
            if (!rows.empty()) PX_TRY(writer->write(batch));
            if (static_cast<int64_t>(rows.size()) < kDocumentsAtOnce) break;
        }
        PX_TRY(writer->close());
        const std::lock_guard lock(mutex);
        for (Opened& entry : opened) {
            if (entry.release != release || !entry.tables) continue;
            if (entry.tables->documents) return entry.tables->documents;
            auto with = std::make_shared<Tables>(*entry.tables);
            with->documents = file;
            entry.tables = std::move(with);
        }
        return file;
    }

    /// A place among the sessions that run at once.
    struct Place {
        State* state = nullptr;
        explicit Place(State* taken) : state(taken) {}
        Place(Place&& other) noexcept : state(std::exchange(other.state, nullptr)) {}
        Place& operator=(Place&&) = delete;
        ~Place() {
            if (state == nullptr) return;
            {
                const std::lock_guard lock(state->places_mutex);
                --state->places_taken;
            }
            state->place_free.notify_one();
        }
    };
    Result<Place> take_place(const engine::QueryLimits& limits, const Deadline& deadline) {
        const auto patience = std::chrono::steady_clock::now() +
                              std::min<std::chrono::milliseconds>(limits.time, kWaitMax);
        const size_t most = std::max<size_t>(1, options.sql_sessions);
        std::unique_lock lock(places_mutex);
        const bool free =
            place_free.wait_until(lock, deadline.stop, std::min(patience, deadline.at),
                                  [&] { return places_taken < most; });
        if (!free) {
            if (deadline.stop.stop_requested()) PX_TRY(deadline.check());
            return fail(ErrorCode::RateLimited,
                        fmt::format("{} SQL queries run already, and none ended in time", most),
                        "Ask again later, or raise engine.queries in the pipeline file");
        }
        ++places_taken;
        return Place(this);
    }

    struct OpenSession {
        Place place;                                     // outlives the session
        std::shared_ptr<const TemporaryFile> documents;  // likewise
        std::unique_ptr<engine::Session> session;
    };
    Result<OpenSession> session(const ReleaseView& view, std::string_view sql,
                                const engine::QueryLimits& limits, const Deadline& deadline) {
        const std::shared_ptr<const Tables> known = PX_TRY(tables(view));
        OpenSession open{PX_TRY(take_place(limits, deadline)), {}, {}};
        open.session = PX_TRY(engine.open_session());
        for (engine::TableSource table : known->sources) {
            // Asked for anew each time: a cache may drop what nobody asked for in a while.
            for (engine::TableFile& file : table.files)
                file.path =
                    PX_TRY(lake.local_path(file.path.string()).context("table " + table.name));
            PX_TRY(open.session->add_table(table));
        }
        for (const std::string_view name : kDocumentTables) {
            if (view.release.table_versions.contains(std::string(name)) || !mentions(sql, name))
                continue;
            if (!open.documents) open.documents = PX_TRY(documents(view));
            PX_TRY(open.session->add_table(
                {std::string(name), documents_schema(), {{open.documents->path, {}}}}));
        }
        return open;
    }
};

ReleaseReader::ReleaseReader(catalog::Catalog& catalog, index::VectorStore& vectors,
                             store::ObjectStore& lake, engine::Engine& engine, const Clock& clock,
                             ReleaseReaderOptions options)
    : state_(new State{catalog, vectors, lake, engine, clock, std::move(options), {}, {}}) {}
ReleaseReader::~ReleaseReader() = default;

Result<std::shared_ptr<const ReleaseView>> ReleaseReader::open(const AsOf& as_of) {
    std::optional<catalog::Release> release;
    if (as_of.release) {
        if (auto known = state_->find(*as_of.release)) return known;
        release = PX_TRY(state_->catalog.release({*as_of.release}));
    } else if (as_of.time) {
        release = PX_TRY(state_->catalog.release_as_of(*as_of.time));
    } else {
        release = PX_TRY(state_->catalog.latest_release());
    }
    if (!release) {
        const std::optional<catalog::Release> newest = PX_TRY(state_->catalog.latest_release());
        if (!newest)
            return fail(ErrorCode::NotFound, "there is no release yet", "Run `px run` first.");
        if (as_of.release) {
            return fail(
                ErrorCode::NotFound, fmt::format("there is no release {}", *as_of.release),
                fmt::format("The newest is {}; `px releases` lists them.", newest->id.value));
        }
        return fail(ErrorCode::NotFound,
                    fmt::format("there was no release at {}", format_timestamp(*as_of.time)),
                    "`px releases` lists when each was published.");
    }
    while (!as_of.release) {
        const auto why = PX_TRY(state_->not_served(*release));
        if (!why) break;
        auto before = release->id.value > 1
                          ? PX_TRY(state_->catalog.release({release->id.value - 1}))
                          : std::optional<catalog::Release>();
        if (!before) {
            return fail(ErrorCode::NotFound,
                        fmt::format("no release is served: release {} was published, but {}",
                                    release->id.value, *why),
                        "Name it by its id to look into it, or change serve.promote_if");
        }
        release = std::move(before);
    }
    if (auto known = state_->find(release->id.value)) return known;
    auto view = std::make_shared<ReleaseView>();
    auto points = state_->vectors.open({release->index_manifest});
    if (!points && points.error().code == ErrorCode::NotFound) {
        return fail(ErrorCode::NotFound,
                    fmt::format("release {} of {} can't be read any more: its files were vacuumed, "
                                "or the index was lost ({})",
                                release->id.value, format_timestamp(release->published_at),
                                points.error().message),
                    "Read a newer release; `px releases` lists them.");
    }
    view->points = PX_TRY(std::move(points).context(fmt::format("release {}", release->id.value)));
    std::vector<std::string> authors;
    for (auto& [name, count] : PX_TRY(state_->catalog.distinct_authors(release->id))) {
        if (!name.empty()) authors.push_back(std::move(name));
    }
    view->authors = std::make_shared<const std::vector<std::string>>(std::move(authors));
    view->release = std::move(*release);
    return state_->keep(std::move(view));
}

Result<engine::QueryResult> ReleaseReader::sql(const ReleaseView& view, const std::string& sql,
                                               const engine::QueryLimits& limits,
                                               const Deadline& deadline) {
    const State::OpenSession open = PX_TRY(state_->session(view, sql, limits, deadline));
    PX_TRY(open.session->lock_down());
    return open.session->query_untrusted(sql, limits, deadline);
}

Result<engine::QueryResult> ReleaseReader::query(const ReleaseView& view, const std::string& sql,
                                                 const std::vector<std::string>& parameters,
                                                 const engine::QueryLimits& limits,
                                                 const Deadline& deadline) {
    const State::OpenSession open = PX_TRY(state_->session(view, sql, limits, deadline));
    return open.session->query(sql, parameters, limits, deadline);
}

Result<std::vector<TableInfo>> ReleaseReader::tables(const ReleaseView& view) {
    const std::shared_ptr<const Tables> known = PX_TRY(state_->tables(view));
    return known->infos;
}

}  // namespace px::answer
