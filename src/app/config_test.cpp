#include "app/config.h"

#include <gtest/gtest.h>

namespace px::app {
namespace {

constexpr const char* kGood = R"yaml(pipeline: demo
sources:
  reports: {csv: "data/*.csv", mode: append, contract: report}
  orders: {sql: {connection: "${env:ORDERS_URL}", query: "select 1 as id"}}
contracts:
  report:
    columns:
      - {name: id, type: string, role: id}
      - {name: revenue, type: "decimal(18,2)", min: 0}
      - {name: text, type: string, role: text}
    quarantine: {halt_above: 1%}
)yaml";

Environment environment() {
    Environment result;
    result.variables["ORDERS_URL"] = "sqlite:secret.db";
    return result;
}

std::string error_of(const std::string& text) {
    const Result<Config> config = parse_config(text, "/nowhere/pipeline.yaml", environment());
    return config ? "no error" : config.error().to_string();
}

std::string with(std::string text, const std::string& from, const std::string& to) {
    return text.replace(text.find(from), from.size(), to);
}

TEST(Config, ReadsAPipelineFile) {
    const Config config = parse_config(kGood, "/nowhere/pipeline.yaml", environment()).value();
    EXPECT_EQ(config.definition.name, "demo");
    ASSERT_EQ(config.definition.sources.size(), 2U);
    EXPECT_EQ(config.definition.sources[0].contract.columns[1].type.scale, 2);
    EXPECT_TRUE(config.definition.sources[0].contract.columns[0].unique);
    EXPECT_DOUBLE_EQ(config.definition.sources[0].contract.halt_above, 0.01);
    EXPECT_EQ(config.definition.sources[1].connection, "sqlite:secret.db");
    EXPECT_EQ(config.serve_port, 8501);
    EXPECT_EQ(config.sql_queries, 4U);
    EXPECT_EQ(parse_config(std::string(kGood) + "engine: {queries: 2}\n", "/nowhere/pipeline.yaml",
                           environment())
                  .value()
                  .sql_queries,
              2U);
}

TEST(Config, HidesSecretsAndNamesOrigins) {
    Environment outside = environment();
    outside.variables["PX_LAKE_URL"] = "./other";
    const Config config = parse_config(kGood, "/nowhere/pipeline.yaml", outside).value();
    bool connection_seen = false;
    for (const Setting& setting : config.settings) {
        EXPECT_EQ(setting.value.find("secret"), std::string::npos) << setting.key;
        if (setting.key == "sources.orders.sql.connection") {
            connection_seen = true;
            EXPECT_EQ(setting.value, "***");
            EXPECT_EQ(setting.origin, "pipeline.yaml:4");
        }
        if (setting.key == "lake.url") {
            EXPECT_EQ(setting.origin, "environment PX_LAKE_URL");
        }
    }
    EXPECT_TRUE(connection_seen);
    EXPECT_EQ(config.definition.lake_url, "./other");
}

TEST(Config, ShowsNoPasswordOfAnAddress) {
    const auto shown = [](const std::string& address, bool in_file) {
        Environment outside = environment();
        std::string text = kGood;
        if (in_file) {
            text += "catalog: {url: \"" + address + "\"}\n";
        } else {
            outside.variables["PX_CATALOG_URL"] = address;
        }
        const Config config = parse_config(text, "/nowhere/pipeline.yaml", outside).value();
        for (const Setting& setting : config.settings)
            if (setting.key == "catalog.url") return setting.value;
        return std::string("catalog.url is not shown");
    };
    for (const bool in_file : {false, true}) {
        EXPECT_EQ(shown("postgresql://ann:hidden@db:5432/px", in_file),
                  "postgresql://ann:***@db:5432/px");
        EXPECT_EQ(shown("postgresql://ann:hid@d/en@db/px?schema=a", in_file),
                  "postgresql://ann:***@db/px?schema=a");
        EXPECT_EQ(shown("postgresql://ann@db:5432/px?password=hidden&schema=a", in_file),
                  "postgresql://ann@db:5432/px?password=***&schema=a");
        EXPECT_EQ(shown("sqlite:./catalog.db", in_file), "sqlite:./catalog.db");
    }
}

TEST(Config, MakesTheAddressOfPostgresOfItsVariables) {
    const std::string text = std::string(kGood) + "catalog: {url: \"postgresql:\"}\n";
    Environment outside = environment();
    const auto missing = parse_config(text, "/nowhere/pipeline.yaml", outside);
    ASSERT_FALSE(missing);
    EXPECT_NE(missing.error().message.find("POSTGRES_USER"), std::string::npos);
    outside.variables["POSTGRES_USER"] = "ann";
    const auto address = [&] {
        return parse_config(text, "/nowhere/pipeline.yaml", outside).value().definition.catalog_url;
    };
    EXPECT_EQ(address(), "postgresql://ann@localhost:5432/ann");
    outside.variables["POSTGRES_HOST"] = "db.example";
    outside.variables["POSTGRES_PORT"] = "5433";
    outside.variables["POSTGRES_PASSWORD"] = "p@ss/w:rd";
    outside.variables["POSTGRES_DB"] = "px";
    EXPECT_EQ(address(), "postgresql://ann:p%40ss%2Fw%3Ard@db.example:5433/px?sslmode=require");
}

TEST(Config, NamesUnknownKeysWithLineAndNearestKey) {
    EXPECT_EQ(error_of(with(kGood, "mode: append", "mod: append")),
              "pipeline.yaml:3:32: unknown key 'mod' in sources.reports. Did you mean 'mode'?");
    EXPECT_EQ(
        error_of(with(kGood, "pipeline: demo", "pipelin: demo")),
        "pipeline.yaml:1:1: unknown key 'pipelin' in the pipeline file. Did you mean 'pipeline'?");
    EXPECT_NE(
        error_of(with(kGood, "contract: report", "contract: reprt")).find("Did you mean 'report'?"),
        std::string::npos);
    EXPECT_NE(error_of(with(kGood, "mode: append", "mode: apend")).find("Did you mean 'append'?"),
              std::string::npos);
    EXPECT_NE(error_of(with(kGood, "decimal(18,2)", "decimal(99,2)")).find("pipeline.yaml:9"),
              std::string::npos);
    EXPECT_NE(error_of(with(kGood, "1%", "one")).find("Write a share"), std::string::npos);
    EXPECT_NE(error_of(with(kGood, "ORDERS_URL", "OTHER_URL")).find("needs the variable OTHER_URL"),
              std::string::npos);
}

TEST(Config, RefusesWhatIsNoPipeline) {
    EXPECT_NE(error_of("").find("holds no pipeline"), std::string::npos);
    EXPECT_NE(error_of("pipeline: x\n").find("no sources"), std::string::npos);
    EXPECT_NE(error_of("pipeline: [x\n").find("pipeline.yaml:"), std::string::npos);
    EXPECT_NE(error_of(with(kGood, "  reports:", "  chunks:")).find("keeps for itself"),
              std::string::npos);
    for (const char* name : {"pg_notes", "PG_notes", "sqlite_x", "duckdb_x", "pragma_x", "px_x",
                             "information_schema_2", "Chunks"}) {
        const std::string refused = error_of(with(kGood, "reports:", std::string(name) + ":"));
        EXPECT_NE(refused.find("pipeline.yaml:3"), std::string::npos) << refused;
        EXPECT_NE(refused.find("keeps for itself"), std::string::npos) << refused;
        const std::string model =
            error_of(kGood + ("models:\n  " + std::string(name) + ": {sql: select 1 as x}\n"));
        EXPECT_NE(model.find("pipeline.yaml:13"), std::string::npos) << model;
    }
    EXPECT_NE(error_of(with(kGood, "  orders:", "  Reports:")).find("used twice"),
              std::string::npos)
        << "SQL knows names in any letter case";
    EXPECT_NE(
        error_of(with(kGood, "mode: append", "mode: append, mode: merge")).find("stands twice"),
        std::string::npos);
}

TEST(Nearest, FindsWhatWasMeant) {
    EXPECT_EQ(nearest("chunkin", {"chunking", "catalog"}), "chunking");
    EXPECT_EQ(nearest("xyz", {"chunking", "catalog"}), std::nullopt);
}

}  // namespace
}  // namespace px::app
