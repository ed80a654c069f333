// The reader of the kernel's handshake backlog, on WireGuard devices of the kernel: in a VM.
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <sched.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include <atomic>
#include <thread>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "base/fd.h"
#include "crypto/curve25519.h"
#include "reinject/backlog.h"
#include "wgdev/device.h"

namespace wicket::reinject {
namespace {

using wgdev::InterfaceIndex;

constexpr uint16_t kPort = 51999;
constexpr uint64_t kSecond_ns = 1'000'000'000;

bool Shell(const std::string& command) { return system(command.c_str()) == 0; }

// Keeps all other threads off every CPU while it lives, so that nothing works on the backlog. Lasts
// for some 0.1 s only: the kernel takes back 50 ms of each second.
class AllProcessorsTaken {
 public:
  AllProcessorsTaken() {
    const int count = static_cast<int>(sysconf(_SC_NPROCESSORS_ONLN));
    for (int processor = 1; processor < count; ++processor) {
      threads_.emplace_back([this, processor] {
        Take(processor);
        ++taken_;
        while (!over_) __builtin_ia32_pause();
      });
    }
    while (taken_ + 1 < count) absl::SleepFor(absl::Milliseconds(1));
    Take(0);
  }
  ~AllProcessorsTaken() {
    over_ = true;
    const sched_param ordinary{};
    EXPECT_EQ(sched_setscheduler(0, SCHED_OTHER, &ordinary), 0);
    for (std::thread& thread : threads_) thread.join();
  }

 private:
  static void Take(int processor) {
    cpu_set_t set;
    CPU_ZERO(&set);
    CPU_SET(processor, &set);
    EXPECT_EQ(sched_setaffinity(0, sizeof(set), &set), 0);
    const sched_param first{.sched_priority = 1};
    EXPECT_EQ(sched_setscheduler(0, SCHED_FIFO, &first), 0);
  }

  std::vector<std::thread> threads_;
  std::atomic<int> taken_ = 0;
  std::atomic<bool> over_ = false;
};

// A device that is down.
class BacklogTest : public ::testing::Test {
 protected:
  static void SetUpTestSuite() {
    ASSERT_TRUE(crypto::Initialize().ok());
    ASSERT_EQ(unshare(CLONE_NEWNET), 0) << "needs root";
  }
  void SetUp() override {
    ASSERT_TRUE(Shell(absl::StrCat(
        "ip link add ", name_, " type wireguard && k=$(mktemp) && wg genkey > $k && wg set ", name_,
        " private-key $k listen-port ", kPort, "; e=$?; rm $k; exit $e")));
    Open();
  }
  void TearDown() override {
    if (InterfaceIndex(name_) != 0) Shell(absl::StrCat("ip link del ", name_));
  }

  void Open() {
    auto backlog = Backlog::Open(InterfaceIndex(name_));
    ASSERT_TRUE(backlog.ok()) << backlog.status();
    backlog_ = std::move(*backlog);
  }
  bool Set(const char* what) { return Shell(absl::StrCat("ip link set ", name_, " ", what)); }
  // Searches for the device again.
  std::optional<uint32_t> Waiting() { return backlog_->Waiting(now_ns_ += kSecond_ns); }

  const std::string name_ = absl::StrCat("wt", getpid());
  std::unique_ptr<Backlog> backlog_;
  uint64_t now_ns_ = 100 * kSecond_ns;
};

TEST_F(BacklogTest, IsSeenWhileTheDeviceIsUp) {
  EXPECT_EQ(Waiting(), std::nullopt) << "a device that is down has no socket";
  ASSERT_TRUE(Set("up"));
  EXPECT_EQ(backlog_->Waiting(now_ns_), std::nullopt) << "sought more than once a second";
  EXPECT_EQ(Waiting(), 0u);
  ASSERT_TRUE(Set("down"));
  EXPECT_EQ(Waiting(), std::nullopt);
  ASSERT_TRUE(Set("up"));
  EXPECT_EQ(Waiting(), 0u);
  ASSERT_TRUE(Shell(absl::StrCat("ip link del ", name_)));
  EXPECT_EQ(Waiting(), std::nullopt) << "the device is gone";
}

TEST_F(BacklogTest, CountsWhatWaits) {
  ASSERT_TRUE(Shell("ip link set lo up") && Set("up"));
  ASSERT_EQ(Waiting(), 0u);
  // The device checks only type and length before it queues them.
  const Fd fd(socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0));
  const sockaddr_in to{.sin_family = AF_INET,
                       .sin_port = htons(kPort),
                       .sin_addr = {htonl(INADDR_LOOPBACK)},
                       .sin_zero = {}};
  const uint8_t initiation[148] = {1};
  constexpr uint32_t kSent = 40;
  std::vector<uint32_t> counts;
  // Repeated if some packets were left to ksoftirqd, which does not run meanwhile.
  for (int round = 0; round < 10 && (counts.empty() || counts.back() != kSent); ++round) {
    counts.clear();
    {
      const AllProcessorsTaken taken;
      for (uint32_t sent = 0; sent < kSent; ++sent) {
        ASSERT_EQ(sendto(fd.get(), initiation, sizeof(initiation), 0,
                         reinterpret_cast<const sockaddr*>(&to), sizeof(to)),
                  static_cast<ssize_t>(sizeof(initiation)));
        counts.push_back(backlog_->Waiting(now_ns_).value_or(0));
      }
    }
    for (int i = 0; i < 100 && backlog_->Waiting(now_ns_) != 0u; ++i) {
      absl::SleepFor(absl::Milliseconds(50));
    }
    ASSERT_EQ(backlog_->Waiting(now_ns_), 0u);
  }
  for (uint32_t i = 0; i < kSent; ++i) EXPECT_EQ(counts[i], i + 1);
}

// Not even one of the same index, in another namespace, whose socket has stayed in ours.
TEST_F(BacklogTest, NoOtherDeviceIsTakenForIt) {
  const std::string other = absl::StrCat(name_, "x");
  EXPECT_TRUE(Shell(absl::StrCat("ip link add ", other, " type wireguard && ip link set ", other,
                                 " up && ip link add vx type vxlan id 7 dstport 4789 dev lo && ",
                                 "ip link set vx up")));
  EXPECT_EQ(Waiting(), std::nullopt);
  const int index = InterfaceIndex(other);
  EXPECT_TRUE(Shell(absl::StrCat("ip netns add ", other, " && ip link set ", other, " netns ",
                                 other, " && ip -n ", other, " link set ", other, " up")));
  EXPECT_TRUE(
      Shell(absl::StrCat("ip -n ", other, " link show ", other, " | grep -q '^", index, ":'")));
  EXPECT_TRUE(Shell(absl::StrCat("ip link del ", name_, " && ip link add ", name_, " index ", index,
                                 " type wireguard")));
  Open();
  EXPECT_EQ(Waiting(), std::nullopt);
  EXPECT_TRUE(Set("up"));
  EXPECT_EQ(Waiting(), 0u);
  EXPECT_TRUE(Shell(absl::StrCat("ip netns del ", other, " && ip link del vx")));
}

}  // namespace
}  // namespace wicket::reinject
