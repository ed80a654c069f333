// The way to the target and back: sockets, or frames through AF_XDP.
#pragma once

#include <atomic>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "base/status.h"
#include "tools/blast/frame.h"

namespace wicket::blast {

// Where packets come from. Source n has address n % A of the A addresses in `from`. Its port is the
// range's first plus n / A, modulo the ports. So all addresses are used before the second port is.
struct Sources {
  std::vector<Prefix> from;  // empty: the system chooses
  std::optional<std::pair<uint16_t, uint16_t>> ports;

  // Source `number`. No address, or port 0, where the system chooses.
  Endpoint At(uint64_t number) const;
  // The number of different sources. Requires: `from` is not empty and `ports` is given.
  uint64_t Count() const;
};

inline constexpr uint16_t kPortMin = 1024;  // the first that needs no privilege

enum class Via { kUdp, kXdp };
enum class XdpCopy { kAuto, kCopy, kZeroCopy };

struct PortOptions {
  Endpoint target;
  Sources sources;
  Via via = Via::kUdp;
  std::string interface;  // of AF_XDP; empty: the route's
  XdpCopy copy = XdpCopy::kAuto;
  std::optional<uint16_t> vlan;
};

// Packets that did not leave.
struct Unsent {
  uint64_t refused = 0;  // an error, such as that no process listens on the port
  uint64_t no_room = 0;  // the way out stayed full
};

// One thread's way to the target. Thread: one.
class Port {
 public:
  using Take = std::function<void(std::span<const uint8_t> payload)>;

  virtual ~Port() = default;

  // Queues a packet. Requires: `source` is in the range that the port was opened for; the payload
  // has at most kPayloadMax bytes.
  virtual void Send(uint64_t source, std::span<const uint8_t> payload) = 0;
  // Hands the queued packets to the kernel. Returns: packets that did not leave, since the last
  // Flush(). Send() may have tried some packets already.
  virtual Unsent Flush() = 0;
  // Waits until a packet has arrived, for at most `wait_ns`. Calls `take` with payloads that have
  // arrived, which are valid during the call. When many wait, some are left for the next Receive().
  virtual void Receive(uint64_t wait_ns, const Take& take) = 0;
  // Packets that arrived and were dropped for lack of room in our queues, since the port was
  // opened.
  virtual uint64_t Overrun() const = 0;
  // Packets from one source that are best sent one after the other: a system call sends them all.
  virtual uint64_t run() const = 0;
};

// The sources that one thread sends from: first, first + step, and so on, `count` in all.
// `first` is below `step`.
struct SourceRange {
  uint64_t first = 0, step = 1, count = 1;
};

// Opens a UDP socket for each source. Errors: name the system call, and the address if it has one.
absl::StatusOr<std::unique_ptr<Port>> OpenUdpPort(const PortOptions& options,
                                                  const SourceRange& range);

// AF_XDP on an interface: frames may have any source. While it exists, the interface runs an XDP
// program that redirects the answers to the generator.
class XdpInterface {
 public:
  // Finds the interface and the MAC address of the next hop to the target, and attaches the
  // program. Requires: options.sources.ports.
  // Errors: those of FirstHop(); others name the system call that failed.
  static absl::StatusOr<std::unique_ptr<XdpInterface>> Open(const PortOptions& options);
  virtual ~XdpInterface() = default;

  // The sources asked for. The interface's own address where none was.
  virtual const Sources& sources() const = 0;

  // Opens the port of thread `number` of `count`: queues number, number + count, and so on.
  // Errors: names the bind; InvalidArgument when there are fewer queues than threads; Unimplemented
  //         when zero copy is asked for and the interface has none.
  virtual absl::StatusOr<std::unique_ptr<Port>> OpenPort(int number, int count) = 0;
};

}  // namespace wicket::blast
