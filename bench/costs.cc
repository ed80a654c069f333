#include "bench/costs.h"

#include <stdlib.h>
#include <x86intrin.h>

#include <atomic>
#include <new>

namespace {
std::atomic<uint64_t> allocations{0};
}  // namespace

uint64_t wicket::AllocationsSoFar() { return allocations.load(std::memory_order_relaxed); }

uint64_t wicket::CyclesSoFar() { return __rdtsc(); }

void* operator new(size_t bytes) {
  allocations.fetch_add(1, std::memory_order_relaxed);
  if (void* memory = malloc(bytes)) return memory;
  throw std::bad_alloc();
}
void operator delete(void* memory) noexcept { free(memory); }
void operator delete(void* memory, size_t) noexcept { free(memory); }
