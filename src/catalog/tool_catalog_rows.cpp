// Publishes generated documents and tells how long each publish took: for bench/catalog_rows.py.
//   tool_catalog_rows ADDRESS ROWS
#include <fmt/format.h>

#include <chrono>
#include <cstdio>
#include <cstdlib>

#include "base/sha256.h"
#include "catalog/open.h"

namespace {

px::catalog::DocumentRow document(int i) {
    px::catalog::DocumentRow row;
    row.source = "reports";
    row.ds = "2026-11-23";
    row.id = std::to_string(i);
    row.document_id = "reports/" + row.id;
    row.title = fmt::format("Quarterly report {} of the northern region", i);
    row.author = fmt::format("Author {}", i % 500);
    row.category = i % 3 == 0 ? "Finance" : "Research";
    row.created_at = 1'700'000'000'000'000 + i * 1'000'000LL;
    row.ingested_at = 1'764'000'000'000'000;
    row.landed_sha256 = px::sha256_hex("file");
    row.landed_key = "reports/2026-11-23/" + row.landed_sha256 + ".csv";
    row.path = "data/reports.csv";
    row.line = i + 2;
    row.byte_start = i * 200;
    row.byte_end = row.byte_start + 199;
    row.text_sha256 = px::sha256_hex(row.title);
    row.text_length = 150;
    return row;
}

int run(const char* address, int rows) {
    px::SystemClock clock;
    auto catalog = px::catalog::open_catalog(address, ".", px::catalog::OpenMode::ReadWrite, clock);
    if (!catalog) {
        fmt::print(stderr, "{}\n", catalog.error().to_string());
        return px::error_traits(catalog.error().code).exit_code;
    }
    px::catalog::Publication publication;
    publication.documents = {{"reports", "2026-11-23", {}}};
    std::vector<px::catalog::DocumentRow>& documents = publication.documents[0].documents;
    for (int i = 0; i < rows; ++i) documents.push_back(document(i));
    for (const char* what : {"new", "unchanged", "tenth_changed"}) {
        if (std::string_view(what) == "tenth_changed") {
            for (size_t i = 0; i < documents.size(); i += 10) documents[i].title += "!";
        }
        const auto begun = (*catalog)->begin_run("2026-11-23", "", "");
        if (!begun) return 1;
        publication.release.run = begun->id;
        const auto start = std::chrono::steady_clock::now();
        const auto made = (*catalog)->publish(publication);
        const std::chrono::duration<double> spent = std::chrono::steady_clock::now() - start;
        if (!made) {
            fmt::print(stderr, "{}\n", made.error().to_string());
            return 1;
        }
        fmt::print("{{\"what\":\"{}\",\"rows\":{},\"seconds\":{:.4f}}}\n", what, rows,
                   spent.count());
    }
    return 0;
}

}  // namespace

int main(int argc, char** argv) {
    if (argc != 3) {
        fmt::print(stderr, "usage: tool_catalog_rows ADDRESS ROWS\n");
        return 2;
    }
    return run(argv[1], std::atoi(argv[2]));
}
