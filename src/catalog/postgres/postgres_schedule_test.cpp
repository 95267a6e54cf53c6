#include "catalog/conformance_schedule.h"
#include "testing/postgres_server.h"

namespace px::catalog {
namespace {

INSTANTIATE_TEST_SUITE_P(Postgres, ScheduleConformance,
                         ::testing::Values(ScheduleUnderTest{
                             "Postgres",
                             [](const std::filesystem::path&) {
                                 static std::atomic<int> count{0};
                                 return "s" + std::to_string(++count);
                             },
                             [](const std::string& place, OpenMode mode, const Clock& clock) {
                                 PostgresCatalogOptions options;
                                 options.schema = place;
                                 options.lock_timeout = std::chrono::minutes(2);
                                 return open_postgres_schedule(
                                     px::testing::PostgresServer::shared().address(), mode, clock,
                                     options);
                             }}),
                         schedule_name);

}  // namespace
}  // namespace px::catalog
