#include "installer/session_saver.h"

#include <gtest/gtest.h>

#include <atomic>
#include <barrier>
#include <thread>

#include "base/clock_fixture.h"
#include "guard/replay.h"
#include "installer/rooms_fixture.h"

namespace wicket::installer {
namespace {

class SaverTest : public StoreTest {
 protected:
  store::Session SessionAt(int64_t installs) {
    store::Session session;
    session.installs = static_cast<uint64_t>(installs);
    return session;
  }
  // As many keys as wanted, which Key() has not.
  static PublicKey ManyKey(size_t n) {
    PublicKey key;
    memcpy(key.bytes.data(), &n, sizeof(n));
    return key;
  }
};

TEST_F(SaverTest, WhatTheStoreDoesNotTakeIsKeptAndFound) {
  Put(1);
  store::Committer committer(&*store_);
  SessionSaver saver(&committer);
  // The store's only writer is busy, so nothing can be committed yet.
  auto writer = std::make_optional(*store_->Write());
  const uint64_t ticket = saver.Submit({{Key(1), SessionAt(7)}});
  EXPECT_LT(saver.SavedUpTo(), ticket);
  EXPECT_EQ(saver.unsaved(), 1u);
  ASSERT_TRUE(saver.FindUnsaved(Key(1)));
  EXPECT_EQ(saver.FindUnsaved(Key(1))->installs, 7u);
  EXPECT_FALSE(saver.FindUnsaved(Key(2)));
  saver.Submit({{Key(1), SessionAt(8)}});  // newer than the one in flight
  EXPECT_EQ(saver.FindUnsaved(Key(1))->installs, 8u);
  writer.reset();
  while (saver.unsaved() > 0) std::this_thread::yield();
  EXPECT_GT(saver.SavedUpTo(), ticket);
  EXPECT_EQ(store_->NewSnapshot()->FindSession(Key(1))->installs, 8u);
}

TEST_F(SaverTest, OnlyPeersThatHaveLeftCountAgainstTheLimit) {
  Put(1);
  Put(2);
  store::Committer committer(&*store_);
  SessionSaver saver(&committer);
  auto writer = std::make_optional(*store_->Write());
  saver.Submit({{Key(1), SessionAt(7)}, {Key(2), SessionAt(7)}});
  saver.NoteLeft(Key(1));
  saver.NoteLeft(Key(3));
  EXPECT_EQ(saver.unsaved(), 2u);
  EXPECT_EQ(saver.left(), 1u);
  saver.Submit({{Key(1), SessionAt(8)}});
  EXPECT_EQ(saver.left(), 0u) << "it is back";
  saver.NoteLeft(Key(1));
  writer.reset();
  while (saver.unsaved() > 0) std::this_thread::yield();
  EXPECT_EQ(saver.left(), 0u) << "it is saved";
}

// One submitter's sessions may be taken by the write that another begins.
TEST_F(SaverTest, NoTicketIsForgotten) {
  constexpr int kSubmitters = 2;
  for (uint8_t n = 0; n < kSubmitters; ++n) Put(n);
  store::Committer committer(&*store_);
  SessionSaver saver(&committer);
  std::barrier together(kSubmitters);
  std::vector<std::thread> submitters;
  for (uint8_t n = 0; n < kSubmitters; ++n) {
    submitters.emplace_back([&, n] {
      for (int i = 1; i <= 200; ++i) {
        together.arrive_and_wait();
        const uint64_t ticket = saver.Submit({{Key(n), SessionAt(i)}});
        const absl::Duration end = SteadyNow() + absl::Seconds(20);
        while (saver.SavedUpTo() < ticket && SteadyNow() < end) std::this_thread::yield();
        EXPECT_GE(saver.SavedUpTo(), ticket) << "submission " << i;
        EXPECT_GE(store_->NewSnapshot()->FindSession(Key(n))->installs, static_cast<uint64_t>(i));
        if (HasFailure()) break;
      }
      together.arrive_and_drop();
    });
  }
  for (std::thread& submitter : submitters) submitter.join();
}

TEST_F(SaverTest, AResetOutlivesTheWriteUnderWay) {
  Put(1);
  store::Committer committer(&*store_);
  SessionSaver saver(&committer);
  store::Session session = SessionAt(7);
  session.mark = guard::Accept({}, ToTai64n(kWall), At(kWall));
  auto writer = std::make_optional(*store_->Write());
  saver.Submit({{Key(1), session}});
  saver.Forget(Key(1));
  writer.reset();
  // The write under way is followed by one of what was reset.
  const uint64_t ticket = saver.Submit({{Key(2), session}});
  while (saver.SavedUpTo() < ticket || saver.unsaved() > 0) std::this_thread::yield();
  const auto stored = store_->NewSnapshot()->FindSession(Key(1));
  ASSERT_TRUE(stored);
  EXPECT_FALSE(stored->mark.set());
  EXPECT_EQ(stored->installs, 7u);
}

TEST_F(SaverTest, AResetOfAWaitingSessionKeepsItsCounters) {
  Put(1);
  Put(2);
  store::Committer committer(&*store_);
  SessionSaver saver(&committer);
  store::Session session = SessionAt(7);
  session.mark = guard::Accept({}, ToTai64n(kWall), At(kWall));
  session.received_bytes = 1000;
  auto writer = std::make_optional(*store_->Write());
  saver.Submit({{Key(2), session}});  // under way
  saver.Submit({{Key(1), session}});  // waits
  saver.Forget(Key(1));
  ASSERT_TRUE(saver.FindUnsaved(Key(1)));
  EXPECT_FALSE(saver.FindUnsaved(Key(1))->mark.set());
  EXPECT_EQ(saver.FindUnsaved(Key(1))->received_bytes, 1000u);
  writer.reset();
}

TEST_F(SaverTest, BeyondTheLimitOnlyWhatIsDurableIsKept) {
  store::Committer committer(&*store_);
  SessionSaver saver(&committer);
  auto writer = std::make_optional(*store_->Write());  // nothing can be saved
  Sessions sessions;
  for (size_t n = 0; n <= SessionSaver::kLeftMax; ++n)
    sessions.emplace_back(ManyKey(n), SessionAt(1));
  saver.Submit(sessions);
  EXPECT_TRUE(saver.Keeps(ManyKey(0)));
  for (size_t n = 0; n < SessionSaver::kLeftMax; ++n) saver.NoteLeft(ManyKey(n));
  EXPECT_FALSE(saver.Keeps(ManyKey(SessionSaver::kLeftMax))) << "it would be lost";
  EXPECT_TRUE(saver.Keeps(ManyKey(SessionSaver::kLeftMax + 1))) << "it was saved long ago";
  writer.reset();
}

// Another device's installer comes between the slices of a long submission.
TEST_F(SaverTest, ALongSubmissionLetsOthersIn) {
  constexpr size_t kSessions = 20'000;
  store::Committer committer(&*store_);
  SessionSaver saver(&committer);
  auto writer = std::make_optional(*store_->Write());  // nothing can be saved
  std::atomic<bool> between{false}, ends{false};
  std::atomic<size_t> round{0};
  std::thread other([&] {
    while (!ends) {  // each look takes the lock
      const size_t first = round * kSessions;
      if (saver.FindUnsaved(ManyKey(first)) && !saver.FindUnsaved(ManyKey(first + kSessions - 1))) {
        between = true;
      }
    }
  });
  for (; round < 50 && !between; ++round) {
    Sessions sessions;
    for (size_t n = 0; n < kSessions; ++n) {
      sessions.emplace_back(ManyKey(round * kSessions + n), SessionAt(1));
    }
    saver.Submit(std::move(sessions));
  }
  ends = true;
  other.join();
  EXPECT_TRUE(between) << "the lock was held for the whole of it, each time";
  writer.reset();
}

// More sessions than fit into one batch, and a file without room for any.
TEST_F(SaverTest, AFullFileHoldsNothingUp) {
  store_.emplace(*store::Store::Open({.path = path_ + "/small", .bytes_max = 1 << 20}));
  Sessions sessions;
  for (bool room = true; room;) {
    auto writer = store_->Write();
    for (int i = 0; i < 8 && room; ++i) {
      store::Peer peer;
      peer.config.public_key = ManyKey(sessions.size());
      peer.device = "wg0";
      room = writer->PutPeer(peer).ok();
      if (!room) continue;
      sessions.emplace_back(peer.config.public_key, SessionAt(7));
      sessions.back().second.mark = guard::Accept({}, ToTai64n(kWall), At(kWall));
    }
    if (!writer->spoilt()) {
      ASSERT_TRUE(writer->Commit().ok());
    }
  }
  const size_t count = sessions.size();
  ASSERT_GT(count, 1000u);
  store::Committer committer(&*store_);
  SessionSaver saver(&committer);
  const uint64_t ticket = saver.Submit(std::move(sessions));
  while (saver.SavedUpTo() < ticket) std::this_thread::yield();
  EXPECT_EQ(saver.unsaved(), count);
  EXPECT_TRUE(saver.FindUnsaved(ManyKey(0)));
  saver.Forget(ManyKey(0));
  EXPECT_FALSE(saver.FindUnsaved(ManyKey(0))->mark.set());
  EXPECT_TRUE(saver.FindUnsaved(ManyKey(1))->mark.set());
  EXPECT_EQ(saver.FindUnsaved(ManyKey(0))->installs, 7u);
  EXPECT_EQ(saver.TakeUnsaved().size(), count);
}

}  // namespace
}  // namespace wicket::installer
