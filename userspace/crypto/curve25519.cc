#include "crypto/curve25519.h"

#include <sodium.h>

namespace wicket::crypto {
namespace {

// libsodium copies the scalar to its stack and leaves it there.
constexpr size_t kStackBytes = 4096;

}  // namespace

absl::Status Initialize() {
  if (sodium_init() < 0) return absl::InternalError("sodium_init(): failed (no random source?)");
  return absl::OkStatus();
}

bool X25519(const Secret<kKeyBytes>& scalar, const uint8_t point[kKeyBytes],
            Secret<kKeyBytes>* shared) {
  // libsodium itself rejects an all-zero product, in constant time.
  const bool ok = crypto_scalarmult_curve25519(shared->data(), scalar.data(), point) == 0;
  sodium_stackzero(kStackBytes);
  if (!ok) shared->Wipe();
  return ok;
}

PublicKey DerivePublicKey(const Secret<kKeyBytes>& private_key) {
  PublicKey key;
  crypto_scalarmult_curve25519_base(key.bytes.data(), private_key.data());
  sodium_stackzero(kStackBytes);
  return key;
}

Secret<kKeyBytes> GeneratePrivateKey() {
  Secret<kKeyBytes> key;
  randombytes_buf(key.data(), key.size());
  key.data()[0] &= 248;  // clamped, as `wg genkey` prints it
  key.data()[31] = static_cast<uint8_t>((key.data()[31] & 127) | 64);
  return key;
}

bool Equal(const uint8_t* a, const uint8_t* b, size_t bytes) {
  return sodium_memcmp(a, b, bytes) == 0;
}

void FillRandom(uint8_t* out, size_t bytes) { randombytes_buf(out, bytes); }

namespace internal {

void* AllocateLocked(size_t bytes) {
  // sodium_malloc puts the block at the end of its pages, so it is aligned to 16 only when its
  // size is a multiple of 16.
  const size_t rounded = (bytes + 15) / 16 * 16;
  void* memory = sodium_malloc(rounded);
  // sodium_malloc locks the pages too, but does not tell when it cannot.
  if (memory != nullptr && sodium_mlock(memory, rounded) != 0) {
    sodium_free(memory);
    memory = nullptr;
  }
  return memory;
}

void FreeLocked(void* memory) { sodium_free(memory); }

}  // namespace internal
}  // namespace wicket::crypto
