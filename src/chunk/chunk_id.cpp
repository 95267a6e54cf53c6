#include "base/sha256.h"
#include "chunk/chunk.h"

namespace px::chunk {

namespace {

void add_number(Sha256& hash, uint64_t number) {
    char bytes[8];
    for (char& byte : bytes) {
        byte = static_cast<char>(number & 0xFF);
        number >>= 8;
    }
    hash.update({bytes, sizeof bytes});
}

void add_text(Sha256& hash, std::string_view text) {
    add_number(hash, text.size());
    hash.update(text);
}

}  // namespace

ChunkId make_chunk_id(const ChunkIdentity& identity) {
    Sha256 hash;
    for (const std::string_view part :
         {identity.source, identity.ds, identity.document_id, identity.title, identity.author,
          identity.date, identity.category, identity.text}) {
        add_text(hash, part);
    }
    add_number(hash, static_cast<uint64_t>(identity.span.start));
    add_number(hash, static_cast<uint64_t>(identity.span.end));
    if (identity.acl) add_text(hash, *identity.acl);
    return {to_hex(hash.finish()).substr(0, 32)};
}

std::string embedding_text(std::string_view title, std::string_view chunk_text) {
    std::string text;
    text.reserve(title.size() + 1 + chunk_text.size());
    if (!title.empty()) {
        text.append(title);
        text.push_back('\n');
    }
    text.append(chunk_text);
    return text;
}

}  // namespace px::chunk
