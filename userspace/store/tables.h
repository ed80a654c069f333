// The tables of the file; record.h has their formats.
#pragma once

namespace wicket::store {

#define WICKET_STORE_TABLES(X) \
  X(peers)                     \
  X(prefixes)                  \
  X(sessions) X(meta) X(expiries) X(labels) X(allocators) X(released) X(released_at) X(revoked)

// LMDB's handles, valid as long as the Store.
struct Tables {
#define WICKET_STORE_TABLE(name) unsigned name;
  WICKET_STORE_TABLES(WICKET_STORE_TABLE)
#undef WICKET_STORE_TABLE
};

}  // namespace wicket::store
