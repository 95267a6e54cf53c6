#include "contract/acl.h"

#include <algorithm>

namespace px::contract {

std::vector<std::string> parse_acl(std::string_view text) {
    std::vector<std::string> groups;
    while (true) {
        const size_t comma = std::min(text.find(','), text.size());
        const std::string_view piece = text.substr(0, comma);
        const size_t first = piece.find_first_not_of(kAclBlanks);
        if (first != std::string_view::npos) {
            const size_t last = piece.find_last_not_of(kAclBlanks);
            groups.emplace_back(piece.substr(first, last - first + 1));
        }
        if (comma == text.size()) break;
        text.remove_prefix(comma + 1);
    }
    std::sort(groups.begin(), groups.end());
    groups.erase(std::unique(groups.begin(), groups.end()), groups.end());
    return groups;
}

}  // namespace px::contract
