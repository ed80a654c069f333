// TLS 1.3 over a connection, as its server.
#pragma once

#include <openssl/ssl.h>

#include <memory>
#include <string>

#include "base/status.h"
#include "http/transport.h"

namespace wicket::edge {

class TlsTransport : public http::Transport {
 public:
  TlsTransport(Fd fd, std::shared_ptr<SSL_CTX> context);

  absl::Status Accept() override;
  void Refuse(absl::string_view answer) override;  // without a word: no handshake was made
  // The common name of the client's certificate, which was verified; empty: it has none.
  std::string ClientName() const;

 private:
  struct Free {
    void operator()(SSL* ssl) const { SSL_free(ssl); }
  };

  template <typename Step>
  size_t Run(Step step, boost::beast::error_code* error);
  size_t Read(void* data, size_t bytes, boost::beast::error_code* error) override;
  size_t Write(const void* data, size_t bytes, boost::beast::error_code* error) override;

  const std::shared_ptr<SSL_CTX> context_;
  std::unique_ptr<SSL, Free> ssl_;
};

// Thread: any; it is not changed.
class TlsContext {
 public:
  // `client_ca`: signs the certificates of clients, which may have one; empty: none is asked for.
  // Errors: name the file that cannot be used, and why; FailedPrecondition when the certificate has
  //         expired.
  static absl::StatusOr<TlsContext> Load(const std::string& certificate, const std::string& key,
                                         const std::string& client_ca);
  std::unique_ptr<TlsTransport> Wrap(Fd fd) const;
  absl::Time expires() const { return expires_; }  // the certificate

 private:
  std::shared_ptr<SSL_CTX> context_;
  absl::Time expires_;
};

}  // namespace wicket::edge
