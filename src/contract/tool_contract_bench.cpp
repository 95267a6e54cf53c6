// Rows a CPU-second through the validator alone, and through validator and Parquet writer, on a
// typical table. tool_contract_bench [rows]
#include <fmt/format.h>
#include <time.h>

#include <cstdlib>
#include <filesystem>
#include <random>
#include <string>

#include "columnar/parquet_writer.h"
#include "contract/contract.h"

namespace {

using namespace px;

double cpu_seconds() {
    timespec now{};
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
    return static_cast<double>(now.tv_sec) + static_cast<double>(now.tv_nsec) * 1e-9;
}

struct Blocks {
    std::string text;
    std::vector<source::RecordBlock> blocks;
    int64_t rows = 0;
};

/// id, quantity, amount, day, comment: as a CSV reader would give them.
Blocks make(int64_t rows) {
    Blocks made;
    made.rows = rows;
    std::mt19937_64 random(1);
    static constexpr const char* kWords[] = {"quarter ", "revenue ", "rose ", "by ",
                                             "the ",     "outlook ", "is ",   "stable "};
    std::vector<std::pair<size_t, size_t>> places;
    for (int64_t row = 0; row < rows; ++row) {
        const auto put = [&](const std::string& field) {
            places.emplace_back(made.text.size(), field.size());
            made.text += field;
            made.text += ',';
        };
        put(fmt::format("ORD-{:08}", row));
        put(std::to_string(random() % 1000));
        put(fmt::format("{}.{:02}", random() % 100'000, random() % 100));
        put(fmt::format("20{:02}-{:02}-{:02}", random() % 25, 1 + random() % 12,
                        1 + random() % 28));
        std::string comment;
        for (uint64_t words = 2 + random() % 8; words > 0; --words) comment += kWords[random() % 8];
        put(comment);
    }
    constexpr size_t kColumns = 5;
    constexpr int64_t kBlockRows = 4096;
    for (int64_t row = 0; row < rows; ++row) {
        if (row % kBlockRows == 0) {
            made.blocks.emplace_back();
            made.blocks.back().column_count = kColumns;
        }
        source::RecordBlock& block = made.blocks.back();
        const auto first = static_cast<size_t>(row) * kColumns;
        for (size_t c = 0; c < kColumns; ++c) {
            const auto [at, size] = places[first + c];
            block.fields.push_back({std::string_view(made.text).substr(at, size), true, false});
        }
        const auto begin = places[first].first;
        const auto end = places[first + kColumns - 1].first + places[first + kColumns - 1].second;
        block.positions.push_back(
            {row + 2, static_cast<int64_t>(begin), static_cast<int64_t>(end)});
        block.raw.push_back(std::string_view(made.text).substr(begin, end - begin));
    }
    return made;
}

void report(const std::string& what, const Blocks& input, double seconds) {
    fmt::print("{:<36} {:>8.2f} M rows/CPU-s {:>8.0f} MB of CSV/CPU-s\n", what,
               static_cast<double>(input.rows) / seconds / 1e6,
               static_cast<double>(input.text.size()) / seconds / 1e6);
}

}  // namespace

int main(int argc, char** argv) {
    const Blocks input = make(argc > 1 ? std::atoll(argv[1]) : 1'000'000);
    const auto path = std::filesystem::temp_directory_path() / "px_contract_bench.parquet";
    for (const bool unique : {false, true}) {
        contract::Contract contract;
        const char* const types[] = {"string", "integer", "decimal(18,2)", "date", "string"};
        const char* const names[] = {"id", "quantity", "amount", "day", "comment"};
        contract::HeaderBinding binding;
        for (size_t c = 0; c < 5; ++c) {
            contract::ColumnRule rule;
            rule.name = names[c];
            rule.type = contract::parse_type(types[c]).value();
            rule.unique = unique && c == 0;
            rule.required = c == 0;
            contract.columns.push_back(rule);
            binding.field_of_column.push_back(c);
        }
        for (const int mode : {0, 1, 2}) {
            double best = 1e9;
            for (int round = 0; round < 3; ++round) {
                auto validator = std::move(contract::Validator::create(contract, binding)).value();
                columnar::RecordBatch out(contract.table_schema({}));
                auto writer =
                    std::move(columnar::ParquetWriter::create(path, contract.table_schema({}), {}))
                        .value();
                std::vector<uint32_t> accepted;
                std::vector<contract::RejectedRow> rejected;
                std::vector<std::optional<std::string_view>> fields(5);
                const double begin = cpu_seconds();
                for (const source::RecordBlock& block : input.blocks) {
                    if (mode == 0) {
                        for (size_t r = 0; r < block.row_count(); ++r) {
                            for (size_t c = 0; c < 5; ++c) fields[c] = block.fields[r * 5 + c].text;
                            if (validator->validate(fields, out)) std::abort();
                        }
                    } else {
                        accepted.clear();
                        validator->validate_block(block, out, accepted, rejected);
                    }
                    if (mode == 2) {
                        contract::append_provenance(out, "landing/orders/2026-11-23/0123abcd",
                                                    block, accepted);
                        if (!writer->write(out)) std::abort();
                    }
                    out.clear();
                }
                if (mode == 2 && !writer->close()) std::abort();
                if (!rejected.empty()) std::abort();
                best = std::min(best, cpu_seconds() - begin);
            }
            static constexpr const char* kModes[] = {"record by record", "blocks",
                                                     "blocks to Parquet"};
            report(fmt::format("{}{}", kModes[mode], unique ? ", unique id" : ""), input, best);
        }
    }
    fmt::print(
        "Parquet / CSV {:.3f}\n",
        static_cast<double>(std::filesystem::exists(path) ? std::filesystem::file_size(path) : 0) /
            static_cast<double>(input.text.size()));
    std::filesystem::remove(path);
    return 0;
}
