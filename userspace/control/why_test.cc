// Why a peer has a session, or none: each reason by the state that gives it.
#include "control/why.h"

#include <gtest/gtest.h>

#include "absl/strings/match.h"
#include "absl/strings/str_join.h"

namespace wicket::control {
namespace {

const absl::Time kNow = absl::FromUnixSeconds(1'700'000'000);

class WhyTest : public ::testing::Test {
 protected:
  WhyTest() {
    peer_.device = "wg0";
    peer_.config.allowed_ips.push_back(*ParsePrefix("10.0.0.1/32"));
    status_.nics.push_back({.name = "eth0", .xdp_mode = "native"});
    status_.devices.push_back({.name = "wg0",
                               .backend = "netlink",
                               .installed = 3,
                               .installed_max = 10,
                               .probation_max = 5});
  }
  std::string Why(const char* state = "stored", bool seen = true) {
    return absl::StrJoin(WhyOf(peer_, state, seen ? std::optional(store::Session{}) : std::nullopt,
                               runs_ ? &status_ : nullptr, latest_, kNow),
                         "; ");
  }

  store::Peer peer_;
  document::Status status_;
  bool runs_ = true;
  std::vector<event::Latest::Entry> latest_;
};

TEST_F(WhyTest, WhatHappenedToItsLastPacketsIsTold) {
  const Endpoint source = *ParseEndpoint("192.0.2.1:5");
  latest_ = {{event::Kind::kSeen, kNow - absl::Seconds(90), source, ""},
             {event::Kind::kRefused, kNow - absl::Seconds(12), source, "replay"},
             {event::Kind::kEvicted, kNow + absl::Seconds(1), {}, "its session is dead"}};
  const std::string why = Why();
  for (const char* sentence :
       {"1m30s ago an initiation from 192.0.2.1:5 proved its key",
        "12s ago an initiation from 192.0.2.1:5 was refused: replay: the timestamp is not",
        "0 ago it left its device: its session is dead"}) {
    EXPECT_TRUE(absl::StrContains(why, sentence)) << why;
  }
}

TEST_F(WhyTest, EachStateHasItsSentence) {
  EXPECT_EQ(Why("established"),
            "it is installed and has a session: the kernel answers its next initiation");
  EXPECT_TRUE(absl::StrContains(Why("probation"), "waits for the first data"));
  EXPECT_TRUE(absl::StrContains(Why("leaving"), "about to be removed"));
  EXPECT_TRUE(absl::StrContains(Why(), "it has not called since"));
  EXPECT_TRUE(absl::StrContains(Why("not reached"), "its device does not answer"));
  EXPECT_FALSE(absl::StrContains(Why("not reached", false), "proven"));
  EXPECT_TRUE(absl::StrContains(Why("stored", false), "no proven initiation of it is known"));
}

TEST_F(WhyTest, AnExpiredPeerIsToldThatAlone) {
  peer_.expires = kNow;
  EXPECT_EQ(Why(), "it has expired: its initiations are refused");
  EXPECT_EQ(Why("stored", false), "it has expired: its initiations are refused");
  peer_.expires = kNow + absl::Seconds(1);
  EXPECT_FALSE(absl::StrContains(Why(), "expired"));
}

TEST_F(WhyTest, AUsedUpQuotaIsToldWithItsEnd) {
  peer_.quota = {.bytes = 10, .period = absl::Hours(24)};
  store::Session session{.sent_bytes = 12, .period_begun = peer_.quota.BeginOf(kNow)};
  const auto why = WhyOf(peer_, "stored", session, &status_, {}, kNow);
  ASSERT_EQ(why.size(), 1u);
  EXPECT_EQ(why[0],
            "it has used 12 of the 10 bytes of its period: its initiations are refused until "
            "2023-11-15T00:00:00Z");
}

TEST_F(WhyTest, WhatKeepsEverybodyOutIsNamed) {
  const auto with = [&](auto change) {
    const document::Status before = status_;
    change();
    const std::string why = Why();
    status_ = before;
    return why;
  };
  auto& device = status_.devices[0];
  EXPECT_TRUE(absl::StrContains(with([&] { device.backend = "away"; }), "wg0, is away"));
  EXPECT_TRUE(absl::StrContains(with([&] { device.installed = 10; }), "installed_max = 10"));
  EXPECT_TRUE(
      absl::StrContains(with([&] { device.installed_unconfirmed = 5; }), "probation_max = 5"));
  EXPECT_TRUE(
      absl::StrContains(with([&] { status_.nics[0].xdp_mode = "away"; }), "no network interface"));
  // A peer that is in has nothing to do with it.
  device.installed = 10;
  EXPECT_EQ(Why("established"),
            "it is installed and has a session: the kernel answers its next initiation");
}

TEST_F(WhyTest, WithoutADaemonNobodyInstallsIt) {
  runs_ = false;
  EXPECT_TRUE(absl::StrContains(Why(), "no wicketd runs here"));
}

TEST_F(WhyTest, APeerWithoutAddressesCarriesNothing) {
  peer_.config.allowed_ips.clear();
  EXPECT_TRUE(absl::StrContains(Why("established"), "carries no data"));
}

}  // namespace
}  // namespace wicket::control
