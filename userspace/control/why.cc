#include "control/why.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "control/listing.h"
#include "installer/journal.h"
#include "intake/verdict.h"

namespace wicket::control {
namespace {

const document::DeviceStatus* DeviceOf(const store::Peer& peer, const document::Status& status) {
  const auto it =
      std::find_if(status.devices.begin(), status.devices.end(),
                   [&](const document::DeviceStatus& one) { return one.name == peer.device; });
  return it == status.devices.end() ? nullptr : &*it;
}

// What keeps any client of the gateway out, whatever it sends.
void AddTroubles(const store::Peer& peer, const document::Status& status,
                 std::vector<std::string>* reasons) {
  const document::DeviceStatus* device = DeviceOf(peer, status);
  if (device == nullptr) return;
  if (device->backend == "away") {
    reasons->push_back(
        absl::StrCat("its device, ", peer.device, ", is away: nobody gets in until it is back"));
  } else if (device->installed_max != 0 && device->installed >= device->installed_max) {
    reasons->push_back(absl::StrCat("its device holds installed_max = ", device->installed_max,
                                    " peers: others are refused as `full`"));
  } else if (device->probation_max != 0 && device->installed_unconfirmed >= device->probation_max) {
    reasons->push_back(absl::StrCat(
        "all probation slots of its device are taken (probation_max = ", device->probation_max,
        "): newcomers are refused as `probation_full`"));
  }
  const bool all_away = std::all_of(status.nics.begin(), status.nics.end(),
                                    [](const auto& nic) { return nic.xdp_mode == "away"; });
  if (all_away && !status.nics.empty()) {
    reasons->push_back("no network interface is served: no initiation is seen");
  }
}

// What a verdict of a shard, or a count of an installer, means: "replay: the timestamp is ...".
std::string MeaningOf(absl::string_view reason) {
  constexpr std::pair<absl::string_view, absl::string_view> kMeanings[] = {
#define WICKET_MEANING(name, text, help) {text, help},
      WICKET_VERDICTS(WICKET_MEANING) WICKET_INSTALLER_COUNTS(WICKET_MEANING)
#undef WICKET_MEANING
  };
  for (const auto& [text, help] : kMeanings) {
    if (text == reason) return absl::StrCat(reason, ": ", help);
  }
  return std::string(reason);
}

// "12 s ago an initiation from 192.0.2.1:5 was refused: replay: the timestamp is ...".
std::string Sentence(const event::Latest::Entry& entry, absl::Time now) {
  const std::string ago =
      absl::StrCat(absl::FormatDuration(absl::Floor(std::max(now - entry.at, absl::ZeroDuration()),
                                                    absl::Seconds(1))),
                   " ago ");
  const std::string initiation = absl::StrCat(ago, "an initiation from ", ToString(entry.source));
  switch (entry.kind) {
    case event::Kind::kSeen:
      return absl::StrCat(initiation, " proved its key");
    case event::Kind::kRefused:
      return absl::StrCat(initiation, " was refused: ", MeaningOf(entry.reason));
    case event::Kind::kInstalled:
      return absl::StrCat(ago, "it was put into its device, for ", ToString(entry.source));
    case event::Kind::kConfirmed:
      return absl::StrCat(ago, "the first data of its session arrived");
    case event::Kind::kEvicted:
      return absl::StrCat(ago, "it left its device: ", entry.reason);
    default:
      return absl::StrCat(ago, event::ToString(entry.kind));
  }
}

}  // namespace

std::vector<std::string> WhyOf(const store::Peer& peer, const std::string& state,
                               const std::optional<store::Session>& session,
                               const document::Status* status,
                               std::span<const event::Latest::Entry> latest, absl::Time now) {
  std::vector<std::string> reasons;
  const bool expired = peer.expires <= now;
  if (expired) reasons.push_back("it has expired: its initiations are refused");
  const bool over_quota = session && store::UsedUp(peer.quota, *session, now);
  if (over_quota) {
    reasons.push_back(absl::StrCat(
        "it has used ", store::UsedOf(peer.quota, *session, now), " of the ", peer.quota.bytes,
        " bytes of its period: its initiations are refused until ",
        absl::FormatTime("%Y-%m-%dT%H:%M:%SZ", peer.quota.EndOf(now), absl::UTCTimeZone())));
  }
  if (peer.config.allowed_ips.empty()) {
    reasons.push_back("it has no allowed ips: a session comes about and carries no data");
  }
  if (state == "established") {
    reasons.push_back("it is installed and has a session: the kernel answers its next initiation");
  } else if (state == "probation") {
    reasons.push_back(
        "it is installed, and waits for the first data of its session; if that takes longer than "
        "some seconds, the answer does not reach it (its firewall, or the route back), or its "
        "preshared key differs");
  } else if (state == "leaving") {
    reasons.push_back(
        "its session is dead and it is about to be removed: its next initiation keeps it, or "
        "installs it again");
  } else if (state == kNotReached) {
    reasons.push_back(
        "its device does not answer, so whether it is installed is not known; newcomers "
        "are not let in until it does");
  } else if (!expired && !session) {
    reasons.push_back(
        "no proven initiation of it is known: none arrived, it was made for another public key of "
        "the gateway, or its clock or key is wrong (`wicket status` counts what was refused); the "
        "first that proves its key installs it");
  } else if (!expired && !over_quota && status != nullptr) {
    reasons.push_back(
        "it was here before and is not installed: it has not called since; its next initiation "
        "installs it");
  }
  if (status != nullptr) {
    if (state == "stored") AddTroubles(peer, *status, &reasons);
  } else {
    reasons.push_back(
        "no wicketd runs here: whether it is in its device, `wg show` tells; if it is not, nobody "
        "puts it there");
  }
  for (const event::Latest::Entry& entry : latest) reasons.push_back(Sentence(entry, now));
  return reasons;
}

}  // namespace wicket::control
