// Serves HTTP at gates.
//
// A thread for each connection, of which there are few: the callers are a platform's provisioning
// and operators, not clients.
#pragma once

#include <atomic>
#include <deque>
#include <functional>
#include <list>
#include <memory>
#include <mutex>
#include <thread>
#include <utility>
#include <vector>

#include "absl/time/time.h"
#include "base/fd.h"
#include "base/task_clock.h"
#include "http/exchange.h"
#include "http/gate.h"

namespace wicket::http {

// Gives one answer, or calls Abort(). Thread: any number at once.
using Handler = std::function<void(Exchange&)>;

// Answers all requests of one connection, until either side ends it. Looks at `stopping` between
// two requests only: Shutdown() of `transport` ends a wait.
// `role_of` is asked with each request, and by role_now.
void ServeConnection(Transport& transport, const Handler& handler,
                     const std::atomic<bool>& stopping,
                     const std::function<Role(const Exchange&)>& role_of);

// Thread: one makes and destroys it.
class Server {
 public:
  static constexpr size_t kConnectionsMax = 256;
  static constexpr size_t kKeptForRoot = 16;  // only privileged visitors take the last ones

  // Begins to serve. What `handler` uses outlives the server.
  // Requires: connections_max >= kKeptForRoot.
  Server(std::vector<std::unique_ptr<Gate>> gates, Handler handler,
         size_t connections_max = kConnectionsMax);
  // Ends all connections, then closes the gates.
  ~Server();

  // Of the thread that accepts.
  const TaskClock& task() const { return task_; }

 private:
  struct Connection {
    Visitor visitor;
    std::thread thread;
    bool ended = false;  // under mutex_
  };

  void Loop();
  void Accept(Gate* gate);
  bool HasRoomFor(const Visitor& visitor) const;
  void Refuse(Visitor visitor);
  void Serve(Connection* connection);
  void Reap();

  const std::vector<std::unique_ptr<Gate>> gates_;
  const Handler handler_;
  const size_t connections_max_;
  const Fd wake_;
  std::atomic<bool> stopping_{false};
  std::mutex mutex_;
  std::list<Connection> connections_;
  // Answered, and closed a little after this steady time.
  std::deque<std::pair<absl::Duration, Visitor>> refused_;
  TaskClock task_;
  std::thread thread_;
};

}  // namespace wicket::http
