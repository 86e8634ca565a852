//! The running parts. As the first process of its namespace the keeper inherits every orphan,
//! so it is the only one here to reap: nothing else may wait for a process it leaves running.

use std::cell::RefCell;
use std::collections::HashMap;
use std::fs::File;
use std::process::{Command, Stdio};

use anyhow::Context as _;
use rustix::process::{WaitOptions, WaitStatus, wait};
use tokio::signal::unix::{SignalKind, signal};

use super::folder::Folder;
use super::parts::Part;
use crate::components::SEARCH_PATH;

/// The parts by process number.
#[derive(Debug)]
pub(super) struct Children<'a> {
    folder: &'a Folder,
    running: RefCell<HashMap<i32, &'static str>>,
}

impl<'a> Children<'a> {
    pub(super) fn new(folder: &'a Folder) -> Self {
        Self {
            folder,
            running: RefCell::default(),
        }
    }

    /// Starts a part with its output in its log.
    pub(super) fn start(&self, part: &Part) -> anyhow::Result<()> {
        let log = File::create(self.folder.log(part.name))?;
        let child = Command::new(&part.program)
            .args(&part.arguments)
            // Proxies, kubeconfigs and `ETCD_…` of whoever started it are not the cluster's.
            .env_clear()
            .env("PATH", SEARCH_PATH)
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()
            .with_context(|| format!("cannot run {}", part.program.display()))?;
        let pid = i32::try_from(child.id())?;
        self.running.borrow_mut().insert(pid, part.name);
        Ok(())
    }

    /// Reaps for ever, until a part is among the dead: parts never end by themselves.
    pub(super) async fn first_death(&self) -> anyhow::Error {
        let mut signals = match signal(SignalKind::child()) {
            Ok(signals) => signals,
            Err(error) => return anyhow::Error::new(error).context("cannot watch the parts"),
        };
        loop {
            // An error says that there is no child at all.
            while let Ok(Some((pid, status))) = wait(WaitOptions::NOHANG) {
                let dead = self
                    .running
                    .borrow_mut()
                    .remove(&pid.as_raw_nonzero().get());
                if let Some(name) = dead {
                    let log = self.folder.log(name);
                    return anyhow::anyhow!(
                        "{name} ended ({})\n{}",
                        in_words(status),
                        super::log_tail(&log)
                    );
                }
            }
            signals.recv().await;
        }
    }
}

fn in_words(status: WaitStatus) -> String {
    match (status.exit_status(), status.terminating_signal()) {
        (Some(code), _) => format!("exit code {code}"),
        (_, Some(signal)) => format!("killed by signal {signal}"),
        _ => "stopped".to_owned(),
    }
}
