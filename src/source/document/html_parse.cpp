#include "source/document/html_parse.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <bit>
#include <csetjmp>
#include <cstdint>
#include <cstdlib>
#include <new>
#include <utility>
#include <vector>

namespace px::source {
namespace {

enum class Stop { No, Memory, Deadline };

/// Hands out memory in power-of-two sizes, reuses what is given back, frees all at its end. When
/// the bound or the deadline is reached it leaves gumbo by longjmp: gumbo is C without clean-up of
/// its own, and all its memory is in here.
class Arena {
  public:
    Arena(size_t bytes_max, const Deadline& deadline)
        : bytes_max_(bytes_max), deadline_(deadline) {}
    Arena(const Arena&) = delete;
    Arena& operator=(const Arena&) = delete;
    ~Arena() {
        for (Block* block = blocks_; block != nullptr;) {
            Block* next = block->next;
            std::free(block);
            block = next;
        }
    }

    static void* allocate(void* self, size_t size) { return static_cast<Arena*>(self)->take(size); }
    static void deallocate(void* self, void* memory) {
        if (memory != nullptr) static_cast<Arena*>(self)->give_back(memory);
    }

    std::jmp_buf leave;
    Stop stop = Stop::No;

  private:
    struct Block {
        Block* next;
        uint64_t padding;
    };
    struct Header {
        uint64_t size_class;
        Header* next_free;
    };
    static constexpr size_t kBlockBytes = size_t{1} << 20;

    void* take(size_t size) {
        if ((++allocation_count_ & 0xFFF) == 0 && !deadline_ok()) abandon(Stop::Deadline);
        const size_t bytes = std::bit_ceil(std::max<size_t>(size, 16));
        const auto size_class = static_cast<size_t>(std::countr_zero(bytes));
        if (Header* reused = free_[size_class]; reused != nullptr) {
            free_[size_class] = reused->next_free;
            return reused + 1;
        }
        const size_t total = bytes + sizeof(Header);
        if (total > left_) add_block(total);
        auto* header = reinterpret_cast<Header*>(at_);
        at_ += total;
        left_ -= total;
        header->size_class = size_class;
        return header + 1;
    }

    void give_back(void* memory) {
        Header* header = static_cast<Header*>(memory) - 1;
        header->next_free = free_[header->size_class];
        free_[header->size_class] = header;
    }

    void add_block(size_t least) {
        const size_t bytes = sizeof(Block) + std::max(least, kBlockBytes);
        if (bytes > bytes_max_ - used_) abandon(Stop::Memory);
        auto* block = static_cast<Block*>(std::malloc(bytes));
        if (block == nullptr) abandon(Stop::Memory);
        used_ += bytes;
        block->next = blocks_;
        blocks_ = block;
        at_ = reinterpret_cast<char*>(block + 1);
        left_ = bytes - sizeof(Block);
    }

    bool deadline_ok() const { return deadline_.check().has_value(); }

    [[noreturn]] void abandon(Stop why) {
        stop = why;
        std::longjmp(leave, 1);
    }

    size_t bytes_max_;
    const Deadline& deadline_;
    size_t used_ = 0;
    uint64_t allocation_count_ = 0;
    Block* blocks_ = nullptr;
    char* at_ = nullptr;
    size_t left_ = 0;
    std::array<Header*, 64> free_{};
};

/// nullptr when the arena stopped the parser. Nothing with a destructor lives between setjmp and
/// gumbo.
GumboOutput* parse_in(Arena& arena, const char* text, size_t size) {
    GumboOptions options = kGumboDefaultOptions;
    options.allocator = &Arena::allocate;
    options.deallocator = &Arena::deallocate;
    options.userdata = &arena;
    options.max_errors = 0;
    if (setjmp(arena.leave) != 0) return nullptr;
    return gumbo_parse_with_options(&options, text, size);
}

bool is_alpha(char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z'); }
char lower(char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c; }

bool name_is(std::string_view name, std::string_view other) {
    return name.size() == other.size() && std::equal(name.begin(), name.end(), other.begin(),
                                                     [](char a, char b) { return lower(a) == b; });
}

template <size_t N>
bool is_one_of(std::string_view name, const std::array<std::string_view, N>& names) {
    return std::any_of(names.begin(), names.end(),
                       [&](std::string_view other) { return name_is(name, other); });
}

/// Elements without content, and elements that the next of their kind closes: they don't nest by
/// themselves.
constexpr std::array<std::string_view, 31> kNotNesting{
    "area",   "base",  "br",       "col",   "embed", "hr",    "img",    "input",
    "link",   "meta",  "param",    "wbr",   "p",     "li",    "dt",     "dd",
    "td",     "th",    "tr",       "thead", "tbody", "tfoot", "option", "optgroup",
    "source", "track", "colgroup", "body",  "html",  "head",  "frame"};
/// Elements whose content is text up to their end tag.
constexpr std::array<std::string_view, 8> kRawText{"script", "style",    "textarea", "title",
                                                   "xmp",    "noframes", "iframe",   "noembed"};

uint32_t name_hash(std::string_view name) {
    uint32_t hash = 2166136261u;
    for (const char c : name) hash = (hash ^ static_cast<unsigned char>(lower(c))) * 16777619u;
    return hash;
}

size_t find_end_tag(std::string_view text, size_t at, std::string_view name) {
    while ((at = text.find("</", at)) != std::string_view::npos) {
        if (name_is(text.substr(at + 2, name.size()), name)) return at;
        at += 2;
    }
    return text.size();
}

}  // namespace

int html_depth_estimate(std::string_view text, int limit) {
    std::vector<uint32_t> open;
    size_t deepest = 0;
    size_t at = 0;
    while ((at = text.find('<', at)) != std::string_view::npos &&
           deepest <= static_cast<size_t>(limit)) {
        if (text.substr(at, 4) == "<!--") {
            const size_t end = text.find("-->", at + 4);
            if (end == std::string_view::npos) break;
            at = end + 3;
            continue;
        }
        const bool is_end = text.substr(at, 2) == "</";
        size_t name_end = at + (is_end ? 2 : 1);
        const size_t name_start = name_end;
        if (name_end >= text.size() || !is_alpha(text[name_end])) {
            ++at;
            continue;
        }
        while (name_end < text.size() &&
               std::string_view(" \t\n\f\r/>").find(text[name_end]) == std::string_view::npos) {
            ++name_end;
        }
        const std::string_view name = text.substr(name_start, name_end - name_start);
        size_t end = name_end;
        for (char quote = '\0'; end < text.size(); ++end) {
            const char c = text[end];
            if (quote != '\0') {
                if (c == quote) quote = '\0';
            } else if (c == '>') {
                break;
            } else if ((c == '"' || c == '\'') && text[end - 1] == '=') {
                quote = c;
            }
        }
        at = std::min(end + 1, text.size());
        if (is_one_of(name, kNotNesting)) continue;
        const uint32_t hash = name_hash(name);
        if (is_end) {
            const auto found = std::find(open.rbegin(), open.rend(), hash);
            if (found != open.rend()) open.erase(found.base() - 1, open.end());
        } else if (is_one_of(name, kRawText)) {
            std::string small(name);
            std::transform(small.begin(), small.end(), small.begin(), lower);
            at = find_end_tag(text, at, small);
        } else {
            open.push_back(hash);
            deepest = std::max(deepest, open.size());
        }
    }
    return static_cast<int>(deepest);
}

struct ParsedHtml::Tree {
    Tree(size_t bytes_max, const Deadline& deadline) : arena(bytes_max, deadline) {}
    Arena arena;
    GumboOutput* output = nullptr;
};

ParsedHtml::ParsedHtml(std::unique_ptr<Tree> tree) : tree_(std::move(tree)) {}
ParsedHtml::ParsedHtml(ParsedHtml&&) noexcept = default;
ParsedHtml& ParsedHtml::operator=(ParsedHtml&&) noexcept = default;
ParsedHtml::~ParsedHtml() = default;

const GumboNode* ParsedHtml::root() const { return tree_->output->document; }

Result<ParsedHtml> ParsedHtml::parse(std::string_view utf8_text, const ExtractOptions& options) {
    if (html_depth_estimate(utf8_text, options.html_depth_max) > options.html_depth_max) {
        return fail(ErrorCode::ResourceExhausted,
                    fmt::format("the HTML has more than {} elements inside one another",
                                options.html_depth_max),
                    "Close its elements, or leave the file out of the source's pattern");
    }
    auto tree = std::make_unique<Tree>(options.html_memory_max, options.deadline);
    tree->output = parse_in(tree->arena, utf8_text.data(), utf8_text.size());
    if (tree->output == nullptr) {
        PX_TRY(options.deadline.check().context("while reading HTML"));
        return fail(ErrorCode::ResourceExhausted,
                    fmt::format("the HTML needs more than {} MB of memory to read",
                                options.html_memory_max >> 20),
                    "Split the file, or leave it out of the source's pattern");
    }
    return ParsedHtml(std::move(tree));
}

}  // namespace px::source
