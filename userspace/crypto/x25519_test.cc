// X25519Batch(): every back end, in every lane, against published vectors, libsodium, and a plain
// computation with big integers; above all on points with full limbs, values near p, and products
// of zero.
//
// WICKET_X25519_PAIRS is the number of random pairs, 20 000 unless set.
#include "crypto/x25519_batch.h"

#include <fenv.h>
#include <gtest/gtest.h>
#include <pthread.h>
#include <stdlib.h>

#include <algorithm>
#include <bit>
#include <boost/multiprecision/cpp_int.hpp>
#include <random>
#include <set>
#include <string>
#include <vector>

#include "absl/strings/escaping.h"
#include "absl/strings/numbers.h"
#include "crypto/curve25519.h"
#include "crypto/emulated_lane.h"
#include "crypto/field51.h"
#include "crypto/field51_fma.h"
#include "crypto/montgomery_ladder.h"

// Sanitizers put padding between variables, so their stacks differ from those that ship.
#if defined(__clang__)
#if !__has_feature(address_sanitizer) && !__has_feature(thread_sanitizer)
#define WICKET_STACK_IS_AS_SHIPPED 1
#endif
#elif !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
#define WICKET_STACK_IS_AS_SHIPPED 1
#endif

namespace wicket::crypto {
namespace {

namespace mp = boost::multiprecision;
using Integer = mp::number<mp::cpp_int_backend<>, mp::et_off>;
using Bytes32 = std::array<uint8_t, 32>;

const Integer kP = (Integer(1) << 255) - 19;

Integer FromBytes(const Bytes32& bytes) {
  Integer value;
  import_bits(value, bytes.begin(), bytes.end(), 8, false);
  return value;
}
// Modulo 2^256.
Bytes32 ToBytes(Integer value) {
  Bytes32 bytes{};
  for (uint8_t& byte : bytes) {
    byte = static_cast<uint8_t>(value & 0xff);
    value >>= 8;
  }
  return bytes;
}
Bytes32 Unhex(absl::string_view hex) {
  const std::string text = absl::HexStringToBytes(hex);
  Bytes32 bytes;
  std::copy(text.begin(), text.end(), bytes.begin());
  return bytes;
}
std::string Hex(const Bytes32& bytes) {
  return absl::BytesToHexString({reinterpret_cast<const char*>(bytes.data()), bytes.size()});
}

// [RFC 7748 5] as written, with the conditional swap as a swap.
Bytes32 Slow(const Bytes32& scalar, const Bytes32& point) {
  Bytes32 clamped = scalar;
  clamped[0] &= 248;
  clamped[31] = static_cast<uint8_t>((clamped[31] & 127) | 64);
  const Integer k = FromBytes(clamped);
  const Integer x1 = (FromBytes(point) & ((Integer(1) << 255) - 1)) % kP;
  const auto minus = [](const Integer& a, const Integer& b) -> Integer {
    return (a + kP - b) % kP;
  };
  Integer x2 = 1, z2 = 0, x3 = x1, z3 = 1;
  for (int t = 254; t >= 0; --t) {
    const bool swap = bit_test(k, static_cast<unsigned>(t));
    if (swap) x2.swap(x3), z2.swap(z3);
    const Integer a = (x2 + z2) % kP, b = minus(x2, z2), aa = a * a % kP, bb = b * b % kP;
    const Integer e = minus(aa, bb), c = (x3 + z3) % kP, d = minus(x3, z3);
    const Integer da = d * a % kP, cb = c * b % kP, sum = (da + cb) % kP, diff = minus(da, cb);
    x3 = sum * sum % kP;
    z3 = diff * diff % kP * x1 % kP;
    x2 = aa * bb % kP;
    z2 = e * (aa + 121665 * e) % kP;
    if (swap) x2.swap(x3), z2.swap(z3);
  }
  return ToBytes(x2 * powm(z2, kP - 2, kP) % kP);
}

Bytes32 Sodium(const Bytes32& scalar, const Bytes32& point) {
  Secret<32> key, shared;
  memcpy(key.data(), scalar.data(), 32);
  Bytes32 product{};
  if (X25519(key, point.data(), &shared)) memcpy(product.data(), shared.data(), 32);
  return product;
}

class Random {
 public:
  Bytes32 Next() {
    Bytes32 bytes;
    for (uint8_t& byte : bytes) byte = static_cast<uint8_t>(engine_());
    return bytes;
  }

 private:
  std::mt19937_64 engine_{25519};
};

// Points at which the arithmetic may go wrong.
std::vector<Bytes32> EdgePoints() {
  std::set<Bytes32> points;
  const auto add = [&](const Integer& value) {
    if (value < 0) return;
    points.insert(ToBytes(value));
    points.insert(ToBytes(value + (Integer(1) << 255)));  // bit 255 is ignored
  };
  const Integer one = 1;
  for (int k = 0; k <= 64; ++k) {  // around p, 2^255, 2 p and 0
    for (const Integer& center : {kP, Integer(one << 255), Integer(2 * kP), Integer(0)}) {
      add(center + k);
      add(center - k);
    }
  }
  for (int k = 0; k < 256; k += 1) {  // every power of two, and all ones below it
    add(one << k);
    add((one << k) - 1);
    add((one << k) + 1);
    add(kP - (one << k));
  }
  for (int bits : {25, 26, 51, 52}) {  // one limb full, all others full, every other limb full
    Integer alternate = 0;
    for (int at = 0; at < 255; at += bits) {
      const Integer limb = ((one << bits) - 1) << at;
      add(limb);
      add(((one << 255) - 1) ^ (limb & ((one << 255) - 1)));
      if (at / bits % 2 == 0) alternate |= limb;
    }
    add(alternate);
    add(((one << 255) - 1) ^ (alternate & ((one << 255) - 1)));
  }
  // Points of low order on the curve and its twist. Source: https://cr.yp.to/ecdh.html#validate
  add(FromBytes(Unhex("e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800")));
  add(FromBytes(Unhex("5f9c95bca3508c24b1d0b1559c83ef5b04445cc4581c8e86d8224eddd09f1157")));
  // The first of them plus p, as Bernstein lists it.
  add(kP + FromBytes(Unhex("e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800")));
  return {points.begin(), points.end()};
}

// Every pattern of the bits that clamping sets or clears, and extreme values.
std::vector<Bytes32> EdgeScalars() {
  Random random;
  std::vector<Bytes32> scalars;
  for (uint8_t low = 0; low < 8; ++low) {
    for (uint8_t high = 0; high < 4; ++high) {
      Bytes32 scalar = random.Next();
      scalar[0] = static_cast<uint8_t>((scalar[0] & 248) | low);
      scalar[31] = static_cast<uint8_t>((scalar[31] & 63) | high << 6);
      scalars.push_back(scalar);
    }
  }
  Bytes32 zeros{}, ones, alternate;
  ones.fill(0xff);
  alternate.fill(0xaa);
  for (const Bytes32& scalar : {zeros, ones, alternate}) scalars.push_back(scalar);
  for (int bit = 0; bit < 256; bit += 5) scalars.push_back(ToBytes(Integer(1) << bit));
  return scalars;
}

struct Batch {
  std::vector<Bytes32> products;
  std::vector<bool> is_secret;
};

Batch Multiplied(X25519Backend backend, const std::vector<Bytes32>& scalars,
                 const std::vector<Bytes32>& points) {
  const size_t n = points.size();
  std::vector<Secret<32>> keys(scalars.size()), shared(n);
  std::vector<const Secret<32>*> key_views;
  for (size_t i = 0; i < scalars.size(); ++i) {
    memcpy(keys[i].data(), scalars[i].data(), 32);
    key_views.push_back(&keys[i]);
  }
  // Each at a different alignment.
  std::vector<uint8_t> memory(n * 64 + 64);
  std::vector<const uint8_t*> views;
  for (size_t i = 0; i < n; ++i) {
    uint8_t* place = memory.data() + i * 64 + i % 31;
    memcpy(place, points[i].data(), 32);
    views.push_back(place);
  }
  const std::unique_ptr<bool[]> is_secret(new bool[n + 1]);
  if (scalars.size() == 1) {
    X25519Batch(backend, keys[0], views, shared, {is_secret.get(), n});
  } else {
    X25519BatchEach(backend, key_views, views, shared, {is_secret.get(), n});
  }
  Batch batch;
  for (size_t i = 0; i < n; ++i) {
    Bytes32 product;
    memcpy(product.data(), shared[i].data(), 32);
    batch.products.push_back(product);
    batch.is_secret.push_back(is_secret[i]);
  }
  return batch;
}

class X25519BatchTest : public ::testing::TestWithParam<X25519Backend> {
 protected:
  void SetUp() override {
    ASSERT_TRUE(Initialize().ok());
    if (!RunsHere(GetParam())) GTEST_SKIP() << "this CPU lacks " << ToString(GetParam());
  }
  static size_t Lanes() {
    return GetParam() == X25519Backend::kIfma8 ? 8 : GetParam() == X25519Backend::kAvx2x4 ? 4 : 1;
  }
};

INSTANTIATE_TEST_SUITE_P(Backends, X25519BatchTest,
                         ::testing::Values(X25519Backend::kPortable, X25519Backend::kAvx2x4,
                                           X25519Backend::kIfma8),
                         [](const auto& param) { return ToString(param.param); });

// [RFC 7748 5.2], in every lane.
TEST_P(X25519BatchTest, PublishedVectors) {
  struct Vector {
    const char *scalar, *point, *product;
  };
  for (const Vector& v :
       {Vector{"a546e36bf0527c9d3b16154b82465edd62144c0ac1fc5a18506a2244ba449ac4",
               "e6db6867583030db3594c1a424b15f7c726624ec26b3353b10a903a6d0ab1c4c",
               "c3da55379de9c6908e94ea4df28d084f32eccf03491c71f754b4075577a28552"},
        Vector{"4b66e9d4d1b4673c5ad22691957d6af5c11b6421e0ea01d42ca4169e7918ba0d",
               "e5210f12786811d3f4b7959d0538ae2c31dbe7106fc03c3efc4cd549c715a493",
               "95cbde9476e8907d7aade45cb4b873f88b595a68799fa152e6f8f7647aac7957"}}) {
    const auto scalar = Unhex(v.scalar);
    const std::vector<Bytes32> points(Lanes(), Unhex(v.point));
    for (const std::vector<Bytes32>& scalars :
         {std::vector{scalar}, std::vector<Bytes32>(Lanes(), scalar)}) {
      const Batch batch = Multiplied(GetParam(), scalars, points);
      for (size_t i = 0; i < points.size(); ++i) {
        EXPECT_EQ(Hex(batch.products[i]), v.product) << "lane " << i;
        EXPECT_TRUE(batch.is_secret[i]);
      }
      EXPECT_EQ(Slow(scalar, points[0]), batch.products[0]);
    }
  }
}

// [RFC 7748 5.2], the iteration, in every lane; lane i starts i steps later.
TEST_P(X25519BatchTest, Iterated) {
  const Bytes32 nine = ToBytes(9);
  std::vector<Bytes32> k{nine}, u{nine};
  while (k.size() < Lanes()) {
    u.push_back(k.back());
    k.push_back(Sodium(k.back(), u[u.size() - 2]));
  }
  std::vector<std::string> after_1000(Lanes());
  for (size_t i = 1; i <= 1000; ++i) {
    std::vector<Bytes32> product = Multiplied(GetParam(), k, u).products;
    u = std::move(k);
    k = std::move(product);
    if (i == 1) {
      EXPECT_EQ(Hex(k[0]), "422c8e7a6227d7bca1350b3e2bb7279f7897b87bb6854b783c60e80311ae3079");
    }
    for (size_t lane = 0; lane < Lanes(); ++lane) {
      if (i + lane == 1000) after_1000[lane] = Hex(k[lane]);
    }
  }
  for (const std::string& result : after_1000) {
    EXPECT_EQ(result, "684cf59ba83309552800ef566f2f4d3c1c3887c49360e3875f2eb94d99532c51");
  }
}

// The three implementations agree on every edge point in every lane, among ordinary points.
TEST_P(X25519BatchTest, EdgePointsInEveryLane) {
  Random random;
  const std::vector<Bytes32> edges = EdgePoints();
  ASSERT_GT(edges.size(), 1500u);
  const Bytes32 scalar = random.Next();
  std::vector<Bytes32> fill, fill_products;
  for (size_t i = 0; i < Lanes(); ++i) {
    fill.push_back(random.Next());
    fill_products.push_back(Sodium(scalar, fill.back()));
  }
  for (size_t e = 0; e < edges.size(); ++e) {
    const Bytes32 expected = Sodium(scalar, edges[e]);
    if (e % 8 == 0) {
      ASSERT_EQ(Slow(scalar, edges[e]), expected);
    }
    for (size_t lane = 0; lane < Lanes(); ++lane) {
      std::vector<Bytes32> points = fill, products = fill_products;
      points[lane] = edges[e];
      products[lane] = expected;
      const Batch batch = Multiplied(GetParam(), {scalar}, points);
      ASSERT_EQ(batch.products, products) << Hex(edges[e]) << " in lane " << lane;
      for (size_t i = 0; i < Lanes(); ++i) {
        ASSERT_EQ(batch.is_secret[i], products[i] != Bytes32{}) << Hex(points[i]);
      }
    }
  }
}

// All lanes hold edge points at once, each with an edge scalar of its own.
TEST_P(X25519BatchTest, EdgePointsByEdgeScalars) {
  const std::vector<Bytes32> edges = EdgePoints(), edge_scalars = EdgeScalars();
  for (size_t e = 0; e < edges.size(); ++e) {
    std::vector<Bytes32> scalars, points, products;
    for (size_t lane = 0; lane < Lanes(); ++lane) {
      scalars.push_back(edge_scalars[(e + 3 * lane) % edge_scalars.size()]);
      points.push_back(edges[(e + 31 * lane) % edges.size()]);
      products.push_back(Sodium(scalars[lane], points[lane]));
    }
    ASSERT_EQ(Multiplied(GetParam(), scalars, points).products, products) << e;
    if (e % 32 == 0) {
      ASSERT_EQ(Slow(scalars[0], points[0]), products[0]);
    }
  }
}

TEST_P(X25519BatchTest, EdgeScalars) {
  Random random;
  for (const Bytes32& scalar : EdgeScalars()) {
    std::vector<Bytes32> points, products;
    for (size_t i = 0; i < Lanes(); ++i) {
      points.push_back(random.Next());
      products.push_back(Sodium(scalar, points.back()));
    }
    EXPECT_EQ(Multiplied(GetParam(), {scalar}, points).products, products) << Hex(scalar);
    EXPECT_EQ(Slow(scalar, points[0]), products[0]);
  }
}

TEST_P(X25519BatchTest, RandomPairs) {
  const bool is_sodium = GetParam() == X25519Backend::kPortable;
  int pairs = 20'000;
  if (const char* wanted = getenv("WICKET_X25519_PAIRS")) {
    ASSERT_TRUE(absl::SimpleAtoi(wanted, &pairs));
  }
  if (is_sodium) pairs = 200;
  Random random;
  for (int done = 0; done < pairs; done += static_cast<int>(Lanes())) {
    const bool one_scalar = done / 8 % 2 == 0;
    std::vector<Bytes32> scalars, points, products;
    for (size_t i = 0; i < Lanes(); ++i) {
      if (i == 0 || !one_scalar) scalars.push_back(random.Next());
      points.push_back(random.Next());
      products.push_back((is_sodium ? Slow : Sodium)(scalars.back(), points.back()));
    }
    ASSERT_EQ(Multiplied(GetParam(), scalars, points).products, products) << "pair " << done;
  }
}

// 0 to 65 points, with one scalar and with one each; memory behind the end is not written.
TEST_P(X25519BatchTest, AnyNumber) {
  Random random;
  std::vector<Bytes32> scalars, points, each, one;
  for (size_t i = 0; i < 65; ++i) {
    scalars.push_back(random.Next());
    points.push_back(random.Next());
    each.push_back(Sodium(scalars[i], points[i]));
    one.push_back(Sodium(scalars[0], points[i]));
  }
  for (size_t n = 0; n <= 65; ++n) {
    const auto first = [&](const std::vector<Bytes32>& all) {
      return std::vector<Bytes32>(all.begin(), all.begin() + static_cast<ptrdiff_t>(n));
    };
    if (n > 0) {
      EXPECT_EQ(Multiplied(GetParam(), first(scalars), first(points)).products, first(each)) << n;
    }
    const Batch batch = Multiplied(GetParam(), {scalars[0]}, first(points));
    EXPECT_EQ(batch.products, first(one)) << n;
    EXPECT_EQ(std::count(batch.is_secret.begin(), batch.is_secret.end(), true), n);
  }
}

// The product of a lane depends neither on the other lanes nor on the lane's index.
TEST_P(X25519BatchTest, LanesAreIndependent) {
  Random random;
  std::vector<Bytes32> scalars, points;
  for (size_t i = 0; i < Lanes(); ++i) {
    scalars.push_back(random.Next());
    points.push_back(i == 2 ? ToBytes(kP) : random.Next());
  }
  const Batch straight = Multiplied(GetParam(), scalars, points);
  std::vector<size_t> order(Lanes());
  for (size_t i = 0; i < Lanes(); ++i) order[i] = i;
  for (int turn = 0; turn < 100; ++turn) {
    std::next_permutation(order.begin(), order.end());
    if (turn % 2 == 0) std::rotate(order.begin(), order.begin() + 1, order.end());
    std::vector<Bytes32> permuted_scalars, permuted_points;
    for (size_t i : order) {
      permuted_scalars.push_back(scalars[i]);
      permuted_points.push_back(points[i]);
    }
    const Batch batch = Multiplied(GetParam(), permuted_scalars, permuted_points);
    for (size_t i = 0; i < Lanes(); ++i) {
      EXPECT_EQ(batch.products[i], straight.products[order[i]]);
      EXPECT_EQ(batch.is_secret[i], straight.is_secret[order[i]]);
    }
  }
}

TEST_P(X25519BatchTest, AnAllZeroProductIsReportedForItsLaneAlone) {
  Random random;
  const std::vector<Bytes32> low_order = {
      ToBytes(0),
      ToBytes(1),
      ToBytes(kP - 1),
      ToBytes(kP),
      ToBytes(kP + 1),
      Unhex("e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800"),
      Unhex("5f9c95bca3508c24b1d0b1559c83ef5b04445cc4581c8e86d8224eddd09f1157")};
  for (const Bytes32& point : low_order) {
    for (size_t lane = 0; lane < Lanes(); ++lane) {
      std::vector<Bytes32> points;
      for (size_t i = 0; i < Lanes(); ++i) points.push_back(i == lane ? point : random.Next());
      const Batch batch = Multiplied(GetParam(), {random.Next()}, points);
      for (size_t i = 0; i < Lanes(); ++i) {
        EXPECT_EQ(batch.is_secret[i], i != lane);
        EXPECT_EQ(batch.products[i] == Bytes32{}, i == lane);
      }
    }
  }
}

#ifdef WICKET_STACK_IS_AS_SHIPPED
// Runs on a stack of its own. No part of a scalar, of its bit changes, or of a product may be found
// there afterwards.
TEST_P(X25519BatchTest, LeavesNoSecretOnTheStack) {
  struct Job {
    X25519Backend backend;
    Secret<32> scalar;
    std::vector<Bytes32> points;
    std::vector<const uint8_t*> views;
    std::vector<Secret<32>> shared;
    bool is_secret[11];
  } job{GetParam(), {}, {}, {}, std::vector<Secret<32>>(11), {}};
  Random random;
  const Bytes32 scalar = random.Next();
  memcpy(job.scalar.data(), scalar.data(), 32);
  for (int i = 0; i < 11; ++i) job.points.push_back(random.Next());
  for (const Bytes32& point : job.points) job.views.push_back(point.data());

  constexpr size_t kStackBytes = 1 << 20;
  const std::unique_ptr<uint8_t, decltype(&free)> stack(
      static_cast<uint8_t*>(aligned_alloc(4096, kStackBytes)), free);
  memset(stack.get(), 0, kStackBytes);
  pthread_attr_t attributes;
  pthread_attr_init(&attributes);
  ASSERT_EQ(pthread_attr_setstack(&attributes, stack.get(), kStackBytes), 0);
  pthread_t thread;
  const auto run = [](void* argument) -> void* {
    Job* j = static_cast<Job*>(argument);
    X25519Batch(j->backend, j->scalar, j->views, j->shared, j->is_secret);
    return nullptr;
  };
  ASSERT_EQ(pthread_create(&thread, &attributes, run, &job), 0);
  pthread_join(thread, nullptr);
  pthread_attr_destroy(&attributes);

  std::vector<uint64_t> secrets;
  const auto add = [&](const void* bytes) {
    uint64_t words[4];
    memcpy(words, bytes, sizeof(words));
    secrets.insert(secrets.end(), words, words + 4);
  };
  add(scalar.data());
  uint64_t changes[4];
  ChangesOfScalar(scalar.data(), changes);
  add(changes);
  for (const Secret<32>& shared : job.shared) {
    add(shared.data());
    uint64_t limbs[5];
    LimbsOfBytes(shared.data(), limbs);
    secrets.insert(secrets.end(), limbs, limbs + 5);
    for (uint64_t limb : limbs) {  // in the form of avx2x4
      secrets.push_back(std::bit_cast<uint64_t>(static_cast<double>(limb)));
    }
  }
  for (size_t at = 0; at + 8 <= kStackBytes; ++at) {
    uint64_t word;
    memcpy(&word, stack.get() + at, sizeof(word));
    if (word == 0) continue;
    ASSERT_EQ(std::count(secrets.begin(), secrets.end(), word), 0)
        << kStackBytes - at << " bytes below the top";
  }
}
#endif

// avx2x4 computes with doubles. Its results are the same in every rounding mode of the thread.
TEST_P(X25519BatchTest, IsTheSameInEveryRoundingMode) {
  const auto edges = EdgePoints();
  const Bytes32 scalar = Random().Next();
  const auto expected = Multiplied(GetParam(), {scalar}, edges).products;
  for (int mode : {FE_DOWNWARD, FE_UPWARD, FE_TOWARDZERO}) {
    ASSERT_EQ(fesetround(mode), 0);
    const auto products = Multiplied(GetParam(), {scalar}, edges).products;
    fesetround(FE_TONEAREST);
    EXPECT_EQ(products, expected) << mode;
  }
}

TEST(X25519BackendTest, IsReadFromItsName) {
  EXPECT_EQ(*ParseX25519Backend("portable"), X25519Backend::kPortable);
  EXPECT_EQ(*ParseX25519Backend("auto"), FastestX25519());
  EXPECT_EQ(ParseX25519Backend("sse").status().message(),
            "X25519 back end sse: no such (accepted: auto, ifma8, avx2x4, portable)");
  EXPECT_TRUE(RunsHere(FastestX25519()));
}

// The fields and the ladder alone, on any CPU: the code of both back ends over emulated lanes, and
// each field with the number of lanes of the other.
template <typename Field, typename Lane>
void ExpectProductsOfEdges() {
  Random random;
  const std::vector<Bytes32> edges = EdgePoints();
  for (size_t e = 0; e < edges.size(); e += 16) {
    const Bytes32 scalar = random.Next();
    const uint8_t *scalars[Lane::kCount], *points[Lane::kCount];
    uint8_t* products[Lane::kCount];
    uint64_t nonzero[Lane::kCount];
    Ratio51 ratios[Lane::kCount];
    Bytes32 out[Lane::kCount];
    for (size_t i = 0; i < Lane::kCount; ++i) {
      scalars[i] = scalar.data();
      points[i] = edges[(e + i) % edges.size()].data();
      products[i] = out[i].data();
    }
    Ladder<Field, Lane, ScalarEach<Lane>>(scalars, points, ratios);
    Divide(ratios, Lane::kCount, products, nonzero);
    for (size_t i = 0; i < Lane::kCount; ++i) {
      const Bytes32 expected = Sodium(scalar, edges[(e + i) % edges.size()]);
      ASSERT_EQ(out[i], expected) << Hex(edges[(e + i) % edges.size()]);
      ASSERT_EQ(nonzero[i] != 0, expected != Bytes32{});
    }
  }
}

// x / z where z is 0, as 0, p and 2 p, in each place; its neighbours do not change.
TEST(Ratios51Test, AZeroIsNobodyElses) {
  constexpr uint64_t kZeros[][5] = {
      {0, 0, 0, 0, 0},
      {kMask51 - 18, kMask51, kMask51, kMask51, kMask51},
      {2 * (kMask51 - 18), 2 * kMask51, 2 * kMask51, 2 * kMask51, 2 * kMask51}};
  std::mt19937_64 random(5);
  Ratio51 ratios[kRatiosMax];
  for (Ratio51& ratio : ratios) {
    for (int k = 0; k < 5; ++k) {
      ratio.x[k] = random() >> 12;  // < 2^52
      ratio.z[k] = random() >> 12;
    }
  }
  Bytes32 alone[kRatiosMax], out[kRatiosMax];
  uint8_t* quotients[kRatiosMax];
  uint64_t nonzero[kRatiosMax];
  for (size_t i = 0; i < kRatiosMax; ++i) {
    quotients[0] = alone[i].data();
    Divide(&ratios[i], 1, quotients, nonzero);
    EXPECT_NE(nonzero[0], 0u);
  }
  for (size_t i = 0; i < kRatiosMax; ++i) quotients[i] = out[i].data();
  for (const size_t n : {size_t{1}, size_t{2}, size_t{9}, kRatiosMax}) {
    for (size_t at = 0; at < n; ++at) {
      const Ratio51 before = ratios[at];
      for (const uint64_t(&zero)[5] : kZeros) {
        std::copy_n(zero, 5, ratios[at].z);
        Divide(ratios, n, quotients, nonzero);
        for (size_t i = 0; i < n; ++i) {
          ASSERT_EQ(out[i], i == at ? Bytes32{} : alone[i]) << i << " of " << n;
          ASSERT_EQ(nonzero[i] == 0, i == at);
        }
      }
      ratios[at] = before;
    }
  }
}

TEST(X25519LadderTest, OfFiveLimbsOnEmulatedLanes) {
  ExpectProductsOfEdges<Field51<EmulatedLane<8>>, EmulatedLane<8>>();
}
TEST(X25519LadderTest, OfFiveDoublesOnEmulatedLanes) {
  ExpectProductsOfEdges<Field51Fma<EmulatedLane<4>>, EmulatedLane<4>>();
}

}  // namespace
}  // namespace wicket::crypto
