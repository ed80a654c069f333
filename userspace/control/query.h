// The parameters of a request's query.
#pragma once

#include <initializer_list>
#include <optional>
#include <string>

#include "base/status.h"
#include "http/target.h"

namespace wicket::control {

// Errors: InvalidArgument, with FieldOf(), for a parameter that is not one of `known`.
absl::Status CheckQuery(const http::Target& target, std::initializer_list<const char*> known);

// Returns: nullopt when the query does not have it.
// Errors:  InvalidArgument, with FieldOf(), unless it is true or false.
absl::StatusOr<std::optional<bool>> FlagOf(const http::Target& target, const std::string& name);

}  // namespace wicket::control
