#include "index/embedded/embedded_store.h"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cstring>
#include <fstream>
#include <map>
#include <mutex>
#include <set>

#include "base/log.h"
#include "base/sha256.h"
#include "index/embedded/collection_view.h"
#include "index/embedded/manifest.h"
#include "index/embedded/segment_writer.h"

namespace px::index {

namespace {

constexpr size_t kPointsPerCheck = 4096;

std::string segment_key(const EmbeddedOptions& options, const std::string& name) {
    return options.prefix + "segments/" + name + ".pxseg";
}
std::string manifest_key(const EmbeddedOptions& options, const std::string& id) {
    return options.prefix + "manifests/" + id + ".pxman";
}

Result<Manifest> read_manifest(const store::ObjectStore& store, const EmbeddedOptions& options,
                               const ManifestId& id) {
    if (!is_manifest_id(id.value)) {
        return fail(ErrorCode::InvalidArgument,
                    fmt::format("\"{}\" is no manifest id", id.value.substr(0, 80)),
                    "A manifest id has 64 lower-case hexadecimal digits.");
    }
    auto bytes = store.get(manifest_key(options, id.value));
    if (!bytes) {
        return std::move(bytes)
            .context(fmt::format("index manifest {} in {}", id.value, store.url()))
            .error();
    }
    if (sha256_hex(*bytes) != id.value) {
        return fail(
            ErrorCode::Corrupt,
            fmt::format("index manifest {} is damaged: its bytes have another SHA-256", id.value),
            "Restore it from a backup, or rebuild the index from the lake.");
    }
    return parse_manifest(*bytes).context("manifest " + id.value);
}

/// Removes a scratch file when something fails before the store took it.
struct ScratchFile {
    std::filesystem::path path;
    ~ScratchFile() {
        std::error_code ignored;
        std::filesystem::remove(path, ignored);
    }
};

PointRef ref_of(const Segment& segment, size_t ordinal) {
    PointRef ref;
    ref.id = segment.id(ordinal);
    ref.document = segment.document().at(ordinal);
    ref.source = segment.source().at(ordinal);
    ref.ds = segment.ds().at(ordinal);
    ref.title = segment.title().at(ordinal);
    ref.author = segment.author().at(ordinal);
    ref.category = segment.category().at(ordinal);
    ref.text = segment.text(ordinal);
    ref.created_at = segment.created_at(ordinal);
    ref.span = segment.span(ordinal);
    ref.vector = segment.vector(ordinal);
    return ref;
}

bool equal(const PointRef& a, const PointRef& b, size_t width) {
    return a.document == b.document && a.source == b.source && a.ds == b.ds && a.title == b.title &&
           a.author == b.author && a.category == b.category && a.text == b.text &&
           a.created_at == b.created_at && a.span == b.span &&
           std::memcmp(a.vector, b.vector, width * sizeof(float)) == 0;
}

class EmbeddedStore final : public VectorStore {
  public:
    EmbeddedStore(store::ObjectStore& store, EmbeddedOptions options,
                  const kernels::Kernels& kernels)
        : store_(store), options_(std::move(options)), kernels_(kernels) {}

    Result<void> prepare() override {
        PX_TRY(store_.ensure_container());
        return {};
    }
    Result<ManifestId> apply(const std::optional<ManifestId>& base,
                             std::vector<chunk::ChunkId> removed, std::vector<Point> added,
                             const Deadline& deadline) override;
    Result<std::shared_ptr<const CollectionView>> open(const ManifestId& manifest) override;
    Result<int64_t> vacuum(const std::vector<ManifestId>& keep) override;

  private:
    Result<std::shared_ptr<const Segment>> open_segment(const ManifestSegment& entry,
                                                        uint64_t& verify_bytes);
    Result<std::vector<LiveSegment>> open_segments(const Manifest& manifest);
    Result<std::vector<PointRef>> check_added(const std::vector<Point>& added, size_t& width) const;
    std::vector<bool> choose_rewritten(const std::vector<LiveSegment>& segments,
                                       size_t added_count) const;
    Result<ManifestSegment> write(std::span<const PointRef> points, size_t width,
                                  const Deadline& deadline);
    Result<ManifestId> write_manifest(const Manifest& manifest);

    store::ObjectStore& store_;
    EmbeddedOptions options_;
    const kernels::Kernels& kernels_;
    std::mutex mutex_;
    std::map<std::string, std::weak_ptr<const Segment>> open_;  // by name; shared between views
};

Result<std::shared_ptr<const Segment>> EmbeddedStore::open_segment(const ManifestSegment& entry,
                                                                   uint64_t& verify_bytes) {
    {
        const std::lock_guard lock(mutex_);
        const auto known = open_.find(entry.name);
        if (known != open_.end()) {
            if (auto segment = known->second.lock()) return segment;
        }
    }
    const auto path = PX_TRY(store_.local_path(segment_key(options_, entry.name)));
    auto segment = PX_TRY(Segment::open(path, entry.name, entry.size, verify_bytes));
    const std::lock_guard lock(mutex_);
    std::erase_if(open_, [](const auto& item) { return item.second.expired(); });
    open_[entry.name] = segment;
    return segment;
}

Result<std::vector<LiveSegment>> EmbeddedStore::open_segments(const Manifest& manifest) {
    std::vector<LiveSegment> segments;
    uint64_t verify_bytes = options_.verify_bytes;
    for (const ManifestSegment& entry : manifest.segments) {
        LiveSegment live;
        live.segment = PX_TRY(open_segment(entry, verify_bytes));
        if (live.segment->point_count() != entry.point_count ||
            live.segment->width() != manifest.width) {
            return fail(ErrorCode::Corrupt,
                        fmt::format("index segment {}.pxseg is not the one its manifest describes",
                                    entry.name),
                        "Restore the index from a backup, or rebuild it from the lake.");
        }
        live.living = entry.living();
        live.living_length = live.segment->total_length();
        if (!entry.deleted.empty()) {
            live.deleted = Bitmap(entry.point_count);
            for (const uint32_t ordinal : entry.deleted) {
                live.deleted.set(ordinal);
                live.living_length -= live.segment->length(ordinal);
            }
        }
        segments.push_back(std::move(live));
    }
    return segments;
}

Result<std::shared_ptr<const CollectionView>> EmbeddedStore::open(const ManifestId& id) {
    const Manifest manifest = PX_TRY(read_manifest(store_, options_, id));
    auto segments = PX_TRY(open_segments(manifest));
    return std::shared_ptr<const CollectionView>(
        std::make_shared<EmbeddedView>(id, manifest.width, std::move(segments), kernels_));
}

/// References to the added points, sorted by id, the last of equal ids; sets width when it was 0.
Result<std::vector<PointRef>> EmbeddedStore::check_added(const std::vector<Point>& added,
                                                         size_t& width) const {
    std::vector<PointRef> refs;
    refs.reserve(added.size());
    for (const Point& point : added) {
        PointRef ref;
        ref.id = PX_TRY(check_point(point, width));
        ref.document = point.document_id;
        ref.source = point.source;
        ref.ds = point.ds;
        ref.title = point.title;
        ref.author = point.author;
        ref.category = point.category;
        ref.text = point.text;
        ref.created_at = point.created_at.value_or(kNoDate);
        ref.span = point.span;
        ref.vector = point.vector.data();
        refs.push_back(ref);
    }
    std::stable_sort(refs.begin(), refs.end(),
                     [](const PointRef& a, const PointRef& b) { return a.id < b.id; });
    size_t kept = 0;
    for (size_t i = 0; i < refs.size(); ++i) {
        if (i + 1 < refs.size() && refs[i + 1].id == refs[i].id) continue;
        refs[kept++] = refs[i];
    }
    refs.resize(kept);
    return refs;
}

/// docs/formats/manifest.md, steps 3 and 4. segments: those with living points.
std::vector<bool> EmbeddedStore::choose_rewritten(const std::vector<LiveSegment>& segments,
                                                  size_t added_count) const {
    std::vector<bool> rewritten(segments.size(), false);
    std::vector<size_t> small;
    size_t taken = added_count;
    size_t kept = 0;
    for (size_t i = 0; i < segments.size(); ++i) {
        const LiveSegment& live = segments[i];
        const double deleted = live.segment->point_count() - live.living;
        if (deleted > options_.deleted_ratio_max * live.segment->point_count()) {
            rewritten[i] = true;
            taken += live.living;
        } else {
            ++kept;
            if (live.living < options_.segment_points_max / 2) small.push_back(i);
        }
    }
    std::sort(small.begin(), small.end(), [&](size_t a, size_t b) {
        return std::tuple(segments[a].living, segments[a].segment->name()) <
               std::tuple(segments[b].living, segments[b].segment->name());
    });
    const auto written = [&](size_t points) {
        return (points + options_.segment_points_max - 1) / options_.segment_points_max;
    };
    bool merging = false;
    for (const size_t i : small) {
        const bool must = kept + written(taken) > options_.segments_max;
        if (!must && !(merging && segments[i].living <= taken)) break;
        merging = true;
        rewritten[i] = true;
        taken += segments[i].living;
        --kept;
    }
    return rewritten;
}

Result<ManifestSegment> EmbeddedStore::write(std::span<const PointRef> points, size_t width,
                                             const Deadline& deadline) {
    static std::atomic<uint64_t> counter{0};
    std::error_code error;
    std::filesystem::path folder = options_.scratch_directory;
    if (folder.empty()) {
        folder = std::filesystem::temp_directory_path(error);
        if (error) folder = "/tmp";
    }
    std::filesystem::create_directories(folder, error);
    const ScratchFile scratch{
        folder / fmt::format("px-segment-{}-{}.tmp", ::getpid(), counter.fetch_add(1))};
    std::filesystem::remove(scratch.path, error);  // of a crashed process with the same number
    SegmentOptions writing;
    writing.graph_points_min = options_.graph_points_min;
    writing.graph.thread_count = options_.thread_count;
    writing.kernels = &kernels_;
    const WrittenSegment written =
        PX_TRY(write_segment(scratch.path, points, width, writing, deadline));
    PX_TRY(store_.put_file(segment_key(options_, written.name), scratch.path));
    ManifestSegment entry;
    entry.name = written.name;
    entry.size = written.size;
    entry.point_count = static_cast<uint32_t>(points.size());
    return entry;
}

Result<ManifestId> EmbeddedStore::write_manifest(const Manifest& manifest) {
    const std::string bytes = format_manifest(manifest);
    ManifestId id{sha256_hex(bytes)};
    PX_TRY(store_.put(manifest_key(options_, id.value), bytes));
    return id;
}

Result<ManifestId> EmbeddedStore::apply(const std::optional<ManifestId>& base,
                                        std::vector<chunk::ChunkId> removed,
                                        std::vector<Point> added, const Deadline& deadline) {
    PX_TRY(deadline.check());
    Manifest before;
    if (base) before = PX_TRY(read_manifest(store_, options_, *base));
    std::vector<LiveSegment> segments = PX_TRY(open_segments(before));
    size_t width = before.width;
    std::vector<PointRef> points = PX_TRY(check_added(added, width));

    const auto living_place = [&](const RawId& id) -> std::optional<std::pair<size_t, uint32_t>> {
        for (size_t s = 0; s < segments.size(); ++s) {
            const auto ordinal = segments[s].segment->find(id);
            if (ordinal && !segments[s].is_deleted(*ordinal)) return std::pair(s, *ordinal);
        }
        return std::nullopt;
    };
    const auto erase = [&](std::pair<size_t, uint32_t> place) {
        LiveSegment& live = segments[place.first];
        if (live.deleted.empty()) live.deleted = Bitmap(live.segment->point_count());
        live.deleted.set(place.second);
        --live.living;
    };
    // Added points first: one that equals the living point of its id stays where it is, removed or
    // not.
    std::vector<RawId> stays;
    size_t kept = 0;
    for (size_t i = 0; i < points.size(); ++i) {
        if (i % kPointsPerCheck == 0) PX_TRY(deadline.check());
        const auto place = living_place(points[i].id);
        if (place &&
            equal(points[i], ref_of(*segments[place->first].segment, place->second), width)) {
            PX_TRY(segments[place->first].segment->verify_rest());
            stays.push_back(points[i].id);
            continue;
        }
        if (place) erase(*place);
        points[kept++] = points[i];
    }
    points.resize(kept);
    for (size_t i = 0; i < removed.size(); ++i) {
        if (i % kPointsPerCheck == 0) PX_TRY(deadline.check());
        const RawId id = PX_TRY(parse_chunk_id(removed[i].value));
        if (std::binary_search(stays.begin(), stays.end(), id)) continue;
        if (const auto place = living_place(id)) erase(*place);
    }

    std::erase_if(segments, [](const LiveSegment& live) { return live.living == 0; });
    const std::vector<bool> rewritten = choose_rewritten(segments, points.size());
    Manifest after;
    for (size_t s = 0; s < segments.size(); ++s) {
        const LiveSegment& live = segments[s];
        const Segment& segment = *live.segment;
        if (rewritten[s]) {
            PX_TRY(segment.verify_rest());
            for (size_t ordinal = 0; ordinal < segment.point_count(); ++ordinal) {
                if (!live.is_deleted(ordinal)) points.push_back(ref_of(segment, ordinal));
            }
            continue;
        }
        ManifestSegment entry;
        entry.name = segment.name();
        entry.size = segment.size_bytes();
        entry.point_count = segment.point_count();
        for (uint32_t ordinal = 0; ordinal < segment.point_count() && !live.deleted.empty();
             ++ordinal) {
            if (live.deleted.test(ordinal)) entry.deleted.push_back(ordinal);
        }
        after.segments.push_back(std::move(entry));
    }
    std::sort(points.begin(), points.end(),
              [](const PointRef& a, const PointRef& b) { return a.id < b.id; });
    for (size_t begin = 0; begin < points.size(); begin += options_.segment_points_max) {
        const size_t count = std::min(options_.segment_points_max, points.size() - begin);
        after.segments.push_back(
            PX_TRY(write(std::span(points).subspan(begin, count), width, deadline)));
    }
    std::sort(after.segments.begin(), after.segments.end(),
              [](const ManifestSegment& a, const ManifestSegment& b) { return a.name < b.name; });
    after.width = after.segments.empty() ? 0 : static_cast<uint32_t>(width);
    return write_manifest(after);
}

Result<int64_t> EmbeddedStore::vacuum(const std::vector<ManifestId>& keep) {
    std::set<std::string> kept;
    for (const ManifestId& id : keep) {
        const Manifest manifest = PX_TRY(read_manifest(store_, options_, id));
        kept.insert(manifest_key(options_, id.value));
        for (const ManifestSegment& segment : manifest.segments)
            kept.insert(segment_key(options_, segment.name));
    }
    int64_t freed = 0;
    // Manifests first: no manifest is ever left without its segments.
    for (const auto& [folder, suffix] :
         {std::pair<const char*, std::string_view>{"manifests/", ".pxman"},
          {"segments/", ".pxseg"}}) {
        for (const store::ObjectMeta& object : PX_TRY(store_.list(options_.prefix + folder))) {
            if (!object.key.ends_with(suffix) || kept.contains(object.key)) continue;
            PX_TRY(store_.remove(object.key));
            freed += object.size_bytes;
        }
    }
    log::info("index.vacuum", {{"manifests_kept", keep.size()}, {"freed_bytes", freed}});
    return freed;
}

}  // namespace

Result<void> EmbeddedOptions::validate() const {
    const auto bad = [](std::string message) {
        return fail(ErrorCode::InvalidArgument, std::move(message), "Correct the index options.");
    };
    if (!prefix.empty() && !prefix.ends_with('/'))
        return bad(fmt::format("the index prefix \"{}\" does not end in '/'", prefix));
    if (segments_max < 1 || segments_max > 1024)
        return bad(fmt::format("segments_max {} is not in 1 to 1024", segments_max));
    if (!(deleted_ratio_max >= 0) || deleted_ratio_max > 1)
        return bad(fmt::format("deleted_ratio_max {} is not in 0 to 1", deleted_ratio_max));
    if (segment_points_max < 1 || segment_points_max > (1U << 24)) {
        return bad(
            fmt::format("segment_points_max {} is not in 1 to 16777216", segment_points_max));
    }
    if (!kernel.empty() && kernels::find(kernel) == nullptr) {
        std::string names;
        for (const kernels::Kernels* supported : kernels::supported())
            names += fmt::format("{}{}", names.empty() ? "" : ", ", supported->name);
        return fail(ErrorCode::InvalidArgument,
                    fmt::format("index kernel \"{}\" is not supported here", kernel),
                    fmt::format("Supported: {}.", names));
    }
    return {};
}

Result<std::unique_ptr<VectorStore>> open_embedded_store(store::ObjectStore& store,
                                                         EmbeddedOptions options) {
    PX_TRY(options.validate());
    const kernels::Kernels& kernels =
        options.kernel.empty() ? kernels::best() : *kernels::find(options.kernel);
    return std::unique_ptr<VectorStore>(
        std::make_unique<EmbeddedStore>(store, std::move(options), kernels));
}

Result<void> check_embedded(store::ObjectStore& store, const EmbeddedOptions& options,
                            const ManifestId& id) {
    const Manifest manifest = PX_TRY(read_manifest(store, options, id));
    for (const ManifestSegment& entry : manifest.segments) {
        const auto path = PX_TRY(store.local_path(segment_key(options, entry.name)));
        uint64_t verify_bytes = UINT64_MAX;
        const auto segment = PX_TRY(Segment::open(path, entry.name, entry.size, verify_bytes));
        if (segment->point_count() != entry.point_count || segment->width() != manifest.width) {
            return fail(ErrorCode::Corrupt,
                        fmt::format("index segment {}.pxseg is not the one its manifest describes",
                                    entry.name));
        }
        Sha256 hash;
        std::ifstream file(path, std::ios::binary);
        std::string buffer(1 << 20, '\0');
        while (file.read(buffer.data(), static_cast<std::streamsize>(buffer.size())) ||
               file.gcount() > 0) {
            hash.update({buffer.data(), static_cast<size_t>(file.gcount())});
        }
        if (to_hex(hash.finish()) != entry.name) {
            return fail(
                ErrorCode::Corrupt,
                fmt::format("index segment {}.pxseg is damaged: its bytes have another SHA-256",
                            entry.name),
                "Restore it from a backup, or rebuild the index from the lake.");
        }
    }
    return {};
}

}  // namespace px::index
