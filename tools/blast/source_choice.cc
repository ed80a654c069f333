#include "tools/blast/source_choice.h"

namespace wicket::blast {
namespace {

uint64_t RoundUp(uint64_t value, uint64_t multiple) {
  return (std::max<uint64_t>(value, 1) + multiple - 1) / multiple * multiple;
}

uint64_t ClientSources(const LoadOptions& options, uint64_t clients) {
  return options.clients.sources > 0 ? options.clients.sources
                                     : std::min(clients, kClientSourcesMax);
}

}  // namespace

SourceChoice::SourceChoice(const LoadOptions& options, uint64_t clients, uint32_t thread,
                           Random* random)
    : thread_(thread),
      threads_(static_cast<uint64_t>(options.threads)),
      client_sources_(RoundUp(ClientSources(options, clients), threads_)),
      attack_sources_(RoundUp(options.attack_sources, threads_)),
      random_(random) {}

SourceRange SourceChoice::Range() const {
  return {thread_, threads_, (client_sources_ + threads_ + attack_sources_) / threads_};
}

uint64_t SourceChoice::OfCaptured(const Endpoint& from) {
  const uint64_t next = captured_.size() * threads_ % client_sources_ + thread_;
  return captured_.try_emplace(from, next).first->second;
}

}  // namespace wicket::blast
