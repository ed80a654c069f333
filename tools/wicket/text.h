// How values look on a terminal: the words and colours of `wg show`.
#pragma once

#include <cstdint>
#include <string>

#include "absl/strings/string_view.h"
#include "absl/time/time.h"

namespace wicket::tools {

// As wg does: WG_COLOR_MODE is always, never or auto; auto colours terminals.
bool Coloured();
std::string Bold(absl::string_view text);
// The word before a colon that begins a block: "peer", "interface".
std::string Heading(absl::string_view text, bool is_peer);

std::string Ago(absl::Duration duration);  // "1 minute, 5 seconds ago"
std::string Size(uint64_t bytes);          // "1.50 KiB"

// Without the white space at both ends, as an element of a list may have it.
std::string Trim(const std::string& text);

// A word for a shell.
std::string QuoteForShell(absl::string_view word);

}  // namespace wicket::tools
