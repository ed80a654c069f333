#include "store/writer.h"

#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <map>
#include <set>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "store/lmdb_values.h"
#include "store/store_fixture.h"

namespace wicket::store {
namespace {

class WriterTest : public StoreTest {
 protected:
  // Writes entries that no record agrees with. Requires: no Store has the file open.
  void AddEntries(const char* table, const std::vector<std::string>& keys) {
    MDB_env* env = nullptr;
    ASSERT_EQ(mdb_env_create(&env), 0);
    mdb_env_set_maxdbs(env, 16);
    ASSERT_EQ(mdb_env_open(env, (path_ + "/db").c_str(), 0, 0600), 0);
    MDB_txn* txn = nullptr;
    MDB_dbi dbi;
    ASSERT_EQ(mdb_txn_begin(env, nullptr, 0, &txn), 0);
    ASSERT_EQ(mdb_dbi_open(txn, table, 0, &dbi), 0);
    for (const std::string& text : keys) {
      MDB_val key = Val(absl::string_view(text)), none{};
      ASSERT_EQ(mdb_put(txn, dbi, &key, &none, 0), 0);
    }
    ASSERT_EQ(mdb_txn_commit(txn), 0);
    mdb_env_close(env);
  }
};

TEST_F(WriterTest, AFailedPutWritesNothing) {
  Store store = *Open();
  Writer writer = *store.Write();
  ASSERT_TRUE(writer.PutPeer(MakePeer(1, {"10.0.0.1"})).ok());
  const Peer thief = MakePeer(2, {"10.0.0.2", "10.0.0.1", "10.0.0.3"});
  EXPECT_TRUE(absl::IsAlreadyExists(writer.CheckPeer(thief)));
  EXPECT_TRUE(absl::IsAlreadyExists(writer.PutPeer(thief)));
  EXPECT_FALSE(writer.spoilt());
  ASSERT_TRUE(writer.PutPeer(MakePeer(3, {"10.0.0.2"})).ok()) << "a left-over of the failed put";
  // The same of an update: what was its own before stays.
  EXPECT_TRUE(absl::IsAlreadyExists(writer.PutPeer(MakePeer(3, {"10.0.0.2", "10.0.0.1"}))));
  ASSERT_TRUE(writer.Commit().ok());
  const Snapshot snapshot = *store.NewSnapshot();
  EXPECT_EQ(snapshot.FindPrefix("wg0", P("10.0.0.2")), Key(3));
  EXPECT_EQ(snapshot.FindPrefix("wg0", P("10.0.0.3")), std::nullopt);
  EXPECT_TRUE(absl::IsNotFound(snapshot.FindPeer(Key(2)).status()));
}

TEST_F(WriterTest, APrefixThatAPeerNamesTwiceIsStoredOnce) {
  Store store = *Open();
  Writer writer = *store.Write();
  ASSERT_TRUE(writer.PutPeer(MakePeer(1, {"10.0.0.2", "10.0.0.1", "10.0.0.2", "fd00::1"})).ok());
  const std::vector<Prefix> once{P("10.0.0.2"), P("10.0.0.1"), P("fd00::1")};
  EXPECT_EQ(writer.FindPeer(Key(1))->config.allowed_ips, once);
  // An update that names another one twice frees what it leaves out.
  ASSERT_TRUE(writer.PutPeer(MakePeer(1, {"10.0.0.1", "10.0.0.3", "10.0.0.3"})).ok());
  ASSERT_TRUE(writer.PutPeer(MakePeer(2, {"10.0.0.2"})).ok());
  ASSERT_TRUE(writer.Commit().ok());
  EXPECT_EQ(store.ReadStats()->prefixes, 3u);
}

TEST_F(WriterTest, NobodyExpiresBeforeTheRecordSaysSo) {
  const absl::Time early = absl::FromUnixSeconds(100), late = absl::FromUnixSeconds(1000);
  Peer prolonged = MakePeer(1, {}), due = MakePeer(2, {}), for_ever = MakePeer(3, {});
  prolonged.expires = late;
  due.expires = early;
  Peer first_key = MakePeer(5, {});  // its entry is the least of its second
  first_key.config.public_key = {};
  first_key.expires = early + absl::Seconds(1);
  {
    Store store = *Open();
    Writer writer = *store.Write();
    for (const Peer* peer : {&prolonged, &due, &for_ever, &first_key}) {
      ASSERT_TRUE(writer.PutPeer(*peer).ok());
    }
    ASSERT_TRUE(writer.Commit().ok());
  }
  AddEntries("expiries", {ExpiryKey(early, Key(1)), ExpiryKey(early, Key(3)),
                          ExpiryKey(early, Key(4)), ExpiryKey(late, Key(2))});
  Store store = *Open();
  Writer writer = *store.Write();
  const auto deleted = writer.DeleteExpired(early, 10);
  ASSERT_TRUE(deleted.ok()) << deleted.status();
  ASSERT_EQ(deleted->size(), 1u);
  EXPECT_EQ((*deleted)[0].config.public_key, Key(2));
  EXPECT_EQ(writer.DeleteExpired(first_key.expires, 10)->size(), 1u);
  EXPECT_EQ(writer.DeleteExpired(late - absl::Nanoseconds(1), 10)->size(), 0u);
  EXPECT_TRUE(*writer.HasPeer(Key(1)));
  EXPECT_EQ(writer.DeleteExpired(late, 10)->size(), 1u);
  EXPECT_FALSE(*writer.HasPeer(Key(1)));
  EXPECT_TRUE(*writer.HasPeer(Key(3)));
}

TEST_F(WriterTest, ADeletedPeerIsRevokedUntilItIsOutOfTheDevice) {
  Store store = *Open();
  Writer writer = *store.Write();
  for (uint64_t n = 0; n < 4; ++n) {
    ASSERT_TRUE(writer.PutPeer(MakePeer(n, {})).ok());
    if (n < 3) {
      ASSERT_TRUE(writer.DeletePeer(Key(n)).ok());
    }
  }
  ASSERT_TRUE(writer.ForgetRevoked("wg0", Key(0)).ok());
  ASSERT_TRUE(writer.PutPeer(MakePeer(1, {})).ok());
  ASSERT_TRUE(writer.ForgetRevokedBefore("wg0", absl::Now() - absl::Hours(1)).ok());
  ASSERT_TRUE(writer.ForgetRevokedBefore("wg1", absl::InfiniteFuture()).ok());
  ASSERT_TRUE(writer.Commit().ok());
  const Snapshot snapshot = *store.NewSnapshot();
  for (uint64_t n = 0; n < 4; ++n) EXPECT_EQ(snapshot.IsRevoked("wg0", Key(n)), n == 2) << n;
  Writer again = *store.Write();
  ASSERT_TRUE(again.ForgetRevokedBefore("wg0", absl::InfiniteFuture()).ok());
  ASSERT_TRUE(again.Commit().ok());
  EXPECT_FALSE(store.NewSnapshot()->IsRevoked("wg0", Key(2)));
}

TEST_F(WriterTest, TheViewOfAReaderThatDiedHoldsNothingForEver) {
  int ready[2];
  ASSERT_EQ(pipe(ready), 0);
  const pid_t child = fork();
  if (child == 0) {
    const Store store = *Open();
    const Snapshot snapshot = *store.NewSnapshot();
    [[maybe_unused]] const ssize_t n = write(ready[1], "x", 1);
    pause();
    _exit(0);
  }
  char byte;
  ASSERT_EQ(read(ready[0], &byte, 1), 1);
  Store store = *Open();
  int round = 0;
  const auto churn = [&] {
    for (int i = 0; i < 200; ++i) {
      Writer writer = *store.Write();
      Peer peer = MakePeer(i % 20, {});
      peer.labels = {{"round", absl::StrCat(++round)}};
      EXPECT_TRUE(writer.PutPeer(peer).ok());
      EXPECT_TRUE(writer.Commit().ok());
    }
    return store.ReadStats()->file_bytes;
  };
  const uint64_t first = churn();
  EXPECT_GT(churn(), first) << "nobody's view was held, so this shows nothing";
  kill(child, SIGKILL);
  ASSERT_EQ(waitpid(child, nullptr, 0), child);
  store.CheckReaders();
  const uint64_t after = churn();
  EXPECT_EQ(churn(), after);
  close(ready[0]);
  close(ready[1]);
}

TEST_F(WriterTest, ListsByEveryIndexAcrossPages) {
  Store store = *Open();
  Writer writer = *store.Write();
  for (uint64_t n = 0; n < 300; ++n) {
    Peer peer = MakePeer(n, {absl::StrCat("10.0.", n / 100, ".", n % 100),
                             absl::StrCat("10.1.", n / 100, ".", n % 100)});
    if (n % 3 == 0) peer.labels = {{"team", absl::StrCat(n % 2)}};
    if (n % 5 == 0) peer.expires = absl::FromUnixSeconds(1'000 + static_cast<int64_t>(n));
    if (n % 7 == 0) peer.device = "wg1";
    ASSERT_TRUE(writer.PutPeer(peer).ok());
  }
  ASSERT_TRUE(writer.Commit().ok());
  const Snapshot snapshot = *store.NewSnapshot();
  const auto list = [&](const Selection& selection, size_t page) {
    std::multiset<PublicKey> keys;
    std::string cursor;
    do {
      size_t left = page;
      EXPECT_TRUE(snapshot
                      .List(selection, 7 * page, &cursor,
                            [&](Peer peer) {
                              EXPECT_TRUE(selection.Admits(peer));
                              keys.insert(peer.config.public_key);
                              return --left > 0;
                            })
                      .ok());
    } while (!cursor.empty());
    return keys;
  };
  const auto expect = [&](const std::function<bool(uint64_t)>& belongs) {
    std::multiset<PublicKey> keys;
    for (uint64_t n = 0; n < 300; ++n) {
      if (belongs(n)) keys.insert(Key(n));
    }
    return keys;
  };
  for (size_t page : {1, 13, 1000}) {
    EXPECT_EQ(list({}, page), expect([](uint64_t) { return true; }));
    EXPECT_EQ(list({.device = "wg1"}, page), expect([](uint64_t n) { return n % 7 == 0; }));
    EXPECT_EQ(list({.device = "wg0", .label = {{"team", "0"}}}, page),
              expect([](uint64_t n) { return n % 7 && n % 6 == 0; }));
    EXPECT_EQ(list({.expired_by = absl::FromUnixSeconds(1'100)}, page),
              expect([](uint64_t n) { return n % 5 == 0 && n <= 100; }));
    // Two allowed ips in the range, one visit.
    EXPECT_EQ(list({.device = "wg0", .within = P("10.0.0.0/15")}, page),
              expect([](uint64_t n) { return n % 7 != 0; }));
    EXPECT_EQ(list({.device = "wg0", .within = P("10.1.2.0/24")}, page),
              expect([](uint64_t n) { return n % 7 && n >= 200; }));
  }
  std::string foreign = "not one of ours";
  EXPECT_TRUE(absl::IsInvalidArgument(snapshot.List({.device = "wg0", .within = P("10.1.2.0/24")},
                                                    10, &foreign, [](Peer) { return true; })));
  EXPECT_EQ(snapshot.FindAddress("wg0", *ParseAddress("10.0.0.1")), Key(1));
  EXPECT_EQ(snapshot.FindAddress("wg0", *ParseAddress("10.0.9.1")), std::nullopt);
}

// A thousand random operations against a plain model, the whole state compared
// after each commit; dropped transactions leave no trace.
TEST_F(WriterTest, AgreesWithAModel) {
  struct Model {
    std::map<PublicKey, Peer> peers;
    std::map<std::pair<std::string, Prefix>, PublicKey> prefixes;
    std::set<std::pair<std::string, Prefix>> allocated;
  };
  const std::string seed_text =
      ::testing::UnitTest::GetInstance()->random_seed() == 0
          ? "1"
          : absl::StrCat(::testing::UnitTest::GetInstance()->random_seed());
  std::mt19937_64 random(std::stoull(seed_text));
  Store store = *Open();
  Model model;
  const auto pick = [&](uint64_t below) { return random() % below; };
  const auto remove = [](Model* m, const PublicKey& key) {
    for (const Prefix& prefix : m->peers.at(key).config.allowed_ips) {
      m->prefixes.erase({m->peers.at(key).device, prefix});
    }
    m->peers.erase(key);
  };
  const auto put = [&](Model* m, Peer peer) {
    if (m->peers.count(peer.config.public_key)) remove(m, peer.config.public_key);
    for (const Prefix& prefix : peer.config.allowed_ips) {
      m->prefixes[{peer.device, prefix}] = peer.config.public_key;
    }
    const PublicKey key = peer.config.public_key;
    m->peers.insert_or_assign(key, std::move(peer));
  };
  for (int round = 0; round < 150; ++round) {
    Model next;
    for (const auto& [key, peer] : model.peers) {
      Peer copy = MakePeer(0, {});
      copy.config.public_key = key;
      copy.config.allowed_ips = peer.config.allowed_ips;
      copy.device = peer.device;
      copy.expires = peer.expires;
      copy.labels = peer.labels;
      next.peers.emplace(key, std::move(copy));
    }
    next.prefixes = model.prefixes;
    Writer writer = *store.Write();
    for (int step = 0; step < 20; ++step) {
      const PublicKey key = Key(pick(60));
      switch (pick(4)) {
        case 0:
        case 1: {
          Peer peer = MakePeer(0, {});
          peer.config.public_key = key;
          peer.device = pick(4) ? "wg0" : "wg1";
          std::set<Prefix> prefixes;
          for (uint64_t i = pick(3); i > 0; --i) {
            prefixes.insert(P(absl::StrCat("10.0.0.", pick(40), "/", pick(3) ? 32 : 30)));
          }
          peer.config.allowed_ips.assign(prefixes.begin(), prefixes.end());
          if (pick(2)) peer.expires = absl::FromUnixSeconds(1 + static_cast<int64_t>(pick(1000)));
          if (pick(2)) peer.labels = {{"l", absl::StrCat(pick(3))}};
          const bool taken = std::any_of(prefixes.begin(), prefixes.end(), [&](const Prefix& p) {
            const auto owner = next.prefixes.find({peer.device, p});
            return owner != next.prefixes.end() && owner->second != key;
          });
          const auto before = next.peers.find(key);
          const bool moves = before != next.peers.end() && before->second.device != peer.device;
          ASSERT_EQ(writer.PutPeer(peer).ok(), !taken && !moves);
          if (!taken && !moves) put(&next, std::move(peer));
          break;
        }
        case 2: {
          ASSERT_EQ(writer.DeletePeer(key).ok(), next.peers.count(key) == 1);
          if (next.peers.count(key)) remove(&next, key);
          break;
        }
        case 3: {
          if (pick(3) == 0) {
            const absl::Time now = absl::FromUnixSeconds(static_cast<int64_t>(pick(200)));
            auto deleted = writer.DeleteExpired(now, 1000);
            ASSERT_TRUE(deleted.ok()) << deleted.status();
            std::set<PublicKey> actual, expected;
            for (const Peer& peer : *deleted) actual.insert(peer.config.public_key);
            for (const auto& [k, peer] : next.peers) {
              if (peer.expires <= now) expected.insert(k);
            }
            ASSERT_EQ(actual, expected);
            for (const PublicKey& k : expected) remove(&next, k);
            break;
          }
          const auto address = writer.Allocate("wg0", {P("10.0.0.0/27")});
          if (!address.ok()) {
            ASSERT_TRUE(absl::IsResourceExhausted(address.status())) << address.status();
            for (int host = 2; host < 31; ++host) {  // truly none is free
              bool used = false;
              for (int length = 27; length <= 32; ++length) {
                used |=
                    next.prefixes.count({"wg0", PrefixOf(P(absl::StrCat("10.0.0.", host)).address,
                                                         static_cast<uint8_t>(length))}) > 0;
              }
              ASSERT_TRUE(used) << "10.0.0." << host << " is free";
            }
            break;
          }
          for (int length = 27; length <= 32; ++length) {
            ASSERT_EQ(next.prefixes.count(
                          {"wg0", PrefixOf(address->address, static_cast<uint8_t>(length))}),
                      0u);
          }
          Peer peer = MakePeer(0, {});
          peer.config.public_key = key;
          peer.config.allowed_ips = {*address};
          const auto before = next.peers.find(key);
          const bool moves = before != next.peers.end() && before->second.device != "wg0";
          ASSERT_EQ(writer.PutPeer(peer).ok(), !moves);
          if (moves) {
            ASSERT_TRUE(writer.Release("wg0", *address).ok());
          } else {
            put(&next, std::move(peer));
          }
          break;
        }
      }
    }
    if (pick(4) == 0) continue;  // dropped
    ASSERT_TRUE(writer.Commit().ok());
    model = std::move(next);
    const Snapshot snapshot = *store.NewSnapshot();
    std::map<PublicKey, std::vector<Prefix>> stored;
    std::string cursor;
    ASSERT_TRUE(snapshot
                    .List({}, 10'000, &cursor,
                          [&](Peer peer) {
                            stored[peer.config.public_key] = peer.config.allowed_ips;
                            return true;
                          })
                    .ok());
    std::map<PublicKey, std::vector<Prefix>> expected;
    for (const auto& [key, peer] : model.peers) expected[key] = peer.config.allowed_ips;
    ASSERT_EQ(stored, expected);
    ASSERT_EQ(store.ReadStats()->prefixes, model.prefixes.size());
    for (const char* text : {"0", "1", "2"}) {
      std::set<PublicKey> labelled, wanted;
      ASSERT_TRUE(snapshot
                      .List({.device = "wg0", .label = {{"l", text}}}, 10'000, &cursor,
                            [&](Peer peer) {
                              labelled.insert(peer.config.public_key);
                              return true;
                            })
                      .ok());
      for (const auto& [key, peer] : model.peers) {
        if (peer.device == "wg0" && !peer.labels.empty() && peer.labels[0].second == text) {
          wanted.insert(key);
        }
      }
      ASSERT_EQ(labelled, wanted);
    }
  }
}

}  // namespace
}  // namespace wicket::store
