#include "pipeline/ingest.h"

#include <algorithm>
#include <condition_variable>
#include <mutex>
#include <optional>
#include <thread>

#include "source/open.h"

namespace px::pipeline {

namespace {

/// A header as bound to the contract; files in a row with the same columns share it.
struct Bound {
    std::vector<std::string> columns;
    contract::HeaderBinding binding;
    std::shared_ptr<const columnar::Schema> schema;
};

/// Records of one file within a unit.
struct Piece {
    size_t file = 0;
    std::shared_ptr<const Bound> bound;
    std::shared_ptr<source::CsvReader> csv;    ///< of slab
    source::CsvSlab slab;                      ///< of CSV
    std::optional<source::RecordBlock> block;  ///< of other formats, or one record too long
};

struct Unit {
    size_t number = 0;
    std::shared_ptr<const columnar::Schema> schema;  ///< that of every piece
    std::vector<Piece> pieces;
    std::vector<size_t> ended_files;
    size_t last_file = 0;
    int64_t bytes_read = 0;
};

constexpr size_t kPiecesMax = 64;

/// Cuts the files into units. One thread at a time.
class UnitReader {
  public:
    UnitReader(const SourceDefinition& source, const std::vector<InputFile>& files,
               const IngestOptions& options, const Deadline& deadline,
               const std::function<void(const std::vector<std::string>&)>& bound)
        : source_(source), files_(files), options_(options), deadline_(deadline), tell_(bound) {}

    /// False: there is nothing more. An error is told after the unit of what stands before it:
    /// judging that may find an earlier one.
    Result<bool> next(Unit& unit) {
        if (error_) return std::move(*error_);
        Result<bool> found = fill(unit);
        if (found || unit.pieces.empty()) return found;
        error_ = std::move(found).error();
        return true;
    }

  private:
    Result<bool> fill(Unit& unit) {
        int64_t bytes = 0;
        int64_t rows = 0;
        // Files that give other columns than those before begin a unit.
        // Each piece keeps its file open: many small files make many small units.
        while (bytes < options_.unit_bytes / 2 && rows < options_.unit_rows &&
               unit.pieces.size() < kPiecesMax) {
            if (!reader_) {
                if (file_ == files_.size()) break;
                PX_TRY(open().context("file " + files_[file_].path));
            }
            if (unit.schema == nullptr) unit.schema = bound_->schema;
            if (unit.schema != bound_->schema) break;
            unit.last_file = file_;
            Piece piece;
            piece.file = file_;
            piece.bound = bound_;
            const bool found = PX_TRY(read(piece).context("file " + files_[file_].path));
            unit.bytes_read = reader_->bytes_read();
            if (!found) {
                unit.ended_files.push_back(file_++);
                reader_.reset();
                csv_.reset();
                continue;
            }
            if (piece.block) {
                rows += static_cast<int64_t>(piece.block->row_count());
                for (const std::string_view raw : piece.block->raw)
                    bytes += static_cast<int64_t>(raw.size());
            } else {
                bytes += static_cast<int64_t>(piece.slab.size_bytes);
            }
            unit.pieces.push_back(std::move(piece));
        }
        return !unit.pieces.empty() || !unit.ended_files.empty();
    }

    Result<void> open() {
        const InputFile& file = files_[file_];
        const source::SourceFormat format = record_format(source_);
        source::RecordOptions options;
        options.csv = source_.csv;
        if (format == source::SourceFormat::Csv) {
            // Small files have small blocks; compressed ones grow on the way.
            options.csv.block_bytes =
                std::clamp<int64_t>(file.size_bytes * 12, 256 << 10, options_.unit_bytes);
            csv_ = PX_TRY(source::open_csv(file.local, options.csv));
            reader_ = csv_;
        } else {
            reader_ = PX_TRY(source::open_records(file.local, format, options));
        }
        const std::vector<std::string>& columns = reader_->columns();
        if (bound_ && bound_->columns == columns) return {};
        Result<contract::HeaderBinding> binding =
            contract::bind_header(source_.contract, columns, file.path);
        if (!binding) {
            Error error = std::move(binding).error();
            if (error.code == ErrorCode::ContractViolated && csv_) {
                std::string hint = source::header_hint(columns, source_.csv);
                if (!hint.empty()) error.hint = std::move(hint);
            }
            return error;
        }
        auto bound = std::make_shared<Bound>();
        bound->columns = columns;
        bound->binding = std::move(*binding);
        columnar::Schema schema = source_.contract.table_schema(bound->binding.extra_names);
        // A header of the same columns in another order gives the same rows.
        bound->schema = bound_ && *bound_->schema == schema
                            ? bound_->schema
                            : std::make_shared<const columnar::Schema>(std::move(schema));
        tell_(bound->binding.extra_names);
        bound_ = std::move(bound);
        return {};
    }

    Result<bool> read(Piece& piece) {
        if (csv_) {
            piece.csv = csv_;
            const bool found = PX_TRY(csv_->next_slab(piece.slab, deadline_));
            if (piece.slab.too_long) piece.block = std::move(piece.slab.too_long);
            return found;
        }
        return reader_->next(piece.block.emplace(), deadline_);
    }

    const SourceDefinition& source_;
    const std::vector<InputFile>& files_;
    const IngestOptions& options_;
    const Deadline& deadline_;
    const std::function<void(const std::vector<std::string>&)>& tell_;
    size_t file_ = 0;
    std::shared_ptr<source::RecordReader> reader_;  ///< of file_; null: not open yet
    std::shared_ptr<source::CsvReader> csv_;        ///< the same, when it is one
    std::shared_ptr<const Bound> bound_;
    std::optional<Error> error_;  ///< that ended the last unit
};

/// What a rejected record holds in memory, about.
int64_t size_of(const RejectedRecord& bad) {
    return static_cast<int64_t>(sizeof bad + bad.verdict.rule.size() + bad.verdict.column.size() +
                                bad.verdict.value.size() + bad.verdict.reason.size() +
                                bad.raw.size());
}

/// What one thread parses, judges and encodes with.
class UnitWorker {
  public:
    UnitWorker(const SourceDefinition& source, const std::vector<InputFile>& files,
               const IngestOptions& options, const Deadline& deadline)
        : source_(source), files_(files), options_(options), deadline_(deadline) {}

    /// Takes rejected records of a unit that has more of them; false: nobody wants the unit.
    using Spill = std::function<Result<bool>(IngestedUnit)>;

    /// spill: none if they may not be handed over yet; those beyond rejected_bytes_max are dropped
    /// then, and overflowed() says so.
    Result<IngestedUnit> work(const Unit& unit, const contract::UniqueApart& apart,
                              const Spill& spill) {
        IngestedUnit done;
        done.ended_files = unit.ended_files;
        done.last_file = unit.last_file;
        done.bytes_read = unit.bytes_read;
        rejected_bytes_ = 0;
        overflowed_ = false;
        wanted_ = true;
        if (unit.pieces.empty()) return done;
        PX_TRY(prepare(unit.schema));
        done.schema = unit.schema;
        spill_ = &spill;
        bool begun = false;
        for (const Piece& piece : unit.pieces) {
            PX_TRY(bind(piece.bound));
            if (!begun) validator_->judge_unique(apart);
            begun = true;
            Result<void> judged =
                piece.block ? judge(*piece.block, piece.file, done) : judge_slab(piece, done);
            PX_TRY(std::move(judged).context("file " + files_[piece.file].path));
        }
        done.group = encoder_->finish();
        return done;
    }
    bool overflowed() const { return overflowed_; }

  private:
    Result<void> prepare(const std::shared_ptr<const columnar::Schema>& schema) {
        if (encoder_ && encoder_->row_count() > 0) encoder_->finish();  // of a unit that failed
        if (schema_ == schema) return {};
        encoder_ = PX_TRY(columnar::RowGroupEncoder::create(*schema, {}));
        batch_ = std::make_unique<columnar::RecordBatch>(*schema);
        schema_ = schema;
        return {};
    }

    Result<void> bind(const std::shared_ptr<const Bound>& bound) {
        if (bound_ == bound) return {};
        if (validator_) {
            PX_TRY(validator_->rebind(bound->binding));
        } else {
            validator_ = PX_TRY(contract::Validator::create(source_.contract, bound->binding));
        }
        bound_ = bound;
        return {};
    }

    Result<void> judge_slab(const Piece& piece, IngestedUnit& done) {
        const auto reader =
            piece.csv->read_slab(piece.slab, options_.block_bytes, options_.block_rows);
        while (wanted_ && PX_TRY(reader->next(block_, deadline_)))
            PX_TRY(judge(block_, piece.file, done));
        return {};
    }

    Result<void> judge(const source::RecordBlock& block, size_t file, IngestedUnit& done) {
        accepted_.clear();
        rejected_.clear();
        batch_->clear();
        validator_->validate_block(block, *batch_, accepted_, rejected_);
        contract::append_provenance(*batch_, files_[file].key, block, accepted_);
        done.accepted += static_cast<int64_t>(accepted_.size());
        for (contract::RejectedRow& bad : rejected_) {
            if (overflowed_ || !wanted_) break;
            done.rejected.push_back(
                {file, std::move(bad.verdict), block.positions[bad.row_index],
                 std::string(block.raw[bad.row_index].substr(0, options_.raw_bytes_max))});
            rejected_bytes_ += size_of(done.rejected.back());
            if (rejected_bytes_ >= options_.rejected_bytes_max) PX_TRY(relieve(done));
        }
        return encoder_->write(*batch_);
    }

    Result<void> relieve(IngestedUnit& done) {
        IngestedUnit part;
        part.schema = done.schema;
        part.rejected = std::move(done.rejected);
        part.last_file = done.last_file;
        part.bytes_read = done.bytes_read;
        done.rejected = {};
        rejected_bytes_ = 0;
        overflowed_ = !*spill_;
        if (*spill_) wanted_ = PX_TRY((*spill_)(std::move(part)));
        return {};
    }

    const SourceDefinition& source_;
    const std::vector<InputFile>& files_;
    const IngestOptions& options_;
    const Deadline& deadline_;
    std::shared_ptr<const Bound> bound_;              ///< of validator_
    std::shared_ptr<const columnar::Schema> schema_;  ///< of encoder_ and batch_
    std::unique_ptr<contract::Validator> validator_;
    std::unique_ptr<columnar::RowGroupEncoder> encoder_;
    std::unique_ptr<columnar::RecordBatch> batch_;
    source::RecordBlock block_;
    std::vector<uint32_t> accepted_;
    std::vector<contract::RejectedRow> rejected_;
    const Spill* spill_ = nullptr;
    int64_t rejected_bytes_ = 0;  ///< of the unit at hand, not handed over yet
    bool overflowed_ = false;
    bool wanted_ = true;
};

/// Lets units pass one after another, in the order of their numbers.
class Turn {
  public:
    /// False: an earlier unit failed.
    bool wait(size_t number) {
        std::unique_lock lock(mutex_);
        changed_.wait(lock, [&] { return next_ == number || failed_ < number; });
        return failed_ > number;
    }
    void pass() {
        const std::lock_guard lock(mutex_);
        ++next_;
        changed_.notify_all();
    }
    /// No unit behind this one passes any more.
    void fail(size_t number) {
        const std::lock_guard lock(mutex_);
        failed_ = std::min(failed_, number);
        changed_.notify_all();
    }

  private:
    std::mutex mutex_;
    std::condition_variable changed_;
    size_t next_ = 0;
    size_t failed_ = ~size_t{0};
};

class Ingest {
  public:
    Ingest(const SourceDefinition& source, const std::vector<InputFile>& files,
           const IngestOptions& options, const Deadline& deadline,
           const std::function<void(const std::vector<std::string>&)>& bound,
           const std::function<Result<void>(IngestedUnit)>& take)
        : source_(source),
          files_(files),
          options_(options),
          deadline_(deadline),
          take_(take),
          reader_(source, files, options, deadline, bound) {}

    Result<void> run() {
        const size_t count = std::max<size_t>(options_.thread_count, 1);
        {
            std::vector<std::jthread> threads;
            for (size_t t = 1; t < count; ++t) threads.emplace_back([this] { work(); });
            work();
        }
        if (error_) return std::move(*error_);
        return {};
    }

  private:
    void work() {
        UnitWorker worker(source_, files_, options_, deadline_);
        for (;;) {
            Unit unit;
            Result<bool> found = read(unit);
            if (found && !*found) return;
            Result<void> done = found ? process(worker, unit) : Result<void>(found.error());
            if (!done) {
                stop(unit.number, std::move(done).error());
                return;
            }
        }
    }

    Result<bool> read(Unit& unit) {
        const std::lock_guard lock(read_mutex_);
        unit.number = read_count_;
        if (read_all_) return false;
        Result<bool> found = reader_.next(unit);
        read_all_ = !found || !*found;
        ++read_count_;
        return found;
    }

    Result<void> process(UnitWorker& worker, Unit& unit) {
        const size_t number = unit.number;
        // Once it is clear what becomes of each record, a unit that waits for its turn may hand
        // over a part of its rejected ones.
        const UnitWorker::Spill spill = [&](IngestedUnit part) -> Result<bool> {
            if (!take_turn_.wait(number)) return false;
            PX_TRY(take_(std::move(part)));
            return true;
        };
        IngestedUnit done;
        if (options_.thread_count <= 1 || !has_unique()) {
            done = PX_TRY(worker.work(unit, {}, spill));
        } else {
            contract::PendingKeys keys;
            done = PX_TRY(worker.work(unit, contract::UniqueApart{&keys}, {}));
            if (!unique_turn_.wait(number)) return {};
            const auto found = find_duplicates(unit, keys);
            if (!found) return found.error();
            unique_turn_.pass();
            keys = {};
            if (!found->empty() || worker.overflowed()) {
                done = {};
                done = PX_TRY(worker.work(unit, contract::UniqueApart{nullptr, &*found}, spill));
            }
        }
        unit.pieces.clear();
        if (!take_turn_.wait(number)) return {};
        Result<void> taken = take_(std::move(done));
        if (taken) take_turn_.pass();
        return taken;
    }

    bool has_unique() const {
        return std::ranges::any_of(source_.contract.columns,
                                   [](const auto& column) { return column.unique; });
    }

    Result<std::vector<contract::Duplicate>> find_duplicates(const Unit& unit,
                                                             const contract::PendingKeys& keys) {
        if (unit.pieces.empty()) return std::vector<contract::Duplicate>{};
        if (!unique_) {
            unique_ = PX_TRY(
                contract::Validator::create(source_.contract, unit.pieces.front().bound->binding));
        }
        return unique_->find_duplicates(keys);
    }

    /// The error of the first unit that failed is told.
    void stop(size_t number, Error error) {
        {
            const std::lock_guard lock(read_mutex_);
            read_all_ = true;
            if (number < error_unit_) {
                error_unit_ = number;
                error_ = std::move(error);
            }
        }
        unique_turn_.fail(number);
        take_turn_.fail(number);
    }

    const SourceDefinition& source_;
    const std::vector<InputFile>& files_;
    const IngestOptions& options_;
    const Deadline& deadline_;
    const std::function<Result<void>(IngestedUnit)>& take_;

    std::mutex read_mutex_;
    UnitReader reader_;
    size_t read_count_ = 0;
    bool read_all_ = false;
    size_t error_unit_ = ~size_t{0};
    std::optional<Error> error_;

    Turn unique_turn_;
    Turn take_turn_;
    std::unique_ptr<contract::Validator> unique_;  ///< keeps the keys; in the unique turn only
};

}  // namespace

Result<void> ingest_records(const SourceDefinition& source, const std::vector<InputFile>& files,
                            const IngestOptions& options, const Deadline& deadline,
                            const std::function<void(const std::vector<std::string>&)>& bound,
                            const std::function<Result<void>(IngestedUnit)>& take) {
    return Ingest(source, files, options, deadline, bound, take).run();
}

}  // namespace px::pipeline
