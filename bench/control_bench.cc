// The work of the control interface for one call, without the store and the socket.
#include <benchmark/benchmark.h>

#include "base/histogram.h"
#include "bench/costs.h"
#include "bench/peers.h"
#include "http/target.h"
#include "document/peer_text.h"

namespace wicket {
namespace {

void BM_ParseTarget(benchmark::State& state) {
  const std::string text = "/v1/devices/wg0/peers/" + ToBase64(KeyOf(1)) + "?limit=100";
  const Costs costs(state);
  for (auto _ : state) benchmark::DoNotOptimize(http::ParseTarget(text));
}
BENCHMARK(BM_ParseTarget);

void BM_ParsePeerRequest(benchmark::State& state) {
  const std::string text = R"({"allowed_ips":["10.1.2.3","fd00::1"],"ttl":3600})";
  const Costs costs(state);
  for (auto _ : state) {
    benchmark::DoNotOptimize(document::ParsePeerRequest(text, absl::UnixEpoch()));
  }
}
BENCHMARK(BM_ParsePeerRequest);

void BM_ToReport(benchmark::State& state) {
  const store::Peer peer = DualStackPeer(1);
  const Costs costs(state);
  for (auto _ : state) benchmark::DoNotOptimize(document::ToReport(peer, {}, "stored"));
}
BENCHMARK(BM_ToReport);

void BM_ParsePublicKey(benchmark::State& state) {
  const std::string text = ToBase64(KeyOf(1));
  const Costs costs(state);
  for (auto _ : state) benchmark::DoNotOptimize(ParsePublicKey(text));
}
BENCHMARK(BM_ParsePublicKey);

void BM_HistogramRecord(benchmark::State& state) {
  Histogram histogram;
  uint64_t value = 1;
  const Costs costs(state);
  for (auto _ : state) histogram.Record(value += 997);
}
BENCHMARK(BM_HistogramRecord);

}  // namespace
}  // namespace wicket
