// Calls that other threads leave for an owner thread to run.
//
//   any thread --Leave--> list --Serve--> the owner runs them between two batches
//
// The owner never waits for a caller, and no caller holds anything that the owner needs. Calls run
// on the owner's thread, so they take effect in its order: a call left after a commit runs after
// every batch that read the store before that commit.
#pragma once

#include <sys/eventfd.h>

#include <algorithm>
#include <atomic>
#include <condition_variable>
#include <memory>
#include <mutex>
#include <optional>
#include <utility>

#include "absl/functional/any_invocable.h"
#include "absl/time/time.h"
#include "base/clock.h"
#include "base/fd.h"

namespace wicket {

// Thread: Leave and Ask from any; Serve from the owner.
class Calls {
 public:
  using Call = absl::AnyInvocable<void()>;

  Calls() : wake_(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)) {}
  Calls(const Calls&) = delete;
  ~Calls() {
    for (Node* node = arrived_.load(); node != nullptr;) delete std::exchange(node, node->next);
    for (Node* node = waiting_; node != nullptr;) delete std::exchange(node, node->next);
  }

  // Becomes readable when a call is left, or somebody writes to it.
  int wake_fd() const { return wake_.get(); }
  void Wake() const { eventfd_write(wake_.get(), 1); }

  // Does not wait. What `call` points to must outlive the owner.
  void Leave(Call call) {
    Node* node = new Node{std::move(call), arrived_.load(std::memory_order_relaxed)};
    while (!arrived_.compare_exchange_weak(node->next, node, std::memory_order_release,
                                           std::memory_order_relaxed)) {
    }
    Wake();
  }

  // Leaves a call and waits for its result.
  // Requires: `ask` owns everything it captures, since it may run after this has returned.
  // Returns:  nullopt when the owner did not run the call within `patience`. The call stays queued.
  template <typename F>
  auto Ask(F ask, absl::Duration patience) -> std::optional<decltype(ask())> {
    struct Answer {
      std::mutex mutex;
      std::condition_variable given;
      std::optional<decltype(ask())> value;
    };
    auto answer = std::make_shared<Answer>();
    Leave([answer, ask = std::move(ask)]() mutable {
      auto value = ask();
      {
        const std::lock_guard lock(answer->mutex);
        answer->value.emplace(std::move(value));
      }
      answer->given.notify_one();
    });
    std::unique_lock lock(answer->mutex);
    answer->given.wait_for(lock, absl::ToChronoMilliseconds(patience),
                           [&] { return answer->value.has_value(); });
    return std::move(answer->value);
  }

  // Runs up to `most` calls in the order they were left. Starts none later than `budget` after the
  // first. Returns: whether more are waiting.
  bool Serve(size_t most, absl::Duration budget) {
    if (waiting_ == nullptr) Fetch();
    if (waiting_ == nullptr) return false;
    const absl::Duration began = SteadyNow();
    for (size_t served = 0; waiting_ != nullptr && served < most; ++served) {
      if (served > 0 && SteadyNow() - began > budget) break;
      const std::unique_ptr<Node> node(std::exchange(waiting_, waiting_->next));
      node->call();
      if (waiting_ == nullptr) Fetch();
    }
    return waiting_ != nullptr;
  }

 private:
  struct Node {
    Call call;
    Node* next;
  };

  // The head of `arrived_` is the newest call, the head of `waiting_` the oldest.
  void Fetch() {
    for (Node* node = arrived_.exchange(nullptr, std::memory_order_acquire); node != nullptr;) {
      Node* const next = node->next;
      node->next = waiting_;
      waiting_ = node;
      node = next;
    }
  }

  Fd wake_;
  std::atomic<Node*> arrived_{nullptr};
  Node* waiting_ = nullptr;  // the owner's alone
};

}  // namespace wicket
