#include "hook/hook.h"

#include <stdlib.h>
#include <unistd.h>

#include <algorithm>
#include <random>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/thread.h"

namespace wicket::hook {
namespace {

constexpr size_t kBatchMax = 100;
constexpr absl::Duration kPauseMin = absl::Seconds(1), kPauseMax = absl::Minutes(5);
constexpr absl::Duration kPatience = absl::Seconds(10);  // for an answer of the receiver
constexpr absl::Duration kReconnect = absl::Seconds(1);

std::string Rfc3339(absl::Time time) {
  return absl::FormatTime("%Y-%m-%dT%H:%M:%E3SZ", time, absl::UTCTimeZone());
}

// What the receiver must know to be right again: events may be missing here.
std::string WatchingEvent() {
  return absl::StrCat("{\"event\":\"watching\",\"at\":\"", Rfc3339(WallNow()), "\"}");
}
std::string LaggedEvent(uint64_t missed) {
  return absl::StrCat("{\"event\":\"lagged\",\"at\":\"", Rfc3339(WallNow()),
                      "\",\"missed\":", missed, "}");
}

std::string TargetOf(const HookConfig& config) {
  std::vector<std::string> query;
  if (!config.kinds.empty())
    query.push_back(absl::StrCat("kind=", absl::StrJoin(config.kinds, ",")));
  if (!config.device.empty()) query.push_back(absl::StrCat("device=", config.device));
  return absl::StrCat("http://wicketd/v1/events", query.empty() ? "" : "?",
                      absl::StrJoin(query, "&"));
}

// Without its path, user and password: secrets of the receiver's may be there.
std::string HostOf(const std::string& url) {
  const size_t scheme = url.find("://");
  size_t host = scheme == url.npos ? 0 : scheme + 3;
  const size_t end = std::min(url.find('/', host), url.size());
  if (const size_t at = url.rfind('@', end); at != url.npos && at >= host) host = at + 1;
  return url.substr(0, scheme == url.npos ? 0 : scheme + 3) + url.substr(host, end - host);
}

}  // namespace

std::vector<std::string> EventReader::Take(absl::string_view piece, uint64_t* missed) {
  absl::StrAppend(&rest_, piece);
  std::vector<std::string> messages = absl::StrSplit(rest_, "\n\n");
  rest_ = std::move(messages.back());
  messages.pop_back();
  std::vector<std::string> events;
  for (const std::string& message : messages) {
    bool lagged = false;
    for (absl::string_view line : absl::StrSplit(message, '\n')) {
      if (line == "event: lagged") lagged = true;
      if (!absl::ConsumePrefix(&line, "data: ")) continue;
      uint64_t count = 0;
      if (!lagged) {
        events.emplace_back(line);
      } else if (absl::ConsumePrefix(&line, "{\"missed\":") && absl::ConsumeSuffix(&line, "}") &&
                 absl::SimpleAtoi(line, &count)) {
        *missed += count;
      }
    }
  }
  return events;
}

absl::Duration PauseAfter(uint64_t failed, double random) {
  absl::Duration pause = kPauseMin;
  for (uint64_t i = 1; i < failed && pause < kPauseMax; ++i) pause *= 2;
  return std::min(pause, kPauseMax) * (1 - random / 2);
}

Hook::Hook(HookConfig config, std::string socket, SigningSecret secret, Queue queue)
    : config_(std::move(config)),
      socket_(std::move(socket)),
      secret_(std::move(secret)),
      queue_(std::move(queue)),
      follower_([this] { Follow(); }),
      deliverer_([this] { Deliver(); }) {}

Hook::~Hook() {
  {
    const std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  wake_.notify_all();
  follower_.join();
  deliverer_.join();
}

bool Hook::Sleep(absl::Duration duration) {
  std::unique_lock lock(mutex_);
  wake_.wait_for(lock, absl::ToChronoNanoseconds(duration), [this] { return stopping_.load(); });
  return !stopping_;
}

// --- from wicketd -----------------------------------------------------------

void Hook::Die(const absl::Status& status) {
  Log(LogLevel::kError, config_.name, ": ", status.message(), "; starting again");
  Sleep(absl::Seconds(1));  // the log is written by a thread of its own
  _exit(EXIT_FAILURE);
}

void Hook::Enqueue(std::vector<std::string> events) {
  const bool tells = missed_ > 0;
  if (tells) events.insert(events.begin(), LaggedEvent(missed_));
  if (events.empty()) return;
  const auto pushed = queue_.Push(events);
  if (!pushed.ok()) Die(pushed.status());
  if (*pushed > 0) missed_ = 0;  // what was missed is told
  const uint64_t left = events.size() - *pushed;
  if (left > 0) {
    if (missed_ == 0 && !tells) {
      Log(LogLevel::kError, config_.name, ": events are missed: the queue, or its disk, is full");
    }
    missed_ += left - (tells && *pushed == 0 ? 1 : 0);
  }
  if (*pushed == 0) return;
  const std::lock_guard lock(mutex_);
  fresh_ = true;
  wake_.notify_all();
}

void Hook::Follow() {
  NameThread(absl::StrCat("follow/", config_.name));
  std::string told;  // of wicketd's absence, once
  Client client;
  do {
    EventReader reader;
    bool watching = false;
    const auto take = [&](absl::string_view piece) {
      if (!std::exchange(watching, true)) {
        told.clear();
        Log(LogLevel::kInfo, config_.name, ": watching");
        Enqueue({WatchingEvent()});
      }
      auto events = reader.Take(piece, &missed_);
      Enqueue(std::move(events));
    };
    const auto ended = client.Do({.url = TargetOf(config_),
                                  .unix_socket = socket_,
                                  .headers = {"Wicket-Role: read"},
                                  .piece = take},
                                 stopping_);
    const std::string why = !ended.ok()     ? std::string(ended.status().message())
                            : *ended == 200 ? "it closed the connection"
                                            : absl::StrCat("HTTP status ", *ended);
    if (!stopping_ && why != told) {
      Log(LogLevel::kWarning, config_.name, ": no events from wicketd at ", socket_, ": ", why);
      told = why;
    }
  } while (Sleep(kReconnect));
}

// --- to the receiver --------------------------------------------------------

bool Hook::Send(Client* client, const Batch& batch) {
  const std::string body = absl::StrCat("{\"events\":[", absl::StrJoin(batch.events, ","), "]}");
  // The same for every attempt, so that a receiver can tell a second delivery.
  const std::string id = absl::StrCat("msg_", queue_.name(), "_", batch.first, "-", batch.last);
  const int64_t now_s = absl::ToUnixSeconds(WallNow());
  const auto status = client->Do(
      {.url = config_.url,
       .ca = config_.ca,
       .headers = {"Content-Type: application/json", "Expect:", absl::StrCat("webhook-id: ", id),
                   absl::StrCat("webhook-timestamp: ", now_s),
                   absl::StrCat("webhook-signature: ", secret_.Sign(id, now_s, body))},
       .body = body,
       .patience = kPatience},
      stopping_);
  if (status.ok() && *status >= 200 && *status < 300) {
    if (failed_ > 0) Log(LogLevel::kInfo, config_.name, ": delivered again");
    failed_ = 0;
    return true;
  }
  if (absl::IsCancelled(status.status())) return false;
  if (failed_++ == 0) {
    Log(LogLevel::kWarning, config_.name, ": ", HostOf(config_.url), " did not take ",
        batch.events.size(), " events: ",
        status.ok() ? absl::StrCat("HTTP status ", *status) : status.status().message(),
        "; they are kept and sent again");
  }
  return false;
}

void Hook::Deliver() {
  NameThread(absl::StrCat("deliver/", config_.name));
  std::mt19937_64 random{std::random_device()()};
  Client client;
  uint64_t delivered = 0;
  bool popped = true;
  Batch batch;  // kept until it is delivered: an attempt repeats what the one before sent
  while (!stopping_) {
    if (batch.events.empty()) {
      {
        std::unique_lock lock(mutex_);
        fresh_ = false;
      }
      auto front = queue_.Front(delivered, kBatchMax);
      if (absl::IsInternal(front.status())) Die(front.status());
      if (!front.ok()) {  // a disk that is full
        if (!Sleep(kPauseMin)) return;
        continue;
      }
      batch = *std::move(front);
    }
    if (batch.events.empty()) {
      std::unique_lock lock(mutex_);
      const auto ready = [this] { return fresh_ || stopping_; };
      if (popped) {
        wake_.wait(lock, ready);
      } else {
        wake_.wait_for(lock, absl::ToChronoNanoseconds(kPauseMin), ready);
        lock.unlock();
        popped = queue_.Pop(delivered).ok();
      }
      continue;
    }
    if (Send(&client, batch)) {
      // Where a full disk takes no deletion either, what is delivered is not taken again.
      delivered = batch.last;
      const absl::Status status = queue_.Pop(delivered);
      if (absl::IsInternal(status)) Die(status);
      popped = status.ok();
      batch = {};
    } else if (!Sleep(PauseAfter(failed_, std::uniform_real_distribution<>(0, 1)(random)))) {
      return;
    }
  }
}

}  // namespace wicket::hook
