// Webhooks: configuration, signatures, the queue on disk, and what is read of wicketd's stream.
#include <gtest/gtest.h>
#include <stdlib.h>
#include <sys/stat.h>

#include <filesystem>
#include <fstream>

#include "absl/strings/str_cat.h"
#include "hook/config.h"
#include "hook/hook.h"
#include "hook/queue.h"
#include "hook/secret.h"

namespace wicket::hook {
namespace {

std::string Problem(const std::string& text) {
  const auto config = Config::Parse(text, "hooks.toml");
  return config.ok() ? "" : std::string(config.status().message());
}

constexpr char kGood[] =
    "[[hook]]\nname = \"a\"\nurl = \"https://h.example/x\"\nsecret_file = \"a.secret\"\n";

TEST(HookConfigTest, EveryProblemIsTold) {
  EXPECT_EQ(Problem(kGood), "");
  EXPECT_EQ(
      Problem(absl::StrCat(kGood, "kinds = [\"confirmed\"]\ndevice = \"wg0\"\nqueue_max = 500")),
      "");
  EXPECT_NE(Problem("").find("1 to 16 [[hook]] tables"), std::string::npos);
  const std::string bad = Problem(
      "[[hook]]\nname = \"../x\"\nurl = \"http://h\"\nkinds = [\"a&b\"]\nqueue_max = 0\nother = "
      "1\n");
  for (const char* part : {"letters, digits", "https://HOST", "wicket-hook --new-secret",
                           "kinds of events", "queue_max", "other"}) {
    EXPECT_NE(bad.find(part), std::string::npos) << part << ": " << bad;
  }
  EXPECT_NE(Problem(absl::StrCat(kGood, kGood)).find("a second time"), std::string::npos);
}

// The example of the specification's reference library.
TEST(SigningSecretTest, SignsAsTheSpecificationDoes) {
  const auto secret = SigningSecret::Parse("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw\n");
  ASSERT_TRUE(secret.ok()) << secret.status();
  EXPECT_EQ(secret->Sign("msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330, "{\"test\": 2432232314}"),
            "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=");
}

TEST(SigningSecretTest, ABadSecretIsRefusedAndNotRepeated) {
  for (const char* bad : {"", "whsec_", "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
                          "whsec_c2hvcnQ=", "whsec_****************************"}) {
    const auto secret = SigningSecret::Parse(bad);
    EXPECT_FALSE(secret.ok()) << bad;
    EXPECT_EQ(secret.status().message().find("c2hvcnQ"), std::string::npos);
  }
  const std::string first = SigningSecret::Make(), second = SigningSecret::Make();
  EXPECT_TRUE(SigningSecret::Parse(first).ok());
  EXPECT_NE(first, second);
}

class FolderTest : public ::testing::Test {
 protected:
  FolderTest() {
    char name[] = "/tmp/wicket-hook-XXXXXX";
    folder_ = mkdtemp(name);
  }
  ~FolderTest() override { std::filesystem::remove_all(folder_); }

  std::string folder_;
};

TEST_F(FolderTest, ASecretThatOthersMayReadIsRefused) {
  const std::string path = folder_ + "/secret";
  EXPECT_NE(SigningSecret::Load(path).status().message().find(path), std::string::npos);
  std::ofstream(path) << SigningSecret::Make();
  chmod(path.c_str(), 0644);
  EXPECT_NE(SigningSecret::Load(path).status().message().find("chmod 0640"), std::string::npos);
  chmod(path.c_str(), 0640);
  EXPECT_TRUE(SigningSecret::Load(path).ok());
}

using Texts = std::vector<std::string>;

TEST_F(FolderTest, AQueueKeepsItsOrderAndSurvivesARestart) {
  uint64_t last = 0;
  {
    auto queue = Queue::Open(folder_ + "/q", 10);
    ASSERT_TRUE(queue.ok()) << queue.status();
    EXPECT_TRUE(queue->Front(0, 5)->events.empty());
    ASSERT_TRUE(queue->Push(Texts{"a", "b", "c"}).ok());
    const auto batch = queue->Front(0, 2);
    EXPECT_EQ(batch->events, (Texts{"a", "b"}));
    EXPECT_EQ(batch->first + 1, batch->last);
    last = batch->last;
  }
  auto queue = Queue::Open(folder_ + "/q", 10);
  EXPECT_EQ(*queue->size(), 3u);
  EXPECT_EQ(queue->Front(0, 9)->events, (Texts{"a", "b"})) << "the batch that was given, again";
  ASSERT_TRUE(queue->Pop(last).ok());
  const auto rest = queue->Front(0, 9);
  EXPECT_EQ(rest->events, (Texts{"c"}));
  EXPECT_EQ(rest->first, last + 1);
}

TEST_F(FolderTest, ANumberIsNeverGivenAgain) {
  uint64_t last = 0;
  for (int i = 0; i < 3; ++i) {
    auto queue = Queue::Open(folder_ + "/q", 10);
    ASSERT_TRUE(queue->Push(Texts{"x"}).ok());
    const auto batch = queue->Front(0, 1);
    EXPECT_GT(batch->first, last);
    last = batch->last;
    ASSERT_TRUE(queue->Pop(last).ok());
    EXPECT_EQ(*queue->size(), 0u);
  }
}

TEST_F(FolderTest, AFullQueueTakesWhatItHasRoomFor) {
  auto queue = Queue::Open(folder_ + "/q", 3);
  ASSERT_EQ(queue->Push(Texts{"a", "b"}).value_or(9), 2u);
  EXPECT_EQ(queue->Push(Texts{"c", "d"}).value_or(9), 1u);
  EXPECT_EQ(queue->Push(Texts{"e"}).value_or(9), 0u);
  ASSERT_TRUE(queue->Pop(queue->Front(0, 1)->last).ok());
  EXPECT_EQ(queue->Push(Texts{"f"}).value_or(9), 1u);
  EXPECT_EQ(queue->Front(0, 9)->events, (Texts{"b", "c", "f"}));
}

TEST_F(FolderTest, WhatIsDeliveredAndCouldNotBeRemovedIsPassedOver) {
  auto queue = Queue::Open(folder_ + "/q", 9);
  ASSERT_TRUE(queue->Push(Texts{"a", "b", "c"}).ok());
  const auto first = queue->Front(0, 2);
  const auto second = queue->Front(first->last, 2);
  EXPECT_EQ(second->events, (Texts{"c"}));
  EXPECT_EQ(queue->Front(0, 9)->events, (Texts{"a", "b", "c"}));
}

TEST_F(FolderTest, EachFolderHasANameOfItsOwnAndKeepsIt) {
  const std::string name = Queue::Open(folder_ + "/q", 9)->name();
  EXPECT_EQ(name.size(), 12u);
  EXPECT_EQ(Queue::Open(folder_ + "/q", 9)->name(), name);
  EXPECT_NE(Queue::Open(folder_ + "/r", 9)->name(), name);
}

TEST_F(FolderTest, ADamagedFileIsNamed) {
  std::filesystem::create_directory(folder_ + "/q");
  std::ofstream(folder_ + "/q/data.mdb") << "x";
  const auto queue = Queue::Open(folder_ + "/q", 9);
  EXPECT_NE(queue.status().message().find(folder_ + "/q"), std::string::npos) << queue.status();
}

TEST(EventReaderTest, EventsAreReadWhereverThePiecesEnd) {
  const std::string stream =
      ": watching\n\nevent: seen\ndata: {\"event\":\"seen\"}\n\nevent: lagged\n"
      "data: {\"missed\":7}\n\n: still here\n\nevent: refused\ndata: {\"event\":\"refused\"}\n\n";
  for (size_t size = 1; size <= stream.size(); ++size) {
    EventReader reader;
    uint64_t missed = 0;
    Texts events;
    for (size_t at = 0; at < stream.size(); at += size) {
      for (std::string& event : reader.Take(stream.substr(at, size), &missed)) {
        events.push_back(std::move(event));
      }
    }
    EXPECT_EQ(events, (Texts{"{\"event\":\"seen\"}", "{\"event\":\"refused\"}"})) << size;
    EXPECT_EQ(missed, 7u) << size;
  }
}

TEST(PauseTest, GrowsToFiveMinutesAndIsSpread) {
  EXPECT_EQ(PauseAfter(1, 0), absl::Seconds(1));
  EXPECT_EQ(PauseAfter(2, 0), absl::Seconds(2));
  EXPECT_EQ(PauseAfter(5, 0), absl::Seconds(16));
  EXPECT_EQ(PauseAfter(1'000'000, 0), absl::Minutes(5));
  EXPECT_EQ(PauseAfter(1'000'000, 1), absl::Minutes(2.5));
}

}  // namespace
}  // namespace wicket::hook
