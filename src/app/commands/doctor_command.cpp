#include <fmt/format.h>
#include <unistd.h>

#include <boost/json.hpp>
#include <cstdlib>
#include <filesystem>
#include <system_error>

#include "app/commands/commands.h"
#include "capi/curl/digest.h"
#include "lake/delta_table.h"

namespace px::app {

namespace {

namespace json = boost::json;

constexpr int64_t kFreeBytesMin = 1'000'000'000;
constexpr int64_t kClockSkewWarnMs = 60'000;       // logs of several machines stop fitting together
constexpr int64_t kClockSkewFailMs = 15 * 60'000;  // Azure refuses requests beyond it

/// What to do when a part of the newest release is gone. The landed files alone are not enough: the
/// catalog says that nothing changed.
constexpr std::string_view kRebuildHint =
    "Restore the folder from a backup; or move the catalog file, the lake and the index away and "
    "run the dates again (px run, px backfill)";

enum class State { Ok, Warning, Failed };

struct Finding {
    std::string what;
    State state = State::Ok;
    std::string detail;
    std::string fix;
    int exit_code = 1;  ///< when it failed
};

/// What was found out so far.
class Findings {
  public:
    void ok(std::string what, std::string detail) {
        all_.push_back({std::move(what), State::Ok, std::move(detail), {}});
    }
    void warn(std::string what, std::string detail, std::string fix) {
        all_.push_back({std::move(what), State::Warning, std::move(detail), std::move(fix)});
    }
    void fail(std::string what, std::string detail, std::string fix, int exit_code = 1) {
        all_.push_back(
            {std::move(what), State::Failed, std::move(detail), std::move(fix), exit_code});
    }
    void fail(std::string what, const Error& error) {
        std::string detail = error.message;
        for (const std::string& where : error.context) detail += "; " + where;
        fail(std::move(what), std::move(detail), error.hint, error_traits(error.code).exit_code);
    }
    const std::vector<Finding>& all() const { return all_; }

  private:
    std::vector<Finding> all_;
};

std::string gigabytes(int64_t bytes) {
    return fmt::format("{:.1f} GB", static_cast<double>(bytes) / 1e9);
}

/// Version, encryption, clock and room, as far as a service tells them.
void report_facts(const std::string& name, const ServiceFacts& facts, std::string_view room,
                  Findings& findings) {
    if (!facts.version.empty()) {
        findings.ok(name + " version", facts.more.empty()
                                           ? facts.version
                                           : fmt::format("{}, {}", facts.version, facts.more));
    }
    if (facts.is_encrypted) {
        if (*facts.is_encrypted) {
            findings.ok(name + " TLS", "encrypted");
        } else if (facts.is_loopback) {
            findings.ok(name + " TLS", "none, and nothing leaves this machine");
        } else {
            findings.warn(name + " TLS", "the connection is not encrypted",
                          "Use https:// or sslmode=verify-full in the address");
        }
    }
    if (facts.clock_ahead_ms) {
        const int64_t skew = std::abs(*facts.clock_ahead_ms);
        const std::string detail =
            fmt::format("{:.1f} s {} this machine's", static_cast<double>(skew) / 1000.0,
                        *facts.clock_ahead_ms >= 0 ? "ahead of" : "behind");
        if (skew >= kClockSkewFailMs) {
            findings.fail(name + " clock", detail, "Set the clock of this machine", 4);
        } else if (skew >= kClockSkewWarnMs) {
            findings.warn(name + " clock", detail, "Set the clock of this machine");
        } else {
            findings.ok(name + " clock", skew <= 1000 ? "the same as this machine's" : detail);
        }
    }
    if (facts.free_bytes) {
        const std::string what = fmt::format("{} {}", name, room);
        if (*facts.free_bytes < kFreeBytesMin) {
            findings.warn(what, gigabytes(*facts.free_bytes) + " left",
                          "Make room, or name another folder");
        } else {
            findings.ok(what, gigabytes(*facts.free_bytes) + " left");
        }
    }
}

/// Writes an object as a run does, reads, lists and replaces it, and removes it again.
Result<void> try_rights(store::ObjectStore& object_store) {
    // Unlike any other: several doctors may work at a time.
    const std::string key = fmt::format("px-doctor-{}", capi::curl::random_hex(8));
    const auto leave = [&](Result<void> result) -> Result<void> {
        Result<void> removed = object_store.remove(key);
        if (!result) return result;
        return std::move(removed).context("removing the object that was written to try it");
    };
    Result<void> written = object_store.put_if_absent(key, key);
    if (!written) return std::move(written).context("writing an object");
    return leave([&]() -> Result<void> {
        const std::string read = PX_TRY(object_store.get(key).context("reading it back"));
        if (read != key) {
            return fail(ErrorCode::Corrupt,
                        fmt::format("{} gave other bytes back", object_store.url()),
                        "Check the file system");
        }
        // What commits of tables rest on: a second writer of the same name is told.
        const Result<void> again = object_store.put_if_absent(key, "another");
        if (again) {
            return fail(
                ErrorCode::Corrupt,
                fmt::format("{} lets two writers create the same object", object_store.url()),
                "Conditional writes are needed: use another kind of storage");
        }
        if (again.error().code != ErrorCode::AlreadyExists) return again.error();
        PX_TRY(object_store.put(key, "replaced").context("replacing it"));
        for (const store::ObjectMeta& object :
             PX_TRY(object_store.list(key).context("listing objects"))) {
            if (object.key == key) return {};
        }
        return fail(ErrorCode::Corrupt,
                    fmt::format("{} does not list what was written", object_store.url()),
                    "Check the store");
    }());
}

void check_store(const char* name, store::ObjectStore& object_store,
                 const std::optional<catalog::Release>& release, Findings& findings) {
    const std::string what = fmt::format("{} ({})", name, object_store.url());
    const Result<ServiceFacts> facts = object_store.facts();
    const Result<void> rights = facts ? try_rights(object_store) : Result<void>(facts.error());
    if (!rights && rights.error().code == ErrorCode::NotFound) {
        if (!release) {
            findings.ok(what, "will be created by the first run");
        } else {
            findings.fail(what,
                          fmt::format("it is gone, and release {} needs it", release->id.value),
                          std::string(kRebuildHint));
        }
        return;
    }
    if (!rights) {
        findings.fail(what, rights.error());
    } else {
        findings.ok(what, "readable and writable; a second writer of a name is refused");
    }
    if (facts) report_facts(name, *facts, facts->version.empty() ? "disk" : "cache", findings);
}

/// Every file of a table's version is there, as long as its log says.
Result<std::string> try_table(App& app, const std::string& name, int64_t version) {
    const lake::DeltaTable table(app.lake(), name, app.clock());
    const lake::Snapshot snapshot = PX_TRY(table.snapshot_at({version}));
    for (const lake::Add& add : snapshot.files) {
        const auto meta = PX_TRY(app.lake().head(name + "/" + add.path));
        if (!meta || meta->size_bytes != add.size_bytes) {
            return fail(ErrorCode::Corrupt,
                        fmt::format("{}/{} is {}", name, add.path,
                                    meta ? fmt::format("{} bytes long, not {}", meta->size_bytes,
                                                       add.size_bytes)
                                         : std::string("missing")));
        }
    }
    return fmt::format("{} files", snapshot.files.size());
}

/// The catalog: reachable, its tables and rights, and what it tells; and the newest release.
std::optional<catalog::Release> check_catalog(App& px, Findings& findings) {
    const std::string name = fmt::format("catalog ({})", px.catalog_address().shown);
    Result<std::unique_ptr<catalog::Catalog>> catalog =
        px.open_catalog(catalog::OpenMode::ReadOnly);
    if (!catalog) {
        if (catalog.error().code == ErrorCode::NotFound) {
            findings.ok(name, "will be created by the first run");
        } else {
            findings.fail(name, catalog.error());
        }
        return std::nullopt;
    }
    // Opened as a run opens it, a server also tells whether its user may write.
    if (px.catalog_address().kind == catalog::CatalogAddress::Kind::Postgres) {
        Result<std::unique_ptr<catalog::Catalog>> writable =
            px.open_catalog(catalog::OpenMode::ReadWrite);
        if (!writable) {
            findings.fail(name, writable.error());
        } else {
            catalog = std::move(writable);
        }
    } else if (::access(px.catalog_address().file.c_str(), W_OK) != 0) {
        findings.fail(name, "the file can't be written",
                      "Give this user the right to write " + px.catalog_address().file.string());
    }
    const Result<std::optional<catalog::Release>> latest = (*catalog)->latest_release();
    if (!latest) {
        findings.fail(name, latest.error());
        return std::nullopt;
    }
    findings.ok(name, *latest ? fmt::format("release {}", (*latest)->id.value)
                              : std::string("no release yet"));
    if (const Result<ServiceFacts> facts = (*catalog)->facts(); facts) {
        report_facts("catalog", *facts, "disk", findings);
    } else {
        findings.fail("catalog version", facts.error());
    }
    return *latest;
}

void check_release(App& px, const catalog::Release& release, Findings& findings) {
    const auto broken = [&](std::string what, const Error& error) {
        findings.fail(std::move(what), error.message, std::string(kRebuildHint),
                      error_traits(error.code).exit_code == 4 ? 4 : 1);
    };
    for (const auto& [table, version] : release.table_versions) {
        std::string what = fmt::format("table {} version {}", table, version);
        const Result<std::string> opened = try_table(px, table, version);
        if (opened) {
            findings.ok(std::move(what), *opened);
        } else {
            broken(std::move(what), opened.error());
        }
    }
    std::string what = fmt::format("index of release {}", release.id.value);
    const auto points = px.vectors().open({release.index_manifest});
    if (points) {
        findings.ok(std::move(what), fmt::format("{} passages", (*points)->point_count()));
    } else {
        broken(std::move(what), points.error());
    }
}

Result<int> doctor(CommandContext& context) {
    Findings findings;
    const auto app = PX_TRY(context.open_app());
    App& px = *app;
    findings.ok("pipeline file", px.config().file.string());
    const std::optional<catalog::Release> release = check_catalog(px, findings);
    check_store("landing", px.landing(), release, findings);
    check_store("lake", px.lake(), release, findings);
    if (px.index_store() != nullptr) check_store("index", *px.index_store(), release, findings);
    if (const Result<ServiceFacts> vectors = px.vectors().facts(); vectors) {
        report_facts("vectors", *vectors, "disk", findings);
    } else {
        findings.fail("vectors", vectors.error());
    }
    if (release) check_release(px, *release, findings);
    std::error_code code;
    const std::filesystem::space_info space =
        std::filesystem::space(px.definition().base_folder, code);
    if (!code) {
        const auto free = static_cast<int64_t>(space.available);
        if (free < kFreeBytesMin) {
            findings.fail("free disk space", gigabytes(free),
                          "Scratch files of a run need room beside the pipeline file");
        } else {
            findings.ok("free disk space", gigabytes(free));
        }
    }
    findings.ok("SQL engine", px.engine().version());
    const Result<const embed::Encoder*> encoder = px.encoder();
    if (encoder) {
        findings.ok("embedding model", fmt::format("{}, {}, kernel {}", (*encoder)->model_id(),
                                                   embed::precision_name((*encoder)->precision()),
                                                   (*encoder)->kernel()));
    } else {
        findings.fail("embedding model", encoder.error());
    }
    static constexpr std::string_view kStates[] = {"ok", "warning", "failed"};
    int exit_code = kExitDone;
    json::array array;
    for (const Finding& finding : findings.all()) {
        const std::string_view state = kStates[static_cast<size_t>(finding.state)];
        if (finding.state == State::Failed) exit_code = std::max(exit_code, finding.exit_code);
        if (context.json) {
            array.push_back(json::object{{"check", finding.what},
                                         {"state", state},
                                         {"ok", finding.state != State::Failed},
                                         {"detail", finding.detail},
                                         {"fix", finding.fix}});
            continue;
        }
        print(fmt::format("{:<7}  {:<28} {}{}{}\n", state, finding.what, finding.detail,
                          finding.fix.empty() ? "" : ". Next: ", finding.fix));
    }
    if (context.json) print(json::serialize(array) + "\n");
    return exit_code == kExitDone || exit_code == 4 ? exit_code : 1;
}

}  // namespace

void add_doctor_command(CLI::App& cli, CommandContext& context) {
    CLI::App* command =
        cli.add_subcommand("doctor", "Check every store and part, and say what to mend");
    command->callback([&context] { context.chosen = [&context] { return doctor(context); }; });
}

}  // namespace px::app
