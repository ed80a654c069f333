#include "wgdev/uapi.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <deque>

#include "absl/cleanup/cleanup.h"
#include "absl/strings/escaping.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "base/fd.h"
#include "crypto/curve25519.h"

namespace wicket::wgdev {
namespace {

constexpr size_t kPeersPerMessageMax = 64;
constexpr int kAnswerTimeout_s = 10;
constexpr size_t kLineBytesMax = 4096;

void Wipe(std::string* text) { explicit_bzero(text->data(), text->size()); }

void AppendHex(std::string* out, const uint8_t* bytes, size_t n) {
  constexpr char kDigits[] = "0123456789abcdef";
  for (size_t i = 0; i < n; ++i) {
    out->push_back(kDigits[bytes[i] >> 4]);
    out->push_back(kDigits[bytes[i] & 15]);
  }
}

int Nibble(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return -1;
}

bool ReadHexKey(absl::string_view hex, uint8_t* out) {
  if (hex.size() != 2 * kKeyBytes) return false;
  for (size_t i = 0; i < kKeyBytes; ++i) {
    const int high = Nibble(hex[2 * i]), low = Nibble(hex[2 * i + 1]);
    if (high < 0 || low < 0) return false;
    out[i] = static_cast<uint8_t>(high << 4 | low);
  }
  return true;
}

absl::StatusOr<Fd> Connect(const std::string& name) {
  const std::string path = UapiSocketPath(name);
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  if (path.size() >= sizeof(address.sun_path)) {
    return absl::InvalidArgumentError(absl::StrCat("connect(", path, "): path too long"));
  }
  memcpy(address.sun_path, path.c_str(), path.size() + 1);
  Fd fd(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  if (!fd.valid()) return ErrnoStatus(errno, "socket(AF_UNIX)");
  const timeval timeout{kAnswerTimeout_s, 0};
  setsockopt(fd.get(), SOL_SOCKET, SO_RCVTIMEO, &timeout, sizeof(timeout));
  setsockopt(fd.get(), SOL_SOCKET, SO_SNDTIMEO, &timeout, sizeof(timeout));
  if (connect(fd.get(), reinterpret_cast<sockaddr*>(&address), sizeof(address)) != 0) {
    // A socket that nobody listens on belongs to a device that is gone.
    const int cause = errno == ECONNREFUSED ? ENODEV : errno;
    return ErrnoStatus(cause, absl::StrCat("connect(", path, ")"),
                       "is the user-space WireGuard running?");
  }
  return fd;
}

absl::Status SendAll(int fd, absl::string_view bytes) {
  while (!bytes.empty()) {
    const ssize_t sent = send(fd, bytes.data(), bytes.size(), MSG_NOSIGNAL);
    if (sent < 0 && errno == EINTR) continue;
    if (sent < 0) return ErrnoStatus(errno == EPIPE ? ENODEV : errno, "send(uapi)");
    bytes.remove_prefix(static_cast<size_t>(sent));
  }
  return absl::OkStatus();
}

// Returns: the number of bytes received, at least one.
absl::StatusOr<size_t> Receive(int fd, char* buffer, size_t bytes) {
  ssize_t received;
  do {
    received = recv(fd, buffer, bytes, 0);
  } while (received < 0 && errno == EINTR);
  if (received > 0) return static_cast<size_t>(received);
  if (received == 0) return ErrnoStatus(ENODEV, "recv(uapi)", "the answer ended early");
  return ErrnoStatus(errno == ECONNRESET ? ENODEV : errno, "recv(uapi)",
                     errno == EAGAIN ? "no answer in 10 s" : "");
}

// Reads an answer until `enough` returns true. Returns: whether it was read to its end.
absl::StatusOr<bool> ReadAnswer(int fd, UapiAnswer* answer, std::vector<PeerStats>* peers,
                                const std::function<bool()>& enough) {
  char buffer[32 * 1024];
  const absl::Cleanup wipe = [&] { explicit_bzero(buffer, sizeof(buffer)); };
  while (!enough()) {
    WICKET_ASSIGN_OR_RETURN(const size_t received, Receive(fd, buffer, sizeof(buffer)));
    WICKET_ASSIGN_OR_RETURN(const bool done,
                            answer->Consume(absl::string_view(buffer, received), peers));
    if (done) return true;
  }
  return false;
}

// The answer is read to its end before any other request: wireguard-go holds its lock while it
// writes, so a request of ours in between would deadlock with our own reading. The answer is parsed
// piece by piece, between installs.
class UapiDump : public Dump {
 public:
  static absl::StatusOr<std::unique_ptr<Dump>> Read(const Fd& fd,
                                                    const std::function<void()>& progress) {
    auto dump = std::make_unique<UapiDump>();
    size_t filled = kPieceBytes;             // bytes in the last piece
    for (std::string end; end != "\n\n";) {  // an empty line occurs only at the end of an answer
      if (filled == kPieceBytes) {
        dump->pieces_.emplace_back(kPieceBytes, '\0');
        filled = 0;
      }
      std::string& piece = dump->pieces_.back();
      WICKET_ASSIGN_OR_RETURN(const size_t received,
                              Receive(fd.get(), &piece[filled], kPieceBytes - filled));
      const size_t tail = std::min<size_t>(received, 2);
      end = end.substr(end.size() - std::min(end.size(), 2 - tail)) +
            piece.substr(filled + received - tail, tail);
      filled += received;
      if (progress) progress();
    }
    dump->pieces_.back().resize(filled);
    return std::unique_ptr<Dump>(std::move(dump));
  }
  ~UapiDump() override {
    for (std::string& piece : pieces_) Wipe(&piece);
  }

  absl::StatusOr<bool> Next(std::vector<PeerStats>* peers) override {
    if (pieces_.empty()) return false;
    const absl::StatusOr<bool> done = answer_.Consume(pieces_.front(), peers);
    Wipe(&pieces_.front());
    pieces_.pop_front();
    WICKET_RETURN_IF_ERROR(done.status());
    if (!*done && pieces_.empty())
      return absl::InvalidArgumentError("uapi: an answer after its end");
    if (!*done) return true;
    public_key_ = crypto::DerivePublicKey(answer_.info.private_key);
    answer_.info.private_key = {};
    return false;
  }
  // wireguard-go writes its answer under its own locks.
  bool interrupted() const override { return false; }
  PublicKey public_key() const override { return public_key_; }
  uint16_t listen_port() const override { return answer_.info.listen_port; }

 private:
  static constexpr size_t kPieceBytes = 32 * 1024;  // about a hundred peers

  std::deque<std::string> pieces_;  // not parsed yet; contain secrets
  UapiAnswer answer_;
  PublicKey public_key_;
};

class UapiDevice : public Device {
 public:
  UapiDevice(std::string name, std::function<void()> progress)
      : name_(std::move(name)), progress_(std::move(progress)) {}

  absl::string_view backend() const override { return "uapi"; }

  absl::StatusOr<DeviceInfo> ReadInfo() override {
    UapiAnswer answer;
    std::vector<PeerStats> peers;
    // The lines of the device come before those of its peers; the rest is not read.
    WICKET_RETURN_IF_ERROR(Get(&answer, &peers, [&] { return !peers.empty(); }));
    DeviceInfo info = std::move(answer.info);
    info.ifindex = InterfaceIndex(name_);
    if (info.ifindex == 0) return ErrnoStatus(ENODEV, absl::StrCat("if_nametoindex(", name_, ")"));
    info.public_key = crypto::DerivePublicKey(info.private_key);
    return info;
  }

  absl::StatusOr<std::unique_ptr<Dump>> StartDump() override {
    WICKET_ASSIGN_OR_RETURN(const Fd fd, Connect(name_));
    WICKET_RETURN_IF_ERROR(SendAll(fd.get(), "get=1\n\n"));
    return UapiDump::Read(fd, progress_);
  }

  std::vector<absl::Status> Install(std::span<const PeerInstall> peers) override {
    return ApplyBisecting(peers.size(), kPeersPerMessageMax, [&](size_t begin, size_t end) {
      std::string request = "set=1\n";
      for (const PeerInstall& peer : peers.subspan(begin, end - begin)) AppendPeer(&request, peer);
      return Set(std::move(request));
    });
  }

  std::vector<absl::Status> SetKeepalives(std::span<const PeerConfig* const> peers) override {
    return ApplyBisecting(peers.size(), kPeersPerMessageMax, [&](size_t begin, size_t end) {
      std::string request = "set=1\n";
      for (const PeerConfig* peer : peers.subspan(begin, end - begin)) {
        AppendKeepalive(&request, peer->public_key, peer->persistent_keepalive_s);
      }
      return Set(std::move(request));
    });
  }

  std::vector<absl::Status> Remove(std::span<const PublicKey> keys) override {
    return ApplyBisecting(keys.size(), kPeersPerMessageMax, [&](size_t begin, size_t end) {
      std::string request = "set=1\n";
      for (const PublicKey& key : keys.subspan(begin, end - begin)) {
        AppendKey(&request, "public_key=", key.bytes.data());
        request += "remove=true\n";
      }
      return Set(std::move(request));
    });
  }

 private:
  absl::Status Get(UapiAnswer* answer, std::vector<PeerStats>* peers,
                   const std::function<bool()>& enough) {
    WICKET_ASSIGN_OR_RETURN(const Fd fd, Connect(name_));
    WICKET_RETURN_IF_ERROR(SendAll(fd.get(), "get=1\n\n"));
    return ReadAnswer(fd.get(), answer, peers, enough).status();
  }

  static void AppendKey(std::string* out, const char* name, const uint8_t* key) {
    *out += name;
    AppendHex(out, key, kKeyBytes);
    out->push_back('\n');
  }

  static void AppendKeepalive(std::string* out, const PublicKey& key, uint16_t seconds) {
    AppendKey(out, "public_key=", key.bytes.data());
    absl::StrAppend(out, "update_only=true\npersistent_keepalive_interval=", seconds, "\n");
  }

  static void AppendPeer(std::string* out, const PeerInstall& peer) {
    const PeerConfig& config = *peer.config;
    const Secret<kKeyBytes> none;
    AppendKey(out, "public_key=", config.public_key.bytes.data());
    AppendKey(out,
              "preshared_key=", config.preshared_key ? config.preshared_key->data() : none.data());
    if (peer.endpoint.address.family != Family::kNone) {
      absl::StrAppend(out, "endpoint=", ToString(peer.endpoint), "\n");
    }
    absl::StrAppend(out, "persistent_keepalive_interval=",
                    peer.initiate || peer.hold_keepalive ? 0 : config.persistent_keepalive_s,
                    peer.replace_allowed_ips ? "\nreplace_allowed_ips=true\n" : "\n");
    for (const Prefix& prefix : config.allowed_ips) {
      absl::StrAppend(out, "allowed_ip=", ToString(prefix), "\n");
    }
    if (peer.initiate) {
      // Raising a keepalive from 0 sends a packet immediately, and therefore an initiation.
      AppendKeepalive(out, config.public_key, std::max(uint16_t{1}, config.persistent_keepalive_s));
      if (config.persistent_keepalive_s == 0 || peer.hold_keepalive) {
        AppendKeepalive(out, config.public_key, 0);
      }
    }
  }

  absl::Status Set(std::string request) {
    const absl::Cleanup wipe = [&] { Wipe(&request); };
    request += "\n";
    // One connection serves many requests. A stale connection is replaced.
    const bool reused = sets_.valid();
    absl::Status status = Exchange(request);
    if (reused && absl::IsNotFound(status)) status = Exchange(request);
    return status;
  }

  absl::Status Exchange(const std::string& request) {
    if (!sets_.valid()) {
      WICKET_ASSIGN_OR_RETURN(sets_, Connect(name_));
    }
    // Closed on return unless a whole answer was read: the rest of it would precede the next one.
    Fd fd = std::move(sets_);
    WICKET_RETURN_IF_ERROR(SendAll(fd.get(), request));
    UapiAnswer answer;
    std::vector<PeerStats> none;
    const absl::StatusOr<bool> read = ReadAnswer(fd.get(), &answer, &none, [] { return false; });
    // A refusal is a whole answer as well.
    if (read.ok() || answer.complete()) sets_ = std::move(fd);
    return read.status();
  }

  std::string name_;
  std::function<void()> progress_;
  Fd sets_;
};

}  // namespace

std::string UapiSocketPath(const std::string& name) {
  return absl::StrCat("/var/run/wireguard/", name, ".sock");
}

absl::StatusOr<bool> UapiAnswer::Consume(absl::string_view bytes, std::vector<PeerStats>* peers) {
  while (!bytes.empty()) {
    const size_t newline = bytes.find('\n');
    line_.append(bytes.data(), std::min(newline, bytes.size()));
    if (line_.size() > kLineBytesMax) return absl::InvalidArgumentError("uapi: a line has no end");
    if (newline == absl::string_view::npos) return false;
    bytes.remove_prefix(newline + 1);
    const absl::Cleanup next = [this] {
      Wipe(&line_);
      line_.clear();
    };
    if (!line_.empty()) {
      WICKET_RETURN_IF_ERROR(ConsumeLine(line_, peers));
      continue;
    }
    if (in_peer_) peers->push_back(peer_);
    in_peer_ = false;
    complete_ = true;
    if (error_number_ > 0) return ErrnoStatus(error_number_, "uapi request");
    if (error_number_ < 0) return absl::InvalidArgumentError("uapi: the answer has no errno line");
    return true;
  }
  return false;
}

absl::Status UapiAnswer::ConsumeLine(absl::string_view line, std::vector<PeerStats>* peers) {
  const size_t equals = line.find('=');
  const absl::string_view name = line.substr(0, equals);
  const absl::string_view value =
      equals == absl::string_view::npos ? absl::string_view() : line.substr(equals + 1);
  bool ok = true;
  if (name == "errno") {
    ok = absl::SimpleAtoi(value, &error_number_);
    error_number_ = std::abs(error_number_);  // wireguard-go answers with negative numbers
  } else if (name == "private_key") {
    ok = ReadHexKey(value, info.private_key.data());
  } else if (name == "listen_port") {
    uint32_t port = 0;
    ok = absl::SimpleAtoi(value, &port) && port <= 65535;
    info.listen_port = static_cast<uint16_t>(port);
  } else if (name == "public_key") {
    if (in_peer_) peers->push_back(peer_);
    peer_ = {};
    in_peer_ = true;
    ok = ReadHexKey(value, peer_.public_key.bytes.data());
  } else if (name == "preshared_key") {
    Secret<kKeyBytes> key;
    ok = ReadHexKey(value, key.data());
    peer_.digest.AddPresharedKey(key.data());
  } else if (name == "persistent_keepalive_interval") {
    uint32_t seconds = 0;
    ok = absl::SimpleAtoi(value, &seconds) && seconds <= 65535;
    peer_.digest.AddKeepalive(static_cast<uint16_t>(seconds));
  } else if (name == "allowed_ip") {
    if (const auto prefix = ParsePrefix(value)) peer_.digest.AddAllowedIp(*prefix);
  } else if (name == "endpoint") {
    if (const auto endpoint = ParseEndpoint(value)) peer_.endpoint = *endpoint;
  } else if (name == "last_handshake_time_sec") {
    int64_t seconds = 0;
    ok = absl::SimpleAtoi(value, &seconds);
    peer_.last_handshake += absl::Seconds(seconds);
  } else if (name == "last_handshake_time_nsec") {
    int64_t nanos = 0;
    ok = absl::SimpleAtoi(value, &nanos);
    peer_.last_handshake += absl::Nanoseconds(nanos);
  } else if (name == "rx_bytes") {
    ok = absl::SimpleAtoi(value, &peer_.received_bytes);
  } else if (name == "tx_bytes") {
    ok = absl::SimpleAtoi(value, &peer_.sent_bytes);
  }  // other lines, and those of later versions, are ignored
  return ok ? absl::OkStatus()
            : absl::InvalidArgumentError(absl::StrCat("uapi: cannot read the value of ", name));
}

absl::StatusOr<std::unique_ptr<Device>> OpenUapi(const std::string& name,
                                                 std::function<void()> progress) {
  auto device = std::make_unique<UapiDevice>(name, std::move(progress));
  WICKET_RETURN_IF_ERROR(device->ReadInfo().status());
  return device;
}

}  // namespace wicket::wgdev
