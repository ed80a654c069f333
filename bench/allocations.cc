#include "bench/allocations.h"

#include <stdlib.h>

#include <atomic>
#include <new>

namespace {
std::atomic<uint64_t> allocations{0};
}  // namespace

uint64_t wicket::AllocationsSoFar() { return allocations.load(std::memory_order_relaxed); }

void* operator new(size_t bytes) {
  allocations.fetch_add(1, std::memory_order_relaxed);
  if (void* memory = malloc(bytes)) return memory;
  throw std::bad_alloc();
}
void operator delete(void* memory) noexcept { free(memory); }
void operator delete(void* memory, size_t) noexcept { free(memory); }
