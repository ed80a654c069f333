// The commands of `wicket`. Each prints its own result and returns an exit status. It throws a
// std::exception when an answer is JSON of another shape than documented.
#pragma once

#include <functional>

namespace CLI {
class App;
}

namespace wicket::tools {

inline constexpr int kOk = 0;
inline constexpr int kFailure = 1;
inline constexpr int kUsage = 2;

// Each adds its commands to `app`; the one that is given sets `*run`.
void AddImportCommand(CLI::App* app, std::function<int()>* run);
void AddExportCommand(CLI::App* app, std::function<int()>* run);
void AddStatusCommand(CLI::App* app, std::function<int()>* run);
void AddExplainCommand(CLI::App* app, std::function<int()>* run);
void AddPeerCommands(CLI::App* app, std::function<int()>* run);
void AddConfCommand(CLI::App* app, std::function<int()>* run);
void AddEventsCommand(CLI::App* app, std::function<int()>* run);
void AddDbCommands(CLI::App* app, std::function<int()>* run);
void AddConfigCommand(CLI::App* app, std::function<int()>* run);
void AddDoctorCommand(CLI::App* app, std::function<int()>* run);
void AddBugreportCommand(CLI::App* app, std::function<int()>* run);
void AddTopCommand(CLI::App* app, std::function<int()>* run);
void AddReloadCommand(CLI::App* app, std::function<int()>* run);
void AddPlanCommand(CLI::App* app, std::function<int()>* run);
void AddWebCommand(CLI::App* app, std::function<int()>* run);

}  // namespace wicket::tools
