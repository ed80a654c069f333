#include <gtest/gtest.h>

#include <random>
#include <string>
#include <vector>

#include "absl/strings/escaping.h"
#include "crypto/aead.h"
#include "crypto/blake2s.h"
#include "crypto/blake2s_instances.h"
#include "crypto/blake2s_lanes.h"
#include "crypto/blake2s_vector.h"
#include "crypto/curve25519.h"
#include "xdp/xchacha20poly1305.h"

namespace wicket::crypto {
namespace {

std::string Unhex(absl::string_view hex) { return absl::HexStringToBytes(hex); }
Bytes View(const std::string& text) {
  return {reinterpret_cast<const uint8_t*>(text.data()), text.size()};
}
template <typename Container>
std::string Hex(const Container& bytes) {
  return absl::BytesToHexString(
      absl::string_view(reinterpret_cast<const char*>(bytes.data()), bytes.size()));
}

class CryptoTest : public ::testing::Test {
 protected:
  static void SetUpTestSuite() { ASSERT_TRUE(Initialize().ok()); }
};

// [RFC 7693 Appendix B]
TEST_F(CryptoTest, Blake2sOfAbc) {
  EXPECT_EQ(Hex(HashOf({View("abc")})),
            "508c5e8c327c14e2e1a72ba34eeb452f37458b209ed63a294d999b4c86675982");
}

// [RFC 7693 Appendix E]: one digest over digests of every interesting length, keyed and not.
TEST_F(CryptoTest, Blake2sSelfTest) {
  const auto sequence = [](size_t bytes, uint32_t seed) {
    std::vector<uint8_t> out(bytes);
    uint32_t a = 0xDEAD4BAD * seed, b = 1;
    for (auto& byte : out) {
      const uint32_t t = a + b;
      a = b;
      b = t;
      byte = static_cast<uint8_t>(t >> 24);
    }
    return out;
  };
  Blake2s all(32);
  for (size_t out_bytes : {16, 20, 28, 32}) {
    for (size_t in_bytes : {0, 3, 64, 65, 255, 1024}) {
      const auto input = sequence(in_bytes, static_cast<uint32_t>(in_bytes));
      const auto key = sequence(out_bytes, static_cast<uint32_t>(out_bytes));
      std::vector<uint8_t> digest(out_bytes);
      Blake2s(out_bytes).Update(input).Final(digest.data());
      all.Update(digest);
      Blake2s(out_bytes, key).Update(input).Final(digest.data());
      all.Update(digest);
    }
  }
  Hash digest;
  all.Final(digest.data());
  EXPECT_EQ(Hex(digest), "6a411f08ce25adcdfb02aba641451cec53c598b24f4fc787fbdc88797f4c1dfe");
}

TEST_F(CryptoTest, Blake2sDoesNotDependOnHowInputIsCut) {
  std::string input(300, 'x');
  const Hash whole = HashOf({View(input)});
  for (size_t cut = 0; cut <= input.size(); ++cut) {
    EXPECT_EQ(HashOf({View(input).first(cut), View(input).subspan(cut)}), whole);
  }
}

// The result of a lane is what one handshake computes alone, whatever the other lanes hold.
TEST_F(CryptoTest, HashLanesAgreeWithOneAtATime) {
  std::mt19937 random(7693);
  for (size_t bytes : {1, 12, 28, 32, 33, 48, 63, 64}) {
    uint8_t hashes[kHashLanes][32], inputs[kHashLanes][64];
    std::array<const uint8_t*, kHashLanes> views;
    HashLanes hash;
    for (size_t lane = 0; lane < kHashLanes; ++lane) {
      for (uint8_t& byte : hashes[lane]) byte = static_cast<uint8_t>(random());
      for (uint8_t& byte : inputs[lane]) byte = static_cast<uint8_t>(random());
      views[lane] = inputs[lane];
      hash.Load(lane, hashes[lane]);
    }
    MixHashLanes(&hash, views, bytes);
    for (size_t lane = 0; lane < kHashLanes; ++lane) {
      Hash out;
      hash.Store(lane, out.data());
      EXPECT_EQ(out, HashOf({hashes[lane], Bytes(inputs[lane], bytes)})) << bytes;
    }
  }
}

TEST_F(CryptoTest, KdfLanesAgreeWithOneAtATime) {
  std::mt19937 random(2104);
  for (bool with_key : {false, true}) {
    uint8_t cks[kHashLanes][32], inputs[kHashLanes][32];
    HashLanes ck, input, key;
    for (size_t lane = 0; lane < kHashLanes; ++lane) {
      for (uint8_t& byte : cks[lane]) byte = static_cast<uint8_t>(random());
      for (uint8_t& byte : inputs[lane]) byte = static_cast<uint8_t>(random());
      ck.Load(lane, cks[lane]);
      input.Load(lane, inputs[lane]);
    }
    KdfLanes(&ck, input, with_key ? &key : nullptr);
    for (size_t lane = 0; lane < kHashLanes; ++lane) {
      Hash expected_ck, expected_key{}, out_ck, out_key;
      if (with_key) {
        Kdf(cks[lane], inputs[lane], {expected_ck.data(), expected_key.data()});
      } else {
        Kdf(cks[lane], inputs[lane], {expected_ck.data()});
      }
      ck.Store(lane, out_ck.data());
      key.Store(lane, out_key.data());
      EXPECT_EQ(out_ck, expected_ck);
      EXPECT_EQ(out_key, expected_key);
    }
  }
}

// The tests above run only the fastest instance.
TEST_F(CryptoTest, InstancesOfHashLanesAgree) {
  std::mt19937 random(512);
  const auto fill = [&](auto* words) {
    for (auto& row : *words) {
      for (uint32_t& word : row) word = static_cast<uint32_t>(random());
    }
  };
  const auto compare = [&](MixHashInstance mix_hash, KdfInstance kdf) {
    uint32_t hash[8][8], message[32][8], ck[8][8], input[8][8], key[8][8];
    fill(&hash), fill(&message), fill(&ck), fill(&input);
    uint32_t expected_hash[8][8], expected_ck[8][8], expected_key[8][8];
    memcpy(expected_hash, hash, sizeof(hash));
    memcpy(expected_ck, ck, sizeof(ck));
    for (uint32_t bytes : {33u, 64u, 65u, 80u, 128u}) {
      MixHashVector(expected_hash, message, bytes);
      mix_hash(hash, message, bytes);
      EXPECT_EQ(memcmp(hash, expected_hash, sizeof(hash)), 0) << bytes;
    }
    KdfVector(expected_ck, input, expected_key);
    kdf(ck, input, key);
    EXPECT_EQ(memcmp(ck, expected_ck, sizeof(ck)), 0);
    EXPECT_EQ(memcmp(key, expected_key, sizeof(key)), 0);
  };
  if (__builtin_cpu_supports("avx2")) compare(MixHashAvx2, KdfAvx2);
  if (__builtin_cpu_supports("avx512vl")) compare(MixHashAvx512, KdfAvx512);
}

// [RFC 7748 5.2]
TEST_F(CryptoTest, X25519Vectors) {
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
    Secret<32> scalar, product;
    const std::string scalar_bytes = Unhex(v.scalar), point = Unhex(v.point);
    memcpy(scalar.data(), scalar_bytes.data(), 32);
    ASSERT_TRUE(X25519(scalar, reinterpret_cast<const uint8_t*>(point.data()), &product));
    EXPECT_EQ(Hex(product), v.product);
  }
}

// [RFC 7748 5.2], the iteration.
TEST_F(CryptoTest, X25519Iterated) {
  Secret<32> k, u, product;
  k.data()[0] = u.data()[0] = 9;
  for (int i = 1; i <= 1000; ++i) {
    ASSERT_TRUE(X25519(k, u.data(), &product));
    u = std::move(k);
    k = std::move(product);
    if (i == 1) {
      EXPECT_EQ(Hex(k), "422c8e7a6227d7bca1350b3e2bb7279f7897b87bb6854b783c60e80311ae3079");
    }
  }
  EXPECT_EQ(Hex(k), "684cf59ba83309552800ef566f2f4d3c1c3887c49360e3875f2eb94d99532c51");
}

TEST_F(CryptoTest, X25519RefusesLowOrderPoints) {
  const Secret<32> scalar = GeneratePrivateKey();
  for (const char* point : {"0000000000000000000000000000000000000000000000000000000000000000",
                            "0100000000000000000000000000000000000000000000000000000000000000",
                            "e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800",
                            "5f9c95bca3508c24b1d0b1559c83ef5b04445cc4581c8e86d8224eddd09f1157",
                            "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
                            "edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
                            "eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f"}) {
    Secret<32> product;
    const std::string bytes = Unhex(point);
    EXPECT_FALSE(X25519(scalar, reinterpret_cast<const uint8_t*>(bytes.data()), &product)) << point;
    EXPECT_EQ(Hex(product), std::string(64, '0'));
  }
}

// Every single-bit change of a sealed text is refused, and so is another counter.
TEST_F(CryptoTest, AeadRoundTripAndEveryFlippedBit) {
  Secret<32> key = GeneratePrivateKey();
  const std::string plaintext = "Ladies and Gentlemen of the class of '99";
  const std::string associated = Unhex("50515253c0c1c2c3c4c5c6c7");
  std::vector<uint8_t> sealed(plaintext.size() + kTagBytes), opened(plaintext.size());
  Seal(key.data(), 7, View(plaintext), View(associated), sealed.data());
  ASSERT_TRUE(Open(key.data(), 7, sealed, View(associated), opened.data()));
  EXPECT_EQ(std::string(opened.begin(), opened.end()), plaintext);
  EXPECT_FALSE(Open(key.data(), 8, sealed, View(associated), opened.data()));
  for (size_t bit = 0; bit < sealed.size() * 8; ++bit) {
    sealed[bit / 8] ^= static_cast<uint8_t>(1u << (bit % 8));
    EXPECT_FALSE(Open(key.data(), 7, sealed, View(associated), opened.data()));
    sealed[bit / 8] ^= static_cast<uint8_t>(1u << (bit % 8));
  }
}

// [RFC 8439 A.5]: its nonce is 00000000 0102030405060708, a counter.
TEST_F(CryptoTest, AeadVector) {
  const std::string key = Unhex("1c9240a5eb55d38af333888604f6b5f0473917c1402b80099dca5cbc207075c0");
  const std::string sealed = Unhex(
      "64a0861575861af460f062c79be643bd5e805cfd345cf389f108670ac76c8cb24c6cfc18755d43eea09ee94e382d"
      "26b0bdb7b73c321b0100d4f03b7f355894cf332f830e710b97ce98c8a84abd0b948114ad176e008d33bd60f982b1"
      "ff37c8559797a06ef4f0ef61c186324e2b3506383606907b6a7c02b0f9f6157b53c867e4b9166c767b804d46a59b"
      "5216cde7a4e99040c5a40433225ee282a1b0a06c523eaf4534d7f83fa1155b0047718cbc546a0d072b04b3564eea"
      "1b422273f548271a0bb2316053fa76991955ebd63159434ecebb4e466dae5a1073a6727627097a1049e617d91d36"
      "1094fa68f0ff77987130305beaba2eda04df997b714d6c6f2c29a6ad5cb4022b02709b"
      "eead9d67890cbb22392336fea1851f38");
  const std::string associated = Unhex("f33388860000000000004e91");
  std::vector<uint8_t> opened(sealed.size() - kTagBytes);
  ASSERT_TRUE(Open(reinterpret_cast<const uint8_t*>(key.data()), 0x0807060504030201ULL,
                   View(sealed), View(associated), opened.data()));
  EXPECT_EQ(std::string(opened.begin(), opened.begin() + 28), "Internet-Drafts are draft do");
  std::vector<uint8_t> again(sealed.size());
  Seal(reinterpret_cast<const uint8_t*>(key.data()), 0x0807060504030201ULL, opened,
       View(associated), again.data());
  EXPECT_EQ(Hex(again), absl::BytesToHexString(sealed));
}

TEST_F(CryptoTest, LockedMemoryHoldsItsValue) {
  auto locked = Locked<Secret<32>>::Make();
  ASSERT_TRUE(locked);
  locked->data()[31] = 5;
  EXPECT_EQ(locked->data()[31], 5);
}

TEST(SecretTest, IsWipedWhenMovedFrom) {
  Secret<4> a;
  a.data()[0] = 9;
  const Secret<4> b = std::move(a);
  EXPECT_EQ(a.data()[0], 0);  // NOLINT: the test reads the moved-from bytes
  EXPECT_EQ(b.data()[0], 9);
}

// --- the cipher with which the XDP program seals cookies -------------------------

template <size_t n>
std::array<uint32_t, n> Words(const std::string& hex) {
  std::array<uint32_t, n> words{};
  const std::string bytes = Unhex(hex);
  EXPECT_EQ(bytes.size(), 4 * n);
  memcpy(words.data(), bytes.data(), std::min(bytes.size(), 4 * n));
  return words;
}
template <size_t n>
std::string HexWords(const std::array<uint32_t, n>& words) {
  return absl::BytesToHexString({reinterpret_cast<const char*>(words.data()), 4 * n});
}

// [RFC 8439 2.3.2], with a nonce of 12 bytes: the state before the final addition.
TEST_F(CryptoTest, ChaCha20Rounds) {
  const auto key = Words<8>("000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f");
  std::array<uint32_t, 16> x;
  chacha20_rounds(x.data(), key.data(), 1, 0x09000000, 0x4a000000, 0);
  EXPECT_EQ(x[0], 0x837778abu);
  EXPECT_EQ(x[8], 0x335271c2u);
  EXPECT_EQ(x[15], 0x4e3c50a2u);
}

// [draft-irtf-cfrg-xchacha-03 2.2.1]
TEST_F(CryptoTest, HChaCha20) {
  const auto key = Words<8>("000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f");
  const auto nonce = Words<4>("000000090000004a0000000031415927");
  std::array<uint32_t, 8> subkey;
  hchacha20(subkey.data(), key.data(), nonce.data());
  EXPECT_EQ(HexWords(subkey), "82413b4227b27bfed30e42508a877d73a0f9e4d58a74a853c12ec41326d3ecdc");
}

// [draft-irtf-cfrg-xchacha-03 A.3.1]: Poly1305's key and the first words of the ciphertext.
TEST_F(CryptoTest, XChaCha20Streams) {
  const auto key = Words<8>("808182838485868788898a8b8c8d8e8f909192939495969798999a9b9c9d9e9f");
  const auto nonce = Words<6>("404142434445464748494a4b4c4d4e4f5051525354555657");
  std::array<uint32_t, 8> subkey, stream;
  hchacha20(subkey.data(), key.data(), nonce.data());
  chacha20_half_block(stream.data(), subkey.data(), nonce.data() + 4, 0);
  EXPECT_EQ(HexWords(stream), "7b191f80f361f099094f6f4b8fb97df847cc6873a8f2b190dd73807183f907d5");
  chacha20_half_block(stream.data(), subkey.data(), nonce.data() + 4, 1);
  const auto text = Words<4>("4c616469657320616e642047656e746c");  // "Ladies and Gentl"
  std::array<uint32_t, 4> sealed;
  for (size_t i = 0; i < 4; ++i) sealed[i] = text[i] ^ stream[i];
  EXPECT_EQ(HexWords(sealed), "bd6d179d3e83d43b9576579493c0e939");
}

// [RFC 8439 A.3, vectors 7 to 11]: corner cases of the reduction and the carries.
TEST_F(CryptoTest, Poly1305Corners) {
  const auto tag = [](const std::string& r, const std::string& pad, const std::string& message) {
    const auto key = Words<4>(r), addend = Words<4>(pad);
    std::array<uint32_t, 5> h{}, limbs;
    std::array<uint32_t, 4> out;
    poly1305_clamp(limbs.data(), key.data());
    for (size_t at = 0; at < message.size(); at += 32) {
      const auto block = Words<4>(message.substr(at, 32));
      poly1305_block(h.data(), limbs.data(), block[0], block[1], block[2], block[3]);
    }
    poly1305_finish(out.data(), h.data(), addend.data());
    return HexWords(out);
  };
  const std::string zeros(32, '0'), ones(32, 'f');
  const std::string one = "01" + zeros.substr(2), two = "02" + zeros.substr(2);
  EXPECT_EQ(tag(two, zeros, ones), "03" + zeros.substr(2));
  EXPECT_EQ(tag(two, ones, two), "03" + zeros.substr(2));
  EXPECT_EQ(tag(one, zeros, ones + "f0" + ones.substr(2) + "11" + zeros.substr(2)),
            "05" + zeros.substr(2));
  EXPECT_EQ(tag(one, zeros,
                ones + "fbfefefefefefefefefefefefefefefe" + "01010101010101010101010101010101"),
            zeros);
  EXPECT_EQ(tag(two, zeros, "fd" + ones.substr(2)), "fa" + ones.substr(2));
  const std::string r = "01000000000000000400000000000000";
  const std::string start =
      "e33594d7505e43b900000000000000003394d7505e4379cd0100000000000000" + zeros;
  EXPECT_EQ(tag(r, zeros, start + one), "14000000000000005500000000000000");
  EXPECT_EQ(tag(r, zeros, start), "13000000000000000000000000000000");
}

TEST_F(CryptoTest, CookiesAreSealedAsLibsodiumSealsThem) {
  std::mt19937 random(13);
  for (int round = 0; round < 100'000; ++round) {
    std::array<uint32_t, 8> key, subkey, tag_key, stream;
    std::array<uint32_t, 6> nonce;
    std::array<uint32_t, 4> text, associated, tag;
    for (auto& word : key) word = static_cast<uint32_t>(random());
    for (auto& word : nonce) word = static_cast<uint32_t>(random());
    for (auto& word : text) word = static_cast<uint32_t>(random());
    for (auto& word : associated) word = static_cast<uint32_t>(random());
    const auto bytes = [](const auto& words) {
      return Bytes(reinterpret_cast<const uint8_t*>(words.data()), sizeof(words));
    };
    std::array<uint8_t, 32> expected;
    SealX(bytes(key).data(), bytes(nonce).data(), bytes(text), bytes(associated), expected.data());
    hchacha20(subkey.data(), key.data(), nonce.data());
    chacha20_half_block(tag_key.data(), subkey.data(), nonce.data() + 4, 0);
    chacha20_half_block(stream.data(), subkey.data(), nonce.data() + 4, 1);
    for (size_t i = 0; i < 4; ++i) text[i] ^= stream[i];
    poly1305_tag(tag.data(), tag_key.data(), associated.data(), text.data());
    ASSERT_EQ(HexWords(text) + HexWords(tag), Hex(expected)) << round;
  }
}

}  // namespace
}  // namespace wicket::crypto
