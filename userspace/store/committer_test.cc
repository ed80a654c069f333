#include "store/committer.h"

#include <poll.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <latch>
#include <set>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "store/store_fixture.h"

namespace wicket::store {
namespace {

using CommitterTest = StoreTest;

TEST_F(CommitterTest, ManyCallsShareACommitAndEachGetsItsOwnResult) {
  Store store = *Open();
  ASSERT_TRUE(store.Write()->Commit().ok());
  std::atomic<int> commits{0}, ok{0}, refused{0};
  {
    std::latch gathered(1);
    Committer committer(&store);
    committer.Submit(
        [&](Writer&) {
          gathered.wait();
          return absl::OkStatus();
        },
        [](const absl::Status&) {});
    for (uint64_t n = 0; n < 100; ++n) {
      committer.Submit(
          [&, n](Writer& writer) {
            commits += n == 0;
            // Every tenth wants what the first has.
            return writer.PutPeer(MakePeer(n, {n % 10 ? absl::StrCat("10.0.0.", n) : "10.0.0.0"}));
          },
          [&](const absl::Status& status) { status.ok() ? ++ok : ++refused; });
    }
    gathered.count_down();
  }
  EXPECT_EQ(commits, 1);
  EXPECT_EQ(ok, 91);
  EXPECT_EQ(refused, 9);
  EXPECT_EQ(store.ReadStats()->peers, 91u);
}

TEST_F(CommitterTest, AChangeThatSpoilsTheBatchTakesNoOtherWithIt) {
  Store store = *Open(1 << 20);
  std::atomic<int> ok{0}, failed{0};
  std::latch gathered(1), ended(11);
  Committer committer(&store);
  committer.Submit(
      [&](Writer&) {
        gathered.wait();
        return absl::OkStatus();
      },
      [](const absl::Status&) {});
  for (uint64_t n = 0; n < 11; ++n) {
    committer.Submit(
        [n](Writer& writer) {
          if (n != 5) return writer.PutPeer(MakePeer(n, {}));
          for (uint64_t i = 0; i < 20'000; ++i) {  // more than the store may hold
            WICKET_RETURN_IF_ERROR(writer.PutPeer(MakePeer(1000 + i, {})));
          }
          return absl::OkStatus();
        },
        [&](const absl::Status& status) {
          status.ok() ? ++ok : ++failed;
          EXPECT_TRUE(status.ok() || absl::IsResourceExhausted(status)) << status;
          ended.count_down();
        });
  }
  gathered.count_down();
  ended.wait();
  EXPECT_EQ(ok, 10);
  EXPECT_EQ(failed, 1);
  EXPECT_EQ(store.ReadStats()->peers, 10u);
}

// `after_us`: of its first acknowledgement, or, where it is not `begun`, of its own begin.
// Returns: what the child acknowledged before it was killed.
std::set<uint64_t> WriteUntilKilled(const std::string& path, uint64_t first, bool begun,
                                    int after_us) {
  int acks[2];
  if (pipe(acks) != 0) return {};
  const pid_t child = fork();
  if (child == 0) {
    close(acks[0]);
    absl::StatusOr<Store> store = Store::Open({.path = path});
    if (!store.ok()) _exit(1);
    Committer committer(&*store);
    std::vector<std::thread> threads;
    for (uint64_t t = 0; t < 4; ++t) {
      threads.emplace_back([&, t] {
        for (uint64_t n = first + t;; n += 4) {
          const auto put = [n](Writer& writer) {
            return writer.PutPeer(MakePeer(
                n, {absl::StrCat("fd00::", absl::Hex(n >> 16), ":", absl::Hex(n & 0xffff))}));
          };
          if (committer.Commit(put).ok() && write(acks[1], &n, sizeof(n)) < 0) _exit(1);
        }
      });
    }
    for (;;) pause();
  }
  close(acks[1]);
  pollfd fd{acks[0], POLLIN, 0};
  if (begun) poll(&fd, 1, 30'000);
  usleep(static_cast<useconds_t>(after_us));
  kill(child, SIGKILL);
  waitpid(child, nullptr, 0);
  std::set<uint64_t> acknowledged;
  uint64_t n;
  while (read(acks[0], &n, sizeof(n)) == sizeof(n)) acknowledged.insert(n);
  close(acks[0]);
  return acknowledged;
}

TEST_F(CommitterTest, NothingAcknowledgedIsLostWhenTheProcessIsKilled) {
  { ASSERT_TRUE(Open(1 << 28).ok()); }
  std::mt19937_64 random(1);
  std::set<uint64_t> all;
  for (int kill_number = 0; kill_number < 500; ++kill_number) {
    const uint64_t first = static_cast<uint64_t>(kill_number) << 16;
    const auto acknowledged = WriteUntilKilled(path_ + "/db", first, /*begun=*/kill_number % 4 != 0,
                                               static_cast<int>(random() % 20'000));
    const Store store = *Open();
    const Snapshot snapshot = *store.NewSnapshot();
    for (const uint64_t n : acknowledged) {
      const auto peer = snapshot.FindPeer(Key(n));
      ASSERT_TRUE(peer.ok()) << "kill " << kill_number << ", peer " << n << ": " << peer.status();
      ASSERT_EQ(snapshot.FindPrefix("wg0", peer->config.allowed_ips[0]), Key(n));
    }
    all.insert(acknowledged.begin(), acknowledged.end());
  }
  EXPECT_GE(all.size(), 375u) << "hardly anything was written between the kills";
  const Store store = *Open();
  const Snapshot snapshot = *store.NewSnapshot();
  for (const uint64_t n : all) ASSERT_TRUE(snapshot.FindPeer(Key(n)).ok());
}

}  // namespace
}  // namespace wicket::store
