// The cost of an operation besides its time.
#pragma once

#include <benchmark/benchmark.h>

#include <cstdint>

namespace wicket {

// Calls of operator new in this process so far.
uint64_t AllocationsSoFar();
// The CPU's time stamp counter: cycles of its nominal clock.
uint64_t CyclesSoFar();

// Counts from construction to destruction, as `allocs` and `cycles` of each iteration. Construct
// it just before a loop that does not pause its timing.
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
