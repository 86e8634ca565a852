//! What the tests of pure code need from outside: a point in time to count from.

use tokio::time::Instant;

/// Some instant.
pub(crate) fn instant() -> Instant {
    werf_shared::clock::instant()
}
