//! Arguments and environments of everything that runs in the cluster.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::timeout;

use super::pile::Pile;
use crate::cluster::Cluster;

/// Between two looks.
const LOOK: Duration = Duration::from_millis(250);

/// Looks again and again.
pub(super) async fn follow(
    cluster: Cluster,
    pile: Arc<Pile>,
    mut stop: watch::Receiver<bool>,
) -> anyhow::Result<()> {
    loop {
        let last = timeout(LOOK, stop.wait_for(|stop| *stop)).await.is_ok();
        for pid in cluster.processes() {
            look(pid, &pile);
        }
        if last {
            return Ok(());
        }
    }
}

/// A process may end meanwhile.
fn look(pid: i32, pile: &Pile) {
    for file in ["cmdline", "environ"] {
        let bytes = std::fs::read(format!("/proc/{pid}/{file}"));
        // Without its number: a thousand times the same is once.
        pile.add(format!("process {file}"), bytes.unwrap_or_default());
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;
    use std::process::{Command, Stdio};

    use super::*;
    use crate::canary::encodings::contains;

    #[test]
    fn arguments_and_environment_are_seen() {
        let mut child = Command::new("sh")
            .args(["-c", "echo started; read line # in-arguments"])
            .env("PLANTED", "in-environment")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        // Until it does something, the kernel may not have laid out its arguments.
        let mut started = [0; 7];
        let stdout = child.stdout.as_mut().unwrap();
        stdout.read_exact(&mut started).unwrap();
        let pile = Pile::default();
        look(i32::try_from(child.id()).unwrap(), &pile);
        drop(child.stdin.take());
        child.wait().unwrap();
        let seen = |text: &str| {
            pile.with(|records| records.iter().any(|record| contains(&record.bytes, text)))
        };
        assert!(seen("in-arguments") && seen("in-environment"));
    }
}
