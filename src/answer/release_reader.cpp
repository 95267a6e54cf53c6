#include "answer/release_reader.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/file.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <chrono>
#include <condition_variable>
#include <cstdlib>
#include <list>
#include <map>
#include <mutex>
#include <utility>

#include "catalog/document_acl.h"

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

/// A folder of this reader alone, for rows not everybody may read; gone with it. Its lock file
/// tells other processes, also of other containers, that its owner lives.
class ReaderFolder {
  public:
    /// parent: "" for the machine's temporary folder.
    static Result<std::unique_ptr<ReaderFolder>> create(std::filesystem::path parent) {
        std::error_code error;
        if (parent.empty()) parent = std::filesystem::temp_directory_path(error);
        if (parent.empty()) parent = "/tmp";
        std::filesystem::create_directories(parent, error);
        for (int attempt = 1;; ++attempt) {
            std::string path = (parent / fmt::format("{}XXXXXX", kPrefix)).string();
            if (::mkdtemp(path.data()) == nullptr)  // 0700
                return fail_errno(errno, "cannot create a folder in " + parent.string());
            auto folder = std::unique_ptr<ReaderFolder>(new ReaderFolder(path));
            folder->lock_ =
                ::open((folder->path_ / kLock).c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600);
            if (folder->lock_ >= 0 && ::flock(folder->lock_, LOCK_EX | LOCK_NB) == 0) return folder;
            // Another process may have taken it for a dead one's in this very moment.
            if (attempt == 3) return fail_errno(errno, "cannot lock " + path);
        }
    }
    ~ReaderFolder() {
        std::error_code ignored;
        std::filesystem::remove_all(path_, ignored);
        if (lock_ >= 0) ::close(lock_);
    }
    ReaderFolder(const ReaderFolder&) = delete;
    ReaderFolder& operator=(const ReaderFolder&) = delete;
    const std::filesystem::path& path() const { return path_; }

    /// Removes the folders of readers whose process was killed.
    static void remove_stale(const std::filesystem::path& parent) {
        std::error_code error;
        for (auto entry = std::filesystem::directory_iterator(parent, error);
             !error && entry != std::filesystem::directory_iterator(); entry.increment(error)) {
            std::error_code ignored;
            const std::filesystem::path& path = entry->path();
            if (!path.filename().string().starts_with(kPrefix) || !entry->is_directory(ignored))
                continue;
            const int lock = ::open((path / kLock).c_str(), O_RDWR | O_CLOEXEC | O_NOFOLLOW);
            if (lock < 0) {
                // Being made just now, or killed before it had one.
                std::error_code unknown;
                const auto age = std::filesystem::file_time_type::clock::now() -
                                 std::filesystem::last_write_time(path, unknown);
                if (!unknown && age > std::chrono::minutes(1))
                    std::filesystem::remove_all(path, ignored);
                continue;
            }
            if (::flock(lock, LOCK_EX | LOCK_NB) == 0) std::filesystem::remove_all(path, ignored);
            ::close(lock);
        }
    }

  private:
    static constexpr std::string_view kPrefix = "reader-";
    static constexpr const char* kLock = "lock";
    explicit ReaderFolder(std::filesystem::path path) : path_(std::move(path)) {}
    std::filesystem::path path_;
    int lock_ = -1;
};

/// The tables of one release, as sessions and listings want them. Immutable.
struct Tables {
    struct Source {
        engine::TableSource table;
        std::vector<std::string> acl_columns;  ///< that narrow it to the reader's rows
    };
    std::vector<Source> sources;
    std::vector<TableInfo> infos;
};

struct Opened {
    int64_t release = 0;
    std::string reader;  ///< Access::key of the view
    std::shared_ptr<const ReleaseView> view;
    std::shared_ptr<const Tables> tables;  ///< once somebody asked for them
    /// Files of ours with what SQL may read: the documents ("") and narrowed tables by name.
    std::map<std::string, std::shared_ptr<const TemporaryFile>> files{};
};

/// A session that waits for the next query over the same tables of the same view.
struct IdleSession {
    std::string key;
    std::vector<std::shared_ptr<const TemporaryFile>> files;  // outlive the session
    std::vector<engine::TableSource> tables;
    std::unique_ptr<engine::Session> session;
};

/// Whether a row's acl, as contract/acl.h reads it, names one of the groups or everybody.
std::string acl_condition(const std::vector<std::string>& columns, const Access& access) {
    std::string groups = "'*'";
    for (const std::string& group : access.groups) {
        groups += ", '";
        for (const char c : group) groups += c == '\'' ? std::string("''") : std::string(1, c);
        groups += '\'';
    }
    std::string condition;
    for (const std::string& column : columns) {
        std::string name;
        for (const char c : column) name += c == '"' ? std::string("\"\"") : std::string(1, c);
        condition += fmt::format(
            "{}list_has_any(list_transform(string_split(coalesce(\"{}\", ''), ','), "
            "lambda piece: trim(piece, E' \\t\\r\\n')), [{}])",
            condition.empty() ? "" : " AND ", name, groups);
    }
    return condition;
}

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

    std::unique_ptr<ReaderFolder> folder{};  // made when first needed; outlives the files in it
    std::mutex mutex{};
    std::list<Opened> opened{};  // most recently used first
    int64_t looked_at = 0;       // the newest release when history_is_hidden was found
    bool history_is_hidden = true;

    std::mutex places_mutex{};
    std::condition_variable_any place_free{};
    size_t places_taken = 0;
    std::list<IdleSession> idle{};  // locked down, most recently used first

    std::mutex served_mutex{};
    std::map<int64_t, std::optional<std::string>> served{};  // what why_not_served said; bounded
    /// The newest release when a question last came, and the one that is served while it is.
    std::optional<std::pair<int64_t, int64_t>> newest_served{};

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

    std::shared_ptr<const ReleaseView> find_served(int64_t newest, const std::string& reader) {
        int64_t release = 0;
        {
            const std::lock_guard lock(served_mutex);
            if (!newest_served || newest_served->first != newest) return nullptr;
            release = newest_served->second;
        }
        return find(release, reader);
    }

    std::shared_ptr<const ReleaseView> find(int64_t release, const std::string& reader) {
        const std::lock_guard lock(mutex);
        const auto at = std::find_if(opened.begin(), opened.end(), [&](const Opened& entry) {
            return entry.release == release && entry.reader == reader;
        });
        if (at == opened.end()) return nullptr;
        opened.splice(opened.begin(), opened, at);
        return at->view;
    }

    std::shared_ptr<const ReleaseView> keep(std::shared_ptr<const ReleaseView> view) {
        const bool narrowed = view->admitted != nullptr;
        std::string reader = view->access.key();
        std::list<Opened> gone;  // closed without the lock
        const std::lock_guard lock(mutex);
        if (Opened* entry = entry_of(*view)) return entry->view;  // another thread was first
        opened.push_front({view->release.id.value, std::move(reader), view, nullptr});
        const size_t most =
            std::max<size_t>(1, narrowed ? options.narrowed_views : options.open_views);
        size_t count = 0;
        for (auto entry = opened.begin(); entry != opened.end();) {
            const auto next = std::next(entry);
            if ((entry->view->admitted != nullptr) == narrowed && ++count > most)
                gone.splice(gone.begin(), opened, entry);
            entry = next;
        }
        return view;
    }

    /// The entry of a view that is kept, or null. Under the lock.
    Opened* entry_of(const ReleaseView& view) {
        const std::string reader = view.access.key();
        const auto at = std::find_if(opened.begin(), opened.end(), [&](const Opened& entry) {
            return entry.release == view.release.id.value && entry.reader == reader;
        });
        return at == opened.end() ? nullptr : &*at;
    }

    /// The view of somebody who may not see everything.
    Result<std::shared_ptr<const ReleaseView>> narrow(const ReleaseView& whole,
                                                      const Access& access) {
        if (auto known = find(whole.release.id.value, access.key())) return known;
        auto admitted = std::make_shared<Admitted>();
        std::map<std::string, int64_t> authors;
        for (int64_t offset = 0;; offset += kDocumentsAtOnce) {
            const auto rows = PX_TRY(catalog.documents(whole.release.id, kDocumentsAtOnce, offset));
            for (const catalog::DocumentRow& row : rows) {
                const AccessPolicy::Table* table = options.policy.table(row.source);
                if (table == nullptr) continue;
                if (!table->acl_columns.empty()) {
                    // Groups of another column than today's decide nothing.
                    if (table->acl_columns != std::vector{catalog::acl_column_of(row)}) continue;
                    const auto acl = catalog::acl_of(row);
                    if (!acl || !access.may_read(*acl)) continue;
                }
                admitted->documents.push_back(row.document_id);
                ++authors[row.author];
            }
            if (static_cast<int64_t>(rows.size()) < kDocumentsAtOnce) break;
        }
        std::sort(admitted->documents.begin(), admitted->documents.end());
        auto names = std::make_shared<std::vector<std::string>>();
        admitted->authors.assign(authors.begin(), authors.end());
        std::stable_sort(admitted->authors.begin(), admitted->authors.end(),
                         [](const auto& a, const auto& b) { return a.second > b.second; });
        for (const auto& [name, count] : admitted->authors) {
            if (!name.empty()) names->push_back(name);
        }
        auto view = std::make_shared<ReleaseView>(whole);
        std::vector<std::string> open_sources;
        for (const AccessPolicy::Table& table : options.policy.tables) {
            if (!table.is_model && table.acl_columns.empty()) open_sources.push_back(table.name);
        }
        view->points = PX_TRY(
            whole.points->narrowed({access.groups, std::move(open_sources),
                                    [&](std::string_view id) { return admitted->contains(id); }}));
        view->authors = std::move(names);
        view->access = access;
        view->admitted = std::move(admitted);
        return keep(std::move(view));
    }

    Result<std::shared_ptr<const Tables>> tables(const ReleaseView& view) {
        {
            const std::lock_guard lock(mutex);
            if (const Opened* entry = entry_of(view); entry != nullptr && entry->tables)
                return entry->tables;
        }
        auto read = PX_TRY(read_tables(view));
        const std::lock_guard lock(mutex);
        Opened* entry = entry_of(view);
        if (entry == nullptr) return read;
        if (!entry->tables) entry->tables = read;
        return entry->tables;
    }

    std::shared_ptr<const TemporaryFile> known_file(const ReleaseView& view,
                                                    const std::string& name) {
        const std::lock_guard lock(mutex);
        const Opened* entry = entry_of(view);
        if (entry == nullptr) return nullptr;
        const auto file = entry->files.find(name);
        return file == entry->files.end() ? nullptr : file->second;
    }
    /// The file, or the one another thread made meanwhile.
    std::shared_ptr<const TemporaryFile> keep_file(const ReleaseView& view, const std::string& name,
                                                   std::shared_ptr<const TemporaryFile> file) {
        const std::lock_guard lock(mutex);
        Opened* entry = entry_of(view);
        if (entry == nullptr) return file;
        return entry->files.emplace(name, std::move(file)).first->second;
    }
    Result<std::shared_ptr<const TemporaryFile>> new_file(const ReleaseView& view,
                                                          std::string_view what) {
        static std::atomic<uint64_t> counter{0};
        const std::lock_guard lock(mutex);
        if (!folder) folder = PX_TRY(ReaderFolder::create(options.scratch_directory));
        return std::make_shared<const TemporaryFile>(
            folder->path() /
            fmt::format("{}-{}-{}.parquet", what, view.release.id.value, counter.fetch_add(1)));
    }

    /// Whether a table's rows were made as the pipeline file says today.
    bool is_todays(const AccessPolicy::Table& table, const catalog::Release& release) const {
        if (!table.is_model) return true;
        const auto made = release.input_fingerprints.find("models");
        return made != release.input_fingerprints.end() &&
               made->second == options.policy.models_fingerprint;
    }

    /// Whether a release has tables the pipeline file lacks today, from a time when it had acls:
    /// taking a source away opens nothing.
    Result<bool> holds_hidden(const catalog::Release& release) {
        if (!options.policy.lacks_tables_of(release)) return false;
        const std::optional<catalog::Run> run = PX_TRY(catalog.run(release.run));
        return !run || run->pipeline_text.find("acl") != std::string::npos;
    }

    /// The same of any release there is. True where it can't be told.
    bool history_holds_hidden() {
        constexpr int64_t kReleasesMax = 10'000;
        const auto newest = catalog.latest_release();
        if (!newest) return true;
        if (!*newest) return false;
        {
            const std::lock_guard lock(mutex);
            if (looked_at == (*newest)->id.value) return history_is_hidden;
        }
        const auto releases = catalog.releases(kReleasesMax);
        bool hides = !releases || static_cast<int64_t>(releases->size()) == kReleasesMax;
        for (size_t i = 0; !hides && i < releases->size(); ++i)
            hides = holds_hidden((*releases)[i]).value_or(true);
        const std::lock_guard lock(mutex);
        looked_at = (*newest)->id.value;
        return history_is_hidden = hides;
    }

    Result<std::shared_ptr<const Tables>> read_tables(const ReleaseView& view) {
        auto tables = std::make_shared<Tables>();
        for (const auto& [name, version] : view.release.table_versions) {
            const AccessPolicy::Table* policy = options.policy.table(name);
            if (view.admitted && (policy == nullptr || !is_todays(*policy, view.release))) continue;
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
            std::vector<std::string> acl_columns;
            if (view.admitted) {
                acl_columns = policy->acl_columns;
                info.narrowed = !acl_columns.empty();
                // What can't be decided is not shown.
                const bool decided = std::all_of(
                    acl_columns.begin(), acl_columns.end(), [&](const std::string& column) {
                        const auto& fields = snapshot.schema.fields;
                        return std::any_of(fields.begin(), fields.end(),
                                           [&](const columnar::Field& field) {
                                               return field.name == column &&
                                                      field.type.id == columnar::TypeId::String;
                                           });
                    });
                if (!decided) continue;
                if (info.narrowed) {
                    info.row_count.reset();
                    info.file_count = 0;
                }
            }
            for (const lake::Add& add : snapshot.files) {
                engine::TableFile file;
                file.path = name + "/" + add.path;  // its key: session() asks for the file
                for (const std::string& column : snapshot.partition_columns) {
                    const auto value = add.partition_values.find(column);
                    file.partition_values.emplace_back(
                        column, value == add.partition_values.end() ? std::nullopt : value->second);
                }
                source.files.push_back(std::move(file));
                if (!info.narrowed) info.size_bytes += add.size_bytes;
            }
            tables->sources.push_back({std::move(source), std::move(acl_columns)});
            tables->infos.push_back(std::move(info));
        }
        return std::shared_ptr<const Tables>(std::move(tables));
    }

    /// The metadata of a release as a Parquet file, for SQL; written when a query first names it.
    Result<std::shared_ptr<const TemporaryFile>> documents(const ReleaseView& view) {
        if (auto known = known_file(view, "")) return known;
        const auto file = PX_TRY(new_file(view, "documents"));
        auto writer = PX_TRY(columnar::ParquetWriter::create(file->path, documents_schema(), {}));
        columnar::RecordBatch batch(documents_schema());
        for (int64_t offset = 0;; offset += kDocumentsAtOnce) {
            const auto rows = PX_TRY(catalog.documents(view.release.id, kDocumentsAtOnce, offset));
            batch.clear();
            for (const catalog::DocumentRow& row : rows) {
                if (!view.admitted || view.admitted->contains(row.document_id))
                    append_document(batch, row);
            }
            if (batch.row_count() > 0) PX_TRY(writer->write(batch));
            if (static_cast<int64_t>(rows.size()) < kDocumentsAtOnce) break;
        }
        PX_TRY(writer->close());
        return keep_file(view, "", file);
    }

    /// The rows of a table that the view's reader may see, as a file of their own: what a query
    /// does can't reach others, neither by its plan nor by its errors, time or sizes.
    Result<std::shared_ptr<const TemporaryFile>> narrowed_table(const ReleaseView& view,
                                                                const engine::TableSource& table,
                                                                const std::string& condition,
                                                                const Deadline& deadline) {
        if (auto known = known_file(view, table.name)) return known;
        const auto session = PX_TRY(engine.open_session());
        PX_TRY(session->add_table(table));
        const auto file = PX_TRY(new_file(view, "narrowed"));
        std::string name;
        for (const char c : table.name) name += c == '"' ? std::string("\"\"") : std::string(1, c);
        PX_TRY(session->copy_to_parquet(
            fmt::format("SELECT * FROM \"{}\" WHERE {}", name, condition), file->path, deadline));
        return keep_file(view, table.name, file);
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
        Place place;  // outlives the session
        IdleSession use;
    };
    /// Tables and files of a session for a query, without a session in it.
    Result<OpenSession> prepare_session(const ReleaseView& view, std::string_view sql,
                                        const engine::QueryLimits& limits,
                                        const Deadline& deadline) {
        const std::shared_ptr<const Tables> known = PX_TRY(tables(view));
        OpenSession open{PX_TRY(take_place(limits, deadline)), {}};
        IdleSession& use = open.use;
        use.key = fmt::format("{} {}", view.release.id.value, view.access.key());
        Deadline bounded = deadline;
        bounded.at =
            std::min(bounded.at, std::chrono::steady_clock::now() +
                                     std::min<std::chrono::milliseconds>(limits.time, kWaitMax));
        for (const Tables::Source& source : known->sources) {
            engine::TableSource table = source.table;
            if (!source.acl_columns.empty() && !mentions(sql, table.name)) continue;
            // Asked for anew each time: a cache may drop what nobody asked for in a while.
            for (engine::TableFile& file : table.files)
                file.path =
                    PX_TRY(lake.local_path(file.path.string()).context("table " + table.name));
            if (!source.acl_columns.empty()) {
                use.files.push_back(PX_TRY(narrowed_table(
                    view, table, acl_condition(source.acl_columns, view.access), bounded)));
                table.files = {{use.files.back()->path, {}}};
            }
            use.tables.push_back(std::move(table));
        }
        for (const std::string_view name : kDocumentTables) {
            if (view.release.table_versions.contains(std::string(name)) || !mentions(sql, name))
                continue;
            use.files.push_back(PX_TRY(documents(view)));
            use.tables.push_back(
                {std::string(name), documents_schema(), {{use.files.back()->path, {}}}});
        }
        return open;
    }
    /// needed: how many of the tables the query is about; the others are welcome.
    Result<void> fill_session(IdleSession& use, size_t needed) {
        use.session = PX_TRY(engine.open_session());
        std::vector<engine::TableSource> added;
        for (size_t i = 0; i < use.tables.size(); ++i) {
            auto made = use.session->add_table(use.tables[i]);
            if (!made && i < needed) return made;
            if (made) added.push_back(std::move(use.tables[i]));
        }
        use.tables = std::move(added);
        return {};
    }

    static bool is_same(const engine::TableSource& a, const engine::TableSource& b) {
        return a.name == b.name &&
               std::equal(a.files.begin(), a.files.end(), b.files.begin(), b.files.end(),
                          [](const engine::TableFile& f, const engine::TableFile& g) {
                              return f.path == g.path;
                          });
    }
    /// Whether a session with these tables does for those that are needed.
    static bool holds(const std::vector<engine::TableSource>& tables,
                      const std::vector<engine::TableSource>& needed) {
        return std::all_of(needed.begin(), needed.end(), [&](const engine::TableSource& one) {
            return std::any_of(tables.begin(), tables.end(), [&](const engine::TableSource& other) {
                return is_same(one, other);
            });
        });
    }
    /// Puts a session that waits and has these tables into use; false: there is none. Those that
    /// no place is left for are closed.
    bool take_idle(IdleSession& use) {
        std::list<IdleSession> gone;  // closed without the lock
        const std::lock_guard lock(places_mutex);
        bool found = false;
        for (auto entry = idle.begin(); entry != idle.end(); ++entry) {
            if (entry->key != use.key || !holds(entry->tables, use.tables)) continue;
            use = std::move(*entry);
            idle.erase(entry);
            found = true;
            break;
        }
        // The new one gets what older ones of the view have besides, so that it does for their
        // queries too and they go.
        for (auto entry = idle.begin(); entry != idle.end() && !found;) {
            const auto next = std::next(entry);
            if (entry->key == use.key) {
                for (const engine::TableSource& table : entry->tables) {
                    const bool known = std::any_of(
                        use.tables.begin(), use.tables.end(),
                        [&](const engine::TableSource& own) { return own.name == table.name; });
                    if (!known) use.tables.push_back(table);
                }
                use.files.insert(use.files.end(), entry->files.begin(), entry->files.end());
                gone.splice(gone.begin(), idle, entry);
            }
            entry = next;
        }
        while (idle.size() + places_taken > std::max<size_t>(1, options.sql_sessions) &&
               !idle.empty())
            gone.splice(gone.begin(), idle, std::prev(idle.end()));
        return found;
    }
    void give_back(IdleSession use) {
        std::list<IdleSession> gone;
        const std::lock_guard lock(places_mutex);
        idle.push_front(std::move(use));
        while (idle.size() + places_taken > std::max<size_t>(1, options.sql_sessions) + 1)
            gone.splice(gone.begin(), idle, std::prev(idle.end()));
    }
};

ReleaseReader::ReleaseReader(catalog::Catalog& catalog, index::VectorStore& vectors,
                             store::ObjectStore& lake, engine::Engine& engine, const Clock& clock,
                             ReleaseReaderOptions options)
    : state_(new State{catalog, vectors, lake, engine, clock, std::move(options)}) {
    if (!state_->options.scratch_directory.empty())
        ReaderFolder::remove_stale(state_->options.scratch_directory);
}
ReleaseReader::~ReleaseReader() = default;

bool ReleaseReader::restricts(const Access& access) const {
    return !access.unrestricted &&
           (state_->options.policy.restricts() || state_->history_holds_hidden());
}

Result<std::shared_ptr<const ReleaseView>> ReleaseReader::open(const AsOf& as_of,
                                                               const Access& access) {
    auto whole = PX_TRY(open_whole(as_of));
    if (access.unrestricted) return whole;
    if (!state_->options.policy.restricts() && !PX_TRY(state_->holds_hidden(whole->release)))
        return whole;
    return state_->narrow(*whole, access);
}

Result<std::shared_ptr<const ReleaseView>> ReleaseReader::open_whole(const AsOf& as_of) {
    const std::string everything = Access::everything().key();
    std::optional<catalog::Release> release;
    if (!as_of.release && !as_of.time) {
        // Each question asks for the newest: its number suffices while no newer one is there.
        const auto newest = PX_TRY(state_->catalog.latest_release_id());
        if (newest) {
            if (auto known = state_->find_served(newest->value, everything)) return known;
        }
    }
    if (as_of.release) {
        if (auto known = state_->find(*as_of.release, everything)) return known;
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
    const int64_t newest = release->id.value;
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
    if (!as_of.release && !as_of.time) {
        const std::lock_guard lock(state_->served_mutex);
        state_->newest_served = {newest, release->id.value};
    }
    if (auto known = state_->find(release->id.value, everything)) return known;
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
    view->access = Access::everything();
    return state_->keep(std::move(view));
}

Result<engine::QueryResult> ReleaseReader::sql(const ReleaseView& view, const std::string& sql,
                                               const engine::QueryLimits& limits,
                                               const Deadline& deadline) {
    State::OpenSession open = PX_TRY(state_->prepare_session(view, sql, limits, deadline));
    const size_t needed = open.use.tables.size();
    if (!state_->take_idle(open.use)) {
        PX_TRY(state_->fill_session(open.use, needed));
        PX_TRY(open.use.session->lock_down());
    }
    auto result = open.use.session->query_untrusted(sql, limits, deadline);
    // One that met something unforeseen is not used again.
    const bool sound = result || (result.error().code != ErrorCode::Internal &&
                                  result.error().code != ErrorCode::ResourceExhausted &&
                                  result.error().code != ErrorCode::Corrupt);
    if (sound) state_->give_back(std::move(open.use));
    return result;
}

Result<engine::QueryResult> ReleaseReader::query(const ReleaseView& view, const std::string& sql,
                                                 const std::vector<std::string>& parameters,
                                                 const engine::QueryLimits& limits,
                                                 const Deadline& deadline) {
    State::OpenSession open = PX_TRY(state_->prepare_session(view, sql, limits, deadline));
    PX_TRY(state_->fill_session(open.use, open.use.tables.size()));
    return open.use.session->query(sql, parameters, limits, deadline);
}

Result<std::vector<TableInfo>> ReleaseReader::tables(const ReleaseView& view) {
    const std::shared_ptr<const Tables> known = PX_TRY(state_->tables(view));
    return known->infos;
}

}  // namespace px::answer
