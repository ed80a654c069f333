// The secret that a hook's messages are signed with; [Standard Webhooks 1.0].
#pragma once

#include <string>

#include "absl/strings/string_view.h"
#include "base/status.h"

namespace wicket::hook {

// Thread: any; it is not changed. Wiped when it goes.
class SigningSecret {
 public:
  // "whsec_" and base64 of 24 to 64 bytes. Errors: InvalidArgument, without the text.
  static absl::StatusOr<SigningSecret> Parse(absl::string_view text);
  // Errors: name the file; FailedPrecondition when others may read or write it.
  static absl::StatusOr<SigningSecret> Load(const std::string& path);
  // A new one, as text.
  static std::string Make();

  SigningSecret(SigningSecret&& other) noexcept;
  ~SigningSecret();

  // The value of the header webhook-signature: "v1,BASE64" of HMAC-SHA256 over "ID.SECONDS.BODY".
  std::string Sign(absl::string_view id, int64_t unix_seconds, absl::string_view body) const;

 private:
  explicit SigningSecret(std::string bytes) : bytes_(std::move(bytes)) {}

  std::string bytes_;
};

}  // namespace wicket::hook
