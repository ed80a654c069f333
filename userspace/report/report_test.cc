// What an operator is told: when an attack begins and ends, and whose the status file is.
#include <gtest/gtest.h>
#include <stdlib.h>

#include <filesystem>
#include <fstream>
#include <iterator>

#include "absl/strings/str_cat.h"
#include "report/defence.h"
#include "report/history.h"
#include "report/metrics.h"
#include "report/reporter.h"

namespace wicket::report {
namespace {

// --- defence ----------------------------------------------------------------

class DefenceTest : public ::testing::Test {
 protected:
  // A second passes, in which `refused` initiations were refused for `reason`.
  void Second(const char* reason, uint64_t refused, bool under_load = false) {
    steady_ += absl::Seconds(1);
    counts_[reason] += refused;
    document::Status status;
    status.verdicts = counts_;
    status.devices = {{.name = "wg0", .counts = turned_away_, .install_p99_ms = 2.5}};
    defence_.Note(steady_, status, under_load, /*sources=*/7);
  }
  std::vector<event::Event> Events() { return watcher_.Read(absl::ZeroDuration()).events; }

  absl::Duration steady_ = absl::Hours(5);
  std::map<std::string, uint64_t> counts_;
  event::EventLog events_;
  event::EventLog::Watcher watcher_{&events_};
  Defence defence_{&events_};
  std::map<std::string, uint64_t> turned_away_;
};

TEST_F(DefenceTest, WhatWasCountedBeforeTheStartIsNoAttack) {
  Second("unknown_peer", 1'000'000'000);
  EXPECT_FALSE(defence_.status().attack);
  EXPECT_TRUE(defence_.status().refused_per_s.empty());
  EXPECT_TRUE(Events().empty());
}

TEST_F(DefenceTest, WhoIsTurnedAwayByAFullDeviceIsToldOfAndNoAttack) {
  Second("proven", 0);
  turned_away_ = {{"full", 5000}, {"install_errors", 1}, {"installs", 9000}};
  Second("proven", 5000);
  EXPECT_FALSE(defence_.status().attack);
  EXPECT_EQ(defence_.status().refused_per_s,
            (std::map<std::string, double>{{"full", 5000}, {"install_errors", 1}}));
}

TEST_F(DefenceTest, AnAttackBeginsAtAThousandASecondAndEndsTenSecondsAfterTheLast) {
  Second("unknown_peer", 0);
  Second("unknown_peer", 999);
  EXPECT_FALSE(defence_.status().attack);
  EXPECT_EQ(defence_.status().refused_per_s.at("unknown_peer"), 999);
  Second("unknown_peer", 600);
  counts_["drop_mac1"] += 400;  // the sum counts, of the program and of the shards
  Second("unknown_peer", 600);
  EXPECT_TRUE(defence_.status().attack);
  std::vector<event::Event> told = Events();
  ASSERT_EQ(told.size(), 1u);
  EXPECT_EQ(told[0].kind, event::Kind::kAttack);
  EXPECT_EQ(told[0].figures.at("unknown_peer"), 600);
  EXPECT_EQ(told[0].figures.at("drop_mac1"), 400);
  EXPECT_EQ(told[0].figures.at("sources"), 7);
  EXPECT_EQ(told[0].figures.at("install_p99_ms"), 2.5);
  for (int i = 0; i < 9; ++i) Second("unknown_peer", 0);
  EXPECT_TRUE(defence_.status().attack) << "nine seconds after the last";
  EXPECT_TRUE(Events().empty());
  Second("unknown_peer", 0);
  EXPECT_FALSE(defence_.status().attack);
  told = Events();
  ASSERT_EQ(told.size(), 1u);
  EXPECT_EQ(told[0].kind, event::Kind::kAttackOver);
}

TEST_F(DefenceTest, ALongAttackIsToldOfEveryTenSeconds) {
  Second("bad_static", 0);
  for (int i = 0; i < 31; ++i) Second("bad_static", 5000);
  EXPECT_EQ(Events().size(), 4u);
}

TEST_F(DefenceTest, UnderLoadIsAnAttackAtAnyRate) {
  Second("proven", 0);
  Second("proven", 50, /*under_load=*/true);
  EXPECT_TRUE(defence_.status().attack);
  EXPECT_EQ(defence_.status().proven_per_s, 50);
  const std::vector<event::Event> told = Events();
  ASSERT_EQ(told.size(), 1u);
  EXPECT_STREQ(told[0].reason, "under load");
}

// --- the status file --------------------------------------------------------

class ReporterTest : public ::testing::Test {
 protected:
  void SetUp() override {
    char name[] = "/tmp/wicket-report-XXXXXX";
    ASSERT_NE(mkdtemp(name), nullptr);
    folder_ = name;
    path_ = folder_ + "/sub/status.json";
  }
  void TearDown() override { std::filesystem::remove_all(folder_); }
  std::string Text() const {
    std::ifstream file(path_);
    return {std::istreambuf_iterator<char>(file), {}};
  }
  static document::Status With(uint64_t stored) {
    document::Status status;
    status.stored_peers = stored;
    return status;
  }

  std::string folder_, path_;
};

TEST_F(ReporterTest, FileAndReadersSeeTheSameStatus) {
  const auto reporter = Reporter::Open(path_);
  ASSERT_TRUE(reporter.ok()) << reporter.status();
  EXPECT_NE((*reporter)->latest(), nullptr) << "before the first";
  ASSERT_TRUE((*reporter)->Publish(With(1)).ok());
  const auto first = (*reporter)->latest();
  ASSERT_TRUE((*reporter)->Publish(With(2)).ok());
  EXPECT_EQ(first->stored_peers, 1u) << "a reader's copy has changed";
  EXPECT_EQ((*reporter)->latest()->stored_peers, 2u);
  EXPECT_EQ(Text(), document::ToJson(*(*reporter)->latest()));
}

TEST_F(ReporterTest, MetricsAreOfTheLatestStatus) {
  const auto reporter = Reporter::Open(path_);
  ASSERT_TRUE(reporter.ok());
  for (const uint64_t stored : {5u, 6u}) {
    ASSERT_TRUE((*reporter)->Publish(With(stored)).ok());
    for (int i = 0; i < 2; ++i) {
      EXPECT_NE((*reporter)
                    ->Metrics([](document::Status*) {})
                    .find(absl::StrCat("\nwicket_store_peers ", stored, "\n")),
                std::string::npos);
    }
  }
}

TEST_F(ReporterTest, ReadersSeeAStatusThatCannotBeWritten) {
  const auto reporter = Reporter::Open(path_);
  ASSERT_TRUE(reporter.ok());
  std::filesystem::create_directory(path_ + ".new");
  const absl::Status written = (*reporter)->Publish(With(3));
  EXPECT_NE(written.message().find(path_), absl::string_view::npos) << written;
  EXPECT_EQ((*reporter)->latest()->stored_peers, 3u);
}

TEST_F(ReporterTest, ALivingGatewaysFileIsNotTaken) {
  auto first = Reporter::Open(path_);
  ASSERT_TRUE(first.ok());
  ASSERT_TRUE((*first)->Publish(With(4)).ok());
  const absl::Status second = Reporter::Open(path_).status();
  EXPECT_TRUE(absl::IsFailedPrecondition(second));
  EXPECT_NE(second.message().find("process " + std::to_string(getpid())), absl::string_view::npos)
      << second;
  EXPECT_EQ((*first)->latest()->stored_peers, 4u);
  first->reset();
  EXPECT_FALSE(std::filesystem::exists(path_)) << "what is not current stays";
  EXPECT_TRUE(Reporter::Open(path_).ok());
}

// --- history ----------------------------------------------------------------

document::Status StatusAt(int64_t unix_s, uint64_t installs, double bad_mac1_per_s = 0) {
  document::Status status{.written = absl::FromUnixSeconds(unix_s)};
  status.devices.push_back({.name = "wg0",
                            .installed = 5,
                            .counts = {{"installs", installs}, {"evicted_idle", installs / 2}},
                            .install_p99_ms = 1.5});
  status.devices.push_back({.name = "wg1", .installed = 2, .install_p99_ms = 2.5});
  if (bad_mac1_per_s > 0) status.defence.refused_per_s["drop_mac1"] = bad_mac1_per_s;
  return status;
}

TEST(HistoryTest, RatesAreThoseBetweenTwoStatuses) {
  History history;
  history.Note(StatusAt(1000, 100), absl::Seconds(50));
  EXPECT_EQ(history.ToJson(0).substr(0, 18), "{\"next\":0,\"at\":[],") << "no rate of one status";
  history.Note(StatusAt(1001, 110), absl::Seconds(51));
  history.Note(StatusAt(1003, 130, 7), absl::Seconds(53));
  const std::string json = history.ToJson(0);
  for (const char* part : {"\"next\":2", "\"at\":[1001000,1003000]", "\"new_per_s\":[10,10]",
                           "\"evicted_per_s\":[5,5]", "\"installed\":[7,7]", "\"p99_ms\":[2.5,2.5]",
                           "\"refused_per_s\":{\"drop_mac1\":[0,7]}"}) {
    EXPECT_NE(json.find(part), std::string::npos) << part << ": " << json;
  }
}

TEST(HistoryTest, AStepOfTheWallClockChangesNoRate) {
  History history;
  history.Note(StatusAt(1000, 100), absl::Seconds(50));
  history.Note(StatusAt(500'000, 110), absl::Seconds(51));
  history.Note(StatusAt(900, 120), absl::Seconds(52));
  EXPECT_NE(history.ToJson(0).find("\"new_per_s\":[10,10]"), std::string::npos);
}

TEST(HistoryTest, OnlyWhatIsNewIsToldAndTheOldestIsForgotten) {
  History history;
  for (int i = 0; i <= 1000; ++i) history.Note(StatusAt(1000 + i, 0), absl::Seconds(i));
  EXPECT_EQ(history.ToJson(999), history.ToJson(999));
  EXPECT_NE(history.ToJson(999).find("\"next\":1000,\"at\":[2000000]"), std::string::npos);
  EXPECT_NE(history.ToJson(1000).find("\"at\":[]"), std::string::npos);
  // All that is kept, to who asks for what is not any more, or has asked another process before.
  for (const uint64_t from : {uint64_t{0}, uint64_t{5}, uint64_t{5000}}) {
    EXPECT_NE(history.ToJson(from).find("\"at\":[1101000,"), std::string::npos) << from;
  }
}

TEST(MetricsTest, PoolsAreToldByCidr) {
  document::Status status = StatusAt(1000, 1);
  status.pools = {{.name = "users", .device = "wg0", .cidr = "10.0.0.0/29", .size = 5, .used = 3}};
  status.released_prefixes = 2;
  const std::string text = ToPrometheus(status);
  const std::string labels = "{pool=\"users\",device=\"wg0\",cidr=\"10.0.0.0/29\"}";
  for (const std::string& line : {absl::StrCat("wicket_pool_addresses", labels, " 5\n"),
                                  absl::StrCat("wicket_pool_addresses_used", labels, " 3\n"),
                                  std::string("wicket_pool_released_prefixes 2\n")}) {
    EXPECT_NE(text.find(line), std::string::npos) << line << text;
  }
}

// --- series of single peers -------------------------------------------------

TEST(MetricsTest, PeersHaveSeriesWhereThereAreSomeByEitherConvention) {
  document::Status status = StatusAt(1000, 1);
  EXPECT_EQ(ToPrometheus(status).find("public_key"), std::string::npos);
  status.devices[0].busiest.push_back({.allowed_ips = "10.0.0.1/32",
                                       .friendly_name = "say \"hi\"",
                                       .received_bytes = 7,
                                       .sent_bytes = 9,
                                       .last_handshake = absl::FromUnixSeconds(900)});
  status.devices[0].peers_capped = 4;
  const std::string key(43, 'A');
  const std::string labels = absl::StrCat("interface=\"wg0\",public_key=\"", key,
                                          "=\",allowed_ips=\"10.0.0.1/32\",friendly_name=\"say "
                                          "\\\"hi\\\"\"}");
  const std::string totals = ToPrometheus(status);
  for (const std::string& line :
       {absl::StrCat("wireguard_sent_bytes_total{", labels, " 9\n"),
        absl::StrCat("wireguard_received_bytes_total{", labels, " 7\n"),
        absl::StrCat("wireguard_latest_handshake_seconds{", labels, " 900\n"),
        std::string("wicket_device_peers_capped{device=\"wg0\"} 4\n")}) {
    EXPECT_NE(totals.find(line), std::string::npos) << line << totals;
  }
  status.peer_names = document::PeerNames::kPeer;
  const std::string by_peer = ToPrometheus(status);
  EXPECT_NE(by_peer.find("wireguard_peer_transmit_bytes_total{device=\"wg0\",public_key="),
            std::string::npos);
  EXPECT_EQ(by_peer.find("wireguard_sent_bytes_total"), std::string::npos);
}

TEST(LatelyTest, WhatIsOverIsToldOfForTenMinutes) {
  Lately lately;
  const auto growth = [&](uint64_t errors, absl::Duration steady) {
    document::Status status;
    status.devices.push_back({.name = "wg0", .counts = {{"install_errors", errors}}});
    lately.Fill(&status, steady);
    return status.devices[0].install_errors_lately;
  };
  EXPECT_EQ(growth(3, absl::Seconds(5)), 3u) << "since the start";
  for (int s = 6; s < 600; ++s) EXPECT_EQ(growth(3, absl::Seconds(s)), 3u) << s;
  EXPECT_EQ(growth(5, absl::Seconds(600)), 5u);
  for (int s = 601; s < 1300; ++s) growth(5, absl::Seconds(s));
  EXPECT_EQ(growth(5, absl::Seconds(1300)), 0u);
  EXPECT_EQ(growth(6, absl::Seconds(1301)), 1u);
  EXPECT_EQ(growth(1, absl::Seconds(1302)), 1u) << "it began again";
}

}  // namespace
}  // namespace wicket::report
