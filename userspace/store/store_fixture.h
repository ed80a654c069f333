// Peers and stores for tests, of this module and of those above it.
#pragma once

#include <gtest/gtest.h>
#include <stdlib.h>

#include <filesystem>
#include <random>
#include <string>
#include <vector>

#include "store/store.h"

namespace wicket::store {

inline PublicKey Key(uint64_t n) {
  PublicKey key;
  std::mt19937_64 random(n + 1);
  for (auto& byte : key.bytes) byte = static_cast<uint8_t>(random());
  return key;
}

inline Prefix P(const std::string& text) { return *ParsePrefix(text); }

inline Peer MakePeer(uint64_t n, std::vector<std::string> prefixes) {
  Peer peer;
  peer.config.public_key = Key(n);
  peer.device = "wg0";
  peer.created = absl::FromUnixSeconds(1'700'000'000);
  for (const auto& prefix : prefixes) peer.config.allowed_ips.push_back(P(prefix));
  return peer;
}

class StoreTest : public ::testing::Test {
 protected:
  void SetUp() override {
    char name[] = "/tmp/wicket-store-XXXXXX";
    ASSERT_NE(mkdtemp(name), nullptr);
    path_ = name;
  }
  void TearDown() override { std::filesystem::remove_all(path_); }

  absl::StatusOr<Store> Open(uint64_t bytes_max = 1 << 26) {
    return Store::Open({.path = path_ + "/db", .bytes_max = bytes_max});
  }
  std::string path_;
};

}  // namespace wicket::store
