#include "pipeline/staging.h"

#include <fmt/format.h>

#include <algorithm>
#include <boost/json.hpp>
#include <fstream>
#include <sstream>
#include <thread>

#include "pipeline/ingest.h"
#include "source/document/extract.h"
#include "source/open.h"

namespace px::pipeline {

namespace json = boost::json;

namespace {

constexpr size_t kSampleCount = 20;
constexpr size_t kQuarantineRawBytes = 1 << 20;

columnar::Field field(std::string name, columnar::TypeId type) {
    return {std::move(name), {type}, true};
}

}  // namespace

source::SourceFormat record_format(const SourceDefinition& source) {
    switch (source.kind) {
        case SourceKind::JsonLines:
        case SourceKind::Sql:
            return source::SourceFormat::JsonLines;
        case SourceKind::Parquet:
            return source::SourceFormat::Parquet;
        case SourceKind::Csv:
        case SourceKind::Documents:
            break;
    }
    return source::SourceFormat::Csv;
}

int64_t StagedTable::row_count() const {
    int64_t count = 0;
    for (const StagedFile& file : files) count += file.row_count;
    return count;
}

columnar::Schema quarantine_schema() {
    using columnar::TypeId;
    return {{field("rule", TypeId::String), field("column", TypeId::String),
             field("value", TypeId::String), field("reason", TypeId::String),
             field("file", TypeId::String), field("landed", TypeId::String),
             field("line", TypeId::Int64), field("byte_start", TypeId::Int64),
             field("byte_end", TypeId::Int64), field("raw", TypeId::Binary)}};
}

// ---- part files
// ------------------------------------------------------------------------------------

Result<StagedFile> store_part(const StageTarget& target, const std::string& table,
                              const lake::PartitionValues& partition,
                              const columnar::Schema& file_schema,
                              const columnar::ParquetFileInfo& info,
                              const std::filesystem::path& file, const Clock& clock) {
    StagedFile staged;
    std::string folder;
    for (const auto& [column, value] : partition) {
        folder += fmt::format("{}={}/", column, value.value_or("__HIVE_DEFAULT_PARTITION__"));
    }
    staged.add.path = fmt::format("{}part-{}.snappy.parquet", folder, info.sha256.substr(0, 32));
    staged.add.partition_values = partition;
    staged.add.size_bytes = info.size_bytes;
    staged.add.modification_time_ms = clock.now() / 1000;
    staged.add.stats_json = lake::make_stats_json(file_schema, info);
    staged.row_count = info.row_count;
    PX_TRY(target.store.put_file(table + "/" + staged.add.path, file).context("table " + table));
    return staged;
}

PartWriter::PartWriter(const StageTarget& target, std::string table,
                       lake::PartitionValues partition, const Clock& clock)
    : target_(target), table_(std::move(table)), partition_(std::move(partition)), clock_(clock) {}

PartWriter::~PartWriter() = default;

Result<void> PartWriter::open_file(const columnar::Schema& schema) {
    if (writer_ && !(schema == schema_)) PX_TRY(close_file());
    if (writer_) return {};
    schema_ = schema;
    std::string name = table_;
    for (const auto& [column, value] : partition_) name += "-" + value.value_or("null");
    path_ = target_.scratch_folder / fmt::format("{}-{}.parquet", name, file_number_++);
    writer_ = PX_TRY(columnar::ParquetWriter::create(path_, schema_, {}));
    written_bytes_ = 0;
    return {};
}

Result<void> PartWriter::write(const columnar::RecordBatch& batch) {
    if (batch.row_count() == 0) return {};
    PX_TRY(open_file(batch.schema()));
    PX_TRY(writer_->write(batch).context("table " + table_));
    written_bytes_ += static_cast<int64_t>(batch.size_bytes());
    // In memory a batch is about four times what Snappy Parquet makes of it.
    if (written_bytes_ / 4 >= target_.file_bytes_max) PX_TRY(close_file());
    return {};
}

Result<void> PartWriter::append(const columnar::Schema& schema, columnar::RowGroup group) {
    if (group == nullptr) return {};
    PX_TRY(open_file(schema));
    PX_TRY(writer_->append(std::move(group)).context("table " + table_));
    if (writer_->size_bytes() >= target_.file_bytes_max) PX_TRY(close_file());
    return {};
}

Result<void> PartWriter::close_file() {
    if (!writer_) return {};
    const columnar::ParquetFileInfo info = PX_TRY(writer_->close().context("table " + table_));
    writer_.reset();
    files_.push_back(PX_TRY(store_part(target_, table_, partition_, schema_, info, path_, clock_)));
    return {};
}

Result<std::vector<StagedFile>> PartWriter::finish() {
    PX_TRY(close_file());
    return std::move(files_);
}

// ---- one source
// ------------------------------------------------------------------------------------

namespace {

class SourceStager {
  public:
    SourceStager(const SourceDefinition& source, const std::string& ds, const StageTarget& target,
                 const Deadline& deadline, Progress& progress, const StepObserver& step)
        : source_(source),
          target_(target),
          deadline_(deadline),
          progress_(progress),
          step_(step),
          rows_(target, source.name, {{"ds", ds}}, clock_),
          quarantine_(target, std::string(kQuarantineTable), {{"ds", ds}, {"source", source.name}},
                      clock_),
          quarantine_batch_(quarantine_schema()) {}

    Result<StageResult> run(const std::vector<InputFile>& files) {
        int64_t total = 0;
        for (const InputFile& file : files) total += file.size_bytes;
        stage_name_ = "stage " + source_.name;
        if (source_.kind != SourceKind::Documents) PX_TRY(records(files, total));
        for (const InputFile& file : files) {
            if (source_.kind != SourceKind::Documents) break;
            PX_TRY(document(file).context("file " + file.path));
            bytes_done_ += file.size_bytes;
            progress_.update(stage_name_, bytes_done_, total, "bytes");
            if (step_) step_("stage." + source_.name + ".file");
        }
        if (source_.kind == SourceKind::Documents && files.empty())
            PX_TRY(bind(document_fields(), "(no file)"));
        PX_TRY(flush());
        PX_TRY(flush_quarantine());
        result_.rows.table = source_.name;
        result_.rows.partition_columns = {"ds"};
        result_.rows.files = PX_TRY(rows_.finish());
        result_.rows.schema = source_.contract.table_schema(extra_names_);
        result_.rows.schema.fields.push_back(field("ds", columnar::TypeId::String));
        result_.quarantine.table = std::string(kQuarantineTable);
        result_.quarantine.partition_columns = {"source", "ds"};
        result_.quarantine.files = PX_TRY(quarantine_.finish());
        result_.quarantine.schema = quarantine_schema();
        result_.quarantine.schema.fields.push_back(field("source", columnar::TypeId::String));
        result_.quarantine.schema.fields.push_back(field("ds", columnar::TypeId::String));
        progress_.finish(stage_name_);
        return std::move(result_);
    }

  private:
    Result<void> bind(const std::vector<std::string>& found, const std::string& path) {
        contract::HeaderBinding binding =
            PX_TRY(contract::bind_header(source_.contract, found, path));
        PX_TRY(flush());
        note_extra_names(binding.extra_names);
        columnar::Schema schema = source_.contract.table_schema(binding.extra_names);
        provenance_ = schema.fields.size() - std::size(contract::kProvenanceColumns);
        batch_ = std::make_unique<columnar::RecordBatch>(std::move(schema));
        if (validator_) {
            PX_TRY(validator_->rebind(std::move(binding)));
        } else {
            validator_ = PX_TRY(contract::Validator::create(source_.contract, std::move(binding)));
        }
        return {};
    }

    void note_extra_names(const std::vector<std::string>& names) {
        for (const std::string& name : names) {
            if (std::ranges::find(extra_names_, name) == extra_names_.end())
                extra_names_.push_back(name);
        }
    }

    Result<void> records(const std::vector<InputFile>& files, int64_t total) {
        IngestOptions options;
        options.thread_count = target_.thread_count != 0
                                   ? target_.thread_count
                                   : std::max(1U, std::thread::hardware_concurrency());
        options.raw_bytes_max = kQuarantineRawBytes;
        return ingest_records(
            source_, files, options, deadline_,
            [this](const std::vector<std::string>& names) { note_extra_names(names); },
            [&](IngestedUnit unit) -> Result<void> {
                result_.accepted += unit.accepted;
                for (const RejectedRecord& bad : unit.rejected)
                    PX_TRY(reject(bad.verdict, files[bad.file], bad.position, bad.raw));
                if (unit.group) PX_TRY(rows_.append(*unit.schema, std::move(unit.group)));
                for (const size_t file : unit.ended_files) {
                    bytes_done_ += files[file].size_bytes;
                    if (step_) step_("stage." + source_.name + ".file");
                }
                const bool ended =
                    !unit.ended_files.empty() && unit.ended_files.back() == unit.last_file;
                progress_.update(stage_name_, bytes_done_ + (ended ? 0 : unit.bytes_read), total,
                                 "bytes");
                return {};
            });
    }

    static const std::vector<std::string>& document_fields() {
        static const std::vector<std::string> kFields{"id",         "title",    "author",
                                                      "created_at", "category", "text",
                                                      "format",     "pages",    "text_offset"};
        return kFields;
    }

    Result<void> document(const InputFile& file) {
        PX_TRY(deadline_.check());
        if (!batch_) PX_TRY(bind(document_fields(), file.path));
        source::ExtractOptions options;
        options.deadline = deadline_;
        const auto size = static_cast<size_t>(file.size_bytes);
        Result<void> size_is_fine = source::check_document_size(size, file.path, options);
        // Of a file that is too large only what the quarantine keeps is read.
        std::string bytes(size_is_fine ? size : std::min(size, kQuarantineRawBytes), '\0');
        std::ifstream stream(file.local, std::ios::binary);
        if (!stream.read(bytes.data(), static_cast<std::streamsize>(bytes.size()))) {
            return fail(ErrorCode::Corrupt, "the landed file is shorter than it was when landed",
                        "Remove it from the landing zone and run again");
        }
        Result<source::ExtractedDocument> extracted =
            size_is_fine ? source::extract(bytes, file.path, options)
                         : Result<source::ExtractedDocument>(std::move(size_is_fine).error());
        if (!extracted) {
            // One damaged document is one rejected record, judged by the gate; a full disk is not.
            const Error& error = extracted.error();
            if (error.code == ErrorCode::Cancelled || error.code == ErrorCode::DeadlineExceeded ||
                error.code == ErrorCode::Internal || error.code == ErrorCode::NotFound) {
                return std::move(extracted).error();
            }
            return reject({"document", "", "", error.message}, file, {1, 0, file.size_bytes},
                          bytes);
        }
        const source::ExtractedDocument& document = *extracted;
        const std::string created =
            document.created_at ? format_timestamp(*document.created_at) : "";
        const std::string pages = std::to_string(document.page_count);
        const std::string offset = std::to_string(document.text_is_raw ? document.text_offset : -1);
        static constexpr std::string_view kFormats[] = {"txt", "md", "html", "pdf", "docx"};
        const auto given =
            [](const std::optional<std::string>& text) -> std::optional<std::string_view> {
            if (!text) return std::nullopt;
            return *text;
        };
        const std::string stem = std::filesystem::path(file.path).stem().string();
        const std::vector<std::optional<std::string_view>> fields{
            file.path,
            document.title ? std::string_view(*document.title) : std::string_view(stem),
            given(document.author),
            created.empty() ? std::nullopt : std::optional<std::string_view>(created),
            given(document.category),
            document.text,
            kFormats[static_cast<size_t>(document.format)],
            pages,
            offset,
        };
        return row(fields, file, {1, 0, file.size_bytes}, bytes);
    }

    Result<void> row(const std::vector<std::optional<std::string_view>>& fields,
                     const InputFile& file, const source::RecordPosition& position,
                     std::string_view raw) {
        if (const auto verdict = validator_->validate(fields, *batch_))
            return reject(*verdict, file, position, raw);
        batch_->column(provenance_).append_bytes(file.key);
        batch_->column(provenance_ + 1).append_int64(position.line);
        batch_->column(provenance_ + 2).append_int64(position.byte_start);
        batch_->column(provenance_ + 3).append_int64(position.byte_end);
        ++result_.accepted;
        if (batch_->row_count() >= target_.batch_rows || batch_->size_bytes() > (16U << 20))
            return flush();
        return {};
    }

    Result<void> reject(const contract::Verdict& verdict, const InputFile& file,
                        const source::RecordPosition& position, std::string_view raw) {
        ++result_.rejected;
        ++result_.rejected_by_rule[verdict.rule];
        if (result_.samples.size() < kSampleCount) {
            result_.samples.push_back({file.path, position.line, verdict.rule, verdict.column,
                                       verdict.value, verdict.reason});
        }
        columnar::RecordBatch& batch = quarantine_batch_;
        size_t c = 0;
        batch.column(c++).append_bytes(verdict.rule);
        batch.column(c++).append_bytes(verdict.column);
        batch.column(c++).append_bytes(verdict.value);
        batch.column(c++).append_bytes(verdict.reason);
        batch.column(c++).append_bytes(file.path);
        batch.column(c++).append_bytes(file.key);
        batch.column(c++).append_int64(position.line);
        batch.column(c++).append_int64(position.byte_start);
        batch.column(c++).append_int64(position.byte_end);
        batch.column(c++).append_bytes(raw.substr(0, kQuarantineRawBytes));
        if (batch.row_count() >= target_.batch_rows || batch.size_bytes() > (16U << 20))
            return flush_quarantine();
        return {};
    }

    Result<void> flush() {
        if (!batch_ || batch_->row_count() == 0) return {};
        PX_TRY(deadline_.check());
        PX_TRY(rows_.write(*batch_));
        batch_->clear();
        return {};
    }

    Result<void> flush_quarantine() {
        PX_TRY(quarantine_.write(quarantine_batch_));
        quarantine_batch_.clear();
        return {};
    }

    const SourceDefinition& source_;
    const StageTarget& target_;
    const Deadline& deadline_;
    Progress& progress_;
    const StepObserver& step_;
    SystemClock clock_;
    PartWriter rows_;
    PartWriter quarantine_;
    columnar::RecordBatch quarantine_batch_;
    std::unique_ptr<columnar::RecordBatch> batch_;
    std::unique_ptr<contract::Validator> validator_;
    std::vector<std::string> extra_names_;
    size_t provenance_ = 0;
    int64_t bytes_done_ = 0;
    std::string stage_name_;
    StageResult result_;
};

}  // namespace

Result<StageResult> stage_source(const SourceDefinition& source, const std::string& ds,
                                 const std::vector<InputFile>& files, const StageTarget& target,
                                 const Deadline& deadline, Progress& progress,
                                 const StepObserver& step) {
    SourceStager stager(source, ds, target, deadline, progress, step);
    return stager.run(files).context("source " + source.name);
}

// ---- as JSON
// ---------------------------------------------------------------------------------------

json::value to_json(const columnar::Schema& schema) {
    json::array fields;
    for (const columnar::Field& f : schema.fields) {
        fields.push_back(json::object{{"name", f.name},
                                      {"type", columnar::delta_type_name(f.type)},
                                      {"nullable", f.nullable}});
    }
    return fields;
}

namespace {

Error bad_output(std::string_view what) {
    return fail(ErrorCode::Corrupt, fmt::format("a task's stored output lacks {}", what),
                "Start the run anew: px run --restart");
}

Result<columnar::DataType> type_from_delta_name(std::string_view name) {
    using columnar::TypeId;
    static constexpr std::pair<std::string_view, TypeId> kNames[] = {
        {"boolean", TypeId::Bool},        {"integer", TypeId::Int32},
        {"long", TypeId::Int64},          {"float", TypeId::Float32},
        {"double", TypeId::Float64},      {"date", TypeId::Date},
        {"string", TypeId::String},       {"binary", TypeId::Binary},
        {"timestamp", TypeId::Timestamp}, {"array<float>", TypeId::FloatList}};
    for (const auto& [known, id] : kNames) {
        if (known == name) return columnar::DataType{id};
    }
    int precision = 0;
    int scale = 0;
    if (std::sscanf(std::string(name).c_str(), "decimal(%d,%d)", &precision, &scale) == 2) {
        return columnar::DataType{TypeId::Decimal, precision, scale};
    }
    return bad_output(fmt::format("a known type ('{}')", name));
}

std::string text_of(const json::object& object, std::string_view key) {
    const json::value* value = object.if_contains(key);
    return value != nullptr && value->is_string() ? std::string(value->get_string())
                                                  : std::string();
}

int64_t number_of(const json::object& object, std::string_view key) {
    const json::value* value = object.if_contains(key);
    return value != nullptr && value->is_int64() ? value->get_int64() : 0;
}

}  // namespace

Result<columnar::Schema> schema_from_json(const json::value& value) {
    columnar::Schema schema;
    if (!value.is_array()) return bad_output("a schema");
    for (const json::value& item : value.get_array()) {
        if (!item.is_object()) return bad_output("a field");
        const json::object& object = item.get_object();
        const json::value* nullable = object.if_contains("nullable");
        schema.fields.push_back(
            {text_of(object, "name"), PX_TRY(type_from_delta_name(text_of(object, "type"))),
             nullable == nullptr || !nullable->is_bool() || nullable->get_bool()});
    }
    return schema;
}

json::value to_json(const StagedTable& table) {
    json::array files;
    for (const StagedFile& file : table.files) {
        json::object partition;
        for (const auto& [column, value] : file.add.partition_values) {
            partition[column] = value ? json::value(*value) : json::value();
        }
        files.push_back(json::object{{"path", file.add.path},
                                     {"partition", std::move(partition)},
                                     {"size", file.add.size_bytes},
                                     {"modified", file.add.modification_time_ms},
                                     {"stats", file.add.stats_json},
                                     {"rows", file.row_count}});
    }
    return json::object{{"table", table.table},
                        {"schema", to_json(table.schema)},
                        {"partition_columns", json::value_from(table.partition_columns)},
                        {"files", std::move(files)}};
}

Result<StagedTable> staged_table_from_json(const json::value& value) {
    if (!value.is_object()) return bad_output("a table");
    const json::object& object = value.get_object();
    StagedTable table;
    table.table = text_of(object, "table");
    const json::value* schema = object.if_contains("schema");
    if (schema == nullptr) return bad_output("a schema");
    table.schema = PX_TRY(schema_from_json(*schema));
    if (const json::value* columns = object.if_contains("partition_columns");
        columns != nullptr && columns->is_array()) {
        for (const json::value& column : columns->get_array()) {
            if (column.is_string()) table.partition_columns.emplace_back(column.get_string());
        }
    }
    const json::value* files = object.if_contains("files");
    if (files == nullptr || !files->is_array()) return bad_output("files");
    for (const json::value& item : files->get_array()) {
        if (!item.is_object()) return bad_output("a file");
        const json::object& entry = item.get_object();
        StagedFile file;
        file.add.path = text_of(entry, "path");
        file.add.size_bytes = number_of(entry, "size");
        file.add.modification_time_ms = number_of(entry, "modified");
        file.add.stats_json = text_of(entry, "stats");
        file.row_count = number_of(entry, "rows");
        if (const json::value* partition = entry.if_contains("partition");
            partition != nullptr && partition->is_object()) {
            for (const auto& member : partition->get_object()) {
                file.add.partition_values[std::string(member.key())] =
                    member.value().is_string()
                        ? std::optional<std::string>(member.value().get_string())
                        : std::nullopt;
            }
        }
        table.files.push_back(std::move(file));
    }
    return table;
}

json::value to_json(const StageResult& result) {
    json::object rules;
    for (const auto& [rule, count] : result.rejected_by_rule) rules[rule] = count;
    json::array samples;
    for (const RejectedSample& sample : result.samples) {
        samples.push_back(json::object{{"file", sample.file},
                                       {"line", sample.line},
                                       {"rule", sample.rule},
                                       {"column", sample.column},
                                       {"value", sample.value},
                                       {"reason", sample.reason}});
    }
    return json::object{{"rows", to_json(result.rows)}, {"quarantine", to_json(result.quarantine)},
                        {"accepted", result.accepted},  {"rejected", result.rejected},
                        {"rules", std::move(rules)},    {"samples", std::move(samples)}};
}

Result<StageResult> stage_result_from_json(const json::value& value) {
    if (!value.is_object()) return bad_output("a stage result");
    const json::object& object = value.get_object();
    StageResult result;
    const json::value* rows = object.if_contains("rows");
    const json::value* quarantine = object.if_contains("quarantine");
    if (rows == nullptr || quarantine == nullptr) return bad_output("rows");
    result.rows = PX_TRY(staged_table_from_json(*rows));
    result.quarantine = PX_TRY(staged_table_from_json(*quarantine));
    result.accepted = number_of(object, "accepted");
    result.rejected = number_of(object, "rejected");
    if (const json::value* rules = object.if_contains("rules");
        rules != nullptr && rules->is_object()) {
        for (const auto& member : rules->get_object()) {
            if (member.value().is_int64())
                result.rejected_by_rule[std::string(member.key())] = member.value().get_int64();
        }
    }
    if (const json::value* samples = object.if_contains("samples");
        samples != nullptr && samples->is_array()) {
        for (const json::value& item : samples->get_array()) {
            if (!item.is_object()) continue;
            const json::object& entry = item.get_object();
            result.samples.push_back({text_of(entry, "file"), number_of(entry, "line"),
                                      text_of(entry, "rule"), text_of(entry, "column"),
                                      text_of(entry, "value"), text_of(entry, "reason")});
        }
    }
    return result;
}

}  // namespace px::pipeline
