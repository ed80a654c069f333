// The maps as the gateway writes them and the program reads them.
#include <bpf/bpf.h>
#include <gtest/gtest.h>
#include <stdlib.h>
#include <string.h>

#include <atomic>
#include <filesystem>
#include <set>
#include <thread>

#include "base/clock.h"
#include "base/fd.h"
#include "crypto/curve25519.h"
#include "xdp/blake2s.h"
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
    EXPECT_TRUE(Steering::DetachAll(pin_dir_).ok());
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

// Whoever makes a cookie takes the newest. One that is written while he reads would make a cookie
// that nobody takes.
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
      // Who is held up between the two compares a secret of now with one of long ago.
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

// The program reads an entry while another takes its place: what stays is not written.
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
  // Each has nonces of its own: a device that is written anew has others.
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
  state.last_initiation_ns = 7;  // as the program does
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

}  // namespace
}  // namespace wicket::xsk
