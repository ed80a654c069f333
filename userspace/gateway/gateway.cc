#include "gateway/gateway.h"

#include <errno.h>
#include <fcntl.h>
#include <net/if.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>

#include "absl/strings/str_cat.h"
#include "base/clock.h"
#include "base/log.h"
#include "http/server.h"

namespace wicket::gateway {
namespace {

constexpr absl::Duration kReaderCheckInterval = absl::Minutes(1);
constexpr absl::Duration kStatusInterval = absl::Seconds(1);

absl::Status WriteFile(const std::string& path, const std::string& text) {
  const std::string fresh = path + ".new";
  const Fd fd(open(fresh.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0640));
  if (!fd.valid()) return ErrnoStatus(errno, absl::StrCat("open(", fresh, ")"));
  if (write(fd.get(), text.data(), text.size()) != static_cast<ssize_t>(text.size())) {
    return ErrnoStatus(errno ? errno : EIO, absl::StrCat("write(", fresh, ")"));
  }
  if (rename(fresh.c_str(), path.c_str()) != 0) {
    return ErrnoStatus(errno, absl::StrCat("rename(", fresh, ")"));
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<std::unique_ptr<Gateway>> Gateway::Start(Config config,
                                                        installer::Sessions unsaved) {
  std::unique_ptr<Gateway> gateway(new Gateway(std::move(config)));
  WICKET_RETURN_IF_ERROR(gateway->StartAll(std::move(unsaved)));
  return gateway;
}

absl::Status Gateway::StartAll(installer::Sessions unsaved) {
  started_ = WallNow();
  std::error_code error;
  const auto folder = std::filesystem::path(config_.status_file).parent_path();
  if (!folder.empty()) std::filesystem::create_directories(folder, error);
  if (error) {
    return absl::InternalError(
        absl::StrCat("status_file ", config_.status_file, ": ", error.message()));
  }
  WICKET_RETURN_IF_ERROR(http::CheckOptions(config_.control));  // before any NIC is touched
  WICKET_RETURN_IF_ERROR(crypto::Initialize());
  WICKET_ASSIGN_OR_RETURN(store_, store::Store::Open(config_.store));
  WICKET_RETURN_IF_ERROR(store_->LockForDaemon());
  committer_ = std::make_unique<store::Committer>(&*store_);
  saver_ = std::make_unique<installer::SessionSaver>(committer_.get());
  if (!unsaved.empty()) saver_->Submit(std::move(unsaved));
  WICKET_ASSIGN_OR_RETURN(steering_, xsk::Steering::Open(config_.pin_dir));
  WICKET_ASSIGN_OR_RETURN(prober_, reinject::Injector::Open());
  table_ =
      std::make_unique<Published<intake::DeviceTable>>(std::make_unique<intake::DeviceTable>());

  NicContext context{.steering = steering_.get(),
                     .injector = prober_.get(),
                     .store = &*store_,
                     .devices = table_.get(),
                     .installers = {},
                     .verdicts = &past_verdicts_,
                     .slots_used = &slots_used_,
                     .events = &events_,
                     .pin_threads = config_.pin_threads,
                     .x25519 = config_.x25519};
  for (const DeviceConfig& device : config_.devices) {
    device_names_.push_back(device.name);
    Watched& watched = devices_.emplace_back();
    watched.installer = std::make_unique<installer::Installer>(
        device, &*store_, committer_.get(), saver_.get(), steering_.get(), &turns_, &events_);
    WICKET_RETURN_IF_ERROR(watched.installer->Start());
    context.installers.push_back(watched.installer.get());
  }
  for (const NicConfig& nic : config_.nics) nics_.push_back(std::make_unique<Nic>(nic, context));
  nic_problems_.resize(nics_.size());
  WICKET_RETURN_IF_ERROR(RotateCookies());
  WatchDevices();
  WICKET_RETURN_IF_ERROR(WatchNics(/*at_start=*/true));
  WICKET_RETURN_IF_ERROR(StartControl());
  running_ = true;
  WriteStatusFile();
  return absl::OkStatus();
}

absl::Status Gateway::StartControl() {
  std::map<std::string, installer::Installer*> installers;
  for (size_t i = 0; i < devices_.size(); ++i) {
    installers[config_.devices[i].name] = devices_[i].installer.get();
  }
  std::map<std::string, control::Pool> pools;
  for (const PoolConfig& config : config_.pools) {
    control::Pool& pool = pools[config.name];
    pool.device = config.device;
    for (const Prefix& cidr : config.cidrs) {
      (cidr.address.family == Family::kIpv4 ? pool.ipv4 : pool.ipv6).push_back(cidr);
    }
  }
  host_ = std::make_unique<ControlHost>(std::move(installers));
  host_->PublishStatus(document::ToJson(ReadStatus()));
  collector_ =
      std::make_unique<roster::ExpiryCollector>(&*store_, committer_.get(), host_.get(), &events_);
  api_ = std::make_unique<control::Api>(host_.get(), &*store_, committer_.get(), &events_,
                                        std::move(pools),
                                        [host = host_.get()] { return host->StatusJson(); });
  WICKET_ASSIGN_OR_RETURN(
      server_, http::Server::Start(config_.control, [api = api_.get()](http::Exchange& exchange) {
        api->Handle(exchange);
      }));
  return absl::OkStatus();
}

void Gateway::StopServing() {
  server_.reset();
  collector_.reset();
  nics_.clear();
  devices_.clear();
}

installer::Sessions Gateway::Close() {
  StopServing();
  return saver_ ? saver_->TakeUnsaved() : installer::Sessions{};
}

Gateway::~Gateway() {
  StopServing();
  if (!running_) return;
  unlink(config_.status_file.c_str());
  // Another program may listen there after us.
  if (const absl::Status status = steering_->Serve({}); !status.ok()) {
    Log(LogLevel::kWarning, status.message());
  }
}

absl::Status Gateway::Tick() {
  // A failed write of its root leaves the open file unusable, and the disk as it was before.
  if (const absl::Status usable = store_->NewSnapshot().status(); absl::IsAborted(usable)) {
    return usable;
  }
  WatchKeys();
  WatchDevices();
  WatchNics(/*at_start=*/false).IgnoreError();
  table_->Collect();
  collector_->Tick();
  for (auto& nic : nics_) nic->DrainSightings(device_names_);
  if (SteadyNow() >= next_cookies_) {
    if (const absl::Status rotated = RotateCookies(); !rotated.ok()) {
      Log(LogLevel::kError, "rotating the cookie secret: ", rotated.message());
    }
  }
  if (SteadyNow() >= next_reader_check_) {
    next_reader_check_ = SteadyNow() + kReaderCheckInterval;
    store_->CheckReaders();
  }
  if (SteadyNow() >= next_status_) {
    next_status_ = SteadyNow() + kStatusInterval;
    NoteDefence();
    WriteStatusFile();
  }
  return absl::OkStatus();
}

// --- devices ----------------------------------------------------------------

void Gateway::WatchDevices() {
  bool changed = false;
  for (size_t i = 0; i < devices_.size(); ++i) {
    Watched& watched = devices_[i];
    const std::string& name = config_.devices[i].name;
    const int ifindex = wgdev::InterfaceIndex(name);
    if (watched.ifindex != 0 && (ifindex != watched.ifindex || watched.installer->device_lost())) {
      Lose(i, "the device went away");
      changed = true;
    }
    if (auto foreign = watched.installer->foreign(); foreign != watched.foreign) {
      watched.foreign = std::move(foreign);
      changed = true;
    }
    if (watched.ifindex != 0 && !watched.installer->device_changed()) continue;
    const bool was_away = watched.ifindex == 0;
    auto device = ReadDevice(i);
    if (device.ok()) {
      changed = true;
      watched.last_problem.clear();
      // A device that only changed its key keeps its peers, and we what we know of them.
      if (was_away) {
        watched.installer->SetDevice(std::move(*device), watched.public_key, watched.port);
      } else {
        watched.installer->SetKeys(watched.public_key, watched.port);
      }
    } else if (device.status().message() != watched.last_problem) {
      watched.last_problem = std::string(device.status().message());
      Log(LogLevel::kWarning, name, ": waiting for the device: ", watched.last_problem);
    }
  }
  if (changed) {
    if (const absl::Status published = Publish(); !published.ok()) {
      Log(LogLevel::kError, "serving ports: ", published.message());
    }
  }
}

// Nothing announces that a device has another key, and until the program knows it, initiations made
// for it die as forged ones. So these are what makes us look, before a dump shows it.
void Gateway::WatchKeys() {
  const uint64_t failed = steering_->ReadCounters()[STEER_COUNT_DROP_MAC1];
  if (std::exchange(macs_failed_, failed) == failed) return;
  for (Watched& watched : devices_) watched.installer->LookForNewKey();
}

// Opens the device and reads its key and port into `devices_[index]`.
absl::StatusOr<std::unique_ptr<wgdev::Device>> Gateway::ReadDevice(size_t index) {
  Watched& watched = devices_[index];
  const DeviceConfig& config = config_.devices[index];
  WICKET_ASSIGN_OR_RETURN(std::unique_ptr<wgdev::Device> device,
                          wgdev::Open(config.name, config.backend));
  WICKET_ASSIGN_OR_RETURN(wgdev::DeviceInfo info, device->ReadInfo());
  const Secret<kKeyBytes> none;
  if (crypto::Equal(info.private_key.data(), none.data(), none.size())) {
    return absl::FailedPreconditionError(
        absl::StrCat("it has no private key (`wg set ", config.name, " private-key FILE`)"));
  }
  if (info.listen_port == 0) {
    return absl::FailedPreconditionError(
        absl::StrCat("it has no listen port (`wg set ", config.name, " listen-port PORT`)"));
  }
  auto identity = crypto::Locked<noise::Identity>::Make(info.private_key);
  if (!identity) {
    return absl::ResourceExhaustedError(
        "locking the private key into memory: refused (raise RLIMIT_MEMLOCK or give CAP_IPC_LOCK)");
  }
  watched.identity = std::make_shared<const crypto::Locked<noise::Identity>>(std::move(identity));
  watched.public_key = (*watched.identity)->public_key();
  watched.port = info.listen_port;
  watched.ifindex = info.ifindex;
  watched.backend = std::string(device->backend());
  Log(LogLevel::kInfo, config.name, ": ", watched.backend, " backend, port ", watched.port,
      ", public key ", ToBase64(watched.public_key));
  return device;
}

void Gateway::Lose(size_t index, absl::string_view why) {
  Watched& watched = devices_[index];
  Log(LogLevel::kWarning, config_.devices[index].name, ": ", why,
      "; its packets pass to the kernel");
  watched.ifindex = 0;
  watched.identity.reset();
  watched.backend.clear();
}

absl::Status Gateway::Publish() {
  uint64_t shards = 0;
  for (const auto& nic : nics_) shards += nic->shards();
  auto table = std::make_unique<intake::DeviceTable>();
  table->cookies = cookies_;
  table->cookie_interval_ns = std::max<uint64_t>(
      uint64_t{1'000'000'000} * shards / config_.cookies_per_second, STEER_COOKIE_INTERVAL_MIN_NS);
  std::vector<xsk::Service> services;
  for (size_t i = 0; i < devices_.size(); ++i) {
    const DeviceConfig& config = config_.devices[i];
    const Watched& watched = devices_[i];
    table->devices.push_back(
        {config.name, watched.port, watched.identity, watched.foreign,
         std::max<uint64_t>(config.handshakes_per_second / std::max<uint64_t>(shards, 1), 1),
         &watched.installer->crowded()});
    if (watched.identity) {
      const noise::Identity& self = **watched.identity;
      services.push_back(
          {watched.port, static_cast<uint32_t>(i), self.mac1_key(), self.cookie_key()});
    }
  }
  table_->Publish(std::move(table));
  return steering_->Serve(services);
}

// The program knows a secret before a shard makes a cookie with it.
absl::Status Gateway::RotateCookies() {
  Secret<32> secret;
  crypto::FillRandom(secret.data(), secret.size());
  WICKET_RETURN_IF_ERROR(steering_->AddSecret(secret));
  cookies_ =
      std::make_shared<const noise::CookieSecrets>(secret, cookies_ ? cookies_->newest() : secret);
  next_cookies_ = SteadyNow() + noise::kCookieAge;
  return Publish();
}

// --- NICs -------------------------------------------------------------------

absl::Status Gateway::WatchNics(bool at_start) {
  bool changed = false;
  for (size_t i = 0; i < nics_.size(); ++i) {
    Nic& nic = *nics_[i];
    if (const absl::string_view why = nic.up() ? nic.Changed() : ""; !why.empty()) {
      Log(LogLevel::kWarning, nic.name(), ": ", why);
      nic.Down();
      changed = true;
    }
    if (nic.up()) continue;
    const bool exists = if_nametoindex(nic.name().c_str()) != 0;
    const absl::Status status =
        exists ? nic.Up(config_.reinject) : absl::NotFoundError("no such interface");
    if (status.ok()) {
      nic_problems_[i].clear();
      changed = true;
      Log(LogLevel::kInfo, nic.Describe());
    } else if (at_start && exists) {
      return status;
    } else if (status.message() != nic_problems_[i]) {
      nic_problems_[i] = std::string(status.message());
      Log(LogLevel::kWarning, nic.name(), ": waiting for the interface: ", status.message());
    }
  }
  if (!changed) return absl::OkStatus();
  steering_->ForgetOlder();
  PublishRoutes();
  return Publish();  // the shards share the budgets
}

void Gateway::PublishRoutes() {
  std::vector<installer::NicRoute> routes;
  for (const auto& nic : nics_) {
    if (nic->up()) routes.push_back(nic->route());
  }
  for (Watched& watched : devices_) watched.installer->SetRoutes(routes);
}

// --- reload and status ------------------------------------------------------

std::vector<std::string> Gateway::Reload(const Config& config) {
  std::vector<std::string> restart;
  const auto needs_restart = [&](bool differs, absl::string_view what) {
    if (differs) restart.emplace_back(what);
  };
  needs_restart(config.pin_dir != config_.pin_dir, "pin_dir");
  needs_restart(config.status_file != config_.status_file, "status_file");
  needs_restart(config.pin_threads != config_.pin_threads, "pin_threads");
  needs_restart(config.x25519 != config_.x25519, "x25519");
  needs_restart(
      config.store.path != config_.store.path || config.store.bytes_max != config_.store.bytes_max,
      "store");
  const auto same_nic = [](const NicConfig& a, const NicConfig& b) {
    return a.name == b.name && a.xdp == b.xdp && a.force_copy == b.force_copy &&
           a.cookies_by_tx == b.cookies_by_tx;
  };
  needs_restart(!std::equal(config.nics.begin(), config.nics.end(), config_.nics.begin(),
                            config_.nics.end(), same_nic),
                "nic");
  const auto same_device = [](const DeviceConfig& a, const DeviceConfig& b) {
    return a.name == b.name && a.backend == b.backend;
  };
  const bool same_devices = std::equal(config.devices.begin(), config.devices.end(),
                                       config_.devices.begin(), config_.devices.end(), same_device);
  needs_restart(!same_devices, "device");
  needs_restart(config.pools != config_.pools, "pool");
  needs_restart(config.control != config_.control, "control");

  SetLogLevel(config.log_level);
  config_.log_level = config.log_level;
  config_.cookies_per_second = config.cookies_per_second;
  if (same_devices) {
    config_.devices = config.devices;
    for (size_t i = 0; i < devices_.size(); ++i) {
      devices_[i].installer->SetConfig(config.devices[i]);
    }
    if (const absl::Status published = Publish(); !published.ok()) {
      Log(LogLevel::kError, "serving ports: ", published.message());
    }
  }
  if (config.reinject != config_.reinject) SetReinject(config.reinject);
  return restart;
}

// All NICs take the mode, or none does.
void Gateway::SetReinject(reinject::Mode wanted) {
  absl::Status status;
  for (auto& nic : nics_) {
    if (status.ok() && nic->up()) status = nic->SetReinject(wanted);
  }
  if (status.ok()) {
    config_.reinject = wanted;
  } else {
    Log(LogLevel::kError, status.message(), "; the mode stays ",
        reinject::ToString(config_.reinject));
    for (auto& nic : nics_) {
      if (nic->up()) nic->SetReinject(config_.reinject).IgnoreError();
    }
  }
  PublishRoutes();
}

document::Status Gateway::ReadStatus() const {
  document::Status status;
  status.version = WICKET_VERSION;
  status.pid = getpid();
  status.started = started_;
  status.written = WallNow();
  status.store_path = store_->path();
  status.pin_dir = config_.pin_dir;
  status.x25519 = crypto::ToString(config_.x25519);
  if (const auto stats = store_->ReadStats(); stats.ok()) {
    status.stored_peers = stats->peers;
    status.store_bytes = stats->file_bytes;
  }
  for (size_t i = 0; i < intake::kVerdicts; ++i) {
    const auto verdict = static_cast<intake::Verdict>(i);
    status.verdicts[intake::ToString(verdict)] = past_verdicts_.Read(verdict);
  }
  for (const auto& nic : nics_) {
    nic->AddVerdicts(&status.verdicts);
    status.nics.push_back(nic->Status());
  }
  for (size_t i = 0; i < devices_.size(); ++i) {
    const Watched& watched = devices_[i];
    document::DeviceStatus device;
    device.name = config_.devices[i].name;
    device.backend = watched.ifindex == 0 ? "away" : watched.backend;
    device.public_key = watched.ifindex == 0 ? "" : ToBase64(watched.public_key);
    device.port = watched.port;
    watched.installer->FillStatus(&device);
    status.devices.push_back(std::move(device));
  }
  status.steering = xsk::NamedCounters(steering_->ReadCounters());
  status.defence = defence_.status();
  return status;
}

void Gateway::NoteDefence() {
  std::map<std::string, uint64_t> verdicts;
  bool under_load = false;
  for (const auto& nic : nics_) {
    nic->AddVerdicts(&verdicts);
    under_load |= nic->Status().under_load;
  }
  double install_p99_ms = 0;
  for (const Watched& watched : devices_) {
    document::DeviceStatus device;
    watched.installer->FillStatus(&device);
    install_p99_ms = std::max(install_p99_ms, device.install_p99_ms);
  }
  defence_.Note(SteadyNow(), xsk::NamedCounters(steering_->ReadCounters()), verdicts, under_load,
                steering_->TakeSources(), install_p99_ms);
}

void Gateway::WriteStatusFile() {
  std::string json = document::ToJson(ReadStatus());
  const absl::Status written = WriteFile(config_.status_file, json);
  host_->PublishStatus(std::move(json));
  if (!written.ok()) Log(LogLevel::kWarning, "status file: ", written.message());
}

}  // namespace wicket::gateway
