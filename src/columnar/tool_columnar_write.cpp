// Writes Parquet files of seeded random rows beside what they hold, for
// tests/peers/columnar_readers.py. tool_columnar_write FOLDER SEED: FOLDER/NAME.parquet and
// FOLDER/NAME.json each. JSON: {"columns": [{"name", "type", "null_count", "min", "max", "values":
// […]}], "rows"}; values: null, true/false, integers as text (dates in days, timestamps in
// microseconds, decimals unscaled), floats as the text of their bits, bytes in hexadecimal or, when
// longer than 2000, as "sha256:…", lists as arrays of bits.
#include <fmt/format.h>

#include <bit>
#include <cmath>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <functional>
#include <random>
#include <string>

#include "base/sha256.h"
#include "base/utf8.h"
#include "columnar/parquet_writer.h"

namespace {

using namespace px::columnar;
using Random = std::mt19937_64;

std::string hex(std::string_view bytes) {
    if (bytes.size() > 2000) return "sha256:" + px::sha256_hex(bytes);
    std::string text;
    for (const char c : bytes) text += fmt::format("{:02x}", static_cast<unsigned char>(c));
    return text;
}

std::string value_json(const Column& column, int64_t row) {
    if (column.is_null(row)) return "null";
    switch (column.type().id) {
        case TypeId::Bool:
            return column.value_at<uint8_t>(row) != 0 ? "true" : "false";
        case TypeId::Int32:
        case TypeId::Date:
            return fmt::format("\"{}\"", column.value_at<int32_t>(row));
        case TypeId::Int64:
        case TypeId::Timestamp:
            return fmt::format("\"{}\"", column.value_at<int64_t>(row));
        case TypeId::Float32:
            return fmt::format("\"{}\"", column.value_at<uint32_t>(row));
        case TypeId::Float64:
            return fmt::format("\"{}\"", column.value_at<uint64_t>(row));
        case TypeId::Decimal:
            return fmt::format("\"{}\"", column.type().precision <= 18
                                             ? format_decimal(column.value_at<int64_t>(row), 0)
                                             : format_decimal(column.value_at<Int128>(row), 0));
        case TypeId::String:
        case TypeId::Binary:
            return fmt::format("\"{}\"", hex(column.bytes_at(row)));
        case TypeId::FloatList: {
            std::string text = "[";
            const auto& offsets = column.offsets();
            for (int64_t i = offsets[static_cast<size_t>(row)];
                 i < offsets[static_cast<size_t>(row) + 1]; ++i) {
                if (text.size() > 1) text += ',';
                text += fmt::format("\"{}\"", column.value_at<uint32_t>(i));
            }
            return text + "]";
        }
    }
    return "null";
}

void write(const std::filesystem::path& folder, const std::string& name, const RecordBatch& rows,
           ParquetWriterOptions options = {}) {
    auto writer = ParquetWriter::create(folder / (name + ".parquet"), rows.schema(), options);
    if (!writer || !(*writer)->write(rows)) std::abort();
    const auto info = (*writer)->close();
    if (!info) std::abort();
    std::ofstream out(folder / (name + ".json"));
    out << "{\"rows\": " << rows.row_count() << ", \"columns\": [";
    for (size_t c = 0; c < rows.column_count(); ++c) {
        const Field& field = rows.schema().fields[c];
        const ColumnStatistics& statistics = info->columns[c];
        out << (c == 0 ? "" : ",\n") << "{\"name\": \"" << field.name << "\", \"type\": \""
            << delta_type_name(field.type) << "\", \"null_count\": " << statistics.null_count
            << ", \"min\": " << statistics.min_json.value_or("null")
            << ", \"max\": " << statistics.max_json.value_or("null") << ", \"values\": [";
        for (int64_t row = 0; row < rows.row_count(); ++row) {
            out << (row == 0 ? "" : ",") << value_json(rows.column(c), row);
        }
        out << "]}";
    }
    out << "]}\n";
}

std::string random_text(Random& random, size_t length_max) {
    static constexpr char32_t kPoints[] = {U'a', U'z',  U' ', U'\n',    U'ü',   U'ß',     U'Ω',
                                           U'ж', U'中', U'😀', 0x10FFFF, 0xD7FF, U'\u0001'};
    std::string text;
    const size_t length = random() % (length_max + 1);
    for (size_t i = 0; i < length; ++i)
        px::utf8_append(text, kPoints[random() % std::size(kPoints)]);
    return text;
}

std::string random_bytes(Random& random, size_t length_max) {
    std::string bytes(random() % (length_max + 1), '\0');
    for (char& byte : bytes) byte = static_cast<char>(random());
    return bytes;
}

Int128 random_decimal(Random& random, int precision) {
    UInt128 limit = 1;
    for (int i = 0; i < precision; ++i) limit *= 10;
    const UInt128 word = static_cast<UInt128>(random()) << 64 | random();
    const auto value = static_cast<Int128>(word % limit);
    return random() % 2 == 0 ? value : -value;
}

using Append = std::function<void(Column&, Random&, int64_t row)>;
struct Kind {
    Field field;
    Append append;
};

std::vector<Kind> kinds(bool nullable) {
    const auto decimal = [](int precision, bool few) {
        return [=](Column& c, Random& r, int64_t) {
            Int128 value = random_decimal(r, precision);
            if (few) value %= 7;
            if (precision <= 18) {
                c.append_int64(static_cast<int64_t>(value));
            } else {
                c.append_int128(value);
            }
        };
    };
    std::vector<Kind> all = {
        {{"bool", {TypeId::Bool}},
         [](Column& c, Random& r, int64_t) { c.append_bool(r() % 3 == 0); }},
        {{"int", {TypeId::Int32}},
         [](Column& c, Random& r, int64_t) { c.append_int32(static_cast<int32_t>(r())); }},
        {{"int_few", {TypeId::Int32}},
         [](Column& c, Random& r, int64_t) {
             c.append_int32(static_cast<int32_t>(r() % 5) * 400'000'000);
         }},
        {{"long", {TypeId::Int64}},
         [](Column& c, Random& r, int64_t) { c.append_int64(static_cast<int64_t>(r())); }},
        {{"long_edge", {TypeId::Int64}},
         [](Column& c, Random& r, int64_t) {
             c.append_int64(r() % 2 == 0 ? std::numeric_limits<int64_t>::min()
                                         : std::numeric_limits<int64_t>::max());
         }},
        {{"long_rising", {TypeId::Int64}},
         [](Column& c, Random& r, int64_t row) {
             c.append_int64(row * 120 + static_cast<int64_t>(r() % 40));
         }},
        {{"long_half", {TypeId::Int64}},
         [](Column& c, Random& r, int64_t row) {
             c.append_int64(row < 900 ? static_cast<int64_t>(r() % 3) * 1'000'000'000'007
                                      : static_cast<int64_t>(r()));
         }},
        {{"float", {TypeId::Float32}},
         [](Column& c, Random& r, int64_t) {
             c.append_float(static_cast<float>(static_cast<int64_t>(r() % 2000) - 1000) / 8);
         }},
        {{"float_zero", {TypeId::Float32}},
         [](Column& c, Random& r, int64_t) { c.append_float(r() % 2 == 0 ? 0.0F : -0.0F); }},
        {{"double", {TypeId::Float64}},
         [](Column& c, Random& r, int64_t) {
             c.append_double(static_cast<double>(static_cast<int64_t>(r())) * 1e-3);
         }},
        {{"double_nan", {TypeId::Float64}},
         [](Column& c, Random& r, int64_t) {
             static const double values[] = {std::nan(""), INFINITY, -INFINITY, 0.0,
                                             -0.0,         5e-324,   1.5};
             c.append_double(values[r() % 7]);
         }},
        {{"decimal_5_2", {TypeId::Decimal, 5, 2}}, decimal(5, false)},
        {{"decimal_9_0", {TypeId::Decimal, 9, 0}}, decimal(9, false)},
        {{"decimal_18_2", {TypeId::Decimal, 18, 2}}, decimal(18, false)},
        {{"decimal_18_few", {TypeId::Decimal, 18, 6}}, decimal(18, true)},
        {{"decimal_38_10", {TypeId::Decimal, 38, 10}}, decimal(38, false)},
        {{"decimal_19_19", {TypeId::Decimal, 19, 19}}, decimal(19, true)},
        {{"date", {TypeId::Date}},
         [](Column& c, Random& r, int64_t) {
             c.append_int32(static_cast<int32_t>(r() % 60'000) - 20'000);
         }},
        {{"timestamp", {TypeId::Timestamp}},
         [](Column& c, Random& r, int64_t) {
             c.append_int64(static_cast<int64_t>(r() % 4'000'000'000'000'000) -
                            1'000'000'000'000'000);
         }},
        {{"timestamp_few", {TypeId::Timestamp}},
         [](Column& c, Random& r, int64_t) {
             c.append_int64(static_cast<int64_t>(r() % 9) * 86'400'000'000);
         }},
        {{"text", {TypeId::String}},
         [](Column& c, Random& r, int64_t) { c.append_bytes(random_text(r, 40)); }},
        {{"text_few", {TypeId::String}},
         [](Column& c, Random& r, int64_t) {
             static const char* const values[] = {
                 "", "a", "Grüße", "日本語のテキスト",
                 "a longer value of more than thirty-two characters"};
             c.append_bytes(values[r() % 5]);
         }},
        {{"text_half", {TypeId::String}},
         [](Column& c, Random& r, int64_t row) {
             c.append_bytes(row < 2500 ? "value " + std::to_string(r() % 20) : random_text(r, 60));
         }},
        {{"blob", {TypeId::Binary}},
         [](Column& c, Random& r, int64_t) { c.append_bytes(random_bytes(r, 90)); }},
        {{"vector", {TypeId::FloatList}},
         [](Column& c, Random& r, int64_t) {
             float values[9];
             const size_t count = r() % 5 == 0 ? r() % 10 : r() % 6 == 0 ? 0 : 4;
             for (float& v : values) v = static_cast<float>(r() % 1000) / 999;
             c.append_floats(values, count);
         }},
        {{"embedding", {TypeId::FloatList}},
         [](Column& c, Random& r, int64_t) {
             float values[24];
             for (float& v : values) v = static_cast<float>(r() % 100'000) / 100'000;
             c.append_floats(values, 24);
         }},
    };
    for (Kind& kind : all) kind.field.nullable = nullable;
    return all;
}

RecordBatch make(const std::vector<Kind>& columns, int64_t rows, int null_percent, Random& random) {
    Schema schema;
    for (const Kind& kind : columns) schema.fields.push_back(kind.field);
    RecordBatch batch(schema);
    for (int64_t row = 0; row < rows; ++row) {
        for (size_t c = 0; c < columns.size(); ++c) {
            if (columns[c].field.nullable && static_cast<int>(random() % 100) < null_percent) {
                batch.column(c).append_null();
            } else {
                columns[c].append(batch.column(c), random, row);
            }
        }
    }
    return batch;
}

}  // namespace

int main(int argc, char** argv) {
    if (argc != 3) {
        fmt::print(stderr, "usage: tool_columnar_write FOLDER SEED\n");
        return 2;
    }
    const std::filesystem::path folder = argv[1];
    Random random(std::strtoull(argv[2], nullptr, 10));
    const ParquetWriterOptions tight{.row_group_rows = 1'100,
                                     .row_group_bytes = 300'000,
                                     .page_bytes = 4'000,
                                     .dictionary_bytes = 3'000};
    ParquetWriterOptions plain = tight;
    plain.snappy = false;

    const std::vector<Kind> nullable = kinds(true);
    const std::vector<Kind> required = kinds(false);
    write(folder, "empty", make(nullable, 0, 0, random));
    write(folder, "one_row", make(nullable, 1, 0, random));
    write(folder, "one_null_row", make(nullable, 1, 100, random));
    write(folder, "all_null", make(nullable, 3'000, 100, random), tight);
    write(folder, "some_null", make(nullable, 6'000, 20, random));
    write(folder, "no_null", make(nullable, 6'000, 0, random));
    write(folder, "required", make(required, 6'000, 0, random), tight);
    write(folder, "many_groups", make(nullable, 9'000, 3, random), tight);
    write(folder, "mostly_null", make(nullable, 9'000, 97, random), tight);
    write(folder, "uncompressed", make(nullable, 6'000, 30, random), plain);

    // Dictionaries that fill up late, and columns longer than one page of the default size.
    const std::vector<Kind> large = {
        {{"text_growing", {TypeId::String}},
         [](Column& c, Random& r, int64_t row) {
             c.append_bytes("growing " +
                            std::to_string(r() % static_cast<uint64_t>(row < 40'000 ? 50 : row)));
         }},
        {{"long_growing", {TypeId::Int64}},
         [](Column& c, Random& r, int64_t row) {
             c.append_int64(
                 static_cast<int64_t>(r() % static_cast<uint64_t>(row < 100'000 ? 50 : row)) << 40);
         }},
        {{"constant", {TypeId::String}},
         [](Column& c, Random&, int64_t) { c.append_bytes("always the same"); }},
        {{"line", {TypeId::Int64}},
         [](Column& c, Random&, int64_t row) { c.append_int64(row + 2); }},
        {{"unique", {TypeId::String}},
         [](Column& c, Random& r, int64_t) { c.append_bytes(fmt::format("{:x}", r())); }},
    };
    write(folder, "large", make(large, 260'000, 1, random), {.dictionary_bytes = 200'000});

    // A cell of 50 MB between small ones.
    RecordBatch huge(Schema{{{"n", {TypeId::Int64}}, {"text", {TypeId::String}}}});
    for (int64_t i = 0; i < 5; ++i) {
        huge.column(0).append_int64(i);
        std::string text = "short";
        if (i == 2) {
            text.clear();
            while (text.size() < 50'000'000) text += fmt::format("{:x} ", random());
        }
        huge.column(1).append_bytes(text);
    }
    write(folder, "huge", huge);
    return 0;
}
