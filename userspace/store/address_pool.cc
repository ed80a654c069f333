#include "store/address_pool.h"

#include <endian.h>
#include <string.h>

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "base/clock.h"
#include "store/lmdb_values.h"
#include "store/record.h"

namespace wicket::store {
namespace {

constexpr absl::uint128 kFirstOffset = 2;     // behind the network's and the device's own
constexpr size_t kTimeBytes = 8;              // big-endian Unix ns
constexpr int kAllocationStepsMax = 1 << 14;  // used addresses skipped in one call, about 10 ms

absl::uint128 ToNumber(const Address& address) {
  absl::uint128 number = 0;
  for (size_t i = 0; i < address.size(); ++i) number = number << 8 | address.bytes[i];
  return number;
}

Address ToAddress(Family family, absl::uint128 number) {
  Address address{family, {}};
  for (size_t i = address.size(); i-- > 0; number >>= 8) {
    address.bytes[i] = static_cast<uint8_t>(absl::Uint128Low64(number));
  }
  return address;
}

// The offset behind the last address that may be given out.
absl::uint128 EndOffset(const Prefix& cidr) {
  const int host_bits = cidr.address.bits() - cidr.length;
  const absl::uint128 all = host_bits == 128 ? absl::Uint128Max() : absl::uint128{1} << host_bits;
  return cidr.address.family == Family::kIpv4 ? all - 1 : all;  // less the broadcast address
}

std::string BigEndian(absl::uint128 number) {
  const Address bytes = ToAddress(Family::kIpv6, number);
  return std::string(reinterpret_cast<const char*>(bytes.bytes.data()), bytes.bytes.size());
}

absl::string_view Bytes(const Address& address) {
  return {reinterpret_cast<const char*>(address.bytes.data()), address.size()};
}

Address AddressAtEnd(Family family, absl::string_view bytes) {
  Address address{family, {}};
  memcpy(address.bytes.data(), bytes.data() + bytes.size() - address.size(), address.size());
  return address;
}

absl::Status SkippedEnough() {
  return absl::UnavailableError("addresses in use are being skipped; ask again");
}

}  // namespace

CidrUse UseOf(const Prefix& cidr, std::optional<absl::uint128> next) {
  const absl::uint128 end = EndOffset(cidr), reached = std::min(next.value_or(kFirstOffset), end);
  return {.size = static_cast<double>(end - kFirstOffset),
          .used = static_cast<double>(reached - kFirstOffset)};
}

absl::Status AddressPool::LoadAllocators() {
  if (allocators_) return absl::OkStatus();
  allocators_.emplace();
  const Cursor cursor = OpenCursor(txn_->get(), tables_.allocators);
  if (!cursor) return txn_->Spoil(ENOMEM, "mdb_cursor_open(allocators)");
  MDB_val key{}, value{};
  int code = mdb_cursor_get(cursor.get(), &key, &value, MDB_FIRST);
  for (; code == MDB_SUCCESS; code = mdb_cursor_get(cursor.get(), &key, &value, MDB_NEXT)) {
    const absl::string_view entry = View(key);
    const size_t zero = entry.find('\0');
    if (zero == entry.npos || entry.size() < zero + 7 || value.mv_size != 16) continue;
    const auto family = static_cast<Family>(entry[zero + 1]);
    if (entry.size() != zero + 3 + Address{family, {}}.size()) continue;
    allocators_->push_back({std::string(entry),
                            {AddressAtEnd(family, entry), static_cast<uint8_t>(entry[zero + 2])},
                            ToNumber(AddressAtEnd(Family::kIpv6, View(value)))});
  }
  return code == MDB_NOTFOUND ? absl::OkStatus() : txn_->Spoil(code, "mdb_cursor_get(allocators)");
}

absl::StatusOr<AddressPool::Allocator*> AddressPool::AllocatorOf(absl::string_view device,
                                                                 const Prefix& cidr) {
  WICKET_RETURN_IF_ERROR(LoadAllocators());
  const std::string key = PrefixKey(device, cidr);
  for (Allocator& allocator : *allocators_) {
    if (allocator.key == key) return &allocator;
  }
  return &allocators_->emplace_back(Allocator{key, cidr, kFirstOffset});
}

absl::Status AddressPool::Release(absl::string_view device, const Prefix& prefix) {
  WICKET_RETURN_IF_ERROR(LoadAllocators());
  for (const Allocator& allocator : *allocators_) {
    if (allocator.key != PrefixKey(device, allocator.cidr)) continue;
    // A wider prefix has kept no address of the pool from being given out; see IsFree.
    if (!Contains(allocator.cidr, prefix)) continue;
    if (ToNumber(prefix.address) - ToNumber(allocator.cidr.address) >= allocator.next) continue;
    const uint64_t now_ns = htobe64(static_cast<uint64_t>(absl::ToUnixNanos(WallNow())));
    WICKET_RETURN_IF_ERROR(
        PutReleased(allocator.key, {reinterpret_cast<const char*>(&now_ns), kTimeBytes}, prefix));
  }
  return absl::OkStatus();
}

// A part that waits already moves to the end of the queue.
absl::Status AddressPool::PutReleased(const std::string& allocator, const std::string& time,
                                      const Prefix& part) {
  const std::string address(Bytes(part.address));
  const std::string length(1, static_cast<char>(part.length));
  const std::string where = allocator + address + length;
  MDB_val key = Val(absl::string_view(where)), before;
  if (mdb_get(txn_->get(), tables_.released_at, &key, &before) == MDB_SUCCESS) {
    if (View(before) > absl::string_view(time))
      return absl::OkStatus();  // what is left of a range keeps its newer place
    WICKET_RETURN_IF_ERROR(txn_->Delete(tables_.released,
                                        absl::StrCat(allocator, std::string(View(before)), address),
                                        "mdb_del()"));
  }
  WICKET_RETURN_IF_ERROR(txn_->Put(tables_.released_at, where, time));
  return txn_->Put(tables_.released, allocator + time + address, length);
}

// Returns: the address that has been unused for longest, or nothing when none waits.
absl::StatusOr<std::optional<Address>> AddressPool::TakeReleased(absl::string_view device,
                                                                 const Allocator& allocator) {
  const Address& base = allocator.cidr.address;
  for (int step = 0; step < kAllocationStepsMax; ++step) {
    std::string entry;
    uint8_t length = base.bits();
    {
      const Cursor cursor = OpenCursor(txn_->get(), tables_.released);
      if (!cursor) return txn_->Spoil(ENOMEM, "mdb_cursor_open(released)");
      MDB_val key = Val(absl::string_view(allocator.key)), value;
      const int code = mdb_cursor_get(cursor.get(), &key, &value, MDB_SET_RANGE);
      if (code == MDB_NOTFOUND) return std::nullopt;
      if (code != MDB_SUCCESS) return txn_->Spoil(code, "mdb_cursor_get(released)");
      entry = std::string(View(key));
      if (value.mv_size == 1) length = static_cast<uint8_t>(View(value)[0]);
    }
    if (entry.size() != allocator.key.size() + kTimeBytes + base.size() ||
        entry.compare(0, allocator.key.size(), allocator.key) != 0) {
      return std::nullopt;
    }
    const Address address = AddressAtEnd(base.family, entry);
    const std::string time = entry.substr(allocator.key.size(), kTimeBytes);
    const std::string where = absl::StrCat(allocator.key, std::string(Bytes(address)),
                                           std::string(1, static_cast<char>(length)));
    WICKET_RETURN_IF_ERROR(txn_->Delete(tables_.released, entry, "mdb_del(released)"));
    WICKET_RETURN_IF_ERROR(txn_->Delete(tables_.released_at, where, "mdb_del(released_at)"));
    while (length < base.bits()) {  // the upper halves of a range wait on
      ++length;
      const absl::uint128 half = ToNumber(address) + (absl::uint128{1} << (base.bits() - length));
      if (half - ToNumber(base) >= allocator.next) continue;  // never given out, nor skipped
      WICKET_RETURN_IF_ERROR(
          PutReleased(allocator.key, time, {ToAddress(base.family, half), length}));
    }
    const absl::uint128 offset = ToNumber(address) - ToNumber(base);
    if (offset >= kFirstOffset && offset < std::min(allocator.next, EndOffset(allocator.cidr)) &&
        IsFree(device, allocator.cidr, address)) {
      return address;
    }
  }
  return SkippedEnough();
}

// True when no peer has the address, or a wider prefix inside the CIDR that covers it.
bool AddressPool::IsFree(absl::string_view device, const Prefix& cidr,
                         const Address& address) const {
  for (int length = address.bits(); length >= cidr.length; --length) {
    const std::string key = PrefixKey(device, PrefixOf(address, static_cast<uint8_t>(length)));
    MDB_val lmdb_key = Val(absl::string_view(key)), owner;
    if (mdb_get(txn_->get(), tables_.prefixes, &lmdb_key, &owner) != MDB_NOTFOUND) return false;
  }
  return true;
}

// Returns: the next free address that was never given out, or nothing at the end of the
// CIDR. What was skipped on the way is remembered either way.
absl::StatusOr<std::optional<Address>> AddressPool::TakeNext(absl::string_view device,
                                                             Allocator* allocator) {
  const Prefix& cidr = allocator->cidr;
  const absl::uint128 base = ToNumber(cidr.address), end = EndOffset(cidr);
  std::optional<Address> found;
  bool more = allocator->next < end;
  for (int step = 0; more && !found && step < kAllocationStepsMax; ++step) {
    const Address address = ToAddress(cidr.address.family, base + allocator->next);
    more = ++allocator->next < end;
    if (IsFree(device, cidr, address)) found = address;
  }
  WICKET_RETURN_IF_ERROR(txn_->Put(tables_.allocators, allocator->key, BigEndian(allocator->next)));
  if (!found && more) return SkippedEnough();
  return found;
}

absl::StatusOr<Prefix> AddressPool::Allocate(absl::string_view device,
                                             const std::vector<Prefix>& cidrs) {
  WICKET_RETURN_IF_ERROR(txn_->CheckRoom());
  for (const Prefix& cidr : cidrs) {
    WICKET_ASSIGN_OR_RETURN(Allocator * allocator, AllocatorOf(device, cidr));
    WICKET_ASSIGN_OR_RETURN(const auto released, TakeReleased(device, *allocator));
    if (released) return Prefix{*released, released->bits()};
    WICKET_ASSIGN_OR_RETURN(const auto next, TakeNext(device, allocator));
    if (next) return Prefix{*next, next->bits()};
  }
  return absl::ResourceExhaustedError("every address of the pool is in use");
}

}  // namespace wicket::store
