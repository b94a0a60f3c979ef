//! All integration tests, in one binary: it links once, and servers are started once for all of them.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on says so by panicking")]

mod architecture;
