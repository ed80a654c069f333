// wicket_count: runs hot functions a thousand times each, for callgrind to count.
//
//   valgrind --tool=callgrind --instr-atstart=no wicket_count
//
// bench/counts.py does that, and compares the counts with those in bench/counts.json. Functions
// that spend their time in libsodium or the kernel are left out: their counts say nothing about us.
#include <stdlib.h>
#include <valgrind/callgrind.h>

#include <filesystem>
#include <functional>
#include <iostream>

#include "base/histogram.h"
#include "bench/frames.h"
#include "bench/peers.h"
#include "guard/repeat_filter.h"
#include "noise/initiator.h"
#include "noise/responder.h"
#include "store/store.h"
#include "wgdev/set_device.h"
#include "wgdev/uapi.h"
#include "wire/messages.h"

namespace wicket {
namespace {

constexpr int kTimes = 1000;  // counts.py divides by this
constexpr int kStored = 10'000;

template <typename T>
void Keep(const T& value) {
  asm volatile("" : : "r,m"(value) : "memory");
}

void Require(const absl::Status& status) {
  if (status.ok()) return;
  std::cerr << "wicket_count: " << status.message() << "\n";
  exit(1);
}
template <typename T>
T Require(absl::StatusOr<T> value) {
  Require(value.status());
  return *std::move(value);
}

// One call before the count leaves out one-time work.
void Count(const char* name, const std::function<void(int)>& function) {
  function(0);
  CALLGRIND_START_INSTRUMENTATION;
  CALLGRIND_ZERO_STATS;
  for (int i = 0; i < kTimes; ++i) function(i);
  CALLGRIND_DUMP_STATS_AT(name);
  CALLGRIND_STOP_INSTRUMENTATION;
}

Secret<kKeyBytes> FixedKey(uint8_t fill) {
  Secret<kKeyBytes> key;
  memset(key.data(), fill, kKeyBytes);
  return key;
}

void CountHandshake() {
  const noise::Identity identity(FixedKey(1));
  const auto pending =
      noise::CreateInitiation(FixedKey(2), identity.public_key(), FixedKey(3), 1, Tai64n{});
  const auto frame = FrameOf(pending->message);
  Count("blake2s_64", [&](int) {
    crypto::Hash hash;
    crypto::Blake2s(32).Update({frame.data(), 64}).Final(hash.data());
    Keep(hash);
  });
  Count("kdf2", [&](int) {
    crypto::Hash one, two;
    crypto::Kdf({frame.data(), 32}, {frame.data() + 32, 32}, {one.data(), two.data()});
    Keep(one);
  });
  Count("parse_frame", [&](int) {
    wire::Frame parsed;
    if (!wire::ParseFrame(frame, &parsed)) abort();
    Keep(parsed);
  });
  Count("check_mac1", [&](int) { Keep(noise::CheckMac1(identity, pending->message)); });
  guard::RepeatFilter repeats;
  Count("repeat_filter", [&](int i) {
    crypto::Mac mac{};
    memcpy(mac.data(), &i, sizeof(i));
    Keep(repeats.SeenBefore(mac));
  });
}

void CountStore() {
  const store::Peer peer = DualStackPeer(1);
  const std::string record = Require(store::EncodePeer(peer));
  Count("encode_peer", [&](int) { Keep(store::EncodePeer(peer)); });
  Count("decode_peer", [&](int) { Keep(store::DecodePeer(peer.config.public_key, record)); });
  std::string folder = std::filesystem::temp_directory_path() / "wicket-count-XXXXXX";
  if (mkdtemp(folder.data()) == nullptr) abort();
  {
    store::Store store = Require(store::Store::Open({.path = folder, .bytes_max = 1 << 28}));
    auto writer = Require(store.Write());
    for (int n = 0; n < kStored; ++n) {
      store::Peer stored = DualStackPeer(static_cast<uint64_t>(n));
      stored.config.allowed_ips.clear();  // a prefix has one owner
      Require(writer.PutPeer(stored));
    }
    Require(writer.Commit());
    auto snapshot = Require(store.NewSnapshot());
    std::vector<PublicKey> keys;
    for (int n = 0; n < kTimes; ++n) keys.push_back(KeyOf(static_cast<uint64_t>(n * 7)));
    Count("view_peer", [&](int i) {
      store::PeerView view;
      Keep(snapshot.ViewPeer(keys[static_cast<size_t>(i)], &view));
    });
    Count("renew", [&](int) { Keep(snapshot.Renew()); });
  }
  std::filesystem::remove_all(folder);
}

void CountTexts() {
  const PublicKey key = KeyOf(1);
  Count("to_base64", [&](int) { Keep(ToBase64(key)); });
  const std::string base64 = ToBase64(key);
  Count("parse_key", [&](int) { Keep(ParsePublicKey(base64)); });
  std::string answer = "private_key=" + std::string(64, '1') + "\nlisten_port=51820\n";
  for (int n = 0; n < 10; ++n) {
    answer += "public_key=" + std::string(62, '2') + "a" + static_cast<char>('0' + n) +
              "\nendpoint=192.0.2.1:1234\nlast_handshake_time_sec=1700000000\n"
              "last_handshake_time_nsec=5\ntx_bytes=1\nrx_bytes=2\n"
              "persistent_keepalive_interval=0\nallowed_ip=10.0.0.1/32\n";
  }
  answer += "errno=0\n\n";
  Count("uapi_dump_of_ten", [&](int) {
    wgdev::UapiAnswer reader;
    std::vector<wgdev::PeerStats> peers;
    if (!Require(reader.Consume(answer, &peers)) || peers.size() != 10) abort();
    Keep(peers);
  });
  std::vector<PeerConfig> configs(64);
  std::vector<wgdev::PeerInstall> installs;
  for (uint64_t i = 0; i < configs.size(); ++i) {
    configs[i] = DualStackPeer(i).config;
    installs.push_back({&configs[i], {}, false});
  }
  std::vector<uint8_t> buffer(wgdev::SetDevice::kBytesMax);
  Count("set_device_64", [&](int i) {
    wgdev::SetDevice set(buffer.data(), 31, static_cast<uint32_t>(i), "wg0");
    if (set.PutPeers(installs, {}).peer != installs.size()) abort();
    Keep(set.Finish());
  });
  Histogram histogram;
  Count("histogram_record", [&](int i) { histogram.Record(static_cast<uint64_t>(i) * 997); });
}

}  // namespace
}  // namespace wicket

int main() {
  using namespace wicket;
  Require(crypto::Initialize());
  CountHandshake();
  CountStore();
  CountTexts();
  return 0;
}
