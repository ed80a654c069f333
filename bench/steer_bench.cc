// The XDP program by verdict, in the kernel's own clock (BPF_PROG_TEST_RUN).
// Needs root; without it these report an error and the others run.
#include <benchmark/benchmark.h>
#include <bpf/bpf.h>
#include <bpf/libbpf.h>

#include <vector>

#include "xdp/reinject.skel.h"
#include "xdp/steer.skel.h"
#include "xdp/steer_abi.h"

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
  frame[36] = static_cast<uint8_t>(port >> 8);
  frame[37] = static_cast<uint8_t>(port);
  frame[38] = static_cast<uint8_t>((8 + payload) >> 8);
  frame[39] = static_cast<uint8_t>(8 + payload);
  frame[42] = 4;  // a data message
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

// What BPF_PROG_TEST_RUN itself costs: a program of one instruction.
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
