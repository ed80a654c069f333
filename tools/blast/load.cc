#include "tools/blast/load.h"

#include <netinet/in.h>
#include <pthread.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>

#include <algorithm>
#include <cmath>
#include <deque>

#include "absl/container/flat_hash_map.h"
#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "crypto/aead.h"
#include "tools/blast/capture.h"

namespace wicket::blast {
namespace {

constexpr uint64_t kSourcesMax = 16'384;
constexpr size_t kRemembered = 1 << 16;  // handshakes on their way, of one thread
constexpr int kEvents = 64;
constexpr uint64_t kSpin_ns = 200'000;  // nearer than this, the next packet is not slept for
constexpr int kSocketBytes = 1 << 20;

uint64_t NowNanos() {
  timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return static_cast<uint64_t>(now.tv_sec) * 1'000'000'000 + static_cast<uint64_t>(now.tv_nsec);
}

absl::StatusOr<Fd> OpenSource(const LoadOptions& options, uint64_t number) {
  sockaddr_storage address;
  socklen_t bytes = ToSockaddr(options.target, &address);
  Fd fd(socket(address.ss_family, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!fd.valid()) return ErrnoStatus(errno, "socket(SOCK_DGRAM)", "too many sources?");
  setsockopt(fd.get(), SOL_SOCKET, SO_RCVBUF, &kSocketBytes, sizeof(kSocketBytes));
  if (!options.from.empty()) {
    const Endpoint from{options.from[number % options.from.size()], 0, options.target.scope_id};
    sockaddr_storage own;
    const socklen_t own_bytes = ToSockaddr(from, &own);
    if (bind(fd.get(), reinterpret_cast<sockaddr*>(&own), own_bytes) != 0) {
      return ErrnoStatus(errno, absl::StrCat("bind(", ToString(from.address), ")"));
    }
  }
  if (connect(fd.get(), reinterpret_cast<sockaddr*>(&address), bytes) != 0) {
    return ErrnoStatus(errno, absl::StrCat("connect(", ToString(options.target), ")"));
  }
  return fd;
}

}  // namespace

uint64_t Counts::Sent() const {
  uint64_t total = 0;
  for (const auto& count : sent) total += count.load(std::memory_order_relaxed);
  return total;
}

uint64_t Counts::Answered() const {
  uint64_t total = 0;
  for (const auto& count : answered) total += count.load(std::memory_order_relaxed);
  return total;
}

// One thread's share: the clients whose number is its own modulo the threads.
class Worker {
 public:
  Worker(const LoadOptions& options, const Fleet* fleet, int number)
      : options_(options),
        fleet_(fleet),
        step_(static_cast<uint64_t>(options.threads)),
        next_client_(static_cast<uint64_t>(number)),
        maker_(fleet, options.target_key, options.seed * 1000 + static_cast<uint64_t>(number)),
        remembered_(kRemembered) {}

  absl::Status Open() {
    const uint64_t wanted =
        options_.sources ? options_.sources : std::max<uint64_t>(fleet_->size(), 1);
    const uint64_t count = std::max<uint64_t>(std::min(wanted, kSourcesMax) / step_, 1);
    epoll_ = Fd(epoll_create1(EPOLL_CLOEXEC));
    WICKET_RETURN_IF_ERROR(OpenSources(count, &sources_));
    WICKET_RETURN_IF_ERROR(
        OpenSources(std::max<uint64_t>(options_.attack_sources / step_, 1) + 1, &attack_sources_));
    // Stamps of what is prepared are those of the time it will be sent at, as far as that
    // is known.
    const absl::Time base = absl::Now() + absl::Microseconds(150) * options_.prepared / step_;
    for (uint64_t i = 0; i < options_.prepared / step_; ++i) {
      const auto packet = Plan();
      if (!packet || packet->kind == Kind::kMax) break;
      prepared_.push_back(maker_.Make(packet->kind, packet->client, NextIndex(),
                                      base + absl::Seconds(OffsetOf(i))));
    }
    return absl::OkStatus();
  }

  void Run(const std::atomic<bool>& stop) {
    started_ns_ = NowNanos();
    const uint64_t end_ns =
        started_ns_ + static_cast<uint64_t>(absl::ToInt64Nanoseconds(options_.duration));
    const uint64_t count_max = std::max<uint64_t>(options_.count_max / step_, 1);
    uint64_t number = 0;
    bool more = true;
    while (more && !stop) {
      const uint64_t now = NowNanos();
      if (now >= end_ns) break;
      const uint64_t due = options_.in_flight ? DueInClosedLoop(now) : DueAt(number);
      if (due <= now) {
        more = Send(due) && ++number < count_max;
        if (number % 16 != 0) continue;
      }
      Receive(due > now + kSpin_ns ? std::min(due, end_ns) - now : 0);
      Forget(now);
    }
    counts.sending_ns = NowNanos() - started_ns_;
    const uint64_t patience = static_cast<uint64_t>(absl::ToInt64Nanoseconds(options_.timeout));
    for (const uint64_t last = NowNanos(); awaited_ > 0 && NowNanos() < last + patience;) {
      Receive(10'000'000);
      Forget(NowNanos());
    }
    counts.lost += awaited_;
  }

  // Returns: packets.
  uint64_t Capture(blast::Capture* capture) {
    constexpr uint16_t kPortMin = 1024;
    const Address unset = *ParseAddress(
        options_.target.address.family == Family::kIpv4 ? "198.18.0.1" : "2001:db8:ffff::1");
    const absl::Time begin = absl::Now();
    uint64_t number = 0;
    for (; number < options_.count_max; ++number) {
      const absl::Duration offset = absl::Seconds(OffsetOf(number));
      if (offset >= options_.duration) break;
      const auto planned = Plan();
      if (!planned || planned->kind == Kind::kMax) break;
      const Packet packet =
          maker_.Make(planned->kind, planned->client, NextIndex(), begin + offset);
      const Address& from =
          options_.from.empty() ? unset : options_.from[number % options_.from.size()];
      const bool client = WantsAnswer(packet.kind) || packet.kind == Kind::kRepeat;
      const uint64_t source = client ? packet.client : maker_.Random();
      capture->Write(begin + offset,
                     {from, static_cast<uint16_t>(kPortMin + source % (65536 - kPortMin)), 0},
                     options_.target, packet.handshake.message);
    }
    return number;
  }

  Counts counts;

 private:
  absl::Status OpenSources(uint64_t count, std::vector<Fd>* sources) {
    for (uint64_t i = 0; i < count; ++i) {
      WICKET_ASSIGN_OR_RETURN(Fd fd, OpenSource(options_, i));
      epoll_event event{.events = EPOLLIN, .data = {.fd = fd.get()}};
      if (epoll_ctl(epoll_.get(), EPOLL_CTL_ADD, fd.get(), &event) != 0) {
        return ErrnoStatus(errno, "epoll_ctl()");
      }
      sources->push_back(std::move(fd));
    }
    return absl::OkStatus();
  }

  struct Planned {
    Kind kind;
    uint64_t client;
  };
  struct Remembered {
    Packet packet;
    uint64_t intended_ns = 0;
    int fd = -1;
    bool awaited = false;
  };

  // When packet `number` is due, in seconds from the start. [a + (b - a) t / T integrated]
  double OffsetOf(uint64_t number) const {
    const double threads = static_cast<double>(step_), n = static_cast<double>(number);
    const double from = options_.rate / threads;
    if (!options_.ramp_to) return n / from;
    const double slope =
        (*options_.ramp_to / threads - from) / absl::ToDoubleSeconds(options_.duration);
    if (slope == 0) return n / from;
    const double root = from * from + 2 * slope * n;
    return root < 0 ? 1e9 : (std::sqrt(root) - from) / slope;
  }
  uint64_t DueAt(uint64_t number) const {
    return started_ns_ + static_cast<uint64_t>(OffsetOf(number) * 1e9);
  }
  uint64_t DueInClosedLoop(uint64_t now) const {
    return awaited_ < std::max<uint64_t>(*options_.in_flight / step_, 1) ? now
                                                                         : now + 1'000'000'000;
  }

  uint32_t NextIndex() { return ++index_; }

  // Returns: nullopt when the clients that are wanted have run out.
  std::optional<Planned> Plan() {
    Kind kind = options_.mix.Pick(static_cast<uint32_t>(maker_.Random()));
    if (kind == Kind::kRekey || kind == Kind::kData || kind == Kind::kOld) {
      const bool more_to_come = next_client_ < fleet_->size();
      // Clients that nothing else brings in come in first.
      if (more_to_come && (sessions_.empty() || !options_.mix.Has(Kind::kNew))) kind = Kind::kNew;
      if (!more_to_come && sessions_.empty()) {
        ++counts.exhausted;
        return Planned{Kind::kMax, 0};
      }
    }
    switch (kind) {
      case Kind::kNew: {
        const uint64_t client = TakeClient();
        if (client >= fleet_->size()) {
          ++counts.exhausted;
          return std::nullopt;
        }
        return Planned{kind, client};
      }
      case Kind::kRekey:
      case Kind::kData:
      case Kind::kOld:
        return Planned{kind, sessions_[maker_.Random() % sessions_.size()].client};
      case Kind::kForged:
        return Planned{kind, maker_.Random() % std::max<uint64_t>(fleet_->size(), 1)};
      default:  // of these only repeats are a client's: the last one's, who comes last himself
        return Planned{kind, std::max<uint64_t>(fleet_->size(), 1) - 1};
    }
  }
  uint64_t TakeClient() {
    const uint64_t client = next_client_;
    next_client_ += step_;
    return client;
  }

  // Returns: false when there is nothing more to send.
  bool Send(uint64_t due) {
    Packet packet;
    if (!prepared_.empty()) {
      packet = std::move(prepared_.front());
      prepared_.pop_front();
    } else if (options_.prepared > 0) {
      return false;
    } else {
      const auto planned = Plan();
      if (!planned) return false;
      if (planned->kind == Kind::kMax) return true;
      if (planned->kind == Kind::kData) return SendData(due);
      packet = maker_.Make(planned->kind, planned->client, NextIndex(), absl::Now());
    }
    const int fd = SourceOf(packet);
    const wire::Initiation message = packet.handshake.message;
    uint32_t index;
    memcpy(&index, message.sender_index.data(), sizeof(index));
    if (packet.kind != Kind::kJunk && packet.kind != Kind::kRepeat) {
      Remembered& slot = remembered_[index % kRemembered];
      if (slot.awaited) {
        --awaited_;
        ++counts.lost;
      }
      slot.awaited = WantsAnswer(packet.kind);
      awaited_ += slot.awaited;
      if (slot.awaited) order_.push_back({due, index});
      slot.packet = std::move(packet);
      slot.intended_ns = due;
      slot.fd = fd;
      ++counts.sent[static_cast<size_t>(slot.packet.kind)];
    } else {
      ++counts.sent[static_cast<size_t>(packet.kind)];
    }
    Write(fd, &message, sizeof(message), due);
    return true;
  }

  // What is repeated has a source of its own: its first copy is valid, and the target may
  // treat others from there as a client's.
  int SourceOf(const Packet& packet) {
    if (WantsAnswer(packet.kind) || packet.kind == Kind::kOld) {
      return sources_[packet.client / step_ % sources_.size()].get();
    }
    const size_t others = attack_sources_.size() - 1;
    return attack_sources_[packet.kind == Kind::kRepeat ? 0 : 1 + maker_.Random() % others].get();
  }

  void Write(int fd, const void* bytes, size_t size, uint64_t due) {
    if (send(fd, bytes, size, MSG_NOSIGNAL) != static_cast<ssize_t>(size)) ++counts.send_errors;
    const uint64_t now = NowNanos();
    counts.lateness.Record(now > due ? now - due : 0);
  }

  struct Session {
    uint64_t client;
    int fd;
    std::array<uint8_t, 4> receiver;
    noise::SymmetricState::Key key;
    uint64_t counter;
  };

  bool SendData(uint64_t due) {
    Session& session = sessions_[maker_.Random() % sessions_.size()];
    SendKeepalive(&session, due);
    ++counts.sent[static_cast<size_t>(Kind::kData)];
    return true;
  }

  // [WG 5.4.6], with no payload.
  void SendKeepalive(Session* session, uint64_t due) {
    std::array<uint8_t, wire::kDataBytesMin> message{4, 0, 0, 0};
    std::copy(session->receiver.begin(), session->receiver.end(), message.begin() + 4);
    for (size_t i = 0; i < 8; ++i) message[8 + i] = static_cast<uint8_t>(session->counter >> 8 * i);
    crypto::Seal(session->key.data(), session->counter++, {}, {}, message.data() + 16);
    Write(session->fd, message.data(), message.size(), due);
  }

  void Receive(uint64_t wait_ns) {
    epoll_event events[kEvents];
    const timespec wait{static_cast<time_t>(wait_ns / 1'000'000'000),
                        static_cast<long>(wait_ns % 1'000'000'000)};
    const int ready = epoll_pwait2(epoll_.get(), events, kEvents, &wait, nullptr);
    for (int i = 0; i < ready; ++i) {
      uint8_t bytes[256];
      for (;;) {
        const ssize_t n = recv(events[i].data.fd, bytes, sizeof(bytes), 0);
        if (n < 0) break;  // nothing more, or nobody listens there
        Take(bytes, static_cast<size_t>(n), NowNanos());
      }
    }
  }

  void Take(const uint8_t* bytes, size_t size, uint64_t now) {
    if (size == wire::kCookieReplyBytes && bytes[0] == 3) {
      ++counts.cookies;
      return;
    }
    wire::Response response;
    if (size != sizeof(response) || bytes[0] != 2) {
      if (size < wire::kDataBytesMin || bytes[0] != 4) ++counts.unexpected;
      return;
    }
    memcpy(&response, bytes, sizeof(response));
    uint32_t index;
    memcpy(&index, response.receiver_index.data(), sizeof(index));
    Remembered& slot = remembered_[index % kRemembered];
    const Packet& packet = slot.packet;
    if (packet.kind == Kind::kMax ||
        packet.handshake.message.sender_index != response.receiver_index) {
      ++counts.unexpected;
      return;
    }
    const auto keys =
        noise::OpenResponse(fleet_->PrivateKey(packet.client), {}, packet.handshake, response);
    if (!keys) {
      ++counts.unverified;
      return;
    }
    ++counts.answered[static_cast<size_t>(packet.kind)];
    if (slot.awaited) {
      --awaited_;
      counts.latency.Record(now > slot.intended_ns ? now - slot.intended_ns : 0);
    }
    const auto [at, fresh] = session_of_.try_emplace(packet.client, sessions_.size());
    Session session{packet.client, slot.fd, response.sender_index, keys->send.Clone(), 0};
    if (options_.confirm) SendKeepalive(&session, now);
    if (fresh) {
      sessions_.push_back(std::move(session));
    } else {
      sessions_[at->second] = std::move(session);
    }
    slot.awaited = false;
    slot.packet.kind = Kind::kMax;
  }

  // Gives up what has waited for longer than the timeout.
  void Forget(uint64_t now) {
    const auto timeout = static_cast<uint64_t>(absl::ToInt64Nanoseconds(options_.timeout));
    for (; !order_.empty() && order_.front().first + timeout < now; order_.pop_front()) {
      Remembered& slot = remembered_[order_.front().second % kRemembered];
      uint32_t index;
      memcpy(&index, slot.packet.handshake.message.sender_index.data(), sizeof(index));
      if (!slot.awaited || index != order_.front().second) continue;
      slot.awaited = false;
      --awaited_;
      ++counts.lost;
    }
  }

  const LoadOptions options_;
  const Fleet* fleet_;
  const uint64_t step_;
  uint64_t next_client_;
  PacketMaker maker_;
  Fd epoll_;
  std::vector<Fd> sources_, attack_sources_;
  std::deque<Packet> prepared_;
  std::vector<Remembered> remembered_;  // by sender index
  std::deque<std::pair<uint64_t, uint32_t>> order_;
  std::vector<Session> sessions_;  // the newest of each client
  absl::flat_hash_map<uint64_t, size_t> session_of_;
  uint64_t awaited_ = 0;
  uint64_t started_ns_ = 0;
  uint32_t index_ = 0;
};

absl::StatusOr<uint64_t> WriteCapture(const LoadOptions& options, const Fleet* fleet,
                                      const std::string& file) {
  WICKET_ASSIGN_OR_RETURN(Capture capture, Capture::Create(file));
  LoadOptions one = options;
  one.threads = 1;
  const uint64_t packets = std::make_unique<Worker>(one, fleet, 0)->Capture(&capture);
  WICKET_RETURN_IF_ERROR(capture.Close());
  return packets;
}

absl::StatusOr<std::unique_ptr<Load>> Load::Make(const LoadOptions& options, const Fleet* fleet) {
  rlimit files;
  if (getrlimit(RLIMIT_NOFILE, &files) == 0) {
    files.rlim_cur = files.rlim_max;
    setrlimit(RLIMIT_NOFILE, &files);
  }
  std::unique_ptr<Load> load(new Load);
  for (int i = 0; i < options.threads; ++i) {
    load->workers_.push_back(std::make_unique<Worker>(options, fleet, i));
    WICKET_RETURN_IF_ERROR(load->workers_.back()->Open());
    load->counts_.push_back(&load->workers_.back()->counts);
  }
  return load;
}

Load::~Load() {
  Stop();
  Join();
}

void Load::Start() {
  running_ = static_cast<int>(workers_.size());
  for (const auto& worker : workers_) {
    threads_.emplace_back([this, worker = worker.get()] {
      pthread_setname_np(pthread_self(), "blast");
      worker->Run(stop_);
      --running_;
    });
  }
}

void Load::Join() {
  for (std::thread& thread : threads_) thread.join();
  threads_.clear();
}

}  // namespace wicket::blast
