// Prints MB of raw values a CPU-second that the Parquet writer takes, column kind by column kind.
// tool_columnar_bench [rows]
#include <fmt/format.h>
#include <time.h>

#include <cstdlib>
#include <filesystem>
#include <functional>
#include <random>
#include <string>

#include "columnar/parquet_writer.h"

namespace {

using namespace px::columnar;

double cpu_seconds() {
    timespec now{};
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
    return static_cast<double>(now.tv_sec) + static_cast<double>(now.tv_nsec) * 1e-9;
}

void measure(const std::string& name, const DataType& type, int64_t rows,
             const std::function<void(Column&, std::mt19937_64&, int64_t)>& append) {
    const Schema schema{{{name, type}}};
    std::vector<RecordBatch> batches;
    std::mt19937_64 random(1);
    size_t raw = 0;
    for (int64_t row = 0; row < rows; ++row) {
        if (row % 8192 == 0) batches.emplace_back(schema);
        append(batches.back().column(0), random, row);
    }
    for (const RecordBatch& batch : batches) raw += batch.column(0).data().size();
    const auto path = std::filesystem::temp_directory_path() / "px_columnar_bench.parquet";
    double best = 1e9;
    int64_t size = 0;
    for (int round = 0; round < 3; ++round) {
        const double begin = cpu_seconds();
        auto writer = ParquetWriter::create(path, schema, {});
        if (!writer) std::abort();
        for (const RecordBatch& batch : batches) {
            if (!(*writer)->write(batch)) std::abort();
        }
        auto info = (*writer)->close();
        if (!info) std::abort();
        size = info->size_bytes;
        best = std::min(best, cpu_seconds() - begin);
    }
    std::filesystem::remove(path);
    fmt::print("{:<28} {:>8.0f} MB/CPU-s  {:>6.2f} ns/row  file/raw {:.3f}\n", name,
               static_cast<double>(raw) / 1e6 / best, best * 1e9 / static_cast<double>(rows),
               static_cast<double>(size) / static_cast<double>(raw));
}

}  // namespace

int main(int argc, char** argv) {
    const int64_t rows = argc > 1 ? std::atoll(argv[1]) : 2'000'000;
    using Random = std::mt19937_64;
    measure("long random 64 bit", {TypeId::Int64}, rows,
            [](Column& c, Random& r, int64_t) { c.append_int64(static_cast<int64_t>(r())); });
    measure("long below 1e6", {TypeId::Int64}, rows, [](Column& c, Random& r, int64_t) {
        c.append_int64(static_cast<int64_t>(r() % 1'000'000));
    });
    measure("long sequence", {TypeId::Int64}, rows,
            [](Column& c, Random&, int64_t row) { c.append_int64(row); });
    measure("long of 100 values", {TypeId::Int64}, rows, [](Column& c, Random& r, int64_t) {
        c.append_int64(static_cast<int64_t>(r() % 100) * 1'000'000'007);
    });
    measure("decimal(18,2)", {TypeId::Decimal, 18, 2}, rows, [](Column& c, Random& r, int64_t) {
        c.append_int64(static_cast<int64_t>(r() % 10'000'000));
    });
    measure("date of 4000 days", {TypeId::Date}, rows, [](Column& c, Random& r, int64_t) {
        c.append_int32(static_cast<int32_t>(r() % 4'000));
    });
    measure("double", {TypeId::Float64}, rows, [](Column& c, Random& r, int64_t) {
        c.append_double(static_cast<double>(r() % 1'000'000) / 7);
    });
    measure("string of 20 values", {TypeId::String}, rows, [](Column& c, Random& r, int64_t) {
        c.append_bytes("category " + std::to_string(r() % 20));
    });
    measure("string of 5000 values", {TypeId::String}, rows, [](Column& c, Random& r, int64_t) {
        c.append_bytes("customer " + std::to_string(r() % 5'000));
    });
    measure("string unique, 16 bytes", {TypeId::String}, rows,
            [](Column& c, Random& r, int64_t) { c.append_bytes(fmt::format("{:016x}", r())); });
    measure("string text, 100 bytes", {TypeId::String}, rows / 4,
            [](Column& c, Random& r, int64_t) {
                static const char* const words[] = {"revenue ", "of ", "the ",    "quarter ",
                                                    "rose ",    "by ", "and ",    "costs ",
                                                    "fell ",    "in ", "Europe ", "while "};
                std::string text;
                while (text.size() < 100)
                    text += r() % 9 == 0 ? std::to_string(r() % 1000) + " " : words[r() % 12];
                c.append_bytes(text);
            });
    return 0;
}
