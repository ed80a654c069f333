#include "store/address_pool.h"

#include <set>

#include "absl/strings/str_cat.h"
#include "store/store_fixture.h"

namespace wicket::store {
namespace {

using AddressPoolTest = StoreTest;

TEST_F(AddressPoolTest, WhatComesBackAgainAndAgainWaitsOnce) {
  Store store = *Open();
  const std::vector<Prefix> pool{P("10.0.0.0/29")};
  const auto cycle = [&](int times) {
    for (int i = 0; i < times; ++i) {
      Writer writer = *store.Write();
      EXPECT_TRUE(writer.PutPeer(MakePeer(1, {"10.0.0.2"})).ok());
      EXPECT_TRUE(writer.DeletePeer(Key(1)).ok());
      EXPECT_TRUE(writer.Commit().ok());
    }
    return store.ReadStats()->file_bytes;
  };
  Writer writer = *store.Write();
  EXPECT_EQ(*writer.Allocate("wg0", pool), P("10.0.0.2/32"));
  ASSERT_TRUE(writer.PutPeer(MakePeer(1, {"10.0.0.2"})).ok());
  ASSERT_TRUE(writer.Commit().ok());
  const uint64_t before = cycle(50);
  EXPECT_EQ(cycle(2000), before);
  // Longer unused than the one that came back a moment ago.
  Writer again = *store.Write();
  EXPECT_EQ(*again.Allocate("wg0", pool), P("10.0.0.2/32"));
  EXPECT_EQ(*again.Allocate("wg0", pool), P("10.0.0.3/32")) << "an address given out twice";
}

TEST_F(AddressPoolTest, TellsHowMuchWasGivenOut) {
  Store store = *Open();
  const Prefix pool = P("10.0.0.0/29");  // less network, device and broadcast address: 5
  const auto use = [&] { return store.NewSnapshot()->UseOfCidr("wg0", pool); };
  EXPECT_EQ(use().size, 5);
  EXPECT_EQ(use().used, 0);
  for (uint64_t n = 0; n < 5; ++n) {
    Writer writer = *store.Write();
    ASSERT_TRUE(writer.PutPeer(MakePeer(n, {ToString(*writer.Allocate("wg0", {pool}))})).ok());
    ASSERT_TRUE(writer.Commit().ok());
    EXPECT_EQ(use().used, static_cast<double>(n) + 1);
  }
  Writer writer = *store.Write();
  EXPECT_FALSE(writer.Allocate("wg0", {pool}).ok());
  ASSERT_TRUE(writer.DeletePeer(Key(2)).ok());
  ASSERT_TRUE(writer.Commit().ok());
  EXPECT_EQ(use().used, 5);
  EXPECT_EQ(store.ReadStats()->released, 1u);
  EXPECT_EQ(store.NewSnapshot()->UseOfCidr("wg0", P("fd00::/64")).size, 18446744073709551614.0);
}

TEST_F(AddressPoolTest, AllocatesEachAddressOnceAndTheLongestUnusedAgain) {
  Store store = *Open();
  Writer writer = *store.Write();
  // By hand: an address, and a range that covers a quarter.
  ASSERT_TRUE(writer.PutPeer(MakePeer(900, {"10.0.0.5"})).ok());
  ASSERT_TRUE(writer.PutPeer(MakePeer(901, {"10.0.0.8/30"})).ok());
  std::set<std::string> expected;
  for (int host : {2, 3, 4, 6, 7, 12, 13, 14})
    expected.insert(absl::StrCat("10.0.0.", host, "/32"));
  std::vector<std::string> given;
  for (uint64_t n = 0; n < 8; ++n) {
    const auto address = writer.Allocate("wg0", {P("10.0.0.0/28")});
    ASSERT_TRUE(address.ok()) << address.status();
    given.push_back(ToString(*address));
    ASSERT_TRUE(writer.PutPeer(MakePeer(n, {given.back()})).ok());
  }
  EXPECT_EQ(std::set<std::string>(given.begin(), given.end()), expected);
  EXPECT_TRUE(absl::IsResourceExhausted(writer.Allocate("wg0", {P("10.0.0.0/28")}).status()));
  EXPECT_FALSE(writer.spoilt());
  // The next CIDR helps out.
  EXPECT_EQ(ToString(*writer.Allocate("wg0", {P("10.0.0.0/28"), P("fd00::/64")})), "fd00::2/128");
  ASSERT_TRUE(writer.DeletePeer(Key(3)).ok());
  ASSERT_TRUE(writer.DeletePeer(Key(1)).ok());
  EXPECT_EQ(ToString(*writer.Allocate("wg0", {P("10.0.0.0/28")})), given[3]);
  // A peer is stored by hand with the one that waits: it is not given out.
  ASSERT_TRUE(writer.PutPeer(MakePeer(50, {given[1]})).ok());
  EXPECT_TRUE(absl::IsResourceExhausted(writer.Allocate("wg0", {P("10.0.0.0/28")}).status()));
  // Another device has addresses of its own.
  EXPECT_EQ(ToString(*writer.Allocate("wg1", {P("10.0.0.0/28")})), "10.0.0.2/32");
}

TEST_F(AddressPoolTest, OfAWideRangeThatGoesOnlyWhatWasReachedIsLookedAt) {
  Store store = *Open();
  const std::vector<Prefix> pool{P("10.0.0.0/8")};
  Writer writer = *store.Write();
  ASSERT_TRUE(writer.PutPeer(MakePeer(1, {ToString(*writer.Allocate("wg0", pool))})).ok());
  ASSERT_TRUE(writer.PutPeer(MakePeer(2, {"10.0.0.0/9"})).ok());
  ASSERT_TRUE(writer.DeletePeer(Key(2)).ok());
  const auto address = writer.Allocate("wg0", pool);
  ASSERT_TRUE(address.ok()) << "it looked at addresses that never were in use: "
                            << address.status();
  EXPECT_EQ(ToString(*address), "10.0.0.3/32");
}

TEST_F(AddressPoolTest, ADefaultRouteThatGoesFreesNoAddress) {
  Store store = *Open();
  const std::vector<Prefix> pool{P("10.0.0.0/8")};
  Writer writer = *store.Write();
  ASSERT_TRUE(writer.PutPeer(MakePeer(1, {ToString(*writer.Allocate("wg0", pool))})).ok());
  ASSERT_TRUE(writer.PutPeer(MakePeer(2, {"0.0.0.0/0"})).ok());
  ASSERT_TRUE(writer.DeletePeer(Key(2)).ok());
  const auto address = writer.Allocate("wg0", pool);
  ASSERT_TRUE(address.ok()) << "it looked at addresses that never were in use: "
                            << address.status();
  EXPECT_EQ(ToString(*address), "10.0.0.3/32");
}

TEST_F(AddressPoolTest, AllocationSkipsALongRunInSeveralCalls) {
  Store store = *Open(1 << 28);
  Writer writer = *store.Write();
  for (uint64_t n = 0; n < 40'000; ++n) {
    Peer peer = MakePeer(n, {});
    peer.config.allowed_ips = {P(absl::StrCat("10.", n >> 16, ".", (n >> 8) & 255, ".", n & 255))};
    ASSERT_TRUE(writer.PutPeer(peer).ok());
  }
  int calls = 1;
  auto address = writer.Allocate("wg0", {P("10.0.0.0/8")});
  while (absl::IsUnavailable(address.status()) && calls < 10) {
    address = writer.Allocate("wg0", {P("10.0.0.0/8")});
    ++calls;
  }
  ASSERT_TRUE(address.ok()) << address.status();
  EXPECT_EQ(ToString(*address), "10.0.156.64/32");  // 40 000
  EXPECT_EQ(calls, 3);
}

TEST_F(AddressPoolTest, APrefixThatComesBackIsGivenOutAddressByAddress) {
  Store store = *Open();
  const std::vector<Prefix> pool{P("10.0.0.0/28")};
  Writer writer = *store.Write();
  ASSERT_TRUE(writer.PutPeer(MakePeer(900, {"10.0.0.0/29"})).ok());
  for (int host = 8; host < 15; ++host) {
    EXPECT_EQ(*writer.Allocate("wg0", pool), P(absl::StrCat("10.0.0.", host)));
  }
  ASSERT_TRUE(writer.DeletePeer(Key(900)).ok());
  ASSERT_TRUE(writer.PutPeer(MakePeer(901, {"10.0.0.4/31"})).ok());
  std::set<std::string> given;
  for (int i = 0; i < 4; ++i) given.insert(ToString(*writer.Allocate("wg0", pool)));
  EXPECT_EQ(given,
            (std::set<std::string>{"10.0.0.2/32", "10.0.0.3/32", "10.0.0.6/32", "10.0.0.7/32"}));
  EXPECT_TRUE(absl::IsResourceExhausted(writer.Allocate("wg0", pool).status()));
  EXPECT_FALSE(writer.spoilt());
}

}  // namespace
}  // namespace wicket::store
