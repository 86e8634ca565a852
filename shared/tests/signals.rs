//! A real SIGTERM ends a supervised process in order. A test binary of its own: the signal goes
//! to the whole process.

use std::time::Duration;

use rustix::process::{Signal, getpid, kill_process};
use werf_shared::supervise::Supervisor;

#[tokio::test]
async fn sigterm_lets_tasks_finish() {
    let mut supervisor = Supervisor::new(Duration::from_secs(20));
    let shutdown = supervisor.shutdown_token();
    let (finished, wait) = tokio::sync::oneshot::channel();
    // Runs after the handlers are installed: this runtime has one thread, and `run` installs
    // them before it first waits.
    supervisor.spawn("work", async move {
        kill_process(getpid(), Signal::TERM)?;
        shutdown.cancelled().await;
        finished.send("finished").ok();
        Ok(())
    });
    supervisor.run().await.unwrap();
    assert_eq!(wait.await, Ok("finished"));
}
