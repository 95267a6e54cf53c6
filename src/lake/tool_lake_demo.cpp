// Program for tests/peers/lake_*.py: writes tables for other readers, and tells what we read of
// tables that others wrote.
//   tool_lake_demo write FOLDER            two tables, reports/ and odd/; prints a JSON line a
//   version tool_lake_demo append FOLDER FIRST N   N rows with ids from FIRST on top of a table
//   with the columns of reports/ tool_lake_demo describe FOLDER [V]     a JSON line: version,
//   files, rows, columns, or the error
#include <fmt/format.h>

#include <boost/json.hpp>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <string>
#include <vector>

#include "columnar/parquet_writer.h"
#include "lake/delta_table.h"
#include "store/local/local_object_store.h"

namespace px::lake {
namespace {

namespace json = boost::json;
using columnar::Field;
using columnar::RecordBatch;
using columnar::Schema;
using columnar::TypeId;

const Schema kReports{{{"id", {TypeId::Int64}, false},
                       {"title", {TypeId::String}, true},
                       {"amount", {TypeId::Decimal, 18, 2}, true},
                       {"score", {TypeId::Float64}, true},
                       {"flag", {TypeId::Bool}, true},
                       {"written_at", {TypeId::Timestamp}, true},
                       {"vector", {TypeId::FloatList}, true},
                       {"ds", {TypeId::Date}, true}}};

/// The schema of the data files: without the partition column.
Schema file_schema(Schema schema, std::string_view partition_column) {
    std::erase_if(schema.fields,
                  [&](const Field& field) { return field.name == partition_column; });
    return schema;
}

void append_row(RecordBatch& batch, int64_t id) {
    for (size_t c = 0; c < batch.column_count(); ++c) {
        columnar::Column& column = batch.column(c);
        const std::string& name = batch.schema().fields[c].name;
        if (name == "id")
            column.append_int64(id);
        else if (name == "title" && id % 7 == 0)
            column.append_null();
        else if (name == "title")
            column.append_bytes(fmt::format("report {} — Zürich \"{}\"", id, id % 3));
        else if (name == "amount")
            column.append_int64(id * 125 - 5000);
        else if (name == "score")
            column.append_double(static_cast<double>(id) / 4);
        else if (name == "flag")
            column.append_bool(id % 2 == 0);
        else if (name == "written_at")
            column.append_int64(1'795'000'000'000'000 + id * 1'000'001);
        else if (name == "vector") {
            const float values[] = {static_cast<float>(id), 0.5F, -1.25F};
            column.append_floats(values, 3);
        } else
            column.append_bytes(fmt::format("extra {}", id));
    }
}

class Demo {
  public:
    Demo(const std::filesystem::path& folder, std::string name)
        : folder_(folder),
          store_(folder, folder.string()),
          table_(store_, std::move(name), clock_) {}

    Result<void> open() {
        PX_TRY(store_.ensure_container());
        return {};
    }
    DeltaTable& table() { return table_; }

    /// Writes ids [first, first + count) as a data file at path below the table.
    Result<Add> stage(const std::string& path, const Schema& schema, PartitionValues partition,
                      int64_t first, int64_t count) {
        const std::filesystem::path scratch = folder_ / fmt::format("staged-{}.parquet", first);
        const Schema columns = file_schema(schema, partition.begin()->first);
        auto writer = PX_TRY(columnar::ParquetWriter::create(scratch, columns, {}));
        RecordBatch batch(columns);
        for (int64_t id = first; id < first + count; ++id) append_row(batch, id);
        PX_TRY(writer->write(batch));
        const columnar::ParquetFileInfo info = PX_TRY(writer->close());
        Add add;
        add.path = path;
        add.partition_values = std::move(partition);
        add.size_bytes = info.size_bytes;
        add.modification_time_ms = clock_.now() / 1000;
        add.stats_json = make_stats_json(columns, info);
        PX_TRY(store_.put_file(table_.prefix() + "/" + path, scratch));
        return add;
    }

    Result<void> commit(Change change, std::string_view mode) {
        const std::optional<Snapshot> base = PX_TRY(table_.snapshot());
        change.info = {base ? "WRITE" : "CREATE TABLE", {{"mode", std::string(mode)}}, "demo"};
        change.app_id = "demo";
        change.app_version = base ? base->version.value + 1 : 0;
        PX_TRY(table_.commit(base, change));
        return print_newest();
    }

    Result<void> print_newest() {
        const Snapshot snapshot = PX_TRY(table_.snapshot()).value();
        json::array paths;
        for (const Add& add : snapshot.files) paths.emplace_back(add.path);
        fmt::print("{}\n", json::serialize(json::object{{"table", table_.prefix()},
                                                        {"version", snapshot.version.value},
                                                        {"rows", snapshot.row_count().value()},
                                                        {"columns", snapshot.schema.fields.size()},
                                                        {"files", std::move(paths)}}));
        return {};
    }

  private:
    std::filesystem::path folder_;
    SystemClock clock_;
    store::LocalObjectStore store_;
    DeltaTable table_;
};

Result<void> write_reports(const std::filesystem::path& folder) {
    Demo demo(folder, "reports");
    PX_TRY(demo.open());
    Change create;
    create.schema = kReports;
    create.partition_columns = {"ds"};
    PX_TRY(demo.commit(create, "ErrorIfExists"));
    Schema schema = kReports;
    const auto path = [](const std::string& ds, int64_t first) {
        return fmt::format("ds={}/part-{:08x}.snappy.parquet", ds, first);
    };
    const auto append = [&](const std::string& ds, int64_t first, int64_t count) -> Result<void> {
        Change change;
        change.add.push_back(
            PX_TRY(demo.stage(path(ds, first), schema, {{"ds", ds}}, first, count)));
        if (schema.fields.size() > kReports.fields.size()) change.schema = schema;
        return demo.commit(change, "Append");
    };
    const auto overwrite = [&](const std::string& ds, int64_t first,
                               int64_t count) -> Result<void> {
        Change change;
        change.overwrites = PartitionValues{{"ds", ds}};
        const Snapshot base = PX_TRY(demo.table().snapshot()).value();
        for (const Add* old : base.files_in(*change.overwrites)) change.remove.push_back(old->path);
        change.add.push_back(
            PX_TRY(demo.stage(path(ds, first), schema, {{"ds", ds}}, first, count)));
        return demo.commit(change, "Overwrite");
    };
    for (int64_t i = 1; i <= 7; ++i)
        PX_TRY(append(fmt::format("2026-11-{:02}", 18 + i % 3), i * 1000, 100 + i));
    PX_TRY(overwrite("2026-11-19", 8000, 55));
    PX_TRY(append("2026-11-21", 9000, 3000));
    PX_TRY(append("2026-11-22", 10'000, 10));
    schema.fields.push_back({"extra", {TypeId::String}, true});
    PX_TRY(append("2026-11-22", 11'000, 20));
    PX_TRY(overwrite("2026-11-18", 12'000, 1));
    PX_TRY(append("2026-11-23", 13'000, 40));
    return overwrite("2026-11-22", 14'000, 33);
}

/// Partition values and paths with everything that gets escaped somewhere.
Result<void> write_odd(const std::filesystem::path& folder) {
    Demo demo(folder, "odd");
    PX_TRY(demo.open());
    Change create;
    create.schema = Schema{{{"id", {TypeId::Int64}, true}, {"region", {TypeId::String}, true}}};
    create.partition_columns = {"region"};
    PX_TRY(demo.commit(create, "ErrorIfExists"));
    const std::optional<std::string> regions[] = {"Zürich / a b%", std::nullopt, "100%=\"x\"",
                                                  "a+b&c#d?e", "日本"};
    int64_t first = 0;
    for (const std::optional<std::string>& region : regions) {
        first += 10;
        Change change;
        const std::string path = fmt::format("region=x%2F{} é+#?/part {}.parquet", first, first);
        change.add.push_back(
            PX_TRY(demo.stage(path, *create.schema, {{"region", region}}, first, first / 10)));
        PX_TRY(demo.commit(change, "Append"));
    }
    Change change;
    change.overwrites = PartitionValues{{"region", std::nullopt}};
    const Snapshot base = PX_TRY(demo.table().snapshot()).value();
    for (const Add* old : base.files_in(*change.overwrites)) change.remove.push_back(old->path);
    return demo.commit(change, "Overwrite");
}

Result<void> append_rows(const std::filesystem::path& folder, int64_t first, int64_t count) {
    Demo demo(folder.parent_path(), folder.filename().string());
    const Snapshot base = PX_TRY(demo.table().snapshot()).value();
    Change change;
    change.add.push_back(
        PX_TRY(demo.stage(fmt::format("ds=2026-11-24/part-{:08x}.snappy.parquet", first),
                          base.schema, {{"ds", "2026-11-24"}}, first, count)));
    change.info.operation = "WRITE";
    PX_TRY(demo.table().commit(base, change));
    return demo.print_newest();
}

Result<json::object> describe(const std::filesystem::path& folder, std::optional<int64_t> version) {
    const SystemClock clock;
    store::LocalObjectStore store(folder.parent_path(), folder.parent_path().string());
    const DeltaTable table(store, folder.filename().string(), clock);
    Snapshot snapshot;
    if (version) {
        snapshot = PX_TRY(table.snapshot_at({*version}));
    } else {
        std::optional<Snapshot> newest = PX_TRY(table.snapshot());
        if (!newest) return fail(ErrorCode::NotFound, "there is no table in " + folder.string());
        snapshot = std::move(*newest);
    }
    json::array files;
    for (const Add& add : snapshot.files) {
        json::object values;
        for (const auto& [column, value] : add.partition_values)
            values[column] = value ? json::value(*value) : json::value(nullptr);
        files.push_back(json::object{
            {"path", add.path}, {"size", add.size_bytes}, {"partition", std::move(values)}});
    }
    json::array columns;
    for (const Field& field : snapshot.schema.fields)
        columns.push_back(json::array{field.name, columnar::delta_type_name(field.type)});
    const std::optional<int64_t> rows = snapshot.row_count();
    return json::object{{"version", snapshot.version.value},
                        {"committed_at", snapshot.committed_at},
                        {"rows", rows ? json::value(*rows) : json::value(nullptr)},
                        {"partition_columns", json::value_from(snapshot.partition_columns)},
                        {"columns", std::move(columns)},
                        {"files", std::move(files)}};
}

Result<void> run(const std::vector<std::string>& words) {
    if (words.size() == 2 && words[0] == "write") {
        PX_TRY(write_reports(words[1]));
        return write_odd(words[1]);
    }
    if (words.size() == 4 && words[0] == "append")
        return append_rows(words[1], std::atoll(words[2].c_str()), std::atoll(words[3].c_str()));
    if ((words.size() == 2 || words.size() == 3) && words[0] == "describe") {
        Result<json::object> described =
            describe(std::filesystem::absolute(words[1]).lexically_normal(),
                     words.size() == 3 ? std::optional<int64_t>(std::atoll(words[2].c_str()))
                                       : std::nullopt);
        if (!described) {
            const Error& error = described.error();
            described = json::object{{"error", error_traits(error.code).name},
                                     {"message", error.to_string()}};
        }
        fmt::print("{}\n", json::serialize(*described));
        return {};
    }
    return fail(ErrorCode::InvalidArgument, "unknown command",
                "write FOLDER | append FOLDER FIRST N | describe FOLDER [VERSION]");
}

}  // namespace
}  // namespace px::lake

int main(int count, char** words) {
    const px::Result<void> done = px::lake::run(std::vector<std::string>(words + 1, words + count));
    if (done) return 0;
    std::fprintf(stderr, "%s\n", done.error().to_string().c_str());
    return 1;
}
