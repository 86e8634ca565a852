//! Would a user notice a task that died, a stop that hangs, or a second signal ignored?

use std::time::Duration;

use tokio::sync::mpsc;

use super::*;

const GRACE: Duration = Duration::from_secs(20);

/// Signals a test sends by hand.
struct ByHand(mpsc::UnboundedReceiver<&'static str>);

impl Stops for ByHand {
    async fn next(&mut self) -> &'static str {
        match self.0.recv().await {
            Some(signal) => signal,
            None => std::future::pending().await,
        }
    }
}

fn signals(sent: &[&'static str]) -> ByHand {
    let (sender, receiver) = mpsc::unbounded_channel();
    for signal in sent {
        sender.send(*signal).unwrap();
    }
    ByHand(receiver)
}

async fn outcome(supervisor: Supervisor, stops: impl Stops) -> String {
    match supervisor.run_until(stops).await {
        Ok(()) => "ok".to_owned(),
        Err(error) => format!("{error:#}"),
    }
}

/// Works until told to stop, then for `more`.
fn worker(
    supervisor: &Supervisor,
    more: Duration,
) -> impl Future<Output = anyhow::Result<()>> + use<> {
    let shutdown = supervisor.shutdown_token();
    async move {
        shutdown.cancelled().await;
        tokio::time::sleep(more).await;
        Ok(())
    }
}

#[tokio::test(start_paused = true)]
async fn a_signal_lets_tasks_finish_within_the_grace_period() {
    let begun = clock::instant();
    let mut supervisor = Supervisor::new(GRACE);
    supervisor.spawn("poll", worker(&supervisor, GRACE / 2));
    supervisor.spawn("admin", worker(&supervisor, Duration::ZERO));
    assert_eq!(outcome(supervisor, signals(&["SIGTERM"])).await, "ok");
    assert!(begun.elapsed() >= GRACE / 2);
}

#[tokio::test(start_paused = true)]
async fn a_task_that_outlives_the_grace_period_is_named() {
    let begun = clock::instant();
    let mut supervisor = Supervisor::new(GRACE);
    supervisor.spawn("poll", worker(&supervisor, GRACE * 2));
    supervisor.spawn("admin", worker(&supervisor, Duration::ZERO));
    assert_eq!(
        outcome(supervisor, signals(&["SIGTERM"])).await,
        "grace period of 20s is over, aborted: poll"
    );
    assert!(begun.elapsed() < GRACE * 2);
}

#[tokio::test(start_paused = true)]
async fn a_second_signal_does_not_wait_for_anybody() {
    let begun = clock::instant();
    let mut supervisor = Supervisor::new(GRACE);
    supervisor.spawn("watch", worker(&supervisor, GRACE / 2));
    supervisor.spawn("poll", worker(&supervisor, GRACE / 2));
    assert_eq!(
        outcome(supervisor, signals(&["SIGTERM", "SIGINT"])).await,
        "second SIGINT, aborted: poll, watch"
    );
    assert!(begun.elapsed() < GRACE / 2);
}

#[tokio::test(start_paused = true)]
async fn a_failed_task_stops_the_process_by_name_after_the_others_finished() {
    let begun = clock::instant();
    let mut supervisor = Supervisor::new(GRACE);
    supervisor.spawn("poll", worker(&supervisor, GRACE / 2));
    supervisor.spawn("watch", async { Err(anyhow!("no such resource")) });
    assert_eq!(
        outcome(supervisor, signals(&[])).await,
        "task watch failed: no such resource"
    );
    assert!(begun.elapsed() >= GRACE / 2);
}

#[tokio::test(start_paused = true)]
async fn a_task_that_ends_unasked_stops_the_process_by_name() {
    let mut supervisor = Supervisor::new(GRACE);
    supervisor.spawn("poll", worker(&supervisor, Duration::ZERO));
    supervisor.spawn("watch", async { Ok(()) });
    assert_eq!(
        outcome(supervisor, signals(&[])).await,
        "task watch ended although nobody asked it to"
    );
}

#[tokio::test(start_paused = true)]
async fn a_panic_stops_the_process_by_name() {
    let mut supervisor = Supervisor::new(GRACE);
    supervisor.spawn("poll", worker(&supervisor, Duration::ZERO));
    supervisor.spawn("watch", async { panic!("index {} out of range", 7) });
    assert_eq!(
        outcome(supervisor, signals(&[])).await,
        "task watch failed: panicked: index 7 out of range"
    );
}

#[tokio::test(start_paused = true)]
async fn a_task_that_fails_while_stopping_is_told() {
    let mut supervisor = Supervisor::new(GRACE);
    let shutdown = supervisor.shutdown_token();
    supervisor.spawn("watch", async move {
        shutdown.cancelled().await;
        panic!("half done")
    });
    assert_eq!(
        outcome(supervisor, signals(&["SIGTERM"])).await,
        "task watch failed: panicked: half done"
    );
}

#[tokio::test(start_paused = true)]
async fn cancelling_the_token_stops_like_a_signal() {
    let mut supervisor = Supervisor::new(GRACE);
    supervisor.spawn("poll", worker(&supervisor, GRACE / 2));
    supervisor.shutdown_token().cancel();
    assert_eq!(outcome(supervisor, signals(&[])).await, "ok");
}

#[tokio::test(start_paused = true)]
async fn the_first_failure_is_told_even_if_stopping_takes_too_long() {
    let mut supervisor = Supervisor::new(GRACE);
    supervisor.spawn("poll", worker(&supervisor, GRACE * 2));
    supervisor.spawn("watch", async { Err(anyhow!("no such resource")) });
    assert_eq!(
        outcome(supervisor, signals(&[])).await,
        "grace period of 20s is over, aborted: poll: task watch failed: no such resource"
    );
}
