// Both backends of wgdev on real devices, with one suite.
//
// WICKET_TEST_DEVICE names the device. Otherwise it is made here: the kernel's where there is one,
// wireguard-go's elsewhere. In a VM the suite runs on the kernel's.
#include <gtest/gtest.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include <map>
#include <set>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "crypto/curve25519.h"
#include "wgdev/device.h"
#include "wgdev/uapi.h"

namespace wicket::wgdev {
namespace {

bool Shell(const std::string& command) {
  return system((command + " >/dev/null 2>&1").c_str()) == 0;
}

class DeviceTest : public ::testing::Test {
 protected:
  static void SetUpTestSuite() {
    ASSERT_TRUE(crypto::Initialize().ok());
    ASSERT_EQ(unshare(CLONE_NEWNET), 0) << "needs root";
  }

  void SetUp() override {
    name_ = absl::StrCat("wt", getpid());
    Make();
    auto device = Open(name_, Backend::kAuto);
    ASSERT_TRUE(device.ok()) << device.status();
    device_ = std::move(*device);
  }
  void TearDown() override { Unmake(); }

  void Make() {
    kernel_ = Shell(absl::StrCat("ip link add ", name_, " type wireguard"));
    if (!kernel_) {
      child_ = fork();
      if (child_ == 0) {
        setenv("WG_PROCESS_FOREGROUND", "1", 1);
        setenv("LOG_LEVEL", "silent", 1);
        [[maybe_unused]] FILE* out = freopen("/dev/null", "w", stderr);
        out = freopen("/dev/null", "w", stdout);
        execlp("wireguard-go", "wireguard-go", "-f", name_.c_str(), nullptr);
        _exit(127);
      }
      for (int i = 0; i < 100 && access(UapiSocketPath(name_).c_str(), F_OK) != 0; ++i) {
        absl::SleepFor(absl::Milliseconds(50));
      }
    }
    ASSERT_TRUE(Shell(absl::StrCat("k=$(mktemp); wg genkey > $k; wg set ", name_,
                                   " private-key $k listen-port 51999; e=$?; rm $k; exit $e")));
  }
  void Unmake() {
    if (child_ > 0) {
      kill(child_, SIGTERM);
      waitpid(child_, nullptr, 0);
      child_ = -1;
      unlink(UapiSocketPath(name_).c_str());  // left behind by a killed process
    } else {
      Shell(absl::StrCat("ip link del ", name_));
    }
  }

  static PublicKey RandomKey() { return crypto::DerivePublicKey(crypto::GeneratePrivateKey()); }

  std::vector<PeerConfig> Peers(size_t count, size_t ips_each = 1) {
    std::vector<PeerConfig> peers(count);
    for (PeerConfig& peer : peers) {
      peer.public_key = RandomKey();
      for (size_t i = 0; i < ips_each; ++i) {
        const uint32_t n = next_ip_++;
        peer.allowed_ips.push_back(*ParsePrefix(
            absl::StrCat("fd00::", absl::Hex(n >> 16), ":", absl::Hex(n & 0xffff), "/128")));
      }
    }
    return peers;
  }

  static std::vector<PeerInstall> Installs(const std::vector<PeerConfig>& peers) {
    std::vector<PeerInstall> installs;
    for (const PeerConfig& peer : peers) installs.push_back({.config = &peer});
    return installs;
  }

  std::map<PublicKey, PeerStats> DumpAll() {
    std::vector<PeerStats> all;
    auto dump = device_->StartDump();
    EXPECT_TRUE(dump.ok()) << dump.status();
    for (;;) {
      const auto more = (*dump)->Next(&all);
      EXPECT_TRUE(more.ok()) << more.status();
      if (!more.ok() || !*more) break;
    }
    EXPECT_FALSE((*dump)->interrupted());
    std::map<PublicKey, PeerStats> map;
    for (const PeerStats& peer : all)
      EXPECT_TRUE(map.emplace(peer.public_key, peer).second) << "twice";
    return map;
  }

  void ExpectAllOk(const std::vector<absl::Status>& results, size_t count) {
    ASSERT_EQ(results.size(), count);
    for (const auto& result : results) ASSERT_TRUE(result.ok()) << result;
  }

  std::string name_;
  bool kernel_ = false;
  pid_t child_ = -1;
  std::unique_ptr<Device> device_;
  uint32_t next_ip_ = 1;
};

TEST_F(DeviceTest, ReadsItsOwnKeysAndPort) {
  EXPECT_EQ(device_->backend(), kernel_ ? "netlink" : "uapi");
  const auto info = device_->ReadInfo();
  ASSERT_TRUE(info.ok()) << info.status();
  EXPECT_EQ(info->listen_port, 51999);
  EXPECT_EQ(info->ifindex, InterfaceIndex(name_));
  EXPECT_EQ(info->public_key, crypto::DerivePublicKey(info->private_key));
  FILE* pipe = popen(absl::StrCat("wg show ", name_, " public-key").c_str(), "r");
  char text[64] = {};
  ASSERT_NE(fgets(text, sizeof(text), pipe), nullptr);
  pclose(pipe);
  EXPECT_EQ(std::string(text), ToBase64(info->public_key) + "\n");
}

// One by one, past the sizes at which other implementations have failed.
TEST_F(DeviceTest, EveryBatchSizeUpToAThousand) {
  const char* steps = getenv("WICKET_BATCH_STEP");
  const size_t step = steps ? static_cast<size_t>(atoi(steps)) : 1;
  // A growing batch of peers that are already installed costs no X25519.
  const auto peers = Peers(1000);
  const auto installs = Installs(peers);
  for (size_t count = 1; count <= 1000; count += step) {
    ExpectAllOk(device_->Install(std::span(installs).first(count)), count);
  }
  ExpectAllOk(device_->Install(installs), 1000);
  EXPECT_EQ(DumpAll().size(), 1000u);
  std::vector<PublicKey> keys;
  for (const auto& peer : peers) keys.push_back(peer.public_key);
  ExpectAllOk(device_->Remove(keys), 1000);
  EXPECT_EQ(DumpAll().size(), 0u);
  ExpectAllOk(device_->Remove(std::span(keys).first(3)), 3);  // absent: no error
}

TEST_F(DeviceTest, PeersWithVeryManyAllowedIps) {
  auto peers = Peers(3, 4000);
  ExpectAllOk(device_->Install(Installs(peers)), 3);
  EXPECT_EQ(DumpAll().size(), 3u);
  FILE* pipe = popen(
      absl::StrCat("wg show ", name_, " allowed-ips | tr ' \\t' '\\n\\n' | grep -c /128").c_str(),
      "r");
  char text[64] = {};
  ASSERT_NE(fgets(text, sizeof(text), pipe), nullptr);
  pclose(pipe);
  EXPECT_EQ(std::string(text), "12000\n");
}

TEST_F(DeviceTest, AllFieldsArriveAndAreReplaced) {
  auto peers = Peers(1, 2);
  peers[0].preshared_key = crypto::GeneratePrivateKey();
  peers[0].persistent_keepalive_s = 25;
  PeerInstall install{.config = &peers[0], .endpoint = *ParseEndpoint("[2001:db8::5]:4242")};
  ExpectAllOk(device_->Install(std::span(&install, 1)), 1);
  EXPECT_EQ(ToString(DumpAll().begin()->second.endpoint), "[2001:db8::5]:4242");
  EXPECT_TRUE(Shell(absl::StrCat("wg show ", name_, " preshared-keys | grep -F '",
                                 RevealBase64(*peers[0].preshared_key), "'")));
  EXPECT_TRUE(Shell(absl::StrCat("wg show ", name_, " persistent-keepalive | grep 25")));
  peers[0].preshared_key.reset();
  peers[0].persistent_keepalive_s = 0;
  peers[0].allowed_ips.resize(1);
  install.endpoint = {};
  ExpectAllOk(device_->Install(std::span(&install, 1)), 1);
  EXPECT_TRUE(Shell(absl::StrCat("wg show ", name_, " preshared-keys | grep none")));
  EXPECT_TRUE(Shell(absl::StrCat("wg show ", name_, " persistent-keepalive | grep off")));
  EXPECT_EQ(ToString(DumpAll().begin()->second.endpoint), "[2001:db8::5]:4242") << "kept";
}

// A peer that the device refuses, at each place of a batch.
TEST_F(DeviceTest, AFailureInTheMiddleCostsOnlyItsOwnPeer) {
  for (size_t bad : {size_t{0}, size_t{1}, size_t{22}, size_t{63}, size_t{64}, size_t{99}}) {
    auto peers = Peers(100);
    // An impossible prefix length: the device answers EINVAL.
    peers[bad].allowed_ips[0].length = 200;
    const auto results = device_->Install(Installs(peers));
    ASSERT_EQ(results.size(), 100u);
    const auto there = DumpAll();
    for (size_t i = 0; i < peers.size(); ++i) {
      EXPECT_EQ(results[i].ok(), i != bad) << i << " of batch with bad " << bad;
      if (i != bad) {
        EXPECT_TRUE(there.count(peers[i].public_key)) << i;
      }
    }
    std::vector<PublicKey> keys;
    for (const auto& peer : peers) keys.push_back(peer.public_key);
    ExpectAllOk(device_->Remove(keys), keys.size());
  }
}

TEST_F(DeviceTest, ADeletedDeviceIsNotFound) {
  auto peers = Peers(100);
  ExpectAllOk(device_->Install(Installs(peers)), 100);
  Unmake();
  for (const auto& result : device_->Install(Installs(peers)))
    EXPECT_TRUE(absl::IsNotFound(result)) << result;
  EXPECT_TRUE(absl::IsNotFound(device_->ReadInfo().status())) << device_->ReadInfo().status();
  EXPECT_FALSE(Open(name_, Backend::kAuto).ok());
  Make();
  auto again = Open(name_, Backend::kAuto);
  ASSERT_TRUE(again.ok()) << again.status();
  ExpectAllOk((*again)->Install(Installs(peers)), 100);
}

// Somebody else removes the device during installs.
TEST_F(DeviceTest, ADeviceThatVanishesInTheMiddleOfABatchEndsItCleanly) {
  auto peers = Peers(1000);
  const pid_t remover = fork();
  if (remover == 0) {
    absl::SleepFor(absl::Milliseconds(20));
    if (kernel_) {
      execlp("ip", "ip", "link", "del", name_.c_str(), nullptr);
    } else {
      kill(child_, SIGKILL);
    }
    _exit(0);
  }
  size_t failed = 0;
  for (int round = 0; round < 200 && failed == 0; ++round) {
    for (const auto& result : device_->Install(Installs(peers))) {
      failed += !result.ok();
      if (!result.ok()) {
        EXPECT_TRUE(absl::IsNotFound(result)) << result;
      }
    }
  }
  waitpid(remover, nullptr, 0);
  EXPECT_GT(failed, 0u);
}

}  // namespace
}  // namespace wicket::wgdev
