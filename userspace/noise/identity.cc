#include "noise/identity.h"

namespace wicket::noise {
namespace {

crypto::Bytes AsBytes(const char* text, size_t size) {
  return {reinterpret_cast<const uint8_t*>(text), size};
}

constexpr char kProtocol[] = "Noise_IKpsk2_25519_ChaChaPoly_BLAKE2s";
constexpr char kPrologue[] = "WireGuard v1 zx2c4 Jason@zx2c4.com";
constexpr char kMac1Label[] = "mac1----";
constexpr char kCookieLabel[] = "cookie--";

}  // namespace

SymmetricState InitialState(const PublicKey& responder) {
  SymmetricState state(AsBytes(kProtocol, sizeof(kProtocol) - 1));
  state.MixHash(AsBytes(kPrologue, sizeof(kPrologue) - 1));
  state.MixHash(responder.bytes);
  return state;
}

crypto::Hash Mac1Key(const PublicKey& receiver) {
  return crypto::HashOf({AsBytes(kMac1Label, sizeof(kMac1Label) - 1), receiver.bytes});
}

crypto::Hash CookieKey(const PublicKey& responder) {
  return crypto::HashOf({AsBytes(kCookieLabel, sizeof(kCookieLabel) - 1), responder.bytes});
}

}  // namespace wicket::noise
