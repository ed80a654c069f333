// What an operation costs beside its time.
#pragma once

#include <benchmark/benchmark.h>

#include <cstdint>

namespace wicket {

// Calls of operator new so far, in this process.
uint64_t AllocationsSoFar();
// The processor's time stamp counter: cycles of its nominal clock.
uint64_t CyclesSoFar();

// From its making to its end, as the counters `allocs` and `cycles` of each iteration. Make it
// just before a loop that does not pause its timing.
class Costs {
 public:
  explicit Costs(benchmark::State& state)
      : state_(state), allocations_(AllocationsSoFar()), cycles_(CyclesSoFar()) {}
  ~Costs() {
    Tell("cycles", CyclesSoFar() - cycles_);
    Tell("allocs", AllocationsSoFar() - allocations_);
  }

 private:
  void Tell(const char* name, uint64_t count) {
    state_.counters[name] =
        benchmark::Counter(static_cast<double>(count), benchmark::Counter::kAvgIterations);
  }

  benchmark::State& state_;
  const uint64_t allocations_, cycles_;
};

}  // namespace wicket
