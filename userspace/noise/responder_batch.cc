#include "noise/responder_batch.h"

#include <algorithm>

namespace wicket::noise {

void ResponderBatch::OpenStatics(const Identity& self, Messages messages) {
  std::copy(messages.begin(), messages.end(), stored_messages_.begin());
  messages_ = Messages(stored_messages_.data(), messages.size());
  const size_t n = messages_.size();
  std::array<const uint8_t*, kLanes> inputs;
  std::array<const uint8_t*, kMessagesMax> points;
  std::array<bool, kMessagesMax> is_secret;

  /* e */
  for (size_t i = 0; i < n; ++i) points[i] = messages_[i]->ephemeral.data();
  for (size_t group = 0; group < groups(); ++group) {
    SymmetricLanes& state = states_[group];
    crypto::HashLanes ephemeral;
    for (size_t lane = 0; lane < kLanes; ++lane) {
      inputs[lane] = points[IndexOf(group, lane)];
      ephemeral.Load(lane, inputs[lane]);
    }
    state.Begin(self.initial());
    state.MixHash(inputs, kKeyBytes);
    state.MixChainingKey(ephemeral);
  }

  /* es */
  crypto::X25519Batch(backend_, self.private_key(), std::span(points).first(n),
                      std::span(shared_).first(n), std::span(is_secret).first(n));
  for (size_t group = 0; group < groups(); ++group) {
    SymmetricLanes& state = states_[group];
    crypto::HashLanes shared, keys;
    for (size_t lane = 0; lane < kLanes; ++lane) {
      shared.Load(lane, shared_[IndexOf(group, lane)].data());
    }
    state.MixKey(shared, &keys);

    /* s */
    for (size_t lane = 0; lane < kLanes; ++lane) {
      const size_t i = IndexOf(group, lane);
      inputs[lane] = messages_[i]->encrypted_static.data();
      if (i != group * kLanes + lane) continue;  // an unused lane
      opened_[i] = is_secret[i] && state.Decrypt(lane, keys, messages_[i]->encrypted_static,
                                                 claims_[i].bytes.data());
    }
    state.MixHash(inputs, sizeof(messages_[0]->encrypted_static));
  }
}

void ResponderBatch::OpenTimestamps(const Identity& self, std::span<const bool> wanted) {
  std::array<const uint8_t*, kMessagesMax> points;
  std::array<size_t, kMessagesMax> index;  // of the message that owns the point
  std::array<bool, kMessagesMax> is_secret;
  size_t n = 0;
  for (size_t i = 0; i < messages_.size(); ++i) {
    proven_[i] = false;
    if (!wanted[i]) continue;
    points[n] = claims_[i].bytes.data();
    index[n++] = i;
  }

  /* ss */
  crypto::X25519Batch(backend_, self.private_key(), std::span(points).first(n),
                      std::span(shared_).first(n), std::span(is_secret).first(n));
  for (size_t k = 0; k < n;) {
    const size_t group = index[k] / kLanes;
    SymmetricLanes& state = states_[group];
    crypto::HashLanes shared, keys;
    const size_t begin = k;
    for (; k < n && index[k] / kLanes == group; ++k) {
      shared.Load(index[k] % kLanes, shared_[k].data());
    }
    state.MixKey(shared, &keys);

    /* {t} */
    for (size_t j = begin; j < k; ++j) {
      const size_t i = index[j];
      proven_[i] =
          is_secret[j] &&
          state.Decrypt(i % kLanes, keys, messages_[i]->encrypted_timestamp, timestamps_[i].data());
    }
  }
  for (size_t group = 0; group < groups(); ++group) states_[group].Wipe();
  for (size_t i = 0; i < messages_.size(); ++i) shared_[i].Wipe();
}

}  // namespace wicket::noise
