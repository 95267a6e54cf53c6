#include "capi/curl/mail.h"

#include <curl/curl.h>
#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <memory>
#include <mutex>

#include "capi/curl/http_client.h"

namespace px::capi::curl {
namespace {

struct Close {
    void operator()(CURL* handle) const { curl_easy_cleanup(handle); }
    void operator()(curl_slist* list) const { curl_slist_free_all(list); }
};

struct Source {
    std::string bytes;
    size_t at = 0;
};

size_t on_read(char* buffer, size_t size, size_t count, void* user) {
    auto& source = *static_cast<Source*>(user);
    const size_t room = std::min(size * count, source.bytes.size() - source.at);
    std::memcpy(buffer, source.bytes.data() + source.at, room);
    source.at += room;
    return room;
}

bool is_address(std::string_view address) {
    return address.find('@') != std::string_view::npos && std::ranges::all_of(address, [](char c) {
               return static_cast<unsigned char>(c) > 0x20 && c != '<' && c != '>' && c != 0x7F;
           });
}

std::string base64(std::string_view bytes) {
    static constexpr std::string_view kDigits =
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    std::string text;
    for (size_t i = 0; i < bytes.size(); i += 3) {
        uint32_t group = 0;
        const size_t count = std::min<size_t>(3, bytes.size() - i);
        for (size_t j = 0; j < 3; ++j)
            group = group << 8 | (j < count ? static_cast<unsigned char>(bytes[i + j]) : 0U);
        for (size_t j = 0; j < 4; ++j)
            text += j <= count ? kDigits[group >> (18 - 6 * j) & 63] : '=';
    }
    return text;
}

/// "Mon, 23 Nov 2026 18:00:00 +0000" (RFC 5322).
std::string mail_date(TimestampMicros at) {
    static constexpr std::array kDays = {"Thu", "Fri", "Sat", "Sun", "Mon", "Tue", "Wed"};
    static constexpr std::array kMonths = {"Jan", "Feb", "Mar", "Apr", "May", "Jun",
                                           "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"};
    const std::string text = format_timestamp(at);
    const auto month = static_cast<size_t>((text[5] - '0') * 10 + text[6] - '1');
    const auto day = static_cast<size_t>(std::max<int64_t>(0, at / 86'400'000'000) % 7);
    return fmt::format("{}, {} {} {} {} +0000", kDays.at(day), text.substr(8, 2), kMonths.at(month),
                       text.substr(0, 4), text.substr(11, 8));
}

}  // namespace

Result<void> send_mail(const Mail& mail) {
    static std::once_flag once;
    std::call_once(once, [] { curl_global_init(CURL_GLOBAL_DEFAULT); });
    if (!mail.url.starts_with("smtp://") && !mail.url.starts_with("smtps://")) {
        return fail(ErrorCode::InvalidArgument,
                    "the address of a mail server is no smtp:// address",
                    "Write smtp://HOST:587 or smtps://HOST");
    }
    std::vector<std::string> addresses = mail.to;
    addresses.push_back(mail.from);
    for (const std::string& address : addresses) {
        if (!is_address(address))
            return fail(ErrorCode::InvalidArgument,
                        fmt::format("'{}' is no e-mail address", address.substr(0, 80)),
                        "Write it as name@example.org");
    }
    Source source;
    std::string recipients;
    for (const std::string& address : mail.to)
        recipients += (recipients.empty() ? "" : ", ") + fmt::format("<{}>", address);
    // Both texts as base64: no byte of theirs can be read as a header or as the end of the mail.
    source.bytes = fmt::format(
        "Date: {}\r\nFrom: <{}>\r\nTo: {}\r\nSubject: =?UTF-8?B?{}?=\r\nMIME-Version: 1.0\r\n"
        "Content-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: base64\r\n\r\n",
        mail_date(mail.date), mail.from, recipients, base64(mail.subject.substr(0, 180)));
    const std::string body = base64(mail.text);
    for (size_t i = 0; i < body.size(); i += 76) source.bytes += body.substr(i, 76) + "\r\n";

    const std::unique_ptr<CURL, Close> handle(curl_easy_init());
    if (!handle) return fail(ErrorCode::ResourceExhausted, "no memory for an e-mail");
    std::unique_ptr<curl_slist, Close> list;
    for (const std::string& address : mail.to) {
        curl_slist* const longer =
            curl_slist_append(list.get(), fmt::format("<{}>", address).c_str());
        if (longer == nullptr) return fail(ErrorCode::ResourceExhausted, "no memory for an e-mail");
        if (!list) list.reset(longer);
    }
    CURL* const curl = handle.get();
    const bool is_here = is_loopback_host(url_host(mail.url));
    const std::string sender = fmt::format("<{}>", mail.from);
    char detail[CURL_ERROR_SIZE] = "";
    curl_easy_setopt(curl, CURLOPT_ERRORBUFFER, detail);
    curl_easy_setopt(curl, CURLOPT_URL, mail.url.c_str());
    curl_easy_setopt(curl, CURLOPT_PROTOCOLS_STR, "smtp,smtps");
    curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(curl, CURLOPT_TIMEOUT_MS, static_cast<long>(mail.timeout.count()));
    curl_easy_setopt(curl, CURLOPT_CONNECTTIMEOUT_MS, static_cast<long>(mail.timeout.count()));
    curl_easy_setopt(curl, CURLOPT_USE_SSL,
                     static_cast<long>(is_here ? CURLUSESSL_TRY : CURLUSESSL_ALL));
    curl_easy_setopt(curl, CURLOPT_SSL_VERIFYPEER, 1L);
    curl_easy_setopt(curl, CURLOPT_SSL_VERIFYHOST, 2L);
    if (is_here) curl_easy_setopt(curl, CURLOPT_PROXY, "");
    curl_easy_setopt(curl, CURLOPT_MAIL_FROM, sender.c_str());
    curl_easy_setopt(curl, CURLOPT_MAIL_RCPT, list.get());
    curl_easy_setopt(curl, CURLOPT_UPLOAD, 1L);
    curl_easy_setopt(curl, CURLOPT_READFUNCTION, &on_read);
    curl_easy_setopt(curl, CURLOPT_READDATA, &source);
    const CURLcode code = curl_easy_perform(curl);
    if (code == CURLE_OK) return {};
    const std::string where = url_origin(mail.url);
    if (code == CURLE_LOGIN_DENIED) {
        return fail(ErrorCode::Unauthenticated, fmt::format("{} refused the log-in", where),
                    "Check user and password of notify.smtp.url");
    }
    return fail(ErrorCode::Unavailable,
                fmt::format("{} took no mail: {}", where,
                            detail[0] != '\0' ? detail : curl_easy_strerror(code)),
                "Check host, port and TLS of notify.smtp.url");
}

}  // namespace px::capi::curl
