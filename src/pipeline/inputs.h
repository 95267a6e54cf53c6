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
    bool nothing_new =
        false;  ///< append: every file was ingested under another ds, and this ds has none
};

/// Lists and hashes a source's files (SQL sources are exported to scratch first). For append
/// sources, files that live partitions of another ds were made from (equal bytes) are left out.
/// published: Catalog::published_files of the source. from_landing: the files this ds was last made
/// from, from the landing zone. Errors: ContractViolated when no file matches; Forbidden, NotFound,
/// Corrupt with the path.
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
