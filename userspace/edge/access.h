// Who may do what: certificate, tokens and client names, as they were last loaded.
#pragma once

#include <map>
#include <memory>
#include <mutex>
#include <string>

#include "edge/config.h"
#include "edge/tls.h"
#include "edge/tokens.h"

namespace wicket::edge {

struct Credentials {
  TlsContext tls;
  Tokens tokens;
  std::map<std::string, http::Role> clients;
};

// Thread: any.
class Access {
 public:
  // Errors: as TlsContext::Load and Tokens::Load. The part that failed stays as it was.
  absl::Status Load(const Config& config);
  // Requires: a Load that succeeded.
  std::shared_ptr<const Credentials> latest() const;

 private:
  mutable std::mutex mutex_;
  std::shared_ptr<const Credentials> latest_;
};

}  // namespace wicket::edge
