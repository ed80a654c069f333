// Takes secrets out of text.
#pragma once

#include <string>

#include "absl/strings/string_view.h"

namespace wicket::tools {

// Replaces what may be a secret: base64 words as long as a key, hexadecimal ones at least as long,
// bearer tokens, users of URLs, PEM private keys, and the values of settings with token, password,
// secret, private key or preshared in their name. A value ends with its quotes, or at a space, a
// quote or a comma. A setting that names a file keeps it. Keys become "key-1", "key-2", ..., equal
// texts the same, so that a text can still be followed; public ones too, since nothing tells them
// from private ones.
//
// Not for one text: the numbers go on from call to call, so that files of one report agree.
// Thread: one.
std::string Redact(absl::string_view text);

}  // namespace wicket::tools
