// px embed: vectors of the texts on stdin. One thread reads blocks of lines, this one encodes them,
// a third writes; each waits for the next, so memory is bounded by a few blocks whatever the input.
#include <fcntl.h>
#include <fmt/format.h>
#include <limits.h>
#include <poll.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <bit>
#include <boost/json.hpp>
#include <cerrno>
#include <condition_variable>
#include <deque>
#include <mutex>
#include <thread>

#include "app/commands/commands.h"
#include "app/progress_bar.h"
#include "base/log.h"

namespace px::app {

namespace {

namespace json = boost::json;
using Steady = std::chrono::steady_clock;

constexpr size_t kBlockTexts = 256;
constexpr size_t kBlockBytes = 1 << 20;
constexpr size_t kLineBytes = 16 << 20;  ///< of a line at most
constexpr size_t kReadBytes = 256 << 10;
constexpr size_t kBlocksWaiting = 2;  ///< before the encoder, and before the writer
constexpr int kPollMs = 100;          ///< how soon a signal is seen
constexpr int kPartPollMs = 2;        ///< how long a part of a block waits for more lines
constexpr auto kLastWords = std::chrono::seconds(2);  ///< to a reader that stands still, at the end

struct EmbedOptions {
    std::string precision;
    std::string kind = "passage";
    std::string format = "jsonl";
    size_t threads = 0;
};

/// Lines on their way through: ids as JSON, texts, in the end their vectors.
struct Block {
    std::string ids, texts;  ///< one after another
    std::vector<size_t> id_ends, text_ends;
    std::vector<float> vectors;

    size_t size() const { return text_ends.size(); }
    std::string_view id(size_t i) const { return part(ids, id_ends, i); }
    std::string_view text(size_t i) const { return part(texts, text_ends, i); }

  private:
    static std::string_view part(std::string_view all, const std::vector<size_t>& ends, size_t i) {
        const size_t begin = i == 0 ? 0 : ends[i - 1];
        return all.substr(begin, ends[i] - begin);
    }
};

/// Blocks from one thread to another, a few at most.
class Handover {
  public:
    /// Waits for room. False when the other side takes no more.
    bool put(Block block) {
        std::unique_lock lock(mutex_);
        changed_.wait(lock, [this] { return closed_ || blocks_.size() < kBlocksWaiting; });
        if (closed_) return false;
        blocks_.push_back(std::move(block));
        changed_.notify_all();
        return true;
    }

    /// Waits for a block; nullopt when there will be none.
    std::optional<Block> take() {
        std::unique_lock lock(mutex_);
        wanted_ = true;
        changed_.wait(lock, [this] { return closed_ || !blocks_.empty(); });
        wanted_ = false;
        if (blocks_.empty()) return std::nullopt;
        Block block = std::move(blocks_.front());
        blocks_.pop_front();
        changed_.notify_all();
        return block;
    }

    /// No more blocks; those that wait can still be taken.
    void close() {
        const std::lock_guard lock(mutex_);
        closed_ = true;
        changed_.notify_all();
    }

    /// Whether the taker stands idle.
    bool is_wanted() const {
        const std::lock_guard lock(mutex_);
        return wanted_ && blocks_.empty();
    }

  private:
    mutable std::mutex mutex_;
    std::condition_variable changed_;
    std::deque<Block> blocks_;
    bool closed_ = false, wanted_ = false;
};

Error bad_line(int64_t number, std::string_view what) {
    return fail(ErrorCode::InvalidArgument, fmt::format("line {} of stdin {}", number, what),
                R"(Write "…" or {"id": 1, "text": "…"} on each line)");
}

/// Adds what a line holds to block; an empty line holds nothing.
Result<void> add_line(std::string_view line, int64_t number, Block& block) {
    if (line.find_first_not_of(" \t\r") == std::string_view::npos) return {};
    std::array<unsigned char, 4096> space;
    json::monotonic_resource memory(space.data(), space.size());
    boost::system::error_code code;
    const json::value value = json::parse({line.data(), line.size()}, code, &memory);
    if (code) return bad_line(number, fmt::format("is not JSON: {}", code.message()));
    const json::value* text = &value;
    const json::value* id = nullptr;
    if (const json::object* object = value.if_object()) {
        text = object->if_contains("text");
        id = object->if_contains("id");
        if (text == nullptr) return bad_line(number, "has no \"text\"");
        if (!text->is_string()) return bad_line(number, "has a \"text\" that is no string");
        if (id != nullptr && id->is_null()) id = nullptr;
        if (id != nullptr && !id->is_string() && !id->is_int64() && !id->is_uint64())
            return bad_line(number, "has an \"id\" that is neither a string nor a whole number");
    } else if (!value.is_string()) {
        return bad_line(number, "is neither a string nor an object");
    }
    block.ids += id == nullptr ? std::to_string(number) : json::serialize(*id);
    block.id_ends.push_back(block.ids.size());
    const json::string& bytes = text->get_string();
    block.texts.append(bytes.data(), bytes.size());
    block.text_ends.push_back(block.texts.size());
    return {};
}

/// Cuts stdin into blocks. What stands before a bad line is passed on.
class Reader {
  public:
    Reader(Handover& out, std::stop_source& over) : out_(out), over_(over) {}

    Result<void> run() {
        Result<void> result = read_all();
        if (block_.size() > 0) out_.put(std::move(block_));
        out_.close();
        return result;
    }

  private:
    Result<void> read_all() {
        std::string pending;
        bool first = true;
        while (!over_.stop_requested()) {
            pollfd files[2] = {{STDIN_FILENO, POLLIN, 0}, {STDOUT_FILENO, 0, 0}};
            const int ready = ::poll(files, 2, block_.size() > 0 ? kPartPollMs : kPollMs);
            if (ready > 0 && (files[1].revents & POLLERR) != 0) {  // nobody reads stdout
                over_.request_stop();
                return {};
            }
            if (ready == 0 && block_.size() > 0 && out_.is_wanted() && !pass_on()) return {};
            if (ready <= 0 || files[0].revents == 0) continue;
            const size_t before = pending.size();
            pending.resize(before + kReadBytes);
            const ssize_t count = ::read(STDIN_FILENO, pending.data() + before, kReadBytes);
            pending.resize(before + static_cast<size_t>(std::max<ssize_t>(count, 0)));
            if (count < 0) {
                if (errno == EINTR || errno == EAGAIN) continue;
                return fail_errno(errno, "cannot read stdin");
            }
            if (first && pending.starts_with("\xEF\xBB\xBF")) pending.erase(0, 3);
            first = false;
            size_t at = 0;
            size_t searched = before;
            for (size_t end; (end = pending.find('\n', std::max(at, searched))) != pending.npos;
                 at = end + 1) {
                if (!PX_TRY(add({pending.data() + at, end - at}))) return {};
            }
            pending.erase(0, at);
            if (pending.size() > kLineBytes)
                return bad_line(number_ + 1, fmt::format("has more than {} bytes", kLineBytes));
            if (count == 0) {
                PX_TRY(add(pending));
                return {};
            }
        }
        return {};
    }

    /// False when no more is wanted.
    Result<bool> add(std::string_view line) {
        ++number_;
        PX_TRY(add_line(line, number_, block_));
        return (block_.size() < kBlockTexts && block_.texts.size() < kBlockBytes) || pass_on();
    }

    bool pass_on() {
        Block block;
        std::swap(block, block_);
        return out_.put(std::move(block));
    }

    Handover& out_;
    std::stop_source& over_;
    Block block_;
    int64_t number_ = 0;
};

enum class Format { JsonLines, RawF32 };

class Writer {
  public:
    Writer(Handover& in, Format format, size_t width, std::stop_source& over)
        : in_(in), format_(format), width_(width), over_(over) {
        struct stat about {};
        // A pipe that takes any byte takes this many without blocking.
        if (::fstat(STDOUT_FILENO, &about) == 0 && S_ISREG(about.st_mode)) chunk_ = 1 << 20;
    }

    /// To the last block, or until nobody reads stdout: no error.
    Result<void> run() {
        std::string out;
        Result<void> result;
        while (std::optional<Block> block = in_.take()) {
            out.clear();
            format(*block, out);
            const Result<bool> written = write_all(out);
            if (!written) result = written.error();
            if (!written || !*written) {
                over_.request_stop();
                break;
            }
            texts_ += block->size();
        }
        in_.close();
        while (in_.take()) {
        }
        return result;
    }
    size_t texts() const { return texts_; }

  private:
    void format(const Block& block, std::string& out) const {
        if (format_ == Format::RawF32) {
            static_assert(std::endian::native == std::endian::little);
            out.append(reinterpret_cast<const char*>(block.vectors.data()),
                       block.vectors.size() * sizeof(float));
            return;
        }
        for (size_t i = 0; i < block.size(); ++i) {
            out += "{\"id\":";
            out += block.id(i);
            out += ",\"vector\":[";
            for (size_t d = 0; d < width_; ++d) {
                if (d > 0) out += ',';
                fmt::format_to(std::back_inserter(out), "{}", block.vectors[i * width_ + d]);
            }
            out += "]}\n";
        }
    }

    /// False when nobody reads any more.
    Result<bool> write_all(std::string_view bytes) {
        Steady::time_point moved = Steady::now();
        while (!bytes.empty()) {
            pollfd file = {STDOUT_FILENO, POLLOUT, 0};
            if (::poll(&file, 1, kPollMs) <= 0) {
                if (over_.stop_requested() && Steady::now() - moved > kLastWords) return false;
                continue;
            }
            const ssize_t count =
                ::write(STDOUT_FILENO, bytes.data(), std::min(bytes.size(), chunk_));
            if (count >= 0) {
                bytes.remove_prefix(static_cast<size_t>(count));
                moved = Steady::now();
                continue;
            }
            if (errno == EPIPE) return false;
            if (errno != EINTR && errno != EAGAIN) return fail_errno(errno, "cannot write stdout");
        }
        return true;
    }

    Handover& in_;
    Format format_;
    size_t width_;
    std::stop_source& over_;
    size_t chunk_ = PIPE_BUF;
    size_t texts_ = 0;
};

/// The progress of one block as that of the whole.
class TextProgress final : public Progress {
  public:
    explicit TextProgress(Progress& whole) : whole_(whole) {}
    void update(std::string_view, int64_t done, int64_t, std::string_view) override {
        whole_.update("embed", before_ + done, 0, "texts");
    }
    void finish(std::string_view) override {}
    void block_done(size_t texts) { before_ += static_cast<int64_t>(texts); }

  private:
    Progress& whole_;
    int64_t before_ = 0;
};

Result<embed::EncoderOptions> encoder_options(const CommandContext& context,
                                              const EmbedOptions& options) {
    embed::EncoderOptions made;
    std::string precision = "bf16";
    const Result<std::filesystem::path> file = find_pipeline_file(context.file);
    if (file) {
        const Config config = PX_TRY(load_config(*file, context.environment));
        made.model_directory = config.model_folder;
        made.kernel = config.kernel;
        made.query_prefix = config.definition.query_prefix;
        made.passage_prefix = config.definition.passage_prefix;
        made.cache_directory = config.work_folder() / "models";
        made.thread_count = config.thread_count();
        precision = config.definition.embedding_precision;
    } else if (context.file) {
        return file.error();
    } else {
        made.model_directory = context.environment.program.parent_path().parent_path() /
                               "share/px/models/all-MiniLM-L6-v2";
    }
    if (options.threads != 0) made.thread_count = options.threads;
    made.precision =
        PX_TRY(embed::parse_precision(options.precision.empty() ? precision : options.precision));
    return made;
}

Result<int> embed_lines(CommandContext& context, const EmbedOptions& options) {
    const auto encoder = PX_TRY(embed::Encoder::load(PX_TRY(encoder_options(context, options))));
    const auto kind = options.kind == "query" ? embed::TextKind::Query : embed::TextKind::Passage;
    const Format format = options.format == "f32" ? Format::RawF32 : Format::JsonLines;
    NoProgress silent;
    const std::unique_ptr<Progress> bar = context.quiet ? nullptr : make_progress();
    Progress& whole = bar ? *bar : silent;
    TextProgress progress(whole);

    std::stop_source over;  // by a signal, or since nobody takes the vectors
    const std::stop_callback on_signal(context.stop, [&over] { over.request_stop(); });
    Handover lines, vectors;
    Reader reader(lines, over);
    Writer writer(vectors, format, encoder->width(), over);
    Result<void> read, encoded, written;
    const Steady::time_point started = Steady::now();
    embed::EncodeStats stats;
    {
        const std::jthread reading([&] { read = reader.run(); });
        const std::jthread writing([&] { written = writer.run(); });
        std::vector<std::string_view> texts;
        while (std::optional<Block> block = lines.take()) {
            texts.clear();
            for (size_t i = 0; i < block->size(); ++i) texts.push_back(block->text(i));
            Result<std::vector<float>> made = encoder->encode_counted(
                texts, kind, {Steady::time_point::max(), over.get_token()}, progress, stats);
            if (!made) {
                if (!over.stop_requested()) encoded = std::move(made).error();
                over.request_stop();
                break;
            }
            block->vectors = std::move(*made);
            progress.block_done(block->size());
            if (!vectors.put(std::move(*block))) break;
        }
        lines.close();
        vectors.close();
    }
    whole.finish("embed");
    const double seconds = std::chrono::duration<double>(Steady::now() - started).count();
    if (context.stop.stop_requested()) {
        return fail(ErrorCode::Cancelled,
                    fmt::format("stopped; the vectors of {} texts are written", writer.texts()));
    }
    PX_TRY(written);
    PX_TRY(encoded);
    if (!over.stop_requested()) PX_TRY(read);  // else who took the vectors has enough
    log::info("embed.done", {{"texts", writer.texts()},
                             {"tokens", stats.tokens},
                             {"truncated", stats.truncated},
                             {"elapsed_ms", static_cast<int64_t>(seconds * 1000)},
                             {"tokens_per_s",
                              static_cast<int64_t>(static_cast<double>(stats.tokens) / seconds)}});
    return kExitDone;
}

}  // namespace

void add_embed_command(CLI::App& cli, CommandContext& context) {
    auto options = std::make_shared<EmbedOptions>();
    CLI::App* command = cli.add_subcommand(
        "embed", R"(Vectors of the texts on stdin: a line each, "…" or {"id": 1, "text": "…"})");
    command
        ->add_option("--kind", options->kind, "query or passage, for models that tell them apart")
        ->check(CLI::IsMember({"query", "passage"}));
    command
        ->add_option("--format", options->format,
                     "jsonl: {id, vector} lines; f32: little-endian floats alone")
        ->check(CLI::IsMember({"jsonl", "f32"}));
    command->add_option("--precision", options->precision, "fp32, bf16 or int8")
        ->check(CLI::IsMember({"fp32", "bf16", "int8"}));
    command->add_option("--threads", options->threads, "Threads (0: as the pipeline file says)")
        ->check(CLI::Range(0, 1024));
    command->callback([&context, options] {
        context.chosen = [&context, options] { return embed_lines(context, *options); };
    });
}

}  // namespace px::app
