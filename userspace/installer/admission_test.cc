#include "installer/admission.h"

#include <gtest/gtest.h>

#include "base/clock_fixture.h"
#include "guard/replay.h"

namespace wicket::installer {
namespace {

const absl::Time kWall = absl::FromUnixSeconds(1'800'000'000);
constexpr absl::Duration kSteady = absl::Seconds(5000);

PublicKey Key(int n) {
  PublicKey key;
  key.bytes[0] = static_cast<uint8_t>(n);
  key.bytes[1] = static_cast<uint8_t>(n >> 8);
  return key;
}

// A stored peer whose valid initiation arrives on a NIC that gives packets back. Each test changes
// what its name says.
class AdmissionTest : public ::testing::Test {
 protected:
  AdmissionTest() {
    options_.name = "wg0";
    demand_.public_key = Key(1);
    demand_.stamp = ToTai64n(kWall);
    demand_.source = *ParseEndpoint("192.0.2.9:1000");
    stored_.device = "wg0";
    stored_.config.public_key = Key(1);
    known_.stored = &stored_;
    own_key_ = Key(0xfff);
    admission_.BeginBatch(options_, own_key_);
  }

  Decision Judge() { return admission_.Judge(demand_, known_, residents_, mode_, now_, kSteady); }
  // Adds a peer to the device whose last initiation was at `asked`, from `from`.
  Resident* Reside(const char* from, absl::Duration asked, absl::Duration active = kSteady) {
    Resident* resident = residents_.Add(stored_, session_, ParseEndpoint(from)->address, active);
    resident->session.endpoint = *ParseEndpoint(from);
    resident->last_request = asked;
    known_.resident = resident;
    return resident;
  }
  // Adds peers on probation, each from its own source unless `source` is given.
  void Crowd(int from, int to, const char* source = nullptr) {
    for (int n = from; n < to; ++n) {
      store::Peer peer;
      peer.config.public_key = Key(n);
      const Address address =
          source ? ParseEndpoint(source)->address
                 : Address{Family::kIpv4,
                           {10, static_cast<uint8_t>(n >> 8), static_cast<uint8_t>(n), 1}};
      residents_.Add(peer, {}, address, kSteady);
    }
  }
  void ExpectRefused(Count why) {
    const uint64_t before = journal_.Read(why);
    const Decision decision = Judge();
    ASSERT_TRUE(decision.refused) << "let in";
    EXPECT_EQ(*decision.refused, why);
    EXPECT_FALSE(decision.install || decision.give_back || decision.reset);
    EXPECT_EQ(journal_.Read(why), before + 1);
  }

  event::EventLog events_;
  Journal journal_{"wg0", &events_};
  Options options_;
  PublicKey own_key_;
  intake::Demand demand_;
  store::Peer stored_;
  store::Session session_;
  Known known_;
  Residents residents_{absl::Seconds(180)};
  reinject::Mode mode_ = reinject::Mode::kLive;
  Instant now_ = At(kWall);
  Admission admission_{&journal_};
};

// --- let in -----------------------------------------------------------------

TEST_F(AdmissionTest, ANewcomerIsInstalledAndGivenBack) {
  const Decision decision = Judge();
  EXPECT_FALSE(decision.refused);
  EXPECT_TRUE(decision.install && decision.give_back);
  EXPECT_FALSE(decision.reset);
  EXPECT_EQ(decision.session.mark.exact, demand_.stamp) << "its stamp is remembered";
}

TEST_F(AdmissionTest, APeerThatHasUsedUpItsQuotaWaitsForTheNextPeriod) {
  stored_.quota = {.bytes = 100, .period = absl::Hours(24)};
  session_ = {
      .received_bytes = 1100, .period_begun = stored_.quota.BeginOf(kWall), .period_base = 1000};
  known_.session = &session_;
  ExpectRefused(Count::kOverQuota);
  --session_.received_bytes;
  EXPECT_FALSE(Judge().refused);
  session_.received_bytes += 500;
  ExpectRefused(Count::kOverQuota);
  now_ = At(stored_.quota.EndOf(kWall));
  demand_.stamp = ToTai64n(now_.wall);
  EXPECT_FALSE(Judge().refused);
}

TEST_F(AdmissionTest, AResidentFromElsewhereIsGivenBackWithoutAnInstall) {
  Reside("192.0.2.1:7", kSteady - absl::Seconds(60));
  const Decision decision = Judge();
  EXPECT_TRUE(decision.give_back);
  EXPECT_FALSE(decision.install);
  EXPECT_EQ(journal_.Read(Count::kRoamed), 1u);
}

TEST_F(AdmissionTest, AResidentThatAsksTwiceFromOnePlaceIsInstalledOnceMore) {
  Reside("192.0.2.9:1000", kSteady - absl::Seconds(14));
  EXPECT_TRUE(Judge().install);
  EXPECT_EQ(journal_.Read(Count::kHealed), 1u);
  Reside("192.0.2.9:1000", kSteady - absl::Seconds(16));
  EXPECT_FALSE(Judge().install) << "that long after, the first try passed to the kernel";
}

TEST_F(AdmissionTest, AnInvertedPeerIsInstalledAgainToBeCalled) {
  Reside("192.0.2.1:7", kSteady - absl::Seconds(60));
  mode_ = reinject::Mode::kInvert;
  EXPECT_TRUE(Judge().install);
}

TEST_F(AdmissionTest, ADeviceForgetsAStampFromTheFutureWhenTheSessionIsDead) {
  // The client's clock was an hour ahead, and has been corrected.
  session_.mark = guard::Accept({}, ToTai64n(kWall + absl::Hours(1)), At(kWall - absl::Hours(2)));
  Resident* resident = Reside("192.0.2.1:7", kSteady - absl::Seconds(60));
  EXPECT_FALSE(Judge().reset) << "a live session is not risked";
  resident->active = kSteady - absl::Seconds(181);
  const Decision decision = Judge();
  EXPECT_TRUE(decision.reset && decision.install);
}

TEST_F(AdmissionTest, AForgottenMarkResetsTheDeviceToo) {
  Reside("192.0.2.1:7", kSteady - absl::Seconds(60))->forget_stamp = true;
  EXPECT_TRUE(Judge().reset);
}

TEST_F(AdmissionTest, AForeignPeerIsGivenBackAndNoMore) {
  demand_.reason = intake::Reason::kForeign;
  known_ = {.foreign = true};
  const Decision decision = Judge();
  EXPECT_TRUE(decision.give_back);
  EXPECT_FALSE(decision.install || decision.refused);
  known_.foreign = false;  // its owner removed it in the meantime
  ExpectRefused(Count::kGone);
}

TEST_F(AdmissionTest, AClockFarAheadIsLetInAndCounted) {
  demand_.stamp = ToTai64n(kWall + absl::Hours(1));
  EXPECT_TRUE(Judge().install);
  EXPECT_EQ(journal_.Read(Count::kFutureStamps), 1u);
}

// --- refused ----------------------------------------------------------------

TEST_F(AdmissionTest, ReplaysAreRefused) {
  session_.mark = guard::Accept({}, demand_.stamp, At(kWall));
  known_.session = &session_;
  ExpectRefused(Count::kReplays);
  Reside("192.0.2.1:7", kSteady - absl::Seconds(60));
  ExpectRefused(Count::kReplays);
}

TEST_F(AdmissionTest, AReplayOfAHandshakePastUsDoesNotSetTheMarkBack) {
  // Proven at kWall - 4 min, then seen in a dump at kWall - 2 min.
  const absl::Time first = kWall - absl::Minutes(4), rekey = kWall - absl::Minutes(2);
  session_.mark = guard::Accept({}, ToTai64n(first), At(first));
  Resident* resident = Reside("192.0.2.1:7", kSteady - absl::Seconds(60));
  resident->past_us = guard::AdvanceTo(resident->session.mark, At(rekey), now_);
  demand_.stamp = ToTai64n(rekey);
  Decision decision = Judge();
  EXPECT_FALSE(decision.refused) << "it may be that of a client that roams: the device knows";
  EXPECT_TRUE(decision.passed_us);
  EXPECT_EQ(decision.session.mark.exact, ToTai64n(first)) << "what is saved stays past_us";
  demand_.stamp = ToTai64n(kWall);
  decision = Judge();
  EXPECT_FALSE(decision.refused || decision.passed_us);
  EXPECT_EQ(decision.session.mark.exact, ToTai64n(kWall));
}

TEST_F(AdmissionTest, AfterAForwardStepNothingFromBeforeIsFresh) {
  // While the gateway's clock was a day behind, two correct stamps of a client looked like stamps
  // from the future. Then the clock was corrected half of the way.
  const Instant behind = At(kWall - absl::Hours(24));
  session_.mark = guard::Accept({}, ToTai64n(kWall - absl::Minutes(30)), behind);
  session_.mark = guard::Accept(session_.mark, ToTai64n(kWall + absl::Minutes(30)), behind);
  known_.session = &session_;
  demand_.stamp = ToTai64n(kWall - absl::Minutes(30));
  EXPECT_FALSE(Judge().refused) << "without a step, this is the hole";
  now_ = At(kWall, absl::Hours(24));
  ExpectRefused(Count::kReplays);
}

TEST_F(AdmissionTest, ASecondInitiationWithinTwentyMillisecondsIsRefused) {
  Reside("192.0.2.1:7", kSteady - absl::Milliseconds(19));
  ExpectRefused(Count::kTooOften);
  known_.resident = Reside("192.0.2.1:7", kSteady - absl::Milliseconds(20));
  EXPECT_FALSE(Judge().refused);
}

TEST_F(AdmissionTest, APeerThatWasDeletedExpiredOrIsTheDeviceItselfIsGone) {
  known_.stored = nullptr;
  ExpectRefused(Count::kGone);
  known_.stored = &stored_;
  stored_.expires = kWall;
  ExpectRefused(Count::kGone);
  stored_.expires = kWall + absl::Seconds(1);
  EXPECT_FALSE(Judge().refused);
  admission_.BeginBatch(options_, Key(1));
  ExpectRefused(Count::kGone);
}

TEST_F(AdmissionTest, MartiansAreRefusedWhereTheKernelWouldNotSeeThemCome) {
  for (const char* source : {"127.0.0.1:9", "0.1.2.3:9", "239.1.1.1:9", "255.255.255.255:9",
                             "[::1]:9", "[::]:9", "[ff02::1]:9", "[::ffff:127.0.0.1]:9"}) {
    demand_.source = *ParseEndpoint(source);
    mode_ = reinject::Mode::kRaw;
    ExpectRefused(Count::kMartian);
    mode_ = reinject::Mode::kLive;  // the kernel decides itself
    admission_.BeginBatch(options_, own_key_);
    EXPECT_FALSE(Judge().refused) << source;
  }
  mode_ = reinject::Mode::kRaw;
  demand_.source = *ParseEndpoint("[2001:db8::1]:9");
  EXPECT_FALSE(Judge().refused);
}

TEST_F(AdmissionTest, AFullDeviceRefusesNewcomersAndPressesForRoom) {
  options_.installed_max = 3;
  Crowd(10, 12);
  admission_.BeginBatch(options_, own_key_);
  EXPECT_FALSE(Judge().refused) << "the third";
  EXPECT_FALSE(admission_.TakePressed());
  demand_.public_key = Key(2);
  ExpectRefused(Count::kFull);  // the new peer of this batch counts
  EXPECT_TRUE(admission_.TakePressed());
  EXPECT_FALSE(admission_.TakePressed()) << "told once";
  Reside("192.0.2.1:7", kSteady - absl::Seconds(60));
  EXPECT_FALSE(Judge().refused) << "a peer in the device needs no room";
}

TEST_F(AdmissionTest, HalfOfTheSlotsAreForSendersThatReturnedACookie) {
  options_.probation_max = 100;
  Crowd(10, 60);
  admission_.BeginBatch(options_, own_key_);
  ExpectRefused(Count::kProbationCookie);
  demand_.source_proven = true;
  EXPECT_FALSE(Judge().refused);
  EXPECT_TRUE(Admission::Crowded(options_, residents_));
}

TEST_F(AdmissionTest, OneSourceGetsAQuarterOfWhatIsFree) {
  options_.probation_max = 100;
  Crowd(10, 60);
  admission_.BeginBatch(options_, own_key_);
  demand_.source_proven = true;
  int let_in = 0;
  for (int n = 0; n < 50; ++n) let_in += !Judge().refused;
  // n slots taken of the 50 free: refused when 4 n >= 50 - n.
  EXPECT_EQ(let_in, 10);
  ExpectRefused(Count::kProbationSource);
  demand_.source = *ParseEndpoint("192.0.2.10:1");
  EXPECT_FALSE(Judge().refused) << "there is room for another source";
}

TEST_F(AdmissionTest, NoSlotIsLeft) {
  options_.probation_max = 20;
  Crowd(10, 30);
  admission_.BeginBatch(options_, own_key_);
  demand_.source_proven = true;
  ExpectRefused(Count::kProbationFull);
}

}  // namespace
}  // namespace wicket::installer
