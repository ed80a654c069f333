// The maps, as written by the gateway and read by the program.
#include <bpf/bpf.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <net/if.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>

#include <array>
#include <atomic>
#include <barrier>
#include <filesystem>
#include <set>
#include <thread>

#include "absl/cleanup/cleanup.h"
#include "base/clock.h"
#include "base/fd.h"
#include "crypto/curve25519.h"
#include "xdp/blake2s.h"
#include "xsk/hook.h"
#include "xsk/pins.h"
#include "xsk/steering.h"

namespace wicket::xsk {
namespace {

class SteeringTest : public testing::Test {
 protected:
  void SetUp() override {
    auto steering = Steering::Open(pin_dir_);
    ASSERT_TRUE(steering.ok()) << steering.status();
    steering_ = std::move(*steering);
  }
  void TearDown() override {
    steering_.reset();
    EXPECT_TRUE(DetachAll(pin_dir_).ok());
    EXPECT_FALSE(std::filesystem::exists(pin_dir_));
  }

  Fd Map(const char* name) const {
    const std::string version = "/v" + std::to_string(STEER_ABI_VERSION) + "/";
    return Fd(bpf_obj_get((pin_dir_ + version + name).c_str()));
  }

  const std::string pin_dir_ = "/sys/fs/bpf/wicket-test-" + std::to_string(getpid());
  std::unique_ptr<Steering> steering_;
};

using State = std::array<uint32_t, 8>;

State StateOf(const Secret<32>& secret) {
  State state;
  uint32_t block[16] = {};
  memcpy(block, secret.data(), secret.size());
  blake2s_begin(state.data(), 16, BLAKE2S_KEY_BYTES_MAX);
  blake2s_compress(state.data(), block, BLAKE2S_BLOCK_BYTES, 0);
  return state;
}

// The newest secret makes the cookies. A half-written one would make a cookie that no gateway
// accepts.
TEST_F(SteeringTest, TheNewestSecretIsAlwaysWhole) {
  constexpr int kSecrets = 50'000;
  std::vector<Secret<32>> secrets(kSecrets);
  std::set<State> whole;
  for (Secret<32>& secret : secrets) {
    crypto::FillRandom(secret.data(), secret.size());
    whole.insert(StateOf(secret));
  }
  const Fd map = Map("steer_secrets");
  ASSERT_TRUE(map.valid());
  ASSERT_TRUE(steering_->AddSecret(secrets[0]).ok());
  std::atomic<bool> done{false};
  int read = 0, torn = 0;
  std::thread reader([&] {
    while (!done) {
      const auto read_entry = [&](uint32_t which) {
        steer_secret secret{};
        bpf_map_lookup_elem(map.get(), &which, &secret);
        return secret;
      };
      const steer_secret both[2] = {read_entry(0), read_entry(1)};
      // A reader that is delayed between the two reads would compare a new secret with an old one.
      const steer_secret again = read_entry(0);
      if (memcmp(&again, &both[0], sizeof(again)) != 0) continue;
      const steer_secret& newest = both[both[1].born_ns > both[0].born_ns];
      State state;
      memcpy(state.data(), newest.state, sizeof(newest.state));
      ++read;
      torn += !whole.contains(state);
    }
  });
  for (int i = 1; i < kSecrets; ++i) ASSERT_TRUE(steering_->AddSecret(secrets[i]).ok());
  done = true;
  reader.join();
  EXPECT_GT(read, 1000);
  EXPECT_EQ(torn, 0) << "of " << read;
}

TEST_F(SteeringTest, TheSecretBeforeTheNewestIsKept) {
  const Fd map = Map("steer_secrets");
  std::set<State> wanted;
  for (int i = 0; i < 5; ++i) {
    Secret<32> secret;
    crypto::FillRandom(secret.data(), secret.size());
    ASSERT_TRUE(steering_->AddSecret(secret).ok());
    steer_secret both[2] = {};
    for (uint32_t which : {0u, 1u}) bpf_map_lookup_elem(map.get(), &which, &both[which]);
    const bool second = both[1].born_ns > both[0].born_ns;
    EXPECT_EQ(memcmp(both[second].state, StateOf(secret).data(), sizeof(State)), 0);
    if (i > 0) {
      State older;
      memcpy(older.data(), both[!second].state, sizeof(State));
      EXPECT_TRUE(wanted.contains(older));
    }
    wanted = {StateOf(secret)};
  }
}

// The program reads an entry while it is replaced, so an entry that stays is not written.
TEST_F(SteeringTest, AServiceThatStaysIsNotWrittenAgain) {
  const Fd map = Map("steer_served");
  Service first{51820, 0, {}, {}}, second{51821, 1, {}, {}};
  const auto read = [&](uint16_t port) {
    const steer_service key{port};
    steer_device device{};
    EXPECT_EQ(bpf_map_lookup_elem(map.get(), &key, &device), 0) << port;
    return device;
  };
  ASSERT_TRUE(steering_->Serve({first, second}).ok());
  const steer_device before = read(51820), changing = read(51821);
  second.mac1_key[0] ^= 1;
  ASSERT_TRUE(steering_->Serve({first, second}).ok());
  const steer_device after = read(51820), changed = read(51821);
  // A device that is written again draws a new nonce prefix.
  EXPECT_EQ(memcmp(&before, &after, sizeof(before)), 0);
  EXPECT_NE(memcmp(changing.mac1_state, changed.mac1_state, sizeof(changed.mac1_state)), 0);
  EXPECT_NE(memcmp(changing.cookie_prefix, changed.cookie_prefix, sizeof(changed.cookie_prefix)),
            0);
  ASSERT_TRUE(steering_->Serve({second}).ok());
  const steer_service gone{51820};
  steer_device device;
  EXPECT_NE(bpf_map_lookup_elem(map.get(), &gone, &device), 0);
}

TEST_F(SteeringTest, AFlowKeepsItsHistoryWhileItIsYoung) {
  const Fd map = Map("steer_flows");
  const Endpoint source{{Family::kIpv4, {192, 0, 2, 1}}, 4242, 0};
  const steer_flow key{{0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 192, 0, 2, 1}, 4242, 51820};
  const auto read = [&] {
    steer_flow_state state{};
    EXPECT_EQ(bpf_map_lookup_elem(map.get(), &key, &state), 0);
    return state;
  };
  const auto write = [&](const steer_flow_state& state) {
    ASSERT_EQ(bpf_map_update_elem(map.get(), &key, &state, BPF_ANY), 0);
  };
  Flows& flows = steering_->flows();
  EXPECT_TRUE(flows.Forget(source, 51820).ok()) << "one that is not known";
  ASSERT_TRUE(flows.Note(source, 51820).ok());
  steer_flow_state state = read();
  EXPECT_EQ(state.last_initiation_ns, 0u);
  EXPECT_LE(SteadyNanos() - state.history_ns, 1'000'000'000u);
  state.last_initiation_ns = 7;  // as the program sets it
  write(state);
  ASSERT_TRUE(flows.Note(source, 51820).ok());
  EXPECT_EQ(read().last_initiation_ns, 7u);
  ASSERT_TRUE(flows.Forget(source, 51820).ok());
  EXPECT_EQ(read().forgotten, 1u);
  EXPECT_EQ(read().last_initiation_ns, 7u);
  ASSERT_TRUE(flows.Note(source, 51820).ok());
  EXPECT_EQ(read().forgotten, 0u);
  EXPECT_EQ(read().history_ns, state.history_ns);
  EXPECT_EQ(read().last_initiation_ns, 7u);
  state.history_ns = SteadyNanos() - STEER_HISTORY_NS;
  write(state);
  ASSERT_TRUE(flows.Note(source, 51820).ok());
  EXPECT_EQ(read().last_initiation_ns, 0u);
}

// --- two gateways and one NIC ---------------------------------------------------

class TwoGatewaysTest : public testing::Test {
 protected:
  // A network namespace of our own, with a NIC whose hook takes one program only.
  static void SetUpTestSuite() {
    ASSERT_EQ(unshare(CLONE_NEWNET), 0) << "needs root";
    ASSERT_EQ(setenv("LIBXDP_SKIP_DISPATCHER", "1", 1), 0);
    ASSERT_EQ(system("ip link add w0 type veth peer name w1 && ip link set w0 up && "
                     "ip link set w1 up"),
              0);
    ifindex_ = static_cast<int>(if_nametoindex("w0"));
  }

  void SetUp() override {
    Start(&first_, kFirst);
    Start(&second_, kSecond);
  }
  void TearDown() override {
    first_.reset();
    second_.reset();
    for (const std::string& pin_dir : {kFirst, kSecond}) {
      EXPECT_TRUE(DetachAll(pin_dir).ok());
      EXPECT_FALSE(std::filesystem::exists(pin_dir));
    }
    EXPECT_FALSE(ReadHook(ifindex_).occupied);
  }

  static void Start(std::unique_ptr<Steering>* gateway, const std::string& pin_dir) {
    gateway->reset();
    auto opened = Steering::Open(pin_dir);
    ASSERT_TRUE(opened.ok()) << opened.status();
    *gateway = std::move(*opened);
  }
  static uint32_t ProgramId() { return ReadHook(ifindex_).main.id; }

  static inline int ifindex_ = 0;
  static inline const std::string kFirst = "/sys/fs/bpf/wicket-first-" + std::to_string(getpid());
  static inline const std::string kSecond = "/sys/fs/bpf/wicket-second-" + std::to_string(getpid());
  std::unique_ptr<Steering> first_, second_;
};

TEST_F(TwoGatewaysTest, TheSecondIsRefusedWithTheNameOfTheFirst) {
  EXPECT_FALSE(Steering::IsAttached(ifindex_));
  ASSERT_TRUE(first_->Attach("w0", XdpMode::kNative).ok());
  EXPECT_TRUE(first_->Serves(ifindex_));
  const uint32_t program = ProgramId();
  for (XdpMode mode : {XdpMode::kAuto, XdpMode::kNative, XdpMode::kGeneric}) {
    const absl::Status refused = second_->Attach("w0", mode).status();
    EXPECT_EQ(refused.code(), absl::StatusCode::kFailedPrecondition);
    EXPECT_THAT(refused.message(), testing::HasSubstr("NIC w0"));
    EXPECT_THAT(refused.message(), testing::HasSubstr("pin_dir " + kFirst));
    EXPECT_THAT(refused.message(), testing::HasSubstr("process " + std::to_string(getpid())));
  }
  EXPECT_EQ(ProgramId(), program);
  EXPECT_TRUE(first_->Serves(ifindex_));
  EXPECT_FALSE(second_->Serves(ifindex_));
}

TEST_F(TwoGatewaysTest, OfTwoThatComeAtOnceOneIsRefusedWithTheNameOfTheOther) {
  // Where the kernel can share a hook, both would find room on it.
  ASSERT_EQ(unsetenv("LIBXDP_SKIP_DISPATCHER"), 0);
  const absl::Cleanup restore = [] { setenv("LIBXDP_SKIP_DISPATCHER", "1", 1); };
  int served = 0;
  for (int round = 0; round < 8; ++round) {
    Start(&first_, kFirst);
    Start(&second_, kSecond);
    std::array<absl::Status, 2> results;
    std::barrier begin(2);
    const auto attach = [&](Steering* gateway, absl::Status* result) {
      begin.arrive_and_wait();
      *result = gateway->Attach("w0", XdpMode::kNative).status();
    };
    std::thread other(attach, second_.get(), &results[1]);
    attach(first_.get(), &results[0]);
    other.join();
    // Both may give way, and try again later; never do both serve.
    ASSERT_FALSE(results[0].ok() && results[1].ok());
    served += results[0].ok() || results[1].ok();
    ASSERT_EQ(first_->Serves(ifindex_), results[0].ok());
    ASSERT_EQ(second_->Serves(ifindex_), results[1].ok());
    for (int i : {0, 1}) {
      if (results[i].ok()) continue;
      ASSERT_EQ(results[i].code(), absl::StatusCode::kFailedPrecondition) << results[i];
      ASSERT_THAT(results[i].message(),
                  testing::AnyOf(testing::HasSubstr("pin_dir " + (i == 0 ? kSecond : kFirst)),
                                 testing::HasSubstr("another gateway that starts")));
    }
    first_.reset();
    second_.reset();
    for (const std::string& pin_dir : {kFirst, kSecond}) ASSERT_TRUE(DetachAll(pin_dir).ok());
  }
  EXPECT_GT(served, 0);
  Start(&first_, kFirst);
  Start(&second_, kSecond);
}

TEST_F(TwoGatewaysTest, TheSecondTakesTheNicOfOneThatIsGone) {
  ASSERT_TRUE(first_->Attach("w0", XdpMode::kNative).ok());
  first_.reset();
  const auto attachment = second_->Attach("w0", XdpMode::kAuto);
  ASSERT_TRUE(attachment.ok()) << attachment.status();
  EXPECT_FALSE(attachment->taken_over) << "it was another gateway's";
  EXPECT_TRUE(second_->Serves(ifindex_));
  Start(&first_, kFirst);
  EXPECT_TRUE(Steering::IsAttached(ifindex_));
  EXPECT_FALSE(first_->Serves(ifindex_)) << "the program is there, with the maps of the second";
  EXPECT_THAT(first_->Attach("w0", XdpMode::kAuto).status().message(),
              testing::HasSubstr("pin_dir " + kSecond));
}

// As if seen from another mount namespace, or after somebody moved the folder.
TEST_F(TwoGatewaysTest, OneWhosePinsAreNotSeenLivesWhileItsShardsBeat) {
  ASSERT_TRUE(first_->Attach("w0", XdpMode::kNative).ok());
  const std::string moved = kFirst + "-moved";
  std::filesystem::rename(kFirst, moved);
  first_->Shard(3).beat_ns->store(SteadyNanos());
  EXPECT_THAT(second_->Attach("w0", XdpMode::kNative).status().message(),
              testing::HasSubstr("pin_dir " + kFirst));
  first_->Shard(3).beat_ns->store(SteadyNanos() - 5'000'000'000);
  EXPECT_TRUE(second_->Attach("w0", XdpMode::kNative).ok());
  EXPECT_TRUE(second_->Serves(ifindex_));
  std::filesystem::rename(moved, kFirst);
}

TEST_F(TwoGatewaysTest, AGatewayTakesItsOwnProgramOver) {
  ASSERT_TRUE(first_->Attach("w0", XdpMode::kNative).ok());
  const uint32_t program = ProgramId();
  Start(&first_, kFirst);
  auto attachment = first_->Attach("w0", XdpMode::kAuto);
  ASSERT_TRUE(attachment.ok()) << attachment.status();
  EXPECT_TRUE(attachment->taken_over);
  EXPECT_EQ(ProgramId(), program) << "the same program with the same maps";
  // A program of another version, older or newer, is replaced.
  for (const int version : {STEER_ABI_VERSION - 1, STEER_ABI_VERSION + 1}) {
    first_.reset();
    const std::string maps = kFirst + "/v";
    std::filesystem::rename(maps + std::to_string(STEER_ABI_VERSION),
                            maps + std::to_string(version));
    Start(&first_, kFirst);
    EXPECT_FALSE(first_->Serves(ifindex_));
    attachment = first_->Attach("w0", XdpMode::kAuto);
    ASSERT_TRUE(attachment.ok()) << attachment.status();
    EXPECT_TRUE(attachment->taken_over);
    EXPECT_TRUE(first_->Serves(ifindex_));
    EXPECT_NE(ProgramId(), program);
  }
}

}  // namespace
}  // namespace wicket::xsk
