// X25519 and its keys.
#pragma once

#include <memory>

#include "base/key.h"
#include "base/secret.h"
#include "base/status.h"

namespace wicket::crypto {

// Must succeed once before any call that libsodium serves: those below, aead.h, X25519Batch().
absl::Status Initialize();

// shared = scalar * point.
//
// Returns: false when the product is all zero, as it is for a low-order point and any scalar; do
//          not use `shared` then.
// Secrets: constant time in the scalar; on false `shared` is wiped.
// Cost:    BM_X25519.
// Source:  [RFC 7748]
[[nodiscard]] bool X25519(const Secret<kKeyBytes>& scalar, const uint8_t point[kKeyBytes],
                          Secret<kKeyBytes>* shared);

PublicKey DerivePublicKey(const Secret<kKeyBytes>& private_key);
Secret<kKeyBytes> GeneratePrivateKey();

// Compares in constant time; any length.
bool Equal(const uint8_t* a, const uint8_t* b, size_t bytes);

void FillRandom(uint8_t* out, size_t bytes);

// One T in memory that is locked, guarded, excluded from core dumps, and wiped on destruction.
//
// Requires: alignof(T) <= 16.
// Errors:   null when there is no memory, or the memory lock limit is reached.
template <typename T>
class Locked;

namespace internal {
void* AllocateLocked(size_t bytes);
void FreeLocked(void* memory);
}  // namespace internal

template <typename T>
class Locked {
 public:
  template <typename... Args>
  static Locked Make(Args&&... args) {
    Locked locked;
    if (void* memory = internal::AllocateLocked(sizeof(T)); memory != nullptr) {
      locked.value_.reset(new (memory) T(std::forward<Args>(args)...));
    }
    return locked;
  }
  explicit operator bool() const { return value_ != nullptr; }
  T& operator*() const { return *value_; }
  T* operator->() const { return value_.get(); }

 private:
  struct Free {
    void operator()(T* value) const {
      value->~T();
      internal::FreeLocked(value);
    }
  };
  std::unique_ptr<T, Free> value_;
};

}  // namespace wicket::crypto
