// Opens the ObjectStore an address of the configuration means: a folder, or a container of Azure
// Blob Storage / ADLS Gen2 with a local cache before it. Rank 2. The forms of addresses and where
// credentials come from: docs/formats/addresses.md.
#pragma once

#include <filesystem>
#include <memory>
#include <string_view>

#include "store/azure/azure_credentials.h"
#include "store/object_store.h"

namespace px::store {

struct OpenOptions {
    /// Relative folders in addresses begin here.
    std::filesystem::path base_folder = ".";
    AzureCredentials azure;
    /// PEM file of the certificate authorities to trust; empty: the system's.
    std::filesystem::path ca_file;
    /// Where local_path() of a remote store keeps its copies. Shared by all stores and processes
    /// that name the same folder.
    std::filesystem::path cache_folder = ".px/cache";
    /// Bytes the cache may hold; the longest unused copies go first.
    int64_t cache_limit_bytes = int64_t{20} << 30;
};

/// True for an address that leads off this machine's file system (by its scheme).
bool is_remote_address(std::string_view url);

/// Where an address leads, the same text however it is written: an absolute folder, or service
/// root, container and path, with the account that only the credentials name. For comparing
/// addresses. Errors: as open_object_store.
Result<std::string> place_of(std::string_view url, const OpenOptions& options);

/// Opens the store of `url`. Nothing is sent: whether the store answers, and whether its container
/// is there, is for ensure_container() to find out.
///   ./lake  lake  /data/lake  file:lake  file:///data/lake            a folder
///   abfss://CONTAINER@ACCOUNT.dfs.core.windows.net/PATH               ADLS Gen2, also abfs:
///   az://CONTAINER/PATH                                               account from the credentials
///   az://ACCOUNT.blob.core.windows.net/CONTAINER/PATH
///   https://ACCOUNT.blob.core.windows.net/CONTAINER/PATH              also .dfs.
///   http://127.0.0.1:10000/devstoreaccount1/CONTAINER/PATH            Azurite
/// Errors: InvalidArgument, naming what is wrong with the address or which variable is missing.
Result<std::unique_ptr<ObjectStore>> open_object_store(std::string_view url,
                                                       const OpenOptions& options);

}  // namespace px::store
