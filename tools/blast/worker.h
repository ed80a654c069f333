// One thread's share of a load: the clients whose number is its own modulo the threads.
#pragma once

#include <deque>
#include <map>
#include <mutex>
#include <queue>

#include "absl/container/flat_hash_map.h"
#include "noise/cookie.h"
#include "tools/blast/load.h"
#include "tools/blast/session.h"

namespace wicket::blast {

uint64_t NowNanos();  // CLOCK_MONOTONIC

// An answer, and when it came.
struct Letter {
  uint64_t arrived_ns;
  std::vector<uint8_t> payload;
};

// Answers that arrived on another thread's queue, as AF_XDP lets them.
class Mailboxes {
 public:
  explicit Mailboxes(int threads) : boxes_(static_cast<size_t>(threads)) {}

  // Thread: any.
  void Post(size_t thread, Letter letter);
  std::vector<Letter> Collect(size_t thread);

 private:
  struct Box {
    std::mutex mutex;
    std::vector<Letter> letters;
    std::atomic<bool> any{false};
  };
  std::vector<Box> boxes_;
};

// When packets are due, of all threads: they take turns.
class Schedule {
 public:
  explicit Schedule(const LoadOptions& options)
      : rate_(options.rate),
        slope_(options.ramp_to
                   ? (*options.ramp_to - options.rate) / absl::ToDoubleSeconds(options.duration)
                   : 0) {}

  // Of packet `number`, in seconds from the start.
  double OffsetOf(uint64_t number) const;

 private:
  double rate_, slope_;
};

class Worker {
 public:
  Worker(const LoadOptions& options, const Fleet* fleet, int number, Mailboxes* mailboxes);

  // The sources it sends from.
  SourceRange Range() const;
  // Takes its port, and makes what is to be prepared.
  void Prepare(std::unique_ptr<Port> port, const Ending& ending);
  // `started_ns`: of all threads.
  void Run(uint64_t started_ns, const Ending& ending);
  // Returns: packets written.
  uint64_t Capture(CaptureWriter* capture, const Ending& ending);

  Counts counts;

 private:
  // A handshake on its way, by its sender index.
  struct Remembered {
    Packet packet;
    uint64_t intended_ns = 0, sent_ns = 0;
    uint64_t source = 0;
    uint64_t attempts = 0;
    size_t session = SIZE_MAX;  // its number, once there is one
    bool awaited = false;       // an answer is due
    bool pinged = false;        // the answer to a ping is due
  };
  struct Deadline {
    uint64_t at_ns;
    uint32_t index;
    friend bool operator>(const Deadline& a, const Deadline& b) { return a.at_ns > b.at_ns; }
  };
  struct HeldCookie {
    noise::Cookie cookie;
    uint64_t until_ns;
  };

  // `number` counts this thread's packets.
  uint64_t OfAll(uint64_t number) const { return number * step_ + number_; }
  uint64_t DueAt(uint64_t number) const;
  uint64_t CountDue(uint64_t number) const;
  uint64_t DueInClosedLoop(uint64_t now) const;
  uint32_t NextIndex() { return number_ << 24 | (++index_ & 0xffffff); }
  Remembered& SlotOf(uint32_t index) { return remembered_[index % remembered_.size()]; }
  uint64_t TakeClient();
  void MakeSome(uint64_t n, const std::function<absl::Time(uint64_t)>& stamp_of);
  std::optional<PacketOrder> Plan();
  uint64_t SourceOf(const Packet& packet);
  bool SendNext(uint64_t number, uint64_t due);
  bool SendCaptured(uint64_t number, uint64_t due);
  void SendHandshake(Packet packet, uint64_t due);
  void SendData(uint64_t client, uint64_t due);
  void SendAgain(uint32_t index, uint64_t now);
  void Queue(uint64_t source, std::span<const uint8_t> payload, uint64_t due);
  void Flush();
  void FlushPort();
  void Receive(uint64_t wait_ns);
  // Of what has come; the first three return whether there was something to verify.
  bool Take(const Letter& letter);
  bool TakeResponse(std::span<const uint8_t> payload, uint64_t now);
  bool TakeCookie(std::span<const uint8_t> payload, uint64_t now);
  void TakeData(std::span<const uint8_t> payload, uint64_t now);
  void Forget(bool try_again);
  void Drain(const Ending& ending);
  void GiveUp(Remembered* slot);

  const LoadOptions options_;
  const Schedule schedule_;
  const Fleet* fleet_;
  Mailboxes* mailboxes_;
  const uint32_t number_;
  const uint64_t step_;
  const uint64_t client_sources_, attack_sources_;  // of all threads, multiples of their number
  const crypto::Hash cookie_key_;
  uint64_t next_client_;
  PacketMaker maker_;
  std::unique_ptr<Port> port_;
  std::deque<Packet> made_;  // and not sent yet
  std::vector<Remembered> remembered_;
  std::priority_queue<Deadline, std::vector<Deadline>, std::greater<>> deadlines_;
  std::vector<Session> sessions_;  // the newest of each client
  absl::flat_hash_map<uint64_t, size_t> session_of_;
  absl::flat_hash_map<uint64_t, HeldCookie> cookies_;
  std::map<Endpoint, uint64_t> replay_sources_;
  std::vector<uint64_t> queued_due_;
  std::deque<Letter> arrived_;  // and not looked at yet
  uint64_t attack_source_ = 0, attack_run_ = 0;
  uint64_t awaited_ = 0;
  uint64_t turn_ = 0;  // of who comes again
  uint64_t started_ns_ = 0, waited_ns_ = 0;
  uint32_t index_ = 0;
};

}  // namespace wicket::blast
