// The commands of `wicket peer`.
#pragma once

#include <functional>

namespace CLI {
class App;
}

namespace wicket::tools {

// As in commands.h; `peer` is the command that they belong to.
void AddPeerAddCommand(CLI::App* peer, std::function<int()>* run);
void AddPeerListCommand(CLI::App* peer, std::function<int()>* run);
void AddPeerWhyCommand(CLI::App* peer, std::function<int()>* run);

}  // namespace wicket::tools
