// The counters, latencies and events of one installer.
#pragma once

#include <algorithm>
#include <array>
#include <atomic>
#include <string>

#include "base/clock.h"
#include "base/histogram.h"
#include "document/status_text.h"
#include "event/event_log.h"

namespace wicket::installer {

// X(name, text, meaning)
#define WICKET_INSTALLER_COUNTS(X)                                                          \
  X(Requests, "requests", "proven initiations received from the shards")                    \
  X(Installs, "installs", "peers put into the device")                                      \
  X(InstallErrors, "install_errors", "peers the device refused")                            \
  X(Reinjected, "reinjected", "initiations given back to the kernel")                       \
  X(ReinjectErrors, "reinject_errors", "initiations that could not be given back")          \
  X(Roamed, "roamed", "initiations of installed peers from a new flow")                     \
  X(Healed, "healed", "installed peers that got no answer, installed again")                \
  X(Foreign, "foreign", "initiations of foreign peers")                                     \
  X(TooOften, "too_often", "refused: a second initiation of a peer within 20 ms")           \
  X(TooLate, "too_late", "refused: waited too long, so the client will retry")              \
  X(HeldBack, "held_back", "milliseconds that demands waited for the device")               \
  X(ByTime, "by_time", "of reinjected: paced by time, not by the backlog")                  \
  X(Replays, "replays", "refused: the timestamp is not newer than the last one")            \
  X(FutureStamps, "future_stamps", "accepted, from a clock over 10 minutes ahead")          \
  X(Full, "full", "refused: installed_max reached")                                         \
  X(ProbationFull, "probation_full", "refused: probation_max reached")                      \
  X(ProbationCookie, "probation_cookie", "refused: half of the slots taken, and no cookie") \
  X(ProbationSource, "probation_source", "refused: too many slots taken by one source")     \
  X(Martian, "martian", "refused: in raw mode, a source that no NIC receives")              \
  X(OverQuota, "over_quota", "refused: the bytes of its period are used up")                \
  X(Gone, "gone", "refused: removed from the store, or expired, since it was proven")       \
  X(Confirmed, "confirmed", "sessions confirmed by a first data packet")                    \
  X(EvictedIdle, "evicted_idle", "peers removed because their session was dead")            \
  X(EvictedUnconfirmed, "evicted_unconfirmed", "peers removed because no session came")     \
  X(EvictedRevoked, "evicted_revoked", "peers removed: deleted, moved or expired")          \
  X(Adopted, "adopted", "stored peers found in the device")                                 \
  X(Corrected, "corrected", "adopted peers with outdated settings, updated")                \
  X(Disowned, "disowned", "foreign peers removed because of `owned`")                       \
  X(Missing, "missing", "peers somebody else removed from the device")                      \
  X(DumpErrors, "dump_errors", "dumps of the device that failed")

enum class Count : uint8_t {
#define WICKET_INSTALLER_ENUM(name, text, help) k##name,
  WICKET_INSTALLER_COUNTS(WICKET_INSTALLER_ENUM)
#undef WICKET_INSTALLER_ENUM
};
#define WICKET_INSTALLER_ONE(name, text, help) +1
inline constexpr size_t kCounts = 0 WICKET_INSTALLER_COUNTS(WICKET_INSTALLER_ONE);
#undef WICKET_INSTALLER_ONE

inline const char* ToString(Count count) {
  constexpr const char* kTexts[] = {
#define WICKET_INSTALLER_TEXT(name, text, help) text,
      WICKET_INSTALLER_COUNTS(WICKET_INSTALLER_TEXT)
#undef WICKET_INSTALLER_TEXT
  };
  return kTexts[static_cast<size_t>(count)];
}

// Thread: Add, Note and the Record functions from the installer's; the rest from any.
class Journal {
 public:
  Journal(std::string device, event::EventLog* events)
      : device_(std::move(device)), events_(events), memory_(events->NewMemory()) {}

  const std::string& device() const { return device_; }
  void Add(Count count, uint64_t n = 1) {
    counts_[static_cast<size_t>(count)].fetch_add(n, std::memory_order_relaxed);
  }
  uint64_t Read(Count count) const {
    return counts_[static_cast<size_t>(count)].load(std::memory_order_relaxed);
  }
  // `reason`: static storage.
  void Note(event::Kind kind, const PublicKey& key, const Endpoint& source = {},
            const char* reason = "") const {
    events_->Append({.kind = kind,
                     .at = WallNow(),
                     .device = device_,
                     .peer = key,
                     .source = source,
                     .reason = reason},
                    memory_);
  }
  // Of a refused initiation. Watchers are told of kRefusalsTold a second, so that a crowd at a full
  // device does not displace all other events.
  void NoteRefused(const PublicKey& key, const Endpoint& source, Count why) {
    const event::Event event{.kind = event::Kind::kRefused,
                             .at = WallNow(),
                             .device = device_,
                             .peer = key,
                             .source = source,
                             .reason = ToString(why)};
    if (const uint64_t now_ns = SteadyNanos(); now_ns - refusals_since_ns_ >= 1'000'000'000) {
      refusals_since_ns_ = now_ns;
      refusals_told_ = 0;
    }
    ++refusals_told_ <= kRefusalsTold ? events_->Append(event, memory_) : memory_->Note(event);
  }
  // Records the time of a packet from its shard until the installer is done with it.
  void RecordGivenBack(uint64_t took_ns, uint64_t now_ns) {
    seen_to_given_back_.Record(took_ns, now_ns);
    given_back_.Record(took_ns);
  }
  // Records the time from an initiation to the first data of its session.
  void RecordConfirmed(absl::Duration took) { confirmed_.Record(Nanoseconds(took)); }
  void RecordDump(absl::Duration took) { dumps_.Record(Nanoseconds(took)); }

  void FillStatus(document::DeviceStatus* status) const {
#define WICKET_INSTALLER_FILL(name, text, help) status->counts[text] = Read(Count::k##name);
    WICKET_INSTALLER_COUNTS(WICKET_INSTALLER_FILL)
#undef WICKET_INSTALLER_FILL
    Histogram recent;
    seen_to_given_back_.AddTo(SteadyNanos(), &recent);
    status->install_count = recent.Count();
    status->install_p50_ms = static_cast<double>(recent.Quantile(0.5)) / 1e6;
    status->install_p99_ms = static_cast<double>(recent.Quantile(0.99)) / 1e6;
    status->given_back = document::SecondsOf(given_back_);
    status->confirmed = document::SecondsOf(confirmed_);
    status->dump = document::SecondsOf(dumps_);
  }

 private:
  static uint64_t Nanoseconds(absl::Duration took) {
    return static_cast<uint64_t>(std::max<int64_t>(0, absl::ToInt64Nanoseconds(took)));
  }

  static constexpr uint32_t kRefusalsTold = 128;

  std::string device_;
  event::EventLog* events_;
  event::Latest* memory_;
  uint64_t refusals_since_ns_ = 0;
  uint32_t refusals_told_ = 0;  // since then
  std::array<std::atomic<uint64_t>, kCounts> counts_{};
  RecentHistogram seen_to_given_back_;
  Histogram given_back_, confirmed_, dumps_;  // since the start
};

}  // namespace wicket::installer
