#include <arpa/inet.h>
#include <gtest/gtest.h>
#include <malloc.h>
#include <stdlib.h>

#include <atomic>
#include <bit>
#include <cmath>
#include <filesystem>
#include <new>
#include <set>
#include <thread>

#include "absl/time/clock.h"
#include "base/clock_fixture.h"
#include "guard/replay.h"
#include "noise/initiator.h"
#include "store/store.h"
#include "intake/demand_queues.h"
#include "intake/pipeline.h"
#include "xdp/classify.h"
#include "xdp/sketch.h"

// Sanitizers bring their own malloc.
#if defined(__clang__)
#if !__has_feature(address_sanitizer) && !__has_feature(thread_sanitizer)
#define WICKET_COUNTS_ALLOCATIONS 1
#endif
#elif !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
#define WICKET_COUNTS_ALLOCATIONS 1
#endif

#ifdef WICKET_COUNTS_ALLOCATIONS
static std::atomic<uint64_t> g_allocations{0};
extern "C" void* __libc_malloc(size_t bytes);
extern "C" void* malloc(size_t bytes) {  // operator new calls it too
  g_allocations.fetch_add(1, std::memory_order_relaxed);
  return __libc_malloc(bytes);
}
#endif

namespace wicket::intake {
namespace {

constexpr uint16_t kPort = 51820;

// Wraps a message in Ethernet, IPv4 and UDP.
std::vector<uint8_t> FrameOf(const wire::Initiation& message) {
  std::vector<uint8_t> frame(14 + 20 + 8 + sizeof(message));
  const uint8_t headers[] = {0,          0,
                             0,          0,
                             0,          0,
                             0,          0,
                             0,          0,
                             0,          0,
                             0x08,       0x00,
                             0x45,       0,
                             0,          176,
                             0,          0,
                             0,          0,
                             64,         17,
                             0,          0,
                             192,        0,
                             2,          9,
                             198,        51,
                             100,        1,
                             0x30,       0x39,
                             kPort >> 8, kPort & 0xff,
                             0,          156,
                             0,          0};
  std::copy(std::begin(headers), std::end(headers), frame.begin());
  memcpy(frame.data() + 42, &message, sizeof(message));
  return frame;
}

// The arrivals that a shard would make of `frames`.
std::vector<Arrival> ArrivalsOf(std::vector<std::vector<uint8_t>>* frames) {
  std::vector<Arrival> arrivals;
  for (std::vector<uint8_t>& frame : *frames) arrivals.push_back(ArrivalOf(frame));
  return arrivals;
}

class PipelineTest : public ::testing::Test {
 protected:
  PipelineTest() : queue_(4) {}

  void SetUp() override {
    ASSERT_TRUE(crypto::Initialize().ok());
    char name[] = "/tmp/wicket-shard-XXXXXX";
    ASSERT_NE(mkdtemp(name), nullptr);
    path_ = name;
    store_.emplace(*store::Store::Open({.path = path_ + "/db", .bytes_max = 1 << 26}));
    device_private_ = crypto::GeneratePrivateKey();
    client_private_ = crypto::GeneratePrivateKey();
    client_ = crypto::DerivePublicKey(client_private_);
    auto identity = std::make_shared<crypto::Locked<noise::Identity>>(
        crypto::Locked<noise::Identity>::Make(device_private_));
    devices_.devices.push_back({"wg0", kPort, identity, nullptr, 50'000});
    devices_.cookies = std::make_shared<noise::CookieSecrets>(crypto::GeneratePrivateKey(),
                                                              crypto::GeneratePrivateKey());
    PutPeer("wg0", absl::InfiniteFuture());
    pipeline_ = std::make_unique<Pipeline>(*store_->NewSnapshot(),
                                           std::vector<DemandQueue*>{&queue_}, 7, &counters_);
  }
  void TearDown() override {
    pipeline_.reset();
    store_.reset();
    std::filesystem::remove_all(path_);
  }

  void PutPeer(const std::string& device, absl::Time expires) {
    store::Peer peer;
    peer.config.public_key = client_;
    peer.device = device;
    peer.expires = expires;
    auto writer = store_->Write();
    writer->DeletePeer(client_).IgnoreError();  // perhaps of another device
    ASSERT_TRUE(writer->PutPeer(peer).ok());
    ASSERT_TRUE(writer->Commit().ok());
  }

  std::vector<uint8_t> Initiation(const Secret<32>& private_key, absl::Time stamp) {
    return FrameOf(noise::CreateInitiation(private_key, crypto::DerivePublicKey(device_private_),
                                           crypto::GeneratePrivateKey(), 1, ToTai64n(stamp))
                       ->message);
  }

  Verdict Run(std::vector<uint8_t> frame) {
    const Verdict verdict = RunInPlace(&frame);
    reply_ = std::move(frame);
    return verdict;
  }
  // Leaves the reply in `frame`.
  Verdict RunInPlace(std::vector<uint8_t>* frame) {
    EXPECT_TRUE(pipeline_->Begin().ok());
    const Arrival arrival = ArrivalOf(*frame);
    const Verdict verdict =
        pipeline_->RunBatch(devices_, {&arrival, 1}, {ktime_ns_, At(now_), under_load_}).front();
    const uint32_t reply_bytes = pipeline_->reply_bytes(0);
    pipeline_->End();
    frame->resize(reply_bytes);
    return verdict;
  }

  std::string path_;
  std::optional<store::Store> store_;
  Secret<32> device_private_, client_private_;
  PublicKey client_;
  DeviceTable devices_;
  DemandQueue queue_;
  VerdictCounters counters_;
  std::unique_ptr<Pipeline> pipeline_;
  absl::Time now_ = absl::FromUnixSeconds(1'800'000'000);
  uint64_t ktime_ns_ = 12345;
  bool under_load_ = false;
  std::vector<uint8_t> reply_;  // the frame after kCookie
};

TEST_F(PipelineTest, AProvenInitiationBecomesARequestWithItsFrame) {
  const auto frame = Initiation(client_private_, now_);
  ASSERT_EQ(Run(frame), Verdict::kProven);
  const Demand* request = queue_.Peek();
  ASSERT_NE(request, nullptr);
  EXPECT_EQ(request->public_key, client_);
  EXPECT_EQ(request->stamp, ToTai64n(now_));
  EXPECT_EQ(ToString(request->source), "192.0.2.9:12345");
  EXPECT_EQ(request->ifindex, 7);
  EXPECT_EQ(request->seen_ns, 12345u);
  EXPECT_TRUE(std::equal(frame.begin(), frame.end(), request->frame.begin()));
  EXPECT_EQ(request->frame_bytes, frame.size());
  EXPECT_EQ(counters_.Read(Verdict::kProven), 1u);
}

TEST_F(PipelineTest, RefusesForTheReasonThatApplies) {
  const Secret<32> stranger = crypto::GeneratePrivateKey();
  EXPECT_EQ(Run(Initiation(stranger, now_)), Verdict::kUnknownPeer);
  EXPECT_EQ(Run({1, 2, 3}), Verdict::kNotAnInitiation);
  auto frame = Initiation(client_private_, now_);
  frame[42 + 116] ^= 1;
  EXPECT_EQ(Run(frame), Verdict::kBadMac1);
  frame[42 + 116] ^= 1;
  frame[37] ^= 1;  // another port
  EXPECT_EQ(Run(frame), Verdict::kPortNotServed);
  frame[37] ^= 1;
  EXPECT_EQ(Run(frame), Verdict::kProven);
  EXPECT_EQ(Run(frame), Verdict::kRepeat);
  PutPeer("wg0", now_);
  EXPECT_EQ(Run(Initiation(client_private_, now_)), Verdict::kExpired);
  PutPeer("wg1", absl::InfiniteFuture());
  EXPECT_EQ(Run(Initiation(client_private_, now_)), Verdict::kUnknownPeer);
  devices_.devices[0].identity.reset();
  EXPECT_EQ(Run(Initiation(client_private_, now_)), Verdict::kPortNotServed);
}

// T4: valid mac1, a stored key in the static field, and no valid timestamp.
TEST_F(PipelineTest, AForgedStaticKeyOfAStoredPeerLeavesNoTrace) {
  const Secret<32> stranger = crypto::GeneratePrivateKey();
  auto frame = Initiation(client_private_, now_);
  auto* message = reinterpret_cast<wire::Initiation*>(frame.data() + 42);
  message->encrypted_timestamp[0] ^= 1;
  const noise::Identity& self = **devices_.devices[0].identity;
  message->mac1 = crypto::MacOf(self.mac1_key(), BytesBefore(*message, message->mac1));
  EXPECT_EQ(Run(frame), Verdict::kNotProven);
  EXPECT_EQ(queue_.Peek(), nullptr);
}

TEST_F(PipelineTest, AReplayOfWhatTheStoreRemembersIsRefused) {
  store::Session session;
  session.mark = guard::Accept({}, ToTai64n(now_), At(now_));
  auto writer = store_->Write();
  ASSERT_TRUE(writer->PutSession(client_, session).ok());
  ASSERT_TRUE(writer->Commit().ok());
  EXPECT_EQ(Run(Initiation(client_private_, now_)), Verdict::kReplay);
  EXPECT_EQ(Run(Initiation(client_private_, now_ - absl::Hours(1))), Verdict::kReplay);
  EXPECT_EQ(Run(Initiation(client_private_, now_ + absl::Seconds(1))), Verdict::kProven);
}

// A peer that an administrator put into the device by hand is proven, then given back.
TEST_F(PipelineTest, PeersOfOthersAreProvenAndGivenBack) {
  const Secret<32> stranger = crypto::GeneratePrivateKey();
  auto foreign = std::make_shared<ForeignPeers>();
  foreign->insert(crypto::DerivePublicKey(stranger));
  devices_.devices[0].foreign = foreign;
  auto frame = Initiation(stranger, now_);
  EXPECT_EQ(Run(frame), Verdict::kProven);
  EXPECT_EQ(queue_.Peek()->reason, Reason::kForeign);
  auto* message = reinterpret_cast<wire::Initiation*>(frame.data() + 42);
  message->encrypted_timestamp[0] ^= 1;
  const noise::Identity& self = **devices_.devices[0].identity;
  message->mac1 = crypto::MacOf(self.mac1_key(), BytesBefore(*message, message->mac1));
  EXPECT_EQ(Run(frame), Verdict::kNotProven);
  queue_.Release();
  EXPECT_EQ(Run(Initiation(client_private_, now_)), Verdict::kProven);
  EXPECT_EQ(queue_.Peek()->reason, Reason::kProven);
}

TEST_F(PipelineTest, AFullQueueRefusesAndCounts) {
  for (int i = 1; i <= 4; ++i) {
    EXPECT_EQ(Run(Initiation(client_private_, now_ + absl::Seconds(i))), Verdict::kProven);
  }
  EXPECT_EQ(Run(Initiation(client_private_, now_ + absl::Seconds(9))), Verdict::kInstallerBusy);
}

// One batch of every kind of frame, against the same frames one at a time.
TEST_F(PipelineTest, ABatchJudgesEachFrameAsIfItWereAlone) {
  const Secret<32> stranger = crypto::GeneratePrivateKey(), other = crypto::GeneratePrivateKey();
  auto foreign = std::make_shared<ForeignPeers>();
  foreign->insert(crypto::DerivePublicKey(other));
  devices_.devices[0].foreign = foreign;
  // A second device with its own key and port, and no stored peer.
  const Secret<32> second = crypto::GeneratePrivateKey();
  DemandQueue second_queue(64), queue(64);
  devices_.devices.push_back({"wg1", kPort + 1,
                              std::make_shared<crypto::Locked<noise::Identity>>(
                                  crypto::Locked<noise::Identity>::Make(second)),
                              nullptr, 50'000});
  std::vector<std::vector<uint8_t>> frames;
  const auto forge = [&](std::vector<uint8_t> frame, size_t offset) {
    auto* message = reinterpret_cast<wire::Initiation*>(frame.data() + 42);
    frame[42 + offset] ^= 1;
    const noise::Identity& self = **devices_.devices[0].identity;
    message->mac1 = crypto::MacOf(self.mac1_key(), BytesBefore(*message, message->mac1));
    return frame;
  };
  for (int i = 0; i < 6; ++i) {
    frames.push_back(Initiation(client_private_, now_ + absl::Seconds(i)));
    frames.push_back(Initiation(stranger, now_));
    frames.push_back(Initiation(other, now_));
    frames.push_back(
        forge(Initiation(client_private_, now_), offsetof(wire::Initiation, encrypted_static)));
    frames.push_back(
        forge(Initiation(client_private_, now_), offsetof(wire::Initiation, encrypted_timestamp)));
    frames.push_back(frames[0]);  // a repeat
    frames.push_back({1, 2, 3});
    auto to_second = FrameOf(noise::CreateInitiation(stranger, crypto::DerivePublicKey(second),
                                                     crypto::GeneratePrivateKey(), 1, Tai64n{})
                                 ->message);
    ++to_second[37];
    frames.push_back(to_second);
    frames.push_back(Initiation(client_private_, now_ - absl::Hours(i)));
    frames.back()[42 + offsetof(wire::Initiation, mac1)] ^= 1;
  }
  ASSERT_LE(frames.size(), Pipeline::kBatchMax);
  const std::vector<Arrival> views = ArrivalsOf(&frames);
  const std::vector<DemandQueue*> queues{&queue, &second_queue};

  VerdictCounters alone_counters;
  Pipeline alone(*store_->NewSnapshot(), queues, 7, &alone_counters, {},
                 crypto::X25519Backend::kPortable);
  ASSERT_TRUE(alone.Begin().ok());
  std::vector<Verdict> expected;
  std::vector<std::pair<Tai64n, Reason>> expected_requests;
  for (const Arrival& arrival : views) {
    expected.push_back(alone.RunBatch(devices_, {&arrival, 1}, {12345, At(now_), false}).front());
  }
  alone.End();
  for (; queue.Peek() != nullptr; queue.Release()) {
    expected_requests.emplace_back(queue.Peek()->stamp, queue.Peek()->reason);
  }
  EXPECT_EQ(expected_requests.size(), 12u);

  for (auto backend : {crypto::X25519Backend::kPortable, crypto::X25519Backend::kAvx2x4,
                       crypto::X25519Backend::kIfma8}) {
    if (!crypto::RunsHere(backend)) continue;
    VerdictCounters counters;
    Pipeline together(*store_->NewSnapshot(), queues, 7, &counters, {}, backend);
    ASSERT_TRUE(together.Begin().ok());
    const auto verdicts = together.RunBatch(devices_, views, {12345, At(now_), false});
    for (size_t i = 0; i < views.size(); ++i) {
      EXPECT_EQ(verdicts[i], expected[i]) << i << ": " << ToString(verdicts[i]);
    }
    together.End();
    for (const auto& [stamp, reason] : expected_requests) {
      ASSERT_NE(queue.Peek(), nullptr);
      EXPECT_EQ(queue.Peek()->stamp, stamp);
      EXPECT_EQ(queue.Peek()->reason, reason);
      queue.Release();
    }
    EXPECT_EQ(queue.Peek(), nullptr);
    for (size_t v = 0; v < kVerdicts; ++v) {
      const auto verdict = static_cast<Verdict>(v);
      EXPECT_EQ(counters.Read(verdict), alone_counters.Read(verdict)) << ToString(verdict);
    }
  }
}

#ifdef WICKET_COUNTS_ALLOCATIONS
TEST_F(PipelineTest, AllocatesNothingPerPacket) {
  auto proven = Initiation(client_private_, now_), again = proven, forged = proven;
  auto unknown = Initiation(crypto::GeneratePrivateKey(), now_);
  auto asked = Initiation(client_private_, now_);
  forged[42 + 116] ^= 1;
  Run(Initiation(client_private_, now_ - absl::Seconds(1)));  // for one-time allocations
  std::vector<std::vector<uint8_t>> frames;
  for (int i = 0; i < 20; ++i) {
    frames.push_back(
        Initiation(i % 2 ? client_private_ : device_private_, now_ + absl::Seconds(i)));
  }
  const std::vector<Arrival> views = ArrivalsOf(&frames);
  ASSERT_TRUE(pipeline_->Begin().ok());
  const uint64_t before = g_allocations.load();
  pipeline_->RunBatch(devices_, views, {12345, At(now_), false});
  EXPECT_EQ(g_allocations.load(), before);
  pipeline_->End();
  for (std::vector<uint8_t>* frame : {&proven, &unknown, &forged, &again}) RunInPlace(frame);
  under_load_ = true;
  EXPECT_EQ(RunInPlace(&asked), Verdict::kCookie);
  EXPECT_EQ(g_allocations.load(), before);
  free(malloc(1));
  EXPECT_GT(g_allocations.load(), before) << "the count itself does not work";
}
#endif

// --- under load -----------------------------------------------------------------

// RFC 1071 over the pseudo header and the datagram: 0xffff when the checksum is right.
uint16_t SumOf(std::span<const uint8_t> bytes, uint32_t sum) {
  for (size_t i = 0; i < bytes.size(); i += 2) sum += bytes[i] << 8 | bytes[i + 1];
  while (sum >> 16) sum = (sum & 0xffff) + (sum >> 16);
  return static_cast<uint16_t>(sum);
}

TEST_F(PipelineTest, UnderLoadACookieIsAskedForAndLetsIn) {
  under_load_ = true;
  const auto first = Initiation(client_private_, now_);
  ASSERT_EQ(Run(first), Verdict::kCookie);
  EXPECT_LT(reply_.size(), first.size());
  // Addressed back to the source, at every layer.
  EXPECT_EQ(reply_.size(), 14u + 20 + 8 + 64);
  EXPECT_TRUE(std::equal(reply_.begin() + 26, reply_.begin() + 30, first.begin() + 30));
  EXPECT_TRUE(std::equal(reply_.begin() + 30, reply_.begin() + 34, first.begin() + 26));
  EXPECT_TRUE(std::equal(reply_.begin() + 34, reply_.begin() + 36, first.begin() + 36));
  EXPECT_TRUE(std::equal(reply_.begin() + 36, reply_.begin() + 38, first.begin() + 34));
  EXPECT_EQ(SumOf({&reply_[14], 20}, 0), 0xffff);
  EXPECT_EQ(SumOf({&reply_[26], 8 + 8 + 64}, 17 + 72), 0xffff);

  wire::CookieReply reply;
  memcpy(&reply, &reply_[42], sizeof(reply));
  const PublicKey device = crypto::DerivePublicKey(device_private_);
  wire::Initiation sent;
  memcpy(&sent, &first[42], sizeof(sent));
  EXPECT_EQ(reply.receiver_index, sent.sender_index);
  const auto cookie = noise::OpenCookie(noise::CookieKey(device), sent.mac1, reply);
  ASSERT_TRUE(cookie.has_value());

  auto second = Initiation(client_private_, now_);
  memcpy(&sent, &second[42], sizeof(sent));
  sent.mac2 = noise::Mac2(*cookie, sent);
  memcpy(&second[42], &sent, sizeof(sent));
  EXPECT_EQ(Run(second), Verdict::kProven);
  EXPECT_EQ(counters_.Read(Verdict::kCookie), 1u);
}

TEST_F(PipelineTest, ACookieIsForOneSourceOnly) {
  under_load_ = true;
  auto frame = Initiation(client_private_, now_);
  wire::Frame found;
  ASSERT_TRUE(wire::ParseFrame(frame, &found));
  wire::Initiation sent = *found.initiation;
  Endpoint neighbour = found.source;
  ++neighbour.port;
  sent.mac2 = noise::Mac2(devices_.cookies->Make(neighbour), sent);
  memcpy(&frame[42], &sent, sizeof(sent));
  EXPECT_EQ(Run(frame), Verdict::kCookie);
}

// The installer keeps slots for such senders.
TEST_F(PipelineTest, WhoHasACookieHasProvenHisAddressAlsoWithoutLoad) {
  for (const bool with_cookie : {false, true}) {
    auto frame = Initiation(client_private_, now_);
    wire::Frame found;
    ASSERT_TRUE(wire::ParseFrame(frame, &found));
    wire::Initiation sent = *found.initiation;
    const auto cookie = with_cookie ? devices_.cookies->Make(found.source) : noise::Cookie{1};
    sent.mac2 = noise::Mac2(cookie, sent);
    memcpy(&frame[42], &sent, sizeof(sent));
    ASSERT_EQ(Run(frame), Verdict::kProven);
    ASSERT_NE(queue_.Peek(), nullptr);
    EXPECT_EQ(queue_.Peek()->source_proven, with_cookie);
    queue_.Release();
  }
  ASSERT_EQ(Run(Initiation(client_private_, now_)), Verdict::kProven);
  EXPECT_FALSE(queue_.Peek()->source_proven);
}

TEST_F(PipelineTest, BeyondItsBudgetADeviceProvesNothing) {
  devices_.devices[0].handshakes_per_second = 100;
  int proven = 0;
  for (int i = 0; i < 60; ++i) {
    const Verdict verdict = Run(Initiation(crypto::GeneratePrivateKey(), now_));
    proven += verdict == Verdict::kUnknownPeer;
    EXPECT_TRUE(verdict == Verdict::kUnknownPeer || verdict == Verdict::kCookie);
    EXPECT_EQ(pipeline_->beyond_budget(), verdict == Verdict::kCookie);
  }
  EXPECT_GE(proven, 5);
  EXPECT_LE(proven, 12) << "a burst of a twentieth, twice, and what a source has kept for it";
  // A sender that already has a cookie is refused.
  auto frame = Initiation(client_private_, now_);
  wire::Frame found;
  ASSERT_TRUE(wire::ParseFrame(frame, &found));
  wire::Initiation sent = *found.initiation;
  sent.mac2 = noise::Mac2(devices_.cookies->Make(found.source), sent);
  memcpy(&frame[42], &sent, sizeof(sent));
  EXPECT_EQ(Run(frame), Verdict::kOverBudget);
  ktime_ns_ += 1'000'000'000;
  EXPECT_EQ(Run(Initiation(crypto::GeneratePrivateKey(), now_)), Verdict::kUnknownPeer);
}

TEST_F(PipelineTest, CookiesHaveALimitAndGoWhereSomebodyCanBe) {
  under_load_ = true;
  devices_.cookie_interval_ns = 1'000'000'000;
  int cookies = 0;
  const auto run = [&] {
    for (int i = 0; i < 2 * STEER_COOKIE_BURST; ++i) {
      const Verdict verdict = Run(Initiation(client_private_, now_ + absl::Nanoseconds(i)));
      cookies += verdict == Verdict::kCookie;
      EXPECT_TRUE(verdict == Verdict::kCookie || verdict == Verdict::kOverBudget);
    }
    return std::exchange(cookies, 0);
  };
  EXPECT_EQ(run(), 1);
  ktime_ns_ += 1'000'000'000;
  devices_.cookie_interval_ns = 1'000'000;
  now_ += absl::Milliseconds(1);
  EXPECT_EQ(run(), 101) << "what is due within 100 ms";
  ktime_ns_ += 1'000'000'000;
  devices_.cookie_interval_ns = 1'000;
  now_ += absl::Milliseconds(1);
  EXPECT_EQ(run(), STEER_COOKIE_BURST);
  ktime_ns_ += 1'000'000'000;
  auto frame = Initiation(client_private_, now_ + absl::Seconds(1));
  std::fill_n(frame.begin() + 34, 2, uint8_t{0});  // from port 0
  EXPECT_EQ(Run(frame), Verdict::kOverBudget);
  EXPECT_EQ(Run(Initiation(client_private_, now_ + absl::Seconds(2))), Verdict::kCookie);
}

// The estimate is of sources that a hash throws at random, also when they are neighbours.
TEST(SketchTest, NeighboursAreNotCountedTwice) {
  for (const uint32_t sources : {1000u, 20'000u, 50'000u}) {
    std::vector<uint64_t> sketch(STEER_SKETCH_WORDS);
    for (uint32_t n = 0; n < sources; ++n) {
      const uint32_t ip = htonl(0xc6120000 + n);  // 198.18.0.0/15
      __u64 address[2] = {0, uint64_t{ip} << 32 | 0xffff0000};
      const sketch_place place = sketch_place_of(address);
      sketch[place.word] |= place.bit;
    }
    int set = 0;
    for (const uint64_t word : sketch) set += std::popcount(word);
    const double bits = 64.0 * static_cast<double>(STEER_SKETCH_WORDS);
    EXPECT_NEAR(bits * std::log(bits / (bits - set)), sources, 0.03 * sources + 10);
  }
}

// The sketch place of a refused packet's source is the one that the program's own code computes.
TEST_F(PipelineTest, RefusedSourcesAreCountedByTheProgramsSketch) {
  std::vector<std::atomic<uint64_t>> sketch(STEER_SKETCH_WORDS);
  pipeline_ = std::make_unique<Pipeline>(*store_->NewSnapshot(), std::vector{&queue_}, 1,
                                         &counters_, SightingSink{nullptr, nullptr, sketch.data()});
  ASSERT_EQ(Run(Initiation(client_private_, now_)), Verdict::kProven);
  for (const auto& word : sketch) EXPECT_EQ(word, 0u) << "an admitted sender is not counted";
  std::set<std::pair<uint32_t, uint64_t>> expected;
  for (int i = 0; i < 20; ++i) {
    auto frame = Initiation(crypto::GeneratePrivateKey(), now_);
    frame[29] = static_cast<uint8_t>(i / 2);  // ten sources
    classify_packet packet{};
    ASSERT_EQ(classify(frame.data(), frame.data() + frame.size(), &packet), CLASSIFY_INITIATION);
    const sketch_place place = sketch_place_of(reinterpret_cast<const __u64*>(packet.source_be));
    expected.emplace(place.word, place.bit);
    ASSERT_EQ(Run(std::move(frame)), Verdict::kUnknownPeer);
  }
  EXPECT_GT(expected.size(), 8u);
  uint64_t bits = 0;
  for (const auto& word : sketch) bits += static_cast<uint64_t>(std::popcount(word.load()));
  EXPECT_EQ(bits, expected.size());
  for (const auto& [word, bit] : expected) EXPECT_TRUE(sketch[word] & bit);
}

TEST_F(PipelineTest, AFloodOfRefusedLeavesRoomForWhoIsProven) {
  const std::atomic<int> watchers = 1;
  SightingQueue sightings(kSightingQueueCapacity);
  std::vector<std::atomic<uint64_t>> sketch(STEER_SKETCH_WORDS);
  pipeline_ =
      std::make_unique<Pipeline>(*store_->NewSnapshot(), std::vector{&queue_}, 1, &counters_,
                                 SightingSink{&watchers, &sightings, sketch.data()});
  const auto unknown = Initiation(crypto::GeneratePrivateKey(), now_);
  for (size_t i = 0; i < 2 * kSightingQueueCapacity; ++i) Run(unknown);
  ASSERT_EQ(Run(Initiation(client_private_, now_)), Verdict::kProven);
  EXPECT_EQ(sightings.Size(), kRefusedSightingsMax + 1);
  const Sighting* seen = sightings.Peek();
  EXPECT_NE(seen->verdict, Verdict::kProven);
  for (size_t i = 0; i < kRefusedSightingsMax; ++i) sightings.Release();
  seen = sightings.Peek();
  ASSERT_NE(seen, nullptr);
  EXPECT_EQ(seen->verdict, Verdict::kProven);
  EXPECT_EQ(seen->public_key, client_);
}

TEST_F(PipelineTest, WithoutAWatcherOnlySendersThatHaveProvenTheirKeyAreTold) {
  const std::atomic<int> watchers = 0;
  SightingQueue sightings(kSightingQueueCapacity);
  pipeline_ = std::make_unique<Pipeline>(*store_->NewSnapshot(), std::vector{&queue_}, 1,
                                         &counters_, SightingSink{&watchers, &sightings, nullptr});
  Run(Initiation(crypto::GeneratePrivateKey(), now_));
  EXPECT_EQ(sightings.Size(), 0u);
  ASSERT_EQ(Run(Initiation(client_private_, now_)), Verdict::kProven);
  ASSERT_EQ(sightings.Size(), 1u);
  EXPECT_EQ(sightings.Peek()->public_key, client_);
}

TEST_F(PipelineTest, BatchesFillTheirLanes) {
  ASSERT_EQ(pipeline_->batches(), crypto::FastestX25519() != crypto::X25519Backend::kPortable);
  for (size_t waiting : {1, 2, 7, 8}) EXPECT_EQ(pipeline_->BatchFor(waiting), waiting);
  if (pipeline_->batches()) {
    EXPECT_EQ(pipeline_->BatchFor(9), 8u);
    EXPECT_EQ(pipeline_->BatchFor(31), 24u);
  }
  EXPECT_EQ(pipeline_->BatchFor(64), 64u);
  EXPECT_EQ(pipeline_->BatchFor(1000), Pipeline::kBatchMax);
}

TEST(DemandQueuesTest, EachComesInItsTurnHoweverSmallTheBatches) {
  const auto a = std::make_shared<DemandQueue>(64), b = std::make_shared<DemandQueue>(64),
             c = std::make_shared<DemandQueue>(64);
  DemandQueue &first = *a, &second = *b, &third = *c;
  DemandQueues queues;
  EXPECT_EQ(queues.Next(), nullptr);
  for (const auto& queue : {a, b, c}) queues.Add(queue);
  EXPECT_EQ(queues.Next(), nullptr);
  const auto fill = [](DemandQueue* queue, size_t count) {
    for (size_t i = 0; i < count && queue->Reserve() != nullptr; ++i) queue->Submit();
  };
  fill(&first, 40);
  fill(&third, 10);
  EXPECT_EQ(queues.Waiting(), 50u);
  for (int i = 0; i < 20; ++i) {
    DemandQueue* queue = queues.Next();
    ASSERT_NE(queue, nullptr);
    queue->Release();
    fill(&first, 1);  // a queue that never empties
  }
  EXPECT_EQ(third.Size(), 0u);
  EXPECT_EQ(second.Size(), 0u);
  queues.Close(&first);
  queues.DropClosed();
  ASSERT_EQ(queues.Next(), &first) << "what a closed queue holds is served";
  while (queues.Next() != nullptr) first.Release();
  queues.DropClosed();
  fill(&first, 1);
  EXPECT_EQ(queues.Next(), nullptr);
}

TEST(DemandQueuesTest, TheOldestLeaveWhenTheyAreLate) {
  const auto a = std::make_shared<DemandQueue>(8), b = std::make_shared<DemandQueue>(8);
  DemandQueue &first = *a, &second = *b;
  DemandQueues queues;
  queues.Add(a);
  queues.Add(b);
  for (uint64_t seen_ns : {1, 2, 3, 4}) {
    for (DemandQueue* queue : {&first, &second}) {
      queue->Reserve()->seen_ns = queue == &first ? seen_ns : 10 * seen_ns;
      queue->Submit();
    }
  }
  queues.DropLate([](const Demand& request) { return request.seen_ns <= 10; });
  EXPECT_EQ(first.Size(), 0u);
  ASSERT_EQ(second.Size(), 3u);
  EXPECT_EQ(second.Peek()->seen_ns, 20u);
}

}  // namespace
}  // namespace wicket::intake
