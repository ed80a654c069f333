// What is wrong with the gateway and its machine, for readers of the control interface.
#pragma once

#include <memory>
#include <string>

#include "gateway/config.h"
#include "report/reporter.h"

namespace wicket::gateway {

// A look asks the kernel about NICs, which waits for RTNL: so one thread looks for all callers, and
// a caller waits for it a second at most. What a look found is told for some seconds more.
//
// Thread: any.
class Findings {
 public:
  // `reporter` outlives it. `config`: of the gateway that runs.
  Findings(const Config& config, const report::Reporter* reporter);

  // report::ToJson of report::Diagnose. Of the machine only what wicketd may see.
  std::string ToJson();

 private:
  struct Shared;  // a look that hangs outlives this

  const report::Reporter* reporter_;
  const std::shared_ptr<Shared> shared_;
};

}  // namespace wicket::gateway
