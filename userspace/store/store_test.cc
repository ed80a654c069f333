#include "store/store.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <lmdb.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>
#include <zlib.h>

#include <filesystem>
#include <map>
#include <random>
#include <string>

#include "absl/strings/str_cat.h"
#include "store/store_fixture.h"

namespace wicket::store {
namespace {

TEST(RecordTest, PeerRoundTripsWithEveryField) {
  Peer peer = MakePeer(1, {"10.0.0.1/32", "fd00::/64", "0.0.0.0/0"});
  peer.config.preshared_key.emplace().data()[3] = 7;
  peer.config.persistent_keepalive_s = 25;
  peer.expires = absl::FromUnixSeconds(2'000'000'000);
  peer.pinned = true;
  peer.labels = {{"customer", "42"}, {"empty", ""}};
  peer.quota = {.bytes = 1'000'000'000'000, .period = absl::Hours(24)};
  const auto record = EncodePeer(peer);
  ASSERT_TRUE(record.ok());
  const auto back = DecodePeer(Key(1), *record);
  ASSERT_TRUE(back);
  EXPECT_EQ(back->config.allowed_ips, peer.config.allowed_ips);
  EXPECT_EQ(back->config.preshared_key->data()[3], 7);
  EXPECT_EQ(back->config.persistent_keepalive_s, 25);
  EXPECT_EQ(back->expires, peer.expires);
  EXPECT_EQ(back->created, peer.created);
  EXPECT_TRUE(back->pinned);
  EXPECT_EQ(back->labels, peer.labels);
  EXPECT_EQ(back->device, "wg0");
  const auto view = ViewPeer(Key(1), *record);
  ASSERT_TRUE(view);
  EXPECT_EQ(view->device, "wg0");
  EXPECT_EQ(view->expires, peer.expires);
  EXPECT_EQ(view->quota, peer.quota);
  EXPECT_EQ(back->quota, peer.quota);
}

TEST(QuotaTest, PeriodsFollowEachOtherAndUseIsCountedFromTheirBegin) {
  const Quota day{.bytes = 100, .period = absl::Hours(24)};
  const absl::Time noon = absl::FromUnixSeconds(1'700'000'000);
  EXPECT_EQ(absl::ToUnixSeconds(day.BeginOf(noon)) % 86'400, 0);
  EXPECT_LE(day.BeginOf(noon), noon);
  EXPECT_GT(day.EndOf(noon), noon);
  Session session{.received_bytes = 900, .sent_bytes = 50};
  EXPECT_EQ(UsedOf(day, session, noon), 0u) << "what was before its first period does not count";
  EXPECT_TRUE(BeginPeriod(day, noon, &session));
  EXPECT_FALSE(BeginPeriod(day, noon + absl::Seconds(1), &session));
  session.received_bytes += 60;
  session.sent_bytes += 39;
  EXPECT_EQ(UsedOf(day, session, noon), 99u);
  EXPECT_FALSE(UsedUp(day, session, noon));
  ++session.sent_bytes;
  EXPECT_TRUE(UsedUp(day, session, noon));
  EXPECT_TRUE(UsedUp(day, session, day.EndOf(noon) - absl::Seconds(1)));
  EXPECT_FALSE(UsedUp(day, session, day.EndOf(noon)));
  EXPECT_TRUE(BeginPeriod(day, day.EndOf(noon), &session));
  EXPECT_EQ(UsedOf(day, session, day.EndOf(noon)), 0u);
  // A clock that is set back starts no period again, and resets no count.
  session.sent_bytes += 100;
  EXPECT_FALSE(BeginPeriod(day, noon - absl::Hours(1000), &session));
  EXPECT_TRUE(UsedUp(day, session, noon - absl::Hours(1000)));
  EXPECT_FALSE(UsedUp(Quota{}, session, noon)) << "no quota";
}

TEST(RecordTest, EveryFlippedBitAndEveryTruncationIsRefused) {
  Peer peer = MakePeer(1, {"10.0.0.1/32"});
  peer.labels = {{"a", "b"}};
  peer.quota.bytes = 5;
  const std::string record = *EncodePeer(peer);
  for (size_t bit = 0; bit < record.size() * 8; ++bit) {
    std::string damaged = record;
    damaged[bit / 8] = static_cast<char>(damaged[bit / 8] ^ (1 << (bit % 8)));
    EXPECT_FALSE(DecodePeer(Key(1), damaged)) << bit;
    EXPECT_FALSE(ViewPeer(Key(1), damaged)) << bit;
  }
  for (size_t n = 0; n < record.size(); ++n) EXPECT_FALSE(DecodePeer(Key(1), record.substr(0, n)));
  EXPECT_FALSE(DecodePeer(Key(2), record)) << "another peer's record";
  const std::string session = EncodeSession(Key(1), Session{});
  for (size_t bit = 0; bit < session.size() * 8; ++bit) {
    std::string damaged = session;
    damaged[bit / 8] = static_cast<char>(damaged[bit / 8] ^ (1 << (bit % 8)));
    EXPECT_FALSE(DecodeSession(Key(1), damaged)) << bit;
  }
}

TEST(RecordTest, RefusesWhatTheFormatCannotHold) {
  Peer peer = MakePeer(1, {});
  peer.device = "a-name-too-long-x";
  EXPECT_FALSE(EncodePeer(peer).ok());
  peer.device = "wg0";
  peer.labels.assign(kLabelsMax + 1, {"a", "b"});
  EXPECT_FALSE(EncodePeer(peer).ok());
  peer.labels = {{std::string(256, 'x'), ""}};
  EXPECT_FALSE(EncodePeer(peer).ok());
  peer.labels.clear();
  peer.config.allowed_ips.assign(kAllowedIpsMax + 1, *ParsePrefix("10.0.0.0/8"));
  EXPECT_FALSE(EncodePeer(peer).ok());
}

TEST_F(StoreTest, PutFindDelete) {
  auto store = Open();
  ASSERT_TRUE(store.ok()) << store.status();
  auto writer = store->Write();
  ASSERT_TRUE(writer->PutPeer(MakePeer(1, {"10.0.0.1/32"})).ok());
  ASSERT_TRUE(writer->Commit().ok());
  auto snapshot = store->NewSnapshot();
  EXPECT_TRUE(snapshot->FindPeer(Key(1)).ok());
  EXPECT_TRUE(absl::IsNotFound(snapshot->FindPeer(Key(2)).status()));
  EXPECT_EQ(snapshot->FindPrefix("wg0", *ParsePrefix("10.0.0.1")), Key(1));
  EXPECT_FALSE(snapshot->FindPrefix("wg1", *ParsePrefix("10.0.0.1")));

  auto deleting = store->Write();
  ASSERT_TRUE(deleting->DeletePeer(Key(1)).ok());
  ASSERT_TRUE(deleting->Commit().ok());
  EXPECT_TRUE(snapshot->FindPeer(Key(1)).ok()) << "a snapshot does not move by itself";
  ASSERT_TRUE(snapshot->Renew().ok());
  EXPECT_FALSE(snapshot->FindPeer(Key(1)).ok());
  EXPECT_FALSE(snapshot->FindPrefix("wg0", *ParsePrefix("10.0.0.1")));
}

TEST_F(StoreTest, APrefixHasOneOwnerPerDevice) {
  auto store = Open();
  {
    auto writer = store->Write();
    ASSERT_TRUE(writer->PutPeer(MakePeer(1, {"10.0.0.1/32"})).ok());
    const absl::Status taken = writer->PutPeer(MakePeer(2, {"10.0.0.2/32", "10.0.0.1/32"}));
    EXPECT_TRUE(absl::IsAlreadyExists(taken));
    EXPECT_NE(taken.message().find("10.0.0.1/32"), std::string::npos);
  }
  auto writer = store->Write();
  ASSERT_TRUE(writer->PutPeer(MakePeer(1, {"10.0.0.1/32"})).ok());
  Peer elsewhere = MakePeer(2, {"10.0.0.1/32"});
  elsewhere.device = "wg1";
  EXPECT_TRUE(writer->PutPeer(elsewhere).ok());
  // An update frees what the peer no longer has.
  EXPECT_TRUE(writer->PutPeer(MakePeer(1, {"10.0.0.9/32"})).ok());
  EXPECT_TRUE(writer->PutPeer(MakePeer(3, {"10.0.0.1/32"})).ok());
}

TEST_F(StoreTest, DroppedTransactionLeavesNoTrace) {
  auto store = Open();
  {
    auto writer = store->Write();
    ASSERT_TRUE(writer->PutPeer(MakePeer(1, {"10.0.0.1/32"})).ok());
  }
  auto snapshot = store->NewSnapshot();
  EXPECT_FALSE(snapshot->FindPeer(Key(1)).ok());
}

// Random creates, updates and deletes against a map that does the same.
TEST_F(StoreTest, AgreesWithAPlainModel) {
  auto store = Open();
  std::map<std::string, uint64_t> owners;
  std::map<uint64_t, std::vector<std::string>> model;
  std::mt19937 random(3);
  for (int round = 0; round < 300; ++round) {
    const uint64_t n = random() % 20;
    auto writer = store->Write();
    if (random() % 4 == 0) {
      EXPECT_EQ(writer->DeletePeer(Key(n)).ok(), model.count(n) == 1);
      for (const auto& prefix : model[n]) owners.erase(prefix);
      model.erase(n);
      ASSERT_TRUE(writer->Commit().ok());
      continue;
    }
    std::vector<std::string> prefixes;
    for (auto i = random() % 3; i > 0; --i)
      prefixes.push_back(absl::StrCat("10.0.0.", random() % 30, "/32"));
    bool free = true;
    for (const auto& prefix : prefixes) free &= !owners.count(prefix) || owners[prefix] == n;
    ASSERT_EQ(writer->PutPeer(MakePeer(n, prefixes)).ok(), free);
    if (!free) continue;
    ASSERT_TRUE(writer->Commit().ok());
    for (const auto& prefix : model[n]) owners.erase(prefix);
    for (const auto& prefix : prefixes) owners[prefix] = n;
    model[n] = prefixes;
  }
  auto snapshot = store->NewSnapshot();
  size_t seen = 0;
  std::optional<PublicKey> cursor;
  for (size_t n = 1; n == 1;) {  // one at a time: the cursor carries across calls
    n = *snapshot->Walk(&cursor, 1, [&](Peer peer) {
      ++seen;
      for (const Prefix& prefix : peer.config.allowed_ips) {
        EXPECT_EQ(snapshot->FindPrefix("wg0", prefix), peer.config.public_key);
      }
    });
  }
  EXPECT_EQ(seen, model.size());
  EXPECT_EQ(store->ReadStats()->prefixes, owners.size());
}

TEST_F(StoreTest, FullStoreFailsTheTransactionAndKeepsTheRest) {
  auto store = Open(1 << 20);
  {
    auto writer = store->Write();
    ASSERT_TRUE(writer->PutPeer(MakePeer(1, {})).ok());
    ASSERT_TRUE(writer->Commit().ok());
  }
  {
    auto writer = store->Write();
    absl::Status status;
    for (uint64_t n = 2; status.ok() && n < 100'000; ++n) status = writer->PutPeer(MakePeer(n, {}));
    EXPECT_TRUE(absl::IsResourceExhausted(status)) << status;
    EXPECT_NE(status.message().find("bytes_max"), std::string::npos);
  }
  auto snapshot = store->NewSnapshot();
  EXPECT_TRUE(snapshot->FindPeer(Key(1)).ok());
  EXPECT_FALSE(snapshot->FindPeer(Key(2)).ok());
  auto writer = store->Write();
  EXPECT_TRUE(writer->PutPeer(MakePeer(3, {})).ok());
  EXPECT_TRUE(writer->Commit().ok());
}

TEST_F(StoreTest, AWriterThatHasNoPatienceIsToldWhoWrites) {
  auto store = Open();
  {
    auto writer = store->Write();
    const auto second = store->Write(absl::ZeroDuration());
    EXPECT_TRUE(absl::IsDeadlineExceeded(second.status())) << second.status();
    EXPECT_NE(second.status().message().find(absl::StrCat("process ", getpid())),
              std::string::npos);
  }
  EXPECT_TRUE(store->Write(absl::ZeroDuration()).ok());
}

TEST_F(StoreTest, OneDaemonAtATime) {
  auto store = Open();
  ASSERT_TRUE(store->LockForDaemon().ok());
  // flock() belongs to the open file, so a second open in this process is a stranger.
  const pid_t child = fork();
  if (child == 0) {
    auto second = Store::Open({.path = path_ + "/db", .bytes_max = 1 << 26});
    const absl::Status refused = second->LockForDaemon();
    _exit(absl::IsFailedPrecondition(refused) &&
                  refused.message().find(absl::StrCat(getppid())) != std::string::npos
              ? 0
              : 1);
  }
  int status = 0;
  waitpid(child, &status, 0);
  EXPECT_EQ(WEXITSTATUS(status), 0);
}

TEST_F(StoreTest, FilesAreForTheOwnerOnly) {
  auto store = Open();
  ASSERT_TRUE(store->LockForDaemon().ok());
  struct stat info;
  ASSERT_EQ(stat((path_ + "/db").c_str(), &info), 0);
  EXPECT_EQ(info.st_mode & 0777, 0700u);
  for (const char* name : {"/db/data.mdb", "/db/lock.mdb", "/db/daemon.lock"}) {
    ASSERT_EQ(stat((path_ + name).c_str(), &info), 0);
    EXPECT_EQ(info.st_mode & 0777, 0600u) << name;
  }
}

TEST_F(StoreTest, RefusesATruncatedOrForeignFile) {
  {
    auto store = Open();
    auto writer = store->Write();
    for (uint64_t n = 0; n < 500; ++n) ASSERT_TRUE(writer->PutPeer(MakePeer(n, {})).ok());
    ASSERT_TRUE(writer->Commit().ok());
  }
  const std::string data = path_ + "/db/data.mdb";
  const auto size = std::filesystem::file_size(data);
  for (uint64_t keep : {size - 4096, size / 2, uint64_t{8192}, uint64_t{4096}, uint64_t{100}}) {
    std::filesystem::copy_file(data, path_ + "/whole",
                               std::filesystem::copy_options::overwrite_existing);
    std::filesystem::resize_file(data, keep);
    const auto store = Open();
    EXPECT_TRUE(absl::IsDataLoss(store.status())) << keep << " " << store.status();
    std::filesystem::copy_file(path_ + "/whole", data,
                               std::filesystem::copy_options::overwrite_existing);
  }
  const int fd = open(data.c_str(), O_WRONLY);
  const std::string junk(8192, 'x');
  ASSERT_EQ(pwrite(fd, junk.data(), junk.size(), 0), 8192);
  close(fd);
  EXPECT_TRUE(absl::IsDataLoss(Open().status()));
  EXPECT_TRUE(absl::IsNotFound(Store::Open({.path = path_ + "/none", .create = false}).status()));
}

TEST_F(StoreTest, AFileThatWasReplacedOrRemovedIsNoticed) {
  const std::string data = path_ + "/db/data.mdb";
  auto store = Open();
  ASSERT_TRUE(store->Write()->Commit().ok());
  EXPECT_TRUE(store->CheckFile().ok());
  ASSERT_TRUE(store->CopyTo(path_ + "/copy", /*compact=*/false).ok());
  ASSERT_EQ(rename((path_ + "/copy/data.mdb").c_str(), data.c_str()), 0);
  EXPECT_TRUE(absl::IsAborted(store->CheckFile())) << store->CheckFile();
  EXPECT_TRUE(absl::IsAborted(store->Write().status()));
  EXPECT_TRUE(store->NewSnapshot().ok()) << "a reader notices nothing";
  store = absl::UnknownError("closed");
  store = Open();
  EXPECT_TRUE(store->CheckFile().ok());
  std::filesystem::remove(data);
  EXPECT_TRUE(absl::IsAborted(store->CheckFile())) << store->CheckFile();
  std::filesystem::remove_all(path_ + "/db");
  EXPECT_TRUE(absl::IsAborted(store->CheckFile())) << store->CheckFile();
}

// Opens the file as another program would, past our own code.
void PutRaw(const std::string& path, const char* table, absl::string_view key,
            absl::string_view value) {
  MDB_env* env = nullptr;
  MDB_txn* txn = nullptr;
  MDB_dbi dbi;
  ASSERT_EQ(mdb_env_create(&env), 0);
  mdb_env_set_maxdbs(env, 16);
  ASSERT_EQ(mdb_env_open(env, path.c_str(), 0, 0600), 0);
  ASSERT_EQ(mdb_txn_begin(env, nullptr, 0, &txn), 0);
  ASSERT_EQ(mdb_dbi_open(txn, table, 0, &dbi), 0);
  MDB_val k{key.size(), const_cast<char*>(key.data())};
  MDB_val v{value.size(), const_cast<char*>(value.data())};
  ASSERT_EQ(mdb_put(txn, dbi, &k, &v, 0), 0);
  ASSERT_EQ(mdb_txn_commit(txn), 0);
  mdb_env_close(env);
}

absl::string_view Bytes(const auto& of) { return {reinterpret_cast<const char*>(&of), sizeof(of)}; }

// Of format 2, whose session records have version 1, and of format 3.
class OlderFormatTest : public StoreTest, public ::testing::WithParamInterface<uint32_t> {};
INSTANTIATE_TEST_SUITE_P(StoreTest, OlderFormatTest, ::testing::Values(2, 3));

TEST_P(OlderFormatTest, AFileIsTakenOver) {
  ASSERT_TRUE(Open().ok());
  const size_t size = GetParam() == 2 ? 104 : 120;
  std::string record(size, '\0');
  record[0] = static_cast<char>(GetParam() - 1);
  const Tai64n stamp = ToTai64n(absl::FromUnixSeconds(1'700'000'000));
  const int64_t accepted_ns = 1'700'000'001'000'000'000;
  memcpy(&record[20], stamp.data(), stamp.size());
  memcpy(&record[32], &accepted_ns, sizeof(accepted_ns));
  uLong crc = crc32(0, Key(1).bytes.data(), kKeyBytes);
  crc = crc32(crc, reinterpret_cast<const Bytef*>(record.data()), static_cast<uInt>(size));
  const auto checksum = static_cast<uint32_t>(crc);
  memcpy(&record[4], &checksum, sizeof(checksum));
  PutRaw(path_ + "/db", "sessions", Bytes(Key(1)), record);
  const uint32_t before = GetParam();
  PutRaw(path_ + "/db", "meta", "format", Bytes(before));
  {
    auto store = Open();
    ASSERT_TRUE(store.ok()) << store.status();
    const auto session = store->NewSnapshot()->FindSession(Key(1));
    ASSERT_TRUE(session);
    EXPECT_EQ(session->mark.exact, stamp);
    EXPECT_EQ(session->mark.accepted.wall, absl::FromUnixSeconds(1'700'000'001));
    EXPECT_EQ(session->mark.accepted.boot, 0u) << "which boot that was is not known";
    auto writer = store->Write();
    ASSERT_TRUE(writer->PutSession(Key(1), *session).ok());
    ASSERT_TRUE(writer->Commit().ok());
    EXPECT_EQ(store->NewSnapshot()->FindSession(Key(1))->mark.exact, stamp);
  }
  const uint32_t after = 5;
  PutRaw(path_ + "/db", "meta", "format", Bytes(after));
  EXPECT_TRUE(absl::IsFailedPrecondition(Open().status())) << Open().status();
}

TEST_F(StoreTest, SessionsSurviveReopening) {
  Session session;
  session.mark.exact = ToTai64n(absl::FromUnixSeconds(1'700'000'000));
  session.mark.accepted = {absl::FromUnixSeconds(1'700'000'001), absl::Seconds(77), 42};
  session.mark.estimated = session.mark.lowered = true;
  session.endpoint = *ParseEndpoint("[2001:db8::1]:4242");
  session.received_bytes = 5;
  {
    auto store = Open();
    auto writer = store->Write();
    ASSERT_TRUE(writer->PutSession(Key(1), session).ok());
    ASSERT_TRUE(writer->Commit().ok());
  }
  auto store = Open();
  auto snapshot = store->NewSnapshot();
  const auto back = snapshot->FindSession(Key(1));
  ASSERT_TRUE(back);
  EXPECT_EQ(back->mark.exact, session.mark.exact);
  EXPECT_EQ(back->mark.accepted.wall, session.mark.accepted.wall);
  EXPECT_EQ(back->mark.accepted.up, session.mark.accepted.up);
  EXPECT_EQ(back->mark.accepted.boot, 42u);
  EXPECT_TRUE(back->mark.estimated && back->mark.lowered);
  EXPECT_EQ(back->endpoint, session.endpoint);
  EXPECT_EQ(back->received_bytes, 5u);
}

}  // namespace
}  // namespace wicket::store
