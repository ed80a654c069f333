// wicket_published: the published design of just-in-time WireGuard, as a rival to compare with.
//
//   NIC -> kernel -> WireGuard          does not know the peer, and stays silent
//            `---> packet socket -> mac1, e, es, s -> claimed key -> SQLite -> install, initiating
//                                                                                  |
//   client <- the device's own initiation -----------------------------------------'
//
// As described by the platform that uses it: a packet socket with a filter for initiations, the
// private key read from the device, enough of Noise to learn the static key that the sender
// claims, a cache of peers in SQLite, and the peer installed with the client's address as
// endpoint, so that the device initiates and nobody waits for the client's retry (role inversion).
//
// Written to be as fast as that design allows, with the modules, flags and device backends that
// Wicket uses: the filter runs in the kernel, packets are read 64 at a time, the statement is
// prepared, the file is mapped and read through a cache, and nothing sleeps or logs. Features that
// the published program lacks are not added: proof that the sender holds the claimed key, memory
// of old timestamps, IPv6 outside. Two of its features are left out, since no measure sees them:
// the pull of unknown peers over HTTP, and the cron job that removes idle peers.
#include <signal.h>

#include <CLI/CLI.hpp>
#include <atomic>
#include <iostream>

#include "absl/container/flat_hash_set.h"
#include "absl/strings/str_cat.h"
#include "bench/baseline/initiations.h"
#include "bench/baseline/peer_cache.h"
#include "noise/responder.h"
#include "wgdev/device.h"
#include "wire/messages.h"

namespace wicket::baseline {
namespace {

constexpr int kPoll_ms = 200;

std::atomic<bool> stop{false};

struct Counts {
  uint64_t seen = 0, bad_mac1 = 0, bad_static = 0, installed_before = 0, unknown = 0, installs = 0,
           failed = 0;
};

// Handles initiations. Thread: one.
class Gateway {
 public:
  static absl::StatusOr<Gateway> Open(const std::string& device, const std::string& nic,
                                      const std::string& database) {
    WICKET_ASSIGN_OR_RETURN(auto opened, wgdev::Open(device, wgdev::Backend::kAuto));
    WICKET_ASSIGN_OR_RETURN(const wgdev::DeviceInfo info, opened->ReadInfo());
    auto identity = crypto::Locked<noise::Identity>::Make(info.private_key);
    if (!identity) return absl::ResourceExhaustedError("locked memory: raise RLIMIT_MEMLOCK");
    WICKET_ASSIGN_OR_RETURN(PeerCache peers, PeerCache::Open(database));
    WICKET_ASSIGN_OR_RETURN(Initiations initiations, Initiations::Open(nic, info.listen_port));
    Gateway gateway(std::move(opened), std::move(identity), std::move(peers),
                    std::move(initiations));
    WICKET_RETURN_IF_ERROR(gateway.Adopt());
    return gateway;
  }

  // Returns after kPoll_ms at most.
  absl::Status Serve() {
    WICKET_ASSIGN_OR_RETURN(const auto frames, initiations_.Read(kPoll_ms));
    for (const auto frame : frames) {
      WICKET_RETURN_IF_ERROR(Take(frame));
    }
    return absl::OkStatus();
  }

  const Counts& counts() const { return counts_; }

 private:
  Gateway(std::unique_ptr<wgdev::Device> device, crypto::Locked<noise::Identity> identity,
          PeerCache peers, Initiations initiations)
      : device_(std::move(device)),
        identity_(std::move(identity)),
        peers_(std::move(peers)),
        initiations_(std::move(initiations)) {}

  // Notes the peers in the device: the device itself answers them.
  absl::Status Adopt() {
    WICKET_ASSIGN_OR_RETURN(const auto dump, device_->StartDump());
    for (bool more = true; more;) {
      std::vector<wgdev::PeerStats> chunk;
      WICKET_ASSIGN_OR_RETURN(more, dump->Next(&chunk));
      for (const auto& peer : chunk) installed_.insert(peer.public_key);
    }
    return absl::OkStatus();
  }

  absl::Status Take(std::span<const uint8_t> bytes) {
    ++counts_.seen;
    wire::Frame frame;
    if (!wire::ParseFrame(bytes, &frame)) return absl::OkStatus();
    if (!noise::CheckMac1(*identity_, *frame.initiation)) {
      ++counts_.bad_mac1;
      return absl::OkStatus();
    }
    const auto claim = noise::OpenStatic(*identity_, *frame.initiation);
    if (!claim) {
      ++counts_.bad_static;
      return absl::OkStatus();
    }
    if (installed_.contains(claim->static_public)) {
      ++counts_.installed_before;
      return absl::OkStatus();
    }
    WICKET_ASSIGN_OR_RETURN(const auto peer, peers_.Find(claim->static_public));
    if (!peer) {
      ++counts_.unknown;
      return absl::OkStatus();
    }
    const wgdev::PeerInstall install{&*peer, frame.source, /*initiate=*/true};
    const absl::Status installed = device_->Install({&install, 1})[0];
    if (absl::IsNotFound(installed)) return installed;
    if (installed.ok()) {
      installed_.insert(claim->static_public);
      ++counts_.installs;
    } else {
      ++counts_.failed;
    }
    return absl::OkStatus();
  }

  std::unique_ptr<wgdev::Device> device_;
  crypto::Locked<noise::Identity> identity_;
  PeerCache peers_;
  Initiations initiations_;
  absl::flat_hash_set<PublicKey> installed_;
  Counts counts_;
};

int Fail(const absl::Status& status) {
  std::cerr << "wicket_published: " << status.message() << "\n";
  return 1;
}

int Main(int argc, char** argv) {
  CLI::App app("The published design of just-in-time WireGuard.", "wicket_published");
  std::string device, nic, database;
  app.add_option("--device", device, "the WireGuard device to serve")->required();
  app.add_option("--nic", nic, "the interface that clients come in by")->required();
  app.add_option("--peers", database, "SQLite file of peers; made when missing")->required();
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    return app.exit(error) == 0 ? 0 : 2;
  }
  for (const int number : {SIGINT, SIGTERM}) {
    signal(number, [](int) { stop = true; });
  }
  if (const auto ready = crypto::Initialize(); !ready.ok()) return Fail(ready);
  auto gateway = Gateway::Open(device, nic, database);
  if (!gateway.ok()) return Fail(gateway.status());
  std::cout << "ready" << std::endl;
  while (!stop) {
    if (const auto served = gateway->Serve(); !served.ok()) return Fail(served);
  }
  const Counts& counts = gateway->counts();
  std::cout << absl::StrCat(counts.seen, " seen, ", counts.bad_mac1, " with a bad mac1, ",
                            counts.bad_static, " unreadable, ", counts.installed_before,
                            " installed before, ", counts.unknown, " unknown, ", counts.installs,
                            " installed, ", counts.failed, " failed\n");
  return 0;
}

}  // namespace
}  // namespace wicket::baseline

int main(int argc, char** argv) { return wicket::baseline::Main(argc, argv); }
