// Runs chunking, embedding, index and answers over documents of a JSON Lines file, without lake and
// catalog: for comparing retrieval quality with judged queries. Prints TSV: query_id, document_id,
// score; or with --ask one JSON object a query.
//   tool_answer_run --documents docs.jsonl --queries q.jsonl --work DIR [--model DIR] [--precision
//   bf16] [--mode hybrid|dense|lexical]
//                   [--top-k 100] [--ask] [--threads N]
#include <fmt/format.h>

#include <boost/json.hpp>
#include <chrono>
#include <cstdio>
#include <ctime>
#include <filesystem>
#include <fstream>
#include <map>

#include "answer/answer.h"
#include "answer/answer_json.h"
#include "answer/retrieval.h"
#include "base/sha256.h"
#include "generate/extractive.h"
#include "index/embedded/embedded_store.h"
#include "store/local/local_object_store.h"

namespace {

using namespace px;
namespace json = boost::json;

Result<std::vector<json::object>> read_lines(const std::string& path) {
    std::ifstream file(path);
    if (!file) return fail(ErrorCode::NotFound, "cannot read " + path);
    std::vector<json::object> objects;
    for (std::string line; std::getline(file, line);) {
        boost::system::error_code error;
        json::value value = json::parse(line, error);
        if (error || !value.is_object())
            return fail(ErrorCode::InvalidArgument, path + " is not JSON Lines of objects");
        objects.push_back(std::move(value.get_object()));
    }
    return objects;
}

std::string text_of(const json::object& object, const char* name) {
    const json::value* value = object.if_contains(name);
    if (value == nullptr || !value->is_string()) return {};
    return std::string(value->get_string().data(), value->get_string().size());
}

Result<int> run(const std::map<std::string, std::string>& options) {
    const auto option = [&](const char* name, const char* otherwise) {
        const auto found = options.find(name);
        return found == options.end() ? std::string(otherwise) : found->second;
    };
    const std::filesystem::path work = option("work", "");
    std::filesystem::create_directories(work);
    store::LocalObjectStore objects(work / "index", "index");
    PX_TRY(objects.ensure_container());
    index::EmbeddedOptions embedded;
    embedded.scratch_directory = work / "scratch";
    const auto store = PX_TRY(index::open_embedded_store(objects, embedded));
    embed::EncoderOptions encoder_options;
    encoder_options.model_directory = option("model", PX_MODEL_DIR);
    encoder_options.precision = PX_TRY(embed::parse_precision(option("precision", "bf16")));
    encoder_options.thread_count = std::stoul(option("threads", "1"));
    const auto encoder = PX_TRY(embed::Encoder::load(encoder_options));

    // Building is cached under what it is made of.
    const auto documents = PX_TRY(read_lines(option("documents", "")));
    Sha256 hash;
    for (const json::object& document : documents) hash.update(json::serialize(document));
    const std::filesystem::path known =
        work / (to_hex(hash.finish()) + "." + option("precision", "bf16"));
    index::ManifestId manifest;
    if (std::ifstream file(known); file) {
        file >> manifest.value;
    } else {
        std::vector<index::Point> points;
        std::vector<std::string> texts;
        for (const json::object& document : documents) {
            const std::string text = text_of(document, "text");
            for (const chunk::Span span : PX_TRY(chunk::split(text, {}))) {
                index::Point point;
                point.source = "documents";
                point.document_id = "documents/" + text_of(document, "doc_id");
                point.title = text_of(document, "title");
                point.author = text_of(document, "author");
                if (const auto day = parse_date(text_of(document, "published_at")))
                    point.created_at = *day * int64_t{86'400'000'000};
                point.text = text.substr(static_cast<size_t>(span.start),
                                         static_cast<size_t>(span.end - span.start));
                point.span = span;
                point.id = index::identify(point);
                texts.push_back(chunk::embedding_text(point.title, point.text));
                points.push_back(std::move(point));
            }
        }
        const auto started = std::chrono::steady_clock::now();
        NoProgress progress;
        // Vectors outlive the format of the index.
        const std::filesystem::path kept = known.string() + ".vectors";
        std::vector<float> vectors(texts.size() * encoder->width());
        const auto vector_bytes = static_cast<std::streamsize>(vectors.size() * sizeof(float));
        std::ifstream stored(kept, std::ios::binary);
        if (!stored.read(reinterpret_cast<char*>(vectors.data()), vector_bytes)) {
            vectors = PX_TRY(encoder->encode({texts.begin(), texts.end()}, embed::TextKind::Passage,
                                             Deadline::never(), progress));
            std::ofstream(kept, std::ios::binary)
                .write(reinterpret_cast<const char*>(vectors.data()), vector_bytes);
        }
        const auto seconds = [&] {
            return std::chrono::duration<double>(std::chrono::steady_clock::now() - started)
                .count();
        };
        fmt::print(stderr, "embedded {} chunks in {:.1f} s\n", points.size(), seconds());
        for (size_t i = 0; i < points.size(); ++i) {
            points[i].vector.assign(
                vectors.begin() + static_cast<std::ptrdiff_t>(i * encoder->width()),
                vectors.begin() + static_cast<std::ptrdiff_t>((i + 1) * encoder->width()));
        }
        const double before = seconds();
        manifest = PX_TRY(store->apply(std::nullopt, {}, std::move(points), Deadline::never()));
        fmt::print(stderr, "indexed in {:.2f} s\n", seconds() - before);
        std::ofstream(known) << manifest.value;
    }
    answer::ReleaseView view;
    view.release.id.value = 1;
    const auto opening = std::chrono::steady_clock::now();
    view.points = PX_TRY(store->open(manifest));
    fmt::print(stderr, "opened {} points in {:.1f} ms\n", view.points->point_count(),
               std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now() - opening)
                   .count());

    answer::SearchRequest request;
    request.top_k = std::stoul(option("top-k", "100"));
    const std::string mode = option("mode", "hybrid");
    request.mode = mode == "dense"     ? answer::SearchRequest::Mode::Dense
                   : mode == "lexical" ? answer::SearchRequest::Mode::Lexical
                                       : answer::SearchRequest::Mode::Hybrid;
    const answer::AnswerOptions answering;
    const auto queries = PX_TRY(read_lines(option("queries", "")));
    // What a question costs, and what of that its vector.
    const auto cpu_ms = [] {
        timespec now{};
        clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
        return static_cast<double>(now.tv_sec) * 1e3 + static_cast<double>(now.tv_nsec) * 1e-6;
    };
    const auto count = static_cast<double>(std::max<size_t>(1, queries.size()));
    const double before_encoding = cpu_ms();
    for (const json::object& query : queries) {
        PX_TRY(answer::read_question(view, *encoder, text_of(query, "text"),
                                     answer::EncodeQuestion::Yes, Deadline::never()));
    }
    const double before_search = cpu_ms();
    fmt::print(stderr, "{:.3f} ms CPU to encode a question\n",
               (before_search - before_encoding) / count);
    for (const json::object& query : queries) {
        request.question = text_of(query, "text");
        if (option("ask", "") == "1") {
            const auto draft =
                PX_TRY(answer::draft(view, *encoder, request, answering, Deadline::never()));
            json::array sentences;
            for (const auto& chosen : draft.extract.sentences) {
                const index::Point& point = draft.passages[chosen.passage].point;
                sentences.push_back(
                    {{"support", chosen.support},
                     {"document", point.document_id},
                     {"text", generate::display_text(
                                  std::string_view(point.text)
                                      .substr(chosen.start, chosen.end - chosen.start))}});
            }
            fmt::print("{}\n", json::serialize(
                                   json::object{{"question", request.question},
                                                {"support", answer::to_json(draft.extract.support)},
                                                {"sentences", std::move(sentences)}}));
        } else {
            for (const auto& [id, score] : PX_TRY(answer::search_documents(
                     view, *encoder, request, answering, Deadline::never()))) {
                fmt::print("{}\t{}\t{:.9f}\n", text_of(query, "query_id"), id, score);
            }
        }
    }
    fmt::print(stderr, "{:.3f} ms CPU a question, encoding included\n",
               (cpu_ms() - before_search) / count);
    return 0;
}

}  // namespace

int main(int argc, char** argv) {
    std::map<std::string, std::string> options;
    for (int i = 1; i < argc; ++i) {
        const std::string name = argv[i];
        if (name == "--ask") {
            options["ask"] = "1";
        } else if (name.starts_with("--") && i + 1 < argc) {
            options[name.substr(2)] = argv[++i];
        } else {
            fmt::print(stderr, "unknown argument {}\n", name);
            return 2;
        }
    }
    const auto status = run(options);
    if (!status) {
        fmt::print(stderr, "{}\n", status.error().to_string());
        return error_traits(status.error().code).exit_code;
    }
    return *status;
}
