#include "tools/blast/source_choice.h"

#include <gtest/gtest.h>

namespace wicket::blast {
namespace {

LoadOptions WithThreads(int threads) {
  LoadOptions options;
  options.threads = threads;
  return options;
}

TEST(SourceChoice, ClientsRepeatsAndAttackersHaveDifferentSources) {
  LoadOptions options = WithThreads(2);
  options.clients.sources = 3;  // two for each thread
  options.attack_sources = 4;
  Random random(1, 1);
  SourceChoice choice(options, /*clients=*/100, /*thread=*/1, &random);
  const SourceRange range = choice.Range();
  EXPECT_EQ(range.first, 1u);
  EXPECT_EQ(range.step, 2u);
  EXPECT_EQ(range.count, 2u + 1 + 2);
  EXPECT_EQ(choice.Of({Kind::kNew, 5, {}}), 1u);
  EXPECT_EQ(choice.Of({Kind::kOld, 7, {}}), 3u);
  EXPECT_EQ(choice.OfClient(7), 3u);
  EXPECT_EQ(choice.Of({Kind::kRepeat, 7, {}}), 5u);
  for (int i = 0; i < 100; ++i) {
    const uint64_t source = choice.Of({Kind::kJunk, 7, {}});
    EXPECT_TRUE(source == 7 || source == 9) << source;
  }
}

TEST(SourceChoice, AnAttackersPacketsComeInRuns) {
  LoadOptions options = WithThreads(1);
  options.attack_sources = 1 << 20;
  Random random(1, 0);
  SourceChoice choice(options, 1, 0, &random);
  choice.SetRun(3);
  uint64_t last = 0;
  for (int run = 0; run < 5; ++run) {
    const uint64_t source = choice.Of({Kind::kJunk, 0, {}});
    EXPECT_NE(source, last);
    for (int i = 1; i < 3; ++i) EXPECT_EQ(choice.Of({Kind::kBadMac1, 0, {}}), source);
    last = source;
  }
}

TEST(SourceChoice, EachSenderOfACaptureKeepsItsSource) {
  LoadOptions options = WithThreads(1);
  options.clients.sources = 2;
  Random random(1, 0);
  SourceChoice choice(options, 0, 0, &random);
  Endpoint a, b, c;
  a.port = 1;
  b.port = 2;
  c.port = 3;
  EXPECT_EQ(choice.OfCaptured(a), 0u);
  EXPECT_EQ(choice.OfCaptured(b), 1u);
  EXPECT_EQ(choice.OfCaptured(a), 0u);
  EXPECT_EQ(choice.OfCaptured(c), 0u);  // no more sources
}

}  // namespace
}  // namespace wicket::blast
