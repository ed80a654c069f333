// The whole work of a shard on one packet, without its rings.
#include <benchmark/benchmark.h>
#include <stdlib.h>

#include <algorithm>
#include <filesystem>

#include "bench/costs.h"
#include "base/clock.h"
#include "base/histogram.h"
#include "noise/initiator.h"
#include "store/store.h"
#include "intake/pipeline.h"

namespace wicket::intake {
namespace {

constexpr uint16_t kPort = 51820;
constexpr uint64_t kUnlimited = 1'000'000'000'000;  // handshakes a second

// Frames, and the expected verdict of each.
struct Recorded {
  std::vector<std::vector<uint8_t>> frames;
  std::vector<Verdict> verdicts;

  void Add(std::vector<uint8_t> frame, Verdict verdict) {
    frames.push_back(std::move(frame));
    verdicts.push_back(verdict);
  }
};

class Bench {
 public:
  // Stores the client, `clients` more whose keys are kept for handshakes, and `others` of which
  // only the records exist.
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
        // Any 32 bytes are a key to look up.
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
        std::make_unique<Pipeline>(*store_->NewSnapshot(), std::vector<DemandQueue*>{&queue_}, 1,
                                   &counters_, SightingSink{}, backend);
    if (!pipeline_->Begin().ok()) abort();
  }
  ~Bench() {
    pipeline_.reset();
    store_.reset();
    std::filesystem::remove_all(path_);
  }

  std::vector<uint8_t> Frame(const Secret<kKeyBytes>& key) { return Frames({&key, 1}).front(); }
  // One frame of each client.
  std::vector<std::vector<uint8_t>> Frames(std::span<const Secret<kKeyBytes>> keys) {
    std::vector<Secret<kKeyBytes>> ephemerals(keys.size());
    std::vector<noise::Initiator> clients;
    for (size_t i = 0; i < keys.size(); ++i) {
      ephemerals[i] = crypto::GeneratePrivateKey();
      clients.push_back({&keys[i], &ephemerals[i], 1, Tai64n{}});
    }
    std::vector<noise::PendingHandshake> made(keys.size());
    if (!noise::CreateInitiations(crypto::FastestX25519(), crypto::DerivePublicKey(device_),
                                  clients, made)) {
      abort();
    }
    std::vector<std::vector<uint8_t>> frames;
    for (const auto& pending : made) frames.push_back(FrameOf(pending.message));
    return frames;
  }
  static std::vector<uint8_t> FrameOf(const wire::Initiation& message) {
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
    const Now now{1, {.wall = absl::FromUnixSeconds(1'800'000'000)}, under_load};
    const Costs costs(state);
    for (auto _ : state) {
      std::vector<uint8_t>& frame = frames[i++ % frames.size()];
      const Arrival arrival = ArrivalOf(frame);
      if (pipeline_->RunBatch(devices_, {&arrival, 1}, now).front() != expected) abort();
      if (queue_.Peek()) queue_.Release();
    }
    state.SetItemsProcessed(state.iterations());
  }

  // Runs ring batches of `size` frames.
  void RunBatches(benchmark::State& state, crypto::X25519Backend backend, Recorded& recorded,
                  size_t size) {
    Use(backend);
    std::vector<Arrival> arrivals(size);
    std::vector<std::vector<uint8_t>>& frames = recorded.frames;
    const Now now{1, {.wall = absl::FromUnixSeconds(1'800'000'000)}};
    size_t i = 0;
    const Costs costs(state);  // includes the pauses: a hundredth
    for (auto _ : state) {
      if (i + size > frames.size()) {
        state.PauseTiming();
        Use(backend);  // a new pipeline, which has seen no frame
        i = 0;
        state.ResumeTiming();
      }
      for (size_t k = 0; k < size; ++k) arrivals[k] = ArrivalOf(frames[i + k]);
      const auto verdicts = pipeline_->RunBatch(devices_, arrivals, now);
      if (!std::equal(verdicts.begin(), verdicts.end(), &recorded.verdicts[i])) abort();
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
  DemandQueue queue_;
  VerdictCounters counters_;
  std::unique_ptr<Pipeline> pipeline_;
};

// More packets than the repeat filter remembers.
constexpr int kDistinct = 9000;

// What a shard counts of a packet that is alone in its burst, so that a status can tell of it. The
// same as in Shard::RunBatch, on counters of its own.
template <bool kForStatus>
void CountPacket(benchmark::State& state) {
  VerdictCounters verdicts;
  RecentHistogram waits;
  Histogram waits_ever, ring_waiting;
  uint64_t waited_ns = 1000;
  for (auto _ : state) {
    benchmark::DoNotOptimize(waited_ns);
    verdicts.Count(static_cast<Verdict>(waited_ns % kVerdicts));
    if (kForStatus) {
      ring_waiting.Record(waited_ns & 63);
      waits.Record(waited_ns, 1'000'000'000 + waited_ns);
      waits_ever.Record(waited_ns);
    }
    waited_ns = waited_ns * 3 % 1'000'003;
  }
  benchmark::DoNotOptimize(waits_ever.Count() + ring_waiting.Count());
}
void BM_CountVerdict(benchmark::State& state) { CountPacket<false>(state); }
BENCHMARK(BM_CountVerdict);
void BM_CountForStatus(benchmark::State& state) { CountPacket<true>(state); }
BENCHMARK(BM_CountForStatus);

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
// Each frame is from another client, so no look-up finds its page in the CPU cache.
size_t StoredPeers() {
  const char* text = getenv("WICKET_BENCH_STORED");  // for smoke runs, whose figures mean nothing
  return text ? std::max<size_t>(strtoull(text, nullptr, 10), kDistinct) : 1'000'000;
}

struct Crowd {
  Crowd() : bench(kDistinct, StoredPeers() - kDistinct) {
    std::vector<Secret<kKeyBytes>> strangers(kDistinct);
    for (Secret<kKeyBytes>& stranger : strangers) stranger = crypto::GeneratePrivateKey();
    for (auto& frame : bench.Frames(bench.clients_)) stored.Add(std::move(frame), Verdict::kProven);
    for (auto& frame : bench.Frames(strangers))
      unknown.Add(std::move(frame), Verdict::kUnknownPeer);
    for (int i = 0; i < kDistinct; ++i) {
      AddTo(&calm, i, i % 20 == 0 ? Verdict::kUnknownPeer : Verdict::kProven);
      constexpr Verdict kAttack[] = {Verdict::kBadMac1, Verdict::kBadMac1, Verdict::kUnknownPeer,
                                     Verdict::kUnknownPeer, Verdict::kNotProven};
      AddTo(&attack, i, i % 20 == 0 ? Verdict::kProven : kAttack[i % 5]);
    }
  }
  // Adds frame `i` of `stored` or `unknown`, corrupted so that it gets `verdict`.
  void AddTo(Recorded* mix, int i, Verdict verdict) {
    auto frame =
        (verdict == Verdict::kUnknownPeer ? unknown : stored).frames[static_cast<size_t>(i)];
    auto* message = reinterpret_cast<wire::Initiation*>(&frame[42]);
    if (verdict == Verdict::kBadMac1) message->mac1[0] ^= 1;
    if (verdict == Verdict::kNotProven) {
      message->encrypted_timestamp[0] ^= 1;
      message->mac1 = crypto::MacOf(noise::Mac1Key(crypto::DerivePublicKey(bench.device_)),
                                    wire::BytesBefore(*message, message->mac1));
    }
    mix->Add(std::move(frame), verdict);
  }
  Bench bench;
  Recorded stored, unknown;
  // calm: 95 % from stored peers, the rest unknown. attack: 5 % from stored peers; the rest forged
  // mac1s, unknown keys, and forgeries of stored peers, two to two to one.
  Recorded calm, attack;
};

void RunCrowd(benchmark::State& state, Recorded Crowd::*recorded) {
  static Crowd crowd;
  const auto backend = static_cast<crypto::X25519Backend>(state.range(0));
  if (!crypto::RunsHere(backend)) return state.SkipWithError("this CPU lacks the instructions");
  state.SetLabel(crypto::ToString(backend));
  crowd.bench.RunBatches(state, backend, crowd.*recorded, static_cast<size_t>(state.range(1)));
}

void BM_PipelineBatchProven(benchmark::State& state) { RunCrowd(state, &Crowd::stored); }
BENCHMARK(BM_PipelineBatchProven)->ArgsProduct({{0, 1, 2}, {1, 2, 8, 64}});

void BM_PipelineBatchUnknown(benchmark::State& state) { RunCrowd(state, &Crowd::unknown); }
BENCHMARK(BM_PipelineBatchUnknown)->ArgsProduct({{0, 1, 2}, {1, 8, 64}});

void BM_PipelineBatchCalm(benchmark::State& state) { RunCrowd(state, &Crowd::calm); }
BENCHMARK(BM_PipelineBatchCalm)->ArgsProduct({{0, 1, 2}, {64}});

void BM_PipelineBatchAttack(benchmark::State& state) { RunCrowd(state, &Crowd::attack); }
BENCHMARK(BM_PipelineBatchAttack)->ArgsProduct({{0, 1, 2}, {64}});

// The cost of identifying and proving in the straightforward way: one packet at a time, with
// libsodium.
template <bool kProve>
void ProveSingly(benchmark::State& state) {
  Bench bench;
  auto snapshot = bench.store_->NewSnapshot();
  const noise::Identity identity(bench.device_);
  std::vector<std::vector<uint8_t>> frames;
  for (int i = 0; i < 64; ++i) frames.push_back(bench.Frame(bench.client_));
  size_t i = 0;
  const Costs costs(state);
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

// A cookie reply through the ring. Steer/cookie_tx is the same by XDP_TX.
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
}  // namespace wicket::intake
