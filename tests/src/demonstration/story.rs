//! What happens to a bundle, told from its status and from its Job's log as they change.

use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context as _, bail};
use kube::{Api, Client};
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::Command;
use tokio::task::JoinHandle;
use werf_shared::bundle::status::{JobStatus, Phase};
use werf_shared::bundle::{BundleKey, WerfBundle, WerfBundleStatus};

use super::terminal::Terminal;
use crate::access::Access;

/// How often the bundle is looked at.
const LOOK: Duration = Duration::from_millis(100);

/// How long the rest of a finished Job's log may take.
const LOG_END: Duration = Duration::from_secs(5);

/// Follows one bundle.
pub(super) struct Story<'a> {
    bundles: Api<WerfBundle>,
    key: &'a BundleKey,
    terminal: &'a Terminal,
    access: &'a Access,
}

impl<'a> Story<'a> {
    /// A story about `key`.
    pub(super) fn new(
        client: &Client,
        key: &'a BundleKey,
        terminal: &'a Terminal,
        access: &'a Access,
    ) -> Self {
        Self {
            bundles: Api::namespaced(client.clone(), &key.namespace),
            key,
            terminal,
            access,
        }
    }

    /// Tells what happens until `tag` is deployed; fails when it cannot be.
    pub(super) async fn follow_until(&self, tag: &str) -> anyhow::Result<()> {
        let mut before = WerfBundleStatus::default();
        let mut log = None;
        loop {
            let bundle = self
                .bundles
                .get(&self.key.name)
                .await
                .with_context(|| format!("cannot read {}", self.key))?;
            let now = bundle.status.unwrap_or_default();
            self.tell(&before, &now);
            if log.is_none() && now.last_job_status == Some(JobStatus::Running) {
                log = self.follow_log(&now);
            }
            let over = now.active_job_name.is_none();
            if over
                && now.phase == Some(Phase::Synced)
                && now.last_applied_tag.as_deref() == Some(tag)
            {
                if let Some(log) = log {
                    // A log that does not end is left.
                    let _ = tokio::time::timeout(LOG_END, log).await;
                }
                self.terminal.say(&format!("Synced: {tag} is deployed"));
                return Ok(());
            }
            if over && now.phase == Some(Phase::Failed) {
                bail!("{}", now.last_error_message.unwrap_or_default());
            }
            before = now;
            tokio::time::sleep(LOOK).await;
        }
    }

    fn tell(&self, before: &WerfBundleStatus, now: &WerfBundleStatus) {
        if now.desired_tag != before.desired_tag
            && let Some(tag) = &now.desired_tag
        {
            let digest = now.desired_digest.as_deref().unwrap_or("digest unknown");
            self.terminal.say(&format!("Tag seen: {tag} ({digest})"));
        }
        if now.last_job_status == Some(JobStatus::Running)
            && before.last_job_status != now.last_job_status
            && let Some(job) = &now.active_job_name
        {
            self.terminal.say(&format!("Job created: {job}"));
        }
    }

    /// Shows the Job's log as it is written.
    fn follow_log(&self, status: &WerfBundleStatus) -> Option<JoinHandle<()>> {
        let job = status.active_job_name.as_deref()?;
        let namespace = status.resolved_target_namespace.as_deref()?;
        let mut kubectl = self.access.kubectl_command();
        kubectl
            .args(["logs", "--follow", "--namespace", namespace])
            .arg(format!("job/{job}"))
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null());
        #[expect(
            clippy::disallowed_methods,
            reason = "the test bed is not supervised; the task ends with the log"
        )]
        Some(tokio::spawn(async move {
            // kubectl refuses while the container has not started.
            while !quote_output(&mut kubectl).await {
                tokio::time::sleep(LOOK).await;
            }
        }))
    }
}

/// Quotes what a command prints, as it prints it; answers whether it printed anything.
async fn quote_output(command: &mut Command) -> bool {
    let terminal = Terminal::new();
    let Ok(mut child) = command.spawn() else {
        return true;
    };
    let mut told = false;
    if let Some(output) = child.stdout.take() {
        let mut lines = BufReader::new(output).lines();
        while let Ok(Some(line)) = lines.next_line().await {
            terminal.quote(&line);
            told = true;
        }
    }
    told
}
