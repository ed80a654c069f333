#include <benchmark/benchmark.h>

#include "crypto/aead.h"
#include "crypto/blake2s.h"
#include "crypto/curve25519.h"
#include "noise/initiator.h"
#include "noise/responder.h"

namespace wicket {
namespace {

struct Fixture {
  Fixture() {
    if (!crypto::Initialize().ok()) abort();
    responder = crypto::GeneratePrivateKey();
    initiator = crypto::GeneratePrivateKey();
    identity = std::make_unique<noise::Identity>(responder);
    message = noise::CreateInitiation(initiator, identity->public_key(),
                                      crypto::GeneratePrivateKey(), 1, Tai64n{})
                  ->message;
  }
  Secret<kKeyBytes> responder, initiator;
  std::unique_ptr<noise::Identity> identity;
  wire::Initiation message;
};

void BM_Blake2sCompress(benchmark::State& state) {
  uint8_t block[64] = {};
  crypto::Hash out;
  for (auto _ : state) {
    crypto::Blake2s(32).Update(block).Final(out.data());
    benchmark::DoNotOptimize(out);
  }
}
BENCHMARK(BM_Blake2sCompress);

void BM_Kdf(benchmark::State& state) {
  const crypto::Hash chaining_key{}, input{};
  crypto::Hash out[2];
  for (auto _ : state) {
    crypto::Kdf(chaining_key, input, {out[0].data(), out[1].data()});
    benchmark::DoNotOptimize(out);
  }
}
BENCHMARK(BM_Kdf);

void BM_Open(benchmark::State& state) {
  const crypto::Hash key{};
  uint8_t sealed[48], plain[32] = {};
  crypto::Seal(key.data(), 0, plain, key, sealed);
  for (auto _ : state) {
    benchmark::DoNotOptimize(crypto::Open(key.data(), 0, sealed, key, plain));
  }
}
BENCHMARK(BM_Open);

void BM_X25519(benchmark::State& state) {
  Fixture f;
  Secret<kKeyBytes> shared;
  for (auto _ : state) {
    benchmark::DoNotOptimize(crypto::X25519(f.responder, f.message.ephemeral.data(), &shared));
  }
}
BENCHMARK(BM_X25519);

void BM_CheckMac1(benchmark::State& state) {
  Fixture f;
  for (auto _ : state) benchmark::DoNotOptimize(noise::CheckMac1(*f.identity, f.message));
}
BENCHMARK(BM_CheckMac1);

void BM_OpenStatic(benchmark::State& state) {
  Fixture f;
  for (auto _ : state) benchmark::DoNotOptimize(noise::OpenStatic(*f.identity, f.message));
}
BENCHMARK(BM_OpenStatic);

void BM_OpenTimestamp(benchmark::State& state) {
  Fixture f;
  for (auto _ : state) {
    state.PauseTiming();
    auto claim = noise::OpenStatic(*f.identity, f.message);
    state.ResumeTiming();
    benchmark::DoNotOptimize(noise::OpenTimestamp(*f.identity, std::move(*claim), f.message));
  }
}
BENCHMARK(BM_OpenTimestamp)->Iterations(2000);

void BM_CreateInitiation(benchmark::State& state) {
  Fixture f;
  const auto ephemeral = crypto::GeneratePrivateKey();
  for (auto _ : state) {
    benchmark::DoNotOptimize(
        noise::CreateInitiation(f.initiator, f.identity->public_key(), ephemeral, 1, Tai64n{}));
  }
}
BENCHMARK(BM_CreateInitiation);

}  // namespace
}  // namespace wicket
