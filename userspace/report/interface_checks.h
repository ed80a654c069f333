// What there is to say of NICs and WireGuard devices, from what was found of them.
#pragma once

#include "report/diagnose.h"

namespace wicket::report {

void CheckNic(const Machine& machine, const NicFacts& nic, Findings* out);
// How the NIC is served, against what it could be.
void CheckAttachment(const NicFacts& nic, const document::NicStatus& served, Findings* out);
void CheckDevice(const Machine& machine, const WireGuardFacts& device, Findings* out);

}  // namespace wicket::report
