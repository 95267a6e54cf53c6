// Moves files to and from a store, for bench/azure_transfer.py:
//   tool_store_transfer put URL CACHE THREADS FILE...    each under its own name, as runs store
//   parts tool_store_transfer get URL CACHE THREADS KEY...     each into the cache, as engines read
//   parts
// Prints the seconds it took. Addresses and credentials: docs/formats/addresses.md.
#include <fmt/format.h>

#include <chrono>
#include <cstdlib>
#include <filesystem>
#include <string>
#include <vector>

#include "base/parallel.h"
#include "store/open.h"

namespace px::store {
namespace {

Result<double> transfer(const std::vector<std::string>& words) {
    const AzureCredentials credentials =
        PX_TRY(resolve_azure_credentials([](std::string_view name) -> std::optional<std::string> {
            const char* value = std::getenv(std::string(name).c_str());
            return value ? std::optional<std::string>(value) : std::nullopt;
        }));
    OpenOptions options;
    options.azure = credentials;
    options.cache_folder = words[3];
    const auto store = PX_TRY(open_object_store(words[2], options));
    PX_TRY(store->ensure_container());
    const std::vector<std::string> names(words.begin() + 5, words.end());
    const auto started = std::chrono::steady_clock::now();
    PX_TRY(parallel_for(
        names.size(), std::stoul(words[4]), Deadline::never(), [&](size_t i) -> Result<void> {
            if (words[1] == "get") {
                PX_TRY(store->local_path(names[i]));
                return {};
            }
            return store->put_file(std::filesystem::path(names[i]).filename().string(), names[i]);
        }));
    return std::chrono::duration<double>(std::chrono::steady_clock::now() - started).count();
}

}  // namespace
}  // namespace px::store

int main(int count, char** arguments) {
    const std::vector<std::string> words(arguments, arguments + count);
    if (count < 6 || (words[1] != "put" && words[1] != "get")) {
        fmt::print(stderr, "usage: tool_store_transfer put|get URL CACHE THREADS NAME...\n");
        return 2;
    }
    const px::Result<double> seconds = px::store::transfer(words);
    if (!seconds) {
        fmt::print(stderr, "{}\n", seconds.error().to_string());
        return 1;
    }
    fmt::print("{:.6f}\n", *seconds);
    return 0;
}
