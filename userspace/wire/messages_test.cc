#include "wire/messages.h"

#include <gtest/gtest.h>

#include <vector>

namespace wicket::wire {
namespace {

std::vector<uint8_t> Ipv4Frame() {
  std::vector<uint8_t> frame(14 + 20 + 8 + 148);
  frame[12] = 0x08;
  frame[14] = 0x45;
  frame[16] = 0;
  frame[17] = 20 + 8 + 148;
  frame[23] = 17;
  const uint8_t addresses[] = {192, 0, 2, 9, 198, 51, 100, 1};
  std::copy(std::begin(addresses), std::end(addresses), frame.begin() + 26);
  const uint8_t udp[] = {0x30, 0x39, 0xca, 0x6c, 0, 156, 0, 0, 1, 0, 0, 0};
  std::copy(std::begin(udp), std::end(udp), frame.begin() + 34);
  return frame;
}

TEST(ParseFrameTest, FindsTheInitiation) {
  const auto bytes = Ipv4Frame();
  Frame frame;
  ASSERT_TRUE(ParseFrame(bytes, &frame));
  EXPECT_EQ(ToString(frame.source), "192.0.2.9:12345");
  EXPECT_EQ(frame.port, 51820);
  EXPECT_EQ(frame.ip_offset, 14);
  EXPECT_EQ(frame.udp_offset, 34);
  EXPECT_EQ(reinterpret_cast<const uint8_t*>(frame.initiation), bytes.data() + 42);
}

TEST(ParseFrameTest, RefusesEveryTruncation) {
  const auto bytes = Ipv4Frame();
  Frame frame;
  for (size_t n = 0; n < bytes.size(); ++n) {
    const std::vector<uint8_t> cut(bytes.begin(), bytes.begin() + static_cast<ptrdiff_t>(n));
    EXPECT_FALSE(ParseFrame(cut, &frame)) << n;
  }
}

}  // namespace
}  // namespace wicket::wire
