//! A person with a shell, kubectl and the administrator's kubeconfig.

use std::process::Stdio;
use std::time::Instant;

use anyhow::{Context as _, bail};
use testbed::operator::NAMESPACE;
use tokio::process::Command;

use crate::tenant::{LOOK, Tenant, patience};

/// A person with a shell.
pub(super) struct Person<'a> {
    pub(super) tenant: &'a Tenant,
}

/// What a command showed.
pub(super) struct Shown {
    pub(super) succeeded: bool,
    pub(super) text: String,
}

impl Person<'_> {
    /// Types a command; `$NS` stands for the operator's namespace, to keep lines short.
    pub(super) async fn types(&self, command: &str) -> anyhow::Result<Shown> {
        let kubectl = self.tenant.bed.access.program("kubectl");
        let folder = kubectl.parent().context("kubectl is in no folder")?;
        let path = std::env::var("PATH").unwrap_or_default();
        let output = Command::new("bash")
            .args(["-o", "pipefail", "-c", command])
            .env("PATH", format!("{}:{path}", folder.display()))
            .env("KUBECONFIG", self.tenant.bed.access.kubeconfig())
            .env("NS", NAMESPACE)
            // An editor in which nothing is changed.
            .env("KUBE_EDITOR", "true")
            .stdin(Stdio::null())
            .kill_on_drop(true)
            .output()
            .await?;
        let text = [output.stdout, output.stderr].concat();
        Ok(Shown {
            succeeded: output.status.success(),
            text: String::from_utf8_lossy(&text).into_owned(),
        })
    }

    /// Types it until all of this is shown.
    pub(super) async fn sees(&self, command: &str, expected: &[&str]) -> anyhow::Result<String> {
        self.wait(command, true, expected).await
    }

    /// Types it until it fails with all of this.
    pub(super) async fn is_refused(
        &self,
        command: &str,
        expected: &[&str],
    ) -> anyhow::Result<String> {
        self.wait(command, false, expected).await
    }

    async fn wait(&self, command: &str, well: bool, expected: &[&str]) -> anyhow::Result<String> {
        let started = Instant::now();
        loop {
            let shown = self.types(command).await?;
            let missing = expected.iter().find(|text| !shown.text.contains(**text));
            if shown.succeeded == well && missing.is_none() {
                return Ok(shown.text);
            }
            if started.elapsed() > patience() {
                let Shown { succeeded, text } = shown;
                bail!("{command}\nsuccess: {succeeded}, missing: {missing:?}, in:\n{text}");
            }
            tokio::time::sleep(LOOK).await;
        }
    }

    /// Types one and the same command for one field of the bundle until it is this.
    pub(super) async fn reads(&self, field: &str, expected: &str) -> anyhow::Result<()> {
        let command = format!("kubectl get werfbundle my-app -o jsonpath='{{{field}}}' -n $NS");
        let started = Instant::now();
        loop {
            let Shown { text, .. } = self.types(&command).await?;
            if text == expected {
                return Ok(());
            }
            if started.elapsed() > patience() {
                bail!("{command}\nshows {text}, not {expected}");
            }
            tokio::time::sleep(LOOK).await;
        }
    }

    /// Types commands of which it only matters that they succeed.
    pub(super) async fn does(&self, commands: &[&str]) -> anyhow::Result<()> {
        for command in commands {
            let Shown { succeeded, text } = self.types(command).await?;
            if !succeeded {
                bail!("{command}\n{text}");
            }
        }
        Ok(())
    }

    pub(super) async fn applies(&self, objects: &str) -> anyhow::Result<()> {
        self.does(&[&format!("kubectl apply -f - <<'EOF'\n{objects}\nEOF")])
            .await
    }

    pub(super) async fn patches(&self, spec: &str) -> anyhow::Result<()> {
        let patch = format!("kubectl patch werfbundle my-app -n $NS --type merge -p '{spec}'");
        self.sees(&patch, &["my-app patched"]).await?;
        Ok(())
    }
}
