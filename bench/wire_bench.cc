// The path of a frame before any cryptography.
#include <benchmark/benchmark.h>

#include "bench/costs.h"
#include "bench/frames.h"
#include "guard/budget.h"
#include "guard/repeat_filter.h"

namespace wicket {
namespace {

void BM_ParseFrame(benchmark::State& state) {
  const auto frame = FrameOf({.type = {1, 0, 0, 0}});
  wire::Frame found;
  const Costs costs(state);
  for (auto _ : state) {
    if (!wire::ParseFrame(frame, &found)) abort();
    benchmark::DoNotOptimize(found);
  }
}
BENCHMARK(BM_ParseFrame);

void BM_SeenBefore(benchmark::State& state) {
  guard::RepeatFilter repeats;
  guard::RepeatFilter::Mac mac{};
  uint64_t number = 0;
  const Costs costs(state);
  for (auto _ : state) {
    number += 0x9e3779b97f4a7c15;
    memcpy(mac.data(), &number, sizeof(number));
    benchmark::DoNotOptimize(repeats.SeenBefore(mac));
  }
}
BENCHMARK(BM_SeenBefore);

// With the open part of the budget spent, so that each call asks for its source's share.
void BM_TakeOfBudget(benchmark::State& state) {
  guard::HandshakeBudget budget(7);
  budget.SetRate(100);
  Address source{.family = Family::kIpv4};
  uint32_t number = 0;
  const Costs costs(state);
  for (auto _ : state) {
    memcpy(source.bytes.data(), &++number, sizeof(number));
    benchmark::DoNotOptimize(budget.Take(source, 1'000'000'000));
  }
}
BENCHMARK(BM_TakeOfBudget);

}  // namespace
}  // namespace wicket
