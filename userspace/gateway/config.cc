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
  explicit ConfigReader(const std::string& file) : problems_(file) {}

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
  section.Text("pin_dir", &config_.pin_dir);
  section.Text("status_file", &config_.status_file);
  section.OneOf("log_level", kLogLevels, &config_.log_level);
  section.OneOf("reinject", kReinjectModes, &config_.reinject);
  section.Flag("pin_threads", &config_.pin_threads);
  section.Number("cookies_per_second", 1000, 1'000'000'000, " a second",
                 &config_.cookies_per_second);
  std::string x25519 = "auto";
  section.Text("x25519", &x25519);
  if (const auto backend = crypto::ParseX25519Backend(x25519); backend.ok()) {
    config_.x25519 = *backend;
  } else {
    section.AddProblemAtKey("x25519", x25519, backend.status().message());
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
  section.Text("path", &config_.store.path);
  section.Number("bytes_max", kStoreBytesMin, uint64_t{1} << 46, " bytes",
                 &config_.store.bytes_max);
  section.Seconds("keep_expired", absl::Seconds(1), kYear, " seconds",
                  &config_.store_keeps_expired);
}

// Reads the name of a [[nic]] or [[device]], which must be there and be new.
void ReadName(Section* section, std::set<std::string>* names, std::string* out) {
  section->Text("name", out);
  if (out->empty()) {
    section->AddProblem("name", "nothing", "an interface's name");
  } else if (out->size() > store::kDeviceNameBytesMax) {
    section->AddProblem("name", *out, "at most 15 characters");
  } else if (!names->insert(*out).second) {
    section->AddProblem("name", absl::StrCat(*out, " a second time"), "each name once");
  }
}

void ConfigReader::ReadNic(const toml::table& table) {
  Section section(table, "nic", &problems_);
  NicConfig nic;
  ReadName(&section, &nic_names_, &nic.name);
  section.OneOf("xdp", kXdpModes, &nic.xdp);
  section.Flag("force_copy", &nic.force_copy);
  section.OneOf("cookies", kCookies, &nic.cookies_by_tx);
  config_.nics.push_back(nic);
}

void ConfigReader::ReadDevice(const toml::table& table) {
  Section section(table, "device", &problems_);
  DeviceConfig device;
  ReadName(&section, &device_names_, &device.name);
  section.OneOf("backend", kBackends, &device.backend);
  section.Seconds("evict_after", kEvictAfterMin, kYear, " seconds (a session may live 180)",
                  &device.evict_after);
  section.Number("installed_max", 1, kInstalledMaxMax, " peers", &device.installed_max);
  section.Number("probation_max", 1, kInstalledMaxMax, " peers", &device.probation_max);
  section.Number("handshakes_per_second", 100, 10'000'000, " a second",
                 &device.handshakes_per_second);
  section.Flag("owned", &device.owned);
  config_.devices.push_back(device);
}

void ConfigReader::ReadControl(const toml::table& table) {
  Section section(table, "control", &problems_);
  section.Text("socket", &config_.control.socket);
  section.Text("group", &config_.control.group);
  section.Text("write_group", &config_.control.write_group);
  section.Note("tcp",
               "control.tcp is not served any more: wicket-edge serves TCP, TLS and tokens "
               "(/etc/wicket-edge/edge.toml; man wicket-edge)");
}

void ConfigReader::ReadMetrics(const toml::table& table) {
  Section section(table, "metrics", &problems_);
  section.Number("peers", 0, kMetricsPeersMax, " peers", &config_.metrics.peers);
  section.OneOf("peer_names", kPeerNames, &config_.metrics.peer_names);
  for (DeviceConfig& device : config_.devices) device.busiest_max = config_.metrics.peers;
}

void ConfigReader::ReadPool(const toml::table& table) {
  Section section(table, "pool", &problems_);
  PoolConfig pool;
  section.Text("name", &pool.name);
  section.Text("device", &pool.device);
  if (pool.name.empty()) section.AddProblem("name", "nothing", "a name");
  if (!pool.name.empty() && !pool_names_.insert(pool.name).second) {
    section.AddProblem("name", absl::StrCat(pool.name, " a second time"), "each name once");
  }
  section.Texts("cidrs", [&](const std::string& text) { return AddCidr(text, &pool); });
  const toml::array* cidrs = table["cidrs"].as_array();
  if (cidrs == nullptr || cidrs->empty()) {
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

absl::StatusOr<Config> LoadConfig(const std::string& path) {
  WICKET_ASSIGN_OR_RETURN(const std::string text, ReadConfigFile(path));
  WICKET_ASSIGN_OR_RETURN(Config config, ParseConfig(text, path));
  config.path = path;
  return config;
}

}  // namespace wicket::gateway
