// Look-ups among many peers. The store is made once a process, in /tmp.
#include <benchmark/benchmark.h>
#include <stdlib.h>

#include <filesystem>
#include <random>

#include "bench/keys.h"
#include "store/store.h"

namespace wicket {
namespace {

class Filled {
 public:
  explicit Filled(uint64_t peers) {
    char name[] = "/tmp/wicket-bench-XXXXXX";
    path_ = mkdtemp(name);
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

 private:
  std::string path_;
  std::optional<store::Store> store_;
};

void BM_ViewPeer(benchmark::State& state) {
  const auto peers = static_cast<uint64_t>(state.range(0));
  Filled filled(peers);
  auto snapshot = filled.store().NewSnapshot();
  std::vector<PublicKey> keys;
  std::mt19937_64 random(3);
  for (int i = 0; i < 4096; ++i) keys.push_back(KeyOf(random() % peers));
  size_t i = 0;
  store::PeerView view;
  for (auto _ : state) benchmark::DoNotOptimize(snapshot->ViewPeer(keys[i++ % keys.size()], &view));
}
BENCHMARK(BM_ViewPeer)->Arg(1'000)->Arg(1'000'000);

void BM_Renew(benchmark::State& state) {
  Filled filled(1000);
  auto snapshot = filled.store().NewSnapshot();
  for (auto _ : state) {
    if (!snapshot->Renew().ok()) abort();
  }
}
BENCHMARK(BM_Renew);

}  // namespace
}  // namespace wicket
