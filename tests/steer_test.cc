// The loaded XDP program under BPF_PROG_TEST_RUN, and classify() on the host with the same bytes.
// Where both give an answer they must agree.
//
// Numbers such as X01 are from docs/testing.md.
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <gtest/gtest.h>
#include <linux/if_xdp.h>
#include <sched.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/utsname.h>

#include <random>
#include <set>
#include <vector>

#include "absl/time/clock.h"
#include "base/clock.h"
#include "crypto/blake2s.h"
#include "crypto/curve25519.h"
#include "noise/cookie.h"
#include "noise/identity.h"
#include "intake/cookie_reply.h"
#include "wire/messages.h"
#include "xdp/blake2s.h"
#include "xdp/classify.h"
#include "xdp/steer.skel.h"
#include "xdp/steer_abi.h"
#include "xsk/steering.h"

namespace wicket {
namespace {

constexpr uint16_t kPort = 51820;
using Bytes = std::vector<uint8_t>;

// Of the tests on random packets: $WICKET_PACKETS, or a million. An emulated machine takes fewer.
int Packets() {
  const char* text = getenv("WICKET_PACKETS");
  return text != nullptr ? atoi(text) : 1'000'000;
}

// The fate of a frame: the action, and the one counter that moved.
struct Outcome {
  uint32_t action = 0;
  int count = -1;
  friend bool operator==(const Outcome&, const Outcome&) = default;
};

class SteerTest : public ::testing::Test {
 protected:
  // A network namespace of our own, which forwards to d0: only then does the routing table
  // distinguish our own addresses from others.
  static void SetUpTestSuite() {
    ASSERT_EQ(unshare(CLONE_NEWNET), 0) << "needs root";
    // Runs on one CPU, so that each run finds the state that the last one left there.
    cpu_set_t one;
    CPU_ZERO(&one);
    CPU_SET(static_cast<size_t>(sched_getcpu()), &one);
    ASSERT_EQ(sched_setaffinity(0, sizeof(one), &one), 0);
    ASSERT_EQ(system("ip link set lo up && sysctl -qw net.ipv4.conf.all.forwarding=1 "
                     "net.ipv6.conf.all.forwarding=1 && ip link add d0 type veth peer name d1 && "
                     "ip link set d1 up && ip link set d0 up && ip route add default dev d0 && "
                     "ip -6 route add default dev d0"),
              0);
    OpenSocket();
  }
  static void TearDownTestSuite() { close(socket_); }

  void SetUp() override {
    skeleton_ = steer_bpf__open_and_load();
    ASSERT_NE(skeleton_, nullptr) << "loading BPF programs needs root";
    const steer_service service{kPort};
    const steer_device device = DeviceOf(mac1_key_);
    Update(skeleton_->maps.steer_served, &service, &device);
    // Frames of BPF_PROG_TEST_RUN come from lo, queue 0.
    const uint32_t lo = 1;
    const steer_nic nic{0, 1, {2, 2, 2, 2, 2, 2}, 0, 0};
    Update(skeleton_->maps.steer_nics, &lo, &nic);
    shard_ =
        static_cast<steer_shard*>(mmap(nullptr, kShardBytes, PROT_READ | PROT_WRITE, MAP_SHARED,
                                       bpf_map__fd(skeleton_->maps.steer_shards), 0));
    ASSERT_NE(shard_, MAP_FAILED);
    shard_->beat_ns = SteadyNanos() + 3'600'000'000'000ULL;  // alive for the whole test
    const uint32_t slot = 0;
    Update(skeleton_->maps.steer_sockets, &slot, &socket_);
  }
  void TearDown() override {
    if (shard_ != nullptr) munmap(shard_, kShardBytes);
    steer_bpf__destroy(skeleton_);
  }

  // An AF_XDP socket on lo, so that the map has something to redirect to.
  static void OpenSocket() {
    socket_ = socket(AF_XDP, SOCK_RAW, 0);
    ASSERT_GE(socket_, 0);
    void* area =
        mmap(nullptr, 64 * 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    xdp_umem_reg reg{};
    reg.addr = reinterpret_cast<uint64_t>(area);
    reg.len = 64 * 4096;
    reg.chunk_size = 4096;
    const int entries = 64;
    ASSERT_EQ(setsockopt(socket_, SOL_XDP, XDP_UMEM_REG, &reg, sizeof(reg)), 0);
    for (int ring : {XDP_UMEM_FILL_RING, XDP_UMEM_COMPLETION_RING, XDP_RX_RING}) {
      ASSERT_EQ(setsockopt(socket_, SOL_XDP, ring, &entries, sizeof(entries)), 0);
    }
    sockaddr_xdp address{};
    address.sxdp_family = AF_XDP;
    address.sxdp_ifindex = 1;
    address.sxdp_flags = XDP_COPY;
    ASSERT_EQ(bind(socket_, reinterpret_cast<sockaddr*>(&address), sizeof(address)), 0);
  }

  // The flow of the frames that Make() makes over IPv4.
  static steer_flow FlowOf(uint16_t source_port) {
    steer_flow flow{};
    flow.address_be[10] = flow.address_be[11] = 0xff;
    flow.address_be[12] = 127;
    flow.address_be[15] = 9;
    flow.source_port = source_port;
    flow.port = kPort;
    return flow;
  }
  template <typename Key, typename Value>
  void Update(const bpf_map* map, const Key* key, const Value* value) {
    ASSERT_EQ(bpf_map_update_elem(bpf_map__fd(map), key, value, BPF_ANY), 0) << strerror(errno);
  }
  template <typename Key>
  void Delete(const bpf_map* map, const Key& key) {
    ASSERT_EQ(bpf_map_delete_elem(bpf_map__fd(map), &key), 0);
  }

  xsk::SteerCounters Counters() const {
    xsk::SteerCounters totals{};
    std::vector<uint64_t> values(static_cast<size_t>(libbpf_num_possible_cpus()));
    for (uint32_t key = 0; key < STEER_COUNT_MAX; ++key) {
      bpf_map_lookup_elem(bpf_map__fd(skeleton_->maps.steer_counters), &key, values.data());
      for (uint64_t value : values) totals[key] += value;
    }
    return totals;
  }

  static steer_device DeviceOf(const crypto::Hash& key) {
    return xsk::DeviceOf({.mac1_key = key, .cookie_key = cookie_key_});
  }
  static void AbsorbKey(const uint8_t* key, uint32_t state[8]) {
    uint32_t block[16] = {};
    memcpy(block, key, 32);
    blake2s_begin(state, 16, 32);
    blake2s_compress(state, block, 64, 0);
  }

  // Makes the initiation unique, with a right mac1; leaves everything else as it is.
  Bytes Seal(Bytes frame) {
    wire::Initiation* message = MessageIn(&frame);
    if (message == nullptr) return frame;
    ++sealed_;
    memcpy(message->ephemeral.data(), &sealed_, sizeof(sealed_));
    message->mac1 = crypto::MacOf(mac1_key_, wire::BytesBefore(*message, message->mac1));
    return frame;
  }
  static wire::Initiation* MessageIn(Bytes* frame) {
    classify_packet packet{};
    if (classify(frame->data(), frame->data() + frame->size(), &packet) != CLASSIFY_INITIATION) {
      return nullptr;
    }
    return reinterpret_cast<wire::Initiation*>(frame->data() + packet.udp_offset + 8);
  }

  // The end of the IP packet in the frame.
  static size_t PacketEnd(const Bytes& frame) {
    const auto get16 = [&](size_t at) { return size_t{frame[at]} << 8 | frame[at + 1]; };
    size_t type = 12;
    while (get16(type) == 0x8100 || get16(type) == 0x88a8) type += 4;
    const size_t ip = type + 2;
    return get16(type) == 0x0800 ? ip + get16(ip + 2) : ip + 40 + get16(ip + 4);
  }

  uint32_t Action(const Bytes& frame) { return ActionAsIs(Seal(frame)); }
  // `after`: gets the frame as the program left it, unless null.
  uint32_t ActionAsIs(const Bytes& frame, Bytes* after = nullptr) {
    LIBBPF_OPTS(bpf_test_run_opts, options, .data_in = frame.data(),
                .data_size_in = static_cast<uint32_t>(frame.size()), .repeat = 1);
    if (after != nullptr) {
      after->assign(frame.size(), 0);
      options.data_out = after->data();
      options.data_size_out = static_cast<uint32_t>(after->size());
    }
    const int error = bpf_prog_test_run_opts(bpf_program__fd(skeleton_->progs.steer), &options);
    EXPECT_EQ(error, 0);
    if (after != nullptr) {
      after->resize(options.data_size_out);
      if (options.retval == XDP_TX) after->resize(PacketEnd(*after));  // without padding
    }
    return options.retval;
  }

  Outcome Run(const Bytes& frame) { return RunAsIs(Seal(frame)); }
  Outcome RunAsIs(const Bytes& frame, Bytes* left = nullptr) {
    const auto before = Counters();
    Outcome outcome{.action = ActionAsIs(frame, left)};
    const auto after = Counters();
    for (int i = 0; i < STEER_COUNT_MAX; ++i) {
      const auto at = static_cast<size_t>(i);
      if (after[at] == before[at]) continue;
      EXPECT_EQ(outcome.count, -1) << "two counters moved";
      outcome.count = i;
    }
    return outcome;
  }

  static classify_result Classify(const Bytes& frame) {
    classify_packet packet{};
    return classify(frame.data(), frame.data() + frame.size(), &packet);
  }

  // The action that the program must take for a result of classify(), for frames to a served port
  // of this host.
  static uint32_t Expected(classify_result result) {
    return result == CLASSIFY_INITIATION                                  ? XDP_REDIRECT
           : result == CLASSIFY_BAD_LENGTH || result == CLASSIFY_RESPONSE ? XDP_DROP  // no mac1
                                                                          : XDP_PASS;
  }

  // For exhaustive runs: compares only the action, which classify() must agree with.
  void Agree(const Bytes& frame, bool served = true) {
    const uint32_t expected = served ? Expected(Classify(frame)) : uint32_t{XDP_PASS};
    ASSERT_EQ(Action(frame), expected);
  }

  steer_bpf* skeleton_ = nullptr;
  steer_shard* shard_ = nullptr;
  static constexpr size_t kShardBytes = STEER_SLOTS_MAX * sizeof(steer_shard);
  static inline const crypto::Hash mac1_key_ = noise::Mac1Key({{1, 2, 3}});
  static inline const crypto::Hash cookie_key_ = noise::CookieKey({{1, 2, 3}});
  uint64_t sealed_ = 0;
  static inline int socket_ = -1;
};

struct Shape {
  std::vector<uint16_t> tags;  // ethertypes of VLAN tags, outermost first
  bool v6 = false;
  uint8_t ihl = 5;
  std::vector<uint8_t> extensions;  // IPv6 next-header values, each of 8 bytes
  uint16_t port = kPort;
  uint16_t source_port = 1234;
  size_t payload = 148;
  size_t padding = 0;
};

Bytes Make(const Shape& shape) {
  Bytes frame(12, 2);
  const auto put16 = [&](size_t value) {
    frame.push_back(static_cast<uint8_t>(value >> 8));
    frame.push_back(static_cast<uint8_t>(value));
  };
  for (uint16_t tag : shape.tags) {
    put16(tag);
    put16(10);
  }
  put16(shape.v6 ? 0x86dd : 0x0800);
  const size_t udp = 8 + shape.payload;
  if (shape.v6) {
    frame.insert(frame.end(), {0x60, 0, 0, 0});
    put16(udp + 8 * shape.extensions.size());
    frame.push_back(shape.extensions.empty() ? 17 : shape.extensions[0]);
    frame.push_back(64);
    for (int i = 0; i < 15; ++i) frame.push_back(0);
    frame.push_back(1);  // from ::1
    for (int i = 0; i < 15; ++i) frame.push_back(0);
    frame.push_back(1);  // to ::1
    for (size_t i = 0; i < shape.extensions.size(); ++i) {
      frame.push_back(i + 1 < shape.extensions.size() ? shape.extensions[i + 1] : 17);
      frame.insert(frame.end(), {0, 1, 0, 0, 0, 0, 0});
    }
  } else {
    frame.push_back(static_cast<uint8_t>(0x40 | shape.ihl));
    frame.push_back(0);
    put16(size_t{shape.ihl} * 4 + udp);
    frame.insert(frame.end(), {0, 0, 0, 0, 64, 17, 0, 0, 127, 0, 0, 9, 127, 0, 0, 1});
    for (int i = 5; i < shape.ihl; ++i) frame.insert(frame.end(), {1, 1, 1, 1});
  }
  put16(shape.source_port);
  put16(shape.port);
  put16(udp);
  put16(0);
  const size_t payload = frame.size();
  frame.resize(payload + shape.payload + shape.padding);
  for (size_t i = 0; i < 4 && i < shape.payload; ++i) frame[payload + i] = i == 0;
  return frame;
}

constexpr Outcome kSteered{XDP_REDIRECT, STEER_COUNT_STEER_NEW};
constexpr Outcome kOther{XDP_PASS, STEER_COUNT_PASS_OTHER};

TEST_F(SteerTest, SteersEveryShapeOfAnInitiation) {
  uint16_t source_port = 1000;
  for (const auto& tags :
       {std::vector<uint16_t>{}, {0x8100}, {0x88a8}, {0x88a8, 0x8100}, {0x8100, 0x8100}}) {
    for (bool v6 : {false, true}) {
      EXPECT_EQ(Run(Make({.tags = tags, .v6 = v6, .source_port = source_port++})), kSteered);
      EXPECT_EQ(Run(Make({.tags = tags, .v6 = v6, .source_port = source_port++, .padding = 20})),
                kSteered);
    }
  }
}

TEST_F(SteerTest, X01_OnlyTheRightPortEthertypeAndProtocol) {
  for (bool v6 : {false, true}) {
    Bytes frame = Make({.v6 = v6});
    const size_t port = frame.size() - 148 - 6;
    for (uint32_t value = 0; value < 65536; ++value) {
      frame[port] = static_cast<uint8_t>(value >> 8);
      frame[port + 1] = static_cast<uint8_t>(value);
      ASSERT_EQ(Action(frame), value == kPort ? uint32_t{XDP_REDIRECT} : uint32_t{XDP_PASS})
          << value;
    }
    frame = Make({.v6 = v6});
    for (uint32_t value = 0; value < 65536; ++value) {
      frame[12] = static_cast<uint8_t>(value >> 8);
      frame[13] = static_cast<uint8_t>(value);
      Agree(frame);
      if (value != 0x0800 && value != 0x86dd && value != 0x8100 && value != 0x88a8) {
        ASSERT_EQ(Classify(frame), CLASSIFY_OTHER);
      }
    }
    frame = Make({.v6 = v6});
    for (uint32_t value = 0; value < 256; ++value) {
      frame[v6 ? 20 : 23] = static_cast<uint8_t>(value);
      Agree(frame);
      ASSERT_EQ(Classify(frame) == CLASSIFY_INITIATION, value == 17) << value;
    }
  }
}

TEST_F(SteerTest, X02_EveryTruncationPasses) {
  for (const Shape& shape :
       {Shape{}, Shape{.v6 = true}, Shape{.tags = {0x8100}},
        Shape{.tags = {0x88a8, 0x8100}, .v6 = true}, Shape{.v6 = true, .extensions = {0, 60}}}) {
    const Bytes whole = Make(shape);
    for (size_t n = 14; n < whole.size(); ++n) {  // the kernel accepts no shorter frame
      const Bytes cut(whole.begin(), whole.begin() + static_cast<ptrdiff_t>(n));
      ASSERT_EQ(Classify(cut), CLASSIFY_OTHER) << n;
      ASSERT_EQ(Action(cut), uint32_t{XDP_PASS}) << n;
    }
    for (size_t n = 0; n < 14; ++n) {
      ASSERT_EQ(Classify(Bytes(whole.begin(), whole.begin() + static_cast<ptrdiff_t>(n))),
                CLASSIFY_OTHER);
    }
  }
}

TEST_F(SteerTest, X03_LengthsTypesAndChecksums) {
  for (size_t payload = 0; payload <= 300; ++payload) {
    const Outcome expected = payload == 148 ? kSteered
                             : payload < 4  ? kOther
                                            : Outcome{XDP_DROP, STEER_COUNT_DROP_MALFORMED};
    EXPECT_EQ(Run(Make({.payload = payload})), expected) << payload;
  }
  for (size_t byte = 0; byte < 4; ++byte) {
    for (uint32_t value = 0; value < 256; ++value) {
      Bytes frame = Make({});
      uint8_t& at = frame[frame.size() - 148 + byte];
      const bool unchanged = at == value;
      const bool other = byte == 0 && (value == 2 || value == 3);  // types that are never so long
      at = static_cast<uint8_t>(value);
      ASSERT_EQ(Action(frame), uint32_t{unchanged ? XDP_REDIRECT : other ? XDP_DROP : XDP_PASS});
    }
  }
  for (bool v6 : {false, true}) {  // UDP length against IP length, both ways
    for (int delta : {-8, -1, 1, 8}) {
      Bytes frame = Make({.v6 = v6});
      frame[frame.size() - 148 - 3] = static_cast<uint8_t>(156 + delta);
      const Outcome outcome = Run(frame);
      EXPECT_EQ(outcome.action, delta < 0 ? uint32_t{XDP_DROP} : uint32_t{XDP_PASS});
      frame = Make({.v6 = v6});
      frame[v6 ? 19 : 17] = static_cast<uint8_t>(frame[v6 ? 19 : 17] + delta);
      EXPECT_EQ(Run(frame), delta < 0 || delta > 0 ? kOther : kSteered);
    }
    Bytes frame = Make({.v6 = v6});  // checksums are left to the kernel: any value passes through
    frame[frame.size() - 148 - 1] = 0xff;
    EXPECT_EQ(Run(frame), kSteered);
  }
}

TEST_F(SteerTest, X04_EveryHeaderLength) {
  for (uint8_t ihl = 5; ihl <= 15; ++ihl) EXPECT_EQ(Run(Make({.ihl = ihl})), kSteered) << int{ihl};
  for (uint32_t first = 0; first < 256; ++first) {  // every version and IHL, the rest unchanged
    Bytes frame = Make({});
    frame[14] = static_cast<uint8_t>(first);
    Agree(frame);
    ASSERT_EQ(Classify(frame) == CLASSIFY_INITIATION, first == 0x45) << first;
  }
}

TEST_F(SteerTest, X05_FragmentsPass) {
  for (uint32_t field = 0; field < 65536; ++field) {
    Bytes frame = Make({});
    frame[20] = static_cast<uint8_t>(field >> 8);
    frame[21] = static_cast<uint8_t>(field);
    Agree(frame);
    // The reserved bit and "don't fragment" do not make a fragment.
    ASSERT_EQ(Classify(frame) == CLASSIFY_INITIATION, (field & 0x3fff) == 0) << field;
  }
}

TEST_F(SteerTest, X06_ExtensionHeadersFromTheAllowListOnly) {
  const std::vector<uint8_t> allowed = {0, 43, 60};
  for (uint32_t header = 0; header < 256; ++header) {
    const auto value = static_cast<uint8_t>(header);
    const bool ok = std::find(allowed.begin(), allowed.end(), value) != allowed.end();
    const Bytes frame = Make({.v6 = true, .extensions = {value}});
    Agree(frame);
    // With 17 itself, the extension header is read as UDP, which it is not.
    ASSERT_EQ(Classify(frame) == CLASSIFY_INITIATION, ok) << header;
  }
  EXPECT_EQ(Run(Make({.v6 = true, .extensions = {0, 43, 60, 60}})), kSteered);
  EXPECT_EQ(Run(Make({.v6 = true, .extensions = {0, 43, 60, 60, 60}})), kOther);
  EXPECT_EQ(Run(Make({.v6 = true, .extensions = {60, 44}})), kOther) << "a fragment";
  Bytes segments_left = Make({.v6 = true, .extensions = {43}});
  segments_left[14 + 40 + 3] = 1;
  EXPECT_EQ(Run(segments_left), kOther) << "we are on the way, not the end";
  for (uint32_t length = 0; length < 256; ++length) {  // of the extension header
    Bytes frame = Make({.v6 = true, .extensions = {60}});
    frame[14 + 40 + 1] = static_cast<uint8_t>(length);
    Agree(frame);
  }
}

// Random damage: whatever happens to a frame, program and host agree.
TEST_F(SteerTest, ProgramAndHostAgreeOnDamagedFrames) {
  std::mt19937 random(5);
  for (int round = 0; round < 100'000; ++round) {
    Shape shape{.v6 = random() % 2 == 0};
    if (random() % 3 == 0) shape.tags.push_back(0x8100);
    if (shape.v6 && random() % 3 == 0) shape.extensions = {0};
    Bytes frame = Make(shape);
    const size_t headers = frame.size() - 148 + 4;
    for (auto i = random() % 3; i > 0; --i)
      frame[12 + random() % (headers - 12)] = static_cast<uint8_t>(random());
    if (random() % 4 == 0) frame.resize(14 + random() % (frame.size() - 13));
    classify_packet packet{};
    const auto result = classify(frame.data(), frame.data() + frame.size(), &packet);
    const uint32_t action = Action(frame);
    if (result == CLASSIFY_OTHER || packet.port != kPort) {
      ASSERT_EQ(action, uint32_t{XDP_PASS});
    } else if (action != XDP_PASS) {  // a damaged address may be that of another host
      ASSERT_EQ(action, Expected(result));
    }
  }
}

TEST_F(SteerTest, AForeignDestinationPasses) {
  Bytes frame = Make({});
  frame[30] = 198;  // 198.51.100.1 lies behind d0
  frame[31] = 51;
  frame[32] = 100;
  EXPECT_EQ(Run(frame), (Outcome{XDP_PASS, STEER_COUNT_PASS_FOREIGN}));
  // To 2000::1, also from ::1, from which nothing is forwarded.
  for (const uint8_t from : {uint8_t{0}, uint8_t{0x20}}) {
    frame = Make({.v6 = true});
    frame[14 + 8] = from;
    frame[14 + 24] = 0x20;
    EXPECT_EQ(Run(frame), (Outcome{XDP_PASS, STEER_COUNT_PASS_FOREIGN})) << int{from};
  }
}

TEST_F(SteerTest, OnlyTheSameQuestionIsNotAskedAgain) {
  constexpr Outcome kForeign{XDP_PASS, STEER_COUNT_PASS_FOREIGN};
  Bytes frame = Make({});
  frame[30] = 198;  // to 198.51.100.1
  frame[31] = 51;
  frame[32] = 100;
  classify_packet packet{};
  ASSERT_EQ(classify(frame.data(), frame.data() + frame.size(), &packet), CLASSIFY_INITIATION);
  steer_local kept{.until_ns = SteadyNanos() + 3'600'000'000'000,
                   .destination_be = {},
                   .ifindex = 1,
                   .port = kPort,
                   .version = 4};
  memcpy(kept.destination_be, packet.destination_be, sizeof(kept.destination_be));
  const auto remember = [&](const steer_local& local) {
    const std::vector<steer_local> on_cpus(static_cast<size_t>(libbpf_num_possible_cpus()), local);
    for (uint32_t place = 0; place < STEER_LOCALS; ++place) {
      Update(skeleton_->maps.steer_locals, &place, on_cpus.data());
    }
  };
  const auto with = [&](auto member, auto value) {
    steer_local other = kept;
    other.*member = value;
    remember(other);
    return Run(frame);
  };
  remember(kept);
  EXPECT_EQ(Run(frame), kSteered);
  EXPECT_EQ(with(&steer_local::until_ns, uint64_t{1}), kForeign);
  EXPECT_EQ(with(&steer_local::ifindex, 2u), kForeign);
  EXPECT_EQ(with(&steer_local::port, uint16_t{kPort + 1}), kForeign);
  EXPECT_EQ(with(&steer_local::version, uint16_t{6}), kForeign);
  remember(kept);
  frame[33] = 2;
  EXPECT_EQ(Run(frame), kForeign);
}

TEST_F(SteerTest, AnAddressThatLeavesIsForeignSoon) {
  constexpr Outcome kForeign{XDP_PASS, STEER_COUNT_PASS_FOREIGN};
  Bytes ours = Make({});
  ours[30] = 198;  // 198.51.100.1
  ours[31] = 51;
  ours[32] = 100;
  ASSERT_EQ(system("ip address add 198.51.100.1/32 dev lo"), 0);
  EXPECT_EQ(Run(ours), kSteered);
  ASSERT_EQ(system("ip address del 198.51.100.1/32 dev lo"), 0);
  absl::SleepFor(absl::Nanoseconds(STEER_LOCAL_NS));
  EXPECT_EQ(Run(ours), kForeign);
  ASSERT_EQ(system("ip address add 198.51.100.1/32 dev lo"), 0);
  EXPECT_EQ(Run(ours), kSteered) << "what is foreign is asked for each packet";
  ASSERT_EQ(system("ip address del 198.51.100.1/32 dev lo"), 0);
}

TEST_F(SteerTest, AnotherMacPasses) {
  Bytes frame = Make({});
  frame[5] = 9;
  EXPECT_EQ(Run(frame), (Outcome{XDP_PASS, STEER_COUNT_PASS_FOREIGN}));
}

TEST_F(SteerTest, NoStationSendsSuchFrames) {
  constexpr Outcome kMalformed{XDP_DROP, STEER_COUNT_DROP_MALFORMED};
  Bytes from_group = Make({});
  from_group[6] = 0xff;
  EXPECT_EQ(Run(from_group), kMalformed);
  // Behind more options than fit into a shard's frame. IPv6 options are eight bytes each here.
  Bytes frame = Make({.v6 = true, .extensions = {60}});
  const size_t more = 248;
  frame[14 + 41] = static_cast<uint8_t>(more / 8);  // in units of eight bytes, beyond the first
  frame.insert(frame.begin() + 14 + 48, more, 0);
  const size_t left = frame.size() - 14 - 40;
  frame[14 + 4] = static_cast<uint8_t>(left >> 8);
  frame[14 + 5] = static_cast<uint8_t>(left);
  EXPECT_EQ(Run(frame), kSteered) << frame.size();
  frame = Make({.v6 = true, .extensions = {60, 60}});
  for (size_t option : {14 + 41, 14 + 49}) frame[option] = 20;
  frame.insert(frame.begin() + 14 + 56, 160, 0);
  frame.insert(frame.begin() + 14 + 48, 160, 0);
  const size_t payload = frame.size() - 14 - 40;
  frame[14 + 4] = static_cast<uint8_t>(payload >> 8);
  frame[14 + 5] = static_cast<uint8_t>(payload);
  ASSERT_GT(frame.size(), size_t{STEER_FRAME_MAX});
  EXPECT_EQ(Run(frame), kMalformed);
}

TEST_F(SteerTest, KnownFlowsPassAndTheirRetriesAreSteered) {
  const Bytes frame = Make({.source_port = 4242});
  EXPECT_EQ(Run(frame), kSteered);
  EXPECT_EQ(Run(frame), kSteered) << "steering alone makes no flow known";
  const steer_flow flow = FlowOf(4242);
  steer_flow_state state{};
  Update(skeleton_->maps.steer_flows, &flow, &state);
  EXPECT_EQ(Run(frame), (Outcome{XDP_PASS, STEER_COUNT_PASS_FLOW}));
  EXPECT_EQ(Run(frame), (Outcome{XDP_REDIRECT, STEER_COUNT_STEER_RETRY}));
  EXPECT_EQ(Run(Make({.source_port = 4243})), kSteered) << "another source port";
  state.last_initiation_ns = SteadyNanos() - STEER_RETRY_NS - 1'000'000'000;
  Update(skeleton_->maps.steer_flows, &flow, &state);
  EXPECT_EQ(Run(frame), (Outcome{XDP_PASS, STEER_COUNT_PASS_FLOW})) << "a rekey, long after";
  state.forgotten = 1;
  Update(skeleton_->maps.steer_flows, &flow, &state);
  EXPECT_EQ(Run(frame), kSteered) << "its peer has left";
}

TEST_F(SteerTest, X22_AStaleHeartbeatPassesEverything) {
  shard_->beat_ns = SteadyNanos() - STEER_STALE_NS - 100'000'000;
  EXPECT_EQ(Run(Make({})), (Outcome{XDP_PASS, STEER_COUNT_PASS_STALE}));
  EXPECT_EQ(Run(Make({.payload = 100})), (Outcome{XDP_PASS, STEER_COUNT_PASS_STALE}));
  shard_->beat_ns = SteadyNanos();
  EXPECT_EQ(Run(Make({})), kSteered);
}

TEST_F(SteerTest, X09_X21_NoSocketNoNicNoQueuePasses) {
  const Outcome unbound{XDP_PASS, STEER_COUNT_PASS_UNBOUND};
  const uint32_t slot = 0, lo = 1;
  Delete(skeleton_->maps.steer_sockets, slot);
  EXPECT_EQ(Run(Make({})), unbound);
  Update(skeleton_->maps.steer_sockets, &slot, &socket_);
  steer_nic nic{0, 0, {2, 2, 2, 2, 2, 2}, 0, 0};
  Update(skeleton_->maps.steer_nics, &lo, &nic);
  EXPECT_EQ(Run(Make({})), unbound);
  nic = {STEER_SLOTS_MAX, 1, {2, 2, 2, 2, 2, 2}, 0, 0};  // a slot outside every map
  Update(skeleton_->maps.steer_nics, &lo, &nic);
  EXPECT_EQ(Run(Make({})), unbound);
  Delete(skeleton_->maps.steer_nics, lo);
  EXPECT_EQ(Run(Make({})), unbound);
}

// X32: a full map has the effect that steer_abi.h states.
TEST_F(SteerTest, X32_FullMaps) {
  steer_flow flow{};
  const steer_flow_state state{};
  const int flows = bpf_map__fd(skeleton_->maps.steer_flows);
  for (uint32_t i = 0; i < STEER_FLOWS_MAX + 5000; ++i) {
    memcpy(flow.address_be, &i, sizeof(i));
    ASSERT_EQ(bpf_map_update_elem(flows, &flow, &state, BPF_ANY), 0) << "an LRU is never full";
  }
  EXPECT_EQ(Run(Make({})), kSteered);
  int error = 0;
  for (uint16_t port = 1; port <= STEER_SERVICES_MAX && error == 0; ++port) {
    const steer_service service{port};
    const steer_device device{};
    error =
        bpf_map_update_elem(bpf_map__fd(skeleton_->maps.steer_served), &service, &device, BPF_ANY);
  }
  EXPECT_NE(error, 0) << "a full table of ports must be refused, not forgotten";
  EXPECT_EQ(errno, E2BIG);
  EXPECT_EQ(Run(Make({})), kSteered);
}

TEST_F(SteerTest, EveryCounterHasItsName) {
  xsk::SteerCounters counters{};
  for (size_t i = 0; i < counters.size(); ++i) counters[i] = i + 1;
  const auto named = xsk::NamedCounters(counters);
  EXPECT_EQ(named.size(), size_t{STEER_COUNT_MAX});
  EXPECT_EQ(named.at("steer_retry"), size_t{STEER_COUNT_STEER_RETRY} + 1);
}

// The program acts by the second column of STEER_COUNTS; a reader goes by the name.
TEST(SteerCountsTest, EachIsNamedByItsAction) {
  constexpr std::tuple<uint32_t, std::string_view> kCounts[] = {
#define WICKET_STEER_ACTION(name, action, text, help) {XDP_##action, text},
      STEER_COUNTS(WICKET_STEER_ACTION)
#undef WICKET_STEER_ACTION
  };
  for (const auto& [action, text] : kCounts) {
    EXPECT_EQ(action == XDP_PASS, text.starts_with("pass_")) << text;
    EXPECT_EQ(action == XDP_DROP, text.starts_with("drop_")) << text;
    EXPECT_EQ(action == XDP_TX, text.starts_with("tx_")) << text;
    EXPECT_EQ(action == XDP_REDIRECT, text.starts_with("steer_")) << text;
  }
}

// --- responses and cookie replies ----------------------------------------------

constexpr Outcome kAnswer{XDP_PASS, STEER_COUNT_PASS_ANSWER};
constexpr Outcome kTooManyAnswers{XDP_DROP, STEER_COUNT_DROP_ANSWER};

class SteerAnswersTest : public SteerTest {
 protected:
  // A response with a right mac1.
  Bytes MakeResponse(Shape shape) {
    shape.payload = sizeof(wire::Response);
    Bytes frame = Make(shape);
    wire::Response* message = ResponseIn(&frame);
    message->type[0] = 2;
    ++sealed_;
    memcpy(message->ephemeral.data(), &sealed_, sizeof(sealed_));
    message->mac1 = crypto::MacOf(mac1_key_, wire::BytesBefore(*message, message->mac1));
    return frame;
  }
  static wire::Response* ResponseIn(Bytes* frame) {
    return reinterpret_cast<wire::Response*>(frame->data() + frame->size() -
                                             sizeof(wire::Response));
  }
  static Bytes MakeCookieReply(Shape shape) {
    shape.payload = sizeof(wire::CookieReply);
    Bytes frame = Make(shape);
    frame[frame.size() - shape.payload - shape.padding] = 3;
    return frame;
  }
  // Spends what the slot lets pass from anywhere for the next minute.
  void SpendTurns() { SetTurns(SteadyNanos() + 60'000'000'000); }
  void SetTurns(uint64_t ns) { shard_->response_turn_ns = shard_->cookie_reply_turn_ns = ns; }
};

TEST_F(SteerAnswersTest, TheirMac1AndLengthAreLookedAt) {
  for (bool v6 : {false, true}) {
    SetTurns(0);
    EXPECT_EQ(RunAsIs(MakeResponse({.tags = {0x8100}, .v6 = v6})), kAnswer);
    EXPECT_EQ(RunAsIs(MakeCookieReply({.v6 = v6, .padding = 3})), kAnswer);
    for (size_t bit = 0; bit < sizeof(wire::Response) * 8; ++bit) {
      SetTurns(0);
      Bytes frame = MakeResponse({.v6 = v6});
      frame[frame.size() - sizeof(wire::Response) + bit / 8] ^= static_cast<uint8_t>(1 << bit % 8);
      const Outcome expected = bit == 0 ? Outcome{XDP_DROP, STEER_COUNT_DROP_MALFORMED}  // type 3
                               : bit < 4 * 8  ? kOther
                               : bit < 76 * 8 ? Outcome{XDP_DROP, STEER_COUNT_DROP_MAC1}
                                              : kAnswer;  // only the device can check its mac2
      ASSERT_EQ(RunAsIs(frame), expected) << "bit " << bit;
    }
  }
  for (size_t bytes = 4; bytes < 160; ++bytes) {
    for (uint8_t type : {uint8_t{2}, uint8_t{3}}) {
      if (bytes == (type == 2 ? sizeof(wire::Response) : sizeof(wire::CookieReply))) continue;
      Bytes frame = Make({.payload = bytes});
      frame[frame.size() - bytes] = type;
      ASSERT_EQ(RunAsIs(frame), (Outcome{XDP_DROP, STEER_COUNT_DROP_MALFORMED})) << bytes;
    }
  }
}

TEST_F(SteerAnswersTest, Mac1AgreesWithTheHostOnRandomPackets) {
  std::mt19937_64 random(14);
  for (int round = 0; round < 200'000; ++round) {
    SetTurns(0);
    Bytes frame = MakeResponse({.v6 = random() % 2 == 0});
    wire::Response* message = ResponseIn(&frame);
    for (size_t i = 4; i + 8 <= sizeof(*message); i += 8) {
      const uint64_t word = random();
      memcpy(reinterpret_cast<uint8_t*>(message) + i, &word, 8);
    }
    const bool good = random() % 2 == 0;
    if (good) message->mac1 = crypto::MacOf(mac1_key_, wire::BytesBefore(*message, message->mac1));
    ASSERT_EQ(RunAsIs(frame), good ? kAnswer : (Outcome{XDP_DROP, STEER_COUNT_DROP_MAC1})) << round;
  }
}

TEST_F(SteerAnswersTest, SoManyOfASlotPassAndAFewMoreOfEachKnownSource) {
  int passed = 0;
  const uint64_t began_ns = SteadyNanos();
  for (int i = 0; i < 5000; ++i) {
    passed += RunAsIs(i % 2 ? MakeResponse({}) : MakeCookieReply({})) == kAnswer;
  }
  const auto due = static_cast<int>((SteadyNanos() - began_ns) / STEER_ANSWER_INTERVAL_NS) + 1;
  constexpr int kBurst = STEER_ANSWER_BURST + STEER_ANSWER_QUEUE_BURST;
  EXPECT_GE(passed, 2 * kBurst);
  EXPECT_LE(passed, 2 * (kBurst + due));  // of each type
  SpendTurns();
  shard_->response_turn_ns = 0;
  EXPECT_EQ(RunAsIs(MakeCookieReply({})), kTooManyAnswers);
  EXPECT_EQ(RunAsIs(MakeResponse({})), kAnswer)
      << "cookie replies, which anybody can make, do not count";

  const steer_flow flow = FlowOf(4242);
  steer_flow_state state{};
  Update(skeleton_->maps.steer_flows, &flow, &state);
  SpendTurns();
  EXPECT_EQ(RunAsIs(MakeResponse({.source_port = 4243})), kTooManyAnswers) << "of nobody";
  EXPECT_EQ(RunAsIs(MakeCookieReply({.source_port = 4242})), kAnswer);
  for (int more = 1; more < STEER_SOURCE_BURST; ++more) {
    EXPECT_EQ(RunAsIs(MakeResponse({.source_port = 4242})), kAnswer);
  }
  EXPECT_EQ(RunAsIs(MakeResponse({.source_port = 4242})), kTooManyAnswers);
  shard_->known_answer_turn_ns = SteadyNanos() + 60'000'000'000;
  steer_flow other = FlowOf(4242);
  other.address_be[15] = 8;
  Update(skeleton_->maps.steer_flows, &other, &state);
  Bytes from_other = MakeResponse({.source_port = 4242});
  from_other[14 + 15] = 8;
  EXPECT_EQ(RunAsIs(from_other), kTooManyAnswers) << "the limit of all known flows together";
  shard_->known_answer_turn_ns = 0;
  EXPECT_EQ(RunAsIs(from_other), kAnswer);
  EXPECT_EQ(bpf_map_lookup_elem(bpf_map__fd(skeleton_->maps.steer_flows), &flow, &state), 0);
  EXPECT_EQ(state.last_initiation_ns, 0u) << "an answer is no initiation";
}

// The queues share the rate of a NIC. One queue's share of the burst may be less than one packet.
TEST_F(SteerAnswersTest, EachQueuePassesABurstHoweverManyThereAre) {
  for (uint32_t queues = 1; queues <= STEER_SLOTS_MAX; ++queues) {
    const uint64_t interval_ns = STEER_ANSWER_INTERVAL_NS * queues;
    const uint64_t burst = steer_answer_window_ns(queues) / interval_ns + 1;
    ASSERT_EQ(burst, STEER_ANSWER_BURST / queues + STEER_ANSWER_QUEUE_BURST) << queues;
    const uint32_t lo = 1;
    const steer_nic nic{0, queues, {2, 2, 2, 2, 2, 2}, 0, 0};
    Update(skeleton_->maps.steer_nics, &lo, &nic);
    SetTurns(0);
    uint64_t passed = 0;
    const uint64_t began_ns = SteadyNanos();
    for (int i = 0; i < 64; ++i) {
      passed += ActionAsIs(MakeResponse({})) == XDP_PASS;
    }
    const uint64_t due = (SteadyNanos() - began_ns) / interval_ns + 1;
    EXPECT_GE(passed, burst) << queues;
    EXPECT_LE(passed, burst + due) << queues;
  }
}

TEST_F(SteerAnswersTest, TheyPassWhereNobodyGuards) {
  SpendTurns();
  EXPECT_EQ(RunAsIs(MakeResponse({})), kTooManyAnswers);
  EXPECT_EQ(RunAsIs(MakeResponse({.port = kPort + 1})), kOther);
  shard_->beat_ns = SteadyNanos() - STEER_STALE_NS - 100'000'000;
  EXPECT_EQ(RunAsIs(MakeResponse({})), (Outcome{XDP_PASS, STEER_COUNT_PASS_STALE}));
}

// --- forgeries and repeats ----------------------------------------------------

constexpr Outcome kBadMac1{XDP_DROP, STEER_COUNT_DROP_MAC1};
constexpr Outcome kRepeat{XDP_DROP, STEER_COUNT_DROP_REPEAT};

TEST_F(SteerTest, EverySingleBitOfAnInitiationCounts) {
  for (bool v6 : {false, true}) {
    for (size_t bit = 0; bit < 148 * 8; ++bit) {
      Bytes frame = Seal(Make({.v6 = v6}));
      const size_t message = frame.size() - 148;
      frame[message + bit / 8] ^= static_cast<uint8_t>(1 << bit % 8);
      const Outcome expected = bit == 1 ? Outcome{XDP_DROP, STEER_COUNT_DROP_MALFORMED}  // type 3
                               : bit < 4 * 8   ? kOther
                               : bit < 132 * 8 ? kBadMac1
                                               : kSteered;  // mac2 is checked only under load
      ASSERT_EQ(RunAsIs(frame), expected) << "bit " << bit;
    }
  }
}

TEST_F(SteerTest, Mac1AgreesWithTheHostOnRandomPackets) {
  std::mt19937_64 random(11);
  for (int round = 0; round < Packets(); ++round) {
    Bytes frame = Make({.v6 = random() % 2 == 0, .source_port = static_cast<uint16_t>(random())});
    wire::Initiation* message = MessageIn(&frame);
    for (size_t i = 4; i < sizeof(*message); i += 8) {
      const uint64_t word = random();
      memcpy(reinterpret_cast<uint8_t*>(message) + i, &word,
             std::min<size_t>(8, sizeof(*message) - i));
    }
    const bool good = random() % 2 == 0;
    if (good) message->mac1 = crypto::MacOf(mac1_key_, wire::BytesBefore(*message, message->mac1));
    ASSERT_EQ(ActionAsIs(frame), good ? uint32_t{XDP_REDIRECT} : uint32_t{XDP_DROP}) << round;
  }
}

TEST_F(SteerTest, AKeyChangesBetweenTwoPackets) {
  const crypto::Hash next = noise::Mac1Key({{9, 9, 9}});
  const Bytes before = Seal(Make({}));
  EXPECT_EQ(RunAsIs(before), kSteered);
  const steer_service service{kPort};
  const steer_device device = DeviceOf(next);
  Update(skeleton_->maps.steer_served, &service, &device);
  EXPECT_EQ(Run(Make({})), kBadMac1) << "of the old key";
  Bytes after = Make({});
  wire::Initiation* message = MessageIn(&after);
  message->mac1 = crypto::MacOf(next, wire::BytesBefore(*message, message->mac1));
  EXPECT_EQ(RunAsIs(after), kSteered);
}

TEST_F(SteerTest, AnExactRepeatIsDroppedWhateverItsSource) {
  const Bytes frame = Seal(Make({}));
  EXPECT_EQ(RunAsIs(frame), kSteered);
  EXPECT_EQ(RunAsIs(frame), kRepeat);
  Bytes moved = frame;
  moved[14 + 15] = 77;  // 127.0.0.77
  moved[34] = 9;        // another port
  EXPECT_EQ(RunAsIs(moved), kRepeat);
  Bytes with_mac2 = frame;
  with_mac2.back() = 1;  // not covered by mac1
  EXPECT_EQ(RunAsIs(with_mac2), kRepeat);
  EXPECT_EQ(Run(Make({})), kSteered);
  // A packet that repeats again and again stays, whatever comes in between.
  for (int i = 0; i < STEER_REPEATS_SETS * STEER_REPEATS_WAYS; ++i) {
    ASSERT_EQ(Action(Make({})), uint32_t{XDP_REDIRECT});
    if (i % 1024 == 0) {
      ASSERT_EQ(RunAsIs(frame), kRepeat);
    }
  }
  // A packet that was not repeated makes room for others: its repeat is then proven once more.
  const Bytes once = Seal(Make({}));
  EXPECT_EQ(RunAsIs(once), kSteered);
  for (int i = 0; i < 6 * STEER_REPEATS_SETS * STEER_REPEATS_WAYS; ++i) {
    ASSERT_EQ(Action(Make({})), uint32_t{XDP_REDIRECT});
  }
  EXPECT_EQ(RunAsIs(once), kSteered);
  EXPECT_EQ(RunAsIs(once), kRepeat);
}

// --- under load -----------------------------------------------------------------

class SteerUnderLoadTest : public SteerTest {
 protected:
  void SetUp() override {
    SteerTest::SetUp();
    shard_->load_until_ns = SteadyNanos() + 3'600'000'000'000ULL;
    shard_->cookie_interval_ns = STEER_COOKIE_INTERVAL_MIN_NS;
    crypto::FillRandom(older_.data(), older_.size());
    crypto::FillRandom(newer_.data(), newer_.size());
    SetSecret(0, older_, 1);
    SetSecret(1, newer_, 2);
  }
  void SetSecret(uint32_t which, const Secret<32>& secret, uint64_t born_ns) {
    steer_secret value{.born_ns = born_ns, .state = {}};
    AbsorbKey(secret.data(), value.state);
    Update(skeleton_->maps.steer_secrets, &which, &value);
  }
  // An initiation with the cookie that `secret` makes for its source.
  Bytes WithCookie(const Shape& shape, const Secret<32>& secret,
                   const std::vector<uint8_t>& address = {}, std::mt19937* random = nullptr) {
    Bytes frame = Make(shape);
    std::copy(address.begin(), address.end(), frame.begin() + (shape.v6 ? 22 : 26));
    for (size_t i = frame.size() - 144; random != nullptr && i < frame.size() - 32; ++i) {
      frame[i] = static_cast<uint8_t>((*random)());
    }
    frame = Seal(std::move(frame));
    wire::Frame found;
    EXPECT_TRUE(wire::ParseFrame(frame, &found));
    wire::Initiation* message = MessageIn(&frame);
    message->mac2 = noise::Mac2(noise::CookieSecrets(secret, secret).Make(found.source), *message);
    return frame;
  }

  Secret<32> older_, newer_;
};

constexpr Outcome kAsked{XDP_REDIRECT, STEER_COUNT_STEER_COOKIE};
constexpr Outcome kTooMany{XDP_DROP, STEER_COUNT_DROP_RATE};

TEST_F(SteerUnderLoadTest, OnlyTheCookieOfItsSourceLetsIn) {
  uint16_t port = 100;
  for (bool v6 : {false, true}) {
    EXPECT_EQ(Run(Make({.v6 = v6})), kAsked);
    EXPECT_EQ(RunAsIs(WithCookie({.v6 = v6, .source_port = ++port}, newer_)), kSteered);
    EXPECT_EQ(RunAsIs(WithCookie({.v6 = v6, .source_port = ++port}, older_)), kSteered);
    Bytes moved = WithCookie({.v6 = v6, .source_port = ++port}, newer_);
    ++moved[v6 ? 55 : 35];  // its source port
    EXPECT_EQ(RunAsIs(moved), kAsked);
    Bytes forged = WithCookie({.v6 = v6, .source_port = ++port}, newer_);
    forged.back() ^= 1;
    EXPECT_EQ(RunAsIs(forged), kAsked);
  }
  shard_->load_until_ns = 0;
  EXPECT_EQ(Run(Make({})), kSteered) << "the load is over";
}

TEST_F(SteerUnderLoadTest, ASecretIsAcceptedForOneMoreRotation) {
  EXPECT_EQ(RunAsIs(WithCookie({.source_port = 1}, newer_)), kSteered);
  Secret<32> next;
  crypto::FillRandom(next.data(), next.size());
  SetSecret(0, next, 3);
  EXPECT_EQ(RunAsIs(WithCookie({.source_port = 2}, next)), kSteered);
  EXPECT_EQ(RunAsIs(WithCookie({.source_port = 3}, newer_)), kSteered);
  EXPECT_EQ(RunAsIs(WithCookie({.source_port = 4}, older_)), kAsked);
}

TEST_F(SteerUnderLoadTest, Mac2AgreesWithTheHostOnRandomPackets) {
  std::mt19937 random(12);
  const noise::CookieSecrets secrets(newer_, older_);
  for (int round = 0; round < Packets(); ++round) {
    // A new source each time, from its own site, so that no bucket is empty.
    const auto byte = [&](int of) { return static_cast<uint8_t>(round >> 8 * of); };
    const bool v6 = round % 2;
    std::vector<uint8_t> address{127, byte(2), byte(1), byte(0)};
    if (v6) {
      address = {0x20, 1, byte(2), byte(1), byte(0), 0};
      while (address.size() < 16) address.push_back(static_cast<uint8_t>(random()));
    }
    Bytes frame = WithCookie({.v6 = v6, .source_port = static_cast<uint16_t>(random())},
                             random() % 2 ? newer_ : older_, address, &random);
    if (random() % 2)
      frame[frame.size() - 1 - random() % 16] ^= static_cast<uint8_t>(1 + random() % 255);
    wire::Frame found;
    ASSERT_TRUE(wire::ParseFrame(frame, &found));
    const bool good = secrets.Accept(found.source, *found.initiation);
    // There is a turn to ask the bad ones for a cookie, otherwise they are dropped.
    shard_->cookie_turn_ns = UINT64_MAX / 2;
    ASSERT_EQ(ActionAsIs(frame), good ? uint32_t{XDP_REDIRECT} : uint32_t{XDP_DROP}) << round;
  }
}

// The sequence of WireGuard's own self-test: 5 allowed, refused, after 50 ms allowed, refused,
// after 100 ms allowed twice, refused.
TEST_F(SteerUnderLoadTest, ASourceGetsTwentyASecondAndFiveAtOnce) {
  const auto run = [&](bool v6, uint8_t host) {
    static uint16_t port = 1;
    const auto address = v6 ? std::vector<uint8_t>{} : std::vector<uint8_t>{127, 0, 0, host};
    return RunAsIs(WithCookie({.v6 = v6, .source_port = ++port}, newer_, address));
  };
  // Time passes by changing the bucket: a real wait would be longer on a busy machine.
  const auto pass = [&](uint64_t ns, bool v6) {
    steer_source key{};
    key.prefix_be[14] = v6 ? 64 : 0;
    if (!v6) {
      key.prefix_be[10] = key.prefix_be[11] = 0xff;
      key.prefix_be[12] = 127;
      key.prefix_be[15] = 9;
    }
    uint64_t full_at = 0;
    ASSERT_EQ(bpf_map_lookup_elem(bpf_map__fd(skeleton_->maps.steer_buckets), &key, &full_at), 0);
    full_at -= ns;
    Update(skeleton_->maps.steer_buckets, &key, &full_at);
  };
  for (bool v6 : {false, true}) {
    for (int i = 0; i < 5; ++i) EXPECT_EQ(run(v6, 9), kSteered) << i;
    EXPECT_EQ(run(v6, 9), kTooMany);
    pass(50'000'000, v6);
    EXPECT_EQ(run(v6, 9), kSteered);
    EXPECT_EQ(run(v6, 9), kTooMany);
    pass(100'000'000, v6);
    EXPECT_EQ(run(v6, 9), kSteered);
    EXPECT_EQ(run(v6, 9), kSteered);
    EXPECT_EQ(run(v6, 9), kTooMany);
  }
  EXPECT_EQ(run(false, 10), kSteered) << "another address has its own";
}

TEST_F(SteerUnderLoadTest, AnIpv6PrefixOf64BitsSharesABucket) {
  uint16_t port = 1;
  const auto run = [&](uint8_t subnet, uint8_t host) {
    return RunAsIs(WithCookie({.v6 = true, .source_port = ++port}, newer_,
                              {0x20, 1, 0xd, 0xb8, 0, 0, 0, subnet, host, 0, 0, 0, 0, 0, 0, host}));
  };
  for (uint8_t host = 0; host < STEER_SOURCE_BURST; ++host) EXPECT_EQ(run(1, host), kSteered);
  EXPECT_EQ(run(1, 99), kTooMany);
  EXPECT_EQ(run(2, 99), kSteered) << "another customer";
  EXPECT_EQ(run(1, 98), kTooMany);
}

TEST_F(SteerUnderLoadTest, AnIpv6CustomerAndASiteMayAsMuchAsSoManySources) {
  const auto run = [&](uint8_t site, int subnet) {
    return RunAsIs(WithCookie({.v6 = true, .source_port = 7}, newer_,
                              {0x20, 1, 0xd, 0xb8, 0, site, static_cast<uint8_t>(subnet >> 8),
                               static_cast<uint8_t>(subnet), 0, 0, 0, 0, 0, 0, 0, 1}));
  };
  // Each /64 once: the /64s of one /56, then one /64 from each /56 of another site.
  for (const auto& [site, step, sources] :
       {std::tuple(1, 1, STEER_CUSTOMER_SOURCES), {2, 256, STEER_SITE_SOURCES}}) {
    const uint64_t interval_ns = STEER_SOURCE_INTERVAL_NS / static_cast<uint64_t>(sources);
    const uint64_t began_ns = SteadyNanos();
    uint64_t passed = 0;
    for (int i = 0; i < 256; ++i) passed += run(static_cast<uint8_t>(site), i * step) == kSteered;
    const uint64_t due = (SteadyNanos() - began_ns) / interval_ns + 1;
    const uint64_t at_once = STEER_SOURCE_WINDOW_NS / interval_ns + 1;
    EXPECT_GE(passed, at_once);
    EXPECT_LE(passed, at_once + due);
  }
  EXPECT_EQ(run(1, 256), kSteered) << "another customer of the first";
  EXPECT_EQ(run(3, 0), kSteered) << "another site";
}

TEST_F(SteerUnderLoadTest, NobodyIsAskedForACookieWhomNoAnswerReaches) {
  constexpr Outcome kDropped{XDP_DROP, STEER_COUNT_DROP_NO_COOKIE};
  const auto from = [&](bool v6, std::vector<uint8_t> address, uint16_t port = 7) {
    Bytes frame = Make({.v6 = v6, .source_port = port});
    std::copy(address.begin(), address.end(), frame.begin() + (v6 ? 22 : 26));
    return Run(frame);
  };
  for (uint8_t first : std::vector<uint8_t>{0, 224, 239}) {
    EXPECT_EQ(from(false, {first, 1, 2, 3}), kDropped) << int{first};
  }
  EXPECT_EQ(from(false, {255, 255, 255, 255}), kDropped);
  EXPECT_EQ(from(true, {0xff, 2}), kDropped);
  EXPECT_EQ(from(true, std::vector<uint8_t>(16)), kDropped);
  EXPECT_EQ(from(false, {198, 51, 100, 1}, 0), kDropped);
  EXPECT_EQ(from(true, {0x20, 1}, 0), kDropped);
  // Possible addresses are asked: private, documentation, and all that Linux accepts as a host.
  for (uint8_t first : std::vector<uint8_t>{1, 10, 127, 198, 223, 240}) {
    EXPECT_EQ(from(false, {first, 51, 100, 1}), kAsked) << int{first};
  }
  EXPECT_EQ(from(true, {0x20, 1}), kAsked);
  EXPECT_EQ(from(true, {0xfe, 0x80}), kAsked);
  shard_->load_until_ns = 0;
  EXPECT_EQ(from(false, {224, 1, 2, 3}), kSteered) << "not under load nobody is answered";
}

TEST_F(SteerUnderLoadTest, OnlySoManyAreAskedForACookie) {
  int asked = 0;
  const uint64_t began = SteadyNanos();
  for (int i = 0; i < 20'000; ++i) asked += Action(Make({})) == XDP_REDIRECT;
  const uint64_t took = SteadyNanos() - began;
  const auto turns = static_cast<int>(took / STEER_COOKIE_INTERVAL_MIN_NS);
  // The whole bucket at least; no more for sure: while this thread does not run, a full one
  // overflows.
  EXPECT_GE(asked, STEER_COOKIE_BURST);
  EXPECT_LE(asked, std::min(20'000, turns + STEER_COOKIE_BURST + 1));
  // One an hour, and none in advance: the configured share.
  shard_->cookie_interval_ns = 3'600'000'000'000ULL;
  shard_->cookie_turn_ns = 0;
  asked = 0;
  for (int i = 0; i < STEER_COOKIE_BURST; ++i) asked += Action(Make({})) == XDP_REDIRECT;
  EXPECT_EQ(asked, 1);
  EXPECT_EQ(Run(Make({})), (Outcome{XDP_DROP, STEER_COUNT_DROP_NO_COOKIE}));
}

TEST_F(SteerUnderLoadTest, KnownFlowsStillPass) {
  const steer_flow flow = FlowOf(4242);
  const steer_flow_state state{};
  Update(skeleton_->maps.steer_flows, &flow, &state);
  EXPECT_EQ(Run(Make({.source_port = 4242})), (Outcome{XDP_PASS, STEER_COUNT_PASS_FLOW}));
}

// A peer could have many flows noted, by sessions of its own, and fill the device's queue without
// cookies.
TEST_F(SteerUnderLoadTest, OnlySoManyRetriesOfKnownFlowsPassUnproven) {
  uint64_t passed = 0;
  const uint64_t began_ns = SteadyNanos();
  for (int i = 0; i < 2000; ++i) {
    Bytes frame = Seal(Make({.source_port = 4242}));
    frame[14 + 14] = static_cast<uint8_t>(1 + i / 250);  // 127.0.x.y
    frame[14 + 15] = static_cast<uint8_t>(i % 250);
    steer_flow flow = FlowOf(4242);
    flow.address_be[14] = frame[14 + 14];
    flow.address_be[15] = frame[14 + 15];
    const steer_flow_state state{.last_initiation_ns = SteadyNanos()};
    Update(skeleton_->maps.steer_flows, &flow, &state);
    MessageIn(&frame)->mac2.fill(7);
    const Outcome outcome = RunAsIs(frame);
    ASSERT_TRUE(outcome == kAsked || outcome == (Outcome{XDP_PASS, STEER_COUNT_PASS_FLOW}));
    passed += outcome.action == XDP_PASS;
  }
  const uint64_t due = (SteadyNanos() - began_ns) / STEER_RETRY_INTERVAL_NS + 1;
  EXPECT_GE(passed, uint64_t{STEER_RETRY_BURST});
  EXPECT_LE(passed, STEER_RETRY_BURST + due);
}

// Both the gateway and the device ask for cookies. A client answers one, then the other, and only
// the maker of a cookie can tell whether a mac2 is for it.
TEST_F(SteerUnderLoadTest, AnotherCookieOfAFlowThatTheDeviceKnowsMayBeTheDevices) {
  for (uint16_t port = 4242; port <= 4244; ++port) {
    const steer_flow flow = FlowOf(port);
    // It initiated moments ago, and got no answer; the peer of the last has left.
    const steer_flow_state state{.last_initiation_ns = SteadyNanos(), .forgotten = port == 4244};
    Update(skeleton_->maps.steer_flows, &flow, &state);
  }
  const auto with_a_cookie_of = [&](uint16_t port, uint8_t whose) {
    Bytes frame = Seal(Make({.source_port = port}));
    MessageIn(&frame)->mac2.fill(whose);
    return RunAsIs(frame);
  };
  constexpr Outcome kPassed{XDP_PASS, STEER_COUNT_PASS_FLOW};
  EXPECT_EQ(with_a_cookie_of(4242, 7), kPassed);
  EXPECT_EQ(Run(Make({.source_port = 4242})), kAsked) << "no cookie at all";
  EXPECT_EQ(with_a_cookie_of(4240, 7), kAsked) << "a flow that nobody knows";
  EXPECT_EQ(with_a_cookie_of(4244, 7), kAsked) << "its peer has left";
  EXPECT_EQ(RunAsIs(WithCookie({.source_port = 4243}, newer_)), kSteered) << "a cookie of ours";
  for (int more = 0; more < STEER_SOURCE_BURST - 1; ++more) {
    EXPECT_EQ(with_a_cookie_of(4242, 8), kPassed);
  }
  EXPECT_EQ(with_a_cookie_of(4242, 9), kAsked) << "the limit of an address";
  // Anybody can send such packets from anywhere; a source that returned a cookie has a bucket of
  // its own.
  EXPECT_EQ(RunAsIs(WithCookie({.source_port = 99}, newer_)), kSteered);
}

// --- cookie replies from the program itself ----------------------------------------

class SteerTxCookieTest : public SteerUnderLoadTest {
 protected:
  void SetUp() override {
    SteerUnderLoadTest::SetUp();
    SetCookiesByTx(1);
  }
  void SetCookiesByTx(uint8_t cookies_by_tx) {
    const uint32_t lo = 1;
    const steer_nic nic{0, 1, {2, 2, 2, 2, 2, 2}, cookies_by_tx, 0};
    Update(skeleton_->maps.steer_nics, &lo, &nic);
  }
  // Returns: the message in the reply to `initiation`. The rest must equal the shard's reply.
  wire::CookieReply CheckReply(const Bytes& initiation, const Bytes& reply) {
    wire::CookieReply message{};
    wire::Frame found;
    EXPECT_TRUE(wire::ParseFrame(initiation, &found));
    if (reply.size() < sizeof(message)) return message;
    memcpy(&message, &reply[reply.size() - sizeof(message)], sizeof(message));
    Bytes expected = initiation;
    expected.resize(intake::WriteCookieReply(expected, found, message));
    EXPECT_EQ(reply, expected);
    EXPECT_LE(reply.size() + 84, initiation.size());
    EXPECT_EQ(message.type, (std::array<uint8_t, 4>{3, 0, 0, 0}));
    EXPECT_EQ(message.receiver_index, found.initiation->sender_index);
    return message;
  }
  // Returns: `initiation` as its sender retries it after it opened the reply.
  Bytes WithCookieOf(const wire::CookieReply& reply, Bytes initiation) {
    wire::Initiation* message = MessageIn(&initiation);
    const auto cookie = noise::OpenCookie(cookie_key_, message->mac1, reply);
    EXPECT_TRUE(cookie.has_value());
    initiation = Seal(std::move(initiation));
    message = MessageIn(&initiation);
    message->mac2 = noise::Mac2(cookie.value_or(noise::Cookie{}), *message);
    return initiation;
  }
};

constexpr Outcome kAnswered{XDP_TX, STEER_COUNT_TX_COOKIE};

// The ones' complement sum over the given bytes, 0xffff when a right checksum is included.
uint32_t Sum(const Bytes& bytes, size_t from, size_t to, uint32_t sum) {
  for (size_t i = from; i < to; ++i) sum += uint32_t{bytes[i]} << ((i - from) % 2 ? 0 : 8);
  while (sum >> 16) sum = (sum & 0xffff) + (sum >> 16);
  return sum;
}

TEST_F(SteerTxCookieTest, TheReplyGoesBackAndItsCookieLetsIn) {
  std::mt19937 random(14);
  for (const auto& tags :
       {std::vector<uint16_t>{}, {0x8100}, {0x88a8}, {0x88a8, 0x8100}, {0x8100, 0x8100}}) {
    for (bool v6 : {false, true}) {
      for (size_t padding : {0, 1, 20, 200}) {
        Bytes frame = Make({.tags = tags,
                            .v6 = v6,
                            .source_port = static_cast<uint16_t>(random() | 1),
                            .padding = padding});
        frame[6] = 0x52;  // a sender other than ourselves
        frame[9] = 0x77;
        const size_t ip = 14 + 4 * tags.size();
        if (!v6) frame[ip + 15] = static_cast<uint8_t>(random());  // each has its own bucket
        frame[ip + (v6 ? 7 : 8)] = 3;                              // hops left
        MessageIn(&frame)->sender_index = {9, 8, 7, static_cast<uint8_t>(padding)};
        frame = Seal(std::move(frame));
        Bytes reply;
        ASSERT_EQ(RunAsIs(frame, &reply), kAnswered);
        const wire::CookieReply message = CheckReply(frame, reply);
        const size_t udp = ip + (v6 ? 40 : 20);
        ASSERT_EQ(reply.size(), udp + 8 + sizeof(message));
        EXPECT_EQ(v6 ? 0xffffu : Sum(reply, ip, udp, 0), 0xffffu);
        EXPECT_EQ(Sum(reply, ip + (v6 ? 8 : 12), reply.size(), 17 + 72), 0xffffu);
        if (v6 && padding > 0) continue;  // the same /64, so the same bucket
        EXPECT_EQ(RunAsIs(WithCookieOf(message, frame)), kSteered);
      }
    }
  }
}

TEST_F(SteerTxCookieTest, RepliesOpenAndNoNonceComesTwice) {
  std::set<std::array<uint8_t, 24>> nonces;
  std::mt19937 random(15);
  for (int round = 0; round < 100'000; ++round) {
    Bytes frame =
        Make({.v6 = random() % 2 == 0, .source_port = static_cast<uint16_t>(random() | 1)});
    wire::Frame found;
    frame = Seal(std::move(frame));
    ASSERT_TRUE(wire::ParseFrame(frame, &found));
    shard_->cookie_turn_ns = 0;
    Bytes reply;
    ASSERT_EQ(ActionAsIs(frame, &reply), uint32_t{XDP_TX});
    const wire::CookieReply message = CheckReply(frame, reply);
    ASSERT_EQ(noise::OpenCookie(cookie_key_, found.initiation->mac1, message),
              noise::CookieSecrets(newer_, older_).Make(found.source));
    ASSERT_TRUE(nonces.insert(message.nonce).second) << round;
  }
  const steer_service service{kPort};
  const steer_device device = DeviceOf(mac1_key_);  // as after a restart
  Update(skeleton_->maps.steer_served, &service, &device);
  Bytes reply;
  const Bytes frame = Seal(Make({}));
  ASSERT_EQ(RunAsIs(frame, &reply), kAnswered);
  const auto nonce = CheckReply(frame, reply).nonce;
  EXPECT_FALSE(std::equal(nonce.begin(), nonce.begin() + 16, nonces.begin()->begin()));
}

TEST_F(SteerTxCookieTest, WhatItCannotAnswerTakesTheRing) {
  const auto unchanged = [&](const Shape& shape) {
    const Bytes frame = Seal(Make(shape));
    Bytes left;
    EXPECT_EQ(RunAsIs(frame, &left), kAsked);
    EXPECT_EQ(left, frame);
  };
  for (uint8_t ihl = 6; ihl <= 15; ++ihl) unchanged({.ihl = ihl});
  for (uint8_t extension : std::vector<uint8_t>{0, 43, 60})
    unchanged({.v6 = true, .extensions = {extension}});
  SetCookiesByTx(0);
  unchanged({});
  SetCookiesByTx(1);
  SetSecret(0, older_, 0);
  SetSecret(1, newer_, 0);
  unchanged({.v6 = true});
}

TEST_F(SteerTxCookieTest, OnlySoManyAreAnswered) {
  int answered = 0;
  const uint64_t began = SteadyNanos();
  for (int i = 0; i < 20'000; ++i) answered += Action(Make({})) == XDP_TX;
  const uint64_t took = SteadyNanos() - began;
  const auto turns = static_cast<int>(took / STEER_COOKIE_INTERVAL_MIN_NS);
  EXPECT_GE(answered, STEER_COOKIE_BURST);  // more, unless the machine stood still
  EXPECT_LE(answered, std::min(20'000, turns + STEER_COOKIE_BURST + 1));
  EXPECT_EQ(shard_->cookies_sent, static_cast<uint64_t>(answered)) << "the shard must know";
  shard_->cookie_turn_ns = SteadyNanos() + 3'600'000'000'000ULL;
  const Bytes frame = Seal(Make({}));
  Bytes left;
  EXPECT_EQ(RunAsIs(frame, &left), (Outcome{XDP_DROP, STEER_COUNT_DROP_NO_COOKIE}));
  EXPECT_EQ(left, frame);
  shard_->load_until_ns = 0;
  EXPECT_EQ(Run(Make({})), kSteered) << "the load is over";
}

// The number of instructions that the verifier processes grows with each branch, and its limit is a
// million. Recorded per kernel; more than a tenth above needs a reason, and a new record.
TEST_F(SteerTest, TheVerifierHasNotMuchMoreToReadThanBefore) {
  constexpr std::pair<const char*, uint32_t> kRecorded[] = {
      {"6.1.", 25'472}, {"6.12.", 20'458}, {"6.18.", 20'899}};
  utsname kernel{};
  ASSERT_EQ(uname(&kernel), 0);
  uint32_t recorded = 25'472;  // for other kernels: the largest known
  for (const auto& [release, instructions] : kRecorded) {
    if (std::string_view(kernel.release).starts_with(release)) recorded = instructions;
  }
  bpf_prog_info info{};
  uint32_t length = sizeof(info);
  ASSERT_EQ(bpf_obj_get_info_by_fd(bpf_program__fd(skeleton_->progs.steer), &info, &length), 0);
  printf("%u instructions\n", info.verified_insns);
  EXPECT_GT(info.verified_insns, recorded / 2);
  EXPECT_LE(info.verified_insns, recorded + recorded / 10);
}

}  // namespace
}  // namespace wicket
