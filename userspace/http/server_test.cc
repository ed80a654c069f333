#include "http/server.h"

#include <gtest/gtest.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <unistd.h>

#include <filesystem>
#include <thread>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "http/transport.h"
#include "http/unix_gate.h"

namespace wicket::http {
namespace {

Fd Connect(const std::string& path) {
  sockaddr_un address{.sun_family = AF_UNIX, .sun_path = {}};
  path.copy(address.sun_path, sizeof(address.sun_path) - 1);
  Fd fd(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  if (connect(fd.get(), reinterpret_cast<sockaddr*>(&address), sizeof(address)) != 0) return Fd();
  return fd;
}

// Returns: all that comes until the other end closes; empty after a second of silence.
std::string Ask(const Fd& fd, absl::string_view request) {
  const timeval patience{.tv_sec = 1, .tv_usec = 0};
  setsockopt(fd.get(), SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
  send(fd.get(), request.data(), request.size(), MSG_NOSIGNAL);
  std::string answer;
  char bytes[4096];
  for (ssize_t n; (n = recv(fd.get(), bytes, sizeof(bytes), 0)) > 0;) {
    answer.append(bytes, static_cast<size_t>(n));
  }
  return answer;
}

constexpr absl::string_view kGet = "GET /who HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";

class ServerTest : public ::testing::Test {
 protected:
  void SetUp() override {
    char name[] = "/tmp/wicket-http-XXXXXX";
    ASSERT_NE(mkdtemp(name), nullptr);
    folder_ = name;
    path_ = folder_ + "/s";
  }
  void TearDown() override { std::filesystem::remove_all(folder_); }

  absl::StatusOr<std::unique_ptr<Server>> Start(const std::string& name) {
    std::vector<std::unique_ptr<Gate>> gates(1);
    WICKET_ASSIGN_OR_RETURN(gates[0], UnixGate::Open({.socket = path_}));
    return std::make_unique<Server>(std::move(gates), [name](Exchange& exchange) {
      exchange.Answer(200, absl::StrCat("\"", name, "\", \"", ToString(exchange.role), "\""));
    });
  }
  // A socket file that no process has.
  void LeaveDeadSocket() {
    sockaddr_un address{.sun_family = AF_UNIX, .sun_path = {}};
    path_.copy(address.sun_path, sizeof(address.sun_path) - 1);
    const Fd fd(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
    ASSERT_EQ(bind(fd.get(), reinterpret_cast<sockaddr*>(&address), sizeof(address)), 0);
    ASSERT_EQ(listen(fd.get(), 1), 0);
  }

  std::string folder_, path_;
};

TEST_F(ServerTest, ALivingServerKeepsItsSocket) {
  const auto first = Start("first");
  ASSERT_TRUE(first.ok()) << first.status();
  const auto second = Start("second");
  ASSERT_TRUE(absl::IsFailedPrecondition(second.status())) << second.status();
  EXPECT_TRUE(absl::StrContains(second.status().message(), path_)) << second.status();
  EXPECT_TRUE(absl::StrContains(second.status().message(), absl::StrCat("process ", getpid())));
  EXPECT_TRUE(absl::StrContains(second.status().message(), "control.socket"));
  EXPECT_TRUE(absl::StrContains(Ask(Connect(path_), kGet), "\"first\""));
}

TEST_F(ServerTest, AFrontEndLowersTheRoleOfItsSenders) {
  const auto server = Start("first");
  ASSERT_TRUE(server.ok());
  const auto ask = [&](absl::string_view header) {
    return Ask(Connect(path_),
               absl::StrCat("GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n", header, "\r\n"));
  };
  EXPECT_TRUE(absl::StrContains(ask(""), "\"write\""));
  EXPECT_TRUE(absl::StrContains(ask("Wicket-Role: read\r\n"), "\"read\""));
  EXPECT_TRUE(absl::StrContains(ask("Wicket-Role: metrics\r\n"), "\"metrics\""));
  EXPECT_TRUE(absl::StrContains(ask("Wicket-Role: root\r\n"), "\"none\""));
}

TEST_F(ServerTest, ADeadServersSocketIsReplaced) {
  LeaveDeadSocket();
  ASSERT_FALSE(Connect(path_).valid());
  const auto server = Start("first");
  ASSERT_TRUE(server.ok()) << server.status();
  EXPECT_TRUE(absl::StrContains(Ask(Connect(path_), kGet), "\"first\""));
}

TEST_F(ServerTest, AServerWithAFullBacklogKeepsItsSocket) {
  sockaddr_un address{.sun_family = AF_UNIX, .sun_path = {}};
  path_.copy(address.sun_path, sizeof(address.sun_path) - 1);
  const Fd fd(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  ASSERT_EQ(bind(fd.get(), reinterpret_cast<sockaddr*>(&address), sizeof(address)), 0);
  ASSERT_EQ(listen(fd.get(), 0), 0);
  const Fd waiting = Connect(path_);
  const auto second = Start("second");
  EXPECT_TRUE(absl::IsFailedPrecondition(second.status())) << second.status();
  EXPECT_TRUE(std::filesystem::exists(path_));
}

TEST_F(ServerTest, OnlyTheOwnSocketIsRemoved) {
  auto first = Start("first");
  ASSERT_TRUE(first.ok());
  std::filesystem::remove(path_);  // as another's start did
  auto second = Start("second");
  ASSERT_TRUE(second.ok()) << second.status();
  first->reset();
  EXPECT_TRUE(absl::StrContains(Ask(Connect(path_), kGet), "\"second\""));
  second->reset();
  EXPECT_FALSE(std::filesystem::exists(path_));
}

TEST_F(ServerTest, WhatIsNoSocketIsLeftAlone) {
  ASSERT_TRUE(std::filesystem::create_directory(path_));
  EXPECT_FALSE(Start("first").ok());
  EXPECT_TRUE(std::filesystem::exists(path_));
}

TEST_F(ServerTest, TheLastConnectionsAreKeptForRoot) {
  if (geteuid() != 0) GTEST_SKIP() << "another user is needed, and so root";
  const auto server = Start("first");
  ASSERT_TRUE(server.ok());
  chmod(folder_.c_str(), 0755);
  chmod(path_.c_str(), 0666);
  std::vector<Fd> others;
  std::string refused;
  std::thread([&] {
    // Of this thread only, which setresuid() of the C library is not.
    ASSERT_EQ(syscall(SYS_setresuid, -1, 65534, -1), 0);
    for (size_t i = 0; i < Server::kConnectionsMax - Server::kKeptForRoot; ++i) {
      others.push_back(Connect(path_));
      ASSERT_TRUE(others.back().valid());
    }
    refused = Ask(Connect(path_), kGet);
    ASSERT_EQ(syscall(SYS_setresuid, -1, 0, -1), 0);
  }).join();
  EXPECT_EQ(refused.substr(0, 12), "HTTP/1.1 503") << refused;
  EXPECT_TRUE(absl::StrContains(Ask(Connect(path_), kGet), "200 OK"));
}

TEST(TransportTest, AReadEndsAtItsDeadline) {
  int ends[2];
  ASSERT_EQ(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends), 0);
  const Fd other(ends[1]);
  Transport transport{Fd(ends[0])};
  transport.ExpireIn(absl::Milliseconds(50));
  char byte;
  boost::beast::error_code error;
  const absl::Duration begin = SteadyNow();
  EXPECT_EQ(transport.read_some(boost::asio::buffer(&byte, 1), error), 0u);
  EXPECT_EQ(error, boost::beast::error::timeout);
  EXPECT_GE(SteadyNow() - begin, absl::Milliseconds(45));
}

}  // namespace
}  // namespace wicket::http
