#include <benchmark/benchmark.h>

#include <vector>

#include "bench/costs.h"
#include "bench/keys.h"
#include "wgdev/set_device.h"

namespace wicket {
namespace {

// Messages that install peers with an IPv4 and an IPv6 address each, written but not sent.
// Argument: peers, as many as one message carries at most.
void BM_SetDevice(benchmark::State& state) {
  std::vector<PeerConfig> configs(static_cast<size_t>(state.range(0)));
  std::vector<wgdev::PeerInstall> peers;
  for (size_t i = 0; i < configs.size(); ++i) {
    configs[i].public_key = KeyOf(i);
    configs[i].allowed_ips = {*ParsePrefix("10.1.2.3"), *ParsePrefix("fd00::1")};
    peers.push_back({&configs[i], {}, false});
  }
  std::vector<uint8_t> buffer(wgdev::SetDevice::kBytesMax);
  const Costs costs(state);
  for (auto _ : state) {
    wgdev::SetDevice set(buffer.data(), 0x1f, 1, "wg0");
    if (set.PutPeers(peers, {}).peer != peers.size()) abort();
    benchmark::DoNotOptimize(set.Finish());
  }
  state.SetItemsProcessed(state.iterations() * state.range(0));
}
BENCHMARK(BM_SetDevice)->Arg(1)->Arg(64);

}  // namespace
}  // namespace wicket
