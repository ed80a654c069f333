#include "gateway/config.h"

#include <set>

#include "absl/strings/str_cat.h"
#include "base/config_section.h"

namespace wicket::gateway {
namespace {

constexpr absl::Duration kEvictAfterMin = absl::Seconds(180);  // a session's life, [WG 6.1]
constexpr uint64_t kInstalledMaxMax = 1u << 20;                // the kernel's own limit
constexpr uint64_t kStoreBytesMin = 1 << 20;
constexpr absl::Duration kYear = absl::Hours(24 * 365);

constexpr Choice<xsk::XdpMode> kXdpModes[] = {{"auto", xsk::XdpMode::kAuto},
                                              {"native", xsk::XdpMode::kNative},
                                              {"generic", xsk::XdpMode::kGeneric}};
constexpr Choice<bool> kCookies[] = {{"ring", false}, {"xdp", true}};
constexpr Choice<wgdev::Backend> kBackends[] = {{"auto", wgdev::Backend::kAuto},
                                                {"netlink", wgdev::Backend::kNetlink},
                                                {"uapi", wgdev::Backend::kUapi}};
constexpr Choice<reinject::Mode> kReinjectModes[] = {{"auto", reinject::Mode::kAuto},
                                                     {"live", reinject::Mode::kLive},
                                                     {"raw", reinject::Mode::kRaw},
                                                     {"invert", reinject::Mode::kInvert},
                                                     {"wait", reinject::Mode::kWait}};
constexpr Choice<document::PeerNames> kPeerNames[] = {{"totals", document::PeerNames::kTotals},
                                                      {"peer", document::PeerNames::kPeer}};
constexpr uint64_t kMetricsPeersMax = 10'000;  // some megabytes a scrape
constexpr Choice<LogLevel> kLogLevels[] = {{"error", LogLevel::kError},
                                           {"warning", LogLevel::kWarning},
                                           {"info", LogLevel::kInfo},
                                           {"debug", LogLevel::kDebug}};

// Why a CIDR cannot be a pool's; empty: it can.
std::string CheckCidr(const std::optional<Prefix>& cidr) {
  if (!cidr) return "CIDRs, such as \"10.64.0.0/10\" or \"fd00::/64\"";
  if (cidr->length + 2 > cidr->address.bits()) return "CIDRs with room for at least 4 addresses";
  return "";
}

// The tables of one file, read into a configuration.
class ConfigReader {
 public:
  explicit ConfigReader(const std::string& file, KeyReference* reference = nullptr)
      : problems_(file, reference) {}

  absl::StatusOr<Config> Read(const toml::table& file) {
    ReadFile(file);
    WICKET_RETURN_IF_ERROR(problems_.ToStatus());
    config_.notes = problems_.notes();
    return std::move(config_);
  }

 private:
  void ReadFile(const toml::table& file);
  void ReadStore(const toml::table& table);
  void ReadNic(const toml::table& table);
  void ReadDevice(const toml::table& table);
  void ReadControl(const toml::table& table);
  void ReadMetrics(const toml::table& table);
  void ReadPool(const toml::table& table);
  std::string AddCidr(const std::string& text, PoolConfig* pool) const;

  Config config_;
  Problems problems_;
  std::set<std::string> nic_names_, device_names_, pool_names_;
};

void ConfigReader::ReadFile(const toml::table& file) {
  Section section(file, "", &problems_);
  section.Text("pin_dir", &config_.pin_dir,
               {"folder on a bpffs for program and maps; one for each gateway"});
  section.Text("status_file", &config_.status_file,
               {"read by `wicket status`; written every second"});
  section.OneOf("log_level", kLogLevels, &config_.log_level,
                {.meaning = "`error`, `warning`, `info`, `debug`", .reloads = true});
  section.OneOf(
      "reinject", kReinjectModes, &config_.reinject,
      {.meaning = "how a proven initiation is answered, see [below](#reinject)", .reloads = true});
  section.Flag("pin_threads", &config_.pin_threads, {"pin each shard to a CPU"});
  section.Number(
      "cookies_per_second", 1000, 1'000'000'000, " a second", &config_.cookies_per_second,
      {.meaning = "rate limit of cookie replies, see [below](#cookies)", .reloads = true});
  std::string x25519 = "auto";
  section.Text("x25519", &x25519,
               {"backend for batches of handshakes: `ifma8`, `avx2x4`, `portable`, `auto`"});
  if (const auto backend = crypto::ParseX25519Backend(x25519); backend.ok()) {
    config_.x25519 = *backend;
  } else {
    section.AddProblemAtKey(
        "x25519", x25519, "auto, portable, or ifma8 or avx2x4 where the CPU has the instructions");
  }
  section.Table("store", [this](const toml::table& table) { ReadStore(table); });
  section.Tables("nic", [this](const toml::table& table) { ReadNic(table); });
  section.Tables("device", [this](const toml::table& table) { ReadDevice(table); });
  section.Table("control", [this](const toml::table& table) { ReadControl(table); });
  section.Table("metrics", [this](const toml::table& table) { ReadMetrics(table); });
  section.Tables("pool", [this](const toml::table& table) { ReadPool(table); });
  if (config_.nics.empty()) problems_.Add(1, "nic", "none", "at least one [[nic]] table");
  if (config_.devices.empty()) problems_.Add(1, "device", "none", "at least one [[device]] table");
}

void ConfigReader::ReadStore(const toml::table& table) {
  Section section(table, "store", &problems_);
  section.Text("path", &config_.store.path, {"folder of the store; created if missing"});
  section.Number(
      "bytes_max", kStoreBytesMin, uint64_t{1} << 46, " bytes", &config_.store.bytes_max,
      {"largest size of the file, in bytes; can be raised, not lowered", "64 GiB for a new store"});
  section.Seconds("keep_expired", absl::Seconds(1), kYear, " seconds", &config_.store_keeps_expired,
                  {"seconds that an expired peer is kept before it is deleted; a restart or a step "
                   "of the clock begins them again"});
}

// Reads the name of a [[nic]] or [[device]], which must be there and be new.
void ReadName(Section* section, const toml::table& table, std::set<std::string>* names,
              const char* meaning, std::string* out) {
  section->Text("name", out, {meaning, "required"});
  if (out->empty()) {  // of another type, or empty: that is a problem already
    if (!table.contains("name")) section->AddProblem("name", "nothing", "an interface's name");
  } else if (out->size() > store::kDeviceNameBytesMax) {
    section->AddProblem("name", *out, "at most 15 characters");
  } else if (!names->insert(*out).second) {
    section->AddProblem("name", absl::StrCat(*out, " a second time"), "each name once");
  }
}

void ConfigReader::ReadNic(const toml::table& table) {
  Section section(table, "nic", &problems_);
  NicConfig nic;
  ReadName(&section, table, &nic_names_, "the interface", &nic.name);
  section.OneOf("xdp", kXdpModes, &nic.xdp,
                {"`native`, `generic`, or `auto`: native where the driver supports it"});
  section.Flag("force_copy", &nic.force_copy,
               {"AF_XDP copy mode, for drivers with broken zero copy"});
  section.OneOf("cookies", kCookies, &nic.cookies_by_tx,
                {"what sends cookie replies: `ring` or `xdp`, see [below](#cookies)"});
  config_.nics.push_back(nic);
}

void ConfigReader::ReadDevice(const toml::table& table) {
  Section section(table, "device", &problems_);
  DeviceConfig device;
  ReadName(&section, table, &device_names_, "the WireGuard device", &device.name);
  if (nic_names_.count(device.name)) {
    section.AddProblem("name", absl::StrCat(device.name, ", which is a [[nic]] too"),
                       "a WireGuard device; clients arrive by another interface");
  }
  section.OneOf("backend", kBackends, &device.backend,
                {"`netlink`, `uapi`, or `auto`: UAPI where its socket exists"});
  section.Seconds("evict_after", kEvictAfterMin, kYear, " seconds (a session may live 180)",
                  &device.evict_after,
                  {.meaning = "seconds since the last handshake after which a peer is evicted",
                   .reloads = true});
  section.Number("installed_max", 1, kInstalledMaxMax, " peers", &device.installed_max,
                 {.meaning = "most peers in the device at once", .reloads = true});
  section.Number(
      "probation_max", 1, kInstalledMaxMax, " peers", &device.probation_max,
      {.meaning = "probation slots: most peers without a confirmed session", .reloads = true});
  section.Number("handshakes_per_second", 100, 10'000'000, " a second",
                 &device.handshakes_per_second,
                 {.meaning = "most handshakes of unknown flows that are proven", .reloads = true});
  section.Flag(
      "owned", &device.owned,
      {.meaning = "remove peers from the device that the store does not know", .reloads = true});
  config_.devices.push_back(device);
}

void ConfigReader::ReadControl(const toml::table& table) {
  Section section(table, "control", &problems_);
  section.Text("socket", &config_.control.socket,
               {"Unix socket of the control interface, mode 0660"});
  section.Text("group", &config_.control.group,
               {"group of the socket: its members may connect", "the daemon's"});
  section.Text("write_group", &config_.control.write_group,
               {"group whose members may write; root always may", "all who may connect"});
  section.Note("tcp",
               "control.tcp is not served any more: wicket-edge serves TCP, TLS and tokens "
               "(/etc/wicket-edge/edge.toml; man wicket-edge)");
}

void ConfigReader::ReadMetrics(const toml::table& table) {
  Section section(table, "metrics", &problems_);
  section.Number(
      "peers", 0, kMetricsPeersMax, " peers", &config_.metrics.peers,
      {"the busiest peers of each device that have series of their own; at most 10 000"});
  section.OneOf("peer_names", kPeerNames, &config_.metrics.peer_names,
                {"how these series are called: `totals` or `peer`"});
  for (DeviceConfig& device : config_.devices) device.busiest_max = config_.metrics.peers;
}

void ConfigReader::ReadPool(const toml::table& table) {
  Section section(table, "pool", &problems_);
  PoolConfig pool;
  section.Text("name", &pool.name, {"the name that callers `allocate` from", "required"});
  section.Text("device", &pool.device,
               {"the `[[device]]` whose peers get the addresses", "required"});
  if (pool.name.empty()) section.AddProblem("name", "nothing", "a name");
  if (!pool.name.empty() && !pool_names_.insert(pool.name).second) {
    section.AddProblem("name", absl::StrCat(pool.name, " a second time"), "each name once");
  }
  section.Texts("cidrs", [&](const std::string& text) { return AddCidr(text, &pool); },
                {"for example `[\"10.64.0.0/10\", \"fd00::/64\"]`", "required"});
  const toml::array* cidrs = table["cidrs"].as_array();
  if (!table.contains("cidrs") || (cidrs != nullptr && cidrs->empty())) {
    section.AddProblem("cidrs", "nothing", "a list of CIDRs");
  }
  if (!device_names_.count(pool.device)) {
    section.AddProblem("device", pool.device.empty() ? "nothing" : pool.device,
                       "the name of a [[device]]");
  }
  config_.pools.push_back(std::move(pool));
}

// Returns: what is accepted instead; empty when the CIDR was added.
std::string ConfigReader::AddCidr(const std::string& text, PoolConfig* pool) const {
  const auto cidr = ParsePrefix(text);
  std::string problem = CheckCidr(cidr);
  if (!problem.empty()) return problem;
  for (const PoolConfig& other : config_.pools) {
    for (const Prefix& prefix : other.cidrs) {
      if (other.device == pool->device && (Contains(prefix, *cidr) || Contains(*cidr, prefix))) {
        return absl::StrCat("CIDRs that no other pool of ", pool->device, " shares");
      }
    }
  }
  pool->cidrs.push_back(*cidr);
  return "";
}

}  // namespace

absl::StatusOr<Config> ParseConfig(absl::string_view text, const std::string& name) {
  WICKET_ASSIGN_OR_RETURN(const toml::table table, ParseToml(text, name));
  return ConfigReader(name).Read(table);
}

std::string ConfigReference() {
  KeyReference reference;
  ConfigReader("", &reference).Read(toml::table{}).IgnoreError();
  return reference.text();
}

absl::StatusOr<Config> LoadConfig(const std::string& path) {
  WICKET_ASSIGN_OR_RETURN(const std::string text, ReadConfigFile(path));
  WICKET_ASSIGN_OR_RETURN(Config config, ParseConfig(text, path));
  config.path = path;
  return config;
}

}  // namespace wicket::gateway
