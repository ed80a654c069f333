// The open device, the flows of its port, and the dump in progress.
#pragma once

#include <atomic>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "absl/container/flat_hash_set.h"
#include "base/clock.h"
#include "base/log.h"
#include "installer/flow_change.h"
#include "wgdev/device.h"

namespace wicket::installer {

// Thread: one.
class Hand {
 public:
  Hand(std::string name, FlowTable flows) : name_(std::move(name)), flows_(std::move(flows)) {}

  // Null while the device is away.
  wgdev::Device* device() const { return device_.get(); }
  const std::string& name() const { return name_; }
  const PublicKey& own_key() const { return own_key_; }
  uint16_t port() const { return port_; }

  void Take(std::unique_ptr<wgdev::Device> device) { device_ = std::move(device); }
  void SetKeys(const PublicKey& own_key, uint16_t port) {
    dump_has_keys_ = false;
    own_key_ = own_key;
    port_ = port;
  }
  void Drop() {
    dump_.reset();
    device_.reset();
  }

  // --- the dump; null while none is in progress ---

  wgdev::Dump* dump() const { return dump_.get(); }
  // Requires: the device is there. Errors: those of StartDump().
  absl::Status BeginDump() {
    auto dump = device_->StartDump();
    Beat();
    WICKET_ASSIGN_OR_RETURN(dump_, std::move(dump));
    removed_.clear();
    dump_has_keys_ = true;
    return absl::OkStatus();
  }
  void EndDump() { dump_.reset(); }
  // True for a peer removed since the dump began: what the dump says of the peer is outdated.
  bool WasRemoved(const PublicKey& key) const { return removed_.contains(key); }
  // Whether the dump shows another key or port than the known ones. A dump that began before those
  // were read shows nothing. Requires: its walk has ended; EndDump() was not called.
  bool HasOtherKeys() const {
    return dump_has_keys_ && (dump_->public_key() != own_key_ || dump_->listen_port() != port_);
  }

  // Requires, of these three: the device is there.
  std::vector<absl::Status> Install(std::span<const wgdev::PeerInstall> peers) {
    std::vector<absl::Status> results = device_->Install(peers);
    Beat();
    return results;
  }
  std::vector<absl::Status> SetKeepalives(std::span<const PeerConfig* const> peers) {
    std::vector<absl::Status> results = device_->SetKeepalives(peers);
    Beat();
    return results;
  }
  std::vector<absl::Status> Remove(std::span<const PublicKey> keys) {
    if (dump_ != nullptr) removed_.insert(keys.begin(), keys.end());
    std::vector<absl::Status> results = device_->Remove(keys);
    Beat();
    return results;
  }
  void Apply(const FlowChange& flow) const {
    if (flow.source.address.family == Family::kNone) return;
    const absl::Status changed = flows_(flow, port_);
    if (!changed.ok()) Log(LogLevel::kDebug, About{name_}, changed.message());
  }
  void Apply(const FlowChanges& flows) const {
    for (const FlowChange& flow : flows) Apply(flow);
  }

  // Says that the thread makes progress; after each call to the device, which may take seconds.
  void Beat() { beat_ns_.store(SteadyNanos(), std::memory_order_relaxed); }
  // Thread: any.
  const std::atomic<uint64_t>& beat_ns() const { return beat_ns_; }

 private:
  std::string name_;
  FlowTable flows_;
  std::unique_ptr<wgdev::Device> device_;
  PublicKey own_key_;
  uint16_t port_ = 0;
  std::unique_ptr<wgdev::Dump> dump_;
  bool dump_has_keys_ = false;
  absl::flat_hash_set<PublicKey> removed_;  // since the dump began
  std::atomic<uint64_t> beat_ns_{SteadyNanos()};
};

}  // namespace wicket::installer
