//! Which tasks run, and when does the process end? The only place that spawns: every task has a
//! name and somebody who notices its end.

use std::collections::HashMap;
use std::future::Future;
use std::time::Duration;

use anyhow::{Context as _, anyhow};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::task::{Id, JoinError, JoinSet};
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};

use crate::clock;
use crate::error::chain;

/// The tasks of a process and the token that tells them to finish.
#[derive(Debug)]
pub struct Supervisor {
    grace: Duration,
    shutdown: CancellationToken,
    tasks: JoinSet<anyhow::Result<()>>,
    names: HashMap<Id, &'static str>,
}

type Ended = Result<(Id, anyhow::Result<()>), JoinError>;

impl Supervisor {
    /// `grace` is how long tasks may take to finish once told to.
    pub fn new(grace: Duration) -> Self {
        Self {
            grace,
            shutdown: CancellationToken::new(),
            tasks: JoinSet::new(),
            names: HashMap::new(),
        }
    }

    /// Cancelled when the process is to end; cancelling it ends the process as a signal would.
    pub fn shutdown_token(&self) -> CancellationToken {
        self.shutdown.clone()
    }

    /// Starts a task that must run until the shutdown token is cancelled.
    pub fn spawn(
        &mut self,
        name: &'static str,
        future: impl Future<Output = anyhow::Result<()>> + Send + 'static,
    ) {
        let id = self.tasks.spawn(future).id();
        self.names.insert(id, name);
    }

    /// Waits for SIGTERM or SIGINT, or for the first task to end; then lets the others finish.
    ///
    /// # Errors
    /// Names the task that ended early, failed or panicked; or the tasks that outlived the grace
    /// period; or says that a second signal cut it short.
    pub async fn run(self) -> anyhow::Result<()> {
        self.run_until(Signals::install()?).await
    }

    async fn run_until(mut self, mut stops: impl Stops) -> anyhow::Result<()> {
        let cause = tokio::select! {
            biased;
            reason = stops.next() => {
                info!(reason, "Stopping");
                Ok(())
            }
            () = self.shutdown.cancelled() => {
                info!(reason = "shutdown requested", "Stopping");
                Ok(())
            }
            Some(ended) = self.tasks.join_next_with_id() => self.early_end(ended),
        };
        self.shutdown.cancel();
        self.drain(stops, cause).await
    }

    /// A task ended before anybody told it to, or just as somebody did.
    fn early_end(&mut self, ended: Ended) -> anyhow::Result<()> {
        let (name, result) = self.name(ended);
        if result.is_ok() && self.shutdown.is_cancelled() {
            return Ok(());
        }
        // The cause itself is told by whoever gets the result, once; draining may take a while.
        error!(task = name, "Stopping because a task ended");
        result.and_then(|()| Err(anyhow!("task {name} ended although nobody asked it to")))
    }

    /// Joins every task; the first failure of all is the result, the others are logged.
    async fn drain(
        mut self,
        mut stops: impl Stops,
        cause: anyhow::Result<()>,
    ) -> anyhow::Result<()> {
        let deadline = clock::instant() + self.grace;
        let mut result = cause;
        while !self.tasks.is_empty() {
            let ended = tokio::select! {
                biased;
                Some(ended) = self.tasks.join_next_with_id() => ended,
                reason = stops.next() => return self.abort(result, &format!("second {reason}")),
                () = tokio::time::sleep_until(deadline) => {
                    let over = format!("grace period of {:?} is over", self.grace);
                    return self.abort(result, &over);
                }
            };
            match self.name(ended) {
                (_, Ok(())) => {}
                (_, failed @ Err(_)) if result.is_ok() => result = failed,
                (name, Err(error)) => {
                    let error = chain(error.as_ref());
                    warn!(task = name, error, "Another task failed while stopping");
                }
            }
        }
        info!("Stopped");
        result
    }

    fn abort(mut self, cause: anyhow::Result<()>, reason: &str) -> anyhow::Result<()> {
        let mut running: Vec<_> = self.names.values().copied().collect();
        running.sort_unstable();
        self.tasks.abort_all();
        let aborted = format!("{reason}, aborted: {}", running.join(", "));
        cause.context(aborted.clone())?;
        Err(anyhow!(aborted))
    }

    fn name(&mut self, ended: Ended) -> (&'static str, anyhow::Result<()>) {
        let (id, result) = match ended {
            Ok((id, result)) => (id, result),
            Err(error) => (error.id(), Err(anyhow!("panicked: {}", panic_text(error)))),
        };
        let name = self.names.remove(&id).unwrap_or("unnamed");
        (name, result.with_context(|| format!("task {name} failed")))
    }
}

fn panic_text(error: JoinError) -> String {
    let Ok(panic) = error.try_into_panic() else {
        return "cancelled".to_owned();
    };
    match panic.downcast::<String>() {
        Ok(text) => *text,
        Err(panic) => panic
            .downcast::<&'static str>()
            .map_or_else(|_| "no message".to_owned(), |text| (*text).to_owned()),
    }
}

/// Requests to stop, in the order they arrive.
trait Stops {
    async fn next(&mut self) -> &'static str;
}

struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    fn install() -> anyhow::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate()).context("cannot listen for SIGTERM")?,
            interrupt: signal(SignalKind::interrupt()).context("cannot listen for SIGINT")?,
        })
    }
}

impl Stops for Signals {
    async fn next(&mut self) -> &'static str {
        tokio::select! {
            _ = self.terminate.recv() => "SIGTERM",
            _ = self.interrupt.recv() => "SIGINT",
        }
    }
}

#[cfg(test)]
mod tests;
