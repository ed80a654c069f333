#include "tools/wicket/connection.h"

#include <sys/socket.h>
#include <sys/un.h>

#include <CLI/CLI.hpp>
#include <atomic>
#include <boost/beast/core/flat_buffer.hpp>
#include <boost/beast/http.hpp>
#include <boost/json.hpp>
#include <iostream>
#include <optional>
#include <thread>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "control/api.h"
#include "http/server.h"
#include "http/transport.h"
#include "tools/wicket/commands.h"
#include "tools/wicket/remote.h"

namespace wicket::tools {
namespace {

namespace beast_http = boost::beast::http;
using boost::beast::error_code;

// The daemon's own request handling on an open store, at the other end of a pair of sockets.
struct Offline {
  explicit Offline(store::Store opened)
      : store(std::move(opened)), committer(&store), roster(&committer, &devices, &events) {}
  ~Offline() {
    stopping = true;
    if (transport) transport->Shutdown();
    if (thread.joinable()) thread.join();
  }
  void Serve(Fd fd) {
    transport = std::make_unique<http::Transport>(std::move(fd));
    thread = std::thread([this] {
      http::ServeConnection(
          *transport, [&api = api](http::Exchange& exchange) { api.Handle(exchange); }, stopping,
          [](const http::Exchange&) { return http::Role::kWrite; });
    });
  }

  store::Store store;
  roster::Devices devices;  // nothing is installed
  event::EventLog events;
  store::Committer committer;
  roster::Roster roster;
  control::Api api{{.roster = &roster, .devices = &devices, .store = &store, .events = &events}};
  std::unique_ptr<http::Transport> transport;
  std::atomic<bool> stopping{false};
  std::thread thread;
};

absl::StatusOr<Fd> ConnectTo(const std::string& path) {
  sockaddr_un address{.sun_family = AF_UNIX, .sun_path = {}};
  if (path.size() >= sizeof(address.sun_path)) {
    return absl::InvalidArgumentError(absl::StrCat(path, ": too long for a socket"));
  }
  path.copy(address.sun_path, path.size());
  Fd fd(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  if (connect(fd.get(), reinterpret_cast<sockaddr*>(&address), sizeof(address)) != 0) {
    const int error = errno;
    const std::string call = absl::StrCat("connect(", path, "): ", strerror(error));
    if (error == ECONNREFUSED) return absl::NotFoundError(call);  // its owner has gone
    return ErrnoStatus(error, absl::StrCat("connect(", path, ")"));
  }
  return fd;
}

}  // namespace

struct Connection::State {
  ConnectionOptions options;
  std::string where;
  std::string token;  // of a remote
  std::unique_ptr<Offline> offline;
  std::unique_ptr<http::Transport> transport;
  boost::beast::flat_buffer buffer;
};

Connection::Connection(std::unique_ptr<State> state) : state_(std::move(state)) {}
Connection::~Connection() = default;
bool Connection::online() const { return state_->offline == nullptr; }
const std::string& Connection::where() const { return state_->where; }

absl::StatusOr<std::unique_ptr<Connection>> Connection::OpenOnline(
    const ConnectionOptions& options) {
  auto state = std::make_unique<State>();
  state->options = options;
  if (!options.remote.empty()) {
    WICKET_ASSIGN_OR_RETURN(const Remote remote, FindRemote(options.remote));
    WICKET_ASSIGN_OR_RETURN(state->transport, ConnectTo(remote));
    state->where = absl::StrCat("wicket-edge at ", remote.host, " port ", remote.port);
    state->token = remote.token;
    return std::unique_ptr<Connection>(new Connection(std::move(state)));
  }
  WICKET_ASSIGN_OR_RETURN(Fd fd, ConnectTo(options.socket));
  state->where = absl::StrCat("wicketd at ", options.socket);
  state->transport = std::make_unique<http::Transport>(std::move(fd));
  return std::unique_ptr<Connection>(new Connection(std::move(state)));
}

absl::StatusOr<std::unique_ptr<Connection>> Connection::Open(const ConnectionOptions& options) {
  if (!options.remote.empty()) return OpenOnline(options);
  absl::Status unreachable = absl::UnavailableError("not tried");
  if (!options.offline) {
    auto online = OpenOnline(options);
    if (online.ok()) return online;
    unreachable = online.status();
  }
  auto opened = store::Store::Open({.path = options.store, .create = options.offline});
  if (!opened.ok()) {
    return absl::UnavailableError(absl::StrCat("no wicketd answers (", unreachable.message(),
                                               "), and no store: ", opened.status().message()));
  }
  // A daemon that only cannot be reached must not find peers changed behind its back.
  const absl::Status alone = opened->LockForDaemon();
  if (!alone.ok() && !options.offline) {
    return absl::UnavailableError(
        absl::IsFailedPrecondition(alone)
            ? absl::StrCat(unreachable.message(), ", but a wicketd serves the store ",
                           options.store, " (name its control socket with --socket)")
            : absl::StrCat(unreachable.message(), ", but ", alone.message()));
  }
  int ends[2];
  if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) != 0) {
    return ErrnoStatus(errno, "socketpair()");
  }
  auto state = std::make_unique<State>();
  state->options = options;
  state->where = absl::StrCat("the store ", options.store, ", offline");
  state->offline = std::make_unique<Offline>(std::move(*opened));
  state->offline->Serve(Fd(ends[0]));
  state->transport = std::make_unique<http::Transport>(Fd(ends[1]));
  return std::unique_ptr<Connection>(new Connection(std::move(state)));
}

absl::StatusOr<std::string> Connection::Device(const PublicKey* key) {
  if (!state_->options.device.empty()) return state_->options.device;
  if (state_->offline) {
    // The store knows whose a peer is; of a new one it cannot.
    const auto snapshot = state_->offline->store.NewSnapshot();
    if (key != nullptr && snapshot.ok()) {
      if (const auto peer = snapshot->FindPeer(*key); peer.ok()) return peer->device;
    }
    std::string device, cursor;
    if (snapshot.ok()) {
      snapshot
          ->List({}, 1, &cursor,
                 [&](const store::Peer& peer) {
                   device = peer.device;
                   return false;
                 })
          .IgnoreError();
    }
    if (!device.empty() && key == nullptr) return device;
    return absl::InvalidArgumentError("which device? wicketd does not run: name one with --device");
  }
  WICKET_ASSIGN_OR_RETURN(const std::vector<std::string> devices, Devices());
  if (devices.size() == 1) return devices[0];
  for (const std::string& device : devices) {
    if (key == nullptr) break;
    WICKET_ASSIGN_OR_RETURN(const Answer found, Call("GET", PathOf(device, "/peers/", key)));
    if (found.status == 200) return device;
  }
  return absl::InvalidArgumentError("which device? There are several: name one with --device");
}

absl::StatusOr<std::vector<std::string>> Connection::Devices() {
  WICKET_ASSIGN_OR_RETURN(const Answer answer, Call("GET", "/v1/status"));
  WICKET_RETURN_IF_ERROR(ErrorOf(answer));
  boost::json::error_code error;
  const auto status = boost::json::parse(answer.text, error);
  std::vector<std::string> devices;
  if (!error && status.is_object() && status.get_object().contains("devices")) {
    for (const auto& device : status.at("devices").as_array()) {
      devices.emplace_back(device.at("name").as_string());
    }
  }
  return devices;
}

absl::StatusOr<Answer> Connection::Call(const std::string& method, const std::string& target,
                                        const std::string& body) {
  Answer answer;
  bool sent = false;
  const auto whole = [&]() -> std::string { return std::exchange(sent, true) ? "" : body; };
  WICKET_ASSIGN_OR_RETURN(answer.status,
                          Stream(method, target, whole, [&](absl::string_view piece) {
                            answer.text.append(piece.data(), piece.size());
                            return true;
                          }));
  return answer;
}

absl::StatusOr<unsigned> Connection::Stream(const std::string& method, const std::string& target,
                                            const std::function<std::string()>& body,
                                            const std::function<bool(absl::string_view)>& piece) {
  const auto failed = [&](absl::string_view step, const error_code& error) {
    return absl::UnavailableError(absl::StrCat(state_->where, ": ", step, ": ", error.message()));
  };
  http::Transport& transport = *state_->transport;
  error_code error;
  beast_http::request<beast_http::empty_body> request;
  if (!state_->token.empty()) {
    request.set(beast_http::field::authorization, absl::StrCat("Bearer ", state_->token));
  }
  request.method_string(method);
  request.target(target);
  request.set(beast_http::field::host, "localhost");
  request.chunked(method == "PUT" || method == "POST");
  beast_http::request_serializer<beast_http::empty_body> serializer(request);
  transport.ExpireIn(state_->options.patience);
  beast_http::write_header(transport, serializer, error);
  if (error) return failed("sending", error);
  if (request.chunked()) {
    for (std::string text = body(); !text.empty() && !error; text = body()) {
      transport.ExpireIn(state_->options.patience);
      boost::asio::write(transport, beast_http::make_chunk(boost::asio::buffer(text)), error);
      explicit_bzero(text.data(), text.size());
    }
    if (!error) boost::asio::write(transport, beast_http::make_chunk_last(), error);
    // The server may have answered before it had read everything.
    error = {};
  }
  beast_http::response_parser<beast_http::buffer_body> parser;
  parser.body_limit(boost::none);
  parser.skip(method == "HEAD");
  transport.ExpireIn(state_->options.patience);
  beast_http::read_header(transport, state_->buffer, parser, error);
  if (error) return failed("reading the answer", error);
  char bytes[16 << 10];
  while (!parser.is_done()) {
    parser.get().body().data = bytes;
    parser.get().body().size = sizeof(bytes);
    transport.ExpireIn(state_->options.patience);
    beast_http::read_some(transport, state_->buffer, parser, error);
    if (error == beast_http::error::need_buffer) error = {};
    if (error) return failed("the answer ended early", error);
    if (!piece({bytes, sizeof(bytes) - parser.get().body().size})) break;
  }
  return parser.get().result_int();
}

std::string Escape(absl::string_view text) {
  std::string out;
  for (const char c : text) {
    if (absl::ascii_isalnum(static_cast<unsigned char>(c)) || c == '-' || c == '_' || c == '.') {
      out.push_back(c);
    } else {
      absl::StrAppendFormat(&out, "%%%02X", static_cast<unsigned char>(c));
    }
  }
  return out;
}

std::string PathOf(absl::string_view device, absl::string_view rest, const PublicKey* key) {
  return absl::StrCat("/v1/devices/", Escape(device), rest, key ? Escape(ToBase64(*key)) : "");
}

int Fail(const absl::Status& status) {
  std::cerr << "wicket: " << status.message() << "\n";
  return absl::IsInvalidArgument(status) ? kUsage : kFailure;
}

// An error answer as a status; ok otherwise.
absl::Status ErrorOf(const Answer& answer) {
  if (answer.status < 400) return absl::OkStatus();
  boost::json::error_code error;
  const auto value = boost::json::parse(answer.text, error);
  std::string message = absl::StrCat("HTTP status ", answer.status);
  if (!error && value.is_object() && value.get_object().contains("error")) {
    message = std::string(value.at("error").at("message").as_string());
  }
  if (answer.status == 400) return absl::InvalidArgumentError(message);
  if (answer.status == 409) return absl::AlreadyExistsError(message);
  return answer.status == 404 ? absl::NotFoundError(message) : absl::InternalError(message);
}

absl::StatusOr<std::unique_ptr<Connection>> OpenTelling(const ConnectionOptions& options) {
  auto connection = Connection::Open(options);
  if (connection.ok() && !(*connection)->online()) {
    std::cerr << "wicket: wicketd does not run; working on " << (*connection)->where() << "\n";
  }
  return connection;
}

absl::StatusOr<PublicKey> ReadKey(const std::string& text) {
  const auto key = ParsePublicKey(text);
  if (key) return *key;
  return absl::InvalidArgumentError(
      absl::StrCat("\"", text, "\" is not a public key (44 characters of base64)"));
}

std::string CheckKey(const std::string& text) {
  return std::string(ReadKey(text).status().message());
}

absl::StatusOr<Answer> CallForPeer(Connection& connection, const std::string& method,
                                   const std::string& text, const std::string& rest,
                                   const std::string& body) {
  WICKET_ASSIGN_OR_RETURN(const PublicKey key, ReadKey(text));
  WICKET_ASSIGN_OR_RETURN(const std::string device, connection.Device(&key));
  WICKET_ASSIGN_OR_RETURN(Answer answer,
                          connection.Call(method, PathOf(device, "/peers/", &key) + rest, body));
  WICKET_RETURN_IF_ERROR(ErrorOf(answer));
  return answer;
}

void AddConnectionOptions(CLI::App* command, ConnectionOptions* options) {
  command->add_option("--socket", options->socket, "wicketd's control socket")
      ->type_name("PATH")
      ->capture_default_str();
  command->add_option("--store", options->store, "the store, for when no wicketd runs")
      ->type_name("DIR")
      ->capture_default_str();
  command->add_option("--device", options->device, "the device, where there are several")
      ->type_name("NAME");
  AddRemoteOption(command, &options->remote);
}

void AddRemoteOption(CLI::App* command, std::string* remote) {
  command
      ->add_option("--remote", *remote,
                   "a gateway elsewhere, through its wicket-edge: a name of remotes.toml")
      ->envname("WICKET_REMOTE")
      ->type_name("NAME");
}

void AddOfflineOption(CLI::App* command, ConnectionOptions* options) {
  command->add_flag("--offline", options->offline,
                    "work on the store itself, also while a wicketd runs");
}

}  // namespace wicket::tools
