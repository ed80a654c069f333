// Bytes that are wiped on destruction.
#pragma once

#include <string.h>

#include <array>
#include <cstddef>
#include <cstdint>

namespace wicket {

// N secret bytes: not printable, not comparable, wiped on destruction and when moved from.
//
// Secrets: not locked into memory; crypto::Locked does that.
template <size_t N>
class Secret {
 public:
  Secret() = default;
  Secret(const Secret&) = delete;
  Secret& operator=(const Secret&) = delete;
  Secret(Secret&& other) noexcept : bytes_(other.bytes_) { other.Wipe(); }
  Secret& operator=(Secret&& other) noexcept {
    if (this != &other) {
      bytes_ = other.bytes_;
      other.Wipe();
    }
    return *this;
  }
  ~Secret() { Wipe(); }

  // Copies by an explicit name, so that no copy is made by accident.
  Secret Clone() const {
    Secret copy;
    copy.bytes_ = bytes_;
    return copy;
  }
  void Wipe() { explicit_bzero(bytes_.data(), N); }

  uint8_t* data() { return bytes_.data(); }
  const uint8_t* data() const { return bytes_.data(); }
  static constexpr size_t size() { return N; }

 private:
  std::array<uint8_t, N> bytes_{};
};

}  // namespace wicket
