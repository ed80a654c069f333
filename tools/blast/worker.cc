#include "tools/blast/worker.h"

#include <string.h>

#include <algorithm>

#include "base/clock.h"

namespace wicket::blast {
namespace {

constexpr uint64_t kSpin_ns = 200'000;        // a shorter time than this is not slept through
constexpr uint64_t kWaitMax_ns = 20'000'000;  // between two looks at `ending`
constexpr uint64_t kLinger_ns = 500'000'000;  // the wait for answers to a capture's last packet
constexpr uint64_t kVerified = 4;             // answers verified between two looks at the schedule
constexpr uint64_t kBurst = 32;               // packets sent between two looks at the inbox

uint32_t IndexOf(const std::array<uint8_t, 4>& bytes) {
  uint32_t index;
  memcpy(&index, bytes.data(), sizeof(index));
  return index;
}

}  // namespace

Worker::Worker(const LoadOptions& options, const Fleet* fleet, int thread, Mailboxes* mailboxes)
    : options_(options),
      fleet_(fleet),
      schedule_(options, static_cast<uint32_t>(thread)),
      random_(options.seed, static_cast<uint32_t>(thread)),
      supply_(options, fleet, static_cast<uint32_t>(thread), &sessions_, &random_, &counts),
      sources_(options, fleet->size(), static_cast<uint32_t>(thread), &random_),
      outstanding_(Outstanding::SlotsFor(options)),
      cookies_(options.target_key),
      inbox_(static_cast<uint32_t>(thread), mailboxes) {
  queued_due_.reserve(kBurst);
}

void Worker::Prepare(std::unique_ptr<Port> port, const Ending& ending) {
  port_ = std::move(port);
  sources_.SetRun(port_->run());
  // A client's stamps must grow, and none is ahead of the time that its packet is sent at.
  const absl::Time base = WallNow();
  const uint64_t now_ns = SteadyNanos();
  const uint64_t wanted = std::min(options_.prepared, options_.pace.count_max) /
                          static_cast<uint64_t>(options_.threads);
  for (uint64_t i = 0; i < wanted && !ending; i += Supply::kTogether) {
    const uint64_t made = supply_.Make(
        std::min(Supply::kTogether, wanted - i), now_ns,
        [this, base, i](uint64_t k) { return base + absl::Seconds(schedule_.OffsetOf(i + k)); });
    if (made == 0) break;
  }
}

// --- sending -----------------------------------------------------------------

void Worker::Run(uint64_t started_ns, const Ending& ending) {
  schedule_.Start(started_ns);
  uint64_t number = 0;
  bool more = schedule_.Has(number);
  while (more && !ending) {
    const uint64_t now = SteadyNanos();
    const uint64_t due = schedule_.Due(number, now, outstanding_.awaited());
    if (schedule_.IsOver(now, due)) break;
    if (due <= now) {
      more = SendNext(number, due) && schedule_.Has(++number);
      if (more && !queued_due_.empty()) continue;  // after a burst, answers are received
    }
    Flush();
    const uint64_t until = std::min({due, schedule_.end_ns(), now + kWaitMax_ns,
                                     outstanding_.NextDeadline().value_or(UINT64_MAX)});
    Receive(until > now + kSpin_ns ? until - now - kSpin_ns / 2 : 0);
    Expire(/*try_again=*/true);
  }
  Flush();
  counts.sending_ns = SteadyNanos() - started_ns;
  counts.waited_ns = inbox_.waited_ns();
  Drain(ending);
}

// Waits for the answers that are still awaited.
void Worker::Drain(const Ending& ending) {
  // It is not known which packets of a capture want an answer.
  const uint64_t linger_ns =
      options_.replay ? std::min(Nanos(options_.patience.timeout), kLinger_ns) : 0;
  const uint64_t until = SteadyNanos() + linger_ns;
  while (SteadyNanos() < until && !ending) Receive(kWaitMax_ns);
  while ((outstanding_.awaited() > 0 || !inbox_.empty()) && ending < kWaitNoMore) {
    Receive(kWaitMax_ns);
    Expire(/*try_again=*/!ending);
  }
  counts.lost += outstanding_.GiveUpAll();
  counts.overrun = port_->Overrun();
}

// Takes turn `number`. Returns: false when there is nothing more to send.
bool Worker::SendNext(uint64_t number, uint64_t due_ns) {
  if (options_.replay) return SendCaptured(number, due_ns);
  if (supply_.empty() && options_.prepared == 0) {
    const absl::Time now = WallNow();
    const uint64_t now_ns = SteadyNanos();
    // A client that comes twice in one batch has two stamps.
    supply_.Make(schedule_.CountDue(number, now_ns, Supply::kTogether), now_ns,
                 [now](uint64_t k) { return now + absl::Nanoseconds(k); });
  }
  if (supply_.empty()) return false;
  std::optional<Packet> packet = supply_.Take();
  if (!packet) return true;
  if (packet->kind == Kind::kData) {
    SendData(packet->client, due_ns);
    return true;
  }
  counts.sent[static_cast<size_t>(packet->kind)].fetch_add(1, std::memory_order_relaxed);
  const uint64_t source = sources_.Of(*packet);
  if (WantsAnswer(packet->kind)) {
    SendHandshake({std::move(*packet), source, due_ns}, due_ns);
  } else {
    Queue(source, packet->payload(), due_ns);
  }
  return true;
}

void Worker::SendHandshake(Outstanding::Handshake handshake, uint64_t due_ns) {
  const uint64_t now = SteadyNanos();
  cookies_.AddMac2(now, &handshake.packet);
  const uint64_t deadline = now + DrawPatience();
  Queue(handshake.source, handshake.packet.payload(), due_ns);
  counts.lost += outstanding_.Add(std::move(handshake), deadline);
}

// How long the next answer is awaited, in ns.
uint64_t Worker::DrawPatience() {
  if (options_.patience.retries == 0) return Nanos(options_.patience.timeout);
  const uint64_t after = Nanos(options_.patience.retry_after);
  return after + random_.Next() % (after / 15 + 1);
}

// The client forgets `before` and makes another attempt, which has the same intended time.
void Worker::SendAgain(Outstanding::Handshake* before, uint64_t now_ns) {
  std::optional<Packet> packet = supply_.MakeAgain(before->packet, WallNow());
  const uint64_t source = before->source, intended_ns = before->intended_ns;
  const uint64_t attempts = before->attempts + 1;
  outstanding_.Forget(before);
  ++counts.retried;
  if (packet) SendHandshake({std::move(*packet), source, intended_ns, attempts}, now_ns);
  Flush();
}

void Worker::SendData(uint64_t client, uint64_t due_ns) {
  uint8_t packet[Session::kPacketBytesMax];
  const size_t bytes = sessions_.Of(client).SealKeepalive(packet);
  Queue(sources_.OfClient(client), {packet, bytes}, due_ns);
  ++counts.sent[static_cast<size_t>(Kind::kData)];
}

// Returns: false at the capture's end.
bool Worker::SendCaptured(uint64_t number, uint64_t due_ns) {
  const uint64_t at = schedule_.OfAll(number);
  if (at >= options_.replay->size()) return false;
  const CapturedDatagram& datagram = (*options_.replay)[at];
  Queue(sources_.OfCaptured(datagram.from), datagram.payload, due_ns);
  ++counts.replayed;
  return true;
}

void Worker::Queue(uint64_t source, std::span<const uint8_t> payload, uint64_t due_ns) {
  port_->Send(source, payload);
  queued_due_.push_back(due_ns);
  if (queued_due_.size() >= kBurst) Flush();
}

void Worker::FlushPort() {
  const Unsent unsent = port_->Flush();
  if (unsent.refused > 0) counts.send_errors += unsent.refused;
  if (unsent.no_room > 0) counts.no_room += unsent.no_room;
}

void Worker::Flush() {
  if (queued_due_.empty()) return;
  FlushPort();
  const uint64_t now = SteadyNanos();
  for (const uint64_t due : queued_due_) counts.lateness.Record(now > due ? now - due : 0);
  queued_due_.clear();
}

// --- answers -----------------------------------------------------------------

void Worker::Receive(uint64_t wait_ns) {
  inbox_.Receive(port_.get(), wait_ns);
  for (uint64_t verified = 0; verified < kVerified && !inbox_.empty();) {
    verified += Take(inbox_.front());
    inbox_.Pop();
  }
}

bool Worker::Take(const Letter& letter) {
  const std::span<const uint8_t> payload = letter.payload;
  const uint8_t type = payload.empty() ? 0 : payload[0];
  if (options_.replay) {
    ++counts.responses;
  } else if (type == 2 && payload.size() == sizeof(wire::Response)) {
    return TakeResponse(payload, letter.arrived_ns);
  } else if (type == 3 && payload.size() == sizeof(wire::CookieReply)) {
    return TakeCookie(payload, letter.arrived_ns);
  } else if (type == 4 && payload.size() >= wire::kDataBytesMin) {
    TakeData(payload, letter.arrived_ns);
  } else {
    ++counts.unexpected;
  }
  return false;
}

// A response after its deadline is lost: to count it as an answer would hide how long it took.
bool Worker::TakeResponse(std::span<const uint8_t> payload, uint64_t arrived_ns) {
  wire::Response response;
  memcpy(&response, payload.data(), sizeof(response));
  Outstanding::Handshake* handshake = outstanding_.FindHandshake(IndexOf(response.receiver_index));
  if (handshake == nullptr) {
    ++counts.unexpected;
    return false;
  }
  const Packet& packet = handshake->packet;
  auto keys =
      noise::OpenResponse(fleet_->PrivateKey(packet.client), {}, packet.handshake, response);
  if (!keys) {
    ++counts.unverified;
    return true;
  }
  ++counts.answered[static_cast<size_t>(packet.kind)];
  const uint64_t intended_ns = handshake->intended_ns;
  counts.latency.Record(arrived_ns > intended_ns ? arrived_ns - intended_ns : 0);
  const size_t session =
      sessions_.Keep(Session(packet.client, response.sender_index, arrived_ns, std::move(*keys)));
  if (options_.confirm) Confirm(handshake, session, arrived_ns);
  if (!options_.confirm || !options_.ping) outstanding_.Forget(handshake);
  return true;
}

// Completes the handshake: the endpoint waits for a packet in the new session.
void Worker::Confirm(Outstanding::Handshake* handshake, size_t session, uint64_t now_ns) {
  uint8_t bytes[Session::kPacketBytesMax];
  size_t size;
  if (options_.ping) {
    const Address from = fleet_->InnerAddress(handshake->packet.client);
    size = sessions_[session].SealPing(from, *options_.ping, bytes);
    outstanding_.AwaitPong(handshake, session, now_ns + Nanos(options_.patience.timeout));
    ++counts.pinged;
  } else {
    size = sessions_[session].SealKeepalive(bytes);
  }
  port_->Send(handshake->source, {bytes, size});
  FlushPort();
}

// A client keeps the cookie for its next handshake. A client of kind kCookie makes that handshake
// at once, with the first cookie that it gets.
bool Worker::TakeCookie(std::span<const uint8_t> payload, uint64_t arrived_ns) {
  wire::CookieReply reply;
  memcpy(&reply, payload.data(), sizeof(reply));
  Outstanding::Handshake* handshake = outstanding_.FindHandshake(IndexOf(reply.receiver_index));
  if (handshake == nullptr) {
    ++counts.unexpected;
    ++counts.unexpected_cookies;
    return false;
  }
  if (!cookies_.Take(handshake->packet, reply, arrived_ns)) {
    ++counts.unverified;
    return true;
  }
  ++counts.cookies;
  if (handshake->packet.kind == Kind::kCookie &&
      handshake->attempts <= 1 + options_.patience.retries) {
    SendAgain(handshake, arrived_ns);
  }
  return true;
}

void Worker::TakeData(std::span<const uint8_t> payload, uint64_t arrived_ns) {
  uint32_t index;
  memcpy(&index, &payload[4], sizeof(index));
  Outstanding::Handshake* handshake = outstanding_.FindPing(index);
  if (handshake == nullptr) return;
  if (!sessions_[*handshake->session].OpensPong(payload)) return;  // a keepalive
  const uint64_t intended_ns = handshake->intended_ns;
  outstanding_.Forget(handshake);
  ++counts.ponged;
  counts.usable.Record(arrived_ns > intended_ns ? arrived_ns - intended_ns : 0);
}

// Gives up, or tries again, each handshake whose deadline has passed. The time that counts is the
// arrival of the oldest answer that was not examined: that answer may have arrived in time.
void Worker::Expire(bool try_again) {
  const uint64_t now = inbox_.empty() ? SteadyNanos() : inbox_.front().arrived_ns;
  while (Outstanding::Handshake* handshake = outstanding_.TakeExpired(now)) {
    if (try_again && !handshake->session && handshake->attempts <= options_.patience.retries) {
      SendAgain(handshake, now);
    } else {
      counts.lost += outstanding_.GiveUp(handshake);
    }
  }
}

}  // namespace wicket::blast
