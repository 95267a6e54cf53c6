// Any bytes as a text file, compressed or not, in every encoding: no crash, and what is decoded is
// UTF-8 but for the mark FF of what could not be. Decompressed text is cut at 16 MiB.
#include <cstdlib>
#include <string>

#include "base/utf8.h"
#include "source/text_stream.h"
#include "source_memory_file.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
    using px::source::TextEncoding;
    const px::fuzz::MemoryFile file(data, size);
    for (const TextEncoding encoding :
         {TextEncoding::Auto, TextEncoding::Utf8, TextEncoding::Utf16Le, TextEncoding::Utf16Be,
          TextEncoding::Latin1, TextEncoding::Windows1252}) {
        auto text = px::source::open_text(file.path(), encoding);
        if (!text) continue;
        std::string all;
        std::string part(4096, '\0');
        while (all.size() < (16 << 20)) {
            const auto got = text->stream->read(part.data(), part.size());
            if (!got || *got == 0) break;
            all.append(part, 0, *got);
        }
        if (text->encoding == TextEncoding::Utf8 || all.size() >= (16 << 20)) continue;
        for (size_t at = 0; at < all.size();) {
            at += px::utf8_valid_prefix(std::string_view(all).substr(at));
            if (at < all.size() && all[at++] != '\xFF') std::abort();
        }
    }
    return 0;
}
