#include "index/qdrant/directory.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>
#include <numeric>

#include "base/sha256.h"

namespace px::index::qdrant {

namespace {

constexpr int64_t kFormat = 1;
constexpr int64_t kGenerationMax = int64_t{1} << 40;
constexpr int64_t kPartsMax = 1 << 20;

Error corrupt(std::string what) {
    return fail(ErrorCode::Corrupt, "the index in Qdrant is damaged: " + std::move(what),
                "Restore the collection from a snapshot, or rebuild the index from the lake.");
}

template <class Id>
void append_hex(std::string& out, const Id& id) {
    out += format_chunk_id(id);
}

/// Ids of 32 digits each, one after another.
Result<std::vector<RawId>> read_ids(const json::object& payload, std::string_view name) {
    const std::string_view hex = PX_TRY(read_text(payload, name));
    if (hex.size() % 32 != 0) return corrupt(fmt::format("\"{}\" of a directory", name));
    std::vector<RawId> ids;
    ids.reserve(hex.size() / 32);
    for (size_t at = 0; at < hex.size(); at += 32) {
        const auto id = parse_chunk_id(hex.substr(at, 32));
        if (!id) return corrupt(fmt::format("\"{}\" of a directory", name));
        ids.push_back(*id);
    }
    return ids;
}

/// count whole numbers in [low, high]; null stands for kNoDate where that is allowed.
Result<std::vector<int64_t>> read_column(const json::object& payload, std::string_view name,
                                         size_t count, int64_t low, int64_t high) {
    const json::array& array = *PX_TRY(read_array(payload, name));
    if (array.size() != count) return corrupt(fmt::format("\"{}\" of a directory", name));
    std::vector<int64_t> numbers;
    numbers.reserve(count);
    for (const json::value& value : array) {
        const bool absent = value.is_null() && low == kNoDate;
        if (!absent && (!value.is_int64() || value.get_int64() < low || value.get_int64() > high)) {
            return corrupt(fmt::format("\"{}\" of a directory", name));
        }
        numbers.push_back(absent ? kNoDate : value.get_int64());
    }
    return numbers;
}

}  // namespace

uint32_t Directory::intern(std::string_view name) {
    const auto [entry, is_new] =
        places_.try_emplace(std::string(name), static_cast<uint32_t>(names_.size()));
    if (is_new) names_.emplace_back(name);
    return entry->second;
}

void Directory::change(std::vector<RawId> removed, std::vector<Row> added) {
    const auto by_id = [](const Row& a, const Row& b) { return a.id < b.id; };
    for (const Row& row : added) removed.push_back(row.id);
    std::sort(removed.begin(), removed.end());
    std::erase_if(rows_, [&](const Row& row) {
        return std::binary_search(removed.begin(), removed.end(), row.id);
    });
    // The last of equal ids counts.
    std::stable_sort(added.begin(), added.end(), by_id);
    for (size_t i = 0; i < added.size(); ++i) {
        if (i + 1 == added.size() || added[i + 1].id != added[i].id) rows_.push_back(added[i]);
    }
    std::sort(rows_.begin(), rows_.end(), by_id);
}

void Directory::finish() {
    by_uuid_.clear();
    by_uuid_.reserve(rows_.size());
    documents_.clear();
    for (uint32_t row = 0; row < rows_.size(); ++row) {
        by_uuid_.emplace(uuid(row), row);
        documents_.push_back(rows_[row].document);
    }
    std::sort(documents_.begin(), documents_.end());
    documents_.erase(std::unique(documents_.begin(), documents_.end()), documents_.end());
    std::sort(documents_.begin(), documents_.end(),
              [&](uint32_t a, uint32_t b) { return names_[a] < names_[b]; });
    std::vector<uint32_t> numbers(names_.size(), 0);
    for (uint32_t number = 0; number < documents_.size(); ++number)
        numbers[documents_[number]] = number;

    document_of_.assign(rows_.size(), 0);
    document_lengths_.assign(documents_.size(), 0);
    first_row_.assign(documents_.size() + 1, 0);
    total_length_ = 0;
    for (uint32_t row = 0; row < rows_.size(); ++row) {
        const uint32_t number = numbers[rows_[row].document];
        document_of_[row] = number;
        document_lengths_[number] += rows_[row].length;
        total_length_ += rows_[row].length;
        ++first_row_[number + 1];
    }
    std::partial_sum(first_row_.begin(), first_row_.end(), first_row_.begin());
    document_rows_.resize(rows_.size());
    std::iota(document_rows_.begin(), document_rows_.end(), 0U);
    std::sort(document_rows_.begin(), document_rows_.end(), [&](uint32_t a, uint32_t b) {
        if (document_of_[a] != document_of_[b]) return document_of_[a] < document_of_[b];
        if (rows_[a].start != rows_[b].start) return rows_[a].start < rows_[b].start;
        return a < b;  // rows ascend by id
    });
}

std::optional<uint32_t> Directory::find(const RawId& id) const {
    const auto place = std::lower_bound(rows_.begin(), rows_.end(), id,
                                        [](const Row& row, const RawId& x) { return row.id < x; });
    if (place == rows_.end() || place->id != id) return std::nullopt;
    return static_cast<uint32_t>(place - rows_.begin());
}

std::optional<uint32_t> Directory::find_uuid(const Uuid& id) const {
    const auto place = by_uuid_.find(id);
    if (place == by_uuid_.end()) return std::nullopt;
    return place->second;
}

std::string Directory::checksum() const {
    Sha256 hash;
    for (const Row& row : rows_) {
        hash.update({reinterpret_cast<const char*>(row.id.data()), row.id.size()});
        hash.update({reinterpret_cast<const char*>(row.digest.data()), row.digest.size()});
        hash.update({reinterpret_cast<const char*>(&row.generation), sizeof row.generation});
    }
    return to_hex(hash.finish());
}

std::optional<uint32_t> Directory::find_document(std::string_view id) const {
    const auto place =
        std::lower_bound(documents_.begin(), documents_.end(), id,
                         [&](uint32_t name, std::string_view x) { return names_[name] < x; });
    if (place == documents_.end() || names_[*place] != id) return std::nullopt;
    return static_cast<uint32_t>(place - documents_.begin());
}

std::span<const uint32_t> Directory::rows_of(uint32_t number) const {
    return std::span(document_rows_)
        .subspan(first_row_[number], first_row_[number + 1] - first_row_[number]);
}

Directory Directory::of_documents(const std::function<bool(std::string_view id)>& admits) const {
    Directory part;
    std::vector<bool> admitted(documents_.size());
    for (uint32_t number = 0; number < documents_.size(); ++number)
        admitted[number] = admits(document_name(number));
    for (uint32_t place = 0; place < rows_.size(); ++place) {
        if (!admitted[document_of_[place]]) continue;
        Row row = rows_[place];
        for (uint32_t* name :
             {&row.document, &row.source, &row.author_folded, &row.category_folded})
            *name = part.intern(names_[*name]);
        part.rows_.push_back(row);
    }
    part.finish();
    return part;
}

std::vector<bool> Directory::allowed(const FoldedFilter& folded) const {
    if (!folded.restricts) return {};
    const Filter& filter = folded.filter;
    // Places of the wanted names.
    const auto wanted = [&](const std::vector<std::string>& values) {
        std::vector<uint32_t> places;
        for (const std::string& value : values) {
            if (const auto place = places_.find(value); place != places_.end())
                places.push_back(place->second);
        }
        return places;
    };
    const auto authors = wanted(folded.authors);
    const auto categories = wanted(folded.categories);
    const auto sources = wanted(filter.sources);
    const auto documents =
        filter.document_id ? wanted({*filter.document_id}) : std::vector<uint32_t>();
    const auto passes = [](bool asked, const std::vector<uint32_t>& places, uint32_t place) {
        return !asked || std::find(places.begin(), places.end(), place) != places.end();
    };
    std::vector<bool> allowed(rows_.size());
    for (size_t i = 0; i < rows_.size(); ++i) {
        const Row& row = rows_[i];
        allowed[i] = passes(!folded.authors.empty(), authors, row.author_folded) &&
                     passes(!folded.categories.empty(), categories, row.category_folded) &&
                     passes(!filter.sources.empty(), sources, row.source) &&
                     passes(filter.document_id.has_value(), documents, row.document) &&
                     (!(filter.from || filter.to) || row.created_at != kNoDate) &&
                     (!filter.from || row.created_at >= *filter.from) &&
                     (!filter.to || row.created_at < *filter.to);
    }
    return allowed;
}

std::vector<json::object> format_parts(const Directory& names, std::span<const Row> added,
                                       std::span<const RawId> removed, int64_t generation,
                                       size_t rows_max) {
    const size_t count =
        std::max<size_t>(1, (std::max(added.size(), removed.size()) + rows_max - 1) / rows_max);
    std::vector<json::object> parts;
    for (size_t p = 0; p < count; ++p) {
        const auto slice = [&](auto all) {
            const size_t begin = std::min(all.size(), p * rows_max);
            return all.subspan(begin, std::min(rows_max, all.size() - begin));
        };
        std::string gone;
        for (const RawId& id : slice(removed)) append_hex(gone, id);
        std::string ids;
        std::string digests;
        std::unordered_map<uint32_t, uint32_t> places;
        json::array texts;
        json::array generations, lengths, starts, created, documents, sources, authors, categories;
        const auto place_of = [&](uint32_t name) {
            const auto [entry, is_new] =
                places.try_emplace(name, static_cast<uint32_t>(texts.size()));
            if (is_new) texts.push_back(json::string(names.name(name)));
            return entry->second;
        };
        for (const Row& row : slice(added)) {
            append_hex(ids, row.id);
            append_hex(digests, row.digest);
            generations.push_back(row.generation);
            lengths.push_back(static_cast<int64_t>(row.length));
            starts.push_back(row.start);
            created.push_back(row.created_at == kNoDate ? json::value() : row.created_at);
            documents.push_back(static_cast<int64_t>(place_of(row.document)));
            sources.push_back(static_cast<int64_t>(place_of(row.source)));
            authors.push_back(static_cast<int64_t>(place_of(row.author_folded)));
            categories.push_back(static_cast<int64_t>(place_of(row.category_folded)));
        }
        parts.push_back({{kKind, kDirectory},
                         {kGeneration, generation},
                         {"part", static_cast<int64_t>(p)},
                         {"removed", gone},
                         {"names", std::move(texts)},
                         {"ids", ids},
                         {"digests", digests},
                         {"generations", std::move(generations)},
                         {"lengths", std::move(lengths)},
                         {"starts", std::move(starts)},
                         {"created", std::move(created)},
                         {"documents", std::move(documents)},
                         {"sources", std::move(sources)},
                         {"authors", std::move(authors)},
                         {"categories", std::move(categories)}});
    }
    return parts;
}

Result<Part> parse_part(const json::object& payload, Directory& directory) {
    Part part;
    part.removed = PX_TRY(read_ids(payload, "removed"));
    std::vector<uint32_t> names;
    for (const json::value& name : *PX_TRY(read_array(payload, "names"))) {
        if (!name.is_string()) return corrupt("\"names\" of a directory");
        names.push_back(directory.intern({name.get_string().data(), name.get_string().size()}));
    }
    const auto ids = PX_TRY(read_ids(payload, "ids"));
    const auto digests = PX_TRY(read_ids(payload, "digests"));
    const size_t n = ids.size();
    if (digests.size() != n) return corrupt("\"digests\" of a directory");
    const auto last_name = static_cast<int64_t>(names.size()) - 1;
    const auto generations = PX_TRY(read_column(payload, "generations", n, 1, kGenerationMax));
    const auto lengths = PX_TRY(read_column(payload, "lengths", n, 0, UINT32_MAX));
    const auto starts = PX_TRY(read_column(payload, "starts", n, INT64_MIN + 1, INT64_MAX));
    const auto created = PX_TRY(read_column(payload, "created", n, kNoDate, INT64_MAX));
    const auto documents = PX_TRY(read_column(payload, "documents", n, 0, last_name));
    const auto sources = PX_TRY(read_column(payload, "sources", n, 0, last_name));
    const auto authors = PX_TRY(read_column(payload, "authors", n, 0, last_name));
    const auto categories = PX_TRY(read_column(payload, "categories", n, 0, last_name));
    part.added.resize(n);
    for (size_t i = 0; i < n; ++i) {
        Row& row = part.added[i];
        row.id = ids[i];
        row.digest = digests[i];
        row.generation = generations[i];
        row.length = static_cast<uint32_t>(lengths[i]);
        row.start = starts[i];
        row.created_at = created[i];
        row.document = names[static_cast<size_t>(documents[i])];
        row.source = names[static_cast<size_t>(sources[i])];
        row.author_folded = names[static_cast<size_t>(authors[i])];
        row.category_folded = names[static_cast<size_t>(categories[i])];
    }
    return part;
}

json::object format_manifest(const Manifest& manifest) {
    const auto pairs = [](const auto& list) {
        json::array array;
        for (const auto& [first, second] : list) array.push_back(json::array{first, second});
        return array;
    };
    return {{kKind, kManifest},
            {"format", kFormat},
            {"manifest", manifest.id},
            {kGeneration, manifest.generation},
            {"chain", pairs(manifest.chain)},
            {"width", manifest.width},
            {"point_count", manifest.point_count},
            {"checksum", manifest.checksum},
            {"parts", pairs(manifest.parts)},
            {"full_rows", manifest.full_rows},
            {"delta_rows", manifest.delta_rows}};
}

Result<Manifest> parse_manifest(const json::object& payload) {
    const int64_t format = PX_TRY(read_integer(payload, "format"));
    if (format != kFormat) {
        return fail(
            ErrorCode::InvalidArgument,
            fmt::format("the index in Qdrant has format {}, this px reads {}", format, kFormat),
            "Use the px that wrote it, or an empty collection.");
    }
    Manifest manifest;
    manifest.id = PX_TRY(read_text(payload, "manifest"));
    manifest.generation = PX_TRY(read_integer(payload, kGeneration));
    manifest.width = PX_TRY(read_integer(payload, "width"));
    manifest.point_count = PX_TRY(read_integer(payload, "point_count"));
    manifest.checksum = PX_TRY(read_text(payload, "checksum"));
    manifest.full_rows = PX_TRY(read_integer(payload, "full_rows"));
    manifest.delta_rows = PX_TRY(read_integer(payload, "delta_rows"));
    const auto pairs = [&](std::string_view name, auto& list) -> Result<void> {
        for (const json::value& value : *PX_TRY(read_array(payload, name))) {
            const json::array* pair = value.if_array();
            if (pair == nullptr || pair->size() != 2 || !(*pair)[0].is_int64() ||
                !(*pair)[1].is_int64()) {
                return corrupt(fmt::format("\"{}\" of a manifest", name));
            }
            list.emplace_back((*pair)[0].get_int64(), (*pair)[1].get_int64());
        }
        return {};
    };
    PX_TRY(pairs("chain", manifest.chain));
    PX_TRY(pairs("parts", manifest.parts));
    int64_t before = 0;
    for (const auto& [first, last] : manifest.chain) {
        if (first <= before || last < first || last > kGenerationMax)
            return corrupt("\"chain\" of a manifest");
        before = last;
    }
    int64_t parts = 0;
    for (const auto& [generation, count] : manifest.parts) {
        if (generation < 1 || generation > kGenerationMax || count < 1 || count > kPartsMax)
            return corrupt("\"parts\" of a manifest");
        parts += count;
    }
    if (!is_manifest_id(manifest.id) || manifest.chain.empty() || manifest.parts.empty() ||
        parts > kPartsMax || manifest.chain.back().second != manifest.generation ||
        manifest.width < 1 || manifest.width > kWidthMax || manifest.point_count < 1) {
        return corrupt("a manifest contradicts itself");
    }
    return manifest;
}

}  // namespace px::index::qdrant
