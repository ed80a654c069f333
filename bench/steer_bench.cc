// The XDP program by verdict, measured by the kernel's own clock (BPF_PROG_TEST_RUN). Without root
// these report an error, and the others run.
#include <benchmark/benchmark.h>
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <unistd.h>

#include <memory>
#include <vector>

#include "base/clock.h"
#include "noise/cookie.h"
#include "wire/messages.h"
#include "xdp/blake2s.h"
#include "xdp/reinject.skel.h"
#include "xdp/steer.skel.h"
#include "xdp/steer_abi.h"
#include "xsk/socket.h"
#include "xsk/steering.h"

namespace wicket {
namespace {

constexpr uint32_t kRepeat = 200'000;

std::vector<uint8_t> Udp(uint16_t port, size_t payload) {
  std::vector<uint8_t> frame(14 + 20 + 8 + payload);
  frame[12] = 0x08;
  frame[14] = 0x45;
  const size_t total = 20 + 8 + payload;
  frame[16] = static_cast<uint8_t>(total >> 8);
  frame[17] = static_cast<uint8_t>(total);
  frame[23] = 17;
  frame[26] = frame[30] = 127;
  frame[29] = frame[33] = 1;
  frame[34] = 0x10;  // from port 4096: a sender at port 0 gets no cookie
  frame[36] = static_cast<uint8_t>(port >> 8);
  frame[37] = static_cast<uint8_t>(port);
  frame[38] = static_cast<uint8_t>((8 + payload) >> 8);
  frame[39] = static_cast<uint8_t>(8 + payload);
  frame[42] = 4;  // a data message
  return frame;
}

// An initiation from 127.x.y.z with a right mac1, and a mac2 for its source.
std::vector<uint8_t> Initiation(uint32_t number, const crypto::Hash& mac1_key,
                                const noise::CookieSecrets& secrets) {
  std::vector<uint8_t> frame = Udp(51820, sizeof(wire::Initiation));
  frame[27] = static_cast<uint8_t>(number >> 16);
  frame[28] = static_cast<uint8_t>(number >> 8);
  frame[29] = static_cast<uint8_t>(number);
  auto* message = reinterpret_cast<wire::Initiation*>(&frame[42]);
  message->type = {1, 0, 0, 0};
  memcpy(message->ephemeral.data(), &number, sizeof(number));
  message->mac1 = crypto::MacOf(mac1_key, wire::BytesBefore(*message, message->mac1));
  wire::Frame found;
  if (wire::ParseFrame(frame, &found)) {
    message->mac2 = noise::Mac2(secrets.Make(found.source), *message);
  }
  return frame;
}

double NanosPerRun(int program, const std::vector<uint8_t>& frame) {
  LIBBPF_OPTS(bpf_test_run_opts, options, .data_in = frame.data(),
              .data_size_in = static_cast<uint32_t>(frame.size()), .repeat = kRepeat);
  return bpf_prog_test_run_opts(program, &options) == 0 ? options.duration : -1;
}

void Run(benchmark::State& state, const std::vector<uint8_t>& frame) {
  libbpf_set_print(nullptr);
  steer_bpf* skeleton = steer_bpf__open_and_load();
  if (skeleton == nullptr) return state.SkipWithError("loading BPF programs needs root");
  const steer_service service{51820};
  const steer_device device{};
  bpf_map_update_elem(bpf_map__fd(skeleton->maps.steer_served), &service, &device, BPF_ANY);
  for (auto _ : state) {
    state.SetIterationTime(NanosPerRun(bpf_program__fd(skeleton->progs.steer), frame) * 1e-9);
  }
  steer_bpf__destroy(skeleton);
}

// The program in the state of a gateway's: lo is its NIC, with a socket, and the shard is under
// load.
class Served {
 public:
  explicit Served(bool cookies_by_tx = false, bool rotated = false) {
    libbpf_set_print(nullptr);
    skeleton_ = steer_bpf__open_and_load();
    auto socket = xsk::Socket::Open({.nic = "lo", .queue = 0, .force_copy = true});
    if (skeleton_ == nullptr || !socket.ok()) return;
    socket_ = std::move(*socket);
    const uint32_t lo = 1, slot = 0;
    const int fd = socket_->fd();
    const steer_service service{51820};
    const steer_device device = xsk::DeviceOf({.mac1_key = mac1_key_, .cookie_key = mac1_key_});
    const steer_nic nic{0, 1, {}, cookies_by_tx, 0};
    // The older secret, which makes the cookies behind the frames' mac2, and its successor.
    steer_secret secret{.born_ns = 1, .state = {}}, newer{.born_ns = 2, .state = {}};
    AbsorbKey(secret_.data(), secret.state);
    Secret<32> another;
    another.data()[0] = 9;
    AbsorbKey(another.data(), newer.state);
    Set(skeleton_->maps.steer_served, &service, &device);
    Set(skeleton_->maps.steer_nics, &lo, &nic);
    FillTurns();
    Set(skeleton_->maps.steer_secrets, &slot, &secret);
    if (rotated) Set(skeleton_->maps.steer_secrets, &lo, &newer);
    Set(skeleton_->maps.steer_sockets, &slot, &fd);
  }
  ~Served() { steer_bpf__destroy(skeleton_); }

  bool ok() const { return socket_ != nullptr; }
  int program() const { return bpf_program__fd(skeleton_->progs.steer); }
  // Sets up a live shard with a burst of cookies to spend.
  void FillTurns(bool under_load = true) {
    const uint32_t slot = 0;
    steer_shard shard{};
    shard.beat_ns = SteadyNanos() + 3'600'000'000'000;
    shard.load_until_ns = under_load ? shard.beat_ns : 0;
    shard.cookie_interval_ns = STEER_COOKIE_INTERVAL_MIN_NS;
    Set(skeleton_->maps.steer_shards, &slot, &shard);
  }
  // Notes that the device knows the frame's sender. `retries`: the sender initiated a moment ago.
  void NoteFlow(const std::vector<uint8_t>& frame, bool retries) {
    steer_flow flow{.address_be = {}, .source_port = 4096, .port = 51820};
    flow.address_be[10] = flow.address_be[11] = 0xff;
    memcpy(flow.address_be + 12, &frame[26], 4);
    const steer_flow_state state{.last_initiation_ns = retries ? SteadyNanos() : 0,
                                 .history_ns = 1,
                                 .forgotten = 0,
                                 .padding = 0};
    Set(skeleton_->maps.steer_flows, &flow, &state);
  }
  std::vector<uint8_t> NextFrame() { return Initiation(++number_, mac1_key_, secrets_); }

 private:
  static void AbsorbKey(const uint8_t* key, uint32_t state[8]) {
    uint32_t block[16] = {};
    memcpy(block, key, 32);
    blake2s_begin(state, 16, 32);
    blake2s_compress(state, block, 64, 0);
  }
  static void Set(const bpf_map* map, const void* key, const void* value) {
    if (bpf_map_update_elem(bpf_map__fd(map), key, value, BPF_ANY) != 0) abort();
  }

  steer_bpf* skeleton_ = nullptr;
  std::unique_ptr<xsk::Socket> socket_;
  crypto::Hash mac1_key_{1, 2, 3};
  Secret<32> secret_;
  noise::CookieSecrets secrets_{secret_, secret_};
  uint32_t number_ = 0;
};

void BM_SteerBadMac1(benchmark::State& state) {
  Served served;
  if (!served.ok()) return state.SkipWithError("loading BPF programs needs root");
  std::vector<uint8_t> frame = served.NextFrame();
  frame[42 + 116] ^= 1;
  for (auto _ : state) state.SetIterationTime(NanosPerRun(served.program(), frame) * 1e-9);
}
BENCHMARK(BM_SteerBadMac1)->Name("Steer/bad_mac1")->UseManualTime()->Iterations(20);

void BM_SteerRepeat(benchmark::State& state) {
  Served served;
  if (!served.ok()) return state.SkipWithError("loading BPF programs needs root");
  const std::vector<uint8_t> frame = served.NextFrame();
  for (auto _ : state) state.SetIterationTime(NanosPerRun(served.program(), frame) * 1e-9);
}
BENCHMARK(BM_SteerRepeat)->Name("Steer/repeat")->UseManualTime()->Iterations(20);

void BM_SteerLength(benchmark::State& state) {
  Served served;
  if (!served.ok()) return state.SkipWithError("loading BPF programs needs root");
  std::vector<uint8_t> frame = Udp(51820, sizeof(wire::Initiation) + 1);
  frame[42] = 1;
  for (auto _ : state) state.SetIterationTime(NanosPerRun(served.program(), frame) * 1e-9);
}
BENCHMARK(BM_SteerLength)->Name("Steer/length")->UseManualTime()->Iterations(20);

// Packets that can be sent once. The kernel's statistics time each run, which adds some 30 ns.
enum class Mac2 { kNone, kOfNewer, kOfOlder, kWrong };
enum class Flow { kUnknown, kKnown, kRetries };
struct Sent {
  uint32_t action;  // expected for each packet
  Mac2 mac2 = Mac2::kNone;
  Flow flow = Flow::kUnknown;
  bool under_load = true, cookies_by_tx = false;
};
void RunOnceEach(benchmark::State& state, const Sent& sent) {
  Served served(sent.cookies_by_tx, sent.mac2 == Mac2::kOfOlder || sent.mac2 == Mac2::kWrong);
  const int statistics = bpf_enable_stats(BPF_STATS_RUN_TIME);
  if (!served.ok() || statistics < 0) return state.SkipWithError("loading BPF programs needs root");
  constexpr int kFrames = 2000;
  for (auto _ : state) {
    bpf_prog_info before{}, after{};
    uint32_t bytes = sizeof(before);
    bpf_obj_get_info_by_fd(served.program(), &before, &bytes);
    for (int i = 0; i < kFrames; ++i) {
      std::vector<uint8_t> frame = served.NextFrame();
      if (i % STEER_COOKIE_BURST == 0) served.FillTurns(sent.under_load);
      if (sent.flow != Flow::kUnknown) served.NoteFlow(frame, sent.flow == Flow::kRetries);
      if (sent.mac2 == Mac2::kNone) std::fill(frame.end() - 16, frame.end(), uint8_t{0});
      if (sent.mac2 == Mac2::kWrong) frame.back() ^= 1;
      LIBBPF_OPTS(bpf_test_run_opts, options, .data_in = frame.data(),
                  .data_size_in = static_cast<uint32_t>(frame.size()), .repeat = 1);
      if (bpf_prog_test_run_opts(served.program(), &options) != 0 ||
          options.retval != sent.action) {
        abort();
      }
    }
    bpf_obj_get_info_by_fd(served.program(), &after, &bytes);
    state.SetIterationTime(static_cast<double>(after.run_time_ns - before.run_time_ns) /
                           static_cast<double>(after.run_cnt - before.run_cnt) * 1e-9);
  }
  close(statistics);
}

// A cookie reply through the ring costs what the program takes here, plus BM_PipelineCookie in the
// shard and the way through the ring and back. For a mac2 of the older secret, or a wrong one, the
// program tries both secrets.
const struct {
  const char* name;
  Sent sent;
} kSentOnceEach[] = {
    {"Steer/new", {.action = XDP_REDIRECT, .under_load = false}},
    {"Steer/known_flow", {.action = XDP_PASS, .flow = Flow::kKnown, .under_load = false}},
    {"Steer/retry", {.action = XDP_REDIRECT, .flow = Flow::kRetries, .under_load = false}},
    {"Steer/mac2", {.action = XDP_REDIRECT, .mac2 = Mac2::kOfNewer}},
    {"Steer/mac2_older", {.action = XDP_REDIRECT, .mac2 = Mac2::kOfOlder}},
    {"Steer/mac2_wrong", {.action = XDP_REDIRECT, .mac2 = Mac2::kWrong}},
    {"Steer/cookie_tx", {.action = XDP_TX, .cookies_by_tx = true}},
    {"Steer/cookie_ring", {.action = XDP_REDIRECT}},
};
const bool kRegistered = [] {
  for (const auto& [name, sent] : kSentOnceEach) {
    benchmark::RegisterBenchmark(name, RunOnceEach, sent)->UseManualTime()->Iterations(10);
  }
  return true;
}();

// The cost of BPF_PROG_TEST_RUN itself: a program that only passes.
void BM_SteerNothing(benchmark::State& state) {
  libbpf_set_print(nullptr);
  reinject_bpf* skeleton = reinject_bpf__open_and_load();
  if (skeleton == nullptr) return state.SkipWithError("loading BPF programs needs root");
  for (auto _ : state) {
    state.SetIterationTime(
        NanosPerRun(bpf_program__fd(skeleton->progs.reinject), Udp(51820, 1400)) * 1e-9);
  }
  reinject_bpf__destroy(skeleton);
}
BENCHMARK(BM_SteerNothing)->UseManualTime()->Iterations(20);

void BM_SteerPassData(benchmark::State& state) { Run(state, Udp(51820, 1400)); }
BENCHMARK(BM_SteerPassData)->UseManualTime()->Iterations(20);

void BM_SteerPassOther(benchmark::State& state) {
  auto frame = Udp(443, 1200);
  frame[23] = 6;  // TCP
  Run(state, frame);
}
BENCHMARK(BM_SteerPassOther)->UseManualTime()->Iterations(20);

void BM_SteerPassUnserved(benchmark::State& state) {
  auto frame = Udp(51821, 148);
  frame[42] = 1;
  Run(state, frame);
}
BENCHMARK(BM_SteerPassUnserved)->UseManualTime()->Iterations(20);

}  // namespace
}  // namespace wicket
