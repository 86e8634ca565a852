//! What happens to a bundle, told from its status and from its Job's log as they change.

use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context as _, bail};
use kube::{Api, Client};
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::{Child, Command};
use werf_shared::bundle::status::{JobStatus, Phase};
use werf_shared::bundle::{BundleKey, WerfBundle, WerfBundleStatus};

use super::terminal::Terminal;
use crate::cluster::Cluster;

/// How often the bundle is looked at.
const LOOK: Duration = Duration::from_millis(100);

/// Follows one bundle.
pub(super) struct Story<'a> {
    bundles: Api<WerfBundle>,
    key: &'a BundleKey,
    terminal: &'a Terminal,
    tools: &'a Cluster,
}

impl<'a> Story<'a> {
    /// A story about `key`.
    pub(super) fn new(
        client: &Client,
        key: &'a BundleKey,
        terminal: &'a Terminal,
        tools: &'a Cluster,
    ) -> Self {
        Self {
            bundles: Api::namespaced(client.clone(), &key.namespace),
            key,
            terminal,
            tools,
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
                log = self.follow_log(&now)?;
            }
            let over = now.active_job_name.is_none();
            if over
                && now.phase == Some(Phase::Synced)
                && now.last_applied_tag.as_deref() == Some(tag)
            {
                if let Some((child, told)) = log {
                    finish(child, told).await;
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
    fn follow_log(
        &self,
        status: &WerfBundleStatus,
    ) -> anyhow::Result<Option<(Child, tokio::task::JoinHandle<()>)>> {
        let (Some(job), Some(namespace)) =
            (&status.active_job_name, &status.resolved_target_namespace)
        else {
            return Ok(None);
        };
        let mut child = Command::new(self.tools.program("kubectl"))
            .args(["logs", "--follow", "--pod-running-timeout=60s"])
            .args(["--namespace", namespace, &format!("job/{job}")])
            .env("KUBECONFIG", self.tools.kubeconfig())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .context("cannot run kubectl logs")?;
        let output = child.stdout.take().context("kubectl has no output")?;
        #[expect(
            clippy::disallowed_methods,
            reason = "the test bed is not supervised; the task ends with the log"
        )]
        let told = tokio::spawn(async move {
            let terminal = Terminal::new();
            let mut lines = BufReader::new(output).lines();
            while let Ok(Some(line)) = lines.next_line().await {
                terminal.quote(&line);
            }
        });
        Ok(Some((child, told)))
    }
}

/// Waits for the rest of a log; one that does not end is left.
async fn finish(mut child: Child, told: tokio::task::JoinHandle<()>) {
    let rest = async {
        let _ = child.wait().await;
        let _ = told.await;
    };
    let _ = tokio::time::timeout(Duration::from_secs(5), rest).await;
}
