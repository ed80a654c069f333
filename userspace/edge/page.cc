#include "edge/page.h"

#include <string>
#include <utility>

#include "absl/strings/match.h"

// The linker keeps the bytes as they are: as a C++ literal they would take a minute to compile.
asm(".section .rodata\n"
    "wicket_page:\n"
    ".incbin \"" WICKET_PAGE
    "\"\n"
    "wicket_page_end:\n"
    "wicket_page_gz:\n"
    ".incbin \"" WICKET_PAGE
    ".gz\"\n"
    "wicket_page_gz_end:\n"
    ".byte 0\n"
    ".previous\n");

extern "C" {
extern const char wicket_page[];
extern const char wicket_page_end[];
extern const char wicket_page_gz[];
extern const char wicket_page_gz_end[];
}

namespace wicket::edge {

absl::string_view Page() {
  return {wicket_page, static_cast<size_t>(wicket_page_end - wicket_page)};
}

absl::string_view PageGz() {
  return {wicket_page_gz, static_cast<size_t>(wicket_page_gz_end - wicket_page_gz)};
}

http::Handler WithPage(http::Handler next) {
  return [next = std::move(next)](http::Exchange& exchange) {
    const bool read = exchange.method() == "GET" || exchange.method() == "HEAD";
    if (!read || !exchange.target().path.empty()) return next(exchange);
    // Its own policy is in the page; this part of it counts in a header alone.
    exchange.AddHeader("Content-Security-Policy", "frame-ancestors 'none'");
    exchange.AddHeader("X-Content-Type-Options", "nosniff");
    exchange.AddHeader("Referrer-Policy", "no-referrer");
    exchange.AddHeader("Cache-Control", "no-cache");
    exchange.AddHeader("Vary", "Accept-Encoding");
    const bool gzip = absl::StrContains(exchange.header("Accept-Encoding"), "gzip");
    if (gzip) exchange.AddHeader("Content-Encoding", "gzip");
    exchange.Answer(200, std::string(gzip ? PageGz() : Page()), "text/html; charset=utf-8");
  };
}

}  // namespace wicket::edge
