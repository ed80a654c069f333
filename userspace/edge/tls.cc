#include "edge/tls.h"

#include <openssl/err.h>
#include <openssl/x509.h>
#include <openssl/x509_vfy.h>
#include <poll.h>
#include <sys/socket.h>
#include <time.h>

#include <algorithm>
#include <boost/asio/error.hpp>

#include "absl/strings/str_cat.h"
#include "base/address.h"
#include "base/clock.h"

namespace wicket::edge {
namespace {

using boost::beast::error_code;

std::string TlsError() {
  char text[256];
  ERR_error_string_n(ERR_get_error(), text, sizeof(text));
  return text;
}

absl::Status Unusable(const char* key, const std::string& path) {
  return absl::InvalidArgumentError(absl::StrCat(key, ": ", path, ": ", TlsError()));
}

// A key that needs a passphrase is refused; nobody is there to be asked for it.
int NoPassphrase(char*, int, int, void*) { return -1; }

// Errors: name the file that cannot be used.
absl::Status UseCertificate(SSL_CTX* context, const std::string& certificate,
                            const std::string& key) {
  SSL_CTX_set_default_passwd_cb(context, NoPassphrase);
  if (SSL_CTX_use_certificate_chain_file(context, certificate.c_str()) != 1) {
    return Unusable("tls_certificate", certificate);
  }
  if (SSL_CTX_use_PrivateKey_file(context, key.c_str(), SSL_FILETYPE_PEM) != 1) {
    return Unusable("tls_key", key);
  }
  if (SSL_CTX_check_private_key(context) == 1) return absl::OkStatus();
  return absl::InvalidArgumentError(
      absl::StrCat("tls_key: ", key, " is not the key of ", certificate));
}

absl::Time ExpiryOf(const X509* certificate) {
  tm time{};
  if (ASN1_TIME_to_tm(X509_get0_notAfter(certificate), &time) != 1) return absl::InfinitePast();
  return absl::FromTM(time, absl::UTCTimeZone());
}

}  // namespace

TlsTransport::TlsTransport(Fd fd, std::shared_ptr<SSL_CTX> context)
    : Transport(std::move(fd)), context_(std::move(context)), ssl_(SSL_new(context_.get())) {
  SSL_set_fd(ssl_.get(), this->fd());
}

absl::Status TlsTransport::Accept() {
  error_code error;
  Run([this] { return SSL_accept(ssl_.get()); }, &error);
  if (!error) return absl::OkStatus();
  return absl::UnauthenticatedError(absl::StrCat("TLS: ", error.message()));
}

absl::Status TlsTransport::Connect(const std::string& host) {
  SSL* ssl = ssl_.get();
  SSL_set_verify(ssl, SSL_VERIFY_PEER, nullptr);
  const bool address = ParseAddress(host).has_value();
  const bool named = address ? X509_VERIFY_PARAM_set1_ip_asc(SSL_get0_param(ssl), host.c_str()) == 1
                             : SSL_set1_host(ssl, host.c_str()) == 1 &&
                                   SSL_set_tlsext_host_name(ssl, host.c_str()) == 1;
  if (!named) return absl::InvalidArgumentError(absl::StrCat("TLS: ", host, ": ", TlsError()));
  error_code error;
  Run([ssl] { return SSL_connect(ssl); }, &error);
  if (!error) return absl::OkStatus();
  const long why = SSL_get_verify_result(ssl);
  return absl::UnauthenticatedError(
      absl::StrCat("TLS with ", host, ": ",
                   why != X509_V_OK ? X509_verify_cert_error_string(why) : error.message()));
}

void TlsTransport::Refuse(absl::string_view) { shutdown(fd(), SHUT_WR); }

// Runs a step of OpenSSL's until it need not wait. Returns: bytes; 0 with an error.
template <typename Step>
size_t TlsTransport::Run(Step step, error_code* error) {
  for (;;) {
    ERR_clear_error();
    const int n = step();
    if (n > 0) {
      *error = {};
      return static_cast<size_t>(n);
    }
    const int why = SSL_get_error(ssl_.get(), n);
    if (why == SSL_ERROR_WANT_READ || why == SSL_ERROR_WANT_WRITE) {
      if (!Wait(why == SSL_ERROR_WANT_READ ? POLLIN : POLLOUT, error)) return 0;
      continue;
    }
    *error = boost::asio::error::eof;
    if (why != SSL_ERROR_ZERO_RETURN) *error = {EPROTO, boost::system::system_category()};
    return 0;
  }
}

size_t TlsTransport::Read(void* data, size_t bytes, error_code* error) {
  const int most = static_cast<int>(std::min<size_t>(bytes, 1 << 30));
  return Run([&] { return SSL_read(ssl_.get(), data, most); }, error);
}

size_t TlsTransport::Write(const void* data, size_t bytes, error_code* error) {
  const int most = static_cast<int>(std::min<size_t>(bytes, 1 << 30));
  return Run([&] { return SSL_write(ssl_.get(), data, most); }, error);
}

absl::StatusOr<std::shared_ptr<SSL_CTX>> MakeClientContext(const std::string& ca,
                                                           const std::string& certificate,
                                                           const std::string& key) {
  std::shared_ptr<SSL_CTX> context(SSL_CTX_new(TLS_client_method()), SSL_CTX_free);
  SSL_CTX_set_min_proto_version(context.get(), TLS1_3_VERSION);
  if (ca.empty() ? SSL_CTX_set_default_verify_paths(context.get()) != 1
                 : SSL_CTX_load_verify_locations(context.get(), ca.c_str(), nullptr) != 1) {
    return Unusable("ca", ca);
  }
  if (certificate.empty()) return context;
  WICKET_RETURN_IF_ERROR(UseCertificate(context.get(), certificate, key));
  return context;
}

absl::StatusOr<TlsContext> TlsContext::Load(const std::string& certificate, const std::string& key,
                                            const std::string& client_ca) {
  TlsContext tls;
  tls.context_ = std::shared_ptr<SSL_CTX>(SSL_CTX_new(TLS_server_method()), SSL_CTX_free);
  SSL_CTX* context = tls.context_.get();
  SSL_CTX_set_min_proto_version(context, TLS1_3_VERSION);
  // A ticket would carry a client's rights on after a reload took them away.
  SSL_CTX_set_num_tickets(context, 0);
  WICKET_RETURN_IF_ERROR(UseCertificate(context, certificate, key));
  tls.expires_ = ExpiryOf(SSL_CTX_get0_certificate(context));
  if (tls.expires_ <= WallNow()) {
    return absl::FailedPreconditionError(
        absl::StrCat("tls_certificate: ", certificate, ": it expired at ",
                     absl::FormatTime("%Y-%m-%d %H:%M:%S UTC", tls.expires_, absl::UTCTimeZone()),
                     "; renew it, or correct the clock"));
  }
  if (client_ca.empty()) return tls;
  if (SSL_CTX_load_verify_locations(context, client_ca.c_str(), nullptr) != 1) {
    return Unusable("client_ca", client_ca);
  }
  SSL_CTX_set_client_CA_list(context, SSL_load_client_CA_file(client_ca.c_str()));
  SSL_CTX_set_verify(context, SSL_VERIFY_PEER, nullptr);  // one that has none may have a token
  return tls;
}

std::string TlsContext::ClientName(const TlsTransport& transport) const {
  SSL* ssl = transport.ssl();
  X509* certificate = SSL_get0_peer_certificate(ssl);
  if (certificate == nullptr || SSL_get_verify_result(ssl) != X509_V_OK) return "";
  // Verified once more: it may have expired since, or its authority is not trusted any more.
  const std::unique_ptr<X509_STORE_CTX, void (*)(X509_STORE_CTX*)> verify(X509_STORE_CTX_new(),
                                                                          X509_STORE_CTX_free);
  if (X509_STORE_CTX_init(verify.get(), SSL_CTX_get_cert_store(context_.get()), certificate,
                          SSL_get_peer_cert_chain(ssl)) != 1 ||
      X509_STORE_CTX_set_default(verify.get(), "ssl_client") != 1 ||
      X509_verify_cert(verify.get()) != 1) {
    return "";
  }
  char name[256];
  const int bytes = X509_NAME_get_text_by_NID(X509_get_subject_name(certificate), NID_commonName,
                                              name, sizeof(name));
  return bytes <= 0 ? "" : std::string(name, static_cast<size_t>(bytes));
}

std::unique_ptr<TlsTransport> TlsContext::Wrap(Fd fd) const {
  return std::make_unique<TlsTransport>(std::move(fd), context_);
}

}  // namespace wicket::edge
