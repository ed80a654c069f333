#include "tools/blast/mailbox.h"

#include <gtest/gtest.h>

namespace wicket::blast {
namespace {

TEST(Mailboxes, LettersReachTheirThread) {
  Mailboxes mailboxes(2);
  mailboxes.Post(1, {10, {1}});
  mailboxes.Post(1, {20, {2}});
  mailboxes.Post(2, {30, {3}});  // no such thread: an answer with a made up index
  EXPECT_TRUE(mailboxes.Collect(0).empty());
  const std::vector<Letter> letters = mailboxes.Collect(1);
  ASSERT_EQ(letters.size(), 2u);
  EXPECT_EQ(letters[0].arrived_ns, 10u);
  EXPECT_EQ(letters[1].payload, std::vector<uint8_t>{2});
  EXPECT_TRUE(mailboxes.Collect(1).empty());
}

}  // namespace
}  // namespace wicket::blast
