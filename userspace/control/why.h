// Why a peer has a session, or none: in sentences, as far as the gateway can know.
#pragma once

#include <optional>
#include <span>
#include <string>
#include <vector>

#include "absl/time/time.h"
#include "document/status_text.h"
#include "event/latest.h"
#include "store/record.h"

namespace wicket::control {

// `state`:   "probation", "established" or "leaving" of an installed peer; else "stored", or
//            kNotReached.
// `session`: its last; nullopt: no proven initiation of it is known.
// `status`:  the gateway's; null: none runs.
// `latest`:  what happened to it last, the oldest first.
std::vector<std::string> WhyOf(const store::Peer& peer, const std::string& state,
                               const std::optional<store::Session>& session,
                               const document::Status* status,
                               std::span<const event::Latest::Entry> latest, absl::Time now);

}  // namespace wicket::control
