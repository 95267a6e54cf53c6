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

/// gumbo looks through its open elements for every tag, and for every character of formatted text:
/// its work is at most about the bytes of the text times the open elements.
constexpr size_t kStepsMax = 20'000'000'000;
constexpr size_t kOpenElementsLeast = 160;  ///< that a file of any size may have

enum class Stop { No, Memory, Deadline, Depth, Unknown };

/// Hands out memory in power-of-two sizes, reuses what is given back, frees all at its end. When
/// a bound or the deadline is reached it leaves gumbo by longjmp: gumbo is C without clean-up of
/// its own, and all its memory is in here.
///
/// The depth is bounded here as well, since only gumbo knows which tags of a text are tags: its
/// stack of open elements is an array that is given back when one of twice the size has been
/// taken. The first such array is known by its size and by the two that are taken right after it.
class Arena {
  public:
    Arena(size_t bytes_max, size_t open_elements_max, const Deadline& deadline)
        : bytes_max_(bytes_max), open_elements_max_(open_elements_max), deadline_(deadline) {}
    Arena(const Arena&) = delete;
    Arena& operator=(const Arena&) = delete;
    ~Arena() {
        for (Block* block = blocks_; block != nullptr;) {
            Block* next = block->next;
            std::free(block);
            block = next;
        }
    }

    static void* allocate(void* self, size_t size) {
        auto* arena = static_cast<Arena*>(self);
        void* memory = arena->take(size);
        if (arena->open_elements_ == nullptr) arena->look_for_stack(memory, size);
        arena->newest_ = memory;
        arena->newest_size_ = size;
        return memory;
    }
    static void deallocate(void* self, void* memory) {
        auto* arena = static_cast<Arena*>(self);
        if (memory == nullptr) return;
        if (memory == arena->open_elements_) arena->follow_stack();
        arena->give_back(memory);
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
    static constexpr size_t kFirstStackBytes = 10 * sizeof(void*);
    static constexpr size_t kFirstListBytes = 5 * sizeof(void*);

    /// gumbo makes three arrays in a row: open elements (10), formatting elements (5), template
    /// modes (5). No other array starts with ten entries.
    void look_for_stack(void* memory, size_t size) {
        if (size == kFirstListBytes && newest_size_ == kFirstListBytes && candidate_ != nullptr &&
            before_newest_ == candidate_) {
            open_elements_ = candidate_;
        } else if (size == kFirstStackBytes) {
            candidate_ = memory;
        }
        before_newest_ = newest_;
        constexpr uint64_t kSoon = 100;  // it happens before the first byte is read
        if (open_elements_ == nullptr && allocation_count_ > kSoon) abandon(Stop::Unknown);
    }

    /// The stack moves to the array taken just before.
    void follow_stack() {
        if (newest_size_ / sizeof(void*) / 2 >= open_elements_max_) abandon(Stop::Depth);
        open_elements_ = newest_;
    }

    void* take(size_t size) {
        if ((++allocation_count_ & 0x3F) == 0 && !deadline_ok()) abandon(Stop::Deadline);
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
    size_t open_elements_max_;
    const Deadline& deadline_;
    void* open_elements_ = nullptr;
    void* candidate_ = nullptr;
    void* newest_ = nullptr;
    void* before_newest_ = nullptr;
    size_t newest_size_ = 0;
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

/// How many elements the tree has inside one another at its deepest place, without recursion.
int tree_depth(const GumboNode* root) {
    const auto children_of = [](const GumboNode* node) -> const GumboVector* {
        switch (node->type) {
            case GUMBO_NODE_DOCUMENT:
                return &node->v.document.children;
            case GUMBO_NODE_ELEMENT:
            case GUMBO_NODE_TEMPLATE:
                return &node->v.element.children;
            default:
                return nullptr;
        }
    };
    struct Place {
        const GumboVector* children;
        unsigned int next;
    };
    std::vector<Place> path{{children_of(root), 0}};
    size_t deepest = 1;
    while (!path.empty()) {
        Place& place = path.back();
        if (place.next == place.children->length) {
            path.pop_back();
            continue;
        }
        const auto* child = static_cast<const GumboNode*>(place.children->data[place.next++]);
        if (const GumboVector* children = children_of(child)) {
            path.push_back({children, 0});
            deepest = std::max(deepest, path.size());
        }
    }
    return static_cast<int>(deepest - 1);  // the document itself is none
}

/// Open elements a parse may have: what the options allow, and in large files as many fewer as
/// keep bytes times open elements, which is what gumbo's work grows with, in bounds.
size_t open_elements_max(const ExtractOptions& options, size_t text_size) {
    const auto wanted = static_cast<size_t>(options.html_depth_max);
    return std::min(wanted,
                    std::max(kOpenElementsLeast, kStepsMax / std::max<size_t>(text_size, 1)));
}

Error too_deep(size_t depth_max) {
    return fail(ErrorCode::ResourceExhausted,
                fmt::format("the HTML has more than {} elements inside one another", depth_max),
                "Close its elements, or leave the file out of the source's pattern");
}

}  // namespace

struct ParsedHtml::Tree {
    Tree(size_t bytes_max, size_t open_elements_max, const Deadline& deadline)
        : arena(bytes_max, open_elements_max, deadline) {}
    Arena arena;
    GumboOutput* output = nullptr;
};

ParsedHtml::ParsedHtml(std::unique_ptr<Tree> tree) : tree_(std::move(tree)) {}
ParsedHtml::ParsedHtml(ParsedHtml&&) noexcept = default;
ParsedHtml& ParsedHtml::operator=(ParsedHtml&&) noexcept = default;
ParsedHtml::~ParsedHtml() = default;

const GumboNode* ParsedHtml::root() const { return tree_->output->document; }

Result<ParsedHtml> ParsedHtml::parse(std::string_view utf8_text, const ExtractOptions& options) {
    const size_t open_max = open_elements_max(options, utf8_text.size());
    auto tree = std::make_unique<Tree>(options.html_memory_max, open_max, options.deadline);
    tree->output = parse_in(tree->arena, utf8_text.data(), utf8_text.size());
    if (tree->output == nullptr) {
        switch (tree->arena.stop) {
            case Stop::Deadline:
                PX_TRY(options.deadline.check().context("while reading HTML"));
                break;
            case Stop::Depth:
                return too_deep(open_max);
            case Stop::Unknown:
                return fail(ErrorCode::Internal,
                            "the HTML parser of this system is of a version whose nesting px can't "
                            "bound",
                            "Install libgumbo 0.10");
            case Stop::Memory:
            case Stop::No:
                break;
        }
        return fail(ErrorCode::ResourceExhausted,
                    fmt::format("the HTML needs more than {} MB of memory to read",
                                options.html_memory_max >> 20),
                    "Split the file, or leave it out of the source's pattern");
    }
    if (tree_depth(tree->output->document) > options.html_depth_max)
        return too_deep(static_cast<size_t>(options.html_depth_max));
    return ParsedHtml(std::move(tree));
}

}  // namespace px::source
