// Hands the latest value from one thread to one other, without locks.
#pragma once

#include <atomic>
#include <memory>

namespace wicket {

// Thread: Put from one, Take from one.
template <typename T>
class Handoff {
 public:
  Handoff() = default;
  ~Handoff() { delete value_.load(); }
  Handoff(const Handoff&) = delete;

  // Replaces a value that was not taken yet.
  void Put(std::unique_ptr<T> value) { delete value_.exchange(value.release()); }
  // Returns: the value put since the last call, or nullptr.
  std::unique_ptr<T> Take() { return std::unique_ptr<T>(value_.exchange(nullptr)); }

 private:
  std::atomic<T*> value_{nullptr};
};

}  // namespace wicket
