#include <gtest/gtest.h>

#include "http/target.h"

namespace wicket::http {
namespace {

TEST(TargetTest, DecodesPathAndQuery) {
  const auto target = ParseTarget("/v1/devices/wg0/peers/a%2Fb%2b%3D?label=team%3Dx&limit=5&flag");
  ASSERT_TRUE(target);
  EXPECT_EQ(target->path, (std::vector<std::string>{"v1", "devices", "wg0", "peers", "a/b+="}));
  EXPECT_EQ(target->query, (std::map<std::string, std::string>{
                               {"label", "team=x"}, {"limit", "5"}, {"flag", ""}}));
}

TEST(TargetTest, RefusesBrokenEscapes) {
  for (const char* text : {"/%", "/%2", "/%zz", "/a?b=%0", "/%00"}) {
    EXPECT_FALSE(ParseTarget(text)) << text;
  }
}

TEST(TargetTest, TakesKeysInBothAlphabets) {
  const std::string base64 = "PYiUkqpSgJkZ0mB5uzp7y5mzfUIVxz+8HWRSHQCn/1s=";
  const auto key = ParseKeySegment(base64);
  ASSERT_TRUE(key);
  EXPECT_EQ(ParseKeySegment("PYiUkqpSgJkZ0mB5uzp7y5mzfUIVxz-8HWRSHQCn_1s="), key);
  EXPECT_EQ(ParseKeySegment("PYiUkqpSgJkZ0mB5uzp7y5mzfUIVxz-8HWRSHQCn_1s"), key);
  EXPECT_FALSE(ParseKeySegment("PYiU"));
}

}  // namespace
}  // namespace wicket::http
