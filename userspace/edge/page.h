// The page: a gateway as a browser shows it. One answer, the same for everybody and without a
// secret; it asks for its figures with the token, or the client certificate, of its user.
#pragma once

#include "absl/strings/string_view.h"
#include "http/server.h"

namespace wicket::edge {

// HTML, with its styles and scripts in it.
absl::string_view Page();
absl::string_view PageGz();  // the same, compressed

// Answers GET and HEAD of "/" with the page, to anybody; leaves the rest to `next`.
http::Handler WithPage(http::Handler next);

}  // namespace wicket::edge
