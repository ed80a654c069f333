#include <gtest/gtest.h>
#include <stdlib.h>
#include <sys/stat.h>

#include <filesystem>
#include <fstream>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "edge/callers.h"
#include "edge/config.h"
#include "edge/tokens.h"

namespace wicket::edge {
namespace {

using http::Role;

TEST(TokensTest, ATokenThatWasMadeIsFoundWithItsRole) {
  std::string file = "# made today\n\n";
  std::vector<std::string> tokens;
  for (const char* role : {"metrics", "read", "write"}) {
    const auto made = MakeToken(absl::StrCat("of-", role), role);
    ASSERT_TRUE(made.ok()) << made.status();
    EXPECT_FALSE(absl::StrContains(made->second, made->first)) << "the file does not have it";
    tokens.push_back(made->first);
    absl::StrAppend(&file, made->second, "\n");
  }
  const auto loaded = Tokens::Parse(file, "tokens");
  ASSERT_TRUE(loaded.ok()) << loaded.status();
  EXPECT_EQ(loaded->Find(tokens[0]), Role::kMetrics);
  EXPECT_EQ(loaded->Find(tokens[1]), Role::kRead);
  EXPECT_EQ(loaded->Find(tokens[2]), Role::kWrite);
  EXPECT_EQ(loaded->Find(tokens[2] + "x"), Role::kNone);
  EXPECT_EQ(loaded->Find(""), Role::kNone);
  EXPECT_EQ(Tokens().Find(tokens[0]), Role::kNone);
}

TEST(TokensTest, APublishedDigestIsTaken) {
  // SHA-256 of "abc"; [FIPS 180-4, example of NIST's].
  const auto tokens = Tokens::Parse(
      "a read ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad", "tokens");
  ASSERT_TRUE(tokens.ok()) << tokens.status();
  EXPECT_EQ(tokens->Find("abc"), Role::kRead);
}

TEST(TokensTest, ABadLineIsNamed) {
  for (const char* line : {"name read", "name root 00", "name read zz", "name read 0011"}) {
    const auto tokens = Tokens::Parse(absl::StrCat("# first\n", line), "/etc/tokens");
    ASSERT_FALSE(tokens.ok()) << line;
    EXPECT_TRUE(absl::StartsWith(tokens.status().message(), "/etc/tokens:2: found "))
        << tokens.status();
  }
  EXPECT_FALSE(MakeToken("two words", "read").ok());
  EXPECT_FALSE(MakeToken("name", "root").ok());
}

TEST(TokensTest, AFileThatOthersReadIsRefused) {
  char path[] = "/tmp/wicket-tokens-XXXXXX";
  ASSERT_GE(mkstemp(path), 0);
  chmod(path, 0640);
  EXPECT_TRUE(Tokens::Load(path).ok());
  for (const mode_t mode : {0644, 0660, 0642}) {
    chmod(path, mode);
    const auto tokens = Tokens::Load(path);
    EXPECT_TRUE(absl::IsFailedPrecondition(tokens.status())) << std::oct << mode;
    EXPECT_TRUE(absl::StrContains(tokens.status().message(), "chmod")) << tokens.status();
  }
  std::filesystem::remove(path);
  EXPECT_FALSE(Tokens::Load(path).ok());
}

TEST(CallersTest, AnAddressHasItsConnectionsAndNoMore) {
  Callers callers(2, 10);
  const Address one = *ParseAddress("192.0.2.1"), other = *ParseAddress("192.0.2.2");
  auto first = callers.Enter(one);
  const auto second = callers.Enter(one);
  ASSERT_TRUE(first && second);
  EXPECT_FALSE(callers.Enter(one));
  EXPECT_TRUE(callers.Enter(other));
  first.reset();
  EXPECT_TRUE(callers.Enter(one));
  const auto site = callers.Enter(*ParseAddress("2001:db8::1"));
  const auto again = callers.Enter(*ParseAddress("2001:db8::2"));
  EXPECT_FALSE(callers.Enter(*ParseAddress("2001:db8::3"))) << "a /64 is one caller";
  const auto neighbours = {callers.Enter(*ParseAddress("2001:db8:0:1::1")),
                           callers.Enter(*ParseAddress("2001:db8:0:2::1")),
                           callers.Enter(*ParseAddress("2001:db8:0:3::1")),
                           callers.Enter(*ParseAddress("2001:db8:0:4::1"))};
  for (const auto& place : neighbours) EXPECT_TRUE(place);
  EXPECT_FALSE(callers.Enter(*ParseAddress("2001:db8:0:5::1"))) << "a /48 has six";
  EXPECT_TRUE(callers.Enter(*ParseAddress("2001:db8:1::1")));
}

TEST(CallersTest, AnAddressThatGuessesHasToWait) {
  Callers callers(2, 6);
  const Address one = *ParseAddress("192.0.2.1"), other = *ParseAddress("192.0.2.2");
  absl::Duration now = absl::Seconds(100);
  for (int i = 0; i < 6; ++i) {
    EXPECT_TRUE(callers.MayTry(one, now)) << i;
    EXPECT_EQ(callers.NoteFailure(one, now), i == 5);
  }
  EXPECT_FALSE(callers.MayTry(one, now));
  EXPECT_TRUE(callers.MayTry(other, now)) << "that was not this one";
  EXPECT_FALSE(callers.MayTry(one, now + absl::Seconds(9)));
  EXPECT_TRUE(callers.MayTry(one, now + absl::Seconds(11))) << "six a minute";
}

TEST(CallersTest, WhatIsRememberedIsBounded) {
  Callers callers(2, 6);
  for (uint32_t i = 0; i < Callers::kCallersMax + 1000; ++i) {
    callers.NoteFailure({Family::kIpv4,
                         {static_cast<uint8_t>(i >> 24), static_cast<uint8_t>(i >> 16),
                          static_cast<uint8_t>(i >> 8), static_cast<uint8_t>(i)}},
                        absl::Seconds(1));
  }
  EXPECT_EQ(callers.remembered(), Callers::kCallersMax);
}

constexpr char kFile[] = R"(
listen = ["0.0.0.0:8443", "[::1]:9000"]
tls_certificate = "c.pem"
tls_key = "k.pem"
tokens = "t"
client_ca = "ca.pem"
[[client]]
name = "prometheus"
role = "metrics"
)";

TEST(EdgeConfigTest, AWholeFileIsRead) {
  const auto config = Config::Parse(kFile, "edge.toml");
  ASSERT_TRUE(config.ok()) << config.status();
  ASSERT_EQ(config->listen.size(), 2u);
  EXPECT_EQ(ToString(config->listen[1]), "[::1]:9000");
  EXPECT_EQ(config->clients.at("prometheus"), Role::kMetrics);
}

TEST(EdgeConfigTest, EveryProblemIsNamed) {
  const std::pair<const char*, const char*> cases[] = {
      {"listen = [\"8443\"]", "edge.toml:1: listen: found '8443'; accepted: ADDRESS:PORT"},
      {"listn = 1", "listn: found an unknown key"},
      {"tls_key = \"k\"", "tls_certificate: found nothing"},
      {"client_ca = \"ca\"", "client_ca: found one of client_ca and [[client]]"},
      {"[[client]]\nname = \"a\"\nrole = \"root\"", "accepted: \"metrics\", \"read\", \"write\""},
      {"connections_per_address = 0", "accepted: 1 to 256"},
      {"", "neither tokens nor client_ca"}};
  for (const auto& [text, problem] : cases) {
    const auto config = Config::Parse(text, "edge.toml");
    ASSERT_FALSE(config.ok()) << text;
    EXPECT_TRUE(absl::StrContains(config.status().message(), problem)) << config.status();
  }
}

}  // namespace
}  // namespace wicket::edge
