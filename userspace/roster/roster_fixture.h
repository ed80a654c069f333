// What the tests of this module change peers with: a store, and a device that writes down what
// it is told.
#pragma once

#include <gtest/gtest.h>

#include <functional>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "roster/roster.h"
#include "store/store_fixture.h"

namespace wicket::roster {

// One device, "wg0", and what it was told, in order.
class FakeDevices : public Devices {
 public:
  bool Has(absl::string_view device) const override { return device == "wg0"; }
  std::optional<PublicKey> OwnKey(absl::string_view) const override { return store::Key(0); }
  absl::StatusOr<InstalledByKey> Find(absl::string_view, std::span<const PublicKey> keys) override {
    ++finds;
    if (!answer.ok()) return answer;
    InstalledByKey found;
    for (const PublicKey& key : keys) {
      if (installed.contains(key)) found[key].state = "established";
      if (unsaved.contains(key)) found[key].session.installs = 7;
    }
    return found;
  }
  absl::StatusOr<std::vector<PublicKey>> List(absl::string_view,
                                              const std::optional<PublicKey>& after,
                                              size_t count) override {
    if (!answer.ok()) return answer;
    std::vector<PublicKey> keys;
    for (auto it = after ? installed.upper_bound(*after) : installed.begin();
         it != installed.end() && keys.size() < count; ++it) {
      keys.push_back(*it);
    }
    return keys;
  }
  std::vector<absl::Status> Sync(absl::string_view, std::span<const PublicKey> keys) override {
    ++questions;
    for (const PublicKey& key : keys) synced.push_back(key);
    if (during_sync) during_sync();
    return std::vector<absl::Status>(keys.size(), answer);
  }
  void SyncLater(absl::string_view, std::vector<PublicKey> keys) override {
    const std::lock_guard lock(mutex);
    slices.push_back(keys.size());
    later.insert(later.end(), keys.begin(), keys.end());
  }
  absl::Status ForgetMark(absl::string_view, const PublicKey&) override {
    ++forgotten;
    return absl::OkStatus();
  }

  absl::Status answer;  // to every question
  std::set<PublicKey> installed;
  std::set<PublicKey> unsaved;  // have left, and the store does not have their sessions yet
  std::function<void()> during_sync;
  int questions = 0, finds = 0, forgotten = 0;
  std::vector<PublicKey> synced;
  std::mutex mutex;  // of the next two, which the committer's thread writes
  std::vector<PublicKey> later;
  std::vector<size_t> slices;
};

class RosterTest : public store::StoreTest {
 protected:
  void SetUp() override {
    StoreTest::SetUp();
    auto opened = Open();
    ASSERT_TRUE(opened.ok()) << opened.status();
    store_ = std::make_unique<store::Store>(std::move(*opened));
    committer_ = std::make_unique<store::Committer>(store_.get());
    Pools pools;
    pools["clients"] = {.device = "wg0",
                        .ipv4 = {*ParsePrefix("10.0.0.0/29")},
                        .ipv6 = {*ParsePrefix("fd00::/64")}};
    roster_ = std::make_unique<Roster>(committer_.get(), &devices_, &events_, std::move(pools));
    watcher_ = std::make_unique<event::EventLog::Watcher>(&events_);
  }

  static document::PeerRequest Request(uint64_t n, std::vector<std::string> prefixes = {}) {
    return {.peer = store::MakePeer(n, std::move(prefixes)), .has_public_key = true};
  }
  bool IsStored(uint64_t n) { return store_->NewSnapshot()->FindPeer(store::Key(n)).ok(); }
  uint64_t stored_peers() { return store_->ReadStats()->peers; }

  // The kinds of the events since the last call.
  std::vector<std::string> Events() {
    std::vector<std::string> kinds;
    for (const event::Event& event : watcher_->Read(absl::ZeroDuration()).events) {
      kinds.push_back(event::ToString(event.kind));
    }
    return kinds;
  }

  std::unique_ptr<store::Store> store_;
  FakeDevices devices_;
  event::EventLog events_;
  std::unique_ptr<store::Committer> committer_;
  std::unique_ptr<Roster> roster_;
  std::unique_ptr<event::EventLog::Watcher> watcher_;
};

}  // namespace wicket::roster
