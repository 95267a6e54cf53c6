// docx: the paragraphs, tables and notes of WordprocessingML (ECMA-376), with the core properties.
#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <new>
#include <pugixml.hpp>
#include <string>
#include <utility>
#include <vector>

#include "source/document/dates.h"
#include "source/document/decode.h"
#include "source/document/formats.h"
#include "source/document/metadata.h"
#include "source/document/text_writer.h"
#include "source/document/zip_archive.h"

namespace px::source {
namespace {

constexpr std::string_view kSaveAgain = "Open it in a word processor and save it again as .docx";

/// A name without its namespace prefix: producers choose the prefix, the local names are
/// unambiguous here.
std::string_view local(const char* name) {
    const std::string_view full(name);
    const size_t colon = full.rfind(':');
    return colon == std::string_view::npos ? full : full.substr(colon + 1);
}

pugi::xml_node child_of(const pugi::xml_node& node, std::string_view name) {
    for (const pugi::xml_node& child : node) {
        if (local(child.name()) == name) return child;
    }
    return {};
}

std::string_view attribute_of(const pugi::xml_node& node, std::string_view name) {
    for (const pugi::xml_attribute& attribute : node.attributes()) {
        if (local(attribute.name()) == name) return attribute.value();
    }
    return {};
}

Result<void> load_part(pugi::xml_document& xml, const std::string& text, const std::string& name) {
    const auto status =
        xml.load_buffer(text.data(), text.size(), pugi::parse_default | pugi::parse_ws_pcdata);
    if (status.status == pugi::status_out_of_memory) {
        return fail(ErrorCode::ResourceExhausted,
                    fmt::format("part {} needs too much memory to read", name),
                    "Split the document");
    }
    if (!status) {
        return fail(ErrorCode::Corrupt,
                    fmt::format("part {} is not well-formed XML: {} at byte {}", name,
                                status.description(), status.offset),
                    std::string(kSaveAgain));
    }
    return {};
}

/// The name of the main part: the officeDocument relation of the package.
std::string main_part(const pugi::xml_document& relations) {
    for (const pugi::xml_node& relation : relations.document_element()) {
        if (attribute_of(relation, "Type").ends_with("/officeDocument")) {
            std::string target(attribute_of(relation, "Target"));
            if (target.starts_with('/')) target.erase(0, 1);
            if (!target.empty()) return target;
        }
    }
    return "word/document.xml";
}

enum class StyleKind { Body, Item, Title, Heading1, Heading };

StyleKind kind_of_style_name(std::string_view name) {
    std::string small;
    for (const char c : name) {
        if (c != ' ') small.push_back(c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c);
    }
    if (small == "title") return StyleKind::Title;
    if (small == "heading1") return StyleKind::Heading1;
    if (small.starts_with("heading")) return StyleKind::Heading;
    if (small.starts_with("listbullet") || small.starts_with("listnumber")) return StyleKind::Item;
    return StyleKind::Body;
}

using Styles = std::map<std::string, StyleKind, std::less<>>;

/// Style ids are translated ("berschrift1"), style names are not ("heading 1").
Styles read_styles(const pugi::xml_document& xml) {
    Styles styles;
    for (const pugi::xml_node& style : xml.document_element()) {
        if (local(style.name()) != "style") continue;
        const StyleKind kind = kind_of_style_name(attribute_of(child_of(style, "name"), "val"));
        if (kind != StyleKind::Body) styles.emplace(attribute_of(style, "styleId"), kind);
    }
    return styles;
}

/// Walks a part without recursion and writes its text.
class Reader {
  public:
    Reader(TextWriter& writer, const Styles& styles) : writer_(writer), styles_(styles) {}

    /// Stops early when the writer is full or the deadline has passed.
    Result<void> read(const pugi::xml_node& root, const Deadline& deadline) {
        pugi::xml_node node = root;
        size_t step_count = 0;
        while (true) {
            if ((step_count++ & 0x3FF) == 0) PX_TRY(deadline.check());
            if (writer_.is_full()) return {};
            if (enter(node)) {
                if (const pugi::xml_node first = node.first_child()) {
                    node = first;
                    continue;
                }
                leave(node);
            }
            while (node != root && !node.next_sibling()) {
                node = node.parent();
                leave(node);
            }
            if (node == root) return {};
            node = node.next_sibling();
        }
    }

    const std::string& first_heading() const { return title_.empty() ? heading_ : title_; }

  private:
    bool enter(const pugi::xml_node& node) {
        if (node.type() != pugi::node_element) return node.type() == pugi::node_document;
        const std::string_view name = local(node.name());
        if (name == "t") {
            for (const pugi::xml_node& text : node) {
                if (text.type() == pugi::node_pcdata || text.type() == pugi::node_cdata)
                    writer_.inline_text(text.value());
            }
            return false;
        }
        if (name == "r")
            return !child_of(child_of(node, "rPr"), "vanish") ||
                   is_off(child_of(child_of(node, "rPr"), "vanish"));
        if (name == "p") return begin_paragraph(node), true;
        if (name == "tab" || name == "ptab") return writer_.break_at_least(Break::Space), false;
        if (name == "br" || name == "cr") {
            const bool is_page = attribute_of(node, "type") == "page";
            return is_page ? writer_.break_at_least(Break::Paragraph) : writer_.line_break(), false;
        }
        if (name == "noBreakHyphen") return writer_.inline_text("-"), false;
        if (name == "tbl") return writer_.block_break(Break::Paragraph), true;
        if (name == "tr") return rows_.push_back(writer_.begin_row()), true;
        if (name == "tc") return cells_.push_back(writer_.begin_cell(row_start())), true;
        if (name == "AlternateContent")
            return alternates_.push_back({node, child_of(node, "Choice")}), true;
        if (name == "Choice" || name == "Fallback") {
            if (alternates_.empty() || alternates_.back().node != node.parent()) return true;
            const pugi::xml_node first_choice = alternates_.back().first_choice;
            return name == "Choice" ? node == first_choice : !first_choice;
        }
        if (name == "footnote" || name == "endnote") {
            return attribute_of(node, "type").empty() || attribute_of(node, "type") == "normal";
        }
        // Properties, deleted and moved-away text, field codes: not what a reader sees.
        return !(name == "pPr" || name == "rPr" || name == "tblPr" || name == "trPr" ||
                 name == "tcPr" || name == "sectPr" || name == "sdtPr" || name == "del" ||
                 name == "moveFrom" || name == "instrText" || name == "delText" ||
                 name == "delInstrText" || name == "fldData" || name == "tblGrid");
    }

    void leave(const pugi::xml_node& node) {
        const std::string_view name = local(node.name());
        if (name == "p") {
            end_paragraph();
        } else if (name == "tc" && !cells_.empty()) {
            writer_.end_cell(row_start(), cells_.back());
            cells_.pop_back();
        } else if (name == "tr" && !rows_.empty()) {
            rows_.pop_back();
            writer_.block_break(Break::Line);
        } else if (name == "tbl") {
            writer_.block_break(Break::Paragraph);
        } else if (name == "AlternateContent" && !alternates_.empty()) {
            alternates_.pop_back();
        }
    }

    static bool is_off(const pugi::xml_node& property) {
        const std::string_view value = attribute_of(property, "val");
        return value == "0" || value == "false" || value == "off";
    }

    void begin_paragraph(const pugi::xml_node& node) {
        const pugi::xml_node properties = child_of(node, "pPr");
        const std::string_view style = attribute_of(child_of(properties, "pStyle"), "val");
        const auto known = styles_.find(style);
        const StyleKind kind = known != styles_.end() ? known->second : kind_of_style_name(style);
        const bool is_item = child_of(properties, "numPr") || kind == StyleKind::Item;
        const bool next_item = is_item && previous_was_item_;
        writer_.block_break(next_item || !cells_.empty() ? Break::Line : Break::Paragraph);
        previous_was_item_ = is_item;
        paragraphs_.push_back({writer_.size(), kind});
    }

    void end_paragraph() {
        if (paragraphs_.empty()) return;
        const auto [start, kind] = paragraphs_.back();
        paragraphs_.pop_back();
        if (kind >= StyleKind::Title && writer_.size() > start) {
            std::string& slot = kind == StyleKind::Title ? title_ : heading_;
            const bool stronger =
                kind == StyleKind::Heading1 && heading_kind_ == StyleKind::Heading;
            if (slot.empty() || (stronger && &slot == &heading_)) {
                const std::string_view text = writer_.since(start);
                slot =
                    std::string(text.substr(std::min(text.find_first_not_of("\n |"), text.size())));
                if (&slot == &heading_) heading_kind_ = kind;
            }
        }
        // The next block decides how strong the break is; a text box ends its host's line at least.
        writer_.block_break(Break::Line);
    }

    size_t row_start() const { return rows_.empty() ? 0 : rows_.back(); }

    struct Paragraph {
        size_t start;
        StyleKind kind;
    };
    /// Alternate contents around, and what is read of each: its first choice, else its fallback.
    struct Alternate {
        pugi::xml_node node, first_choice;
    };
    TextWriter& writer_;
    const Styles& styles_;
    std::vector<Alternate> alternates_;
    std::vector<size_t> rows_;
    std::vector<TextWriter::Cell> cells_;
    std::vector<Paragraph> paragraphs_;
    bool previous_was_item_ = false;
    std::string title_, heading_;
    StyleKind heading_kind_ = StyleKind::Body;
};

struct Properties {
    std::string title, author, created, category, keywords;
};

Properties read_properties(const pugi::xml_document& xml) {
    const pugi::xml_node root = xml.document_element();
    const auto value = [&](std::string_view name) {
        return std::string(child_of(root, name).text().get());
    };
    return {value("title"), value("creator"), value("created"), value("category"),
            value("keywords")};
}

Result<ExtractedDocument> extract_unguarded(std::string_view bytes, const ExtractOptions& options) {
    ZipArchive archive = PX_TRY(ZipArchive::open(bytes, options.unpacked_bytes_max));
    std::string main_name = "word/document.xml";
    if (const auto relations = PX_TRY(archive.read("_rels/.rels"))) {
        pugi::xml_document xml;
        PX_TRY(load_part(xml, *relations, "_rels/.rels"));
        main_name = main_part(xml);
    }
    const auto main_text = PX_TRY(archive.read(main_name));
    if (!main_text) {
        return fail(ErrorCode::Corrupt,
                    fmt::format("the archive has no part {}, so it is no complete docx", main_name),
                    std::string(kSaveAgain));
    }
    const std::string folder = main_name.substr(0, main_name.rfind('/') + 1);
    Styles styles;
    if (const auto text = PX_TRY(archive.read(folder + "styles.xml"))) {
        pugi::xml_document xml;
        PX_TRY(load_part(xml, *text, folder + "styles.xml"));
        styles = read_styles(xml);
    }

    TextWriter writer(options.text_bytes_max);
    Reader reader(writer, styles);
    {
        pugi::xml_document xml;
        PX_TRY(load_part(xml, *main_text, main_name));
        const pugi::xml_node body = child_of(xml.document_element(), "body");
        if (!body) {
            return fail(ErrorCode::Corrupt, fmt::format("part {} has no body", main_name),
                        std::string(kSaveAgain));
        }
        PX_TRY(reader.read(body, options.deadline));
    }
    for (const char* notes : {"footnotes.xml", "endnotes.xml"}) {
        const std::string name = folder + notes;
        const auto text = PX_TRY(archive.read(name));
        if (!text) continue;
        pugi::xml_document xml;
        PX_TRY(load_part(xml, *text, name));
        writer.break_at_least(Break::Paragraph);
        PX_TRY(reader.read(xml, options.deadline));
    }
    if (writer.is_full()) return text_too_long(options);

    ExtractedDocument document;
    document.format = DocumentFormat::Docx;
    if (const auto text = PX_TRY(archive.read("docProps/core.xml"))) {
        pugi::xml_document xml;
        PX_TRY(load_part(xml, *text, "docProps/core.xml"));
        const Properties properties = read_properties(xml);
        document.title = clean_title(properties.title);
        document.author = clean_value(properties.author);
        document.created_at = parse_document_date(properties.created);
        document.category = clean_value(properties.category);
        if (!document.category) document.category = first_keyword(properties.keywords);
    }
    if (!document.title) document.title = clean_title(reader.first_heading());
    document.text = std::move(writer).take();
    drop_controls(document.text);
    return document;
}

}  // namespace

Result<ExtractedDocument> extract_docx(std::string_view bytes, const ExtractOptions& options) {
    if (bytes.starts_with("\xD0\xCF\x11\xE0\xA1\xB1\x1A\xE1")) {
        // A compound file: a docx encrypted by Office, or an old .doc under a new name.
        constexpr std::string_view kStream("E\0n\0c\0r\0y\0p\0t\0e\0d\0P\0a\0c\0k\0a\0g\0e\0", 32);
        if (bytes.find(kStream) != std::string_view::npos) {
            return fail(ErrorCode::Forbidden, "the docx is encrypted and needs a password to open",
                        "Remove the password in the word processor and save it again");
        }
        return fail(ErrorCode::Corrupt, "the file is an old Word .doc, not a docx",
                    std::string(kSaveAgain));
    }
    try {  // pugixml allocates with malloc, std::string and the containers here with new
        return extract_unguarded(bytes, options);
    } catch (const std::bad_alloc&) {
        return fail(ErrorCode::ResourceExhausted, "the docx needs more memory than there is",
                    "Split the document");
    }
}

}  // namespace px::source
