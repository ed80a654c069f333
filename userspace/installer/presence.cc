#include "installer/presence.h"

#include <net/if.h>

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/clock.h"
#include "base/log.h"

namespace wicket::installer {
namespace {

constexpr absl::Duration kLookInterval = absl::Milliseconds(250);

}  // namespace

bool Presence::StillThere() {
  next_look_ = SteadyNow() + kLookInterval;
  char name[IF_NAMESIZE];
  return if_indextoname(static_cast<unsigned>(found_.ifindex), name) != nullptr &&
         name == hand_->name();
}

absl::StatusOr<std::unique_ptr<wgdev::Device>> Presence::Read(wgdev::Backend backend) {
  const absl::Duration began = SteadyNow();
  auto device = Open(backend);
  const absl::Duration now = SteadyNow();
  next_look_ = now + std::max(kLookInterval, now - began);
  const std::string problem(device.status().message());
  if (problem != std::exchange(last_problem_, problem) && !problem.empty()) {
    Log(LogLevel::kWarning, About{hand_->name()}, "waiting for the device: ", problem);
  }
  if (found_.ifindex == 0 && found_.problem != problem) {
    found_.problem = problem;
    changed_.Put(std::make_unique<FoundDevice>(found_));
  }
  return device;
}

absl::StatusOr<std::unique_ptr<wgdev::Device>> Presence::Open(wgdev::Backend backend) {
  const std::string& name = hand_->name();
  WICKET_ASSIGN_OR_RETURN(std::unique_ptr<wgdev::Device> device,
                          wgdev::Open(name, backend, [hand = hand_] { hand->Beat(); }));
  hand_->Beat();
  WICKET_ASSIGN_OR_RETURN(const wgdev::DeviceInfo info, device->ReadInfo());
  hand_->Beat();
  const Secret<kKeyBytes> none;
  if (crypto::Equal(info.private_key.data(), none.data(), none.size())) {
    return absl::FailedPreconditionError(
        absl::StrCat("it has no private key (`wg set ", name, " private-key FILE`)"));
  }
  if (info.listen_port == 0) {
    return absl::FailedPreconditionError(
        absl::StrCat("it has no listen port (`wg set ", name, " listen-port PORT`)"));
  }
  auto identity = crypto::Locked<noise::Identity>::Make(info.private_key);
  if (!identity) {
    return absl::ResourceExhaustedError(
        "locking the private key into memory: refused (raise RLIMIT_MEMLOCK or give CAP_IPC_LOCK)");
  }
  found_ = {.ifindex = info.ifindex,
            .public_key = identity->public_key(),
            .port = info.listen_port,
            .backend = std::string(device->backend()),
            .identity = nullptr,
            .problem = ""};
  found_.identity = std::make_shared<const crypto::Locked<noise::Identity>>(std::move(identity));
  changed_.Put(std::make_unique<FoundDevice>(found_));
  Log(LogLevel::kInfo, About{name}, found_.backend, " backend, port ", found_.port, ", public key ",
      ToBase64(found_.public_key));
  return device;
}

void Presence::Lose() {
  found_ = {};
  changed_.Put(std::make_unique<FoundDevice>());
}

}  // namespace wicket::installer
