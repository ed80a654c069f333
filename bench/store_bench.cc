// Look-ups among many peers. Each store is made once per process, in TMPDIR.
#include <benchmark/benchmark.h>
#include <stdlib.h>

#include <filesystem>
#include <map>
#include <random>

#include "bench/costs.h"
#include "bench/keys.h"
#include "store/store.h"

namespace wicket {
namespace {

class Filled {
 public:
  explicit Filled(uint64_t peers) {
    path_ = std::filesystem::temp_directory_path() / "wicket-bench-XXXXXX";
    if (mkdtemp(path_.data()) == nullptr) abort();
    store_.emplace(*store::Store::Open({.path = path_}));
    auto writer = store_->Write();
    store::Peer peer;
    peer.device = "wg0";
    for (uint64_t n = 0; n < peers; ++n) {
      peer.config.public_key = KeyOf(n);
      if (!writer->PutPeer(peer).ok()) abort();
    }
    if (!writer->Commit().ok()) abort();
  }
  ~Filled() {
    store_.reset();
    std::filesystem::remove_all(path_);
  }
  store::Store& store() { return *store_; }

  static store::Store& Of(uint64_t peers) {
    static std::map<uint64_t, Filled> made;
    return made.try_emplace(peers, peers).first->second.store();
  }

 private:
  std::string path_;
  std::optional<store::Store> store_;
};

void BM_ViewPeer(benchmark::State& state) {
  const auto peers = static_cast<uint64_t>(state.range(0));
  auto snapshot = Filled::Of(peers).NewSnapshot();
  std::vector<PublicKey> keys;
  std::mt19937_64 random(3);
  for (int i = 0; i < 4096; ++i) keys.push_back(KeyOf(random() % peers));
  size_t i = 0;
  store::PeerView view;
  const Costs costs(state);
  for (auto _ : state) benchmark::DoNotOptimize(snapshot->ViewPeer(keys[i++ % keys.size()], &view));
}
BENCHMARK(BM_ViewPeer)->Arg(1'000)->Arg(1'000'000);

void BM_Renew(benchmark::State& state) {
  auto snapshot = Filled::Of(1000).NewSnapshot();
  const Costs costs(state);
  for (auto _ : state) {
    if (!snapshot->Renew().ok()) abort();
  }
}
BENCHMARK(BM_Renew);

store::Peer UsualPeer() {
  store::Peer peer;
  peer.config.public_key = KeyOf(1);
  peer.config.allowed_ips = {*ParsePrefix("fd00::1"), *ParsePrefix("10.1.2.3")};
  peer.device = "wg0";
  return peer;
}

void BM_EncodePeer(benchmark::State& state) {
  const store::Peer peer = UsualPeer();
  const Costs costs(state);
  for (auto _ : state) benchmark::DoNotOptimize(store::EncodePeer(peer));
}
BENCHMARK(BM_EncodePeer);

void BM_DecodePeer(benchmark::State& state) {
  const store::Peer peer = UsualPeer();
  const std::string record = *store::EncodePeer(peer);
  const Costs costs(state);
  for (auto _ : state) {
    benchmark::DoNotOptimize(store::DecodePeer(peer.config.public_key, record));
  }
}
BENCHMARK(BM_DecodePeer);

}  // namespace
}  // namespace wicket
