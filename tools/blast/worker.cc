#include "tools/blast/worker.h"

#include <string.h>
#include <time.h>

#include <algorithm>
#include <bit>
#include <cmath>

#include "absl/time/clock.h"

namespace wicket::blast {
namespace {

constexpr uint64_t kSourcesMax = 16'384;
constexpr uint64_t kRememberedMin = 1 << 16, kRememberedMax = kInFlightMax;
constexpr uint64_t kSpin_ns = 200'000;        // nearer than this, the next packet is not slept for
constexpr uint64_t kWaitMax_ns = 20'000'000;  // without a look at who wants it to end
constexpr uint64_t kMail_ns = 100'000;        // a wait, where another thread may have our answers
constexpr uint64_t kGrace_ns = 50'000'000;    // after the end, for what was due before it
constexpr uint64_t kLinger_ns = 500'000'000;  // after the last packet of a capture
constexpr uint64_t kVerified = 4;             // answers verified between two looks at what is due
constexpr uint64_t kTogether = 16;            // handshakes made side by side
constexpr uint64_t kBurst = 32;               // packets between two looks at what has come
constexpr uint64_t kCookieAge_ns = 120'000'000'000;   // [WG 5.4.7]
constexpr uint64_t kRekeyAfter_ns = 120'000'000'000;  // [WG 6.1] REKEY_AFTER_TIME
constexpr uint16_t kPortMin = 1024;

uint64_t Nanos(absl::Duration duration) {
  return static_cast<uint64_t>(absl::ToInt64Nanoseconds(duration));
}

uint64_t RoundUp(uint64_t value, uint64_t multiple) {
  return (std::max<uint64_t>(value, 1) + multiple - 1) / multiple * multiple;
}

// Handshakes that may be on their way, of one thread: until they are given up.
size_t RememberedOf(const LoadOptions& options) {
  const double rate = std::max(options.rate, options.ramp_to.value_or(0)) / options.threads;
  const double attempts = 1 + static_cast<double>(options.retries);
  const double patience_s = absl::ToDoubleSeconds(
      std::max(options.timeout, options.retries > 0 ? options.retry_after : absl::ZeroDuration()));
  const double most =
      std::max(rate * attempts * patience_s, static_cast<double>(options.in_flight.value_or(0)));
  return std::bit_ceil(
      std::clamp(static_cast<uint64_t>(std::min(most, 1e9)), kRememberedMin, kRememberedMax));
}

uint32_t IndexOf(const std::array<uint8_t, 4>& bytes) {
  uint32_t index;
  memcpy(&index, bytes.data(), sizeof(index));
  return index;
}

}  // namespace

uint64_t NowNanos() {
  timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return static_cast<uint64_t>(now.tv_sec) * 1'000'000'000 + static_cast<uint64_t>(now.tv_nsec);
}

// --- answers for others ------------------------------------------------------

void Mailboxes::Post(size_t thread, Letter letter) {
  if (thread >= boxes_.size()) return;
  Box& box = boxes_[thread];
  const std::lock_guard lock(box.mutex);
  box.letters.push_back(std::move(letter));
  box.any = true;
}

std::vector<Letter> Mailboxes::Collect(size_t thread) {
  Box& box = boxes_[thread];
  if (!box.any) return {};
  const std::lock_guard lock(box.mutex);
  box.any = false;
  return std::exchange(box.letters, {});
}

// --- when --------------------------------------------------------------------

// The rate, integrated, is the number: r t + s t^2 / 2 = n.
double Schedule::OffsetOf(uint64_t number) const {
  const double n = static_cast<double>(number);
  if (slope_ == 0) return n / rate_;
  const double root = rate_ * rate_ + 2 * slope_ * n;
  return root < 0 ? 1e9 : (std::sqrt(root) - rate_) / slope_;
}

uint64_t Worker::DueAt(uint64_t number) const {
  if (options_.replay && options_.at_captured_times) {
    const uint64_t at = std::min<uint64_t>(OfAll(number), options_.replay->size() - 1);
    return started_ns_ + Nanos((*options_.replay)[at].offset);
  }
  return started_ns_ + static_cast<uint64_t>(schedule_.OffsetOf(OfAll(number)) * 1e9);
}

// How many packets from `number` on are late already, and so are made together: a batch waits for
// nobody.
uint64_t Worker::CountDue(uint64_t number) const {
  const uint64_t now = NowNanos();
  uint64_t n = 1;
  while (!options_.in_flight && n < kTogether && OfAll(number + n) < options_.count_max &&
         DueAt(number + n) <= now) {
    ++n;
  }
  return n;
}

uint64_t Worker::DueInClosedLoop(uint64_t now) const {
  return awaited_ < std::max<uint64_t>(*options_.in_flight / step_, 1) ? now : now + 1'000'000'000;
}

// --- what --------------------------------------------------------------------

Worker::Worker(const LoadOptions& options, const Fleet* fleet, int number, Mailboxes* mailboxes)
    : options_(options),
      schedule_(options),
      fleet_(fleet),
      mailboxes_(mailboxes),
      number_(static_cast<uint32_t>(number)),
      step_(static_cast<uint64_t>(options.threads)),
      client_sources_(RoundUp(
          options.client_sources ? options.client_sources : std::min(fleet->size(), kSourcesMax),
          step_)),
      attack_sources_(RoundUp(options.attack_sources, step_)),
      cookie_key_(noise::CookieKey(options.target_key)),
      next_client_(options.first_client + number_),
      maker_(fleet, options.target_key, options.seed * 1000 + number_),
      remembered_(RememberedOf(options)) {
  queued_due_.reserve(kBurst);
}

// Numbers that are the thread's own modulo the threads: the clients' sources, one for what
// is repeated, then the attackers'.
SourceRange Worker::Range() const {
  return {number_, step_, (client_sources_ + step_ + attack_sources_) / step_};
}

void Worker::Prepare(std::unique_ptr<Port> port, const Ending& ending) {
  port_ = std::move(port);
  // Stamps are in order, and never ahead of the time they are sent at.
  const absl::Time base = absl::Now();
  const uint64_t wanted = std::min(options_.prepared, options_.count_max) / step_;
  for (uint64_t i = 0, before = 1; i < wanted && made_.size() != before && !ending;
       i += kTogether) {
    before = made_.size();
    MakeSome(std::min(kTogether, wanted - i), [this, base, i](uint64_t k) {
      return base + absl::Seconds(schedule_.OffsetOf(OfAll(i + k)));
    });
  }
}

// Makes the next `n` packets, or fewer when the clients run out.
void Worker::MakeSome(uint64_t n, const std::function<absl::Time(uint64_t)>& stamp_of) {
  std::vector<PacketOrder> orders;
  for (uint64_t k = 0; k < n; ++k) {
    auto order = Plan();
    if (!order) break;
    order->sender_index = NextIndex();
    order->stamp = stamp_of(k);
    orders.push_back(*order);
  }
  std::vector<Packet> packets(orders.size());
  maker_.Make(orders, packets);
  std::move(packets.begin(), packets.end(), std::back_inserter(made_));
}

uint64_t Worker::TakeClient() {
  const uint64_t client = next_client_;
  next_client_ += step_;
  if (client < fleet_->size()) ++counts.clients;
  return client;
}

// Returns: nullopt when the clients that are wanted have run out.
std::optional<PacketOrder> Worker::Plan() {
  Kind kind = options_.mix.Pick(static_cast<uint32_t>(maker_.Random()));
  if (options_.known && (kind == Kind::kRekey || kind == Kind::kOld)) {
    return PacketOrder{kind, number_ + turn_++ % (fleet_->size() / step_) * step_};
  }
  if (kind == Kind::kRekey || kind == Kind::kData || kind == Kind::kOld) {
    const bool more_to_come = next_client_ < fleet_->size();
    // Clients that nothing else brings in come in first.
    const bool comes = options_.mix.Has(Kind::kNew) || options_.mix.Has(Kind::kCookie);
    if (more_to_come && (sessions_.empty() || !comes)) {
      kind = !comes || options_.mix.Has(Kind::kNew) ? Kind::kNew : Kind::kCookie;
    }
    if (!more_to_come && sessions_.empty()) {
      ++counts.exhausted;
      return PacketOrder{};
    }
  }
  switch (kind) {
    case Kind::kNew:
    case Kind::kCookie: {
      const uint64_t client = TakeClient();
      if (client >= fleet_->size()) {
        ++counts.exhausted;
        return std::nullopt;
      }
      return PacketOrder{kind, client};
    }
    case Kind::kRekey:
    case Kind::kData:
    case Kind::kOld: {
      const Session& session = sessions_[turn_++ % sessions_.size()];
      // A client makes a new session in time, for an old one's data is dropped at little cost.
      const bool aged = NowNanos() - session.born_ns() > kRekeyAfter_ns;
      return PacketOrder{aged && kind == Kind::kData ? Kind::kRekey : kind, session.client()};
    }
    case Kind::kForged:
      return PacketOrder{kind, maker_.Random() % std::max<uint64_t>(fleet_->size(), 1)};
    default:  // of these only repeats are a client's: the last one's, who comes last himself
      return PacketOrder{kind, std::max<uint64_t>(fleet_->size(), 1) - 1};
  }
}

// What is repeated has a source of its own: its first copy is valid, and the target may
// treat others from there as a client's.
uint64_t Worker::SourceOf(const Packet& packet) {
  if (WantsAnswer(packet.kind) || packet.kind == Kind::kOld) return packet.client % client_sources_;
  if (packet.kind == Kind::kRepeat) return client_sources_ + number_;
  if (attack_run_ == 0) {
    attack_run_ = port_ ? port_->run() : 1;
    attack_source_ =
        client_sources_ + step_ + number_ + maker_.Random() % (attack_sources_ / step_) * step_;
  }
  --attack_run_;
  return attack_source_;
}

// --- sending -----------------------------------------------------------------

void Worker::Run(uint64_t started_ns, const Ending& ending) {
  started_ns_ = started_ns;
  const uint64_t end_ns = started_ns_ + Nanos(options_.duration);
  uint64_t number = 0;
  bool more = OfAll(number) < options_.count_max;
  while (more && !ending) {
    const uint64_t now = NowNanos();
    const uint64_t due = options_.in_flight ? DueInClosedLoop(now) : DueAt(number);
    // What was due before the end leaves late, and not never.
    if (now >= end_ns && (options_.in_flight || due >= end_ns || now >= end_ns + kGrace_ns)) break;
    if (due <= now) {
      more = SendNext(number, due) && OfAll(++number) < options_.count_max;
      if (more && !queued_due_.empty()) continue;  // a burst has just left: what came is next
    }
    Flush();
    uint64_t until = std::min({due, end_ns, now + kWaitMax_ns});
    if (!deadlines_.empty()) until = std::min(until, deadlines_.top().at_ns);
    Receive(until > now + kSpin_ns ? until - now - kSpin_ns / 2 : 0);
    Forget(/*try_again=*/true);
  }
  Flush();
  counts.sending_ns = NowNanos() - started_ns_;
  counts.waited_ns = waited_ns_;
  Drain(ending);
}

// Waits for what is still to come.
void Worker::Drain(const Ending& ending) {
  // Whether answers to a capture are still to come, nobody knows.
  const uint64_t linger_ns = options_.replay ? std::min(Nanos(options_.timeout), kLinger_ns) : 0;
  for (const uint64_t until = NowNanos() + linger_ns; NowNanos() < until && !ending;) {
    Receive(kWaitMax_ns);
  }
  while ((awaited_ > 0 && !deadlines_.empty()) || !arrived_.empty()) {
    if (ending >= kWaitNoMore) break;
    Receive(kWaitMax_ns);
    Forget(/*try_again=*/!ending);
  }
  for (; !deadlines_.empty(); deadlines_.pop()) GiveUp(&SlotOf(deadlines_.top().index));
  counts.overrun = port_->Overrun();
}

// Returns: false when there is nothing more to send.
bool Worker::SendNext(uint64_t number, uint64_t due) {
  if (options_.replay) return SendCaptured(number, due);
  if (made_.empty() && options_.prepared == 0) {
    const absl::Time now = absl::Now();
    // A client's stamps differ, should he come twice.
    MakeSome(CountDue(number), [now](uint64_t k) { return now + absl::Nanoseconds(k); });
  }
  if (made_.empty()) return false;
  Packet packet = std::move(made_.front());
  made_.pop_front();
  if (packet.kind == Kind::kMax) return true;  // nobody has a session yet
  if (packet.kind == Kind::kData) {
    SendData(packet.client, due);
    return true;
  }
  counts.sent[static_cast<size_t>(packet.kind)].fetch_add(1, std::memory_order_relaxed);
  SendHandshake(std::move(packet), due);
  return true;
}

void Worker::SendHandshake(Packet packet, uint64_t due) {
  const uint64_t source = SourceOf(packet);
  if (!WantsAnswer(packet.kind)) {
    Queue(source, packet.payload(), due);
    return;
  }
  const uint64_t now = NowNanos();
  if (const auto held = cookies_.find(packet.client);
      held != cookies_.end() && now < held->second.until_ns) {
    wire::Initiation& message = packet.handshake.message;
    message.mac2 = noise::Mac2(held->second.cookie, message);
  }
  const uint32_t index = IndexOf(packet.handshake.message.sender_index);
  Remembered& slot = SlotOf(index);
  if (slot.awaited || slot.pinged) GiveUp(&slot);
  slot.packet = std::move(packet);
  slot.intended_ns = due;
  slot.sent_ns = now;
  slot.source = source;
  slot.attempts = 1;
  slot.session = SIZE_MAX;
  slot.awaited = true;
  ++awaited_;
  const uint64_t patience =
      options_.retries > 0
          ? Nanos(options_.retry_after) + maker_.Random() % (Nanos(options_.retry_after) / 15 + 1)
          : Nanos(options_.timeout);
  deadlines_.push({now + patience, index});
  Queue(source, slot.packet.payload(), due);
}

// A client's next attempt: another handshake, of the same intended time.
void Worker::SendAgain(uint32_t index, uint64_t now) {
  Remembered& slot = SlotOf(index);
  const uint64_t intended_ns = slot.intended_ns, attempts = slot.attempts;
  Packet packet = maker_.Make({slot.packet.kind, slot.packet.client, NextIndex(), absl::Now()});
  slot.awaited = false;
  slot.packet.kind = Kind::kMax;  // a client forgets it, and takes no answer to it any more
  --awaited_;
  ++counts.retried;
  const uint32_t next = IndexOf(packet.handshake.message.sender_index);
  SendHandshake(std::move(packet), now);
  SlotOf(next).intended_ns = intended_ns;
  SlotOf(next).attempts = attempts + 1;
  Flush();
}

void Worker::SendData(uint64_t client, uint64_t due) {
  uint8_t packet[Session::kPacketBytesMax];
  const size_t bytes = sessions_[session_of_.at(client)].SealKeepalive(packet);
  Queue(client % client_sources_, {packet, bytes}, due);
  ++counts.sent[static_cast<size_t>(Kind::kData)];
}

// From a source of ours for each that the capture has. Returns: false at the end.
bool Worker::SendCaptured(uint64_t number, uint64_t due) {
  const uint64_t at = OfAll(number);
  if (at >= options_.replay->size()) return false;
  const CapturedDatagram& datagram = (*options_.replay)[at];
  const auto [source, fresh] = replay_sources_.try_emplace(
      datagram.from, replay_sources_.size() * step_ % client_sources_ + number_);
  Queue(source->second, datagram.payload, due);
  ++counts.replayed;
  return true;
}

void Worker::Queue(uint64_t source, std::span<const uint8_t> payload, uint64_t due) {
  port_->Send(source, payload);
  queued_due_.push_back(due);
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
  const uint64_t now = NowNanos();
  for (const uint64_t due : queued_due_) counts.lateness.Record(now > due ? now - due : 0);
  queued_due_.clear();
}

// --- what comes back ---------------------------------------------------------

// What has come is stamped before anything is verified: to verify takes as long as hundreds of
// packets take to arrive.
void Worker::Receive(uint64_t wait_ns) {
  if (mailboxes_ != nullptr) wait_ns = std::min(wait_ns, kMail_ns);
  if (!arrived_.empty()) wait_ns = 0;
  const uint64_t began_ns = NowNanos();
  uint64_t ended_ns = 0;  // the wait
  port_->Receive(wait_ns, [&](std::span<const uint8_t> payload) {
    Letter letter{NowNanos(), {payload.begin(), payload.end()}};
    if (ended_ns == 0) ended_ns = letter.arrived_ns;
    // Responses, cookies and data have our index at 8, 4 and 4; its top byte is the thread.
    if (mailboxes_ != nullptr && !options_.replay && payload.size() >= 12) {
      const size_t thread = payload[payload[0] == 2 ? 11 : 7];
      if (thread != number_) return mailboxes_->Post(thread, std::move(letter));
    }
    arrived_.push_back(std::move(letter));
  });
  if (wait_ns > 0) waited_ns_ += (ended_ns > 0 ? ended_ns : NowNanos()) - began_ns;
  if (mailboxes_ != nullptr) {
    for (Letter& letter : mailboxes_->Collect(number_)) arrived_.push_back(std::move(letter));
  }
  for (uint64_t verified = 0; verified < kVerified && !arrived_.empty();) {
    verified += Take(arrived_.front());
    arrived_.pop_front();
  }
}

bool Worker::Take(const Letter& letter) {
  const std::span<const uint8_t> payload = letter.payload;
  const uint64_t now = letter.arrived_ns;
  const uint8_t type = payload.empty() ? 0 : payload[0];
  if (options_.replay) {
    ++counts.responses;
  } else if (type == 2 && payload.size() == sizeof(wire::Response)) {
    return TakeResponse(payload, now);
  } else if (type == 3 && payload.size() == sizeof(wire::CookieReply)) {
    return TakeCookie(payload, now);
  } else if (type == 4 && payload.size() >= wire::kDataBytesMin) {
    TakeData(payload, now);
  } else {
    ++counts.unexpected;
  }
  return false;
}

bool Worker::TakeResponse(std::span<const uint8_t> payload, uint64_t now) {
  wire::Response response;
  memcpy(&response, payload.data(), sizeof(response));
  Remembered& slot = SlotOf(IndexOf(response.receiver_index));
  const Packet& packet = slot.packet;
  // Too late is lost: to count it as answered would hide how long it took.
  if (!slot.awaited || slot.session != SIZE_MAX || !WantsAnswer(packet.kind) ||
      packet.handshake.message.sender_index != response.receiver_index) {
    ++counts.unexpected;
    return false;
  }
  auto keys =
      noise::OpenResponse(fleet_->PrivateKey(packet.client), {}, packet.handshake, response);
  if (!keys) {
    ++counts.unverified;
    return true;
  }
  ++counts.answered[static_cast<size_t>(packet.kind)];
  slot.awaited = false;
  --awaited_;
  counts.latency.Record(now > slot.intended_ns ? now - slot.intended_ns : 0);
  const auto [at, fresh] = session_of_.try_emplace(packet.client, sessions_.size());
  Session session(packet.client, response.sender_index, now, std::move(*keys));
  if (options_.confirm) {
    uint8_t bytes[Session::kPacketBytesMax];
    size_t size;
    if (options_.ping) {
      size = session.SealPing(fleet_->InnerAddress(packet.client), *options_.ping, bytes);
      slot.pinged = true;
      ++awaited_;
      ++counts.pinged;
      deadlines_.push({now + Nanos(options_.timeout), IndexOf(response.receiver_index)});
    } else {
      size = session.SealKeepalive(bytes);
    }
    port_->Send(slot.source, {bytes, size});
    FlushPort();
  }
  slot.session = at->second;
  if (fresh) {
    sessions_.push_back(std::move(session));
  } else {
    sessions_[at->second] = std::move(session);
  }
  return true;
}

// A client keeps the cookie for his next handshake; those of kind kCookie come at once, with
// the first that they get.
bool Worker::TakeCookie(std::span<const uint8_t> payload, uint64_t now) {
  wire::CookieReply reply;
  memcpy(&reply, payload.data(), sizeof(reply));
  const uint32_t index = IndexOf(reply.receiver_index);
  Remembered& slot = SlotOf(index);
  if (!slot.awaited || slot.packet.handshake.message.sender_index != reply.receiver_index) {
    ++counts.unexpected;
    ++counts.unexpected_cookies;
    return false;
  }
  const auto cookie = noise::OpenCookie(cookie_key_, slot.packet.handshake.message.mac1, reply);
  if (!cookie) {
    ++counts.unverified;
    return true;
  }
  ++counts.cookies;
  cookies_[slot.packet.client] = {*cookie, now + kCookieAge_ns};
  if (slot.packet.kind == Kind::kCookie && slot.attempts <= 1 + options_.retries) {
    SendAgain(index, now);
  }
  return true;
}

void Worker::TakeData(std::span<const uint8_t> payload, uint64_t now) {
  uint32_t index;
  memcpy(&index, &payload[4], sizeof(index));
  Remembered& slot = SlotOf(index);
  if (!slot.pinged || IndexOf(slot.packet.handshake.message.sender_index) != index) return;
  if (!sessions_[slot.session].OpensPong(payload)) return;  // a keepalive
  slot.pinged = false;
  --awaited_;
  ++counts.ponged;
  counts.usable.Record(now > slot.intended_ns ? now - slot.intended_ns : 0);
}

void Worker::GiveUp(Remembered* slot) {
  awaited_ -= slot->awaited + slot->pinged;
  counts.lost += slot->awaited;
  slot->awaited = slot->pinged = false;
}

// Tries again, or gives up, what has waited for long enough. An answer that was not looked at yet
// may have come in time.
void Worker::Forget(bool try_again) {
  const uint64_t now = arrived_.empty() ? NowNanos() : arrived_.front().arrived_ns;
  while (!deadlines_.empty() && deadlines_.top().at_ns < now) {
    const uint32_t index = deadlines_.top().index;
    deadlines_.pop();
    Remembered& slot = SlotOf(index);
    if (IndexOf(slot.packet.handshake.message.sender_index) != index) continue;
    if (try_again && slot.awaited && slot.attempts <= options_.retries) {
      SendAgain(index, now);
    } else {
      GiveUp(&slot);
    }
  }
}

// --- into a file -------------------------------------------------------------

uint64_t Worker::Capture(CaptureWriter* capture, const Ending& ending) {
  Sources sources = options_.port.sources;
  if (sources.from.empty()) {
    const bool ipv4 = options_.port.target.address.family == Family::kIpv4;
    sources.from = {*ParsePrefix(ipv4 ? "198.18.0.1/32" : "2001:db8:ffff::1/128")};
  }
  if (!sources.ports) sources.ports = {kPortMin, 65535};
  Link link;
  link.vlan = options_.port.vlan;
  const absl::Time begin = absl::Now();
  uint64_t number = 0;
  for (; number < options_.count_max && !ending; ++number) {
    const absl::Duration offset = absl::Seconds(schedule_.OffsetOf(number));
    if (offset >= options_.duration) break;
    if (made_.empty()) {
      MakeSome(std::min(kTogether, options_.count_max - number),
               [&](uint64_t k) { return begin + absl::Seconds(schedule_.OffsetOf(number + k)); });
    }
    if (made_.empty() || made_.front().kind == Kind::kMax) break;
    const Packet packet = std::move(made_.front());
    made_.pop_front();
    uint8_t frame[kHeaderBytesMax + sizeof(wire::Initiation)];
    const size_t bytes = WriteFrame(link, sources.At(SourceOf(packet)), options_.port.target,
                                    packet.payload(), frame);
    capture->Write(begin + offset, {frame, bytes});
  }
  return number;
}

}  // namespace wicket::blast
