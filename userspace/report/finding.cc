#include "report/finding.h"

#include <algorithm>
#include <boost/json.hpp>
#include <iterator>
#include <utility>

#include "absl/strings/str_cat.h"

namespace wicket::report {

namespace json = boost::json;

const char* ToString(Grade grade) {
  return grade == Grade::kOk ? "OK" : grade == Grade::kWarning ? "WARN" : "FAIL";
}

void Findings::Ok(const char* check, std::string what) {
  Add(Grade::kOk, check, std::move(what), "", "");
}

void Findings::Warn(const char* check, std::string what, std::string why, std::string mend,
                    std::vector<std::string> fix) {
  Add(Grade::kWarning, check, std::move(what), std::move(why), std::move(mend), std::move(fix));
}

void Findings::Fail(const char* check, std::string what, std::string why, std::string mend) {
  Add(Grade::kFailure, check, std::move(what), std::move(why), std::move(mend));
}

void Findings::MoveTo(std::vector<Finding>* out) {
  std::move(all_.begin(), all_.end(), std::back_inserter(*out));
}

void Findings::Add(Grade grade, const char* check, std::string what, std::string why,
                   std::string mend, std::vector<std::string> fix) {
  all_.push_back({grade, about_.empty() ? check : absl::StrCat(about_, ": ", check),
                  std::move(what), std::move(why), std::move(mend), std::move(fix)});
}

std::string ToJson(const std::vector<Finding>& findings) {
  json::array all;
  for (const Finding& finding : findings) {
    json::object one{
        {"grade", ToString(finding.grade)}, {"check", finding.check}, {"what", finding.what}};
    if (!finding.why.empty()) one["why"] = finding.why;
    if (!finding.mend.empty()) one["mend"] = finding.mend;
    if (!finding.fix.empty()) one["fix"] = json::value_from(finding.fix);
    all.push_back(std::move(one));
  }
  return json::serialize(json::object{{"findings", std::move(all)}});
}

Grade WorstOf(const std::vector<Finding>& findings) {
  Grade worst = Grade::kOk;
  for (const Finding& finding : findings) worst = std::max(worst, finding.grade);
  return worst;
}

}  // namespace wicket::report
