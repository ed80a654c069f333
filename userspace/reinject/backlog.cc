#include "reinject/backlog.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <unistd.h>

#include "base/fd.h"
#include "xdp/backlog.skel.h"

namespace wicket::reinject {
namespace {

constexpr uint64_t kFindInterval_ns = 1'000'000'000;

}  // namespace

void Backlog::Destroy::operator()(backlog_bpf* skeleton) const { backlog_bpf__destroy(skeleton); }

Backlog::~Backlog() = default;

absl::StatusOr<std::unique_ptr<Backlog>> Backlog::Open(int ifindex) {
  std::unique_ptr<Backlog> self(new Backlog());
  self->programs_.reset(backlog_bpf__open_and_load());
  if (!self->programs_) {
    return ErrnoStatus(
        errno, "bpf(BPF_PROG_LOAD, backlog)",
        "needs BTF of the kernel and of WireGuard (/sys/kernel/btf), CAP_PERFMON and "
        "CAP_SYS_ADMIN, and no lockdown");
  }
  self->programs_->bss->ifindex = ifindex;
  return self;
}

// Runs the iterator over the sockets for its side effect; it outputs nothing.
void Backlog::Find() {
  programs_->bss->device = 0;
  bpf_link* link = bpf_program__attach_iter(programs_->progs.find, nullptr);
  if (link == nullptr) return;
  const Fd run(bpf_iter_create(bpf_link__fd(link)));
  char nothing[1];
  while (run.valid() && read(run.get(), nothing, sizeof(nothing)) > 0) {
  }
  bpf_link__destroy(link);
}

std::optional<uint32_t> Backlog::Waiting(uint64_t now_ns) {
  for (bool found = false;; found = true) {
    LIBBPF_OPTS(bpf_test_run_opts, options);
    const int error = bpf_prog_test_run_opts(bpf_program__fd(programs_->progs.waiting), &options);
    const auto waiting = static_cast<int32_t>(options.retval);
    if (error == 0 && waiting >= 0) return static_cast<uint32_t>(waiting);
    if (found || now_ns < next_find_ns_) return std::nullopt;
    next_find_ns_ = now_ns + kFindInterval_ns;
    Find();
  }
}

}  // namespace wicket::reinject
