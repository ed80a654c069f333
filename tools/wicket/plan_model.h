// The memory, disk and cores that a load needs, and the limits that it reaches: arithmetic over
// measured costs, without I/O.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace wicket::tools {

struct Load {
  double stored = 0;             // peers
  double active = 0;             // of these, in session at once
  double newcomers_per_s = 0;    // first packets of peers that are not installed
  double flood_per_s = 0;        // forged initiations, with a wrong mac1
  double strangers_per_s = 0;    // initiations with a right mac1 by unknown keys
  double creates_per_s = 0;      // by the control interface
  double return_within_s = 600;  // after a restart of the machine all that are active come again
};

// Of one core, but for bytes, creates and installs. docs/scaling.md says where each comes from.
struct Costs {
  double store_bytes_per_peer = 284;        // store_bytes_after_creates
  double kernel_bytes_per_peer = 1773;      // kernel_bytes_per_stored_peer
  double wicketd_bytes_per_peer = 900;      // an installed peer's record in its installer
  double proofs_per_s = 60'000;             // proofs_sustained
  double unknown_per_s = 91'300;            // unknown_key_per_core
  double drops_per_s = 1'310'000;           // forged_drop_per_core
  double kernel_handshakes_per_s = 10'000;  // of the kernel's WireGuard, published figures
  double creates_per_s = 13'100;            // create_over_socket: of all callers together
  double installs_per_s = 25'600;           // of a device: 128 initiations in 5 ms are given back
};

struct Need {
  std::string what;  // "store", "kernel memory", ...
  double value = 0;
  std::string unit;  // "bytes", "cores", "bytes/s"
  std::string why;
};

// A limit of the configuration by default, of the program or of the cores, and how much is used.
struct Limit {
  std::string name;
  double used = 0, most = 0;
  std::string beyond;  // what happens past it
  std::string change;  // what to set or to add; empty: nothing helps, or nothing needs to
  double share() const { return most > 0 ? used / most : 0; }
};

struct Plan {
  std::vector<Need> needs;
  std::vector<Limit> limits;  // the fullest first
};

// `cores`: of the gateway.
Plan MakePlan(const Load& load, const Costs& costs, double cores);

}  // namespace wicket::tools
