// Any bytes as SQL of a user: refused or run within limits, never a crash.
#include <cstddef>
#include <cstdint>

#include "engine/local/local_engine.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
    static std::unique_ptr<px::engine::Session> session = [] {
        px::engine::LocalEngineOptions options;
        options.memory_limit_mb = 100;
        options.thread_count = 1;
        auto engine = px::engine::open_local_engine(options).value();
        auto opened = engine->open_session().value();
        opened->add_table({"reports", {{{"id", {px::columnar::TypeId::Int64}}}}, {}}).value();
        opened->lock_down().value();
        return opened;
    }();
    px::engine::QueryLimits limits;
    limits.rows = 10;
    limits.time = std::chrono::milliseconds(200);
    (void)session->query_untrusted(std::string(reinterpret_cast<const char*>(data), size), limits,
                                   px::Deadline::never());
    return 0;
}
