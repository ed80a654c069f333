#include "tools/blast/load.h"

#include <pthread.h>
#include <sched.h>
#include <sys/resource.h>

#include "base/clock.h"
#include "absl/strings/str_cat.h"
#include "tools/blast/worker.h"

namespace wicket::blast {
namespace {

void PinTo(int cpu) {
  cpu_set_t cpus;
  CPU_ZERO(&cpus);
  CPU_SET(static_cast<size_t>(cpu), &cpus);
  sched_setaffinity(0, sizeof(cpus), &cpus);
}

absl::Status CheckCpus(const std::vector<int>& wanted) {
  cpu_set_t ours;
  if (wanted.empty() || sched_getaffinity(0, sizeof(ours), &ours) != 0) return absl::OkStatus();
  for (const int cpu : wanted) {
    if (cpu >= 0 && cpu < CPU_SETSIZE && CPU_ISSET(static_cast<size_t>(cpu), &ours)) continue;
    return absl::InvalidArgumentError(
        absl::StrCat("--cpus: found ", cpu, "; accepted: those this process may run on"));
  }
  return absl::OkStatus();
}

absl::Status CheckSources(const Sources& sources, const SourceRange& last) {
  if (!sources.ports) return absl::OkStatus();
  Sources all = sources;
  if (all.from.empty()) all.from.emplace_back();  // the one that the system chooses
  const uint64_t wanted = last.count * last.step;
  if (wanted <= all.Count()) return absl::OkStatus();
  return absl::InvalidArgumentError(
      absl::StrCat(wanted,
                   " sources are wanted (--sources and --attack-sources), --from and "
                   "--ports hold ",
                   all.Count()));
}

}  // namespace

uint64_t Counts::Sent() const {
  uint64_t total = replayed + retried;
  for (const auto& count : sent) total += count.load(std::memory_order_relaxed);
  return total;
}

uint64_t Counts::Answered() const {
  uint64_t total = responses;
  for (const auto& count : answered) total += count.load(std::memory_order_relaxed);
  return total;
}

absl::StatusOr<std::unique_ptr<Load>> Load::Make(const LoadOptions& options, const Fleet* fleet,
                                                 const Ending& ending) {
  WICKET_RETURN_IF_ERROR(CheckCpus(options.cpus));
  rlimit files;
  if (getrlimit(RLIMIT_NOFILE, &files) == 0) {
    files.rlim_cur = files.rlim_max;
    setrlimit(RLIMIT_NOFILE, &files);
  }
  std::unique_ptr<Load> load(new Load(ending));
  load->cpus_ = options.cpus;
  LoadOptions all = options;
  if (options.port.via == Via::kXdp) {
    if (!all.port.sources.ports) all.port.sources.ports = {kPortMin, 65535};
    WICKET_ASSIGN_OR_RETURN(load->interface_, XdpInterface::Open(all.port));
    all.port.sources = load->interface_->sources();
    // Answers to a capture's packets are only counted, so any thread may take them.
    if (options.threads > 1 && options.replay == nullptr) {
      load->mailboxes_ = std::make_unique<Mailboxes>(options.threads);
    }
  }
  for (int i = 0; i < options.threads; ++i) {
    load->workers_.push_back(std::make_unique<Worker>(all, fleet, i, load->mailboxes_.get()));
    Worker& worker = *load->workers_.back();
    WICKET_RETURN_IF_ERROR(CheckSources(all.port.sources, worker.Range()));
    WICKET_ASSIGN_OR_RETURN(auto port, load->interface_
                                           ? load->interface_->OpenPort(i, options.threads)
                                           : OpenUdpPort(all.port, worker.Range()));
    worker.Prepare(std::move(port), ending);
    if (ending) return absl::CancelledError("ended before anything was sent");
    load->counts_.push_back(&worker.counts);
  }
  return load;
}

Load::Load(const Ending& ending) : ending_(ending) {}

Load::~Load() { Join(); }

void Load::Start() {
  running_ = static_cast<int>(workers_.size());
  const uint64_t started_ns = SteadyNanos();
  for (size_t i = 0; i < workers_.size(); ++i) {
    threads_.emplace_back([this, i, started_ns] {
      pthread_setname_np(pthread_self(), "blast");
      if (!cpus_.empty()) PinTo(cpus_[i % cpus_.size()]);
      workers_[i]->Run(started_ns, ending_);
      --running_;
    });
  }
}

void Load::Join() {
  for (std::thread& thread : threads_) thread.join();
  threads_.clear();
}

}  // namespace wicket::blast
