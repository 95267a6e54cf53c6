// Ingest: record files → row groups of typed rows and rejected records, several at a time. The
// reader cuts the text into units at record borders, one unit after another; threads parse, judge
// and encode units beside each other; what comes out is handed over in the order of the units, so
// that nothing depends on the number of threads. Rank 4.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "base/clock.h"
#include "columnar/parquet_writer.h"
#include "contract/contract.h"
#include "pipeline/definition.h"
#include "pipeline/staging.h"
#include "source/record.h"

namespace px::pipeline {

/// A record that broke a rule.
struct RejectedRecord {
    size_t file = 0;  ///< place among the files
    contract::Verdict verdict;
    source::RecordPosition position;
    std::string raw;  ///< cut to what the quarantine keeps
};

/// What became of one unit, or of a part of it: a unit with very many rejected records hands over
/// parts that hold nothing else, in their order, before the rest.
struct IngestedUnit {
    std::shared_ptr<const columnar::Schema> schema;
    columnar::RowGroup group;  ///< null: no row was accepted
    int64_t accepted = 0;
    std::vector<RejectedRecord> rejected;  ///< in the order of the files
    std::vector<size_t> ended_files;       ///< that end with this unit
    size_t last_file = 0;
    int64_t bytes_read = 0;  ///< of that file
};

struct IngestOptions {
    size_t thread_count = 1;
    size_t raw_bytes_max = 1 << 20;          ///< of a rejected record
    int64_t rejected_bytes_max = 8LL << 20;  ///< of a unit, in memory at once; more than one
                                             ///< record's only by that record
    int64_t unit_bytes = 16LL << 20;         ///< text of a unit, about
    int64_t unit_rows = 1 << 20;             ///< likewise
    int64_t block_bytes = 48LL << 10;        ///< text parsed at once: fields stay in cache
    int64_t block_rows = 512;                ///< likewise
};

/// Reads the files, which are of one format, to their end. What threads hold at once, each: the
/// text of a unit, its encoded rows and rejected_bytes_max. take gets the units one after another,
/// never two at a time; its error ends the ingest. bound is told the extra columns of each file's
/// header, in the order of the files. Errors: ContractViolated (header), Corrupt, Cancelled, those
/// of take; the first in the order of the files.
Result<void> ingest_records(const SourceDefinition& source, const std::vector<InputFile>& files,
                            const IngestOptions& options, const Deadline& deadline,
                            const std::function<void(const std::vector<std::string>&)>& bound,
                            const std::function<Result<void>(IngestedUnit)>& take);

}  // namespace px::pipeline
