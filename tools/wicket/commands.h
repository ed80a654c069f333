// The commands of `wicket`. Each prints its own result and returns an exit status.
#pragma once

#include <functional>
#include <string>

#include "tools/wicket/connection.h"

namespace wicket::tools {

inline constexpr int kOk = 0;
inline constexpr int kFailure = 1;
inline constexpr int kUsage = 2;

struct ImportOptions {
  ConnectionOptions connection;  // its device: of peers that do not name one
  std::string format = "auto";
  std::string file;         // "-": standard input
  std::string from_device;  // in place of a file
  bool json = false;
};
// Through a running daemon: stores what can be stored and reports the other lines.
// Into the store itself: all peers of the file, or none.
int Import(const ImportOptions& options);

struct ExportOptions {
  ConnectionOptions connection;  // its device: empty, all
  std::string format = "ndjson";
  std::string file = "-";
};
int Export(const ExportOptions& options);

struct StatusOptions {
  std::string status_file = "/run/wicket/status.json";
  std::string pin_dir = "/sys/fs/bpf/wicket";  // used when there is no status file
  bool json = false;
  int wait_s = -1;  // for the daemon and all its devices and NICs to be there; -1: do not
};
int Status(const StatusOptions& options);

struct ExplainOptions {
  std::string hex;
  std::string pcap;
  std::string private_key_file;
  std::string store;   // empty: none
  std::string device;  // with a store: the device the packets are for; empty: any
  bool json = false;
};
// Says of each packet what the gateway would make of it.
int Explain(const ExplainOptions& options);

// Each adds its commands to `app`; the one that is given sets `*run`.
void AddPeerCommands(CLI::App* app, std::function<int()>* run);
void AddConfCommand(CLI::App* app, std::function<int()>* run);
void AddEventsCommand(CLI::App* app, std::function<int()>* run);
void AddDbCommands(CLI::App* app, std::function<int()>* run);
void AddConfigCommand(CLI::App* app, std::function<int()>* run);
void AddReloadCommand(CLI::App* app, std::function<int()>* run);

}  // namespace wicket::tools
