#include "crypto/blake2s.h"

#include <string.h>

#include <algorithm>

#include "xdp/blake2s.h"

namespace wicket::crypto {
namespace {

void Compress(uint32_t* h, const uint8_t* block, uint64_t total, bool is_last) {
  uint32_t words[16];
  memcpy(words, block, sizeof(words));
  blake2s_compress(h, words, total, is_last);
  explicit_bzero(words, sizeof(words));
}

// HMAC with a key of one hash length, the only length in the handshake.
class Hmac {
 public:
  explicit Hmac(Bytes key) : inner_(kHashBytes), outer_(kHashBytes) {
    uint8_t pad[BLAKE2S_BLOCK_BYTES];
    const auto absorb = [&](Blake2s* hash, uint8_t mask) {
      memset(pad, mask, sizeof(pad));
      for (size_t i = 0; i < key.size(); ++i) pad[i] ^= key[i];
      hash->Update(pad);
    };
    absorb(&inner_, 0x36);
    absorb(&outer_, 0x5c);
    explicit_bzero(pad, sizeof(pad));
  }
  Hmac& Update(Bytes input) {
    inner_.Update(input);
    return *this;
  }
  void Final(uint8_t* out) {
    Secret<kHashBytes> digest;
    inner_.Final(digest.data());
    outer_.Update({digest.data(), digest.size()}).Final(out);
  }

 private:
  Blake2s inner_;
  Blake2s outer_;
};

}  // namespace

Blake2s::Blake2s(size_t out_bytes, Bytes key) : out_bytes_(out_bytes) {
  blake2s_begin(h_, static_cast<uint32_t>(out_bytes), static_cast<uint32_t>(key.size()));
  memset(block_, 0, sizeof(block_));
  if (!key.empty()) {
    std::copy(key.begin(), key.end(), block_);
    used_ = sizeof(block_);
  }
}

Blake2s::~Blake2s() {
  explicit_bzero(h_, sizeof(h_));
  explicit_bzero(block_, sizeof(block_));
}

Blake2s& Blake2s::Update(Bytes input) {
  while (!input.empty()) {
    if (used_ == sizeof(block_)) {  // a full block waits until more input shows it is not the last
      total_ += sizeof(block_);
      Compress(h_, block_, total_, false);
      used_ = 0;
    }
    const size_t n = std::min(input.size(), sizeof(block_) - used_);
    memcpy(block_ + used_, input.data(), n);
    used_ += n;
    input = input.subspan(n);
  }
  return *this;
}

void Blake2s::Final(uint8_t* out) {
  total_ += used_;
  memset(block_ + used_, 0, sizeof(block_) - used_);
  Compress(h_, block_, total_, true);
  memcpy(out, h_, out_bytes_);
}

Hash HashOf(std::initializer_list<Bytes> parts) {
  Blake2s hash(kHashBytes);
  for (Bytes part : parts) hash.Update(part);
  Hash out;
  hash.Final(out.data());
  return out;
}

Mac MacOf(Bytes key, Bytes input) {
  Mac out;
  Blake2s(kMacBytes, key).Update(input).Final(out.data());
  return out;
}

void Kdf(Bytes chaining_key, Bytes input, std::initializer_list<uint8_t*> outputs) {
  Secret<kHashBytes> prk;
  Hmac(chaining_key).Update(input).Final(prk.data());
  Secret<kHashBytes> previous;
  uint8_t counter = 0;
  for (uint8_t* out : outputs) {
    Hmac hmac({prk.data(), prk.size()});
    if (counter > 0) hmac.Update({previous.data(), previous.size()});
    ++counter;
    hmac.Update({&counter, 1}).Final(previous.data());
    memcpy(out, previous.data(), kHashBytes);
  }
}

}  // namespace wicket::crypto
