// Peers in bulk, as streams of lines.
#pragma once

#include "http/exchange.h"
#include "roster/roster.h"
#include "store/store.h"

namespace wicket::control {

// What one connection holds of an import before it is committed: parsed lines of about this
// size, and the copies of them that a transaction makes.
inline constexpr size_t kImportChunkBytes = 4 << 20;
inline constexpr size_t kImportChunk = 512;  // lines of one transaction, which others share

// POST .../import: a peer a line. Answers with a line for each that was refused, then with the
// sum. A line whose device was not updated counts as imported and as refused.
// Errors: nothing was answered yet; the message says how far it came.
absl::Status Import(http::Exchange& exchange, roster::Roster& roster);

// GET .../export: a peer a line. Secrets: preshared keys are in it.
// Errors: nothing was answered yet.
absl::Status Export(http::Exchange& exchange, const store::Store& store);

}  // namespace wicket::control
