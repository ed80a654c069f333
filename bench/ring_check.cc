// wicket_ring_check: a thread behind AF_XDP that checks the mac1 of initiations, and nothing else.
//
//   NIC -> XDP, which steers every initiation -> ring -> mac1 -> given back
//
// Does what Wicket's XDP program does in the driver, at the place where a gateway without one
// would do it, as a rival to compare with. The ring, the wait and the check are Wicket's own. For
// each line on standard input it prints "REFUSED LOST\n": initiations with a wrong mac1, and
// those lost because the ring was full.
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <linux/if_link.h>
#include <net/if.h>
#include <poll.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <cerrno>
#include <cstring>
#include <iostream>

#include "noise/responder.h"
#include "wire/messages.h"
#include "xsk/socket.h"

namespace wicket {
namespace {

absl::Status Failed(absl::string_view what, absl::string_view where) {
  return absl::ErrnoToStatus(errno, absl::StrCat(where, ": ", what));
}

// Steers every initiation that arrives on queue 0 of the NIC to the socket.
absl::Status Attach(const std::string& nic, const std::string& object, int socket) {
  bpf_object* programs = bpf_object__open_file(object.c_str(), nullptr);
  if (programs == nullptr) return Failed("open", object);
  bpf_program* program = nullptr;  // sections have iproute2's names, not libbpf's
  bpf_object__for_each_program(program, programs) {
    bpf_program__set_type(program, BPF_PROG_TYPE_XDP);
  }
  if (bpf_object__load(programs) != 0) return Failed("load", object);
  const uint32_t queue = 0;
  const int sockets = bpf_object__find_map_fd_by_name(programs, "sockets");
  const bpf_program* steer = bpf_object__find_program_by_name(programs, "bare_steer");
  if (sockets < 0 || steer == nullptr) return Failed("no bare_steer with its sockets", object);
  if (bpf_map_update_elem(sockets, &queue, &socket, BPF_ANY) != 0) return Failed("sockets", object);
  const int ifindex = static_cast<int>(if_nametoindex(nic.c_str()));
  if (bpf_xdp_attach(ifindex, bpf_program__fd(steer), XDP_FLAGS_DRV_MODE, nullptr) != 0) {
    return Failed("attach", nic);
  }
  return absl::OkStatus();  // the program stays attached as long as the interface exists
}

absl::Status Run(const std::string& nic, const std::string& object) {
  WICKET_ASSIGN_OR_RETURN(const auto socket, xsk::Socket::Open({.nic = nic}));
  WICKET_RETURN_IF_ERROR(Attach(nic, object, socket->fd()));
  const noise::Identity identity(crypto::GeneratePrivateKey());
  std::cout << "ready" << std::endl;
  uint64_t refused = 0;
  pollfd fds[] = {{socket->fd(), POLLIN, 0}, {STDIN_FILENO, POLLIN, 0}};
  for (;;) {
    if (poll(fds, 2, -1) < 0) return Failed("poll", nic);
    while (true) {
      const std::span<xsk::RxFrame> frames = socket->Peek();
      if (frames.empty()) break;
      for (const xsk::RxFrame& frame : frames) {
        wire::Frame parsed;
        refused += wire::ParseFrame({frame.data, frame.bytes}, &parsed) &&
                   !noise::CheckMac1(identity, *parsed.initiation);
      }
      socket->Release();
    }
    if (fds[1].revents != 0) {
      std::string line;
      if (!std::getline(std::cin, line)) return absl::OkStatus();
      const xsk::SocketStats stats = socket->ReadStats();
      std::cout << refused << " " << stats.ring_full + stats.dropped << std::endl;
    }
  }
}

}  // namespace
}  // namespace wicket

int main(int argc, char** argv) {
  CLI::App app{"Checks the mac1 of initiations behind AF_XDP."};
  std::string nic, object;
  app.add_option("--nic", nic, "the interface; its queue 0 is read")->required();
  app.add_option("--programs", object, "bare.bpf.o")->required();
  CLI11_PARSE(app, argc, argv);
  const absl::Status status = wicket::Run(nic, object);
  if (!status.ok()) std::cerr << "wicket_ring_check: " << status.message() << "\n";
  return status.ok() ? 0 : 1;
}
