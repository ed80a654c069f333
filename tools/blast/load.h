// A load on one endpoint: packets at their times, and the answers to them.
//
//   schedule --intended time--> packet --> port --> endpoint
//                                           |
//   latency from the intended time <-- verified answer
//
// The schedule does not wait for the endpoint (open loop). Latency counts from the intended time,
// so it includes the time that a packet spent in the generator's own queues.
#pragma once

#include <atomic>
#include <memory>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "base/histogram.h"
#include "base/status.h"
#include "tools/blast/capture.h"
#include "tools/blast/packets.h"
#include "tools/blast/port.h"

namespace wicket::blast {

// When packets leave.
struct Pace {
  double rate = 100;              // packets a second, of all threads
  std::optional<double> ramp_to;  // the rate at the end of `duration`; it changes linearly
  // Closed loop, without a rate: handshakes under way at once, one a thread at least.
  std::optional<uint64_t> in_flight;
  absl::Duration duration = absl::Seconds(10);
  uint64_t count_max = 10'000'000;  // packets, of all threads; retries and pings come on top
};

// How long a client waits for an answer.
struct Patience {
  absl::Duration timeout = absl::Seconds(5);  // for a response without retries; for a pong
  // Further handshakes; with a cookie when the client got one. kCookie may make one more.
  uint64_t retries = 0;
  absl::Duration retry_after = absl::Seconds(5);  // and up to a fifteenth more [WG 6.4]
};

// Which clients come.
struct Clients {
  // Clients with lower numbers have come before. A multiple of the threads.
  uint64_t first = 0;
  bool known = false;    // all have come before: each may make a handshake of kind kRekey or kOld
  uint64_t sources = 0;  // the sources that they share; 0: one a client, kClientSourcesMax at most
};

struct LoadOptions {
  PortOptions port;
  PublicKey target_key;
  Clients clients;
  uint64_t attack_sources = 64;  // of packets that are not a client's
  Mix mix;
  Pace pace;
  Patience patience;
  // Packets that are made before the first is sent; but for retries, no others are sent. 0: each is
  // made when it is due.
  uint64_t prepared = 0;
  bool confirm = true;          // complete each handshake with a packet
  std::optional<Address> ping;  // that packet is an echo request to this IPv6 address in the tunnel
  const std::vector<CapturedDatagram>* replay = nullptr;  // sent in place of the mix
  bool at_captured_times = true;                          // the replay does without the rate
  int threads = 1;                                        // 256 at most: a byte of the sender index
  std::vector<int> cpus;  // thread i is pinned to cpus[i % size]; empty: to none
  uint64_t seed = 1;      // of the random numbers
};

// The figures of one thread until now. Thread: one writer, any readers.
struct Counts {
  // Packets sent.
  std::atomic<uint64_t> sent[kKinds] = {};  // by the mix; a client's first attempt only
  std::atomic<uint64_t> retried{0};         // a client's further attempts
  std::atomic<uint64_t> replayed{0};        // out of a capture
  std::atomic<uint64_t> pinged{0};
  // Of all these and of packets that confirm, those that did not leave.
  std::atomic<uint64_t> send_errors{0};  // refused by the system, or by the target's system
  std::atomic<uint64_t> no_room{0};      // the way out stayed full
  // Packets received.
  std::atomic<uint64_t> answered[kKinds] = {};  // responses that verify
  std::atomic<uint64_t> cookies{0};     // cookie replies that verify: the endpoint is under load
  std::atomic<uint64_t> ponged{0};      // answers to pings
  std::atomic<uint64_t> unverified{0};  // answers that do not verify
  // Packets that answer nothing that is remembered, data of sessions not among them.
  std::atomic<uint64_t> unexpected{0};
  std::atomic<uint64_t> unexpected_cookies{0};  // the cookie replies in `unexpected`
  std::atomic<uint64_t> responses{0};  // to a capture's packets: there are no keys to verify them
  // Dropped for lack of room in our queues. Known when the thread has ended; 0 until then.
  std::atomic<uint64_t> overrun{0};
  // Clients.
  std::atomic<uint64_t> clients{0};    // that have come
  std::atomic<uint64_t> lost{0};       // handshakes without an answer in time
  std::atomic<uint64_t> exhausted{0};  // turns that wanted a client when there was none
  // Time. Known when the thread takes no more turns; 0 until then.
  std::atomic<uint64_t> sending_ns{0};  // from the load's start until then
  std::atomic<uint64_t> waited_ns{0};   // the part of sending_ns that was spent waiting
  // From the intended time
  Histogram latency;   // to the arrival of the verified answer,
  Histogram usable;    // to the arrival of the answer to the ping,
  Histogram lateness;  // to the sending.

  uint64_t Sent() const;      // all but pings and the packets that confirm
  uint64_t Answered() const;  // responses, verified or to a capture's packets
};

// How far a load is to end. Thread: any.
using Ending = std::atomic<int>;
constexpr int kGoOn = 0;
constexpr int kSendNoMore = 1;  // answers are still awaited
constexpr int kWaitNoMore = 2;  // nor are answers awaited

// Writes the packets of a load into a capture file and sends nothing: first attempts, at the rate,
// also where options.pace.in_flight is set. Stops when `ending` says so.
// Returns: packets written. Errors: those of the file.
absl::StatusOr<uint64_t> WriteCapture(const LoadOptions& options, const Fleet* fleet,
                                      const std::string& file, const Ending& ending);

constexpr uint64_t kClientSourcesMax = 16'384;  // unless more are asked for
constexpr uint64_t kInFlightMax = 1 << 19;      // handshakes under way of one thread
constexpr uint64_t kPreparedMax = 20'000'000;   // packets, some 300 bytes each

class Worker;
class Mailboxes;

// The threads of a load. Thread: one makes, watches and ends it.
class Load {
 public:
  // Opens the ports and makes the packets that are to be prepared.
  // `ending`: ends the load from now on. It, `fleet` and options.replay must outlive the load.
  // Errors: those of the ports; InvalidArgument when there are more sources than addresses and
  //         ports, or when the process may not run on one of the CPUs; Cancelled when `ending`
  //         ended the load before all packets were made.
  static absl::StatusOr<std::unique_ptr<Load>> Make(const LoadOptions& options, const Fleet* fleet,
                                                    const Ending& ending);
  ~Load();

  void Start();
  // Whether every thread that was started has ended.
  bool done() const { return running_ == 0; }
  void Join();

  // One a thread.
  const std::vector<const Counts*>& counts() const { return counts_; }

 private:
  explicit Load(const Ending& ending);
  const Ending& ending_;
  std::unique_ptr<XdpInterface> interface_;
  std::unique_ptr<Mailboxes> mailboxes_;
  std::vector<std::unique_ptr<Worker>> workers_;
  std::vector<const Counts*> counts_;
  std::vector<std::thread> threads_;
  std::vector<int> cpus_;
  std::atomic<int> running_{0};
};

}  // namespace wicket::blast
