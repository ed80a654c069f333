// TLS 1.3 over a connection.
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
  // The client's side, before the first byte: the other end must be `host`, a name or an address.
  // Errors: Unauthenticated says why it is not trusted, or why the handshake failed;
  //         InvalidArgument for a `host` that cannot be one.
  absl::Status Connect(const std::string& host);
  void Refuse(absl::string_view answer) override;  // without a word: no handshake was made
  SSL* ssl() const { return ssl_.get(); }

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

// What a client trusts: `ca`, or, when that is empty, what the system trusts. With `certificate`
// and `key`, which may both be empty, it says who it is. Errors: name the file that cannot be used,
// and why.
absl::StatusOr<std::shared_ptr<SSL_CTX>> MakeClientContext(const std::string& ca,
                                                           const std::string& certificate,
                                                           const std::string& key);

// Thread: any; it is not changed.
class TlsContext {
 public:
  // `client_ca`: signs the certificates of clients, which may have one; empty: none is asked for.
  // Errors: name the file that cannot be used, and why; FailedPrecondition when the certificate has
  //         expired.
  static absl::StatusOr<TlsContext> Load(const std::string& certificate, const std::string& key,
                                         const std::string& client_ca);
  std::unique_ptr<TlsTransport> Wrap(Fd fd) const;
  // The common name of the client's certificate; empty when it has none that `client_ca` of this
  // context signed and that is valid now. Thread: the connection's.
  std::string ClientName(const TlsTransport& transport) const;
  absl::Time expires() const { return expires_; }  // the certificate

 private:
  std::shared_ptr<SSL_CTX> context_;
  absl::Time expires_;
};

}  // namespace wicket::edge
