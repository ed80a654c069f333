#include <gtest/gtest.h>

#include "absl/strings/str_cat.h"
#include "gateway/config.h"
#include "gateway/reload.h"

namespace wicket::gateway {
namespace {

constexpr char kGood[] = R"(
log_level = "debug"
reinject = "raw"
[store]
path = "/tmp/x"
[[nic]]
name = "eth0"
xdp = "generic"
cookies = "xdp"
[[device]]
name = "wg0"
backend = "uapi"
evict_after = 200
installed_max = 10
)";

TEST(ConfigTest, ReadsAWholeFile) {
  const auto config = ParseConfig(kGood, "x.toml");
  ASSERT_TRUE(config.ok()) << config.status();
  EXPECT_EQ(config->reinject, reinject::Mode::kRaw);
  EXPECT_EQ(config->store.path, "/tmp/x");
  EXPECT_EQ(config->nics[0].xdp, xsk::XdpMode::kGeneric);
  EXPECT_TRUE(config->nics[0].cookies_by_tx);
  EXPECT_EQ(config->devices[0].evict_after, absl::Seconds(200));
  EXPECT_EQ(config->devices[0].installed_max, 10u);
  EXPECT_EQ(config->pin_dir, "/sys/fs/bpf/wicket");
}

TEST(ConfigTest, ReportsEveryProblemWithFileLineFoundAndAccepted) {
  const auto config = ParseConfig(
      "log_level = \"loud\"\nwhat = 1\n[store]\npath = 5\nbytes_max = 3\n[[nic]]\nxdp = \"fast\"\n"
      "cookies = \"free\"\n"
      "[[nic]]\nname = \"eth0\"\n[[nic]]\nname = \"eth0\"\n[[device]]\nname = \"wg0\"\n"
      "evict_after = 10\n",
      "x.toml");
  ASSERT_FALSE(config.ok());
  const std::string message(config.status().message());
  for (const char* expected :
       {"x.toml:1: log_level: found 'loud'; accepted: \"error\", \"warning\"",
        "x.toml:2: what: found an unknown key; accepted: ",
        "x.toml:4: store.path: found 5; accepted: a string",
        "x.toml:5: store.bytes_max: found 3; accepted: 1048576 to",
        "x.toml:6: nic.name: found nothing; accepted: an interface's name",
        "x.toml:7: nic.xdp: found 'fast'; accepted: \"auto\", \"native\", \"generic\"",
        "x.toml:8: nic.cookies: found 'free'; accepted: \"ring\", \"xdp\"",
        "x.toml:11: nic.name: found eth0 a second time",
        "x.toml:15: device.evict_after: found 10; accepted: 180 to"}) {
    EXPECT_NE(message.find(expected), std::string::npos) << expected << "\nin\n" << message;
  }
}

TEST(ConfigTest, AValueOfAnotherTypeIsOneProblem) {
  const auto config = ParseConfig("[[nic]]\nname = 5\n[[device]]\nname = \"wg0\"\n", "x.toml");
  EXPECT_EQ(std::string(config.status().message()),
            "x.toml:2: nic.name: found 5; accepted: a string that is not empty");
}

TEST(ReloadTest, WhatCanChangeIsTakenAndTheRestIsNamed) {
  Config running, wanted;
  for (Config* config : {&running, &wanted}) {
    config->nics.push_back({.name = "eth0"});
    config->devices.emplace_back().name = "wg0";
  }
  wanted.log_level = LogLevel::kDebug;
  wanted.cookies_per_second = 5;
  wanted.devices[0].installed_max = 7;
  EXPECT_EQ(TakeReloadable(wanted, &running), std::vector<std::string>{});
  EXPECT_EQ(running.log_level, LogLevel::kDebug);
  EXPECT_EQ(running.cookies_per_second, 5u);
  EXPECT_EQ(running.devices[0].installed_max, 7u);
  wanted.store.path = "/elsewhere";
  wanted.nics[0].force_copy = true;
  wanted.control.group = "users";
  wanted.devices[0].installed_max = 8;
  wanted.devices[0].backend = wgdev::Backend::kUapi;
  EXPECT_EQ(TakeReloadable(wanted, &running),
            (std::vector<std::string>{"store.path", "nic.force_copy", "device.backend",
                                      "control.group"}));
  EXPECT_NE(running.store.path, wanted.store.path) << "a restart of the store is not to take it";
  EXPECT_FALSE(running.nics[0].force_copy);
  EXPECT_EQ(running.devices[0].installed_max, 7u) << "of a device whose backend differs";
  wanted.devices[0].name = "wg1";
  const auto restart = TakeReloadable(wanted, &running);
  EXPECT_NE(std::find(restart.begin(), restart.end(), "device"), restart.end());
}

TEST(ConfigTest, ANicIsNoDevice) {
  const auto config =
      ParseConfig("[[nic]]\nname = \"wg0\"\n[[device]]\nname = \"wg0\"\n", "x.toml");
  EXPECT_EQ(
      config.status().message(),
      "x.toml:3: device.name: found wg0, which is a [[nic]] too; accepted: a WireGuard device; "
      "clients arrive by another interface");
}

TEST(ConfigTest, SyntaxErrorsAndEmptyFiles) {
  EXPECT_NE(ParseConfig("a = \n", "x.toml").status().message().find("x.toml:1"), std::string::npos);
  // Found by the fuzzer: what the parser takes for impossible.
  for (const char* bad : {"[.", "\xef\xbb\x9f", "\xc3\xa9 = 1"}) {
    const std::string message(ParseConfig(bad + std::string("\n") + kGood, "x").status().message());
    EXPECT_TRUE(message.starts_with("x:1: ") && message.ends_with("accepted: TOML"))
        << bad << ": " << message;
  }
  EXPECT_EQ(ParseConfig(absl::string_view("\n[[\0[", 5), "x").status().message().substr(0, 5),
            "x:2: ");
  const auto letters =
      ParseConfig(std::string("# f\xc3\xbcr\npin_dir = \"/run/T\xc3\xbcr\"\n") + kGood, "x");
  ASSERT_TRUE(letters.ok()) << letters.status();
  EXPECT_EQ(letters->pin_dir, "/run/T\xc3\xbcr");
  const std::string empty(ParseConfig("", "x.toml").status().message());
  EXPECT_NE(empty.find("[[nic]]"), std::string::npos);
  EXPECT_NE(empty.find("[[device]]"), std::string::npos);
  EXPECT_FALSE(ParseConfig("nic = 5\ndevice = [1]\nstore = 1\n", "x").ok());
  EXPECT_FALSE(LoadConfig("/tmp").ok()) << "a folder";
  EXPECT_FALSE(LoadConfig("/nonexistent/wicket.toml").ok());
}

}  // namespace
}  // namespace wicket::gateway
