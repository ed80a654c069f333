#include <benchmark/benchmark.h>

#include <array>
#include <vector>

#include "bench/costs.h"
#include "crypto/aead.h"
#include "crypto/blake2s.h"
#include "crypto/blake2s_lanes.h"
#include "crypto/curve25519.h"
#include "crypto/x25519_batch.h"
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
  const Costs costs(state);
  for (auto _ : state) {
    crypto::Blake2s(32).Update(block).Final(out.data());
    benchmark::DoNotOptimize(out);
  }
}
BENCHMARK(BM_Blake2sCompress);

void BM_Kdf(benchmark::State& state) {
  const crypto::Hash chaining_key{}, input{};
  crypto::Hash out[2];
  const Costs costs(state);
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
  const Costs costs(state);
  for (auto _ : state) {
    benchmark::DoNotOptimize(crypto::Open(key.data(), 0, sealed, key, plain));
  }
}
BENCHMARK(BM_Open);

void BM_X25519(benchmark::State& state) {
  Fixture f;
  Secret<kKeyBytes> shared;
  const Costs costs(state);
  for (auto _ : state) {
    benchmark::DoNotOptimize(crypto::X25519(f.responder, f.message.ephemeral.data(), &shared));
  }
}
BENCHMARK(BM_X25519);

// Arguments: back end, points. Run with --benchmark_enable_random_interleaving=true.
void BM_X25519Batch(benchmark::State& state) {
  const auto backend = static_cast<crypto::X25519Backend>(state.range(0));
  if (!crypto::RunsHere(backend)) return state.SkipWithError("this CPU lacks the instructions");
  Fixture f;
  const auto n = static_cast<size_t>(state.range(1));
  std::vector<PublicKey> keys(n);
  std::vector<const uint8_t*> points;
  std::vector<Secret<kKeyBytes>> shared(n);
  bool is_secret[64];
  for (PublicKey& key : keys) {
    key = crypto::DerivePublicKey(crypto::GeneratePrivateKey());
    points.push_back(key.bytes.data());
  }
  const Costs costs(state);
  for (auto _ : state) {
    crypto::X25519Batch(backend, f.responder, points, shared, {is_secret, n});
    benchmark::DoNotOptimize(shared);
  }
  state.SetLabel(crypto::ToString(backend));
  state.SetItemsProcessed(state.iterations() * state.range(1));
}
BENCHMARK(BM_X25519Batch)->ArgsProduct({{0, 1, 2}, {1, 2, 4, 8, 64}});

// [RFC 7748 5.2], the iteration, a million times in every lane. Minutes for portable.
void BM_X25519Iterated(benchmark::State& state) {
  const auto backend = static_cast<crypto::X25519Backend>(state.range(0));
  if (!crypto::RunsHere(backend)) return state.SkipWithError("this CPU lacks the instructions");
  constexpr size_t kLanes = 8;
  constexpr uint8_t kExpected[] = {0x7c, 0x39, 0x11, 0xe0, 0xab, 0x25, 0x86, 0xfd, 0x86, 0x44, 0x97,
                                   0x29, 0x7e, 0x57, 0x5e, 0x6f, 0x3b, 0xc6, 0x01, 0xc0, 0x88, 0x3c,
                                   0x30, 0xdf, 0x5f, 0x4d, 0xd2, 0xd2, 0x4f, 0x66, 0x54, 0x24};
  const Costs costs(state);
  for (auto _ : state) {
    std::array<Secret<kKeyBytes>, kLanes> k, product;
    std::array<std::array<uint8_t, kKeyBytes>, kLanes> u{};
    std::array<const Secret<kKeyBytes>*, kLanes> scalars;
    std::array<const uint8_t*, kLanes> points;
    bool is_secret[kLanes];
    for (size_t i = 0; i < kLanes; ++i) {
      k[i].data()[0] = u[i][0] = 9;
      scalars[i] = &k[i];
      points[i] = u[i].data();
    }
    for (int step = 0; step < 1'000'000; ++step) {
      crypto::X25519BatchEach(backend, scalars, points, product, is_secret);
      for (size_t i = 0; i < kLanes; ++i) {
        std::copy_n(k[i].data(), kKeyBytes, u[i].begin());
        std::copy_n(product[i].data(), kKeyBytes, k[i].data());
      }
    }
    for (size_t i = 0; i < kLanes; ++i) {
      if (!std::equal(std::begin(kExpected), std::end(kExpected), k[i].data())) {
        state.SkipWithError("not what RFC 7748 says");
      }
    }
  }
  state.SetLabel(crypto::ToString(backend));
}
BENCHMARK(BM_X25519Iterated)->Arg(1)->Arg(2)->Iterations(1)->Unit(benchmark::kSecond);

void BM_KdfLanes(benchmark::State& state) {
  crypto::HashLanes ck, input, key;
  const Costs costs(state);
  for (auto _ : state) {
    crypto::KdfLanes(&ck, input, &key);
    benchmark::DoNotOptimize(key);
  }
  state.SetItemsProcessed(state.iterations() * static_cast<int64_t>(crypto::kHashLanes));
}
BENCHMARK(BM_KdfLanes);

void BM_MixHashLanes(benchmark::State& state) {
  crypto::HashLanes hash;
  uint8_t inputs[crypto::kHashLanes][48] = {};
  std::array<const uint8_t*, crypto::kHashLanes> views;
  for (size_t i = 0; i < views.size(); ++i) views[i] = inputs[i];
  const Costs costs(state);
  for (auto _ : state) crypto::MixHashLanes(&hash, views, sizeof(inputs[0]));
  state.SetItemsProcessed(state.iterations() * static_cast<int64_t>(crypto::kHashLanes));
}
BENCHMARK(BM_MixHashLanes);

void BM_CheckMac1(benchmark::State& state) {
  Fixture f;
  const Costs costs(state);
  for (auto _ : state) benchmark::DoNotOptimize(noise::CheckMac1(*f.identity, f.message));
}
BENCHMARK(BM_CheckMac1);

void BM_OpenStatic(benchmark::State& state) {
  Fixture f;
  const Costs costs(state);
  for (auto _ : state) benchmark::DoNotOptimize(noise::OpenStatic(*f.identity, f.message));
}
BENCHMARK(BM_OpenStatic);

void BM_OpenTimestamp(benchmark::State& state) {
  Fixture f;
  std::vector<noise::Claim> claims;  // each can be used once
  for (benchmark::IterationCount i = 0; i < state.max_iterations; ++i) {
    claims.push_back(*noise::OpenStatic(*f.identity, f.message));
  }
  size_t next = 0;
  const Costs costs(state);
  for (auto _ : state) {
    benchmark::DoNotOptimize(
        noise::OpenTimestamp(*f.identity, std::move(claims[next++]), f.message));
  }
}
BENCHMARK(BM_OpenTimestamp)->Iterations(2000);

void BM_CreateInitiation(benchmark::State& state) {
  Fixture f;
  const auto ephemeral = crypto::GeneratePrivateKey();
  const Costs costs(state);
  for (auto _ : state) {
    benchmark::DoNotOptimize(
        noise::CreateInitiation(f.initiator, f.identity->public_key(), ephemeral, 1, Tai64n{}));
  }
}
BENCHMARK(BM_CreateInitiation);

// For many clients at once. Argument: clients.
void BM_CreateInitiations(benchmark::State& state) {
  Fixture f;
  const auto ephemeral = crypto::GeneratePrivateKey();
  const auto n = static_cast<size_t>(state.range(0));
  const std::vector<noise::Initiator> clients(n, {&f.initiator, &ephemeral, 1, Tai64n{}});
  std::vector<noise::PendingHandshake> made(n);
  const Costs costs(state);
  for (auto _ : state) {
    if (!noise::CreateInitiations(crypto::FastestX25519(), f.identity->public_key(), clients,
                                  made)) {
      abort();
    }
  }
  state.SetItemsProcessed(state.iterations() * state.range(0));
}
BENCHMARK(BM_CreateInitiations)->Arg(2)->Arg(16);

}  // namespace
}  // namespace wicket
