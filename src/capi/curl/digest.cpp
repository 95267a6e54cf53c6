#include "capi/curl/digest.h"

#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <openssl/rand.h>

#include <random>

namespace px::capi::curl {
namespace {

const unsigned char* unsigned_bytes(std::string_view bytes) {
    return reinterpret_cast<const unsigned char*>(bytes.data());
}

int value_of(char digit) {
    if (digit >= 'A' && digit <= 'Z') return digit - 'A';
    if (digit >= 'a' && digit <= 'z') return digit - 'a' + 26;
    if (digit >= '0' && digit <= '9') return digit - '0' + 52;
    if (digit == '+') return 62;
    return digit == '/' ? 63 : -1;
}

}  // namespace

std::string hmac_sha256(std::string_view key, std::string_view bytes) {
    std::array<unsigned char, EVP_MAX_MD_SIZE> digest{};
    unsigned int size = 0;
    HMAC(EVP_sha256(), key.data(), static_cast<int>(key.size()), unsigned_bytes(bytes),
         bytes.size(), digest.data(), &size);
    return {reinterpret_cast<const char*>(digest.data()), size};
}

struct Md5::State {
    State() : context(EVP_MD_CTX_new()) { EVP_DigestInit_ex(context, EVP_md5(), nullptr); }
    ~State() { EVP_MD_CTX_free(context); }
    EVP_MD_CTX* context;
};

Md5::Md5() : state_(std::make_unique<State>()) {}
Md5::~Md5() = default;
Md5::Md5(Md5&&) noexcept = default;
Md5& Md5::operator=(Md5&&) noexcept = default;

void Md5::update(std::string_view bytes) {
    EVP_DigestUpdate(state_->context, bytes.data(), bytes.size());
}

std::string Md5::finish() {
    std::array<unsigned char, EVP_MAX_MD_SIZE> digest{};
    unsigned int size = 0;
    EVP_DigestFinal_ex(state_->context, digest.data(), &size);
    return {reinterpret_cast<const char*>(digest.data()), size};
}

std::string sha1(std::string_view bytes) {
    std::array<unsigned char, EVP_MAX_MD_SIZE> digest{};
    unsigned int size = 0;
    EVP_Digest(bytes.data(), bytes.size(), digest.data(), &size, EVP_sha1(), nullptr);
    return {reinterpret_cast<const char*>(digest.data()), size};
}

std::string md5(std::string_view bytes) {
    Md5 digest;
    digest.update(bytes);
    return digest.finish();
}

std::string base64_encode(std::string_view bytes) {
    std::string text((bytes.size() + 2) / 3 * 4 + 1, '\0');
    const int size = EVP_EncodeBlock(reinterpret_cast<unsigned char*>(text.data()),
                                     unsigned_bytes(bytes), static_cast<int>(bytes.size()));
    text.resize(static_cast<size_t>(size));
    return text;
}

Result<std::string> base64_decode(std::string_view text) {
    const auto refuse = [] { return fail(ErrorCode::InvalidArgument, "not a base64 text"); };
    if (text.size() % 4 != 0) return refuse();
    std::string bytes;
    bytes.reserve(text.size() / 4 * 3);
    for (size_t i = 0; i < text.size(); i += 4) {
        const bool last = i + 4 == text.size();
        size_t digits = 4;
        if (last && text[i + 3] == '=') digits = text[i + 2] == '=' ? 2 : 3;
        uint32_t group = 0;
        for (size_t d = 0; d < digits; ++d) {
            const int value = value_of(text[i + d]);
            if (value < 0) return refuse();
            group |= static_cast<uint32_t>(value) << (18 - 6 * d);
        }
        for (size_t d = 0; d + 1 < digits; ++d) {
            bytes.push_back(static_cast<char>((group >> (16 - 8 * d)) & 0xFF));
        }
    }
    return bytes;
}

std::string random_hex(size_t byte_count) {
    std::string bytes(byte_count, '\0');
    if (RAND_bytes(reinterpret_cast<unsigned char*>(bytes.data()), static_cast<int>(byte_count)) !=
        1) {
        std::random_device device;  // OpenSSL without entropy: the system's generator by itself
        for (char& byte : bytes) byte = static_cast<char>(device());
    }
    static constexpr std::string_view kDigits = "0123456789abcdef";
    std::string text;
    text.reserve(byte_count * 2);
    for (const char byte : bytes) {
        text.push_back(kDigits[static_cast<unsigned char>(byte) >> 4]);
        text.push_back(kDigits[static_cast<unsigned char>(byte) & 15]);
    }
    return text;
}

std::string percent_encode(std::string_view text, std::string_view keep) {
    static constexpr std::string_view kDigits = "0123456789ABCDEF";
    std::string encoded;
    encoded.reserve(text.size());
    for (const char c : text) {
        const bool unreserved = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
                                (c >= '0' && c <= '9') || c == '-' || c == '.' || c == '_' ||
                                c == '~';
        if (unreserved || keep.find(c) != std::string_view::npos) {
            encoded.push_back(c);
        } else {
            encoded.push_back('%');
            encoded.push_back(kDigits[static_cast<unsigned char>(c) >> 4]);
            encoded.push_back(kDigits[static_cast<unsigned char>(c) & 15]);
        }
    }
    return encoded;
}

}  // namespace px::capi::curl
