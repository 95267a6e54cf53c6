# Foreign parts: Debian packages by pkg-config, pinned packages from PX_DEPS (see docs/dependencies.md).
find_package(PkgConfig REQUIRED)
find_package(Threads REQUIRED)
if(PX_TESTS)
  find_package(GTest REQUIRED)
endif()
find_package(Boost 1.81 REQUIRED COMPONENTS json)
pkg_check_modules(FMT REQUIRED IMPORTED_TARGET fmt)
pkg_check_modules(CRYPTO REQUIRED IMPORTED_TARGET libcrypto)
pkg_check_modules(CURL REQUIRED IMPORTED_TARGET libcurl>=7.85)
pkg_check_modules(SQLITE REQUIRED IMPORTED_TARGET sqlite3)
pkg_check_modules(LIBPQ REQUIRED IMPORTED_TARGET libpq)
pkg_check_modules(ZLIB REQUIRED IMPORTED_TARGET zlib)
pkg_check_modules(ZSTD REQUIRED IMPORTED_TARGET libzstd)
pkg_check_modules(YAML REQUIRED IMPORTED_TARGET yaml-cpp)
pkg_check_modules(UTF8PROC REQUIRED IMPORTED_TARGET libutf8proc)
pkg_check_modules(PUGIXML REQUIRED IMPORTED_TARGET pugixml)
pkg_check_modules(GUMBO REQUIRED IMPORTED_TARGET gumbo)
pkg_check_modules(LIBZIP REQUIRED IMPORTED_TARGET libzip)
find_library(PX_SNAPPY snappy REQUIRED)
find_library(PX_STEMMER stemmer REQUIRED)

add_library(px_duckdb_lib SHARED IMPORTED)
set_target_properties(px_duckdb_lib PROPERTIES
  IMPORTED_LOCATION ${PX_DEPS}/duckdb/libduckdb.so
  INTERFACE_INCLUDE_DIRECTORIES ${PX_DEPS}/duckdb
  INTERFACE_SYSTEM_INCLUDE_DIRECTORIES ${PX_DEPS}/duckdb)

# The run-time layout beside the programs: bin/../lib and bin/../share.
file(MAKE_DIRECTORY ${CMAKE_BINARY_DIR}/lib ${CMAKE_BINARY_DIR}/share/px/models)
foreach(lib duckdb/libduckdb.so pdfium/libpdfium.so)
  get_filename_component(lib_name ${lib} NAME)
  # Copies, not links: the cache they come from belongs to one user.
  configure_file(${PX_DEPS}/${lib} ${CMAKE_BINARY_DIR}/lib/${lib_name} COPYONLY)
endforeach()
file(COPY ${PX_DEPS}/models/all-MiniLM-L6-v2 DESTINATION ${CMAKE_BINARY_DIR}/share/px/models)
