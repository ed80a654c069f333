// wicket_provision: the cost of creating and deleting a peer durably.
//
//   wicket_provision --peers N [--rounds R] [--seconds S] [--lookups N] [--brief] [--json FILE]
//   wicket_provision --ndjson N > FILE      writes peers to import, and does no more
//
// Each comparison runs its sides in turn, round by round, and reports medians over rounds:
//   1  64 writers by group commit | 64 writers with a transaction each | SQLite (WAL,
//      synchronous=FULL, a transaction each; the peer cache of the published design), each
//      with no peers stored, and again with 500 000
//   2  a create, and a delete, over the control socket: N peers stored | 1 000 stored
//   3  opening the store and looking up a peer: N stored | 1 000 stored
//   4  look-ups: the store | SQLite (mapped, a prepared statement), by the number of peers
//
// A measure has `samples`, and `against_samples` of the other side: one of each a round.
#include <sqlite3.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <atomic>
#include <boost/beast/core/flat_buffer.hpp>
#include <boost/beast/http.hpp>
#include <boost/json.hpp>
#include <filesystem>
#include <fstream>
#include <functional>
#include <iostream>
#include <mutex>
#include <random>
#include <thread>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/time/clock.h"
#include "bench/keys.h"
#include "control/api.h"
#include "http/server.h"
#include "http/transport.h"
#include "http/unix_gate.h"

namespace wicket {
namespace {

namespace beast_http = boost::beast::http;
constexpr int kWriters = 64;

Prefix AddressOf(uint64_t n) {
  return *ParsePrefix(absl::StrCat("fd00::", absl::Hex(n >> 32), ":", absl::Hex((n >> 16) & 0xffff),
                                   ":", absl::Hex(n & 0xffff)));
}

store::Peer PeerOf(uint64_t n) {
  store::Peer peer;
  peer.config.public_key = KeyOf(n);
  peer.config.allowed_ips = {AddressOf(n)};
  peer.device = "wg0";
  peer.created = absl::FromUnixSeconds(1'700'000'000);
  return peer;
}

void Require(const absl::Status& status) {
  if (status.ok()) return;
  std::cerr << "wicket_provision: " << status.message() << "\n";
  exit(1);
}

double Median(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  return values[values.size() / 2];
}

double Quantile(std::vector<double> values, double q) {
  std::sort(values.begin(), values.end());
  return values[std::min(values.size() - 1,
                         static_cast<size_t>(q * static_cast<double>(values.size())))];
}

// A folder that is removed on destruction: in TMPDIR, or in /var/tmp, which is on disk.
struct Folder {
  Folder() {
    const char* within = getenv("TMPDIR");
    path = absl::StrCat(within != nullptr ? within : "/var/tmp", "/wicket-provision-XXXXXX");
    if (mkdtemp(path.data()) == nullptr) Require(ErrnoStatus(errno, "mkdtemp()"));
  }
  ~Folder() { std::filesystem::remove_all(path); }
  std::string path;
};

void Fill(store::Store& store, uint64_t peers) {
  constexpr uint64_t kChunk = 1 << 16;
  for (uint64_t first = 0; first < peers; first += kChunk) {
    std::vector<store::Peer> chunk;
    for (uint64_t n = first; n < std::min(peers, first + kChunk); ++n) chunk.push_back(PeerOf(n));
    std::sort(chunk.begin(), chunk.end(), [](const auto& a, const auto& b) {
      return a.config.public_key < b.config.public_key;
    });
    auto writer = store.Write();
    Require(writer.status());
    for (const auto& peer : chunk) Require(writer->PutPeer(peer));
    Require(writer->Commit());
    if (isatty(STDERR_FILENO)) absl::FPrintF(stderr, "\r\033[K%d of %d peers", first, peers);
  }
  if (isatty(STDERR_FILENO)) fputs("\r\033[K", stderr);
}

// Creates a second, by `writers` threads for `duration`.
double Rate(int writers, absl::Duration duration, const std::function<void(uint64_t)>& create,
            std::atomic<uint64_t>* next) {
  std::atomic<uint64_t> created{0};
  std::vector<std::thread> threads;
  const absl::Time begin = absl::Now();
  for (int i = 0; i < writers; ++i) {
    threads.emplace_back([&] {
      while (absl::Now() - begin < duration) {
        create((*next)++);
        ++created;
      }
    });
  }
  for (auto& thread : threads) thread.join();
  return static_cast<double>(created) / absl::ToDoubleSeconds(absl::Now() - begin);
}

constexpr int kLookups = 200'000;

// The time of one look-up, over keys in random order. `find` returns whether it found the key.
double MicrosEach(uint64_t peers, const std::function<bool(const PublicKey&)>& find) {
  std::mt19937_64 random(3);
  std::vector<PublicKey> keys;
  for (int i = 0; i < kLookups; ++i) keys.push_back(KeyOf(random() % peers));
  const absl::Time begin = absl::Now();
  for (const PublicKey& key : keys) {
    if (!find(key)) Require(absl::InternalError("a stored peer was not found"));
  }
  return absl::ToDoubleMicroseconds(absl::Now() - begin) / kLookups;
}

// Like a shard: one view for a batch of 64.
double LookupMicros(store::Store& store, uint64_t peers) {
  auto snapshot = store.NewSnapshot();
  Require(snapshot.status());
  store::PeerView view;
  int n = 0;
  return MicrosEach(peers, [&](const PublicKey& key) {
    if (n++ % 64 == 0) Require(snapshot->Renew());
    return snapshot->ViewPeer(key, &view) == store::Snapshot::Found::kYes;
  });
}

class Sqlite {
 public:
  explicit Sqlite(const std::string& path) {
    if (sqlite3_open(path.c_str(), &db_) != SQLITE_OK) Require(absl::InternalError("sqlite3_open"));
    Run("PRAGMA journal_mode=WAL");
    Run("PRAGMA synchronous=FULL");
    Run("CREATE TABLE IF NOT EXISTS peers(key BLOB PRIMARY KEY, record BLOB) WITHOUT ROWID");
    Run("CREATE TABLE IF NOT EXISTS prefixes(prefix BLOB PRIMARY KEY, key BLOB) WITHOUT ROWID");
    sqlite3_prepare_v2(db_, "INSERT OR REPLACE INTO peers VALUES(?,?)", -1, &peers_, nullptr);
    sqlite3_prepare_v2(db_, "INSERT INTO prefixes VALUES(?,?)", -1, &prefixes_, nullptr);
    Run("PRAGMA mmap_size=17179869184");
    sqlite3_prepare_v2(db_, "SELECT record FROM peers WHERE key = ?", -1, &select_, nullptr);
  }
  ~Sqlite() {
    sqlite3_finalize(select_);
    sqlite3_finalize(peers_);
    sqlite3_finalize(prefixes_);
    sqlite3_close(db_);
  }
  void Fill(uint64_t peers) {
    Run("BEGIN IMMEDIATE");
    for (uint64_t n = 0; n < peers; ++n) Put(PeerOf(n));
    Run("COMMIT");
  }
  // The average time of a look-up.
  double LookupMicros(uint64_t peers) {
    return MicrosEach(peers, [this](const PublicKey& key) {
      sqlite3_bind_blob(select_, 1, key.bytes.data(), kKeyBytes, SQLITE_STATIC);
      const bool found =
          sqlite3_step(select_) == SQLITE_ROW &&
          store::ViewPeer(key, {static_cast<const char*>(sqlite3_column_blob(select_, 0)),
                                static_cast<size_t>(sqlite3_column_bytes(select_, 0))});
      sqlite3_reset(select_);
      return found;
    });
  }
  void Create(uint64_t n) {
    const store::Peer peer = PeerOf(n);
    const std::lock_guard lock(mutex_);  // fairer to SQLite than SQLITE_BUSY
    Run("BEGIN IMMEDIATE");
    Put(peer);
    Run("COMMIT");
  }

 private:
  void Put(const store::Peer& peer) {
    const std::string record = *store::EncodePeer(peer);
    const std::string prefix = store::PrefixKey("wg0", peer.config.allowed_ips[0]);
    Put(peers_, {reinterpret_cast<const char*>(peer.config.public_key.bytes.data()), kKeyBytes},
        record);
    Put(prefixes_, prefix,
        {reinterpret_cast<const char*>(peer.config.public_key.bytes.data()), kKeyBytes});
  }
  void Run(const char* sql) {
    if (sqlite3_exec(db_, sql, nullptr, nullptr, nullptr) != SQLITE_OK) {
      Require(absl::InternalError(sqlite3_errmsg(db_)));
    }
  }
  void Put(sqlite3_stmt* statement, absl::string_view a, absl::string_view b) {
    sqlite3_bind_blob(statement, 1, a.data(), static_cast<int>(a.size()), SQLITE_STATIC);
    sqlite3_bind_blob(statement, 2, b.data(), static_cast<int>(b.size()), SQLITE_STATIC);
    if (sqlite3_step(statement) != SQLITE_DONE) Require(absl::InternalError(sqlite3_errmsg(db_)));
    sqlite3_reset(statement);
  }
  sqlite3* db_ = nullptr;
  sqlite3_stmt *peers_ = nullptr, *prefixes_ = nullptr, *select_ = nullptr;
  std::mutex mutex_;
};

// A store of `peers` peers, served on a socket.
struct Served {
  explicit Served(uint64_t peers)
      : store(*store::Store::Open({.path = folder.path + "/store", .bytes_max = 64ull << 30})),
        stored(peers) {
    Fill(store, peers);
    committer.emplace(&store);
    roster.emplace(&*committer, &devices, &events);
    api.emplace(control::Sources{
        .roster = &*roster, .devices = &devices, .store = &store, .events = &events});
    auto gate = http::UnixGate::Open({.socket = folder.path + "/s"});
    Require(gate.status());
    std::vector<std::unique_ptr<http::Gate>> gates;
    gates.push_back(std::move(*gate));
    server = std::make_unique<http::Server>(
        std::move(gates), [api = &*api](http::Exchange& exchange) { api->Handle(exchange); });
  }
  Folder folder;
  store::Store store;
  uint64_t stored;
  roster::Devices devices;  // nothing is installed
  event::EventLog events;
  std::optional<store::Committer> committer;
  std::optional<roster::Roster> roster;
  std::optional<control::Api> api;
  std::unique_ptr<http::Server> server;
};

class Client {
 public:
  explicit Client(const std::string& path) {
    sockaddr_un address{.sun_family = AF_UNIX, .sun_path = {}};
    path.copy(address.sun_path, sizeof(address.sun_path) - 1);
    Fd fd(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
    if (connect(fd.get(), reinterpret_cast<sockaddr*>(&address), sizeof(address)) != 0) {
      Require(ErrnoStatus(errno, "connect()"));
    }
    transport_ = std::make_unique<http::Transport>(std::move(fd));
  }
  // Returns: milliseconds.
  double Call(beast_http::verb method, uint64_t n, unsigned expected) {
    beast_http::request<beast_http::string_body> request(
        method, absl::StrCat("/v1/devices/wg0/peers/", Path(KeyOf(n))), 11);
    if (method == beast_http::verb::put) {
      request.body() = absl::StrCat("{\"allowed_ips\":[\"", ToString(AddressOf(n)), "\"]}");
    }
    request.prepare_payload();
    const absl::Time begin = absl::Now();
    beast_http::response<beast_http::string_body> response;
    beast_http::write(*transport_, request);
    beast_http::read(*transport_, buffer_, response);
    const double took_ms = absl::ToDoubleMilliseconds(absl::Now() - begin);
    if (response.result_int() != expected) Require(absl::InternalError(response.body()));
    return took_ms;
  }

 private:
  static std::string Path(const PublicKey& key) {
    std::string text = ToBase64(key);
    std::replace(text.begin(), text.end(), '+', '-');
    std::replace(text.begin(), text.end(), '/', '_');
    text.pop_back();
    return text;
  }
  std::unique_ptr<http::Transport> transport_;
  boost::beast::flat_buffer buffer_;
};

boost::json::object results;

// `per_sample`: the number of observations behind each sample.
void Report(const std::string& name, const std::vector<double>& samples, const char* unit,
            const std::vector<double>& against_samples = {}, int per_sample = 1) {
  const double value = Median(samples);
  boost::json::object row{{"value", value}, {"unit", unit}};
  row["n"] = samples.size() * static_cast<size_t>(per_sample);
  row["samples"] = boost::json::array(samples.begin(), samples.end());
  absl::PrintF("%-28s %12.3f %-4s", name, value, unit);
  if (!against_samples.empty()) {
    const double against = Median(against_samples);
    absl::PrintF(" against %12.3f   ratio %.2f", against, value / against);
    row["against"] = against;
    row["ratio"] = value / against;
    row["against_samples"] = boost::json::array(against_samples.begin(), against_samples.end());
  }
  absl::PrintF("\n");
  fflush(stdout);
  results[name] = std::move(row);
}

// "1e7" for 10 000 000.
std::string SizeName(uint64_t peers) {
  int digits = 0;
  uint64_t power = 1;
  for (; power < peers; power *= 10) ++digits;
  return power == peers ? absl::StrCat("1e", digits) : absl::StrCat(peers);
}

// Both sides with `stored` peers. Each round starts from a copy of the same files.
void CompareWriters(uint64_t stored, const std::string& suffix, int rounds,
                    absl::Duration duration) {
  const Folder filled;
  {
    store::Store store = *store::Store::Open({.path = filled.path + "/store"});
    Fill(store, stored);
    Sqlite(filled.path + "/sqlite.db").Fill(stored);
  }
  std::vector<double> group, single, rival;
  for (int round = 0; round < rounds; ++round) {
    const Folder folder;
    std::filesystem::copy(filled.path, folder.path, std::filesystem::copy_options::recursive);
    store::Store store = *store::Store::Open({.path = folder.path + "/store"});
    store::Committer committer(&store);
    Sqlite sqlite(folder.path + "/sqlite.db");
    std::atomic<uint64_t> next{stored};
    const std::pair<std::vector<double>*, std::function<void(uint64_t)>> sides[] = {
        {&rival, [&](uint64_t n) { sqlite.Create(n); }},
        {&group,
         [&](uint64_t n) {
           const auto peer = std::make_shared<store::Peer>(PeerOf(n));
           Require(committer.Commit([peer](store::Writer& w) { return w.PutPeer(*peer); }));
         }},
        {&single,
         [&](uint64_t n) {
           const store::Peer peer = PeerOf(n);
           auto writer = store.Write();
           Require(writer.status());
           Require(writer->PutPeer(peer));
           Require(writer->Commit());
         }},
    };
    sync();                                          // no side pays for the copy
    for (size_t i = 0; i < std::size(sides); ++i) {  // the sides take turns to be first
      const auto& [rates, create] = sides[(i + static_cast<size_t>(round)) % std::size(sides)];
      rates->push_back(Rate(kWriters, duration, create, &next));
    }
  }
  Report("group_commit" + suffix, group, "1/s", single);
  Report("create_vs_sqlite" + suffix, group, "1/s", rival);
}

constexpr int kCalls = 400;

// The times of creates and deletes over a socket, one figure a round.
struct Calls {
  // Makes kCalls of each, for new peers.
  void Round(const Served& served) {
    static std::atomic<uint64_t> next{uint64_t{1} << 40};
    Client client(served.folder.path + "/s");
    std::vector<double> creates, deletes;
    const uint64_t first = next.fetch_add(kCalls);
    for (uint64_t n = first; n < first + kCalls; ++n) {
      creates.push_back(client.Call(beast_http::verb::put, n, 201));
    }
    for (uint64_t n = first; n < first + kCalls; ++n) {
      deletes.push_back(client.Call(beast_http::verb::delete_, n, 204));
    }
    create_p50.push_back(Quantile(creates, 0.5));
    create_p99.push_back(Quantile(creates, 0.99));
    delete_p99.push_back(Quantile(deletes, 0.99));
  }
  std::vector<double> create_p99, delete_p99, create_p50;
};

// Sizes between the compared ones, for a curve: one round each.
void MeasureCreates(uint64_t peers) {
  for (uint64_t count = 10'000; count < peers; count *= 10) {
    Calls calls;
    calls.Round(Served(count));
    results["creates_ms"].as_object()[absl::StrCat(count)] =
        boost::json::array{calls.create_p50[0], calls.create_p99[0]};
  }
}

void CompareSizes(uint64_t peers, int rounds) {
  Served large(peers), small(1000);
  struct Side {
    Served* served;
    Calls calls;
  } sides[] = {{&large, {}}, {&small, {}}};
  for (int round = 0; round < rounds; ++round) {
    for (Side& side : sides) side.calls.Round(*side.served);
  }
  const auto& [ours, rival] = std::tie(sides[0].calls, sides[1].calls);
  Report("create_p50", ours.create_p50, "ms", rival.create_p50, kCalls);
  Report("create_p99_" + SizeName(peers), ours.create_p99, "ms", rival.create_p99, kCalls);
  Report("delete_p99", ours.delete_p99, "ms", rival.delete_p99, kCalls);
  std::atomic<uint64_t> more{uint64_t{1} << 41};
  std::vector<double> over_socket;
  for (int round = 0; round < rounds; ++round) {
    over_socket.push_back(Rate(
        kWriters, absl::Seconds(1),
        [&](uint64_t n) {
          thread_local std::map<std::string, std::unique_ptr<Client>> clients;
          auto& client = clients[large.folder.path];
          if (!client) client = std::make_unique<Client>(large.folder.path + "/s");
          client->Call(beast_http::verb::put, n, 201);
        },
        &more));
  }
  Report("create_over_socket", over_socket, "1/s");
  const auto stats = large.store.ReadStats();
  Report("store_bytes_after_creates",
         {static_cast<double>(stats->file_bytes) / static_cast<double>(stats->peers)}, "B");
  std::vector<double> open_large, open_small;
  for (int round = 0; round < 5 * rounds; ++round) {
    for (const bool is_large : {true, false}) {
      const Served& served = is_large ? large : small;
      Folder elsewhere;  // a process may open a store only once: open a copy's name
      const std::string link = elsewhere.path + "/store";
      std::filesystem::create_directory(link);
      std::filesystem::create_hard_link(served.folder.path + "/store/data.mdb", link + "/data.mdb");
      const absl::Time begin = absl::Now();
      const auto store = store::Store::Open({.path = link, .create = false});
      Require(store.status());
      const auto snapshot = store->NewSnapshot();
      Require(snapshot->FindPeer(KeyOf(served.stored / 2)).status());
      (is_large ? open_large : open_small)
          .push_back(absl::ToDoubleMilliseconds(absl::Now() - begin));
    }
  }
  Report("open_and_find", open_large, "ms", open_small);
  results["lookups_us"].as_object()[absl::StrCat(peers)] =
      boost::json::array{LookupMicros(large.store, peers)};
}

void CompareLookups(uint64_t peers_max, int rounds) {
  for (uint64_t peers = 1000; peers <= peers_max; peers *= 10) {
    Folder folder;
    store::Store store = *store::Store::Open({.path = folder.path + "/store"});
    Sqlite sqlite(folder.path + "/sqlite.db");
    Fill(store, peers);
    sqlite.Fill(peers);
    std::vector<double> ours, rival;
    for (int round = 0; round < rounds; ++round) {
      ours.push_back(LookupMicros(store, peers));
      rival.push_back(sqlite.LookupMicros(peers));
    }
    Report("lookup_vs_sqlite", ours, "us", rival, kLookups);
    results["lookups_us"].as_object()[absl::StrCat(peers)] =
        boost::json::array{Median(ours), Median(rival)};
  }
}

int Main(int argc, char** argv) {
  CLI::App app("What creating and deleting a peer durably costs.", "wicket_provision");
  uint64_t peers = 1'000'000, ndjson = 0, lookups = 1'000'000;
  int rounds = 5;
  double seconds = 1;
  bool brief = false;
  std::string json;
  app.add_option("--peers", peers, "stored in the large store")->capture_default_str();
  app.add_option("--rounds", rounds, "of each comparison")->capture_default_str();
  app.add_option("--seconds", seconds, "for each side of the writers' rounds")
      ->capture_default_str();
  app.add_option("--lookups", lookups, "peers that look-ups are compared up to")
      ->capture_default_str();
  app.add_option("--ndjson", ndjson, "only print this many peers");
  app.add_flag("--brief", brief, "leave out the writers with 500 000 stored");
  app.add_option("--json", json, "also write the results here");
  CLI11_PARSE(app, argc, argv);
  for (uint64_t n = 0; n < ndjson; ++n) {
    absl::PrintF("{\"public_key\":\"%s\",\"allowed_ips\":[\"%s\"]}\n", ToBase64(KeyOf(n)),
                 ToString(AddressOf(n)));
  }
  if (ndjson) return 0;
  results["lookups_us"] = boost::json::object();
  results["creates_ms"] = boost::json::object();
  CompareLookups(lookups, rounds);
  CompareWriters(0, "", rounds, absl::Seconds(seconds));
  if (!brief) CompareWriters(500'000, "_500k", rounds, absl::Seconds(seconds));
  MeasureCreates(peers);
  CompareSizes(peers, rounds);
  if (!json.empty()) std::ofstream(json) << boost::json::serialize(results) << "\n";
  return 0;
}

}  // namespace
}  // namespace wicket

int main(int argc, char** argv) { return wicket::Main(argc, argv); }
