# px_web_files(OUT web_folder): compiles the page's TypeScript and embeds it with the static files as one C++ source,
# whose path is put into OUT. Needs node and what `npm ci` laid out in web_folder; nothing is fetched here.
include_guard(GLOBAL)

function(px_web_files out web)
  find_program(PX_NODE node HINTS ${PX_DEPS}/node/bin DOC "Node.js, for the page")
  set(tsc ${web}/node_modules/typescript/bin/tsc)
  if(NOT PX_NODE)
    message(FATAL_ERROR "The page needs Node.js to be compiled: no `node` on the PATH or in ${PX_DEPS}/node/bin. "
      "Run `make setup`.")
  endif()
  if(NOT EXISTS ${tsc})
    message(FATAL_ERROR "The page's compiler is missing: ${tsc}. Run `npm ci` in ${web} (or `make setup`).")
  endif()
  file(GLOB_RECURSE sources CONFIGURE_DEPENDS ${web}/src/*.ts)
  file(GLOB_RECURSE statics CONFIGURE_DEPENDS ${web}/static/*)
  set(made ${CMAKE_BINARY_DIR}/web)
  add_custom_command(
    OUTPUT ${made}/web_files.cpp
    COMMAND ${CMAKE_COMMAND} -E rm -rf ${made}/dist
    COMMAND ${CMAKE_COMMAND} -E make_directory ${made}/dist
    COMMAND ${PX_NODE} ${tsc} -p ${web}/tsconfig.json --outDir ${made}/dist/js
    COMMAND ${PX_NODE} ${web}/tools/embed.mjs ${made}/web_files.cpp ${made}/dist ${web}/static
    DEPENDS ${sources} ${statics} ${web}/tsconfig.json ${web}/tools/embed.mjs ${tsc}
    COMMENT "Compiling and embedding the page"
    VERBATIM)
  set(${out} ${made}/web_files.cpp PARENT_SCOPE)
endfunction()
