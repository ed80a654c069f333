#include <gtest/gtest.h>

#include "xsk/frame_ledger.h"
#include "xsk/interface.h"

namespace wicket::xsk {
namespace {

TEST(FrameLedgerTest, EndsTheProcessWhenAFrameHasTwoOwners) {
  using Owner = FrameLedger::Owner;
  FrameLedger ledger(4, 2048);
  ledger.Move(2048, Owner::kNobody, Owner::kKernel);
  ledger.Move(2048 + 256, Owner::kKernel, Owner::kShard);  // an address inside the frame
  if constexpr (kLedgerOn) {
    EXPECT_DEATH(ledger.Move(2048, Owner::kKernel, Owner::kShard), "frame 1 is not with owner");
    EXPECT_DEATH(ledger.Move(4 * 2048, Owner::kNobody, Owner::kKernel), "frame 4");
  }
}

TEST(InterfaceTest, OneThatIsNotThereHasOneQueueAndNoMac) {
  EXPECT_EQ(QueueCount("wicket-none"), 1u);
  EXPECT_EQ(MacOf(0), (std::array<uint8_t, 6>{}));
}

}  // namespace
}  // namespace wicket::xsk
