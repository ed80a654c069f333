// Records from a damaged file. The checksum would refuse nearly all of them, so it is corrected
// first: the rest must be decoded or refused, never overrun.
#include <zlib.h>

#include <cstring>
#include <string>

#include "store/record.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace wicket;
  const PublicKey key;
  std::string record(reinterpret_cast<const char*>(data), size);
  if (size >= 8) {
    record[0] = 1;
    memset(record.data() + 4, 0, 4);
    uLong crc = crc32(0, key.bytes.data(), kKeyBytes);
    crc = crc32(crc, reinterpret_cast<const Bytef*>(record.data()), static_cast<uInt>(size));
    const auto word = static_cast<uint32_t>(crc);
    memcpy(record.data() + 4, &word, 4);
  }
  store::ViewPeer(key, record);
  if (const auto peer = store::DecodePeer(key, record)) {
    if (const auto again = store::EncodePeer(*peer); again.ok()) {
      if (!store::DecodePeer(key, *again)) __builtin_trap();
    }
  }
  store::DecodeSession(key, record);
  return 0;
}
