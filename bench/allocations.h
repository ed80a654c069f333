// How often a benchmark's loop allocates.
#pragma once

#include <benchmark/benchmark.h>

#include <cstdint>

namespace wicket {

// Calls of operator new so far, in this process.
uint64_t AllocationsSoFar();

// From its making to its end, as the counter `allocs` of each iteration. Make it just before the
// loop.
class Allocations {
 public:
  explicit Allocations(benchmark::State& state) : state_(state), before_(AllocationsSoFar()) {}
  ~Allocations() {
    state_.counters["allocs"] = benchmark::Counter(
        static_cast<double>(AllocationsSoFar() - before_), benchmark::Counter::kAvgIterations);
  }

 private:
  benchmark::State& state_;
  uint64_t before_;
};

}  // namespace wicket
