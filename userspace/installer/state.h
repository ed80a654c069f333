// The state that both halves of an installer share: its batches, and the upkeep between them.
#pragma once

#include <optional>

#include "absl/time/time.h"
#include "base/calls.h"
#include "event/event_log.h"
#include "installer/hand.h"
#include "installer/journal.h"
#include "installer/options.h"
#include "installer/residents.h"
#include "installer/session_saver.h"
#include "reinject/pacer.h"
#include "store/store.h"

namespace wicket::installer {

// Objects that all installers share. Not owned; they outlive the installers.
struct Surroundings {
  const store::Store* store;
  store::Committer* committer;
  SessionSaver* saver;
  FlowTable flows;
  event::EventLog* events;
  reinject::TurnClock* turns;  // of the packets that all devices are given back
  const Calls* gateway;        // woken when a device is found, lost or has another key; or null
};

// Thread: one, the installer's; but any where Hand and Journal say so.
struct State {
  State(Options wanted, Surroundings around)
      : options(std::move(wanted)),
        surroundings(around),
        hand(options.name, around.flows),
        journal(options.name, around.events),
        residents(options.evict_after) {}

  Options options;
  const Surroundings surroundings;
  Hand hand;
  Journal journal;
  Residents residents;
  std::optional<store::Snapshot> snapshot;  // made by Installer::Start
};

}  // namespace wicket::installer
