#include "tools/blast/held_cookies.h"

#include <gtest/gtest.h>

namespace wicket::blast {
namespace {

constexpr uint64_t kNow_ns = 1'000, kAge_ns = 120'000'000'000;

class HeldCookiesTest : public testing::Test {
 protected:
  static void SetUpTestSuite() { ASSERT_TRUE(crypto::Initialize().ok()); }

  HeldCookiesTest() {
    packet_.handshake.message.mac1.fill(7);
    cookie_.fill(9);
  }
  wire::CookieReply Reply() const {
    return noise::SealCookie(noise::CookieKey(target_), cookie_, packet_.handshake.message.mac1,
                             packet_.handshake.message.sender_index);
  }
  // Returns: the mac2 of a handshake that `client` makes at `now_ns`.
  crypto::Mac Mac2At(uint64_t client, uint64_t now_ns) const {
    Packet next{Kind::kNew, client, {}};
    cookies_.AddMac2(now_ns, &next);
    return next.handshake.message.mac2;
  }

  const PublicKey target_ = crypto::DerivePublicKey(crypto::GeneratePrivateKey());
  Packet packet_{Kind::kNew, 5, {}};
  noise::Cookie cookie_;
  HeldCookies cookies_{target_};
};

TEST_F(HeldCookiesTest, ACookieServesItsClientUntilItIsTooOld) {
  EXPECT_EQ(Mac2At(5, kNow_ns), crypto::Mac{});
  ASSERT_TRUE(cookies_.Take(packet_, Reply(), kNow_ns));
  const crypto::Mac mac2 = noise::Mac2(cookie_, wire::Initiation{});
  EXPECT_EQ(Mac2At(5, kNow_ns), mac2);
  EXPECT_EQ(Mac2At(5, kNow_ns + kAge_ns - 1), mac2);
  EXPECT_EQ(Mac2At(5, kNow_ns + kAge_ns), crypto::Mac{});
  EXPECT_EQ(Mac2At(6, kNow_ns), crypto::Mac{});  // another client
}

TEST_F(HeldCookiesTest, AReplyToAnotherPacketIsRefused) {
  const wire::CookieReply reply = Reply();
  packet_.handshake.message.mac1[0] ^= 1;
  EXPECT_FALSE(cookies_.Take(packet_, reply, kNow_ns));
  EXPECT_EQ(Mac2At(5, kNow_ns), crypto::Mac{});
}

}  // namespace
}  // namespace wicket::blast
