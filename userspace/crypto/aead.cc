#include "crypto/aead.h"

#include <sodium.h>
#include <string.h>

namespace wicket::crypto {
namespace {

struct Nonce {
  explicit Nonce(uint64_t counter) {
    memset(bytes, 0, sizeof(bytes));
    for (int i = 0; i < 8; ++i) bytes[4 + i] = static_cast<uint8_t>(counter >> (8 * i));
  }
  uint8_t bytes[crypto_aead_chacha20poly1305_ietf_NPUBBYTES];
};

}  // namespace

void Seal(const uint8_t key[32], uint64_t counter, Bytes plaintext, Bytes associated,
          uint8_t* out) {
  const Nonce nonce(counter);
  crypto_aead_chacha20poly1305_ietf_encrypt(out, nullptr, plaintext.data(), plaintext.size(),
                                            associated.data(), associated.size(), nullptr,
                                            nonce.bytes, key);
}

bool Open(const uint8_t key[32], uint64_t counter, Bytes sealed, Bytes associated, uint8_t* out) {
  const Nonce nonce(counter);
  return crypto_aead_chacha20poly1305_ietf_decrypt(out, nullptr, nullptr, sealed.data(),
                                                   sealed.size(), associated.data(),
                                                   associated.size(), nonce.bytes, key) == 0;
}

void SealX(const uint8_t key[32], const uint8_t nonce[24], Bytes plaintext, Bytes associated,
           uint8_t* out) {
  crypto_aead_xchacha20poly1305_ietf_encrypt(out, nullptr, plaintext.data(), plaintext.size(),
                                             associated.data(), associated.size(), nullptr, nonce,
                                             key);
}

bool OpenX(const uint8_t key[32], const uint8_t nonce[24], Bytes sealed, Bytes associated,
           uint8_t* out) {
  return crypto_aead_xchacha20poly1305_ietf_decrypt(out, nullptr, nullptr, sealed.data(),
                                                    sealed.size(), associated.data(),
                                                    associated.size(), nonce, key) == 0;
}

}  // namespace wicket::crypto
