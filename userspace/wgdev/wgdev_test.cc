#include <gtest/gtest.h>

#include <set>

#include "absl/strings/str_cat.h"
#include "wgdev/device.h"
#include "wgdev/uapi.h"

namespace wicket::wgdev {
namespace {

// Every failing item is found alone, at each position of each batch of up to 50.
TEST(ApplyBisectingTest, FindsEachFailingItem) {
  for (size_t count = 1; count <= 50; ++count) {
    for (size_t bad = 0; bad < count; ++bad) {
      std::set<size_t> applied;
      const auto results = ApplyBisecting(count, 16, [&](size_t begin, size_t end) -> absl::Status {
        for (size_t i = begin; i < end; ++i) {
          if (i == bad) return absl::InvalidArgumentError("bad");
          applied.insert(i);
        }
        return absl::OkStatus();
      });
      ASSERT_EQ(results.size(), count);
      for (size_t i = 0; i < count; ++i) {
        EXPECT_EQ(results[i].ok(), i != bad);
        EXPECT_EQ(applied.count(i), i != bad);
      }
    }
  }
}

TEST(ApplyBisectingTest, StopsWhenTheDeviceIsGoneOrSilent) {
  for (const absl::Status& why : {absl::NotFoundError("gone"), absl::UnavailableError("silent")}) {
    int calls = 0;
    const auto results = ApplyBisecting(100, 16, [&](size_t, size_t) {
      ++calls;
      return why;
    });
    EXPECT_EQ(calls, 1);
    for (const auto& result : results) EXPECT_EQ(result, why);
  }
}

const char kAnswer[] =
    "private_key=e84b5a6d2717c1003a13b431570353dbaca9146cf150c5f8575680feba52027a\n"
    "listen_port=12912\n"
    "public_key=b85996fecc9c7f1fc6d2572a76eda11d59bcd20be8e543b15ce4bd85a8e75a33\n"
    "preshared_key=188515093e952f5f22e865cef3012e72f8b5f0b598ac0309d5dacce3b70fcf52\n"
    "allowed_ip=192.168.4.4/32\n"
    "endpoint=[abcd:23::33]:51820\n"
    "last_handshake_time_sec=1600000000\n"
    "last_handshake_time_nsec=500\n"
    "rx_bytes=7\n"
    "public_key=58402e695ba1772b1cc9309755f043251ea77fdcf10fbe63989ceb7e19321376\n"
    "tx_bytes=38333\n"
    "something_new=1\n"
    "errno=0\n"
    "\n";

// The example in the description of the protocol, cut at every byte.
TEST(UapiAnswerTest, ReadsAnAnswerCutAnywhere) {
  const absl::string_view answer(kAnswer);
  for (size_t cut = 0; cut <= answer.size(); ++cut) {
    UapiAnswer reader;
    std::vector<PeerStats> peers;
    const auto first = reader.Consume(answer.substr(0, cut), &peers);
    ASSERT_TRUE(first.ok());
    EXPECT_EQ(*first, cut == answer.size());
    if (!*first) {
      const auto second = reader.Consume(answer.substr(cut), &peers);
      ASSERT_TRUE(second.ok());
      EXPECT_TRUE(*second);
    }
    ASSERT_EQ(peers.size(), 2u);
    EXPECT_EQ(ToString(peers[0].endpoint), "[abcd:23::33]:51820");
    EXPECT_EQ(absl::ToUnixNanos(peers[0].last_handshake), 1'600'000'000'000'000'500);
    EXPECT_EQ(peers[0].received_bytes, 7u);
    EXPECT_EQ(peers[1].sent_bytes, 38333u);
    EXPECT_EQ(peers[1].last_handshake, absl::UnixEpoch());
    EXPECT_EQ(reader.info.listen_port, 12912);
    EXPECT_EQ(reader.info.private_key.data()[0], 0xe8);
  }
}

TEST(UapiAnswerTest, ReportsErrnoAndRefusesWhatItCannotRead) {
  std::vector<PeerStats> peers;
  UapiAnswer error;
  EXPECT_TRUE(absl::IsInvalidArgument(error.Consume("errno=-22\n\n", &peers).status()));
  for (const char* bad : {"errno=x\n\n", "listen_port=70000\n", "public_key=00\n", "rx_bytes=-1\n",
                          "private_key=zz\n", "\n"}) {
    UapiAnswer reader;
    EXPECT_FALSE(reader.Consume(bad, &peers).ok()) << bad;
  }
  UapiAnswer endless;
  EXPECT_FALSE(endless.Consume(std::string(10'000, 'x'), &peers).ok());
}

TEST(OpenTest, SaysWhatIsMissing) {
  const auto device = Open("wicket-none", Backend::kAuto);
  EXPECT_TRUE(absl::IsNotFound(device.status()));
  EXPECT_NE(device.status().message().find("wicket-none"), std::string::npos);
}

}  // namespace
}  // namespace wicket::wgdev
