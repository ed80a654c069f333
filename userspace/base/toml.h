// toml++, as every reader of a TOML file here wants it: errors are returned, not thrown.
#pragma once

#define TOML_EXCEPTIONS 0
// The parser asserts that its input is what it is about to check, and with NDEBUG
// tells the compiler to rely on it. Bad input is no bug of ours: it must come to
// the checks behind the assertions.
#define TOML_ASSERT(expr) static_cast<void>(0)
#pragma push_macro("NDEBUG")
#undef NDEBUG
#if defined(__GNUC__)
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wconversion"
#pragma GCC diagnostic ignored "-Wshadow"
#endif
#include <toml++/toml.h>  // IWYU pragma: export
#if defined(__GNUC__)
#pragma GCC diagnostic pop
#endif
#pragma pop_macro("NDEBUG")
