#include "gateway/front.h"

#include <utility>

#include "gateway/machine.h"
#include "report/diagnose.h"

namespace wicket::gateway {
namespace {

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
            .metrics = [reporter] { return reporter->Metrics(); },
            .history = [reporter](uint64_t from) { return reporter->history().ToJson(from); },
            .findings =
                [reporter, path = config.path] {
                  const auto status = reporter->latest();
                  report::Machine machine =
                      LookAtMachine(path, LoadConfig(path), /*privileged=*/false);
                  machine.root = true;  // what root would see beside, the status tells
                  return report::ToJson(report::Diagnose(machine, status.get()));
                },
            .reload = std::move(reload)}) {}

absl::Status Front::Listen(const http::UnixOptions& options) {
  std::vector<std::unique_ptr<http::Gate>> gates(1);
  WICKET_ASSIGN_OR_RETURN(gates[0], http::UnixGate::Open(options));
  server_ = std::make_unique<http::Server>(
      std::move(gates), [this](http::Exchange& exchange) { api_.Handle(exchange); });
  return absl::OkStatus();
}

}  // namespace wicket::gateway
