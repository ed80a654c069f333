// wicket plan: what grows with what, and which limit is named first.
#include "tools/wicket/plan_model.h"

#include <gtest/gtest.h>

#include <algorithm>

namespace wicket::tools {
namespace {

const Limit& Of(const Plan& plan, const std::string& name) {
  return *std::find_if(plan.limits.begin(), plan.limits.end(),
                       [&](const Limit& limit) { return limit.name == name; });
}

TEST(PlanTest, TheFullestLimitComesFirst) {
  const Plan plan = MakePlan({.stored = 5e6, .active = 50'000, .newcomers_per_s = 100}, {}, 8);
  EXPECT_EQ(plan.limits.front().name, "installed_max");
  EXPECT_NEAR(plan.limits.front().share(), 50'000 / 65'536.0, 1e-9);
  for (size_t i = 1; i < plan.limits.size(); ++i) {
    EXPECT_GE(plan.limits[i - 1].share(), plan.limits[i].share());
  }
}

TEST(PlanTest, StoredPeersCostDiskAlone) {
  const Plan few = MakePlan({.stored = 1e5, .active = 1e4, .newcomers_per_s = 10}, {}, 4);
  const Plan many = MakePlan({.stored = 1e8, .active = 1e4, .newcomers_per_s = 10}, {}, 4);
  for (size_t i = 0; i < few.needs.size(); ++i) {
    EXPECT_EQ(few.needs[i].value == many.needs[i].value, few.needs[i].what != "store");
  }
  EXPECT_GT(Of(many, "bytes_max of the store").share(), Of(few, "bytes_max of the store").share());
}

TEST(PlanTest, AReturnOfAllIsPlannedFor) {
  // 60 000 within a minute are 1 000 a second, though 10 come in an hour of peace.
  const Load load{.stored = 1e6, .active = 60'000, .newcomers_per_s = 10, .return_within_s = 60};
  EXPECT_NEAR(Of(MakePlan(load, {}, 4), "installs of a device").used, 1000, 1e-6);
}

TEST(PlanTest, WhereTheMapForgetsFlowsAllRekeysMayBeProvenAgain) {
  const Plan all = MakePlan({.stored = 1e6, .active = 131'072, .return_within_s = 1e9}, {}, 4);
  const Plan more = MakePlan({.stored = 1e6, .active = 240'000, .return_within_s = 1e9}, {}, 4);
  EXPECT_LT(Of(all, "handshakes_per_second").used, 1);
  EXPECT_NEAR(Of(more, "handshakes_per_second").used, 2000, 1);
}

TEST(PlanTest, WhatIsAdvisedIsEnoughAndAccepted) {
  for (const double active : {6e4, 7e4, 3e5, 7e5}) {
    const Plan plan = MakePlan({.stored = 1e7, .active = active, .newcomers_per_s = 1}, {}, 4);
    const std::string& change = Of(plan, "installed_max").change;
    EXPECT_GE(std::stod(change.substr(change.rfind(' '))), active / 0.75) << change;
    EXPECT_LE(std::stod(change.substr(change.rfind(' '))), 1 << 20) << change;
  }
  const Plan few = MakePlan({.stored = 1e7, .active = 1e3, .newcomers_per_s = 1}, {}, 4);
  EXPECT_EQ(Of(few, "installed_max").change, "") << "it would lower the limit";
  const Plan many = MakePlan({.stored = 1e7, .active = 2e6, .newcomers_per_s = 1}, {}, 4);
  EXPECT_NE(Of(many, "installed_max").change.find("a second device"), std::string::npos);
}

TEST(PlanTest, OnlyHalfOfTheProbationSlotsAreOpen) {
  const Plan plan = MakePlan({.stored = 1e6, .active = 1e4, .newcomers_per_s = 4000}, {}, 4);
  EXPECT_GT(Of(plan, "open probation slots").share(), 1);
}

TEST(PlanTest, MoreCoresBearMore) {
  const Load load{.stored = 1e6, .active = 1e5, .newcomers_per_s = 20'000, .flood_per_s = 1e6};
  EXPECT_GT(Of(MakePlan(load, {}, 2), "cores").share(), 1);
  EXPECT_LT(Of(MakePlan(load, {}, 16), "cores").share(), 1);
}

}  // namespace
}  // namespace wicket::tools
