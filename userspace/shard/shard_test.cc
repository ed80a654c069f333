#include <gtest/gtest.h>

#include "shard/load_detector.h"

namespace wicket::shard {
namespace {

TEST(LoadDetectorTest, ManyThatWaitOrLongWaitsRaiseItForASecond) {
  constexpr uint64_t kMs = 1'000'000;
  LoadDetector load;
  load.NoteIdle(1000 * kMs);
  load.Note(64, 199, 1001 * kMs);
  EXPECT_FALSE(load.UnderLoad(1001 * kMs));
  load.Note(64, 200, 1002 * kMs);  // at the assumed 100 us each
  EXPECT_TRUE(load.UnderLoad(1002 * kMs));
  EXPECT_TRUE(load.UnderLoad(2001 * kMs));
  EXPECT_FALSE(load.UnderLoad(2002 * kMs));
  EXPECT_EQ(load.raised(), 1u);
  // Never many frames, but each time a full batch is left behind.
  load.Note(64, 0, 3000 * kMs);
  load.Note(64, LoadDetector::kLeftOver, 3049 * kMs);
  EXPECT_FALSE(load.UnderLoad(3049 * kMs));
  load.Note(64, LoadDetector::kLeftOver, 3050 * kMs);
  EXPECT_TRUE(load.UnderLoad(3050 * kMs));
  EXPECT_EQ(load.raised(), 2u);
  load.Note(64, LoadDetector::kLeftOver, 3060 * kMs);
  EXPECT_EQ(load.raised(), 2u) << "it was under load already";
}

TEST(LoadDetectorTest, TheOldestFramesAgeIsASign) {
  constexpr uint64_t kMs = 1'000'000;
  LoadDetector load;
  for (int i = 0; i < 200; ++i) load.NoteProof(1000);
  load.NoteIdle(1000 * kMs);
  load.Note(64, 300, 1000 * kMs);  // 300 frames are queued here
  EXPECT_EQ(load.waited_ns(), 0u);
  for (uint64_t ms = 1005; ms <= 1015; ms += 5) {
    load.Note(64, 300, ms * kMs);  // as many arrive as are taken
    EXPECT_EQ(load.waited_ns(), (ms - 1000) * kMs);
  }
  EXPECT_FALSE(load.UnderLoad(1015 * kMs));
  load.Note(64, 300, 1020 * kMs);
  EXPECT_EQ(load.waited_ns(), 20 * kMs);
  EXPECT_TRUE(load.UnderLoad(1020 * kMs)) << "44 of the 300 have waited for 20 ms";
  load.Note(64, 300, 1021 * kMs);  // takes the last of the 300; the others arrived later
  EXPECT_EQ(load.waited_ns(), 21 * kMs);
  load.Note(64, 300, 1022 * kMs);
  EXPECT_EQ(load.waited_ns(), 1 * kMs);
  EXPECT_EQ(load.raised(), 1u);
  // A shard that was held up for long, and catches up in this batch.
  load.NoteIdle(4000 * kMs);
  load.Note(1, LoadDetector::kLeftOver - 1, 4000 * kMs);
  load.Note(LoadDetector::kLeftOver - 1, 0, 4900 * kMs);
  EXPECT_EQ(load.waited_ns(), 900 * kMs);
  EXPECT_FALSE(load.UnderLoad(4900 * kMs));
}

TEST(LoadDetectorTest, ItStaysWhileManyComeWithoutACookie) {
  constexpr uint64_t kMs = 1'000'000;
  LoadDetector load;
  uint64_t ms = 1000;
  for (; ms < 2000; ++ms) load.NoteAsked(10, ms * kMs);
  EXPECT_FALSE(load.UnderLoad(ms * kMs)) << "cookies alone do not raise it";
  load.Note(64, LoadDetector::kWaitingMax, ms * kMs);
  for (; ms < 5000; ++ms) load.NoteAsked(10, ms * kMs);
  EXPECT_TRUE(load.UnderLoad(ms * kMs)) << "ten thousand a second";
  for (; ms < 8000; ms += 100) {  // the program answers: the shard sees only the count
    load.NoteIdle(ms * kMs);
    load.NoteAsked(1000, ms * kMs);
  }
  EXPECT_TRUE(load.UnderLoad(ms * kMs));
  for (; ms < 9200; ++ms) load.NoteAsked(1, ms * kMs);
  EXPECT_FALSE(load.UnderLoad(ms * kMs)) << "one thousand a second can be proven";
}

TEST(LoadDetectorTest, ItStaysWhileTheBudgetIsAskedFor) {
  constexpr uint64_t kMs = 1'000'000;
  LoadDetector load;
  load.SetBudget(1000);
  load.Raise(1000 * kMs);
  uint64_t ms = 1000;
  for (; ms < 4000; ++ms) load.NoteAsked(1, ms * kMs);
  EXPECT_TRUE(load.UnderLoad(ms * kMs)) << "a thousand a second";
  for (; ms < 6000; ++ms) load.NoteAsked(ms % 2, ms * kMs);
  EXPECT_FALSE(load.UnderLoad(ms * kMs)) << "five hundred";
}

TEST(LoadDetectorTest, WhatIsLeftForTheNextBatchIsNoLoad) {
  LoadDetector load;
  for (uint64_t ms = 0; ms < 1000; ++ms) load.Note(64, LoadDetector::kLeftOver - 1, ms * 1'000'000);
  EXPECT_FALSE(load.UnderLoad(1'000'000'000));
  for (uint64_t ms = 1000; ms < 1060; ++ms) load.Note(64, LoadDetector::kLeftOver, ms * 1'000'000);
  EXPECT_TRUE(load.UnderLoad(1'060'000'000));
}

TEST(LoadDetectorTest, HowManyAreTooManyIsMeasured) {
  constexpr uint64_t kMs = 1'000'000;
  for (const uint64_t proof_ns : {15'000, 150'000}) {
    LoadDetector load;
    for (int i = 0; i < 200; ++i) load.NoteProof(proof_ns);
    load.Raise(1000 * kMs);
    for (uint64_t ms = 1000; ms < 4000; ++ms) load.NoteAsked(10, ms * kMs);
    EXPECT_EQ(load.UnderLoad(4000 * kMs), proof_ns == 150'000) << "ten thousand a second";
    LoadDetector other = load;
    other.NoteIdle(9000 * kMs);
    other.Note(64, 1000, 9001 * kMs);
    EXPECT_EQ(other.UnderLoad(9001 * kMs), proof_ns == 150'000) << "a thousand in the ring";
    other.Note(64, LoadDetector::kWaitingMax, 9002 * kMs);
    EXPECT_TRUE(other.UnderLoad(9002 * kMs)) << "it may overflow";
  }
}

}  // namespace
}  // namespace wicket::shard
