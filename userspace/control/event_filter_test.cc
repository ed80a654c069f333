#include "control/event_filter.h"

#include <gtest/gtest.h>
#include <string.h>

#include "document/answer_text.h"

namespace wicket::control {
namespace {

event::Event Refusal() {
  PublicKey key;
  key.bytes[0] = 7;
  return {.kind = event::Kind::kRefused,
          .device = "wg0",
          .peer = key,
          .source = {ParsePrefix("192.0.2.7")->address, 1234},
          .reason = "replay"};
}

absl::StatusOr<EventFilter> Parse(absl::string_view query) {
  return ParseEventFilter(*http::ParseTarget(std::string("/v1/events?") + std::string(query)));
}

TEST(EventFilterTest, EveryParameterNarrows) {
  const std::string key = "BwAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";
  const struct {
    std::string query;
    bool admits;
  } cases[] = {{"", true},
               {"kind=refused", true},
               {"kind=installed,refused", true},
               {"kind=installed", false},
               {"device=wg0", true},
               {"device=wg1", false},
               {"peer=" + key, true},
               {"peer=A" + key.substr(1), false},
               {"source=192.0.2.7", true},
               {"source=192.0.2.0/24", true},
               {"source=192.0.3.0/24", false},
               {"source=2001:db8::/32", false},
               {"reason=replay", true},
               {"reason=full", false},
               {"kind=refused&device=wg0&reason=replay&source=192.0.0.0/16", true},
               {"kind=refused&device=wg1&reason=replay", false}};
  for (const auto& one : cases) {
    const auto filter = Parse(one.query);
    ASSERT_TRUE(filter.ok()) << one.query << ": " << filter.status();
    EXPECT_EQ(filter->Admits(Refusal()), one.admits) << one.query;
  }
}

TEST(EventFilterTest, AnEventWithoutAPeerOrSourceIsOfNone) {
  const event::Event attack{.kind = event::Kind::kAttack};
  EXPECT_TRUE(Parse("")->Admits(attack));
  EXPECT_FALSE(Parse("source=0.0.0.0/0")->Admits(attack));
  EXPECT_FALSE(Parse("device=wg0")->Admits(attack));
}

TEST(EventFilterTest, WhatCannotBeReadIsNamed) {
  for (const char* query : {"kind=nonsense", "peer=short", "source=1.2.3", "colour=red"}) {
    const absl::Status status = Parse(query).status();
    EXPECT_TRUE(absl::IsInvalidArgument(status)) << query;
    const std::string field(query, strcspn(query, "="));
    EXPECT_EQ(document::FieldOf(status), field);
  }
}

}  // namespace
}  // namespace wicket::control
