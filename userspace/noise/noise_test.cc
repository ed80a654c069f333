#include <gtest/gtest.h>

#include <fstream>
#include <map>
#include <random>
#include <string>
#include <vector>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "crypto/aead.h"
#include "noise/cookie.h"
#include "noise/initiator.h"
#include "noise/responder.h"
#include "noise/responder_batch.h"

namespace wicket::noise {
namespace {

template <typename Message>
Message FromHex(absl::string_view hex) {
  const std::string bytes = absl::HexStringToBytes(hex);
  Message message;
  EXPECT_EQ(bytes.size(), sizeof(message));
  memcpy(&message, bytes.data(), std::min(bytes.size(), sizeof(message)));
  return message;
}

std::string Hex(const void* data, size_t bytes) {
  return absl::BytesToHexString(absl::string_view(static_cast<const char*>(data), bytes));
}

// Handshakes captured from another implementation in 2018 (Wireshark's test
// captures), with all their keys: tests/data/handshakes.txt.
struct Handshake {
  std::map<std::string, std::string> fields;
  Secret<32> Key(const std::string& name) const { return *ParseSecretKey(fields.at(name)); }
};

std::vector<Handshake> Captured() {
  std::ifstream file(WICKET_TEST_DATA "/handshakes.txt");
  std::vector<Handshake> handshakes;
  std::string name, value;
  for (std::string line; std::getline(file, line);) {
    if (line.empty() || line[0] == '#') continue;
    const size_t equals = line.find(" = ");
    name = line.substr(0, equals);
    value = line.substr(equals + 3);
    if (name == "handshake") handshakes.emplace_back();
    handshakes.back().fields[name] = value;
  }
  return handshakes;
}

class NoiseTest : public ::testing::Test {
 protected:
  static void SetUpTestSuite() { ASSERT_TRUE(crypto::Initialize().ok()); }
};

TEST_F(NoiseTest, ProvesTheCapturedInitiations) {
  const auto handshakes = Captured();
  ASSERT_EQ(handshakes.size(), 2u);
  for (const Handshake& handshake : handshakes) {
    const auto self = crypto::Locked<Identity>::Make(handshake.Key("responder_private"));
    ASSERT_TRUE(self);
    EXPECT_EQ(ToBase64(self->public_key()), handshake.fields.at("responder_public"));
    const auto message = FromHex<wire::Initiation>(handshake.fields.at("initiation"));
    EXPECT_TRUE(CheckMac1(*self, message));
    auto claim = OpenStatic(*self, message);
    ASSERT_TRUE(claim);
    EXPECT_EQ(ToBase64(claim->static_public), handshake.fields.at("initiator_public"));
    const auto stamp = OpenTimestamp(*self, std::move(*claim), message);
    ASSERT_TRUE(stamp);
    EXPECT_EQ(Hex(stamp->data(), stamp->size()), handshake.fields.at("timestamp"));
  }
}

TEST_F(NoiseTest, MakesTheCapturedInitiationsAndOpensTheirResponses) {
  for (const Handshake& handshake : Captured()) {
    const auto expected = FromHex<wire::Initiation>(handshake.fields.at("initiation"));
    const auto response = FromHex<wire::Response>(handshake.fields.at("response"));
    uint32_t index;
    memcpy(&index, expected.sender_index.data(), 4);
    Tai64n stamp;
    const std::string stamp_bytes = absl::HexStringToBytes(handshake.fields.at("timestamp"));
    memcpy(stamp.data(), stamp_bytes.data(), stamp.size());
    const Secret<32> self = handshake.Key("initiator_private");
    const auto pending =
        CreateInitiation(self, *ParsePublicKey(handshake.fields.at("responder_public")),
                         handshake.Key("initiator_ephemeral"), index, stamp);
    ASSERT_TRUE(pending);
    EXPECT_EQ(Hex(&pending->message, sizeof(expected)), handshake.fields.at("initiation"));
    EXPECT_TRUE(OpenResponse(self, Secret<32>(), *pending, response));
    const Secret<32> ephemeral = handshake.Key("initiator_ephemeral");
    for (const size_t n : {1, 2, 17, 40}) {  // in every lane
      const std::vector<Initiator> initiators(n, {&self, &ephemeral, index, stamp});
      std::vector<PendingHandshake> made(n);
      ASSERT_TRUE(CreateInitiations(crypto::FastestX25519(),
                                    *ParsePublicKey(handshake.fields.at("responder_public")),
                                    initiators, made));
      for (const PendingHandshake& one : made) {
        EXPECT_EQ(Hex(&one.message, sizeof(expected)), handshake.fields.at("initiation"));
        EXPECT_TRUE(OpenResponse(self, Secret<32>(), one, response));
      }
    }
    Secret<32> wrong_psk;
    wrong_psk.data()[0] = 1;
    EXPECT_FALSE(OpenResponse(self, wrong_psk, *pending, response));
  }
}

// An initiation is the same made alone and in a batch, whatever is beside it.
TEST_F(NoiseTest, ManyInitiationsAtOnceAreEachTheirClients) {
  const PublicKey responder = crypto::DerivePublicKey(crypto::GeneratePrivateKey());
  std::vector<Secret<32>> keys, ephemerals;
  std::vector<Initiator> clients;
  keys.reserve(33);
  ephemerals.reserve(33);
  for (uint32_t i = 0; i < 33; ++i) {
    keys.push_back(crypto::GeneratePrivateKey());
    ephemerals.push_back(crypto::GeneratePrivateKey());
    Tai64n stamp{};
    stamp[7] = static_cast<uint8_t>(i);
    clients.push_back({&keys.back(), &ephemerals.back(), i, stamp});
  }
  for (const auto backend : {crypto::X25519Backend::kPortable, crypto::X25519Backend::kAvx2x4,
                             crypto::X25519Backend::kIfma8}) {
    if (!crypto::RunsHere(backend)) continue;
    std::vector<PendingHandshake> made(clients.size());
    ASSERT_TRUE(CreateInitiations(backend, responder, clients, made));
    for (size_t i = 0; i < clients.size(); ++i) {
      const auto alone = CreateInitiation(keys[i], responder, ephemerals[i],
                                          clients[i].sender_index, clients[i].timestamp);
      EXPECT_EQ(memcmp(&made[i].message, &alone->message, sizeof(alone->message)), 0)
          << ToString(backend) << ", client " << i;
    }
  }
}

TEST_F(NoiseTest, RefusesEverySingleFlippedBit) {
  const Handshake handshake = Captured().front();
  const Identity self(handshake.Key("responder_private"));
  auto message = FromHex<wire::Initiation>(handshake.fields.at("initiation"));
  auto* bytes = reinterpret_cast<uint8_t*>(&message);
  for (size_t bit = 0; bit < offsetof(wire::Initiation, mac2) * 8; ++bit) {
    bytes[bit / 8] ^= static_cast<uint8_t>(1u << (bit % 8));
    EXPECT_FALSE(CheckMac1(self, message)) << bit;
    const bool in_transcript = bit / 8 >= offsetof(wire::Initiation, ephemeral) &&
                               bit / 8 < offsetof(wire::Initiation, mac1);
    // Bit 255 of an ephemeral key does not change the product, but it is hashed.
    if (in_transcript) {
      auto claim = OpenStatic(self, message);
      EXPECT_FALSE(claim && OpenTimestamp(self, std::move(*claim), message)) << bit;
    }
    bytes[bit / 8] ^= static_cast<uint8_t>(1u << (bit % 8));
  }
}

// A forgery that anyone with two public keys can make: it decrypts to the victim's key and proves
// nothing.
TEST_F(NoiseTest, AStaticOnlyForgeryIsClaimedButNotProven) {
  const Secret<32> responder = crypto::GeneratePrivateKey();
  const Identity self(responder);
  const Secret<32> victim = crypto::GeneratePrivateKey();
  const Secret<32> ephemeral = crypto::GeneratePrivateKey();
  const PublicKey victim_public = crypto::DerivePublicKey(victim);

  SymmetricState state = InitialState(self.public_key());
  wire::Initiation forged{};
  forged.type = {1, 0, 0, 0};
  forged.ephemeral = crypto::DerivePublicKey(ephemeral).bytes;
  state.MixHash(forged.ephemeral);
  state.MixChainingKey(forged.ephemeral);
  Secret<32> shared;
  ASSERT_TRUE(crypto::X25519(ephemeral, self.public_key().bytes.data(), &shared));
  const auto key = state.MixKey({shared.data(), shared.size()});
  state.EncryptAndHash(key, victim_public.bytes, forged.encrypted_static.data());
  forged.encrypted_timestamp.fill(0x42);
  forged.mac1 = crypto::MacOf(self.mac1_key(), BytesBefore(forged, forged.mac1));

  EXPECT_TRUE(CheckMac1(self, forged));
  auto claim = OpenStatic(self, forged);
  ASSERT_TRUE(claim);
  EXPECT_EQ(claim->static_public, victim_public);
  EXPECT_FALSE(OpenTimestamp(self, std::move(*claim), forged));
}

TEST_F(NoiseTest, RefusesLowOrderEphemeralAndStaticKeys) {
  const Identity self(crypto::GeneratePrivateKey());
  wire::Initiation message{};
  message.type = {1, 0, 0, 0};
  EXPECT_FALSE(OpenStatic(self, message));  // ephemeral key 0
  EXPECT_FALSE(CreateInitiation(crypto::GeneratePrivateKey(), PublicKey{},
                                crypto::GeneratePrivateKey(), 1, Tai64n{}));
  const auto key = crypto::GeneratePrivateKey();
  const std::vector<Initiator> two(2, {&key, &key, 1, Tai64n{}});
  std::vector<PendingHandshake> made(2);
  EXPECT_FALSE(CreateInitiations(crypto::FastestX25519(), PublicKey{}, two, made));
}

// An initiation whose tags verify under shared secrets that are all zero, as a low-order ephemeral
// or static key makes them with any responder's key.
wire::Initiation LowOrder(const Identity& self, bool is_ephemeral) {
  wire::Initiation message{};
  Secret<32> shared;
  SymmetricState state = InitialState(self.public_key());
  const auto ephemeral = crypto::GeneratePrivateKey();
  if (!is_ephemeral) {
    message.ephemeral = crypto::DerivePublicKey(ephemeral).bytes;
    EXPECT_TRUE(crypto::X25519(ephemeral, self.public_key().bytes.data(), &shared));
  }
  state.MixHash(message.ephemeral);
  state.MixChainingKey(message.ephemeral);
  const auto static_key = state.MixKey({shared.data(), shared.size()});
  state.EncryptAndHash(static_key, PublicKey{}.bytes, message.encrypted_static.data());
  shared.Wipe();
  const auto timestamp_key = state.MixKey({shared.data(), shared.size()});
  state.EncryptAndHash(timestamp_key, Tai64n{}, message.encrypted_timestamp.data());
  return message;
}

TEST_F(NoiseTest, RefusesLowOrderKeysWhoseTagsVerify) {
  const Identity self(crypto::GeneratePrivateKey());
  const auto ephemeral = LowOrder(self, true), static_key = LowOrder(self, false);
  EXPECT_FALSE(OpenStatic(self, ephemeral));
  auto claim = OpenStatic(self, static_key);
  ASSERT_TRUE(claim);
  EXPECT_EQ(claim->static_public, PublicKey{});
  EXPECT_FALSE(OpenTimestamp(self, std::move(*claim), static_key));
}

// The result of a message in a batch is the result that it has alone.
TEST_F(NoiseTest, ABatchSaysOfEachMessageWhatIsSaidOfItAlone) {
  const Secret<32> responder = crypto::GeneratePrivateKey();
  const Identity self(responder);
  std::mt19937 random(64);
  const auto made = [&](size_t kind) {
    const auto client = crypto::GeneratePrivateKey();
    Tai64n stamp;
    for (uint8_t& byte : stamp) byte = static_cast<uint8_t>(random());
    wire::Initiation message =
        CreateInitiation(client, self.public_key(), crypto::GeneratePrivateKey(), 1, stamp)
            ->message;
    switch (kind) {
      case 1:  // one bit of the bytes that are hashed or opened
        reinterpret_cast<uint8_t*>(&message)[8 + random() % 108] ^=
            static_cast<uint8_t>(1 << random() % 8);
        break;
      case 2:
        message.encrypted_timestamp[random() % 28] ^= 1;
        break;
      case 3:  // low order, bit 255 set or not
        message.ephemeral = {};
        message.ephemeral[31] = static_cast<uint8_t>(random() % 2 << 7);
        break;
      case 4:  // made for another responder
        message = CreateInitiation(client, crypto::DerivePublicKey(client),
                                   crypto::GeneratePrivateKey(), 1, stamp)
                      ->message;
        break;
      case 6:
      case 7:
        return LowOrder(self, kind == 6);
      case 5:
        for (uint8_t& byte : message.ephemeral) byte = static_cast<uint8_t>(random());
        break;
    }
    return message;
  };
  std::vector<wire::Initiation> pool;
  for (size_t i = 0; i < 128; ++i) pool.push_back(made(random() % 10));

  for (auto backend : {crypto::X25519Backend::kPortable, crypto::X25519Backend::kAvx2x4,
                       crypto::X25519Backend::kIfma8}) {
    if (!crypto::RunsHere(backend)) continue;
    ResponderBatch batch(backend);
    for (size_t n = 0; n <= ResponderBatch::kMessagesMax; n += n < 18 ? 1 : 23) {
      std::vector<const wire::Initiation*> messages;
      for (size_t i = 0; i < n; ++i) messages.push_back(&pool[random() % pool.size()]);
      batch.OpenStatics(self, messages);
      std::array<bool, ResponderBatch::kMessagesMax> wanted{};
      size_t claims = 0, proofs = 0;
      for (size_t i = 0; i < n; ++i) {
        const auto alone = OpenStatic(self, *messages[i]);
        ASSERT_EQ(batch.claim(i) != nullptr, alone.has_value()) << i << " of " << n;
        if (!alone) continue;
        ++claims;
        EXPECT_EQ(*batch.claim(i), alone->static_public);
        wanted[i] = random() % 4 != 0;
      }
      batch.OpenTimestamps(self, wanted);
      for (size_t i = 0; i < n; ++i) {
        std::optional<Tai64n> alone;
        if (wanted[i]) alone = OpenTimestamp(self, *OpenStatic(self, *messages[i]), *messages[i]);
        ASSERT_EQ(batch.timestamp(i) != nullptr, alone.has_value()) << i << " of " << n;
        if (alone) {
          ++proofs;
          EXPECT_EQ(*batch.timestamp(i), *alone);
        }
      }
      if (n == 64) {
        EXPECT_LT(claims, n);
        EXPECT_LT(proofs, claims);
        EXPECT_GT(proofs, 0u);
      }
    }
  }
}

// Noise_IKpsk2 run token by token on the symmetric state, against the vectors
// of an independent Noise library: tests/data/noise_ikpsk2.txt.
TEST_F(NoiseTest, SymmetricStateReproducesTheNoiseVectors) {
  std::ifstream file(WICKET_TEST_DATA "/noise_ikpsk2.txt");
  std::vector<std::map<std::string, std::string>> vectors;
  for (std::string line; std::getline(file, line);) {
    if (line.rfind("handshake=", 0) == 0) vectors.emplace_back();
    const size_t equals = line.find('=');
    if (line.empty() || line[0] == '#' || equals == std::string::npos) continue;
    vectors.back()[line.substr(0, equals)] = absl::HexStringToBytes(line.substr(equals + 1));
  }
  ASSERT_EQ(vectors.size(), 4u);
  const auto view = [](const std::string& text) {
    return crypto::Bytes(reinterpret_cast<const uint8_t*>(text.data()), text.size());
  };
  for (auto& vector : vectors) {
    const auto secret = [&](const char* name) {
      Secret<32> key;
      memcpy(key.data(), vector.at(name).data(), 32);
      return key;
    };
    const Secret<32> s_i = secret("init_static"), s_r = secret("resp_static");
    const Secret<32> e_i = secret("gen_init_ephemeral"), e_r = secret("gen_resp_ephemeral");
    const auto dh = [](const Secret<32>& a, const Secret<32>& b) {
      Secret<32> shared;
      EXPECT_TRUE(crypto::X25519(a, crypto::DerivePublicKey(b).bytes.data(), &shared));
      return shared;
    };
    const auto bytes = [](const Secret<32>& key) { return crypto::Bytes(key.data(), key.size()); };
    const std::string name = "Noise_IKpsk2_25519_ChaChaPoly_BLAKE2s";

    SymmetricState state(view(name));
    state.MixHash(view(vector["prologue"]));
    state.MixHash(crypto::DerivePublicKey(s_r).bytes);
    std::string message;
    const auto append = [&](const PublicKey& key) {
      message.append(reinterpret_cast<const char*>(key.bytes.data()), 32);
    };
    const auto seal = [&](const SymmetricState::Key& key, crypto::Bytes plaintext) {
      std::string sealed(plaintext.size() + 16, 0);
      state.EncryptAndHash(key, plaintext, reinterpret_cast<uint8_t*>(sealed.data()));
      message += sealed;
    };
    append(crypto::DerivePublicKey(e_i)); /* e */
    state.MixHash(crypto::DerivePublicKey(e_i).bytes);
    state.MixChainingKey(crypto::DerivePublicKey(e_i).bytes);
    const auto es = state.MixKey(bytes(dh(e_i, s_r))); /* es */
    seal(es, crypto::DerivePublicKey(s_i).bytes);      /* s */
    const auto ss = state.MixKey(bytes(dh(s_i, s_r))); /* ss */
    seal(ss, view(vector.at("msg_0_payload")));
    EXPECT_EQ(message, vector.at("msg_0_ciphertext"));

    message.clear();
    append(crypto::DerivePublicKey(e_r)); /* e */
    state.MixHash(crypto::DerivePublicKey(e_r).bytes);
    state.MixChainingKey(crypto::DerivePublicKey(e_r).bytes);
    state.MixChainingKey(bytes(dh(e_r, e_i)));                              /* ee */
    state.MixChainingKey(bytes(dh(e_r, s_i)));                              /* se */
    const auto psk = state.MixKeyAndHash(view(vector.at("preshared_key"))); /* psk */
    seal(psk, view(vector.at("msg_1_payload")));
    EXPECT_EQ(message, vector.at("msg_1_ciphertext"));
  }
}

// [draft-irtf-cfrg-xchacha A.3.1]
TEST_F(NoiseTest, TheCookieCipherIsThePublishedOne) {
  std::array<uint8_t, 32> key;
  std::array<uint8_t, 24> nonce;
  for (size_t i = 0; i < key.size(); ++i) key[i] = static_cast<uint8_t>(0x80 + i);
  for (size_t i = 0; i < nonce.size(); ++i) nonce[i] = static_cast<uint8_t>(0x40 + i);
  const std::string associated = absl::HexStringToBytes("50515253c0c1c2c3c4c5c6c7");
  const std::string plaintext =
      "Ladies and Gentlemen of the class of '99: If I could offer you only one tip for the "
      "future, sunscreen would be it.";
  auto bytes = [](const std::string& text) {
    return crypto::Bytes(reinterpret_cast<const uint8_t*>(text.data()), text.size());
  };
  std::vector<uint8_t> sealed(plaintext.size() + crypto::kTagBytes);
  crypto::SealX(key.data(), nonce.data(), bytes(plaintext), bytes(associated), sealed.data());
  EXPECT_EQ(Hex(sealed.data(), 16), "bd6d179d3e83d43b9576579493c0e939");
  EXPECT_EQ(Hex(sealed.data() + plaintext.size(), 16), "c0875924c1c7987947deafd8780acf49");
}

TEST_F(NoiseTest, ACookieOpensForWhoeverSentTheInitiationAndNobodyElse) {
  const crypto::Hash key = CookieKey(crypto::DerivePublicKey(crypto::GeneratePrivateKey()));
  Cookie cookie;
  crypto::Mac mac1;
  crypto::FillRandom(cookie.data(), cookie.size());
  crypto::FillRandom(mac1.data(), mac1.size());
  const wire::CookieReply reply = SealCookie(key, cookie, mac1, {1, 2, 3, 4});
  EXPECT_EQ(reply.receiver_index, (std::array<uint8_t, 4>{1, 2, 3, 4}));
  ASSERT_TRUE(OpenCookie(key, mac1, reply).has_value());
  EXPECT_EQ(*OpenCookie(key, mac1, reply), cookie);
  mac1[15] ^= 1;
  EXPECT_FALSE(OpenCookie(key, mac1, reply).has_value());
  mac1[15] ^= 1;
  EXPECT_FALSE(OpenCookie(CookieKey({}), mac1, reply).has_value());
}

}  // namespace
}  // namespace wicket::noise
