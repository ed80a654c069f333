// The checks of what a gateway says of itself.
#pragma once

#include "document/status_text.h"
#include "report/finding.h"

namespace wicket::report {

// The check of whether a gateway runs.
inline constexpr char kServiceCheck[] = "wicketd";

// `status`: null: none runs.
void CheckService(const document::Status* status, Findings* out);
void CheckProgram(const document::Status& status, Findings* out);
void CheckServedNic(const document::NicStatus& nic, Findings* out);
void CheckServedDevice(const document::DeviceStatus& device, Findings* out);

}  // namespace wicket::report
