// Deletes peers whose time is over, a few at a time.
#pragma once

#include <condition_variable>
#include <mutex>
#include <vector>

#include "event/event_log.h"
#include "roster/devices.h"
#include "store/committer.h"

namespace wicket::roster {

// Thread: one.
class ExpiryCollector {
 public:
  ExpiryCollector(const store::Store* store, store::Committer* committer, Devices* devices,
                  event::EventLog* events)
      : store_(store), committer_(committer), devices_(devices), events_(events) {}
  // Waits for the transaction that is under way.
  ~ExpiryCollector();

  // Takes the peers deleted since the last call out of their devices, and asks for
  // more to be deleted when their time has come. Waits for no disk.
  void Tick();

 private:
  bool AnyDue() const;
  void DeleteSlice();
  void Collected(const absl::Status& status, std::vector<store::Peer> peers);

  const store::Store* store_;
  store::Committer* committer_;
  Devices* devices_;
  event::EventLog* events_;
  std::mutex mutex_;
  std::condition_variable idle_;
  std::vector<store::Peer> deleted_;
  size_t slice_ = 1;  // of one transaction; of one thread at a time, whoever has it under way
  bool under_way_ = false;
  bool stopping_ = false;
};

}  // namespace wicket::roster
