// wicket top: the gateway at a terminal, live.
#include <locale.h>
#include <signal.h>
#include <unistd.h>

// Its macros would be those of every header below it.
#define NCURSES_NOMACROS
#include <ncurses.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <iostream>
#include <memory>
#include <optional>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "base/clock.h"
#include "tools/wicket/commands.h"
#include "tools/wicket/connection.h"
#include "tools/wicket/text.h"
#include "tools/wicket/top_model.h"
#include "tools/wicket/top_peers.h"

namespace wicket::tools {
namespace {

// A gateway that hangs is told of, and holds the keys up for no longer.
constexpr absl::Duration kPatience = absl::Seconds(2);
constexpr absl::Duration kRefresh = absl::Seconds(1);
constexpr int kKeyWait_ms = 100;
constexpr int kLabelColumns = 30;
constexpr short kGood = 1, kWarn = 2, kBad = 3;

volatile sig_atomic_t ended = 0;

struct TopOptions {
  ConnectionOptions where;
  int count = 0;  // lines of plain output; 0: until interrupted
};

// The terminal, which is as before when this ends.
class Terminal {
 public:
  Terminal() {
    setlocale(LC_ALL, "");
    initscr();
    cbreak();
    noecho();
    keypad(stdscr, TRUE);
    curs_set(0);
    wtimeout(stdscr, kKeyWait_ms);
    if (has_colors()) {
      start_color();
      use_default_colors();
      init_pair(kGood, COLOR_GREEN, -1);
      init_pair(kWarn, COLOR_YELLOW, -1);
      init_pair(kBad, COLOR_RED, -1);
    }
  }
  ~Terminal() { endwin(); }
  Terminal(const Terminal&) = delete;
};

// Prints lines downwards, each cut at the right edge, and none below the last but one.
class Page {
 public:
  Page() { werase(stdscr); }

  void Line(const std::string& text, int attributes = 0) {
    if (row_ >= LINES - 1) return;
    wattr_on(stdscr, static_cast<attr_t>(attributes), nullptr);
    wmove(stdscr, row_++, 0);
    // Bars fit by themselves; of text a cell is a byte.
    const bool plain = std::all_of(text.begin(), text.end(), [](char c) { return c > 0; });
    waddnstr(stdscr, text.c_str(), plain ? std::max(COLS - 1, 0) : -1);
    wattr_off(stdscr, static_cast<attr_t>(attributes), nullptr);
  }
  void Heading(const std::string& text) { Line(text, static_cast<int>(A_BOLD)); }
  void Gap() { ++row_; }
  int left() const { return LINES - 1 - row_; }
  void Footer(const std::string& text) {
    wattr_on(stdscr, A_REVERSE, nullptr);
    wmove(stdscr, LINES - 1, 0);
    waddnstr(stdscr, absl::StrFormat("%-*s", std::max(COLS - 1, 0), text).c_str(), COLS - 1);
    wattr_off(stdscr, A_REVERSE, nullptr);
    wrefresh(stdscr);
  }

 private:
  int row_ = 0;
};

int Colour(short pair) { return has_colors() ? COLOR_PAIR(pair) : 0; }

void ShowFigure(Page* page, const char* name, const History& history, int digits) {
  const auto width = static_cast<size_t>(std::max(0, COLS - kLabelColumns - 1));
  page->Line(
      absl::StrFormat("%-18s %10.*f  %s", name, digits, history.last(), history.Bars(width)));
}

void ShowTitle(Page* page, const TopModel& model, const std::string& problem) {
  const document::Status& status = model.status();
  if (!problem.empty()) page->Line(problem, Colour(kBad) | static_cast<int>(A_BOLD));
  if (!model.has_status()) return;
  page->Heading(absl::StrCat(
      "wicketd ", status.version, ", up ",
      absl::FormatDuration(absl::Floor(status.written - status.started, absl::Seconds(1))), ", ",
      status.stored_peers, " peers stored, ", model.installed(), " installed"));
  if (status.defence.attack) {
    page->Line(absl::StrCat("UNDER ATTACK, about ", status.defence.sources, " sources refused"),
               Colour(kBad) | static_cast<int>(A_BOLD));
  }
  if (status.store_refuses_writes) page->Line("the store takes no writes", Colour(kBad));
}

void ShowDevices(Page* page, const document::Status& status) {
  page->Heading(absl::StrFormat("%-12s %-8s %17s %6s %8s %8s", "DEVICE", "BACKEND", "INSTALLED",
                                "UNCONF", "P50 MS", "P99 MS"));
  for (const document::DeviceStatus& device : status.devices) {
    const bool away = device.backend == "away", silent = device.silent_s > 2;
    page->Line(
        absl::StrFormat("%-12s %-8s %8d/%8d %6d %8.2f %8.2f%s", device.name, device.backend,
                        device.installed, device.installed_max, device.installed_unconfirmed,
                        device.install_p50_ms, device.install_p99_ms, silent ? "  silent" : ""),
        away || silent ? Colour(kBad) : 0);
  }
}

void ShowNics(Page* page, const document::Status& status) {
  page->Heading(absl::StrFormat("%-12s %-8s %-8s %6s %9s %9s %8s", "NIC", "XDP", "REINJECT",
                                "QUEUES", "RING FULL", "DROPPED", "WAIT MS"));
  for (const document::NicStatus& nic : status.nics) {
    page->Line(absl::StrFormat("%-12s %-8s %-8s %6d %9d %9d %8.2f%s", nic.name, nic.xdp_mode,
                               nic.reinject, nic.queues, nic.ring_full, nic.ring_dropped,
                               nic.wait_p99_ms, nic.under_load ? "  load" : ""),
               nic.xdp_mode == "away" ? Colour(kBad)
               : nic.under_load       ? Colour(kWarn)
                                      : 0);
  }
}

void ShowQueues(Page* page, const document::Status& status) {
  page->Heading(absl::StrFormat("%-20s %12s %7s %10s %10s %9s", "QUEUE", "INITIATIONS", "SHARE",
                                "RING FULL", "DROPPED", "WAIT MS"));
  for (const document::NicStatus& nic : status.nics) {
    double all = 0;
    for (const auto& queue : nic.per_queue) all += static_cast<double>(queue.initiations);
    for (size_t i = 0; i < nic.per_queue.size(); ++i) {
      const document::QueueStatus& queue = nic.per_queue[i];
      page->Line(absl::StrFormat("%-20s %12d %5.0f %% %10d %10d %9.2f%s",
                                 absl::StrCat(nic.name, "/", i), queue.initiations,
                                 100 * static_cast<double>(queue.initiations) / std::max(all, 1.0),
                                 queue.ring_full, queue.ring_dropped, queue.wait_p99_ms,
                                 queue.under_load ? "  load" : ""),
                 queue.under_load ? Colour(kWarn) : 0);
    }
  }
}

void ShowThreads(Page* page, const document::Status& status) {
  page->Heading(absl::StrFormat("%-24s %s", "THREAD", "LAST PROGRESS"));
  for (const document::ThreadStatus& thread : status.threads) {
    page->Line(absl::StrFormat("%-24s %.2f s ago", thread.name, thread.silent_s),
               thread.silent_s > 2 ? Colour(kBad) : 0);
  }
}

void ShowRates(Page* page, const char* title, const std::map<std::string, double>& rates) {
  std::vector<std::pair<double, std::string>> sorted;
  for (const auto& [name, rate] : rates) sorted.emplace_back(rate, name);
  std::sort(sorted.rbegin(), sorted.rend());
  page->Heading(title);
  if (sorted.empty()) page->Line("  none in the last second");
  for (const auto& [rate, name] : sorted) {
    page->Line(absl::StrFormat("  %-20s %12.0f a second", name, rate));
  }
}

class Top {
 public:
  explicit Top(TopOptions options) : options_(std::move(options)) {}

  int Run() {
    if (!Connect()) return Fail(absl::UnavailableError(problem_));
    return isatty(STDOUT_FILENO) == 1 && isatty(STDIN_FILENO) == 1 ? RunOnTerminal() : RunPlain();
  }

 private:
  bool Connect() {
    auto connection = Connection::OpenOnline(options_.where);
    if (connection.ok()) {
      connection_ = *std::move(connection);
    } else {
      problem_ = absl::StrCat("wicketd does not run: ", connection.status().message());
    }
    return connection.ok();
  }

  // A daemon that is started again is found again.
  void Refresh() {
    if (connection_ == nullptr && !Connect()) return;
    const auto answer = connection_->Call("GET", "/v1/status");
    absl::StatusOr<document::Status> status =
        answer.ok() ? document::ParseStatus(answer->text) : answer.status();
    if (!status.ok()) {
      problem_ = std::string(status.status().message());
      connection_ = nullptr;
      return;
    }
    problem_.clear();
    model_.Take(*std::move(status));
    if (view_ == '2') peers_.Refresh(*connection_, model_.status());
  }

  int RunPlain() {
    for (int line = 0; !ended && (options_.count == 0 || line < options_.count); ++line) {
      if (line > 0) absl::SleepFor(kRefresh);
      Refresh();
      std::cout << (problem_.empty() ? model_.Line() : problem_) << std::endl;
      if (!std::cout) return kOk;
    }
    return kOk;
  }

  int RunOnTerminal() {
    struct sigaction action {};
    action.sa_handler = [](int) { ended = 1; };
    for (const int signal : {SIGINT, SIGTERM, SIGHUP, SIGQUIT}) sigaction(signal, &action, nullptr);
    const Terminal terminal;
    absl::Duration next = SteadyNow();
    while (!ended) {
      if (!paused_ && SteadyNow() >= next) {
        next = SteadyNow() + kRefresh;
        Refresh();
      }
      Show();
      const int key = wgetch(stdscr);
      if (key != ERR) Press(key);
    }
    return kOk;
  }

  void Press(int key) {
    if (editing_) return Edit(key);
    switch (key) {
      case 'q':
        ended = 1;
        break;
      case '1':
      case '2':
      case '3':
      case '4':
        view_ = static_cast<char>(key);
        if (view_ == '2' && connection_) peers_.Refresh(*connection_, model_.status());
        break;
      case '\t':
        Press(view_ == '4' ? '1' : view_ + 1);
        break;
      case 'p':
        paused_ = !paused_;
        break;
      case 's':
        peers_.SortByNext();
        break;
      case 'r':
        peers_.Reverse();
        break;
      case '/':
        editing_ = view_ == '2';
        break;
      case KEY_DOWN:
        peers_.Scroll(1);
        break;
      case KEY_UP:
        peers_.Scroll(-1);
        break;
      case KEY_NPAGE:
        peers_.Scroll(LINES - 5);
        break;
      case KEY_PPAGE:
        peers_.Scroll(5 - LINES);
        break;
      default:
        break;
    }
  }

  void Edit(int key) {
    std::string& filter = peers_.filter;
    if (key == '\n' || key == '\r' || key == KEY_ENTER) {
      editing_ = false;
    } else if (key == 27) {
      editing_ = false;
      filter.clear();
    } else if ((key == KEY_BACKSPACE || key == 127 || key == 8) && !filter.empty()) {
      filter.pop_back();
    } else if (key >= 32 && key < 127) {
      filter.push_back(static_cast<char>(key));
    }
  }

  void Show() {
    Page page;
    ShowTitle(&page, model_, problem_);
    page.Gap();
    if (view_ == '1') ShowOverview(&page);
    if (view_ == '2') {
      for (const std::string& line : peers_.Lines(static_cast<size_t>(std::max(0, page.left())))) {
        page.Line(line);
      }
    }
    if (view_ == '3') {
      ShowRates(&page, "INITIATIONS AT THE SHARDS", model_.verdict_rates());
      page.Gap();
      ShowRates(&page, "PACKETS AT THE XDP PROGRAM", model_.steering_rates());
    }
    if (view_ == '4') {
      ShowNics(&page, model_.status());
      page.Gap();
      ShowQueues(&page, model_.status());
      page.Gap();
      ShowThreads(&page, model_.status());
    }
    if (editing_) return page.Footer(absl::StrCat("filter: ", peers_.filter, "_"));
    page.Footer(absl::StrCat(paused_ ? "PAUSED  " : "", "q quit  p pause  1 overview  2 peers  ",
                             "3 refusals  4 NICs",
                             view_ == '2' ? "  s sort  r reverse  / filter" : ""));
  }

  void ShowOverview(Page* page) {
    ShowFigure(page, "newcomers a second", model_.installs(), 0);
    ShowFigure(page, "confirmed a second", model_.confirmed(), 0);
    ShowFigure(page, "newcomer p99, ms", model_.p99_ms(), 2);
    ShowFigure(page, "refused a second", model_.refused(), 0);
    ShowFigure(page, "dropped at NIC", model_.dropped(), 0);
    page->Gap();
    ShowDevices(page, model_.status());
    page->Gap();
    ShowNics(page, model_.status());
    if (page->left() < 4) return;
    page->Gap();
    std::map<std::string, double> refused = model_.verdict_rates();
    refused.erase("proven");
    ShowRates(page, "REFUSED", refused);
  }

  const TopOptions options_;
  std::unique_ptr<Connection> connection_;
  std::string problem_;  // why there is no fresh status
  TopModel model_;
  TopPeers peers_;
  char view_ = '1';
  bool paused_ = false, editing_ = false;
};

}  // namespace

void AddTopCommand(CLI::App* app, std::function<int()>* run) {
  static TopOptions options;
  CLI::App* command = app->add_subcommand(
      "top", "the gateway live: rates, latencies, refusals, peers; lines when not on a terminal");
  command->add_option("--socket", options.where.socket, "wicketd's control socket")
      ->type_name("PATH")
      ->capture_default_str();
  AddRemoteOption(command, &options.where.remote);
  options.where.patience = kPatience;
  command->add_option("-n,--count", options.count, "not on a terminal: end after N lines")
      ->type_name("N");
  command->callback([run] { *run = [] { return Top(options).Run(); }; });
}

}  // namespace wicket::tools
