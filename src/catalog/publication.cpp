#include "catalog/publication.h"

#include <fmt/format.h>

#include <algorithm>
#include <set>
#include <string>
#include <tuple>
#include <utility>

namespace px::catalog {

Result<void> check_publication(const Publication& publication) {
    std::set<std::pair<std::string, std::optional<std::string>>> seen;
    for (const Publication::Partition& partition : publication.documents) {
        auto twice = [&] {
            return fail(ErrorCode::InvalidArgument,
                        fmt::format("the publication names source {} ds {} twice", partition.source,
                                    partition.ds.value_or("(every)")));
        };
        if (!seen.emplace(partition.source, partition.ds).second) return twice();
        for (const DocumentRow& row : partition.documents) {
            if (row.source != partition.source || (partition.ds && row.ds != *partition.ds)) {
                return fail(
                    ErrorCode::InvalidArgument,
                    fmt::format("document {} of source {} ds {} is listed under source {} ds {}",
                                row.document_id, row.source, row.ds, partition.source,
                                partition.ds.value_or("(every)")));
            }
        }
    }
    for (const auto& [source, ds] : seen) {
        auto next = seen.upper_bound({source, std::nullopt});
        if (!ds && next != seen.end() && next->first == source) {
            return fail(ErrorCode::InvalidArgument,
                        fmt::format("the publication names source {} as a whole and ds {} of it",
                                    source, *next->second));
        }
    }
    return {};
}

std::vector<const DocumentRow*> in_key_order(const Publication::Partition& partition) {
    std::vector<const DocumentRow*> ordered;
    ordered.reserve(partition.documents.size());
    for (const DocumentRow& row : partition.documents) ordered.push_back(&row);
    std::sort(ordered.begin(), ordered.end(), [](const DocumentRow* a, const DocumentRow* b) {
        return std::tie(a->document_id, a->ds) < std::tie(b->document_id, b->ds);
    });
    return ordered;
}

Error no_run(const RunId& run) {
    return fail(ErrorCode::NotFound, fmt::format("the catalog knows no run {}", run.value),
                "see `px runs`");
}

Error run_ended(const RunId& run) {
    return fail(ErrorCode::Conflict, fmt::format("run {} has ended", run.value),
                "see `px runs`, and start a new run");
}

Error not_publishable(const RunId& run, std::string_view state) {
    return fail(ErrorCode::Conflict,
                fmt::format("run {} is {} and can't be published", run.value, state),
                "start a new run");
}

Error not_the_newest(const Publication& publication, int64_t latest) {
    return fail(
        ErrorCode::Conflict,
        fmt::format("release {} was published while run {}, begun on release {}, was under "
                    "way",
                    latest, publication.release.run.value, publication.expected_latest.value_or(0)),
        "run again: it is redone on top of that release");
}

Error wrong_ending(const RunId& run, bool released, RunState state) {
    return fail(ErrorCode::Conflict,
                fmt::format("run {} {} a release and can't be finished as {}", run.value,
                            released ? "has" : "has not", run_state_name(state)));
}

Error no_attempt(const RunId& run, std::string_view task, int attempt) {
    return fail(ErrorCode::NotFound,
                fmt::format("the catalog knows no attempt {} of task {} in run {}", attempt, task,
                            run.value));
}

Error attempt_ended(const RunId& run, std::string_view task, int attempt, std::string_view state) {
    return fail(ErrorCode::Conflict,
                fmt::format("attempt {} of task {} in run {} has ended already ({})", attempt, task,
                            run.value, state),
                "Another px took it over, or the run ended meanwhile; what it left is not used");
}

Error not_empty() {
    return fail(ErrorCode::AlreadyExists, "the catalog to be filled holds runs of its own",
                "give it an empty place");
}

Error listed_twice(const DocumentRow& row) {
    return fail(ErrorCode::InvalidArgument,
                fmt::format("document {} is listed twice in source {} ds {}", row.document_id,
                            row.source, row.ds),
                "make the id column unique in the contract");
}

Error id_of_another_source(std::string_view source) {
    return fail(
        ErrorCode::InvalidArgument,
        fmt::format("a document of source {} has the id of a document of another source", source),
        "document ids begin with the name of their source");
}

Error unknown_state(const RunId& run, std::string_view state) {
    return fail(ErrorCode::Corrupt,
                fmt::format("run {} has the unknown state \"{}\"", run.value, state),
                "restore the catalog from a backup");
}

Error newer_catalog(int64_t found, size_t known) {
    return fail(ErrorCode::InvalidArgument,
                fmt::format("the catalog has schema version {}, this px knows versions up to {}",
                            found, known),
                "it was written by a newer px: use that one, or a catalog of its own");
}

Error older_catalog(int64_t found, size_t known) {
    return fail(
        ErrorCode::Conflict,
        fmt::format("the catalog has schema version {}, this px needs version {}", found, known),
        "run `px run` once: it brings the catalog forward");
}

}  // namespace px::catalog
