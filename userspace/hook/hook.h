// Brings events to one receiver: signed, in order, at least once, and again until it takes them.
//
//   wicketd --/v1/events--> Follow --Queue, on disk--> Deliver --HTTPS POST--> receiver
//
// wicketd does not wait: a hook that falls behind is told how many events it missed, and so is its
// receiver. What the queue has no room for is missed in the same way.
#pragma once

#include <atomic>
#include <condition_variable>
#include <mutex>
#include <string>
#include <thread>

#include "hook/config.h"
#include "hook/queue.h"
#include "hook/secret.h"
#include "hook/transfer.h"

namespace wicket::hook {

// Splits server-sent events into their data. Thread: one.
class EventReader {
 public:
  // Returns: the JSON of each event that is complete with this piece. The number of a "lagged" is
  //          added to `missed`.
  std::vector<std::string> Take(absl::string_view piece, uint64_t* missed);

 private:
  std::string rest_;
};

// How long to wait before the attempt after `failed` ones: 1 s, doubled up to 5 minutes, less up to
// a half at random. `random`: 0 to 1.
absl::Duration PauseAfter(uint64_t failed, double random);

// Thread: one makes and destroys it.
class Hook {
 public:
  // Begins. `socket`: wicketd's. A queue that fails, but for a full disk, ends the process.
  Hook(HookConfig config, std::string socket, SigningSecret secret, Queue queue);
  // Ends within seconds; what is in the queue stays there.
  ~Hook();

 private:
  void Follow();
  void Deliver();
  // Adds events to the queue; those that find no room are counted as missed.
  void Enqueue(std::vector<std::string> events);
  // Returns: whether the receiver took the batch.
  bool Send(Client* client, const Batch& batch);
  // The queue cannot be used any more: ends the process, which the service manager starts again.
  [[noreturn]] void Die(const absl::Status& status);
  // Returns: false when the hook stops.
  bool Sleep(absl::Duration duration);

  const HookConfig config_;
  const std::string socket_;
  const SigningSecret secret_;
  Queue queue_;
  uint64_t missed_ = 0;  // not told yet; of Follow()
  uint64_t failed_ = 0;  // attempts since the last that worked; of Deliver()
  std::atomic<bool> stopping_{false};
  std::mutex mutex_;
  std::condition_variable wake_;
  bool fresh_ = false;  // something was queued since Deliver() last looked; under mutex_
  std::thread follower_, deliverer_;
};

}  // namespace wicket::hook
