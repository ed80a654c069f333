// What operators and their programs talk to: the roster, and the control interface above it.
#pragma once

#include <functional>
#include <memory>

#include "control/api.h"
#include "gateway/config.h"
#include "gateway/device_watch.h"
#include "gateway/installers.h"
#include "http/server.h"
#include "http/unix_gate.h"
#include "report/reporter.h"
#include "roster/expiry_collector.h"
#include "roster/roster.h"

namespace wicket::gateway {

// As Serving::Reload; Unavailable when its thread does not answer in time. Thread: any.
using ReloadHandler = control::Reload;

// Thread: one.
class Front {
 public:
  // Everything pointed to outlives it.
  Front(const Config& config, const DeviceWatch& devices, const store::Store* store,
        store::Committer* committer, event::EventLog* events, report::Reporter* reporter,
        ReloadHandler reload);
  // Begins to answer. Errors: those of http::UnixGate::Open.
  absl::Status Listen(const http::UnixOptions& options);

  // Deletes peers whose time has long been over. Waits for no disk and no device.
  void Tick(absl::Duration steady, absl::Time wall) { collector_.Tick(steady, wall); }
  void NoteClockStep() { collector_.NoteStep(); }
  // For how long its thread has been at the connection that it accepts.
  double BusySeconds() const { return server_ ? server_->task().Seconds() : 0; }
  // The devices' keys, which no peer may have.
  void SetOwnKeys(const DeviceWatch& devices) { installers_.SetOwnKeys(devices); }

 private:
  Installers installers_;
  roster::Roster roster_;
  roster::ExpiryCollector collector_;
  control::Api api_;
  std::unique_ptr<http::Server> server_;
};

}  // namespace wicket::gateway
