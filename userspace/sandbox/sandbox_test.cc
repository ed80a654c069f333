#include <gtest/gtest.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <thread>

#include "sandbox/system_calls.h"

namespace wicket::sandbox {
namespace {

// Runs `what` confined, in a process of its own. Exits with 0 when it comes back.
template <typename What>
void Confined(What what) {
  constexpr int kFamilies[] = {AF_UNIX};
  // pipe2: what a sanitizer calls.
  if (!AllowOnly({.calls = "getsockname pipe2 no_such_call", .socket_families = kFamilies}).ok())
    _exit(2);
  what();
  _exit(0);
}

TEST(SandboxTest, WhatIsAllowedWorksInEveryThread) {
  const auto works = [] {
    std::thread([] {
      if (socket(AF_UNIX, SOCK_STREAM, 0) < 0) _exit(3);
    }).join();
    if (malloc(1 << 24) == nullptr) _exit(4);
  };
  EXPECT_EXIT(Confined(works), testing::ExitedWithCode(0), "");
}

TEST(SandboxTest, AnyOtherCallEndsTheProcess) {
  const testing::KilledBySignal killed(SIGSYS);
  EXPECT_EXIT(Confined([] { execl("/bin/true", "true", nullptr); }), killed, "");
  EXPECT_EXIT(Confined([] { static_cast<void>(chdir("/")); }), killed, "");
  EXPECT_EXIT(Confined([] { static_cast<void>(fork()); }), killed, "");
  EXPECT_EXIT(Confined([] { socket(AF_INET, SOCK_STREAM, 0); }), killed, "");
}

TEST(SandboxTest, NoMemoryBecomesExecutable) {
  const auto refused = [] {
    const auto map = [](int protection) {
      return mmap(nullptr, 4096, protection, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    };
    if (map(PROT_READ | PROT_EXEC) != MAP_FAILED || errno != EPERM) _exit(1);
    void* page = map(PROT_READ | PROT_WRITE);
    if (page == MAP_FAILED) _exit(2);
    if (mprotect(page, 4096, PROT_READ | PROT_EXEC) == 0 || errno != EPERM) _exit(3);
  };
  EXPECT_EXIT(Confined(refused), testing::ExitedWithCode(0), "");
}

TEST(SandboxTest, ItHoldsForThreadsThatRunAlready) {
  EXPECT_EXIT(
      {
        std::atomic<bool> confined{false};
        std::thread other([&] {
          while (!confined) sched_yield();
          syscall(SYS_chdir, "/");
        });
        Confined([&] {
          confined = true;
          other.join();
        });
      },
      testing::KilledBySignal(SIGSYS), "");
}

}  // namespace
}  // namespace wicket::sandbox
