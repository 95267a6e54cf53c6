// HTML: what a reader of the page sees, as text; metadata from its head.
#include <algorithm>
#include <array>
#include <cstdint>
#include <cstring>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "source/document/dates.h"
#include "source/document/decode.h"
#include "source/document/formats.h"
#include "source/document/html_parse.h"
#include "source/document/metadata.h"
#include "source/document/text_writer.h"

namespace px::source {
namespace {

char lower(char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c; }

bool same_letters(std::string_view text, std::string_view small) {
    return text.size() == small.size() && std::equal(text.begin(), text.end(), small.begin(),
                                                     [](char a, char b) { return lower(a) == b; });
}

bool is_blank(char c) { return c == ' ' || c == '\t' || c == '\n' || c == '\r' || c == '\f'; }

/// The charset label of a <meta> in the first kilobyte (HTML standard, "prescan", simplified to the
/// attribute itself).
std::optional<std::string_view> declared_charset(std::string_view bytes) {
    const std::string_view head = bytes.substr(0, 1024);
    std::string small(head);
    std::transform(small.begin(), small.end(), small.begin(), lower);
    size_t meta = 0;
    while ((meta = small.find("<meta", meta)) != std::string::npos) {
        const size_t end = std::min(small.find('>', meta), small.size());
        const size_t found = small.find("charset", meta);
        meta = end;
        if (found == std::string::npos || found >= end) continue;
        size_t at = found + 7;
        while (at < end && is_blank(small[at])) ++at;
        if (at >= end || small[at] != '=') continue;
        ++at;
        while (at < end && (is_blank(small[at]) || small[at] == '"' || small[at] == '\'')) ++at;
        size_t stop = at;
        while (stop < end && !is_blank(small[stop]) && small[stop] != '"' && small[stop] != '\'' &&
               small[stop] != ';' && small[stop] != '/') {
            ++stop;
        }
        if (stop > at) return head.substr(at, stop - at);
    }
    return std::nullopt;
}

enum class Role { Inline, Skipped, Block, List, Line, Row, Cell, LineBreak, Preformatted };

Role role_of(GumboTag tag) {
    switch (tag) {
        case GUMBO_TAG_SCRIPT:
        case GUMBO_TAG_STYLE:
        case GUMBO_TAG_NOSCRIPT:
        case GUMBO_TAG_TEMPLATE:
        case GUMBO_TAG_HEAD:
        case GUMBO_TAG_TITLE:
        case GUMBO_TAG_IFRAME:
        case GUMBO_TAG_OBJECT:
        case GUMBO_TAG_EMBED:
        case GUMBO_TAG_CANVAS:
        case GUMBO_TAG_AUDIO:
        case GUMBO_TAG_VIDEO:
        case GUMBO_TAG_SVG:
        case GUMBO_TAG_NOFRAMES:
            return Role::Skipped;
        case GUMBO_TAG_ADDRESS:
        case GUMBO_TAG_ARTICLE:
        case GUMBO_TAG_ASIDE:
        case GUMBO_TAG_BLOCKQUOTE:
        case GUMBO_TAG_BODY:
        case GUMBO_TAG_CAPTION:
        case GUMBO_TAG_CENTER:
        case GUMBO_TAG_DETAILS:
        case GUMBO_TAG_DIV:
        case GUMBO_TAG_FIELDSET:
        case GUMBO_TAG_FIGCAPTION:
        case GUMBO_TAG_FIGURE:
        case GUMBO_TAG_FOOTER:
        case GUMBO_TAG_FORM:
        case GUMBO_TAG_H1:
        case GUMBO_TAG_H2:
        case GUMBO_TAG_H3:
        case GUMBO_TAG_H4:
        case GUMBO_TAG_H5:
        case GUMBO_TAG_H6:
        case GUMBO_TAG_HEADER:
        case GUMBO_TAG_HGROUP:
        case GUMBO_TAG_HR:
        case GUMBO_TAG_LEGEND:
        case GUMBO_TAG_MAIN:
        case GUMBO_TAG_NAV:
        case GUMBO_TAG_P:
        case GUMBO_TAG_SECTION:
        case GUMBO_TAG_SUMMARY:
        case GUMBO_TAG_TABLE:
            return Role::Block;
        case GUMBO_TAG_DIR:
        case GUMBO_TAG_DL:
        case GUMBO_TAG_MENU:
        case GUMBO_TAG_OL:
        case GUMBO_TAG_UL:
            return Role::List;
        case GUMBO_TAG_LI:
        case GUMBO_TAG_DT:
        case GUMBO_TAG_DD:
        case GUMBO_TAG_OPTION:
            return Role::Line;
        case GUMBO_TAG_TR:
            return Role::Row;
        case GUMBO_TAG_TD:
        case GUMBO_TAG_TH:
            return Role::Cell;
        case GUMBO_TAG_BR:
            return Role::LineBreak;
        case GUMBO_TAG_PRE:
        case GUMBO_TAG_TEXTAREA:
        case GUMBO_TAG_LISTING:
        case GUMBO_TAG_XMP:
            return Role::Preformatted;
        default:
            return Role::Inline;
    }
}

std::string_view attribute(const GumboElement& element, const char* name) {
    const GumboAttribute* found = gumbo_get_attribute(&element.attributes, name);
    return found != nullptr && found->value != nullptr ? std::string_view(found->value)
                                                       : std::string_view();
}

bool is_hidden(const GumboElement& element) {
    if (element.attributes.length == 0) return false;
    if (gumbo_get_attribute(&element.attributes, "hidden") != nullptr) return true;
    std::string style;
    for (const char c : attribute(element, "style")) {
        if (!is_blank(c)) style.push_back(lower(c));
    }
    return style.find("display:none") != std::string::npos ||
           style.find("visibility:hidden") != std::string::npos;
}

const GumboVector* children_of(const GumboNode* node) {
    switch (node->type) {
        case GUMBO_NODE_DOCUMENT:
            return &node->v.document.children;
        case GUMBO_NODE_ELEMENT:
        case GUMBO_NODE_TEMPLATE:
            return &node->v.element.children;
        default:
            return nullptr;
    }
}

/// Walks the tree without recursion. enter(node) → whether to go into its children; leave(node)
/// after them, only if entered.
template <class Enter, class Leave>
void walk(const GumboNode* root, Enter&& enter, Leave&& leave) {
    struct Place {
        const GumboNode* node;
        unsigned int next_child;
    };
    std::vector<Place> path;
    if (!enter(root)) return;
    path.push_back({root, 0});
    while (!path.empty()) {
        Place& place = path.back();
        const GumboVector* children = children_of(place.node);
        if (children == nullptr || place.next_child >= children->length) {
            const GumboNode* done = place.node;
            path.pop_back();
            leave(done);
            continue;
        }
        const auto* child = static_cast<const GumboNode*>(children->data[place.next_child++]);
        if (enter(child)) path.push_back({child, 0});
    }
}

/// All text below a node as one line.
std::string text_below(const GumboNode* node) {
    TextWriter writer(4000);
    walk(
        node,
        [&](const GumboNode* n) {
            if (n->type == GUMBO_NODE_TEXT || n->type == GUMBO_NODE_CDATA ||
                n->type == GUMBO_NODE_WHITESPACE) {
                writer.inline_text(n->v.text.text);
            }
            return !writer.is_full();
        },
        [](const GumboNode*) {});
    return std::move(writer).take();
}

struct Head {
    std::string title, og_title, author, date, section, keywords;
};

void read_meta(const GumboElement& element, Head& head) {
    std::string_view name = attribute(element, "name");
    if (name.empty()) name = attribute(element, "property");
    if (name.empty()) name = attribute(element, "itemprop");
    const std::string_view content = attribute(element, "content");
    if (name.empty() || content.empty()) return;
    const auto keep = [&](std::string& field, std::initializer_list<std::string_view> names) {
        if (!field.empty()) return;
        for (const auto other : names) {
            if (same_letters(name, other)) field = std::string(content);
        }
    };
    keep(head.og_title, {"og:title", "dc.title", "dcterms.title"});
    keep(head.author,
         {"author", "article:author", "dc.creator", "dcterms.creator", "parsely-author"});
    keep(head.date,
         {"article:published_time", "date", "dc.date", "dcterms.date", "dcterms.created",
          "dcterms.issued", "pubdate", "publishdate", "publish_date", "datepublished", "created"});
    keep(head.section, {"category", "article:section"});
    keep(head.keywords, {"keywords", "news_keywords"});
}

class Reader {
  public:
    explicit Reader(size_t bytes_max) : writer_(bytes_max) {}

    bool enter(const GumboNode* node) {
        if (writer_.is_full()) return false;
        switch (node->type) {
            case GUMBO_NODE_TEXT:
            case GUMBO_NODE_CDATA:
            case GUMBO_NODE_WHITESPACE:
                if (preformatted_depth_ > 0) {
                    writer_.verbatim_text(node->v.text.text);
                } else {
                    writer_.inline_text(node->v.text.text);
                }
                return false;
            case GUMBO_NODE_COMMENT:
            case GUMBO_NODE_TEMPLATE:
                return false;
            case GUMBO_NODE_DOCUMENT:
                return true;
            case GUMBO_NODE_ELEMENT:
                return enter_element(node->v.element);
        }
        return false;
    }

    void leave(const GumboNode* node) {
        if (node->type != GUMBO_NODE_ELEMENT) return;
        const GumboElement& element = node->v.element;
        switch (role_of(element.tag)) {
            case Role::Block:
                if (element.tag == GUMBO_TAG_H1 && first_h1_.empty()) {
                    first_h1_ = std::string(writer_.since(std::min(h1_start_, writer_.size())));
                }
                writer_.block_break(block_strength());
                break;
            case Role::Preformatted:
                --preformatted_depth_;
                writer_.block_break(block_strength());
                break;
            case Role::List:
                --list_depth_;
                writer_.block_break(block_strength());
                break;
            case Role::Line:
                writer_.block_break(Break::Line);
                break;
            case Role::Row:
                rows_.pop_back();
                writer_.block_break(Break::Line);
                break;
            case Role::Cell:
                list_depth_ = cells_.back().list_depth;
                writer_.end_cell(row_start(), cells_.back().outer);
                cells_.pop_back();
                break;
            case Role::Inline:
            case Role::Skipped:
            case Role::LineBreak:
                break;
        }
    }

    Head head;
    bool is_full() const { return writer_.is_full(); }
    const std::string& first_h1() const { return first_h1_; }
    std::string take() && { return std::move(writer_).take(); }

  private:
    bool enter_element(const GumboElement& element) {
        if (element.tag == GUMBO_TAG_META) {
            read_meta(element, head);
            return false;
        }
        if (element.tag == GUMBO_TAG_TIME && head.date.empty() &&
            (same_letters(attribute(element, "itemprop"), "datepublished") ||
             gumbo_get_attribute(&element.attributes, "pubdate") != nullptr)) {
            head.date = std::string(attribute(element, "datetime"));
        }
        const Role role =
            element.tag_namespace == GUMBO_NAMESPACE_SVG ? Role::Skipped : role_of(element.tag);
        if (role == Role::Skipped || is_hidden(element)) return false;
        switch (role) {
            case Role::Block:
                writer_.block_break(block_strength());
                if (element.tag == GUMBO_TAG_H1) h1_start_ = writer_.size();
                break;
            case Role::Preformatted:
                writer_.block_break(block_strength());
                ++preformatted_depth_;
                break;
            case Role::List:
                writer_.block_break(block_strength());
                ++list_depth_;
                break;
            case Role::Line:
                writer_.block_break(Break::Line);
                break;
            case Role::Row:
                rows_.push_back(writer_.begin_row());
                break;
            case Role::Cell:
                cells_.push_back({writer_.begin_cell(row_start()), list_depth_});
                list_depth_ = 0;
                break;
            case Role::LineBreak:
                writer_.line_break();
                return false;
            case Role::Inline:
            case Role::Skipped:
                break;
        }
        return true;
    }

    Break block_strength() const { return list_depth_ > 0 ? Break::Line : Break::Paragraph; }
    size_t row_start() const { return rows_.empty() ? 0 : rows_.back(); }

    struct OpenCell {
        TextWriter::Cell outer;
        int list_depth;
    };
    TextWriter writer_;
    int preformatted_depth_ = 0;
    int list_depth_ = 0;  ///< lists around, within the innermost cell: blocks in them are lines
    std::vector<size_t> rows_;
    std::vector<OpenCell> cells_;
    size_t h1_start_ = 0;
    std::string first_h1_;
};

/// The head is not shown, so its title and metas are read in a walk of their own over <head>.
void read_head(const GumboNode* root, Head& head) {
    walk(
        root,
        [&](const GumboNode* node) {
            if (node->type == GUMBO_NODE_DOCUMENT) return true;
            if (node->type != GUMBO_NODE_ELEMENT) return false;
            const GumboElement& element = node->v.element;
            if (element.tag == GUMBO_TAG_META) read_meta(element, head);
            if (element.tag == GUMBO_TAG_TITLE && head.title.empty()) head.title = text_below(node);
            return element.tag == GUMBO_TAG_HTML || element.tag == GUMBO_TAG_HEAD;
        },
        [](const GumboNode*) {});
}

}  // namespace

Result<ExtractedDocument> extract_html(std::string_view bytes, const ExtractOptions& options) {
    const DecodedText decoded = decode_text(bytes, declared_charset(bytes));
    if (looks_binary(decoded.text)) {
        return fail(ErrorCode::Corrupt, "the file holds binary data, not HTML",
                    "Give it the extension of its format, or leave it out of the source's pattern");
    }
    const ParsedHtml html = PX_TRY(ParsedHtml::parse(decoded.text, options));
    Reader reader(options.text_bytes_max);
    read_head(html.root(), reader.head);
    walk(
        html.root(), [&](const GumboNode* node) { return reader.enter(node); },
        [&](const GumboNode* node) { reader.leave(node); });
    if (reader.is_full()) return text_too_long(options);

    ExtractedDocument document;
    document.format = DocumentFormat::Html;
    const Head& head = reader.head;
    document.title = clean_title(head.title);
    if (!document.title) document.title = clean_title(head.og_title);
    if (!document.title) document.title = clean_value(reader.first_h1());
    document.author = clean_value(head.author);
    document.created_at = parse_document_date(head.date);
    document.category = clean_value(head.section);
    if (!document.category) document.category = first_keyword(head.keywords);
    document.text = std::move(reader).take();
    drop_controls(document.text);
    return document;
}

}  // namespace px::source
