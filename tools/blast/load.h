// A load on one endpoint: what is sent when, and what comes back.
//
//   schedule --intended time--> packet --> port --> endpoint
//                                           |
//   latency from the intended time <-- verified answer
//
// The schedule does not wait for the endpoint (open loop): when it falls behind, every
// answer that is late because of it counts as late, so nothing hides in a queue of ours.
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

struct LoadOptions {
  PortOptions port;
  PublicKey target_key;
  uint64_t client_sources = 0;   // 0: one a client, 16 384 at most
  uint64_t attack_sources = 64;  // of those who are no clients
  uint64_t first_client = 0;     // those before him have come already
  Mix mix;
  double rate = 100;                  // packets a second, of all threads
  std::optional<double> ramp_to;      // grows to this linearly
  std::optional<uint64_t> in_flight;  // closed loop: so many at once, in place of a rate
  absl::Duration duration = absl::Seconds(10);
  uint64_t count_max = 10'000'000;  // packets
  absl::Duration timeout = absl::Seconds(5);
  uint64_t retries = 0;  // handshakes more, with a cookie where one was asked for
  absl::Duration retry_after = absl::Seconds(5);  // and up to a fifteenth more [WG 6.4]
  uint64_t prepared = 0;                          // packets made before the first is sent
  bool known = false;                             // clients were there before this run
  bool confirm = true;                            // complete each handshake with a packet
  std::optional<Address> ping;                    // by an echo request to this one, in the tunnel
  const std::vector<CapturedDatagram>* replay = nullptr;  // in place of the mix
  bool at_captured_times = true;                          // in place of the rate
  int threads = 1;
  std::vector<int> cpus;  // thread i is pinned to cpus[i % size]
  uint64_t seed = 1;
};

// What happened so far. Thread: written by one, read by any.
struct Counts {
  std::atomic<uint64_t> sent[kKinds] = {};  // first attempts
  std::atomic<uint64_t> answered[kKinds] = {};
  std::atomic<uint64_t> replayed{0};    // out of a capture
  std::atomic<uint64_t> retried{0};     // handshakes sent again
  std::atomic<uint64_t> lost{0};        // no answer within the timeout, of kinds that want one
  std::atomic<uint64_t> unverified{0};  // answers that do not verify
  std::atomic<uint64_t> unexpected{0};  // what is no answer to anything we remember
  std::atomic<uint64_t> unexpected_cookies{0};  // of it
  std::atomic<uint64_t> overrun{0};             // what came and found no room with us
  std::atomic<uint64_t> responses{0};  // to packets out of a capture: nobody can verify them
  std::atomic<uint64_t> cookies{0};    // cookie replies: the endpoint says it is under load
  std::atomic<uint64_t> pinged{0}, ponged{0};
  std::atomic<uint64_t> send_errors{0};  // refused by the system, or by the target's
  std::atomic<uint64_t> no_room{0};      // never left: the way out stayed full
  std::atomic<uint64_t> exhausted{0};    // a client was wanted and there was none
  std::atomic<uint64_t> sending_ns{0};   // from the first packet to the last, once that is known
  std::atomic<uint64_t> waited_ns{0};    // of them, for answers or for the next packet's time
  std::atomic<uint64_t> clients{0};      // that have come
  Histogram latency;                     // intended time to verified answer
  Histogram usable;                      // intended time to the first data from the tunnel
  Histogram lateness;                    // intended time to sent

  uint64_t Sent() const;  // all packets but those inside tunnels
  uint64_t Answered() const;
};

// Thread: any.
using Ending = std::atomic<int>;
constexpr int kGoOn = 0, kSendNoMore = 1, kWaitNoMore = 2;  // the last: not for answers either

// Writes what a load would send into a capture file, and sends nothing. Returns: packets, those
// until it is to end.
absl::StatusOr<uint64_t> WriteCapture(const LoadOptions& options, const Fleet* fleet,
                                      const std::string& file, const Ending& ending);

constexpr uint64_t kClientSourcesMax = 16'384;  // unless more are asked for
constexpr uint64_t kInFlightMax = 1 << 19;      // of a thread
constexpr uint64_t kPreparedMax = 20'000'000;   // some 600 bytes each

class Worker;
class Mailboxes;

// Thread: one makes, watches and ends it.
class Load {
 public:
  // Opens the ports and makes what is to be prepared.
  // `ending`: of the load, from now on; it must outlive it.
  // Errors: those of the ports; InvalidArgument when there are more sources than addresses, or
  // a CPU is not ours; Cancelled when it was to end before all was made.
  static absl::StatusOr<std::unique_ptr<Load>> Make(const LoadOptions& options, const Fleet* fleet,
                                                    const Ending& ending);
  ~Load();

  void Start();
  bool done() const { return running_ == 0; }
  void Join();

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
