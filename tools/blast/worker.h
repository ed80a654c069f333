// One thread's share of a load.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "tools/blast/held_cookies.h"
#include "tools/blast/inbox.h"
#include "tools/blast/load.h"
#include "tools/blast/outstanding.h"
#include "tools/blast/schedule.h"
#include "tools/blast/session.h"
#include "tools/blast/source_choice.h"
#include "tools/blast/supply.h"

namespace wicket::blast {

// Sends packets when the schedule says so, and matches the answers with them:
//
//   Schedule --due--> Supply --packet--> SourceChoice --> Port --> endpoint
//                                                          |
//   Sessions, HeldCookies <--verified-- Outstanding <-- Inbox
//
// Thread: one, but for `counts`.
class Worker {
 public:
  // `thread`: 0 to options.threads - 1. `mailboxes`: null when the thread whose port an answer
  // arrives at may take it. The pointers must outlive the worker.
  Worker(const LoadOptions& options, const Fleet* fleet, int thread, Mailboxes* mailboxes);

  // The sources it sends from.
  SourceRange Range() const { return sources_.Range(); }
  // Takes its port, and makes the packets that are to be prepared.
  void Prepare(std::unique_ptr<Port> port, const Ending& ending);
  // Sends until the load's end, and awaits the answers. `started_ns`: of all threads,
  // CLOCK_MONOTONIC. Requires: Prepare().
  void Run(uint64_t started_ns, const Ending& ending);

  Counts counts;

 private:
  bool SendNext(uint64_t number, uint64_t due_ns);
  bool SendCaptured(uint64_t number, uint64_t due_ns);
  void SendHandshake(Outstanding::Handshake handshake, uint64_t due_ns);
  void SendData(uint64_t client, uint64_t due_ns);
  void SendAgain(Outstanding::Handshake* before, uint64_t now_ns);
  uint64_t DrawPatience();
  void Queue(uint64_t source, std::span<const uint8_t> payload, uint64_t due_ns);
  void Flush();
  void FlushPort();
  void Receive(uint64_t wait_ns);
  // Take(), TakeResponse() and TakeCookie() return whether they tried to verify an answer.
  bool Take(const Letter& letter);
  bool TakeResponse(std::span<const uint8_t> payload, uint64_t arrived_ns);
  bool TakeCookie(std::span<const uint8_t> payload, uint64_t arrived_ns);
  void TakeData(std::span<const uint8_t> payload, uint64_t arrived_ns);
  void Confirm(Outstanding::Handshake* handshake, size_t session, uint64_t now_ns);
  void Expire(bool try_again);
  void Drain(const Ending& ending);

  const LoadOptions options_;
  const Fleet* const fleet_;
  Schedule schedule_;
  Random random_;
  Sessions sessions_;
  Supply supply_;  // points to the two above
  SourceChoice sources_;
  Outstanding outstanding_;
  HeldCookies cookies_;
  Inbox inbox_;
  std::unique_ptr<Port> port_;
  std::vector<uint64_t> queued_due_;  // of the packets that the port has queued
};

}  // namespace wicket::blast
