#include "store/open.h"

#include <fmt/format.h>

#include "store/azure/azure_address.h"
#include "store/azure/azure_object_store.h"
#include "store/local/local_object_store.h"

namespace px::store {

bool is_remote_address(std::string_view url) { return is_azure_address(url); }

Result<std::string> place_of(std::string_view url, const OpenOptions& options) {
    if (is_azure_address(url)) {
        const AzureAddress address = PX_TRY(parse_azure_address(url, options.azure));
        return fmt::format("{}/{}/{}", address.endpoint, address.container, address.path);
    }
    PX_TRY(open_object_store(url, options.base_folder));
    for (const std::string_view scheme : {"file://localhost", "file://", "file:"}) {
        if (!url.starts_with(scheme)) continue;
        url.remove_prefix(scheme.size());
        break;
    }
    std::error_code ignored;
    std::string folder =
        std::filesystem::weakly_canonical(options.base_folder / std::filesystem::path(url), ignored)
            .string();
    while (folder.size() > 1 && folder.ends_with('/')) folder.pop_back();
    return folder;
}

Result<std::unique_ptr<ObjectStore>> open_object_store(std::string_view url,
                                                       const OpenOptions& options) {
    if (!is_azure_address(url)) return open_object_store(url, options.base_folder);
    AzureAddress address = PX_TRY(parse_azure_address(url, options.azure));
    AzureObjectStoreOptions azure;
    azure.http.ca_file = options.ca_file;
    PX_TRY(azure.validate());
    FileCacheOptions cache{.folder = options.cache_folder,
                           .limit_bytes = options.cache_limit_bytes};
    PX_TRY(cache.validate());
    return std::unique_ptr<ObjectStore>(std::make_unique<AzureObjectStore>(
        std::move(address), options.azure, std::move(cache), std::move(azure)));
}

}  // namespace px::store
