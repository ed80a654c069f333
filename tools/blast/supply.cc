#include "tools/blast/supply.h"

#include <algorithm>
#include <iterator>
#include <utility>
#include <vector>

namespace wicket::blast {
namespace {

constexpr uint64_t kRekeyAfter_ns = 120'000'000'000;  // [WG 6.1] REKEY_AFTER_TIME

// Whether the packet is of a client that has a session.
bool IsOfSession(Kind kind) {
  return kind == Kind::kRekey || kind == Kind::kData || kind == Kind::kOld;
}

}  // namespace

Supply::Supply(const LoadOptions& options, const Fleet* fleet, uint32_t thread,
               const Sessions* sessions, Random* random, Counts* counts)
    : mix_(options.mix),
      known_(options.clients.known),
      fleet_(fleet),
      sessions_(sessions),
      random_(random),
      counts_(counts),
      thread_(thread),
      threads_(static_cast<uint64_t>(options.threads)),
      maker_(fleet, options.target_key, random),
      next_client_(options.clients.first + thread) {}

uint64_t Supply::Make(uint64_t turns, uint64_t now_ns,
                      absl::FunctionRef<absl::Time(uint64_t)> stamp_of) {
  std::vector<std::optional<PacketOrder>> orders;
  orders.reserve(turns);
  for (uint64_t k = 0; k < turns; ++k) {
    Turn turn = Plan(now_ns);
    if (turn.exhausted) break;
    if (turn.order) {
      turn.order->sender_index = NextIndex();
      turn.order->stamp = stamp_of(k);
    }
    orders.push_back(turn.order);
  }
  std::vector<std::optional<Packet>> packets(orders.size());
  maker_.Make(orders, packets);
  std::move(packets.begin(), packets.end(), std::back_inserter(made_));
  return packets.size();
}

std::optional<Packet> Supply::MakeAgain(const Packet& packet, absl::Time stamp) {
  return maker_.Make({packet.kind, packet.client, NextIndex(), stamp});
}

Supply::Turn Supply::Plan(uint64_t now_ns) {
  const Kind kind = mix_.Pick(static_cast<uint32_t>(random_->Next()));
  const uint64_t clients = fleet_->size();
  if (known_ && (kind == Kind::kRekey || kind == Kind::kOld)) {
    return {PacketOrder{kind, thread_ + rotation_++ % (clients / threads_) * threads_}};
  }
  if (IsOfSession(kind)) return PlanSession(kind, now_ns);
  if (kind == Kind::kNew || kind == Kind::kCookie) return PlanNewcomer(kind);
  const uint64_t any = std::max<uint64_t>(clients, 1);
  if (kind == Kind::kForged) return {PacketOrder{kind, random_->Next() % any}};
  // Of the other kinds only kRepeat uses the client's key: the one that comes last as a newcomer.
  return {PacketOrder{kind, any - 1}};
}

Supply::Turn Supply::PlanNewcomer(Kind kind) {
  const uint64_t client = next_client_;
  next_client_ += threads_;
  if (client < fleet_->size()) {
    ++counts_->clients;
    return {PacketOrder{kind, client}};
  }
  ++counts_->exhausted;
  return {.exhausted = true};
}

Supply::Turn Supply::PlanSession(Kind kind, uint64_t now_ns) {
  const bool more_to_come = next_client_ < fleet_->size();
  // Where the mix has no newcomers, all clients come once before the first comes again.
  const bool newcomers = mix_.Has(Kind::kNew) || mix_.Has(Kind::kCookie);
  if (more_to_come && (sessions_->empty() || !newcomers)) {
    return PlanNewcomer(!newcomers || mix_.Has(Kind::kNew) ? Kind::kNew : Kind::kCookie);
  }
  if (sessions_->empty()) {
    ++counts_->exhausted;
    return {};
  }
  const Session& session = sessions_->InTurn(rotation_++);
  // A client renews its session in time: the target drops an old session's data at little cost.
  const bool aged = now_ns - session.born_ns() > kRekeyAfter_ns;
  return {PacketOrder{aged && kind == Kind::kData ? Kind::kRekey : kind, session.client()}};
}

}  // namespace wicket::blast
