// One thread that serves one RX queue.
#pragma once

#include <atomic>
#include <memory>
#include <string>
#include <thread>

#include "base/clock.h"
#include "base/fd.h"
#include "base/histogram.h"
#include "base/published.h"
#include "intake/pipeline.h"
#include "shard/load_detector.h"
#include "xsk/socket.h"
#include "xsk/steering.h"

namespace wicket::shard {

using intake::DeviceTable;
using intake::Pipeline;

// Owns its socket, its view of the store and its pipeline. Shares only counters, its words, its
// outgoing queues and the device table.
//
// The heartbeat promises service: when it is stale, the XDP program passes every packet to the
// kernel. So the shard beats only while it can read the store and every installer that it feeds
// makes progress.
//
// Thread: made and destroyed by the publisher of its device table; what is const by any.
class Shard {
 public:
  struct Options {
    std::string name;  // of the thread: "eth0/3"
    int cpu = -1;      // the CPU to pin the thread to; -1: none
    xsk::ShardWords words;
    std::vector<int> wake_fds;  // one eventfd per device, all written after a batch with a demand
  };

  // Starts the thread. `devices`, and the words and descriptors of `options`, outlive the shard.
  Shard(Options options, std::unique_ptr<xsk::Socket> socket, std::unique_ptr<Pipeline> pipeline,
        Published<DeviceTable>* devices);
  // Stops and joins the thread.
  ~Shard();

  xsk::SocketStats socket_stats() const { return socket_->ReadStats(); }
  bool zero_copy() const { return socket_->zero_copy(); }
  // How often the shard came under load.
  uint64_t load_raised() const { return load_raised_.load(std::memory_order_relaxed); }
  // Adds the recent waits of each batch's oldest frame, where it had to wait for other frames.
  void AddWaits(uint64_t now_ns, Histogram* sum) const { waits_.AddTo(now_ns, sum); }
  // The same since the start; and the frames in the ring when a batch was taken from it.
  const Histogram& waits_ever() const { return waits_ever_; }
  const Histogram& ring_waiting() const { return ring_waiting_; }
  // When the thread last made progress, in SteadyNanos().
  uint64_t progress_ns() const { return progress_ns_.load(std::memory_order_relaxed); }
  bool under_load() const {
    return options_.words.load_until_ns->load(std::memory_order_relaxed) > SteadyNanos();
  }

 private:
  void Loop();
  void Beat(const DeviceTable& devices);
  void RunBatch(const DeviceTable& devices, std::span<xsk::RxFrame> frames);
  void NoteAsked(uint64_t asked, uint64_t now_ns);

  Options options_;
  std::unique_ptr<xsk::Socket> socket_;
  std::unique_ptr<Pipeline> pipeline_;
  Published<DeviceTable>* devices_;
  Published<DeviceTable>::Reader reader_;
  LoadDetector load_;
  RecentHistogram waits_;
  Histogram waits_ever_, ring_waiting_;
  uint64_t cookies_sent_;  // cookies sent by the program that load_ knows of
  std::atomic<uint64_t> load_raised_{0};
  std::atomic<uint64_t> progress_ns_{0};
  bool readable_ = true;  // the store; when false there is no heartbeat, and all packets pass
  Fd stop_;
  std::thread thread_;
};

}  // namespace wicket::shard
