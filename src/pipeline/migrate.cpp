#include "pipeline/migrate.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <chrono>
#include <filesystem>
#include <fstream>
#include <functional>
#include <memory>
#include <optional>
#include <set>
#include <unordered_map>
#include <utility>

#include "base/log.h"
#include "base/parallel.h"
#include "base/sha256.h"
#include "capi/curl/digest.h"
#include "catalog/document_acl.h"
#include "lake/delta_table.h"
#include "pipeline/run_lock.h"

namespace px::pipeline {
namespace {

using store::ObjectMeta;
using store::ObjectStore;

constexpr int64_t kPieceBytes = int64_t{8} << 20;
constexpr int64_t kReleasesMax = 1'000'000;

Error target_is_taken(std::string what) {
    return fail(ErrorCode::AlreadyExists, std::move(what),
                "Give the target an empty place: another container or folder, another schema");
}

/// A scratch folder that goes with its owner.
class Folder {
  public:
    explicit Folder(std::filesystem::path path) : path_(std::move(path)) {}
    ~Folder() {
        std::error_code ignored;
        std::filesystem::remove_all(path_, ignored);
    }
    Folder(const Folder&) = delete;
    Folder& operator=(const Folder&) = delete;
    Result<void> create() const {
        std::error_code code;
        std::filesystem::remove_all(path_, code);
        std::filesystem::create_directories(path_, code);
        if (code) return fail_errno(code.value(), "cannot create " + path_.string());
        return {};
    }
    const std::filesystem::path& path() const { return path_; }

  private:
    std::filesystem::path path_;
};

/// Hands an object's bytes to take, piece by piece.
Result<void> read_pieces(const ObjectStore& from, const ObjectMeta& object,
                         const Deadline& deadline,
                         const std::function<Result<void>(std::string_view)>& take) {
    for (int64_t at = 0; at < object.size_bytes; at += kPieceBytes) {
        PX_TRY(deadline.check());
        PX_TRY(take(
            PX_TRY(from.get_range(object.key, at, std::min(kPieceBytes, object.size_bytes - at)))));
    }
    return {};
}

Result<std::string> md5_of(const ObjectStore& from, const ObjectMeta& object,
                           const Deadline& deadline) {
    if (!object.content_md5.empty()) return object.content_md5;
    capi::curl::Md5 digest;
    PX_TRY(read_pieces(from, object, deadline, [&](std::string_view bytes) -> Result<void> {
        digest.update(bytes);
        return {};
    }));
    return digest.finish();
}

/// Copies the objects of one store.
class StoreCopy {
  public:
    StoreCopy(std::string name, ObjectStore& from, ObjectStore& to, const MigrationOptions& options,
              std::filesystem::path scratch, Progress& progress, const Deadline& deadline)
        : from_(from),
          to_(to),
          options_(options),
          scratch_(std::move(scratch)),
          progress_(progress),
          deadline_(deadline) {
        report_.name = std::move(name);
    }

    /// What there is on both sides. Errors: AlreadyExists when the target has log entries of tables
    /// which the source lacks: it would show another history.
    Result<void> look() {
        wanted_ = PX_TRY(from_.list("").context(from_.url()));
        std::erase_if(wanted_, [](const ObjectMeta& o) { return o.key == kMigrationMark; });
        auto found = to_.list("");
        if (!found && found.error().code != ErrorCode::NotFound)
            return std::move(found).error().with(to_.url());
        if (found) there_ = std::move(*found);
        for (const ObjectMeta& object : there_) {
            if (object.key.find("_delta_log/") == std::string::npos) continue;
            if (!find(wanted_, object.key)) {
                return target_is_taken(fmt::format("{} holds '{}', which is not of this pipeline",
                                                   to_.url(), object.key));
            }
        }
        for (const ObjectMeta& object : wanted_) report_.bytes += object.size_bytes;
        report_.objects = static_cast<int64_t>(wanted_.size());
        return {};
    }

    Result<void> copy() {
        // Logs of tables last, so that whoever reads the target early meets no missing file.
        const auto is_log = [](const ObjectMeta& o) {
            return o.key.find("_delta_log/") != std::string::npos;
        };
        std::vector<const ObjectMeta*> large, small, logs;
        for (const ObjectMeta& object : wanted_) {
            (object.size_bytes > options_.small_bytes_max ? large
             : is_log(object)                             ? logs
                                                          : small)
                .push_back(&object);
        }
        PX_TRY(copy_all(large, options_.large_in_flight));
        PX_TRY(copy_all(small, options_.small_in_flight));
        PX_TRY(copy_all(logs, options_.small_in_flight));
        progress_.finish(report_.name);
        report_.copied = copied_;
        report_.copied_bytes = copied_bytes_;
        return {};
    }

    /// Every object is at the target, as long as at the source.
    Result<void> verify() const {
        const std::vector<ObjectMeta> now = PX_TRY(to_.list(""));
        for (const ObjectMeta& object : wanted_) {
            const ObjectMeta* copy = find(now, object.key);
            if (copy && copy->size_bytes == object.size_bytes) continue;
            return fail(ErrorCode::Corrupt,
                        fmt::format("'{}' of {} is {}", object.key, to_.url(),
                                    copy ? fmt::format("{} bytes long, not {}", copy->size_bytes,
                                                       object.size_bytes)
                                         : std::string("missing")),
                        "Something else writes there; stop it and run px migrate again");
        }
        return {};
    }

    const MigratedStore& report() const { return report_; }

  private:
    static const ObjectMeta* find(const std::vector<ObjectMeta>& sorted, const std::string& key) {
        const auto at = std::ranges::lower_bound(sorted, key, {}, &ObjectMeta::key);
        return at != sorted.end() && at->key == key ? &*at : nullptr;
    }

    Result<void> copy_all(const std::vector<const ObjectMeta*>& objects, size_t in_flight) {
        return parallel_for(objects.size(), in_flight, deadline_, [&](size_t i) -> Result<void> {
            const ObjectMeta& object = *objects[i];
            PX_TRY(copy_one(object, i).context(
                fmt::format("'{}' from {} to {}", object.key, from_.url(), to_.url())));
            done_bytes_ += object.size_bytes;
            progress_.update(report_.name, done_bytes_, report_.bytes, "bytes");
            return {};
        });
    }

    Result<void> copy_one(const ObjectMeta& object, size_t number) {
        if (const ObjectMeta* there = find(there_, object.key);
            there && there->size_bytes == object.size_bytes &&
            PX_TRY(md5_of(from_, object, deadline_)) == PX_TRY(md5_of(to_, *there, deadline_))) {
            return {};
        }
        if (object.size_bytes <= options_.small_bytes_max) {
            PX_TRY(to_.put(object.key, PX_TRY(from_.get(object.key))));
        } else {
            const std::filesystem::path file = scratch_ / fmt::format("object-{}", number);
            std::ofstream stream(file, std::ios::binary | std::ios::trunc);
            PX_TRY(
                read_pieces(from_, object, deadline_, [&](std::string_view bytes) -> Result<void> {
                    if (stream.write(bytes.data(), static_cast<std::streamsize>(bytes.size())))
                        return {};
                    return fail_errno(errno, "cannot write " + file.string());
                }));
            stream.close();
            if (!stream) return fail_errno(errno, "cannot write " + file.string());
            PX_TRY(to_.put_file(object.key, file));
        }
        ++copied_;
        copied_bytes_ += object.size_bytes;
        return {};
    }

    ObjectStore& from_;
    ObjectStore& to_;
    const MigrationOptions& options_;
    std::filesystem::path scratch_;
    Progress& progress_;
    const Deadline& deadline_;
    MigratedStore report_;
    std::vector<ObjectMeta> wanted_, there_;  ///< by key
    std::atomic<int64_t> copied_{0}, copied_bytes_{0}, done_bytes_{0};
};

/// What a catalog holds, whatever the order of its rows: table → rows, and a sum over their hashes.
struct CatalogSum {
    std::map<std::string, int64_t> rows;
    std::array<uint64_t, 4> hash{};
    bool operator==(const CatalogSum&) const = default;
};

/// An index that is made anew has other manifests: source → target.
using ManifestMap = std::map<std::string, std::string>;

catalog::StoredRow translated(catalog::StoredRow row, const ManifestMap& manifests) {
    if (row.table != "releases") return row;
    for (size_t c = 0; c < row.columns.size(); ++c) {
        if (row.columns[c] != "index_manifest" || !row.values[c]) continue;
        if (const auto there = manifests.find(*row.values[c]); there != manifests.end())
            row.values[c] = there->second;
    }
    return row;
}

Result<CatalogSum> sum_of(catalog::Catalog& catalog, const ManifestMap& manifests,
                          const Deadline& deadline) {
    CatalogSum sum;
    PX_TRY(catalog.dump([&](const catalog::StoredRow& stored) -> Result<void> {
        const catalog::StoredRow row = translated(stored, manifests);
        if (++sum.rows[row.table] % 1000 == 0) PX_TRY(deadline.check());
        std::map<std::string_view, const std::optional<std::string>*> cells;
        for (size_t c = 0; c < row.columns.size(); ++c) {
            if (row.values[c]) cells[row.columns[c]] = &row.values[c];
        }
        Sha256 digest;
        digest.update(row.table);
        for (const auto& [name, value] : cells)
            digest.update(fmt::format("\n{} {} {}", name, (*value)->size(), **value));
        const auto bytes = digest.finish();
        for (size_t i = 0; i < bytes.size(); ++i)
            sum.hash[i / 8] += static_cast<uint64_t>(static_cast<uint8_t>(bytes[i]))
                               << (8 * (i % 8));
        return {};
    }));
    return sum;
}

/// But for the manifest, which another kind of index names otherwise.
bool equal(const catalog::Release& a, const catalog::Release& b) {
    return a.id == b.id && a.run == b.run && a.published_at == b.published_at &&
           a.table_versions == b.table_versions;
}

/// Makes the index of every release anew in another store, oldest first, each on top of the one
/// before, so that as_of answers there too.
class IndexRebuild {
  public:
    IndexRebuild(catalog::Catalog& catalog, index::VectorStore& from, index::VectorStore& to,
                 size_t points_max, Progress& progress, const Deadline& deadline)
        : catalog_(catalog),
          from_(from),
          to_(to),
          points_max_(points_max),
          progress_(progress),
          deadline_(deadline) {}

    /// releases: newest first. Those whose index was vacuumed at the source keep their manifest's
    /// name, and stay as unreadable as they were.
    Result<ManifestMap> run(const std::vector<catalog::Release>& releases, MigratedStore& report) {
        ManifestMap manifests;
        std::shared_ptr<const index::CollectionView> before;
        std::string before_model;
        for (size_t r = releases.size(); r-- > 0;) {
            const catalog::Release& release = releases[r];
            if (release.index_manifest.empty() || manifests.contains(release.index_manifest))
                continue;
            auto opened = from_.open({release.index_manifest});
            if (!opened && opened.error().code == ErrorCode::NotFound && r > 0) continue;
            const auto view = PX_TRY(std::move(opened).context(
                fmt::format("index of release {} at the source", release.id.value)));
            // Vectors of another model are those of another index, though the passages may be the
            // same.
            const auto model = release.input_fingerprints.find("vectors");
            const std::string name =
                model == release.input_fingerprints.end() ? std::string() : model->second;
            if (name != before_model) before.reset();
            acls_ = PX_TRY(document_acls(release.id));
            const index::ManifestId made =
                PX_TRY(rebuild(before.get(), *view, manifests, report)
                           .context(fmt::format("index of release {}", release.id.value)));
            manifests[release.index_manifest] = made.value;
            before = view;
            before_model = name;
        }
        progress_.finish("index");
        return manifests;
    }

  private:
    using Acls = std::unordered_map<std::string, std::vector<std::string>>;
    /// An index that keeps no groups itself leaves them to the documents.
    Result<Acls> document_acls(catalog::ReleaseId release) {
        constexpr int64_t kRowsAtOnce = 10'000;
        Acls acls;
        for (int64_t offset = 0;; offset += kRowsAtOnce) {
            PX_TRY(deadline_.check());
            const auto rows = PX_TRY(catalog_.documents(release, kRowsAtOnce, offset));
            for (const catalog::DocumentRow& row : rows) {
                if (auto acl = catalog::acl_of(row)) acls.emplace(row.document_id, std::move(*acl));
            }
            if (static_cast<int64_t>(rows.size()) < kRowsAtOnce) return acls;
        }
    }

    Result<index::ManifestId> rebuild(const index::CollectionView* before,
                                      const index::CollectionView& view,
                                      const ManifestMap& manifests, MigratedStore& report) {
        std::optional<index::ManifestId> base;
        std::vector<chunk::ChunkId> removed;
        if (before != nullptr) {
            base = index::ManifestId{manifests.at(before->manifest().value)};
            PX_TRY(for_each(*before, [&](std::vector<index::Point> points) -> Result<void> {
                for (index::Point& point : points) {
                    if (!view.find(point.id)) removed.push_back(std::move(point.id));
                }
                return {};
            }));
        }
        std::vector<index::Point> added;
        const auto apply = [&]() -> Result<void> {
            report.copied += static_cast<int64_t>(added.size());
            base = PX_TRY(
                to_.apply(base, std::exchange(removed, {}), std::exchange(added, {}), deadline_));
            return {};
        };
        const std::vector<uint64_t> handles = view.all();
        int64_t done = 0;
        for (size_t at = 0; at < handles.size(); at += kPiece) {
            PX_TRY(deadline_.check());
            std::vector<uint64_t> piece(handles.begin() + static_cast<std::ptrdiff_t>(at),
                                        handles.begin() + static_cast<std::ptrdiff_t>(std::min(
                                                              handles.size(), at + kPiece)));
            std::vector<index::Point> points = PX_TRY(view.points(piece, deadline_));
            std::vector<uint64_t> wanted;
            std::vector<index::Point> kept;
            for (size_t i = 0; i < points.size(); ++i) {
                if (before != nullptr && before->find(points[i].id)) continue;
                wanted.push_back(piece[i]);
                if (const auto acl = acls_.find(points[i].document_id); acl != acls_.end())
                    points[i].acl = acl->second;
                kept.push_back(std::move(points[i]));
            }
            const index::VectorRows vectors = PX_TRY(view.vectors(wanted, deadline_));
            for (size_t i = 0; i < kept.size(); ++i) {
                kept[i].vector.assign(vectors.rows[i], vectors.rows[i] + view.width());
                added.push_back(std::move(kept[i]));
            }
            done += static_cast<int64_t>(piece.size());
            progress_.update("index", done, static_cast<int64_t>(handles.size()), "passages");
            if (added.size() >= points_max_) PX_TRY(apply());
        }
        // Also when nothing changed or nothing is there: the target must know the release.
        PX_TRY(apply());
        report.objects = static_cast<int64_t>(handles.size());
        return *base;
    }

    static constexpr size_t kPiece = 4'096;

    Result<void> for_each(const index::CollectionView& view,
                          const std::function<Result<void>(std::vector<index::Point>)>& take) {
        const std::vector<uint64_t> handles = view.all();
        for (size_t at = 0; at < handles.size(); at += kPiece) {
            PX_TRY(deadline_.check());
            const std::vector<uint64_t> piece(
                handles.begin() + static_cast<std::ptrdiff_t>(at),
                handles.begin() +
                    static_cast<std::ptrdiff_t>(std::min(handles.size(), at + kPiece)));
            PX_TRY(take(PX_TRY(view.points(piece, deadline_))));
        }
        return {};
    }

    catalog::Catalog& catalog_;
    index::VectorStore& from_;
    index::VectorStore& to_;
    Acls acls_;  ///< of the release at hand
    size_t points_max_;
    Progress& progress_;
    const Deadline& deadline_;
};

/// Whether every file of a table's version is there, as long as the log says.
Result<void> check_version(ObjectStore& lake, const std::string& table, int64_t version,
                           const std::map<std::string, int64_t>& sizes, const Clock& clock,
                           const std::shared_ptr<lake::CheckpointEngine>& engine) {
    lake::DeltaTableOptions options;
    options.checkpoint_engine = engine;
    const lake::DeltaTable delta(lake, table, clock, options);
    const lake::Snapshot snapshot = PX_TRY(delta.snapshot_at({version}));
    for (const lake::Add& add : snapshot.files) {
        const auto found = sizes.find(fmt::format("{}/{}", table, add.path));
        if (found != sizes.end() && found->second == add.size_bytes) continue;
        return fail(ErrorCode::Corrupt, fmt::format("{}/{} is missing or of another size in {}",
                                                    table, add.path, lake.url()));
    }
    return {};
}

Result<std::map<std::string, int64_t>> sizes_of(const ObjectStore& lake) {
    std::map<std::string, int64_t> sizes;
    for (const ObjectMeta& object : PX_TRY(lake.list("")))
        sizes.emplace(object.key, object.size_bytes);
    return sizes;
}

/// Every table version every release names can be read at the target, unless it can't at the
/// source.
Result<void> verify_tables(const MigrationSide& source, const MigrationSide& target,
                           const std::vector<catalog::Release>& releases, const Clock& clock,
                           Progress& progress, const Deadline& deadline, MigrationReport& report) {
    std::set<std::pair<std::string, int64_t>> versions;
    for (const catalog::Release& release : releases)
        versions.insert(release.table_versions.begin(), release.table_versions.end());
    const std::map<std::string, int64_t> there = PX_TRY(sizes_of(target.lake));
    std::optional<std::map<std::string, int64_t>> here;
    const auto engine = lake::make_checkpoint_engine();
    int64_t done = 0;
    for (const auto& [table, version] : versions) {
        PX_TRY(deadline.check());
        progress.update("verify", ++done, static_cast<int64_t>(versions.size()), "versions");
        Result<void> checked = check_version(target.lake, table, version, there, clock, engine);
        if (checked) {
            ++report.table_versions;
            continue;
        }
        if (!here) here = PX_TRY(sizes_of(source.lake));
        if (check_version(source.lake, table, version, *here, clock, engine)) {
            return std::move(checked).error().with(
                fmt::format("table {} version {}", table, version));
        }
        ++report.unreadable;
    }
    progress.finish("verify");
    return {};
}

}  // namespace

Result<void> MigrationOptions::validate() const {
    if (small_in_flight < 1 || small_in_flight > 256 || large_in_flight < 1 ||
        large_in_flight > 64 || points_max < 1 || points_max > 10'000'000 || small_bytes_max < 0 ||
        small_bytes_max > (int64_t{1} << 30)) {
        return fail(ErrorCode::InvalidArgument,
                    "migrate: 1 to 256 small and 1 to 64 large objects in flight, small ones of at "
                    "most 1 GiB");
    }
    return {};
}

Result<void> check_not_migrating(const store::ObjectStore& lake) {
    const auto mark = lake.head(kMigrationMark);
    if (!mark && mark.error().code != ErrorCode::NotFound) return mark.error();
    if (!mark || !*mark) return {};
    return fail(ErrorCode::Unavailable,
                fmt::format("a migration into {} has not finished", lake.url()),
                fmt::format("Run px migrate --to FILE there again: it goes on; or give it up by "
                            "removing {} from the lake",
                            kMigrationMark));
}

Result<MigrationReport> migrate(const MigrationSide& source, const MigrationSide& target,
                                const Clock& clock, Progress& progress, const StepObserver& step,
                                const Deadline& deadline, const MigrationOptions& options) {
    PX_TRY(options.validate());
    const auto started = std::chrono::steady_clock::now();
    const auto reached = [&](std::string_view label) {
        if (step) step(label);
    };
    const bool same_lake = source.lake_place == target.lake_place;
    if (source.catalog_place == target.catalog_place) {
        return fail(ErrorCode::Conflict,
                    fmt::format("both pipeline files name the catalog {}", source.catalog_shown),
                    "Give the target a catalog of its own: it is what makes the copy visible");
    }

    // Nobody else works on either side.
    const RunLock here = PX_TRY(RunLock::acquire(source.work_folder / "run.lock"));
    std::optional<RunLock> there;
    if (target.work_folder != source.work_folder)
        there.emplace(PX_TRY(RunLock::acquire(target.work_folder / "run.lock")));
    Result<std::unique_ptr<catalog::Catalog>> opened =
        source.open_catalog(catalog::OpenMode::ReadOnly);
    if (!opened && opened.error().code == ErrorCode::NotFound) {
        return fail(
            ErrorCode::NotFound,
            fmt::format("the source has not run yet: there is no catalog {}", source.catalog_shown),
            "Run it with `px run` first");
    }
    const std::unique_ptr<catalog::Catalog> from = PX_TRY(std::move(opened));
    const auto source_lock = PX_TRY(source.lock_catalog());
    if (const auto unfinished = PX_TRY(from->unfinished_runs()); !unfinished.empty()) {
        return fail(ErrorCode::Conflict,
                    fmt::format("run {} of the source is unfinished", unfinished.front().id.value),
                    "Finish it with `px run` first (or give it up with --restart)");
    }
    const std::vector<catalog::Release> releases = PX_TRY(from->releases(kReleasesMax));
    if (releases.empty()) {
        return fail(ErrorCode::NotFound, "the source has no release yet",
                    "Run it with `px run` first");
    }

    PX_TRY(target.landing.ensure_container());
    PX_TRY(target.lake.ensure_container());
    PX_TRY(target.vectors.prepare());
    MigrationReport report;
    if (auto existing = target.open_catalog(catalog::OpenMode::ReadOnly); existing) {
        const auto theirs = PX_TRY((*existing)->releases(kReleasesMax));
        if (!theirs.empty() && !std::ranges::equal(theirs, releases, equal)) {
            return target_is_taken(
                fmt::format("the catalog {} has other releases ({}, the newest "
                            "of run {})",
                            target.catalog_shown, theirs.size(), theirs.front().run.value));
        }
        report.catalog_was_there = !theirs.empty();
        if (theirs.empty() && !PX_TRY((*existing)->runs(1)).empty()) {
            return target_is_taken(
                fmt::format("the catalog {} has runs of its own", target.catalog_shown));
        }
    } else if (existing.error().code != ErrorCode::NotFound) {
        return std::move(existing).error();
    }
    const auto target_lock = PX_TRY(target.lock_catalog());

    const Folder scratch(target.work_folder / "scratch" / "migrate");
    PX_TRY(scratch.create());
    std::vector<std::unique_ptr<StoreCopy>> copies;
    const auto plan = [&](const char* name, store::ObjectStore& a, store::ObjectStore& b,
                          bool is_shared) -> Result<void> {
        if (is_shared) {
            report.stores.push_back({.name = name, .is_shared = true});
            return {};
        }
        copies.push_back(
            std::make_unique<StoreCopy>(name, a, b, options, scratch.path(), progress, deadline));
        return copies.back()->look();
    };
    PX_TRY(plan("landing", source.landing, target.landing,
                source.landing_place == target.landing_place));
    PX_TRY(plan("lake", source.lake, target.lake, same_lake));
    const bool shares_index = source.index_place == target.index_place;
    const bool rebuilds_index =
        !shares_index && (source.index == nullptr || target.index == nullptr);
    if (shares_index) {
        report.stores.push_back({.name = "index", .is_shared = true});
    } else if (!rebuilds_index) {
        PX_TRY(plan("index", *source.index, *target.index, false));
    }
    reached("migrate.begin");
    // From here until the end the target says that it is not whole. A shared lake serves the
    // source.
    if (!same_lake && !report.catalog_was_there) {
        PX_TRY(target.lake.put(kMigrationMark, "A migration into this lake has not finished.\n"));
    }
    for (const auto& copy : copies) {
        PX_TRY(copy->copy());
        const MigratedStore& done = copy->report();
        log::info("migrate.copied", {{"store", done.name},
                                     {"objects", done.objects},
                                     {"bytes", done.bytes},
                                     {"sent", done.copied}});
        report.stores.push_back(done);
        reached("migrate." + done.name);
    }
    for (const auto& copy : copies) PX_TRY(copy->verify());
    ManifestMap manifests;
    if (rebuilds_index) {
        MigratedStore rebuilt{.name = "index", .is_rebuilt = true};
        manifests = PX_TRY(IndexRebuild(*from, source.vectors, target.vectors, options.points_max,
                                        progress, deadline)
                               .run(releases, rebuilt));
        report.stores.push_back(std::move(rebuilt));
        reached("migrate.index");
    }

    // Lost locks would let a run change what was copied.
    if (source_lock) PX_TRY(source_lock->check());
    if (target_lock) PX_TRY(target_lock->check());
    reached("migrate.catalog.begin");
    const auto to = PX_TRY(target.open_catalog(catalog::OpenMode::ReadWrite));
    if (!report.catalog_was_there) {
        PX_TRY(to->restore([&](const catalog::StoredRowSink& sink) {
            int64_t rows = 0;
            return from->dump([&](const catalog::StoredRow& row) -> Result<void> {
                if (++rows % 1000 == 0) {
                    PX_TRY(deadline.check());
                    progress.update("catalog", rows, 0, "rows");
                }
                return sink(translated(row, manifests));
            });
        }));
        progress.finish("catalog");
    }
    reached("migrate.catalog.end");

    const CatalogSum theirs = PX_TRY(sum_of(*to, {}, deadline));
    if (theirs != PX_TRY(sum_of(*from, manifests, deadline))) {
        if (report.catalog_was_there) {
            return target_is_taken(fmt::format("{} has been worked with since it was migrated to",
                                               target.catalog_shown));
        }
        return fail(ErrorCode::Corrupt,
                    fmt::format("the catalogs {} and {} differ after the copy",
                                source.catalog_shown, target.catalog_shown),
                    "Something else wrote into one of them; empty the target and migrate again");
    }
    report.catalog_rows = theirs.rows;
    report.releases = static_cast<int64_t>(releases.size());
    PX_TRY(verify_tables(source, target, releases, clock, progress, deadline, report));
    const catalog::Release latest = *PX_TRY(to->latest_release());
    const auto points =
        PX_TRY(target.vectors.open({latest.index_manifest})
                   .context(fmt::format("index of release {} at the target", latest.id.value)));
    report.latest_release = latest.id.value;
    report.chunks = static_cast<int64_t>(points->point_count());
    report.documents = latest.documents;
    if (report.chunks != latest.chunks) {
        return fail(ErrorCode::Corrupt,
                    fmt::format("the target's index holds {} passages, and release {} has {}",
                                report.chunks, latest.id.value, latest.chunks),
                    "Run px doctor on the source");
    }
    if (!same_lake) PX_TRY(target.lake.remove(kMigrationMark));
    reached("migrate.end");
    report.elapsed_s =
        std::chrono::duration<double>(std::chrono::steady_clock::now() - started).count();
    return report;
}

}  // namespace px::pipeline
