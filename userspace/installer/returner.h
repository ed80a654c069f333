// Gives proven packets back to the kernel, as fast as the device answers them.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "installer/journal.h"
#include "intake/demand.h"
#include "reinject/injector.h"
#include "reinject/mode.h"
#include "reinject/pacer.h"
#include "wgdev/device.h"

namespace wicket::installer {

// How the packets of one NIC are given back.
struct NicRoute {
  int ifindex = 0;
  reinject::Mode mode = reinject::Mode::kRaw;  // never kAuto
};

// Makes the pacer of a device. `turns` is shared by all devices and outlives the pacer.
// Cost: some 100 ms.
std::unique_ptr<reinject::Pacer> PacerFor(const wgdev::Device& device, const std::string& name,
                                          reinject::TurnClock* turns);

// Thread: one.
class Returner {
 public:
  explicit Returner(Journal* journal) : journal_(journal) {}

  // Errors: those of Injector::Open.
  absl::Status Open();
  void SetRoutes(std::vector<NicRoute> routes) { routes_ = std::move(routes); }
  void SetPacer(std::unique_ptr<reinject::Pacer> pacer) { pacer_ = std::move(pacer); }

  // Returns: the mode of the NIC; kWait for one that is gone.
  reinject::Mode ModeOf(int ifindex) const;
  bool Inverts() const;
  // Returns: how many of `wanted` packets the device has room for. Room too small for a batch is 0,
  //          and held_back() is true.
  // Requires: a pacer.
  size_t Room(size_t wanted);
  bool held_back() const { return held_back_; }

  // Returns: whether the device was given the packet. Errors are counted, and logged at most once a
  //          second.
  // Requires: Open().
  bool GiveBack(intake::Demand* demand);
  // Charges the pacer for the packets given back since the last call.
  void Charge();

 private:
  Journal* journal_;
  std::unique_ptr<reinject::Injector> injector_;
  std::unique_ptr<reinject::Pacer> pacer_;
  std::vector<NicRoute> routes_;
  size_t given_back_ = 0;
  bool held_back_ = false;
  uint64_t told_ns_ = 0;  // when an error was last logged
};

}  // namespace wicket::installer
