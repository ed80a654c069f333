#include "roster/roster.h"

#include "absl/strings/match.h"
#include "document/answer_text.h"
#include "roster/roster_fixture.h"

namespace wicket::roster {
namespace {

using Strings = std::vector<std::string>;

TEST_F(RosterTest, CommitsThenTellsTheDeviceThenTheWatchers) {
  ASSERT_TRUE(roster_->Put(Request(1, {"10.1.0.1/32"})).ok());
  EXPECT_EQ(Events(), Strings{"created"});
  bool asked = false;
  devices_.during_sync = [&] {
    asked = true;
    const auto peer = store_->NewSnapshot()->FindPeer(store::Key(1));
    ASSERT_TRUE(peer.ok());
    EXPECT_EQ(ToString(peer->config.allowed_ips[0]), "10.1.0.2/32") << "told before the commit";
    EXPECT_EQ(Events(), Strings{}) << "watchers were told before the device";
  };
  ASSERT_TRUE(roster_->Put(Request(1, {"10.1.0.2/32"})).ok());
  EXPECT_TRUE(asked);
  EXPECT_EQ(Events(), Strings{"updated"});

  devices_.during_sync = [&] {
    EXPECT_FALSE(IsStored(1));
    EXPECT_EQ(Events(), Strings{});
  };
  ASSERT_TRUE(roster_->Delete("wg0", store::Key(1)).ok());
  EXPECT_EQ(Events(), Strings{"deleted"});
}

TEST_F(RosterTest, OnlyAPeerThatChangesIsToldToItsDevice) {
  const auto created = roster_->Put(Request(1, {"10.1.0.1/32"}));
  ASSERT_TRUE(created.ok());
  EXPECT_TRUE(created->created && created->changed);
  EXPECT_EQ(devices_.questions, 0) << "a new peer is in no device";

  const auto same = roster_->Put(Request(1, {"10.1.0.1/32"}));
  ASSERT_TRUE(same.ok());
  EXPECT_FALSE(same->created || same->changed);
  EXPECT_EQ(devices_.questions, 0) << "nothing has changed";
  EXPECT_EQ(Events(), Strings{"created"});

  const auto updated = roster_->Put(Request(1, {"10.1.0.2/32"}));
  ASSERT_TRUE(updated.ok());
  EXPECT_TRUE(!updated->created && updated->changed);
  EXPECT_EQ(devices_.synced, std::vector{store::Key(1)});
}

TEST_F(RosterTest, ADeviceThatDoesNotAnswerIsUnavailable) {
  ASSERT_TRUE(roster_->Put(Request(1)).ok());
  devices_.answer = absl::DeadlineExceededError("wg0 is busy");
  const auto put = roster_->Put(Request(1, {"10.1.0.1/32"}));
  EXPECT_EQ(put.status(),
            absl::UnavailableError("stored, but the device was not updated: wg0 is busy"));
  EXPECT_EQ(Events(), (Strings{"created", "updated"})) << "it is stored all the same";

  // Asked again it changes nothing in the store, but the device has not confirmed it.
  EXPECT_TRUE(absl::IsUnavailable(roster_->Put(Request(1, {"10.1.0.1/32"})).status()));
  devices_.answer = absl::OkStatus();
  EXPECT_TRUE(roster_->Put(Request(1, {"10.1.0.1/32"})).ok());
  EXPECT_EQ(devices_.questions, 3);
  EXPECT_TRUE(roster_->Put(Request(1, {"10.1.0.1/32"})).ok());
  EXPECT_EQ(devices_.questions, 3) << "confirmed, and told once more";

  devices_.answer = absl::DeadlineExceededError("wg0 is busy");
  EXPECT_EQ(roster_->Delete("wg0", store::Key(1)),
            absl::UnavailableError("deleted, but the device still has it: wg0 is busy"));
  EXPECT_FALSE(IsStored(1));

  devices_.answer = absl::OkStatus();
  devices_.synced.clear();
  EXPECT_TRUE(roster_->Put(Request(1)).ok());
  EXPECT_EQ(devices_.synced, std::vector{store::Key(1)}) << "it may still have the deleted one";
}

TEST_F(RosterTest, TheDeleteOfAnAbsentPeerIsToldToItsDevice) {
  EXPECT_TRUE(absl::IsNotFound(roster_->Delete("wg0", store::Key(7))));
  EXPECT_EQ(devices_.synced, std::vector{store::Key(7)});
  EXPECT_EQ(Events(), Strings{});
}

TEST_F(RosterTest, APeerIsDeletedFromItsOwnDeviceOnly) {
  ASSERT_TRUE(roster_->Put(Request(1)).ok());
  EXPECT_TRUE(absl::IsNotFound(roster_->Delete("wg1", store::Key(1))));
  EXPECT_TRUE(IsStored(1));
}

TEST_F(RosterTest, OneBadOfManyLeavesTheOthers) {
  std::vector<document::PeerRequest> requests;
  for (uint64_t n = 1; n <= 5; ++n) requests.push_back(Request(n, {absl::StrCat("10.1.0.", n)}));
  requests[2] = Request(3, {"10.1.0.2/32"});  // of the second
  const auto all = roster_->PutAll(requests);
  ASSERT_TRUE(all.failed.ok()) << all.failed;
  ASSERT_EQ(all.results.size(), 5u);
  for (size_t i : {0, 1, 3, 4}) EXPECT_TRUE(all.results[i].ok()) << all.results[i].status();
  EXPECT_TRUE(absl::IsAlreadyExists(all.results[2].status())) << all.results[2].status();
  EXPECT_EQ(stored_peers(), 4u);
  EXPECT_EQ(Events(), Strings(4, "created"));
}

TEST_F(RosterTest, ManyUpdatesAreOneQuestionToTheDevice) {
  std::vector<document::PeerRequest> requests;
  for (uint64_t n = 1; n <= 100; ++n) requests.push_back(Request(n));
  ASSERT_TRUE(roster_->PutAll(requests).failed.ok());
  for (auto& request : requests) request.peer.pinned = true;
  const auto all = roster_->PutAll(requests);
  ASSERT_TRUE(all.failed.ok());
  EXPECT_EQ(devices_.questions, 1);
  EXPECT_EQ(devices_.synced.size(), 100u);
}

TEST_F(RosterTest, AStoredPeerIsNotReplacedByOneThatMustBeNew) {
  document::PeerRequest first = Request(1, {"10.0.0.1/32"}), second = Request(1, {"10.0.0.2/32"});
  first.only_new = second.only_new = true;
  ASSERT_TRUE(roster_->Put(first).ok());
  EXPECT_TRUE(absl::IsAlreadyExists(roster_->Put(second).status()));
  EXPECT_EQ(store_->NewSnapshot()->FindPeer(store::Key(1))->config.allowed_ips,
            std::vector<Prefix>{*ParsePrefix("10.0.0.1/32")});
  second.only_new = false;
  EXPECT_TRUE(roster_->Put(second).ok());
}

TEST_F(RosterTest, TheDevicesOwnKeyIsNoPeer) {
  const auto put = roster_->Put(Request(0));
  EXPECT_TRUE(absl::IsInvalidArgument(put.status())) << put.status();
  EXPECT_EQ(document::FieldOf(put.status()), "public_key");
  EXPECT_FALSE(IsStored(0));
}

TEST_F(RosterTest, APoolGivesAddressesThatArePassedOn) {
  document::PeerRequest request = Request(1);
  request.pool = "clients";
  const auto put = roster_->Put(request);
  ASSERT_TRUE(put.ok()) << put.status();
  ASSERT_EQ(put->peer.config.allowed_ips.size(), 2u);
  EXPECT_EQ(ToString(put->peer.config.allowed_ips[0]), "10.0.0.2/32");
  const auto again = roster_->Put(request);
  ASSERT_TRUE(again.ok());
  EXPECT_EQ(again->peer.config.allowed_ips, put->peer.config.allowed_ips);
  EXPECT_FALSE(again->changed);

  request.pool = "other";
  const auto bad = roster_->Put(request);
  EXPECT_TRUE(absl::IsInvalidArgument(bad.status()));
  EXPECT_EQ(document::FieldOf(bad.status()), "allocate");
}

// The pool has five addresses.
TEST_F(RosterTest, AnExhaustedPoolRefusesTheRest) {
  std::vector<document::PeerRequest> requests;
  for (uint64_t n = 1; n <= 7; ++n) {
    requests.push_back(Request(n));
    requests.back().pool = "clients";
  }
  const auto all = roster_->PutAll(requests);
  ASSERT_TRUE(all.failed.ok()) << all.failed;
  ASSERT_EQ(all.results.size(), 7u);
  for (size_t i = 0; i < 7; ++i) {
    EXPECT_EQ(all.results[i].ok(), i < 5) << i << ": " << all.results[i].status();
  }
  // What a refused peer took of the other half of the pool has gone back.
  ASSERT_TRUE(roster_->Delete("wg0", store::Key(1)).ok());
  const auto next = roster_->Put(requests[6]);
  ASSERT_TRUE(next.ok()) << next.status();
  EXPECT_EQ(next->peer.config.allowed_ips.size(), 2u);
}

// An allocation that must skip many used addresses asks for another transaction. What was put
// before it is told as created, not as unchanged.
TEST_F(RosterTest, APutThatTakesSeveralTransactionsIsToldOnce) {
  Pools pools;
  pools["wide"] = {.device = "wg0", .ipv4 = {*ParsePrefix("10.8.0.0/15")}, .ipv6 = {}};
  Roster roster(committer_.get(), &devices_, &events_, std::move(pools));
  // Its addresses are skipped one by one, at most 16 384 in a call.
  ASSERT_TRUE(roster.Put(Request(100, {"10.8.0.0/16"})).ok());
  ASSERT_TRUE(absl::IsUnavailable(committer_->Commit([](store::Writer& writer) {
    return writer.Allocate("wg0", {*ParsePrefix("10.8.0.0/15")}).status();
  })));
  Events();
  std::vector<document::PeerRequest> requests;
  requests.push_back(Request(1));
  requests.push_back(Request(2));
  requests[1].pool = "wide";
  requests.push_back(Request(3));
  const auto all = roster.PutAll(requests);
  ASSERT_TRUE(all.failed.ok());
  ASSERT_EQ(all.results.size(), 3u);
  for (const auto& result : all.results) {
    ASSERT_TRUE(result.ok()) << result.status();
    EXPECT_TRUE(result->created);
  }
  EXPECT_EQ(ToString(all.results[1]->peer.config.allowed_ips[0]), "10.9.0.0/32");
  EXPECT_EQ(Events(), Strings(3, "created"));
  EXPECT_EQ(devices_.questions, 0);
}

TEST_F(RosterTest, AResetForgetsTheMarkInStoreAndDevice) {
  ASSERT_TRUE(roster_->Put(Request(1)).ok());
  ASSERT_TRUE(committer_
                  ->Commit([](store::Writer& writer) {
                    store::Session session;
                    session.mark.accepted.wall = absl::FromUnixSeconds(1'800'000'000);
                    session.last_handshake = absl::FromUnixSeconds(1'800'000'000);
                    session.installs = 3;
                    return writer.PutSession(store::Key(1), session);
                  })
                  .ok());
  ASSERT_TRUE(roster_->ResetReplay("wg0", store::Key(1)).ok());
  EXPECT_EQ(devices_.forgotten, 2);
  const auto session = store_->NewSnapshot()->FindSession(store::Key(1));
  ASSERT_TRUE(session);
  EXPECT_EQ(session->last_handshake, absl::UnixEpoch());
  EXPECT_EQ(session->installs, 3u);
  EXPECT_TRUE(absl::IsNotFound(roster_->ResetReplay("wg0", store::Key(2))));
}

}  // namespace
}  // namespace wicket::roster
