// The way out to the target, and back.
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

// Where packets come from: source n has address n % A of the A that `from` holds, and the
// next port of the range after each round. So neither runs out before the other is used.
struct Sources {
  std::vector<Prefix> from;  // empty: the system's choice
  std::optional<std::pair<uint16_t, uint16_t>> ports;

  // No address and port 0 where it is the system's choice.
  Endpoint At(uint64_t number) const;
  // How many there are, all different. Requires: addresses and ports are given.
  uint64_t Count() const;
};

inline constexpr uint16_t kPortMin = 1024;  // the first that needs no privilege

enum class Via { kUdp, kXdp };
enum class XdpCopy { kAuto, kCopy, kZeroCopy };

struct PortOptions {
  Endpoint target;
  Sources sources;
  Via via = Via::kUdp;
  std::string interface;  // AF_XDP; empty: the route's
  XdpCopy copy = XdpCopy::kAuto;
  std::optional<uint16_t> vlan;
};

// Packets that did not leave.
struct Unsent {
  uint64_t refused = 0;  // an error: nobody listens there, for one
  uint64_t no_room = 0;  // the way out stayed full
};

// Thread: one.
class Port {
 public:
  using Take = std::function<void(std::span<const uint8_t> payload)>;

  virtual ~Port() = default;

  // Queues a packet. Requires: `source` is in the range it was opened for.
  virtual void Send(uint64_t source, std::span<const uint8_t> payload) = 0;
  // Hands the queued packets to the kernel. Returns: packets that did not leave, since the last
  // Flush(). Send() may have tried some of them already.
  virtual Unsent Flush() = 0;
  // Waits for at most `wait_ns`, and takes what has come.
  virtual void Receive(uint64_t wait_ns, const Take& take) = 0;
  // Packets that arrived and were dropped for lack of room in our queues, since the port was
  // opened.
  virtual uint64_t Overrun() const = 0;
  // So many packets one after the other had better come from one source.
  virtual uint64_t run() const = 0;
};

// The sources that one thread sends from: first, first + step, ... `count` of them.
struct SourceRange {
  uint64_t first = 0, step = 1, count = 1;
};

// A UDP socket for each source. Errors: those of the sockets, with their addresses.
absl::StatusOr<std::unique_ptr<Port>> OpenUdpPort(const PortOptions& options,
                                                  const SourceRange& range);

// AF_XDP on an interface: frames with whatever source. The interface's program, which
// catches the answers, is the generator's while it runs.
class XdpInterface {
 public:
  // Finds the interface and the next station on the way to the target, and attaches the
  // program. Errors: name the interface, and what it lacks.
  static absl::StatusOr<std::unique_ptr<XdpInterface>> Open(const PortOptions& options);
  virtual ~XdpInterface() = default;

  // As asked for; the interface's own address where none was.
  virtual const Sources& sources() const = 0;

  // The `number`th of `count` threads: queues `number`, `number` + `count`, ...
  // Errors: names the bind; InvalidArgument when there are fewer queues than threads.
  virtual absl::StatusOr<std::unique_ptr<Port>> OpenPort(int number, int count) = 0;
};

}  // namespace wicket::blast
