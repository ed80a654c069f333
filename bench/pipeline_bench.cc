// A shard's whole work on one packet, without its rings.
#include <benchmark/benchmark.h>
#include <stdlib.h>

#include <filesystem>

#include "noise/initiator.h"
#include "shard/pipeline.h"

namespace wicket::shard {
namespace {

constexpr uint16_t kPort = 51820;

class Bench {
 public:
  Bench() : queue_(1024) {
    if (!crypto::Initialize().ok()) abort();
    char name[] = "/tmp/wicket-bench-XXXXXX";
    path_ = mkdtemp(name);
    store_.emplace(*store::Store::Open({.path = path_}));
    store::Peer peer;
    peer.config.public_key = crypto::DerivePublicKey(client_);
    peer.device = "wg0";
    auto writer = store_->Write();
    if (!writer->PutPeer(peer).ok() || !writer->Commit().ok()) abort();
    devices_.devices.push_back({"wg0", kPort,
                                std::make_shared<crypto::Locked<noise::Identity>>(
                                    crypto::Locked<noise::Identity>::Make(device_)),
                                nullptr});
    pipeline_ = std::make_unique<Pipeline>(*store_->NewSnapshot(),
                                           std::vector<RequestQueue*>{&queue_}, 1, &counters_);
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
    uint32_t reply_bytes = 0;
    for (auto _ : state) {
      std::vector<uint8_t>& frame = frames[i++ % frames.size()];
      if (pipeline_->Run(devices_, frame, now, &reply_bytes) != expected) abort();
      if (queue_.Peek()) queue_.Release();
    }
    state.SetItemsProcessed(state.iterations());
  }

  Secret<kKeyBytes> device_ = crypto::GeneratePrivateKey(), client_ = crypto::GeneratePrivateKey();
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
