#include "tools/blast/supply.h"

#include <gtest/gtest.h>

#include <memory>
#include <vector>

namespace wicket::blast {
namespace {

class SupplyTest : public testing::Test {
 protected:
  SupplyTest() {
    EXPECT_TRUE(crypto::Initialize().ok());
    options_.target_key = crypto::DerivePublicKey(crypto::GeneratePrivateKey());
  }

  void Open(const char* mix, uint64_t clients, uint32_t thread = 0) {
    options_.mix = *Mix::Parse(mix);
    fleet_ = std::make_unique<Fleet>("seed", clients);
    supply_ = std::make_unique<Supply>(options_, fleet_.get(), thread, &sessions_, &random_,
                                       counts_.get());
  }
  uint64_t Make(uint64_t turns, uint64_t now_ns = 0) {
    return supply_->Make(turns, now_ns, [](uint64_t k) { return absl::FromUnixSeconds(k); });
  }
  void Begin(uint64_t client, uint64_t born_ns) {
    sessions_.Keep(Session(client, {}, born_ns, {}));
  }

  LoadOptions options_;
  Sessions sessions_;
  Random random_{1, 0};
  std::unique_ptr<Counts> counts_ = std::make_unique<Counts>();
  std::unique_ptr<Fleet> fleet_;
  std::unique_ptr<Supply> supply_;
};

TEST_F(SupplyTest, NewcomersComeOnceAndRunOut) {
  Open("new", 3);
  EXPECT_EQ(Make(16), 3u);
  for (uint64_t client = 0; client < 3; ++client) {
    ASSERT_FALSE(supply_->empty());
    const auto packet = supply_->Take();
    ASSERT_TRUE(packet);
    EXPECT_EQ(packet->kind, Kind::kNew);
    EXPECT_EQ(packet->client, client);
  }
  EXPECT_TRUE(supply_->empty());
  EXPECT_EQ(counts_->clients, 3u);
  EXPECT_EQ(counts_->exhausted, 1u);
  EXPECT_EQ(Make(16), 0u);
  EXPECT_TRUE(supply_->empty());
}

TEST_F(SupplyTest, AThreadHasClientsAndIndicesOfItsOwn) {
  options_.threads = 3;
  Open("new", 7, /*thread=*/1);
  EXPECT_EQ(Make(16), 2u);
  for (const uint64_t client : {1u, 4u}) {
    const auto packet = supply_->Take();
    ASSERT_TRUE(packet);
    EXPECT_EQ(packet->client, client);
    EXPECT_EQ(packet->handshake.message.sender_index[3], 1);
  }
}

TEST_F(SupplyTest, ATurnOfASessionPassesWhileNoClientHasOne) {
  Open("rekey", 1);
  EXPECT_EQ(Make(3), 3u);
  const auto newcomer = supply_->Take();
  ASSERT_TRUE(newcomer);
  EXPECT_EQ(newcomer->kind, Kind::kNew);
  EXPECT_FALSE(supply_->Take());
  EXPECT_FALSE(supply_->Take());
  EXPECT_EQ(counts_->exhausted, 2u);
  Begin(0, 0);
  EXPECT_EQ(Make(1), 1u);
  const auto rekey = supply_->Take();
  ASSERT_TRUE(rekey);
  EXPECT_EQ(rekey->kind, Kind::kRekey);
}

TEST_F(SupplyTest, AnAgedSessionIsRenewed) {
  Open("data", 1);
  EXPECT_EQ(Make(1), 1u);
  EXPECT_EQ(supply_->Take()->kind, Kind::kNew);
  Begin(0, 5);
  EXPECT_EQ(Make(1, 120'000'000'005), 1u);
  EXPECT_EQ(supply_->Take()->kind, Kind::kData);
  EXPECT_EQ(Make(1, 120'000'000'006), 1u);
  EXPECT_EQ(supply_->Take()->kind, Kind::kRekey);
}

TEST_F(SupplyTest, KnownClientsComeInRotation) {
  options_.clients.known = true;
  Open("old", 2);
  EXPECT_EQ(Make(3), 3u);
  for (const uint64_t client : {0u, 1u, 0u}) EXPECT_EQ(supply_->Take()->client, client);
  EXPECT_EQ(counts_->clients, 0u);
}

TEST_F(SupplyTest, AnotherAttemptHasAnotherIndex) {
  Open("cookie", 1);
  EXPECT_EQ(Make(1), 1u);
  const auto first = supply_->Take();
  const auto second = supply_->MakeAgain(*first, absl::UnixEpoch());
  ASSERT_TRUE(second);
  EXPECT_EQ(second->kind, Kind::kCookie);
  EXPECT_EQ(second->client, first->client);
  EXPECT_NE(second->handshake.message.sender_index, first->handshake.message.sender_index);
}

TEST_F(SupplyTest, NoHandshakeIsMadeForALowOrderKey) {
  options_.target_key = {};
  for (const char* kind : {"new", "unknown", "repeat"}) {
    for (const uint64_t together : {1, 2}) {
      Open(kind, 2);
      EXPECT_EQ(Make(together), together);
      while (!supply_->empty()) EXPECT_FALSE(supply_->Take()) << kind;
    }
  }
  Open("junk", 2);
  EXPECT_EQ(Make(1), 1u);
  EXPECT_TRUE(supply_->Take());
}

TEST_F(SupplyTest, AttackersReuseHandshakesAndRepeatIsOnePacket) {
  const auto bytes = [](const std::optional<Packet>& packet) {
    return std::vector<uint8_t>(packet->payload().begin(), packet->payload().end());
  };
  Open("unknown", 2);
  EXPECT_EQ(Make(257), 257u);
  const auto first = supply_->Take(), second = supply_->Take();
  EXPECT_EQ(first->handshake.message.ephemeral, second->handshake.message.ephemeral);
  EXPECT_NE(first->handshake.message.mac1, second->handshake.message.mac1);
  std::optional<Packet> last;
  while (!supply_->empty()) last = supply_->Take();
  EXPECT_NE(first->handshake.message.ephemeral, last->handshake.message.ephemeral);
  Open("repeat", 2);
  EXPECT_EQ(Make(2), 2u);
  EXPECT_EQ(bytes(supply_->Take()), bytes(supply_->Take()));
}

}  // namespace
}  // namespace wicket::blast
