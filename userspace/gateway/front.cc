#include "gateway/front.h"

#include <algorithm>
#include <memory>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "gateway/findings.h"

namespace wicket::gateway {
namespace {

constexpr size_t kPrefixesInLabel = 16;

std::map<std::string, installer::Installer*> ByName(const DeviceWatch& devices) {
  std::map<std::string, installer::Installer*> by_name;
  for (size_t i = 0; i < devices.watched().size(); ++i) {
    by_name[devices.configs()[i].name] = devices.watched()[i].installer.get();
  }
  return by_name;
}

roster::Pools PoolsOf(const Config& config) {
  roster::Pools pools;
  for (const PoolConfig& one : config.pools) {
    roster::Pool& pool = pools[one.name];
    pool.device = one.device;
    for (const Prefix& cidr : one.cidrs) {
      (cidr.address.family == Family::kIpv4 ? pool.ipv4 : pool.ipv6).push_back(cidr);
    }
  }
  return pools;
}

// What the devices do not know of the peers that have series of their own.
void NamePeers(const store::Store& store, document::Status* status) {
  const auto snapshot = store.NewSnapshot();
  if (!snapshot.ok()) return;
  for (document::DeviceStatus& device : status->devices) {
    for (document::PeerTraffic& traffic : device.busiest) {
      const auto peer = snapshot->FindPeer(traffic.public_key);
      if (!peer.ok()) continue;
      const auto& all = peer->config.allowed_ips;
      const std::vector<Prefix> some(all.begin(), all.begin() + static_cast<ptrdiff_t>(std::min(
                                                                    all.size(), kPrefixesInLabel)));
      traffic.allowed_ips = absl::StrJoin(some, ",", [](std::string* out, const Prefix& prefix) {
        absl::StrAppend(out, ToString(prefix));
      });
      for (const auto& [name, text] : peer->labels) {
        if (name == "friendly_name") traffic.friendly_name = text;
      }
    }
  }
}

}  // namespace

Front::Front(const Config& config, const DeviceWatch& devices, const store::Store* store,
             store::Committer* committer, event::EventLog* events, report::Reporter* reporter,
             ReloadHandler reload)
    : installers_(ByName(devices)),
      roster_(committer, &installers_, events, PoolsOf(config)),
      collector_(store, &roster_, config.store_keeps_expired),
      api_({.roster = &roster_,
            .devices = &installers_,
            .store = store,
            .events = events,
            .status = [reporter] { return reporter->latest(); },
            .metrics =
                [reporter, store] {
                  return reporter->Metrics(
                      [store](document::Status* status) { NamePeers(*store, status); });
                },
            .history = [reporter](uint64_t from) { return reporter->history().ToJson(from); },
            .findings = [findings = std::make_shared<Findings>(
                             config, reporter)] { return findings->ToJson(); },
            .reload = std::move(reload)}) {}

absl::Status Front::Listen(const http::UnixOptions& options) {
  std::vector<std::unique_ptr<http::Gate>> gates(1);
  WICKET_ASSIGN_OR_RETURN(gates[0], http::UnixGate::Open(options));
  server_ = std::make_unique<http::Server>(
      std::move(gates), [this](http::Exchange& exchange) { api_.Handle(exchange); });
  return absl::OkStatus();
}

}  // namespace wicket::gateway
