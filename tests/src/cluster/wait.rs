//! Waits for conditions, never for a fixed time.

use std::path::Path;
use std::time::Duration;

use anyhow::anyhow;
use tokio::time::{Instant, sleep, timeout};

const PAUSE: Duration = Duration::from_millis(100);
/// A check that hangs is a check that failed.
const CHECK: Duration = Duration::from_secs(2);

/// Checks until it succeeds, or until `limit` is over: then the error says what was waited
/// for, why the last check failed, and the end of the log that should explain it.
pub(super) async fn until<T>(
    what: &str,
    limit: Duration,
    log: &Path,
    mut check: impl AsyncFnMut() -> anyhow::Result<T>,
) -> anyhow::Result<T> {
    let end = Instant::now() + limit;
    loop {
        let error = match timeout(CHECK, check()).await {
            Ok(Ok(value)) => return Ok(value),
            Ok(Err(error)) => error,
            Err(_) => anyhow!("no answer"),
        };
        if Instant::now() >= end {
            let tail = super::log_tail(log);
            return Err(anyhow!(
                "{what}: not after {} s, the last check said: {error:#}\n{tail}",
                limit.as_secs()
            ));
        }
        sleep(PAUSE).await;
    }
}
