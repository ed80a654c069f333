// A shard's whole work on one packet, without its rings.
#include <benchmark/benchmark.h>
#include <stdlib.h>

#include <filesystem>

#include "bench/allocations.h"
#include "noise/initiator.h"
#include "shard/pipeline.h"

namespace wicket::shard {
namespace {

constexpr uint16_t kPort = 51820;
constexpr uint64_t kUnlimited = 1'000'000'000'000;  // handshakes a second

class Bench {
 public:
  // Stores the client and, besides, `clients` that can be had handshakes from and
  // `others`, of which there are only the records.
  explicit Bench(size_t clients = 0, size_t others = 0) : queue_(1024) {
    if (!crypto::Initialize().ok()) abort();
    path_ = std::filesystem::temp_directory_path() / "wicket-bench-XXXXXX";
    if (mkdtemp(path_.data()) == nullptr) abort();
    store_.emplace(*store::Store::Open({.path = path_}));
    store::Peer peer;
    peer.config.public_key = crypto::DerivePublicKey(client_);
    peer.device = "wg0";
    auto writer = store_->Write();
    if (!writer->PutPeer(peer).ok()) abort();
    for (size_t i = 0; i < clients; ++i) {
      clients_.push_back(crypto::GeneratePrivateKey());
      peer.config.public_key = crypto::DerivePublicKey(clients_.back());
      if (!writer->PutPeer(peer).ok()) abort();
    }
    if (!writer->Commit().ok()) abort();
    for (size_t done = 0; done < others;) {
      auto slice = store_->Write();
      for (const size_t end = std::min(others, done + 20'000); done < end; ++done) {
        // Any 32 bytes are a key to be looked up.
        crypto::FillRandom(peer.config.public_key.bytes.data(), kKeyBytes);
        if (!slice->PutPeer(peer).ok()) abort();
      }
      if (!slice->Commit().ok()) abort();
    }
    devices_.devices.push_back({"wg0", kPort,
                                std::make_shared<crypto::Locked<noise::Identity>>(
                                    crypto::Locked<noise::Identity>::Make(device_)),
                                nullptr, kUnlimited});
    const auto secret = crypto::GeneratePrivateKey();
    devices_.cookies = std::make_shared<noise::CookieSecrets>(secret, secret);
    Use(crypto::FastestX25519());
  }
  void Use(crypto::X25519Backend backend) {
    pipeline_ =
        std::make_unique<Pipeline>(*store_->NewSnapshot(), std::vector<RequestQueue*>{&queue_}, 1,
                                   &counters_, Watch{}, backend);
    if (!pipeline_->Begin().ok()) abort();
  }
  ~Bench() {
    pipeline_.reset();
    store_.reset();
    std::filesystem::remove_all(path_);
  }

  std::vector<uint8_t> Frame(const Secret<kKeyBytes>& key) {
    const auto message = noise::CreateInitiation(key, crypto::DerivePublicKey(device_),
                                                 crypto::GeneratePrivateKey(), 1, Tai64n{})
                             ->message;
    std::vector<uint8_t> frame(42 + sizeof(message));
    const uint8_t headers[] = {0,          0,
                               0,          0,
                               0,          0,
                               0,          0,
                               0,          0,
                               0,          0,
                               0x08,       0,
                               0x45,       0,
                               0,          176,
                               0,          0,
                               0,          0,
                               64,         17,
                               0,          0,
                               192,        0,
                               2,          9,
                               198,        51,
                               100,        1,
                               0x30,       0x39,
                               kPort >> 8, kPort & 0xff,
                               0,          156,
                               0,          0};
    std::copy(std::begin(headers), std::end(headers), frame.begin());
    memcpy(frame.data() + 42, &message, sizeof(message));
    return frame;
  }

  void Run(benchmark::State& state, std::vector<std::vector<uint8_t>> frames, Verdict expected,
           bool under_load = false) {
    size_t i = 0;
    const Now now{1, absl::FromUnixSeconds(1'800'000'000), under_load};
    const Allocations allocations(state);
    for (auto _ : state) {
      std::vector<uint8_t>& frame = frames[i++ % frames.size()];
      if (pipeline_->Run(devices_, frame, now) != expected) abort();
      if (queue_.Peek()) queue_.Release();
    }
    state.SetItemsProcessed(state.iterations());
  }

  // Ring batches of `size` frames.
  void RunBatches(benchmark::State& state, crypto::X25519Backend backend,
                  std::vector<std::vector<uint8_t>>& frames, size_t size, Verdict expected) {
    Use(backend);
    std::vector<Pipeline::Frame> views(frames.begin(), frames.end());
    const Now now{1, absl::FromUnixSeconds(1'800'000'000)};
    size_t i = 0;
    for (auto _ : state) {
      if (i + size > views.size()) {
        state.PauseTiming();
        Use(backend);  // which has seen none of them
        i = 0;
        state.ResumeTiming();
      }
      for (Verdict verdict : pipeline_->RunBatch(devices_, {&views[i], size}, now)) {
        if (verdict != expected) abort();
      }
      while (queue_.Peek()) queue_.Release();
      i += size;
    }
    state.SetItemsProcessed(state.iterations() * static_cast<int64_t>(size));
  }

  Secret<kKeyBytes> device_ = crypto::GeneratePrivateKey(), client_ = crypto::GeneratePrivateKey();
  std::vector<Secret<kKeyBytes>> clients_;
  std::string path_;
  std::optional<store::Store> store_;
  DeviceTable devices_;
  RequestQueue queue_;
  VerdictCounters counters_;
  std::unique_ptr<Pipeline> pipeline_;
};

// More packets than the filter of repeats remembers.
constexpr int kDistinct = 9000;

void BM_PipelineProven(benchmark::State& state) {
  Bench bench;
  std::vector<std::vector<uint8_t>> frames;
  for (int i = 0; i < kDistinct; ++i) frames.push_back(bench.Frame(bench.client_));
  bench.Run(state, frames, Verdict::kProven);
}
BENCHMARK(BM_PipelineProven)->Iterations(kDistinct);

void BM_PipelineUnknown(benchmark::State& state) {
  Bench bench;
  const auto stranger = crypto::GeneratePrivateKey();
  std::vector<std::vector<uint8_t>> frames;
  for (int i = 0; i < kDistinct; ++i) frames.push_back(bench.Frame(stranger));
  bench.Run(state, frames, Verdict::kUnknownPeer);
}
BENCHMARK(BM_PipelineUnknown)->Iterations(kDistinct);

// Ring batches, among a million stored peers. Arguments: back end, frames a batch.
// Every frame is another client's, so no look-up finds its page in the cache.
size_t StoredPeers() {
  const char* text = getenv("WICKET_BENCH_STORED");  // for runs whose figures mean nothing
  return text ? std::max<size_t>(strtoull(text, nullptr, 10), kDistinct) : 1'000'000;
}

struct Crowd {
  Crowd() : bench(kDistinct, StoredPeers() - kDistinct) {
    for (const Secret<kKeyBytes>& client : bench.clients_) {
      stored.push_back(bench.Frame(client));
      unknown.push_back(bench.Frame(crypto::GeneratePrivateKey()));
    }
  }
  Bench bench;
  std::vector<std::vector<uint8_t>> stored, unknown;
};

void RunCrowd(benchmark::State& state, bool stored) {
  static Crowd crowd;
  const auto backend = static_cast<crypto::X25519Backend>(state.range(0));
  if (!crypto::RunsHere(backend)) return state.SkipWithError("this CPU lacks the instructions");
  state.SetLabel(crypto::ToString(backend));
  crowd.bench.RunBatches(state, backend, stored ? crowd.stored : crowd.unknown,
                         static_cast<size_t>(state.range(1)),
                         stored ? Verdict::kProven : Verdict::kUnknownPeer);
}

void BM_PipelineBatchProven(benchmark::State& state) { RunCrowd(state, true); }
BENCHMARK(BM_PipelineBatchProven)->ArgsProduct({{0, 1, 2}, {1, 2, 8, 64}});

void BM_PipelineBatchUnknown(benchmark::State& state) { RunCrowd(state, false); }
BENCHMARK(BM_PipelineBatchUnknown)->ArgsProduct({{0, 1, 2}, {1, 8, 64}});

// What identifying and proving take by the obvious way: one packet at a time, with libsodium.
template <bool kProve>
void ProveSingly(benchmark::State& state) {
  Bench bench;
  auto snapshot = bench.store_->NewSnapshot();
  const noise::Identity identity(bench.device_);
  std::vector<std::vector<uint8_t>> frames;
  for (int i = 0; i < 64; ++i) frames.push_back(bench.Frame(bench.client_));
  size_t i = 0;
  for (auto _ : state) {
    wire::Frame frame;
    store::PeerView view;
    if (!wire::ParseFrame(frames[i++ % frames.size()], &frame) ||
        !noise::CheckMac1(identity, *frame.initiation)) {
      abort();
    }
    auto claim = noise::OpenStatic(identity, *frame.initiation);
    if (snapshot->ViewPeer(claim->static_public, &view) != store::Snapshot::Found::kYes) abort();
    if (kProve && !noise::OpenTimestamp(identity, std::move(*claim), *frame.initiation)) abort();
  }
  state.SetItemsProcessed(state.iterations());
}

void BM_ProveSingly(benchmark::State& state) { ProveSingly<true>(state); }
BENCHMARK(BM_ProveSingly);

void BM_ClaimSingly(benchmark::State& state) { ProveSingly<false>(state); }
BENCHMARK(BM_ClaimSingly);

// A cookie reply, by the ring. Steer/cookie_tx is the same by XDP_TX.
void BM_PipelineCookie(benchmark::State& state) {
  Bench bench;
  const Secret<32> secret;
  bench.devices_.cookies = std::make_shared<noise::CookieSecrets>(secret, secret);
  std::vector<std::vector<uint8_t>> frames;
  for (int i = 0; i < kDistinct; ++i) frames.push_back(bench.Frame(bench.client_));
  bench.Run(state, frames, Verdict::kCookie, /*under_load=*/true);
}
BENCHMARK(BM_PipelineCookie)->Iterations(kDistinct);

void BM_PipelineBadMac1(benchmark::State& state) {
  Bench bench;
  auto frame = bench.Frame(bench.client_);
  frame[60] ^= 1;
  bench.Run(state, {frame}, Verdict::kBadMac1);
}
BENCHMARK(BM_PipelineBadMac1);

}  // namespace
}  // namespace wicket::shard
