// App: everything a command works with, built bottom-up in plain code from a Config. Rank 6; the
// one composition root.
#pragma once

#include <memory>
#include <mutex>
#include <optional>

#include "answer/answer.h"
#include "answer/release_reader.h"
#include "app/config.h"
#include "app/progress_bar.h"
#include "catalog/open.h"
#include "embed/encoder.h"
#include "engine/engine.h"
#include "index/vector_store.h"
#include "pipeline/migrate.h"
#include "pipeline/run.h"
#include "store/object_store.h"
#include "store/open.h"

namespace px::app {

class App {
  public:
    /// Opens stores and engine; nothing is created and no model is loaded yet.
    static Result<std::unique_ptr<App>> create(Config config, Environment environment);

    const Config& config() const { return config_; }
    const pipeline::Definition& definition() const { return config_.definition; }
    const Clock& clock() const { return clock_; }
    store::ObjectStore& lake() { return *lake_; }
    store::ObjectStore& landing() { return *landing_; }
    /// Null when the index is in Qdrant.
    store::ObjectStore* index_store() { return index_store_.get(); }
    index::VectorStore& vectors() { return *vectors_; }
    engine::Engine& engine() { return *engine_; }
    Progress& progress() { return *progress_; }

    Result<std::unique_ptr<catalog::Catalog>> open_catalog(catalog::OpenMode mode) const;
    const catalog::CatalogAddress& catalog_address() const { return catalog_address_; }
    /// Opened once, for reading. Errors: NotFound with the hint to run first.
    Result<catalog::Catalog*> catalog();
    Result<answer::ReleaseReader*> reader();
    /// Loaded at the first call. Thread-safe.
    Result<const embed::Encoder*> encoder();
    pipeline::RunServices run_services();
    /// The stores as one side of a migration. Errors: as create().
    Result<pipeline::MigrationSide> migration_side();
    /// Re-derives documents from the landing zone with the definition of the run that brought them.
    answer::Rederive rederive();
    const answer::AnswerOptions& answer_options() const { return answer_options_; }

  private:
    App(Config config, Environment environment);
    Result<void> set_answer_options();
    Result<pipeline::Promotion> promote(std::shared_ptr<const index::CollectionView> points,
                                        const Deadline& deadline);
    Result<std::unique_ptr<catalog::PipelineLock>> lock_catalog(catalog::LockMode mode) const;
    static store::OpenOptions open_options(const Config& config);
    /// What decides whether a run of an older pipeline file may be taken up: the places its
    /// addresses lead to, without credentials, and its embedding.
    static Result<std::vector<std::string>> services_of(const Config& config);
    Config config_;
    Environment environment_;
    SystemClock clock_;
    std::unique_ptr<Progress> progress_;
    std::unique_ptr<store::ObjectStore> landing_, lake_, index_store_;
    catalog::CatalogAddress catalog_address_;
    std::unique_ptr<index::VectorStore> vectors_;
    std::unique_ptr<engine::Engine> engine_;
    std::unique_ptr<catalog::Catalog> catalog_;
    std::unique_ptr<answer::ReleaseReader> reader_;
    std::unique_ptr<embed::Encoder> encoder_;
    std::mutex mutex_;
    answer::AnswerOptions answer_options_;
};

}  // namespace px::app
