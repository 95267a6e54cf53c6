// Inputs: what a source holds outside right now, and how it is brought into the landing zone.
// Rank 4.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "base/progress.h"
#include "catalog/catalog.h"
#include "pipeline/definition.h"
#include "pipeline/staging.h"
#include "store/object_store.h"

namespace px::pipeline {

struct SourceInput {
    std::vector<InputFile> files;  ///< local = where the bytes are now
    std::string fingerprint_key;   ///< "source/<name>" or, for append, "source/<name>/<ds>"
    std::string fingerprint;       ///< of definition, contract and files
    /// append: every file was ingested under another ds, and this ds has none. snapshot, merge:
    /// what this ds would bring is older than what is released.
    bool nothing_new = false;
    std::string note;  ///< for people: why that is so, when it is not for want of news
};

/// The name of a source's input for a logical date among the fingerprints of a release.
std::string input_key(const SourceDefinition& source, const std::string& ds);

/// Lists and hashes a source's files (SQL sources are exported to scratch first). published:
/// Catalog::published_files of the source, without dates the release no longer has. For append
/// sources whose address does not name the date, files that another ds was made from (equal bytes)
/// are left out. A snapshot source whose address does is not set back to a date before the released
/// one. from_landing: the files this ds was last made from, from the landing zone; snapshot and
/// merge sources only if none came later. Errors: ContractViolated when no file matches; Forbidden,
/// NotFound, Corrupt with the path.
Result<SourceInput> resolve_input(const Definition& definition, const SourceDefinition& source,
                                  const std::string& ds,
                                  const std::vector<catalog::LandedFile>& published,
                                  bool from_landing, const store::ObjectStore& landing,
                                  const std::filesystem::path& scratch, const Deadline& deadline);

/// Copies what is not yet landed, byte for byte, and points local at the landed copies. Errors:
/// Unavailable when a file changed since it was hashed.
Result<void> land_files(const SourceDefinition& source, const std::string& ds, SourceInput& input,
                        store::ObjectStore& landing, const std::filesystem::path& scratch,
                        const Deadline& deadline, Progress& progress);

}  // namespace px::pipeline
