// Takes secrets out of text.
#pragma once

#include <string>

#include "absl/strings/string_view.h"

namespace wicket::tools {

// Replaces what may be a secret: base64 and hexadecimal words as long as a key, bearer tokens, and
// the values of settings named key, token, password or secret. Keys become "key-1", "key-2", ...,
// equal ones the same, so that a text can still be followed; public ones too, since nothing tells
// them from private ones.
//
// Not for one text: the numbers go on from call to call, so that files of one report agree.
// Thread: one.
std::string Redact(absl::string_view text);

}  // namespace wicket::tools
