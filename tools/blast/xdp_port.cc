// The way to the target through AF_XDP: frames with any source.
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <net/if.h>
#include <poll.h>
#include <string.h>

#include "absl/strings/str_cat.h"
#include "tools/blast/port.h"
#include "tools/blast/route.h"
#include "xdp/catch.skel.h"
#include "xsk/socket.h"

namespace wicket::blast {
namespace {

constexpr uint32_t kSendFrames = 2048;
constexpr int kFlushTries = 1000;
constexpr int kBatches = 32;  // of answers, taken from one queue in one Receive()

class XdpPort : public Port {
 public:
  XdpPort(const PortOptions& options, const Link& link,
          std::vector<std::unique_ptr<xsk::Socket>> sockets)
      : target_(options.target),
        sources_(options.sources),
        link_(link),
        sockets_(std::move(sockets)) {
    for (const auto& socket : sockets_) polled_.push_back({socket->fd(), POLLIN, 0});
  }

  // All packets leave through the first queue. Answers arrive at the queue that the NIC chooses.
  void Send(uint64_t source, std::span<const uint8_t> payload) override {
    uint8_t* frame = nullptr;
    for (int i = 0; i < kFlushTries && (frame = sockets_[0]->Reserve()) == nullptr; ++i) {
      no_room_ += sockets_[0]->Flush();
    }
    if (frame == nullptr) {
      ++no_room_;
      return;
    }
    sockets_[0]->Submit(
        static_cast<uint32_t>(WriteFrame(link_, sources_.At(source), target_, payload, frame)));
  }

  Unsent Flush() override {
    no_room_ += sockets_[0]->Flush();
    return {.refused = 0, .no_room = std::exchange(no_room_, 0)};
  }

  void Receive(uint64_t wait_ns, const Take& take) override {
    const timespec wait{static_cast<time_t>(wait_ns / 1'000'000'000),
                        static_cast<long>(wait_ns % 1'000'000'000)};
    if (wait_ns > 0) ppoll(polled_.data(), polled_.size(), &wait, nullptr);
    for (const auto& socket : sockets_) {
      for (int i = 0; i < kBatches; ++i) {
        const std::span<const xsk::RxFrame> frames = socket->Peek();
        for (const xsk::RxFrame& frame : frames) {
          if (const auto datagram = ReadFrame({frame.data, frame.bytes})) take(datagram->payload);
        }
        socket->Release();
        if (frames.size() < xsk::kBatchMax) break;
      }
    }
  }

  uint64_t Overrun() const override {
    uint64_t sum = 0;
    for (const auto& socket : sockets_) {
      const xsk::SocketStats stats = socket->ReadStats();
      sum += stats.dropped + stats.ring_full;
    }
    return sum;
  }

  uint64_t run() const override { return 1; }

 private:
  Endpoint target_;
  Sources sources_;
  Link link_;
  std::vector<std::unique_ptr<xsk::Socket>> sockets_;
  std::vector<pollfd> polled_;
  uint64_t no_room_ = 0;
};

struct CloseProgram {
  void operator()(catch_bpf* program) const { catch_bpf__destroy(program); }
};
struct Detach {
  void operator()(bpf_link* link) const { bpf_link__destroy(link); }
};

class Interface : public XdpInterface {
 public:
  static absl::StatusOr<std::unique_ptr<XdpInterface>> Open(const PortOptions& options) {
    std::unique_ptr<Interface> self(new Interface(options));
    WICKET_ASSIGN_OR_RETURN(self->hop_,
                            FirstHop(options.target, options.interface, options.vlan.has_value()));
    Sources& sources = self->options_.sources;
    if (sources.from.empty()) sources.from = {PrefixOf(self->hop_.own, self->hop_.own.bits())};
    libbpf_set_print(nullptr);  // the errors below are enough
    catch_bpf* program = catch_bpf__open();
    if (program == nullptr) return absl::InternalError("catch_bpf__open()");
    self->program_.reset(program);
    const Address& target = options.target.address;
    memcpy(const_cast<uint8_t*>(program->rodata->target_be), target.bytes.data(), 16);
    const_cast<uint16_t&>(program->rodata->target_port) = options.target.port;
    const_cast<uint16_t&>(program->rodata->first_port) = sources.ports->first;
    const_cast<uint16_t&>(program->rodata->last_port) = sources.ports->second;
    const_cast<uint8_t&>(program->rodata->target_version) = static_cast<uint8_t>(target.family);
    if (const int error = catch_bpf__load(program)) {
      return ErrnoStatus(-error, "bpf(BPF_PROG_LOAD, catch)", "--via xdp needs root");
    }
    // A link, so that the kernel detaches the program when this process ends in any way.
    const auto ifindex = static_cast<int>(if_nametoindex(self->hop_.interface.c_str()));
    self->link_.reset(bpf_program__attach_xdp(program->progs.catch_answers, ifindex));
    if (self->link_ == nullptr) {
      return ErrnoStatus(errno, absl::StrCat("xdp_attach(", self->hop_.interface, ")"),
                         errno == EBUSY ? "another program holds the hook" : "");
    }
    return self;
  }

  const Sources& sources() const override { return options_.sources; }

  absl::StatusOr<std::unique_ptr<Port>> OpenPort(int number, int count) override {
    const uint32_t queues = xsk::QueueCount(hop_.interface);
    if (static_cast<uint32_t>(count) > queues) {
      return absl::InvalidArgumentError(
          absl::StrCat("--threads ", count, ": ", hop_.interface, " has ", queues, " queues"));
    }
    std::vector<std::unique_ptr<xsk::Socket>> sockets;
    for (auto queue = static_cast<uint32_t>(number); queue < queues;
         queue += static_cast<uint32_t>(count)) {
      WICKET_ASSIGN_OR_RETURN(
          auto socket, xsk::Socket::Open({.nic = hop_.interface,
                                          .queue = queue,
                                          .force_copy = options_.copy == XdpCopy::kCopy,
                                          .send_frames = sockets.empty() ? kSendFrames : 0}));
      if (options_.copy == XdpCopy::kZeroCopy && !socket->zero_copy()) {
        return absl::UnimplementedError(
            absl::StrCat("--xdp-copy zero-copy: ", hop_.interface, " has only copy mode"));
      }
      const int fd = socket->fd();
      if (bpf_map_update_elem(bpf_map__fd(program_->maps.catch_sockets), &queue, &fd, BPF_ANY)) {
        return ErrnoStatus(errno, absl::StrCat("catch_sockets[", queue, "]"));
      }
      sockets.push_back(std::move(socket));
    }
    const Link link{hop_.own_station, hop_.station, options_.vlan};
    return std::make_unique<XdpPort>(options_, link, std::move(sockets));
  }

 private:
  explicit Interface(const PortOptions& options) : options_(options) {}

  PortOptions options_;
  Hop hop_;
  std::unique_ptr<catch_bpf, CloseProgram> program_;
  std::unique_ptr<bpf_link, Detach> link_;
};

}  // namespace

absl::StatusOr<std::unique_ptr<XdpInterface>> XdpInterface::Open(const PortOptions& options) {
  return Interface::Open(options);
}

}  // namespace wicket::blast
