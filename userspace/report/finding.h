// What a diagnosis has found, one check at a time.
#pragma once

#include <string>
#include <vector>

namespace wicket::report {

enum class Grade { kOk, kWarning, kFailure };
const char* ToString(Grade grade);  // "OK", "WARN", "FAIL"

struct Finding {
  Grade grade = Grade::kOk;
  std::string check;  // "nic eth0: queues"
  std::string what;   // what was found
  std::string why;    // why it matters; empty when all is well
  std::string mend;   // what to do, a command where there is one
  // A command that mends it, is safe, and can be undone. Empty: none.
  std::vector<std::string> fix;
};

// {"findings": [{"grade", "check", "what", "why", "mend", "fix"}]}; what is empty is left out.
std::string ToJson(const std::vector<Finding>& findings);
// The worst grade.
Grade WorstOf(const std::vector<Finding>& findings);

// Collects the findings about one thing. Thread: one.
class Findings {
 public:
  // `about`: begins each check's name, "nic eth0"; empty: nothing does.
  explicit Findings(std::string about) : about_(std::move(about)) {}

  void Ok(const char* check, std::string what);
  void Warn(const char* check, std::string what, std::string why, std::string mend,
            std::vector<std::string> fix = {});
  void Fail(const char* check, std::string what, std::string why, std::string mend);
  void MoveTo(std::vector<Finding>* out);

 private:
  void Add(Grade grade, const char* check, std::string what, std::string why, std::string mend,
           std::vector<std::string> fix = {});

  std::string about_;
  std::vector<Finding> all_;
};

}  // namespace wicket::report
