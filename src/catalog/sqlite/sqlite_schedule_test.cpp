#include "catalog/conformance_schedule.h"

namespace px::catalog {
namespace {

INSTANTIATE_TEST_SUITE_P(Sqlite, ScheduleConformance,
                         ::testing::Values(ScheduleUnderTest{
                             "Sqlite",
                             [](const std::filesystem::path& scratch) {
                                 return (scratch / "catalog.db").string();
                             },
                             [](const std::string& place, OpenMode mode, const Clock& clock) {
                                 return open_sqlite_schedule(
                                     place, mode, clock, {.busy_timeout = std::chrono::minutes(2)});
                             }}),
                         schedule_name);

}  // namespace
}  // namespace px::catalog
