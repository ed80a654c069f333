// A store in a folder of its own, for tests of an installer's parts.
#pragma once

#include <gtest/gtest.h>
#include <stdlib.h>

#include <filesystem>
#include <optional>
#include <string>

#include "store/store.h"

namespace wicket::installer {

inline const absl::Time kWall = absl::FromUnixSeconds(1'800'000'000);
inline constexpr absl::Duration kSteady = absl::Seconds(5000);

inline PublicKey Key(uint8_t n) {
  PublicKey key;
  key.bytes[0] = n;
  return key;
}

class StoreTest : public ::testing::Test {
 protected:
  void SetUp() override {
    char name[] = "/tmp/wicket-rooms-XXXXXX";
    ASSERT_NE(mkdtemp(name), nullptr);
    path_ = name;
    store_.emplace(*store::Store::Open({.path = path_ + "/db", .bytes_max = 1 << 24}));
  }
  void TearDown() override {
    store_.reset();
    std::filesystem::remove_all(path_);
  }
  void Put(uint8_t n, const std::string& device = "wg0", uint16_t keepalive_s = 0,
           absl::Time expires = absl::InfiniteFuture()) {
    store::Peer peer;
    peer.config.public_key = Key(n);
    peer.config.persistent_keepalive_s = keepalive_s;
    peer.device = device;
    peer.expires = expires;
    auto writer = store_->Write();
    ASSERT_TRUE(writer->PutPeer(peer).ok());
    ASSERT_TRUE(writer->Commit().ok());
  }
  void Delete(uint8_t n) {
    auto writer = store_->Write();
    ASSERT_TRUE(writer->DeletePeer(Key(n)).ok());
    ASSERT_TRUE(writer->Commit().ok());
  }

  std::string path_;
  std::optional<store::Store> store_;
};

}  // namespace wicket::installer
