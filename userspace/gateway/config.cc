#include "gateway/config.h"

#include <errno.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <set>
#include <sstream>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "base/toml.h"

namespace wicket::gateway {
namespace {

constexpr absl::Duration kEvictAfterMin = absl::Seconds(180);  // a session's life, [WG 6.1]
constexpr uint64_t kInstalledMaxMax = 1u << 20;                // the kernel's own limit
constexpr uint64_t kStoreBytesMin = 1 << 20;

template <typename T>
struct Choice {
  const char* text;
  T value;
};

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
constexpr Choice<LogLevel> kLogLevels[] = {{"error", LogLevel::kError},
                                           {"warning", LogLevel::kWarning},
                                           {"info", LogLevel::kInfo},
                                           {"debug", LogLevel::kDebug}};

std::string Found(const toml::node& node) {
  std::ostringstream text;
  if (node.is_table()) return "a table";
  if (node.is_array()) return "an array";
  text << toml::node_view<const toml::node>(&node);
  return text.str();
}

struct FoundProblem {
  uint32_t line;
  std::string text;
};

// One table of the file: takes out its keys, and complains about what is left.
class Section {
 public:
  Section(const toml::table& table, std::string name, const std::string& file,
          std::vector<FoundProblem>* problems)
      : table_(table), name_(std::move(name)), file_(file), problems_(problems) {}
  Section(const Section&) = delete;

  ~Section() {
    for (const auto& [key, node] : table_) {
      if (!known_.count(std::string(key.str()))) {
        Problem(key.source().begin.line, {key.str().data(), key.str().size()}, "an unknown key",
                absl::StrJoin(known_, ", "));
      }
    }
  }

  void Text(const char* key, std::string* out) {
    if (const toml::node* node = Take(key)) {
      const auto value = node->value_exact<std::string>();
      if (value && !value->empty()) {
        *out = *value;
      } else {
        Problem(*node, key, "a string that is not empty");
      }
    }
  }

  void Flag(const char* key, bool* out) {
    if (const toml::node* node = Take(key)) {
      const auto value = node->value_exact<bool>();
      if (value) {
        *out = *value;
      } else {
        Problem(*node, key, "true or false");
      }
    }
  }

  void Number(const char* key, uint64_t least, uint64_t most, absl::string_view unit,
              uint64_t* out) {
    if (const toml::node* node = Take(key)) {
      const auto value = node->value_exact<int64_t>();
      if (value && *value >= 0 && static_cast<uint64_t>(*value) >= least &&
          static_cast<uint64_t>(*value) <= most) {
        *out = static_cast<uint64_t>(*value);
      } else {
        Problem(*node, key, absl::StrCat(least, " to ", most, unit));
      }
    }
  }

  template <typename T, size_t N>
  void OneOf(const char* key, const Choice<T> (&choices)[N], T* out) {
    const toml::node* node = Take(key);
    if (node == nullptr) return;
    const auto value = node->value_exact<std::string>();
    std::string accepted;
    for (const auto& choice : choices) {
      if (value && *value == choice.text) {
        *out = choice.value;
        return;
      }
      absl::StrAppend(&accepted, accepted.empty() ? "" : ", ", "\"", choice.text, "\"");
    }
    Problem(*node, key, accepted);
  }

  // Calls `read` with every table of the array `key`.
  template <typename Read>
  void Tables(const char* key, Read read) {
    const toml::node* node = Take(key);
    if (node == nullptr) return;
    const toml::array* array = node->as_array();
    if (array == nullptr) return Problem(*node, key, absl::StrCat("[[", key, "]] tables"));
    for (const toml::node& item : *array) {
      if (const toml::table* table = item.as_table()) {
        read(*table);
      } else {
        Problem(item, key, absl::StrCat("[[", key, "]] tables"));
      }
    }
  }

  // Calls `read` with every string of the array `key`; it returns what is accepted
  // instead, or nothing.
  template <typename Read>
  void Texts(const char* key, Read read) {
    const toml::node* node = Take(key);
    if (node == nullptr) return;
    const toml::array* array = node->as_array();
    if (array == nullptr) return Problem(*node, key, "an array of strings");
    for (const toml::node& item : *array) {
      const auto value = item.value_exact<std::string>();
      const std::string accepted = value ? read(*value) : "an array of strings";
      if (!accepted.empty()) Problem(item, key, accepted);
    }
  }

  template <typename Read>
  void Table(const char* key, Read read) {
    const toml::node* node = Take(key);
    if (node == nullptr) return;
    if (const toml::table* table = node->as_table()) return read(*table);
    Problem(*node, key, absl::StrCat("a [", key, "] table"));
  }

  void Problem(uint32_t line, absl::string_view key, absl::string_view found,
               absl::string_view accepted) {
    problems_->push_back(
        {line, absl::StrCat(file_, ":", line, ": ", name_, name_.empty() ? "" : ".", key,
                            ": found ", found, "; accepted: ", accepted)});
  }

  uint32_t line() const { return table_.source().begin.line; }

 private:
  void Problem(const toml::node& node, absl::string_view key, absl::string_view accepted) {
    Problem(node.source().begin.line, key, Found(node), accepted);
  }
  const toml::node* Take(const char* key) {
    known_.insert(key);
    return table_.get(key);
  }

  const toml::table& table_;
  std::string name_;
  const std::string& file_;
  std::vector<FoundProblem>* problems_;
  std::set<std::string> known_;
};

// Reads the name of a [[nic]] or [[device]], which must be there and be new.
void ReadName(Section* section, std::set<std::string>* names, std::string* out) {
  section->Text("name", out);
  if (out->empty()) {
    section->Problem(section->line(), "name", "nothing", "an interface's name");
  } else if (out->size() > store::kDeviceNameBytesMax) {
    section->Problem(section->line(), "name", *out, "at most 15 characters");
  } else if (!names->insert(*out).second) {
    section->Problem(section->line(), "name", absl::StrCat(*out, " a second time"),
                     "each name once");
  }
}

// Why a CIDR cannot be a pool's; empty: it can.
std::string CheckCidr(const std::optional<Prefix>& cidr) {
  if (!cidr) return "CIDRs, such as \"10.64.0.0/10\" or \"fd00::/64\"";
  if (cidr->length + 2 > cidr->address.bits()) return "CIDRs with room for at least 4 addresses";
  return "";
}

void ReadPool(const toml::table& table, const std::string& file,
              std::vector<FoundProblem>* problems, std::set<std::string>* names, Config* config) {
  Section section(table, "pool", file, problems);
  PoolConfig pool;
  section.Text("name", &pool.name);
  section.Text("device", &pool.device);
  if (pool.name.empty()) section.Problem(section.line(), "name", "nothing", "a name");
  if (!pool.name.empty() && !names->insert(pool.name).second) {
    section.Problem(section.line(), "name", absl::StrCat(pool.name, " a second time"),
                    "each name once");
  }
  section.Texts("cidrs", [&](const std::string& text) -> std::string {
    const auto cidr = ParsePrefix(text);
    std::string problem = CheckCidr(cidr);
    if (!problem.empty()) return problem;
    for (const PoolConfig& other : config->pools) {
      for (const Prefix& prefix : other.cidrs) {
        if (other.device == pool.device && (Contains(prefix, *cidr) || Contains(*cidr, prefix))) {
          return absl::StrCat("CIDRs that no other pool of ", pool.device, " shares");
        }
      }
    }
    pool.cidrs.push_back(*cidr);
    return "";
  });
  const toml::array* cidrs = table["cidrs"].as_array();
  if (cidrs == nullptr || cidrs->empty()) {
    section.Problem(section.line(), "cidrs", "nothing", "a list of CIDRs");
  }
  config->pools.push_back(pool);
}

void ReadTcp(const toml::table& table, const std::string& file, std::vector<FoundProblem>* problems,
             http::Options* control) {
  Section section(table, "control.tcp", file, problems);
  http::TcpOptions tcp;
  std::string listen;
  section.Text("listen", &listen);
  section.Text("tls_certificate", &tcp.tls_certificate);
  section.Text("tls_key", &tcp.tls_key);
  section.Text("token_file", &tcp.token_file);
  const auto endpoint = ParseEndpoint(listen);
  if (!endpoint || endpoint->port == 0) {
    return section.Problem(section.line(), "listen", listen.empty() ? "nothing" : listen,
                           "ADDRESS:PORT, such as \"127.0.0.1:8443\" or \"[::1]:8443\"");
  }
  tcp.address = ToString(endpoint->address);
  tcp.port = endpoint->port;
  const bool loopback = Contains(*ParsePrefix("127.0.0.0/8"), endpoint->address) ||
                        endpoint->address == *ParseAddress("::1");
  if (tcp.tls_certificate.empty() != tcp.tls_key.empty()) {
    section.Problem(section.line(), "tls_key", "one of tls_certificate and tls_key",
                    "both or none");
  }
  if (!loopback && (tcp.tls_certificate.empty() || tcp.token_file.empty())) {
    section.Problem(section.line(), "listen", listen,
                    "an address of the loopback, unless tls_certificate, tls_key and token_file "
                    "are given");
  }
  control->tcp = tcp;
}

}  // namespace

absl::StatusOr<Config> ParseConfig(absl::string_view text, const std::string& name) {
  const toml::parse_result parsed = toml::parse(std::string_view(text.data(), text.size()), name);
  if (!parsed) {
    return absl::InvalidArgumentError(absl::StrCat(name, ":", parsed.error().source().begin.line,
                                                   ": ", std::string(parsed.error().description()),
                                                   "; accepted: TOML"));
  }
  Config config;
  std::vector<FoundProblem> problems;
  std::set<std::string> nic_names, device_names;
  {
    Section top(parsed.table(), "", name, &problems);
    top.Text("pin_dir", &config.pin_dir);
    top.Text("status_file", &config.status_file);
    top.OneOf("log_level", kLogLevels, &config.log_level);
    top.OneOf("reinject", kReinjectModes, &config.reinject);
    top.Flag("pin_threads", &config.pin_threads);
    top.Number("cookies_per_second", 1000, 1'000'000'000, " a second", &config.cookies_per_second);
    std::string x25519 = "auto";
    top.Text("x25519", &x25519);
    if (const auto backend = crypto::ParseX25519Backend(x25519); backend.ok()) {
      config.x25519 = *backend;
    } else {
      top.Problem(parsed.table().get("x25519")->source().begin.line, "x25519", x25519,
                  backend.status().message());
    }
    top.Table("store", [&](const toml::table& table) {
      Section section(table, "store", name, &problems);
      section.Text("path", &config.store.path);
      section.Number("bytes_max", kStoreBytesMin, uint64_t{1} << 46, " bytes",
                     &config.store.bytes_max);
      auto keep_expired_s = static_cast<uint64_t>(absl::ToInt64Seconds(config.store_keeps_expired));
      section.Number("keep_expired", 1, 86400 * 365, " seconds", &keep_expired_s);
      config.store_keeps_expired = absl::Seconds(static_cast<int64_t>(keep_expired_s));
    });
    top.Tables("nic", [&](const toml::table& table) {
      Section section(table, "nic", name, &problems);
      NicConfig nic;
      ReadName(&section, &nic_names, &nic.name);
      section.OneOf("xdp", kXdpModes, &nic.xdp);
      section.Flag("force_copy", &nic.force_copy);
      section.OneOf("cookies", kCookies, &nic.cookies_by_tx);
      config.nics.push_back(nic);
    });
    top.Tables("device", [&](const toml::table& table) {
      Section section(table, "device", name, &problems);
      DeviceConfig device;
      ReadName(&section, &device_names, &device.name);
      section.OneOf("backend", kBackends, &device.backend);
      auto evict_after_s = static_cast<uint64_t>(absl::ToInt64Seconds(device.evict_after));
      section.Number("evict_after", static_cast<uint64_t>(absl::ToInt64Seconds(kEvictAfterMin)),
                     86400 * 365, " seconds (a session may live 180)", &evict_after_s);
      device.evict_after = absl::Seconds(static_cast<int64_t>(evict_after_s));
      section.Number("installed_max", 1, kInstalledMaxMax, " peers", &device.installed_max);
      section.Number("probation_max", 1, kInstalledMaxMax, " peers", &device.probation_max);
      section.Number("handshakes_per_second", 100, 10'000'000, " a second",
                     &device.handshakes_per_second);
      section.Flag("owned", &device.owned);
      config.devices.push_back(device);
    });
    top.Table("control", [&](const toml::table& table) {
      Section section(table, "control", name, &problems);
      section.Text("socket", &config.control.socket);
      section.Text("group", &config.control.group);
      section.Text("write_group", &config.control.write_group);
      section.Table(
          "tcp", [&](const toml::table& tcp) { ReadTcp(tcp, name, &problems, &config.control); });
    });
    std::set<std::string> pool_names;
    top.Tables("pool", [&](const toml::table& table) {
      ReadPool(table, name, &problems, &pool_names, &config);
      const PoolConfig& pool = config.pools.back();
      if (!device_names.count(pool.device)) {
        top.Problem(table.source().begin.line, "pool.device",
                    pool.device.empty() ? "nothing" : pool.device, "the name of a [[device]]");
      }
    });
    if (config.nics.empty()) top.Problem(1, "nic", "none", "at least one [[nic]] table");
    if (config.devices.empty()) top.Problem(1, "device", "none", "at least one [[device]] table");
  }
  if (problems.empty()) return config;
  std::stable_sort(problems.begin(), problems.end(),
                   [](const auto& a, const auto& b) { return a.line < b.line; });
  return absl::InvalidArgumentError(absl::StrJoin(
      problems, "\n", [](std::string* out, const FoundProblem& problem) { *out += problem.text; }));
}

absl::StatusOr<Config> LoadConfig(const std::string& path) {
  std::error_code ignored;
  if (std::filesystem::is_directory(path, ignored)) {
    return ErrnoStatus(EISDIR, absl::StrCat("read(", path, ")"));
  }
  errno = 0;
  std::ifstream file(path);
  const std::string text{std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
  if (!file.is_open() || file.bad()) {
    return ErrnoStatus(errno ? errno : EIO, absl::StrCat("read(", path, ")"));
  }
  return ParseConfig(text, path);
}

}  // namespace wicket::gateway
