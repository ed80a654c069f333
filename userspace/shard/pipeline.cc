#include "shard/pipeline.h"

#include <algorithm>

#include "guard/replay.h"
#include "shard/cookie_reply.h"

namespace wicket::shard {

const char* ToString(Verdict verdict) {
  switch (verdict) {
#define WICKET_VERDICT_TEXT(name, text, help) \
  case Verdict::k##name:                      \
    return text;
    WICKET_VERDICTS(WICKET_VERDICT_TEXT)
#undef WICKET_VERDICT_TEXT
  }
  return "?";
}

Pipeline::Pipeline(store::Snapshot snapshot, std::vector<RequestQueue*> queues, int ifindex,
                   VerdictCounters* counters, Watch watch)
    : snapshot_(std::move(snapshot)),
      queues_(std::move(queues)),
      ifindex_(ifindex),
      counters_(counters),
      watch_(watch) {
  snapshot_.Release();
  for (size_t i = 0; i < queues_.size(); ++i) {
    uint64_t hash_key;
    crypto::FillRandom(reinterpret_cast<uint8_t*>(&hash_key), sizeof(hash_key));
    budgets_.emplace_back(hash_key);
  }
}

Verdict Pipeline::Run(const DeviceTable& devices, std::span<uint8_t> frame, const Now& now,
                      uint32_t* reply_bytes) {
  Sighting sighting;
  sighting.verdict = Judge(devices, frame, now, &sighting, reply_bytes);
  counters_->Count(sighting.verdict);
  if (watch_.watchers != nullptr && watch_.watchers->load(std::memory_order_relaxed) > 0) {
    if (Sighting* slot = watch_.queue->Reserve()) {
      sighting.at = now.wall;
      *slot = sighting;
      watch_.queue->Submit();
    }
  }
  return sighting.verdict;
}

Verdict Pipeline::Admit(const DeviceTable::Entry& device, const PublicKey& key,
                        const Now& now) const {
  store::PeerView peer;
  switch (snapshot_.ViewPeer(key, &peer)) {
    case store::Snapshot::Found::kNo:
      return Verdict::kUnknownPeer;
    case store::Snapshot::Found::kDamaged:
      return Verdict::kDamagedRecord;
    case store::Snapshot::Found::kYes:
      break;
  }
  if (peer.device != device.name) return Verdict::kUnknownPeer;
  return peer.expires <= now.wall ? Verdict::kExpired : Verdict::kProven;
}

Verdict Pipeline::Judge(const DeviceTable& devices, std::span<uint8_t> bytes, const Now& now,
                        Sighting* sighting, uint32_t* reply_bytes) {
  wire::Frame frame;
  if (bytes.size() > STEER_FRAME_MAX || !wire::ParseFrame(bytes, &frame)) {
    return Verdict::kNotAnInitiation;
  }
  sighting->source = frame.source;
  size_t index = 0;
  while (index < devices.devices.size() && (devices.devices[index].port != frame.port ||
                                            devices.devices[index].identity == nullptr)) {
    ++index;
  }
  if (index == devices.devices.size()) return Verdict::kPortNotServed;
  sighting->device = static_cast<uint16_t>(index);
  const DeviceTable::Entry& device = devices.devices[index];
  const noise::Identity& self = **device.identity;
  const wire::Initiation& message = *frame.initiation;

  if (!noise::CheckMac1(self, message)) return Verdict::kBadMac1;
  if (repeats_.SeenBefore(message.mac1)) return Verdict::kRepeat;
  if (now.under_load && !devices.cookies->Accept(frame.source, message)) {
    const wire::CookieReply reply = noise::SealCookie(
        self.cookie_key(), devices.cookies->Make(frame.source), message.mac1, message.sender_index);
    *reply_bytes = WriteCookieReply(bytes, frame, reply);
    return Verdict::kCookie;
  }
  budgets_[index].SetRate(device.handshakes_per_second);
  if (!budgets_[index].Take(frame.source.address, now.ktime_ns)) return Verdict::kOverBudget;

  std::optional<noise::Claim> claim = noise::OpenStatic(self, message);
  if (!claim) return Verdict::kBadStatic;
  const PublicKey key = claim->static_public;

  const Verdict admitted = Admit(device, key, now);
  const bool foreign =
      admitted != Verdict::kProven && device.foreign != nullptr && device.foreign->contains(key);
  if (admitted != Verdict::kProven && !foreign) return admitted;

  const std::optional<Tai64n> stamp = noise::OpenTimestamp(self, std::move(*claim), message);
  if (!stamp) return Verdict::kNotProven;
  sighting->public_key = key;
  if (const auto session = snapshot_.FindSession(key);
      session && !guard::IsFresh(session->mark, *stamp, now.wall)) {
    return Verdict::kReplay;  // the installer, which knows the last second too, asks again
  }

  InstallRequest* request = queues_[index]->Reserve();
  if (request == nullptr) return Verdict::kInstallerBusy;
  request->public_key = key;
  request->stamp = *stamp;
  request->source = frame.source;
  request->seen_ns = now.ktime_ns;
  request->ifindex = ifindex_;
  request->port = frame.port;
  request->ip_offset = frame.ip_offset;
  request->udp_offset = frame.udp_offset;
  request->foreign = foreign;
  request->frame_bytes = static_cast<uint16_t>(bytes.size());
  std::copy(bytes.begin(), bytes.end(), request->frame.begin());
  queues_[index]->Submit();
  return Verdict::kProven;
}

}  // namespace wicket::shard
