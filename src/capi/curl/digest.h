// Digests and encodings that signed HTTP requests need, by OpenSSL's libcrypto. Rank 1. Pure; any
// thread. SHA-256 alone is base/sha256.h.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include "base/result.h"

namespace px::capi::curl {

/// HMAC-SHA-256 (RFC 2104), 32 raw bytes.
std::string hmac_sha256(std::string_view key, std::string_view bytes);

/// An incremental MD5 (RFC 1321), against damage on the way, not against people.
class Md5 {
  public:
    Md5();
    ~Md5();
    Md5(Md5&&) noexcept;
    Md5& operator=(Md5&&) noexcept;

    void update(std::string_view bytes);
    /// 16 raw bytes; ends the stream.
    std::string finish();

  private:
    struct State;
    std::unique_ptr<State> state_;
};

/// 16 raw bytes.
std::string md5(std::string_view bytes);

/// SHA-1 (RFC 3174), 20 raw bytes: for names by UUIDv5, never against people.
std::string sha1(std::string_view bytes);

/// RFC 4648, section 4, with padding.
std::string base64_encode(std::string_view bytes);
/// Strict: errors with InvalidArgument, which never quotes the text (it may be a secret).
Result<std::string> base64_decode(std::string_view text);

/// Lower-case hexadecimal digits of random bytes from the system's generator: names that never
/// meet.
std::string random_hex(size_t byte_count);

/// RFC 3986: all but unreserved characters becomes %XX; those of `keep` stay as well.
std::string percent_encode(std::string_view text, std::string_view keep = {});

}  // namespace px::capi::curl
