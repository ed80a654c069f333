#include "tools/blast/packets.h"

#include <string.h>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"

namespace wicket::blast {
namespace {

constexpr const char* kTexts[] = {
#define WICKET_BLAST_TEXT(name, text, help) text,
    WICKET_BLAST_KINDS(WICKET_BLAST_TEXT)
#undef WICKET_BLAST_TEXT
};

constexpr uint64_t kStrangers = uint64_t{1} << 63;  // a client's number beyond every fleet
constexpr uint32_t kReused = 255;                   // further packets of one handshake

// Whether the packet is a handshake with a client's own key.
bool IsClients(Kind kind) {
  return kind == Kind::kNew || kind == Kind::kCookie || kind == Kind::kRekey || kind == Kind::kOld;
}

Tai64n StampOf(const PacketOrder& order) {
  return ToTai64n(order.kind == Kind::kOld ? order.stamp - absl::Hours(24) : order.stamp);
}

noise::PendingHandshake Clone(const noise::PendingHandshake& handshake) {
  return {handshake.message, handshake.ephemeral_private.Clone(), handshake.state.Clone()};
}

}  // namespace

const char* ToString(Kind kind) { return kTexts[static_cast<size_t>(kind)]; }

absl::StatusOr<Mix> Mix::Parse(absl::string_view text) {
  Mix mix;
  for (const absl::string_view part : absl::StrSplit(text, ',')) {
    const std::pair<absl::string_view, absl::string_view> pair =
        absl::StrSplit(part, absl::MaxSplits('=', 1));
    size_t kind = 0;
    while (kind < kKinds && pair.first != kTexts[kind]) ++kind;
    uint32_t weight = 1;
    const bool weighted = part.find('=') == part.npos ||
                          (absl::SimpleAtoi(pair.second, &weight) && weight <= 1'000'000);
    if (kind == kKinds || !weighted) {
      return absl::InvalidArgumentError(
          absl::StrCat("mix: found \"", part, "\"; accepted: KIND or ", "KIND=WEIGHT, with one of ",
                       absl::StrJoin(kTexts, " ")));
    }
    mix.weights_[kind] += weight;
    mix.total_ += weight;
  }
  if (mix.total_ == 0) return absl::InvalidArgumentError("mix: every weight is 0");
  return mix;
}

Kind Mix::Pick(uint32_t random) const {
  uint64_t at = total_ * random >> 32;
  size_t kind = 0;
  while (at >= weights_[kind]) at -= weights_[kind++];
  return static_cast<Kind>(kind);
}

PacketMaker::PacketMaker(const Fleet* fleet, const PublicKey& target, Random* random)
    : fleet_(fleet), target_(target), random_(random), mac1_key_(noise::Mac1Key(target)) {}

bool PacketMaker::Reuse(Reused* reused, uint32_t sender_index, Packet* packet) {
  if (reused->left == 0) return false;
  --reused->left;
  packet->handshake = Clone(*reused->handshake);
  wire::Initiation& message = packet->handshake.message;
  memcpy(message.sender_index.data(), &sender_index, sizeof(sender_index));
  message.mac1 = crypto::MacOf(mac1_key_, wire::BytesBefore(message, message.mac1));
  return true;
}

void PacketMaker::Make(std::span<const std::optional<PacketOrder>> orders,
                       std::span<std::optional<Packet>> packets) {
  std::vector<size_t> together;
  for (size_t i = 0; i < orders.size(); ++i) {
    if (orders[i] && IsClients(orders[i]->kind)) {
      together.push_back(i);
    } else if (orders[i]) {
      packets[i] = Make(*orders[i]);
    }
  }
  if (together.size() == 1) packets[together[0]] = Make(*orders[together[0]]);
  if (together.size() < 2) return;
  std::vector<Secret<kKeyBytes>> keys, ephemerals;
  std::vector<noise::Initiator> initiators;
  std::vector<noise::PendingHandshake> made(together.size());
  keys.reserve(together.size());
  ephemerals.reserve(together.size());
  for (const size_t i : together) {
    const PacketOrder& order = *orders[i];
    keys.push_back(fleet_->PrivateKey(order.client));
    ephemerals.push_back(crypto::GeneratePrivateKey());
    initiators.push_back({&keys.back(), &ephemerals.back(), order.sender_index, StampOf(order)});
  }
  if (!noise::CreateInitiations(backend_, target_, initiators, made)) return;
  for (size_t k = 0; k < together.size(); ++k) {
    const PacketOrder& order = *orders[together[k]];
    packets[together[k]].emplace(Packet{order.kind, order.client, std::move(made[k])});
  }
}

std::optional<Packet> PacketMaker::Make(const PacketOrder& order) {
  Packet packet{order.kind, order.client, {}};
  uint64_t signer = order.client;
  switch (order.kind) {
    case Kind::kData:
      return packet;
    case Kind::kBadMac1:
    case Kind::kJunk:
      FillWithRandom(order, &packet.handshake.message);
      return packet;
    case Kind::kResponse:
      FillWithResponse(order.sender_index, &packet.handshake.message);
      return packet;
    case Kind::kForged:
      if (Reuse(&forger_, order.sender_index, &packet)) return packet;
      packet.handshake = Forge(order.client, order.sender_index);
      forger_ = {Clone(packet.handshake), kReused};
      return packet;
    case Kind::kRepeat:
      if (!repeated_) break;
      packet.handshake = Clone(*repeated_);
      return packet;
    case Kind::kUnknown:
      if (Reuse(&stranger_, order.sender_index, &packet)) return packet;
      signer = kStrangers + ++strangers_;
      break;
    default:
      break;
  }
  auto made =
      noise::CreateInitiation(fleet_->PrivateKey(signer), target_, crypto::GeneratePrivateKey(),
                              order.sender_index, StampOf(order));
  if (!made) return std::nullopt;
  packet.handshake = std::move(*made);
  if (order.kind == Kind::kUnknown) stranger_ = {Clone(packet.handshake), kReused};
  if (order.kind == Kind::kRepeat) repeated_ = Clone(packet.handshake);
  return packet;
}

void PacketMaker::FillWithRandom(const PacketOrder& order, wire::Initiation* message) {
  uint8_t* bytes = reinterpret_cast<uint8_t*>(message);
  for (size_t i = 0; i < sizeof(*message); i += 4) {
    const auto word = static_cast<uint32_t>(random_->Next());
    memcpy(bytes + i, &word, sizeof(word));
  }
  if (order.kind == Kind::kJunk) return;
  message->type = {1, 0, 0, 0};
  memcpy(message->sender_index.data(), &order.sender_index, sizeof(order.sender_index));
  message->mac2 = {};
}

void PacketMaker::FillWithResponse(uint32_t sender_index, wire::Initiation* message) {
  wire::Response response{};
  response.type = {static_cast<uint8_t>(wire::MessageType::kResponse), 0, 0, 0};
  memcpy(response.sender_index.data(), &sender_index, sizeof(sender_index));
  const uint64_t words[] = {random_->Next(), random_->Next()};
  memcpy(response.receiver_index.data(), words, sizeof(response.receiver_index));
  memcpy(response.ephemeral.data(), words, sizeof(words));
  response.mac1 = crypto::MacOf(mac1_key_, wire::BytesBefore(response, response.mac1));
  memcpy(message, &response, sizeof(response));
}

// The most that an attacker can make of both public keys, without a private key.
noise::PendingHandshake PacketMaker::Forge(uint64_t client, uint32_t sender_index) {
  noise::PendingHandshake forged{{}, crypto::GeneratePrivateKey(), noise::InitialState(target_)};
  wire::Initiation& message = forged.message;
  Secret<kKeyBytes> shared;
  message.type = {1, 0, 0, 0};
  memcpy(message.sender_index.data(), &sender_index, sizeof(sender_index));
  message.ephemeral = crypto::DerivePublicKey(forged.ephemeral_private).bytes;
  forged.state.MixHash(message.ephemeral);
  forged.state.MixChainingKey(message.ephemeral);
  if (crypto::X25519(forged.ephemeral_private, target_.bytes.data(), &shared)) {
    const auto key = forged.state.MixKey({shared.data(), shared.size()});
    forged.state.EncryptAndHash(key, fleet_->Public(client).bytes, message.encrypted_static.data());
  }
  crypto::FillRandom(message.encrypted_timestamp.data(), message.encrypted_timestamp.size());
  message.mac1 = crypto::MacOf(mac1_key_, wire::BytesBefore(message, message.mac1));
  return forged;
}

}  // namespace wicket::blast
