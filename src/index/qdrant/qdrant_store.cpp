#include "index/qdrant/qdrant_store.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <mutex>
#include <set>

#include "base/log.h"
#include "base/parallel.h"
#include "base/sha256.h"
#include "index/qdrant/directory.h"
#include "index/qdrant/qdrant_client.h"
#include "index/qdrant/qdrant_view.h"

namespace px::index {

namespace qdrant {

namespace {

constexpr size_t kPageRecords = 1000;
constexpr size_t kDirectoriesKept = 2;
// A directory is written whole when its changes have become half of it, or many.
constexpr size_t kDeltasMax = 32;

/// Fields that filters ask for, and their types.
constexpr std::pair<std::string_view, std::string_view> kIndexes[] = {
    {kKind, "keyword"},           {kReleasedAt, "integer"},
    {kRetiredAt, "integer"},      {kGeneration, "integer"},
    {"chunk_id", "keyword"},      {"document_id", "keyword"},
    {"source", "keyword"},        {"ds", "keyword"},
    {"author_folded", "keyword"}, {"category_folded", "keyword"},
    {"created_at", "integer"},    {kAcl, "keyword"}};

json::object match(std::string_view key, std::string_view value) {
    return {{"key", key}, {"match", json::object{{"value", value}}}};
}
json::object at_least(std::string_view key, int64_t value) {
    return {{"key", key}, {"range", json::object{{"gte", value}}}};
}
json::object should(json::array conditions) { return {{"should", std::move(conditions)}}; }

/// The manifest of a collection without points: the same everywhere, and kept nowhere.
const std::string& empty_manifest() {
    static const std::string id = sha256_hex("px qdrant manifest 1, empty");
    return id;
}

/// What apply() has to do.
struct Changes {
    std::vector<size_t> added;      ///< places in the given points
    std::vector<Digest> digests;    ///< of added
    std::vector<RawId> removed;     ///< ascending: no longer shown, added again or not
    std::vector<uint32_t> retired;  ///< their rows
    std::vector<RawId> gone;        ///< of removed, what is not added again
};

class QdrantStore final : public VectorStore {
  public:
    explicit QdrantStore(QdrantOptions options)
        : client_(std::make_shared<QdrantClient>(std::move(options))) {}

    Result<void> prepare() override;
    Result<ManifestId> apply(const std::optional<ManifestId>& base,
                             std::vector<chunk::ChunkId> removed, std::vector<Point> added,
                             const Deadline& deadline) override;
    Result<std::shared_ptr<const CollectionView>> open(const ManifestId& manifest) override;
    Result<int64_t> vacuum(const std::vector<ManifestId>& keep) override;

  private:
    const QdrantOptions& options() const { return client_->options(); }
    Result<void> ensure_collection(size_t width, const Deadline& deadline);
    Result<std::optional<Manifest>> find_manifest(const std::string& id, const Deadline& deadline);
    Result<Manifest> read_manifest(const ManifestId& id, const Deadline& deadline);
    Result<std::vector<Manifest>> list_manifests(const Deadline& deadline);
    Result<std::shared_ptr<const Directory>> read_directory(const Manifest& manifest,
                                                            const Deadline& deadline);
    void remember(const std::string& manifest, std::shared_ptr<const Directory> directory);
    /// Every record a filter admits, page after page.
    Result<void> scroll(const json::object& filter, const json::value& with_payload,
                        const Deadline& deadline,
                        const std::function<Result<void>(const Record&)>& take);
    Result<int64_t> count(const json::object& filter, const Deadline& deadline);
    Result<Changes> find_changes(const Directory& before, const std::vector<Point>& points,
                                 const std::vector<chunk::ChunkId>& removed, size_t& width,
                                 const Deadline& deadline) const;
    Result<void> clean(int64_t generation, const Deadline& deadline);
    Result<void> upsert(const std::vector<Point>& points, const Changes& changes,
                        int64_t generation, std::vector<Row>& rows, const Deadline& deadline);
    Result<void> retire(const Directory& before, const Changes& changes, int64_t generation,
                        const Deadline& deadline);
    Result<void> put_payloads(const std::vector<std::pair<Uuid, json::object>>& points,
                              const Deadline& deadline);

    std::shared_ptr<QdrantClient> client_;
    std::mutex mutex_;
    std::vector<std::pair<std::string, std::shared_ptr<const Directory>>> directories_;
};

Result<void> QdrantStore::prepare() {
    PX_TRY(client_->check_server(Deadline::never()));
    // The first request that needs a right.
    auto info = client_->call("GET", "/exists", "", "look", Deadline::never());
    if (!info) return std::move(info).error();
    return {};
}

Result<void> QdrantStore::ensure_collection(size_t width, const Deadline& deadline) {
    auto info = client_->call("GET", "", "", "look", deadline);
    if (!info) {
        if (info.error().code != ErrorCode::NotFound) return std::move(info).error();
        const json::object sparse{{"index", json::object{{"on_disk", false}}}};
        const json::object request{
            {"vectors", json::object{{kDense, json::object{{"size", width}, {"distance", "Dot"}}}}},
            {"sparse_vectors", json::object{{kWords, sparse}, {kPairs, sparse}}},
            {"on_disk_payload", true},
            // Lists of points are read whole.
            {"strict_mode_config", json::object{{"enabled", false}}}};
        const auto made = client_->call("PUT", "", request, "create it", deadline);
        // By an attempt whose reply was lost, or by someone else just now: looked at below.
        if (!made && made.error().code != ErrorCode::AlreadyExists) return made.error();
        if (made) log::info("index.collection_created", {{"collection", options().collection}});
        info = client_->call("GET", "", "", "look", deadline);
        if (!info) return std::move(info).error();
    }
    const json::object* root = info->if_object();
    const auto member = [](const json::object* object, std::string_view name) {
        const json::value* value =
            object == nullptr ? nullptr : object->if_contains({name.data(), name.size()});
        return value == nullptr ? nullptr : value->if_object();
    };
    const json::object* params = member(member(root, "config"), "params");
    const json::object* dense = member(member(params, "vectors"), kDense);
    const json::object* sparse = member(params, "sparse_vectors");
    const json::value* distance = dense == nullptr ? nullptr : dense->if_contains("distance");
    if (dense == nullptr || member(sparse, kWords) == nullptr ||
        member(sparse, kPairs) == nullptr || distance == nullptr || *distance != "Dot") {
        return fail(ErrorCode::InvalidArgument,
                    fmt::format("{} is not one of px: it lacks the vectors dense, words and pairs",
                                client_->describe()),
                    "Name another collection in vectors.url.");
    }
    const int64_t size = PX_TRY(read_integer(*dense, "size"));
    if (size != static_cast<int64_t>(width)) {
        return fail(ErrorCode::InvalidArgument,
                    fmt::format("{} has vectors of {} dimensions, the model gives {}",
                                client_->describe(), size, width),
                    "Vectors of another model need a collection of their own: name another one in "
                    "vectors.url.");
    }
    const json::object* known = member(root, "payload_schema");
    for (const auto& [field, type] : kIndexes) {
        if (known != nullptr && known->contains({field.data(), field.size()})) continue;
        PX_TRY(client_->call("PUT", "/index?wait=true",
                             json::object{{"field_name", field}, {"field_schema", type}},
                             "make a payload index", deadline));
    }
    return {};
}

Result<void> QdrantStore::scroll(const json::object& filter, const json::value& with_payload,
                                 const Deadline& deadline,
                                 const std::function<Result<void>(const Record&)>& take) {
    json::object request{{"limit", kPageRecords},
                         {"filter", filter},
                         {"with_payload", with_payload},
                         {"with_vector", false}};
    while (true) {
        const json::value page =
            PX_TRY(client_->call("POST", "/points/scroll", request, "list points", deadline));
        for (const Record& record : PX_TRY(parse_records(page))) PX_TRY(take(record));
        const json::value* next = next_page(page);
        if (next == nullptr) return {};
        if (const json::value* before = request.if_contains("offset");
            before != nullptr && *before == *next) {
            return fail(ErrorCode::Corrupt, "Qdrant's answer gives the same page for ever");
        }
        request["offset"] = *next;
    }
}

Result<int64_t> QdrantStore::count(const json::object& filter, const Deadline& deadline) {
    const json::value result =
        PX_TRY(client_->call("POST", "/points/count",
                             json::object{{"filter", filter}, {"exact", true}}, "count", deadline));
    if (!result.is_object()) return fail(ErrorCode::Corrupt, "Qdrant's answer has no count");
    return read_integer(result.get_object(), "count");
}

Result<std::optional<Manifest>> QdrantStore::find_manifest(const std::string& id,
                                                           const Deadline& deadline) {
    auto result = client_->call(
        "POST", "/points",
        json::object{{"ids", json::array{json::string(format_uuid(manifest_uuid(id)))}},
                     {"with_payload", true},
                     {"with_vector", false}},
        "read a manifest", deadline);
    if (!result) return std::move(result).error();
    const std::vector<Record> records = PX_TRY(parse_records(*result));
    if (records.empty()) return std::optional<Manifest>();
    if (records.front().payload == nullptr)
        return fail(ErrorCode::Corrupt, "a manifest in Qdrant has no payload");
    Manifest manifest = PX_TRY(parse_manifest(*records.front().payload));
    if (manifest.id != id) {
        return fail(ErrorCode::Corrupt, fmt::format("the manifest {} in {} says it is {}", id,
                                                    client_->describe(), manifest.id));
    }
    return std::optional(std::move(manifest));
}

Result<Manifest> QdrantStore::read_manifest(const ManifestId& id, const Deadline& deadline) {
    if (!is_manifest_id(id.value)) {
        return fail(ErrorCode::InvalidArgument,
                    fmt::format("\"{}\" is no manifest id", id.value.substr(0, 80)),
                    "A manifest id has 64 lower-case hexadecimal digits.");
    }
    auto found = find_manifest(id.value, deadline);
    if (!found) return std::move(found).error();
    if (!*found) {
        return fail(ErrorCode::NotFound,
                    fmt::format("{} has no manifest {}", client_->describe(), id.value),
                    "Check vectors.url. If the collection was made anew, restore the old one from "
                    "a snapshot, or rebuild the index from the lake.");
    }
    return std::move(**found);
}

Result<std::vector<Manifest>> QdrantStore::list_manifests(const Deadline& deadline) {
    std::vector<Manifest> manifests;
    PX_TRY(scroll(json::object{{"must", json::array{match(kKind, kManifest)}}}, true, deadline,
                  [&](const Record& record) -> Result<void> {
                      if (record.payload == nullptr)
                          return fail(ErrorCode::Corrupt, "a manifest in Qdrant has no payload");
                      manifests.push_back(PX_TRY(parse_manifest(*record.payload)));
                      return {};
                  }));
    return manifests;
}

void QdrantStore::remember(const std::string& manifest,
                           std::shared_ptr<const Directory> directory) {
    const std::lock_guard lock(mutex_);
    std::erase_if(directories_, [&](const auto& item) { return item.first == manifest; });
    directories_.insert(directories_.begin(), {manifest, std::move(directory)});
    if (directories_.size() > kDirectoriesKept) directories_.resize(kDirectoriesKept);
}

Result<std::shared_ptr<const Directory>> QdrantStore::read_directory(const Manifest& manifest,
                                                                     const Deadline& deadline) {
    {
        const std::lock_guard lock(mutex_);
        for (const auto& [id, directory] : directories_) {
            if (id == manifest.id) return directory;
        }
    }
    struct Place {
        Uuid id;
        size_t entry;
    };
    std::vector<Place> places;
    for (size_t entry = 0; entry < manifest.parts.size(); ++entry) {
        const auto& [generation, parts] = manifest.parts[entry];
        for (int64_t part = 0; part < parts; ++part)
            places.push_back({directory_uuid(generation, static_cast<size_t>(part)), entry});
    }
    auto directory = std::make_shared<Directory>();
    Part changes;
    size_t entry = 0;
    const auto flush = [&] {
        directory->change(std::move(changes.removed), std::move(changes.added));
        changes = {};
    };
    const size_t group = options().requests_in_flight * 2;
    for (size_t begin = 0; begin < places.size(); begin += group) {
        const size_t count = std::min(group, places.size() - begin);
        std::vector<json::value> results(count);
        PX_TRY(parallel_for(
            count, options().requests_in_flight, deadline, [&](size_t i) -> Result<void> {
                const json::string id(format_uuid(places[begin + i].id));
                results[i] = PX_TRY(client_->call(
                    "POST", "/points",
                    json::object{
                        {"ids", json::array{id}}, {"with_payload", true}, {"with_vector", false}},
                    "read a directory", deadline));
                return {};
            }));
        for (size_t i = 0; i < count; ++i) {
            const std::vector<Record> records = PX_TRY(parse_records(results[i]));
            if (records.size() != 1 || records.front().payload == nullptr) {
                return fail(ErrorCode::Corrupt,
                            fmt::format("{} lacks a part of the directory of manifest {}",
                                        client_->describe(), manifest.id),
                            "Restore the collection from a snapshot, or rebuild the index from "
                            "the lake.");
            }
            if (places[begin + i].entry != entry) {
                flush();
                entry = places[begin + i].entry;
            }
            Part part = PX_TRY(parse_part(*records.front().payload, *directory));
            changes.added.insert(changes.added.end(), part.added.begin(), part.added.end());
            changes.removed.insert(changes.removed.end(), part.removed.begin(), part.removed.end());
        }
    }
    flush();
    if (static_cast<int64_t>(directory->rows().size()) != manifest.point_count ||
        directory->checksum() != manifest.checksum) {
        return fail(ErrorCode::Corrupt,
                    fmt::format("the directory of manifest {} in {} is damaged", manifest.id,
                                client_->describe()),
                    "Restore the collection from a snapshot, or rebuild the index from the lake.");
    }
    directory->finish();
    remember(manifest.id, directory);
    return std::shared_ptr<const Directory>(directory);
}

Result<std::shared_ptr<const CollectionView>> QdrantStore::open(const ManifestId& id) {
    if (id.value == empty_manifest())
        return std::shared_ptr<const CollectionView>(std::make_shared<QdrantView>(id));
    PX_TRY(client_->check_server(Deadline::never()));
    Manifest manifest = PX_TRY(read_manifest(id, Deadline::never()));
    auto directory = PX_TRY(read_directory(manifest, Deadline::never()));
    return std::shared_ptr<const CollectionView>(
        std::make_shared<QdrantView>(client_, std::move(manifest), std::move(directory)));
}

Result<Changes> QdrantStore::find_changes(const Directory& before, const std::vector<Point>& points,
                                          const std::vector<chunk::ChunkId>& removed, size_t& width,
                                          const Deadline& deadline) const {
    std::map<RawId, size_t> given;  // the last of equal ids counts
    for (size_t i = 0; i < points.size(); ++i) given[PX_TRY(check_point(points[i], width))] = i;
    Changes changes;
    std::set<RawId> stays;
    for (const auto& [id, place] : given) {
        PX_TRY(deadline.check());
        const Digest digest = digest_of(points[place]);
        const auto row = before.find(id);
        if (row && before.rows()[*row].digest == digest) {
            stays.insert(id);
            continue;
        }
        if (row) {
            changes.removed.push_back(id);
            changes.retired.push_back(*row);
        }
        changes.added.push_back(place);
        changes.digests.push_back(digest);
    }
    std::set<RawId> asked;
    for (const chunk::ChunkId& chunk : removed) {
        const RawId id = PX_TRY(parse_chunk_id(chunk.value));
        const auto row = before.find(id);
        if (!row || stays.contains(id) || given.contains(id) || !asked.insert(id).second) continue;
        changes.removed.push_back(id);
        changes.retired.push_back(*row);
        changes.gone.push_back(id);
    }
    std::sort(changes.removed.begin(), changes.removed.end());
    std::sort(changes.retired.begin(), changes.retired.end());
    std::sort(changes.gone.begin(), changes.gone.end());
    return changes;
}

/// Takes out what a run left that was given up: everything of this generation or a later one.
Result<void> QdrantStore::clean(int64_t generation, const Deadline& deadline) {
    const json::object left =
        should(json::array{at_least(kReleasedAt, generation), at_least(kGeneration, generation)});
    PX_TRY(client_->call("POST", "/points/delete?wait=true", json::object{{"filter", left}},
                         "delete what an unfinished run left", deadline));
    // Points that run retired live again. A value may be a number or a list of them.
    std::map<std::vector<int64_t>, json::array> earlier;
    PX_TRY(scroll(json::object{{"must", json::array{at_least(kRetiredAt, generation)}}},
                  json::array{kRetiredAt}, deadline, [&](const Record& record) -> Result<void> {
                      std::vector<int64_t> numbers = PX_TRY(read_retired(record));
                      std::erase_if(numbers, [&](int64_t n) { return n >= generation; });
                      earlier[numbers].push_back(json::string(format_uuid(record.id)));
                      return {};
                  }));
    for (auto& [numbers, ids] : earlier) {
        for (size_t begin = 0; begin < ids.size(); begin += kPageRecords) {
            json::array some(ids.begin() + static_cast<std::ptrdiff_t>(begin),
                             ids.begin() + static_cast<std::ptrdiff_t>(
                                               std::min(ids.size(), begin + kPageRecords)));
            if (numbers.empty()) {
                PX_TRY(client_->call(
                    "POST", "/points/payload/delete?wait=true",
                    json::object{{"keys", json::array{kRetiredAt}}, {"points", std::move(some)}},
                    "take back what an unfinished run retired", deadline));
            } else {
                PX_TRY(client_->call(
                    "POST", "/points/payload?wait=true",
                    json::object{{"payload", json::object{{kRetiredAt, retired_value(numbers)}}},
                                 {"points", std::move(some)}},
                    "take back what an unfinished run retired", deadline));
            }
        }
    }
    return {};
}

Result<void> QdrantStore::upsert(const std::vector<Point>& points, const Changes& changes,
                                 int64_t generation, std::vector<Row>& rows,
                                 const Deadline& deadline) {
    rows.resize(changes.added.size());
    // Batches by the bytes of text and vector, before anything is formatted.
    std::vector<size_t> begins;
    size_t bytes = 0;
    for (size_t i = 0; i < changes.added.size(); ++i) {
        const Point& point = points[changes.added[i]];
        const size_t own = point.vector.size() * 12 + point.text.size() * 4 + 1024;
        if (begins.empty() || bytes + own > options().batch_bytes ||
            i - begins.back() >= options().batch_points) {
            begins.push_back(i);
            bytes = 0;
        }
        bytes += own;
    }
    return parallel_for(
        begins.size(), options().requests_in_flight, deadline, [&](size_t b) -> Result<void> {
            LexiconMaker lexicons;
            std::string body = "{\"points\":[";
            const size_t end = b + 1 < begins.size() ? begins[b + 1] : changes.added.size();
            for (size_t i = begins[b]; i < end; ++i) {
                const Point& point = points[changes.added[i]];
                const Lexicon lexicon = lexicons.make(point);
                Row& row = rows[i];
                row.id = PX_TRY(parse_chunk_id(point.id.value));
                row.digest = changes.digests[i];
                row.generation = generation;
                row.length = lexicon.length;
                row.start = point.span.start;
                row.created_at = point.created_at.value_or(kNoDate);
                if (i > begins[b]) body += ',';
                append_point(body, point, lexicon, chunk_uuid(row.id, generation), generation);
            }
            body += "]}";
            PX_TRY(client_->call("PUT", "/points?wait=true", body, "add points", deadline));
            return {};
        });
}

Result<void> QdrantStore::retire(const Directory& before, const Changes& changes,
                                 int64_t generation, const Deadline& deadline) {
    const size_t batches = (changes.retired.size() + kPageRecords - 1) / kPageRecords;
    return parallel_for(
        batches, options().requests_in_flight, deadline, [&](size_t b) -> Result<void> {
            json::array ids;
            const size_t end = std::min(changes.retired.size(), (b + 1) * kPageRecords);
            for (size_t i = b * kPageRecords; i < end; ++i)
                ids.push_back(json::string(format_uuid(before.uuid(changes.retired[i]))));
            const size_t wanted = ids.size();
            // A later release of another line may have retired some before.
            const json::value result =
                PX_TRY(client_->call("POST", "/points",
                                     json::object{{"ids", std::move(ids)},
                                                  {"with_payload", json::array{kRetiredAt}},
                                                  {"with_vector", false}},
                                     "read points", deadline));
            const std::vector<Record> records = PX_TRY(parse_records(result));
            if (records.size() != wanted) {
                return fail(ErrorCode::NotFound,
                            fmt::format("{} lacks points of the release it is to build upon",
                                        client_->describe()),
                            "Restore the collection from a snapshot, or rebuild the index from "
                            "the lake.");
            }
            std::map<std::vector<int64_t>, json::array> groups;
            for (const Record& record : records) {
                std::vector<int64_t> numbers = PX_TRY(read_retired(record));
                numbers.push_back(generation);
                groups[numbers].push_back(json::string(format_uuid(record.id)));
            }
            json::array operations;
            for (auto& [numbers, points] : groups) {
                operations.push_back(json::object{
                    {"set_payload",
                     json::object{{"payload", json::object{{kRetiredAt, retired_value(numbers)}}},
                                  {"points", std::move(points)}}}});
            }
            PX_TRY(client_->call("POST", "/points/batch?wait=true",
                                 json::object{{"operations", std::move(operations)}},
                                 "retire points", deadline));
            return {};
        });
}

Result<void> QdrantStore::put_payloads(const std::vector<std::pair<Uuid, json::object>>& points,
                                       const Deadline& deadline) {
    return parallel_for(
        points.size(), options().requests_in_flight, deadline, [&](size_t i) -> Result<void> {
            const auto& [id, payload] = points[i];
            json::object point{
                {"id", format_uuid(id)}, {"vector", json::object()}, {"payload", payload}};
            PX_TRY(client_->call("PUT", "/points?wait=true&ordering=strong",
                                 json::object{{"points", json::array{std::move(point)}}},
                                 "write the release's list of points", deadline));
            return {};
        });
}

Result<ManifestId> QdrantStore::apply(const std::optional<ManifestId>& base,
                                      std::vector<chunk::ChunkId> removed, std::vector<Point> added,
                                      const Deadline& deadline) {
    PX_TRY(deadline.check());
    std::optional<Manifest> before;
    std::shared_ptr<const Directory> from = std::make_shared<Directory>();
    if (base && base->value != empty_manifest()) {
        PX_TRY(client_->check_server(deadline));
        before = PX_TRY(read_manifest(*base, deadline));
        from = PX_TRY(read_directory(*before, deadline));
    }
    auto width = static_cast<size_t>(before ? before->width : 0);
    const Changes changes = PX_TRY(find_changes(*from, added, removed, width, deadline));
    if (changes.added.empty() && changes.removed.empty())
        return before ? ManifestId{before->id} : ManifestId{empty_manifest()};
    if (changes.added.empty() && changes.removed.size() == from->rows().size())
        return ManifestId{empty_manifest()};

    // The name: where from, and what changes.
    Sha256 hash;
    hash.update(fmt::format("px qdrant manifest 1\n{}\n", before ? before->id : empty_manifest()));
    for (const RawId& id : changes.gone) hash.update(fmt::format("- {}\n", format_chunk_id(id)));
    for (size_t i = 0; i < changes.added.size(); ++i) {
        hash.update(fmt::format("+ {} {}\n", added[changes.added[i]].id.value,
                                format_chunk_id(changes.digests[i])));
    }
    Manifest after;
    after.id = to_hex(hash.finish());
    after.width = static_cast<int64_t>(width);

    PX_TRY(client_->check_server(deadline));
    PX_TRY(ensure_collection(width, deadline));
    if (PX_TRY(find_manifest(after.id, deadline))) return ManifestId{after.id};
    for (const Manifest& known : PX_TRY(list_manifests(deadline)))
        after.generation = std::max(after.generation, known.generation);
    after.generation += 1;
    if (before) after.chain = before->chain;
    append_generation(after.chain, after.generation);
    PX_TRY(clean(after.generation, deadline));

    std::vector<Row> rows;
    PX_TRY(upsert(added, changes, after.generation, rows, deadline));
    PX_TRY(retire(*from, changes, after.generation, deadline));

    auto directory = std::make_shared<Directory>(*from);
    for (size_t i = 0; i < rows.size(); ++i) {
        const Point& point = added[changes.added[i]];
        rows[i].document = directory->intern(point.document_id);
        rows[i].source = directory->intern(point.source);
        rows[i].author_folded = directory->intern(fold_case(point.author));
        rows[i].category_folded = directory->intern(fold_case(point.category));
    }
    directory->change(changes.removed, rows);
    directory->finish();
    after.point_count = static_cast<int64_t>(directory->rows().size());
    after.checksum = directory->checksum();
    const auto changed = static_cast<int64_t>(rows.size() + changes.removed.size());
    std::vector<json::object> parts;
    if (before && before->parts.size() < kDeltasMax &&
        2 * (before->delta_rows + changed) <= before->full_rows) {
        after.parts = before->parts;
        after.full_rows = before->full_rows;
        after.delta_rows = before->delta_rows + changed;
        parts = format_parts(*directory, rows, changes.removed, after.generation,
                             options().directory_rows);
    } else {
        after.full_rows = after.point_count;
        parts = format_parts(*directory, directory->rows(), {}, after.generation,
                             options().directory_rows);
    }
    after.parts.emplace_back(after.generation, static_cast<int64_t>(parts.size()));
    std::vector<std::pair<Uuid, json::object>> points;
    for (size_t i = 0; i < parts.size(); ++i)
        points.emplace_back(directory_uuid(after.generation, i), std::move(parts[i]));
    PX_TRY(put_payloads(points, deadline));

    const int64_t shown = PX_TRY(count(visible_filter(after.chain), deadline));
    if (shown != after.point_count) {
        return fail(ErrorCode::Corrupt,
                    fmt::format("{} shows {} points of the new release, not {}",
                                client_->describe(), shown, after.point_count),
                    "Something else writes to the collection or has deleted from it: restore it "
                    "from a snapshot, or name an empty one and rebuild the index from the lake.");
    }
    // From here on the release can be opened.
    PX_TRY(put_payloads({{manifest_uuid(after.id), format_manifest(after)}}, deadline));
    remember(after.id, directory);
    return ManifestId{after.id};
}

Result<int64_t> QdrantStore::vacuum(const std::vector<ManifestId>& keep) {
    const Deadline deadline = Deadline::never();
    PX_TRY(client_->check_server(deadline));
    std::vector<Manifest> kept;
    for (const ManifestId& id : keep) {
        if (id.value != empty_manifest()) kept.push_back(PX_TRY(read_manifest(id, deadline)));
    }
    auto listed = list_manifests(deadline);
    if (!listed) {
        if (listed.error().code == ErrorCode::NotFound && kept.empty()) return 0;
        return std::move(listed).error();
    }
    // Manifests first: none is ever left without its points.
    json::array unneeded;
    int64_t width = 0;
    for (const Manifest& manifest : *listed) {
        width = std::max(width, manifest.width);
        const bool is_kept = std::any_of(kept.begin(), kept.end(), [&](const Manifest& other) {
            return other.id == manifest.id;
        });
        if (!is_kept) unneeded.push_back(json::string(format_uuid(manifest_uuid(manifest.id))));
    }
    if (!unneeded.empty()) {
        PX_TRY(client_->call("POST", "/points/delete?wait=true&ordering=strong",
                             json::object{{"points", unneeded}}, "delete old manifests", deadline));
    }
    json::array shown;
    json::array parts;
    for (const Manifest& manifest : kept) {
        shown.push_back(visible_filter(manifest.chain));
        for (const auto& [generation, count] : manifest.parts) parts.push_back(generation);
    }
    json::object points{{"must", json::array{match(kKind, kChunk)}}};
    if (!shown.empty()) points["must_not"] = std::move(shown);
    const int64_t old_points = PX_TRY(count(points, deadline));
    if (old_points > 0) {
        PX_TRY(client_->call("POST", "/points/delete?wait=true", json::object{{"filter", points}},
                             "delete old points", deadline));
    }
    json::object directories{{"must", json::array{match(kKind, kDirectory)}}};
    if (!parts.empty()) {
        directories["must_not"] = json::array{
            json::object{{"key", kGeneration}, {"match", json::object{{"any", std::move(parts)}}}}};
    }
    PX_TRY(client_->call("POST", "/points/delete?wait=true", json::object{{"filter", directories}},
                         "delete old directories", deadline));
    {
        const std::lock_guard lock(mutex_);
        std::erase_if(directories_, [&](const auto& item) {
            return std::none_of(kept.begin(), kept.end(),
                                [&](const Manifest& other) { return other.id == item.first; });
        });
    }
    const int64_t freed = old_points * width * static_cast<int64_t>(sizeof(float));
    log::info(
        "index.vacuum",
        {{"manifests_kept", keep.size()}, {"points_deleted", old_points}, {"freed_bytes", freed}});
    return freed;
}

}  // namespace
}  // namespace qdrant

Result<void> QdrantOptions::validate() const {
    const auto bad = [](std::string message, std::string hint = "Correct the index options.") {
        return fail(ErrorCode::InvalidArgument, std::move(message), std::move(hint));
    };
    PX_TRY(http.validate());
    PX_TRY(retry.validate());
    const bool secure = url.starts_with("https://");
    if (!secure && !url.starts_with("http://"))
        return bad("the address of Qdrant begins with neither http:// nor https://");
    if (url.find_first_of("?#@ ") != std::string::npos || url.ends_with('/'))
        return bad("the address of Qdrant is not http://HOST:PORT or https://HOST:PORT");
    if (collection.empty() || collection.size() > 255 ||
        std::any_of(collection.begin(), collection.end(), [](unsigned char c) {
            return c < 0x20 || c == 0x7F ||
                   std::string_view("<>:\"/\\|?*").find(static_cast<char>(c)) !=
                       std::string_view::npos;
        })) {
        return bad("Qdrant would not take the name of the collection",
                   "A name has 1 to 255 characters, none of <>:\"/\\|?*");
    }
    if (!api_key.empty() && !secure && !capi::curl::is_loopback_host(capi::curl::url_host(url))) {
        return bad(
            fmt::format("an api-key would go to {} in the clear", capi::curl::url_origin(url)),
            "Use https, or unset QDRANT_API_KEY");
    }
    if (api_key.find_first_of("\r\n") != std::string::npos)
        return bad("the api-key of Qdrant holds a line break", "Check QDRANT_API_KEY");
    if (requests_in_flight < 1 || requests_in_flight > 64)
        return bad(fmt::format("requests_in_flight {} is not in 1 to 64", requests_in_flight));
    if (batch_points < 1 || batch_points > 100'000 || batch_bytes < 1 ||
        batch_bytes > (size_t{24} << 20)) {
        return bad("batches are not in 1 to 100000 points and 1 byte to 24 MiB");
    }
    if (directory_rows < 1 || directory_rows > 100'000 || fetch_points < 1 ||
        fetch_points > 100'000) {
        return bad("directory_rows and fetch_points are not in 1 to 100000");
    }
    return {};
}

Result<std::unique_ptr<VectorStore>> open_qdrant_store(QdrantOptions options) {
    options.http.connections_max =
        std::max(options.http.connections_max, options.requests_in_flight);
    PX_TRY(options.validate());
    return std::unique_ptr<VectorStore>(std::make_unique<qdrant::QdrantStore>(std::move(options)));
}

}  // namespace px::index
