// Calls that other threads leave for an owner thread to run.
//
//   any thread --Leave--> list --Serve--> the owner runs them between two batches
//
// The owner never waits for a caller, but for the mutex of one answer, which is held for a moment.
// Calls run on the owner's thread, so they take effect in its order: a call left after a commit
// runs after every batch that read the store before that commit.
#pragma once

#include <sys/eventfd.h>

#include <algorithm>
#include <atomic>
#include <condition_variable>
#include <memory>
#include <mutex>
#include <optional>
#include <utility>

#include "absl/cleanup/cleanup.h"
#include "absl/functional/any_invocable.h"
#include "absl/time/time.h"
#include "base/clock.h"
#include "base/fd.h"

namespace wicket {

// Thread: Leave and Wake from any; Ask from any but the owner, which would wait for itself;
//         Serve and Close from the owner.
class Calls {
 public:
  using Call = absl::AnyInvocable<void()>;

  Calls() : wake_(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)) {}
  Calls(const Calls&) = delete;
  ~Calls() { Close(); }

  // Becomes readable when a call is left, or somebody writes to it.
  int wake_fd() const { return wake_.get(); }
  void Wake() const { eventfd_write(wake_.get(), 1); }

  // Does not wait. What `call` points to must outlive the owner. After Close() the call is dropped.
  void Leave(Call call) {
    Node* node = new Node{std::move(call), arrived_.load(std::memory_order_relaxed)};
    do {
      if (node->next == Closed()) return delete node;
    } while (!arrived_.compare_exchange_weak(node->next, node, std::memory_order_release,
                                             std::memory_order_relaxed));
    Wake();
  }

  // Leaves a call and waits for its result.
  // Requires: `ask` owns everything it captures, since it may run after this has returned.
  // Returns:  nullopt when the call has not ended within `patience`, and it stays queued or still
  //           runs; or when it was dropped by Close().
  template <typename F>
  auto Ask(F ask, absl::Duration patience) -> std::optional<decltype(ask())> {
    using Value = decltype(ask());
    struct Answer {
      std::mutex mutex;
      std::condition_variable ended;
      bool has_ended = false;
      std::optional<Value> value;

      void End(std::optional<Value> given) {
        {
          const std::lock_guard lock(mutex);
          if (std::exchange(has_ended, true)) return;
          value = std::move(given);
        }
        ended.notify_one();
      }
    };
    // Ends the answer when the call is dropped instead of run.
    auto answer = std::make_shared<Answer>();
    absl::Cleanup drop = [answer] { answer->End(std::nullopt); };
    Leave([answer, ask = std::move(ask), drop = std::move(drop)]() mutable { answer->End(ask()); });
    std::unique_lock lock(answer->mutex);
    answer->ended.wait_for(lock, absl::ToChronoMilliseconds(patience),
                           [&] { return answer->has_ended; });
    return std::move(answer->value);
  }

  // Drops the calls that wait, and all that are left later.
  void Close() {
    Node* newest = arrived_.exchange(Closed(), std::memory_order_acquire);
    if (newest == Closed()) newest = nullptr;
    for (Node* list : {newest, std::exchange(waiting_, nullptr)}) {
      while (list != nullptr) delete std::exchange(list, list->next);
    }
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

  // Stands for the head of a list that takes no more.
  Node* Closed() const { return reinterpret_cast<Node*>(const_cast<Calls*>(this)); }

  // The head of `arrived_` is the newest call, the head of `waiting_` the oldest.
  void Fetch() {
    if (arrived_.load(std::memory_order_relaxed) == Closed()) return;
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
