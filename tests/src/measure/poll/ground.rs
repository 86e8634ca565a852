//! What every measurement stands on: the registry, and around each measured process what it talks to.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use serde_json::Value;
use tempfile::TempDir;
use tokio::task::JoinSet;
use tokio::time::sleep;

use super::bare::Bare;
use super::bundles::{Bundles, secrets};
use super::scraped::{Scraped, scrape};
use super::scripted::{AllCounts, Counts};
use super::wire::{NETWORK, Wire};
use super::{apiserver, executor, sustained, wire};
use crate::measure::process::{AS_DEPLOYED, Process};

/// How long a process may take to begin.
const PATIENCE: Duration = Duration::from_secs(30);

/// Between two looks at something that changes by itself.
const LOOK: Duration = Duration::from_millis(3);

/// The registry and the folder everybody's files are in.
#[derive(Debug)]
pub(super) struct Ground {
    folder: TempDir,
    client: reqwest::Client,
    programs: PathBuf,
    registry: Process,
    serving: JoinSet<()>,
    next_port: u16,
}

/// A poller, and what it is surrounded by.
#[derive(Debug)]
pub(super) struct Polling {
    pub(super) process: Process,
    label: &'static str,
    admin: u16,
    api: Arc<apiserver::Asked>,
    calls: Arc<AtomicU64>,
}

/// Everything that was counted about a poller at one moment at which it did nothing.
#[derive(Clone, Copy, Debug)]
pub(super) struct Moment {
    pub(super) scraped: Scraped,
    pub(super) counts: Counts,
    pub(super) cpu: Duration,
    pub(super) api_writes: u64,
    pub(super) api_reads: u64,
    pub(super) calls: u64,
}

impl Ground {
    /// Starts the registry. `programs` is where the poller and this program are.
    pub(super) async fn start(programs: &Path) -> anyhow::Result<Self> {
        let folder = tempfile::tempdir()?;
        wire::write_certificates(folder.path())?;
        let pki = format!("--pki={}", folder.path().display());
        let registry = Process::start(
            &std::env::current_exe()?,
            &["registry".to_owned(), pki],
            &[],
            &folder.path().join("registry.log"),
        )?;
        let mut ground = Self {
            folder,
            client: reqwest::Client::new(),
            programs: programs.to_owned(),
            registry,
            serving: JoinSet::new(),
            next_port: 18_000,
        };
        let started = Instant::now();
        while ground.all_counts().await.is_err() {
            ground.registry.check()?;
            ensure!(started.elapsed() < PATIENCE, "the registry does not answer");
            sleep(LOOK).await;
        }
        Ok(ground)
    }

    pub(super) fn pki(&self) -> PathBuf {
        self.folder.path().to_owned()
    }

    fn log(&self, name: &str) -> PathBuf {
        self.folder.path().join(format!("{name}.log"))
    }

    async fn all_counts(&self) -> anyhow::Result<AllCounts> {
        let url = Wire::Http.url(0, "/counts");
        Ok(serde_json::from_slice(
            &self.client.get(url).send().await?.bytes().await?,
        )?)
    }

    /// What the registry was asked under a label.
    pub(super) async fn counts(&self, label: &str) -> anyhow::Result<Counts> {
        let counts = self.all_counts().await?;
        Ok(counts.get(label).copied().unwrap_or_default())
    }

    /// Starts a bare client.
    pub(super) fn bare(&self, bare: &Bare) -> anyhow::Result<Process> {
        let program = std::env::current_exe()?;
        Process::start(&program, &bare.arguments(), &[], &self.log(&bare.label))
    }

    /// Starts the poller as it is shipped, for these bundles.
    pub(super) async fn poller(&mut self, bundles: &Bundles) -> anyhow::Result<Polling> {
        let program = self.programs.join("poller");
        self.begin(&program, &[], bundles, bundles.objects()).await
    }

    /// Starts the poll loop alone, for so many bundles.
    pub(super) async fn sustained(
        &mut self,
        wire: Wire,
        count: usize,
        per_host: usize,
    ) -> anyhow::Result<Polling> {
        let arguments = [
            "sustained".to_owned(),
            format!("--wire={}", wire.name()),
            format!("--bundles={count}"),
            format!("--host-concurrency={per_host}"),
        ];
        let bundles = sustained::bundles(wire, count);
        let program = std::env::current_exe()?;
        self.begin(&program, &arguments, &bundles, Vec::new()).await
    }

    /// Starts a poller in the environment it needs, and waits until it answers.
    async fn begin(
        &mut self,
        program: &Path,
        arguments: &[String],
        bundles: &Bundles,
        objects: Vec<Value>,
    ) -> anyhow::Result<Polling> {
        let label = bundles.label;
        let secrets = secrets(self.folder.path())?;
        let (api_port, api) = apiserver::serve(&mut self.serving, objects, secrets).await?;
        let (executor_port, calls) = executor::serve(&mut self.serving).await?;
        let kubeconfig = self.folder.path().join(format!("{label}.kubeconfig"));
        std::fs::write(&kubeconfig, apiserver::kubeconfig(api_port).to_string())?;
        let trusted = self.folder.path().join(wire::TRUSTED);
        let admin = self.port();
        let environment = [
            ("KUBECONFIG", kubeconfig.display().to_string()),
            ("POLLER_GRPC_LISTEN", format!("127.0.0.1:{}", self.port())),
            ("POLLER_ADMIN_LISTEN", format!("127.0.0.1:{admin}")),
            (
                "POLLER_EXECUTOR_ADDRESS",
                format!("http://127.0.0.1:{executor_port}"),
            ),
            ("POLLER_ALLOW_INSECURE_REGISTRIES", "true".to_owned()),
            ("POLLER_ALLOW_NETWORKS", NETWORK.to_owned()),
            ("SSL_CERT_FILE", trusted.display().to_string()),
            (AS_DEPLOYED.0, AS_DEPLOYED.1.to_owned()),
        ];
        let mut process = Process::start(program, arguments, &environment, &self.log(label))?;
        let started = Instant::now();
        while scrape(&self.client, admin).await.is_err() {
            process.check().with_context(|| self.words(label))?;
            ensure!(started.elapsed() < PATIENCE, "{label} does not begin");
            sleep(LOOK).await;
        }
        Ok(Polling {
            process,
            label,
            admin,
            api,
            calls,
        })
    }

    /// The last words of a process.
    pub(super) fn words(&self, label: &str) -> String {
        let words = std::fs::read_to_string(self.log(label)).unwrap_or_default();
        let lines: Vec<&str> = words.lines().rev().take(5).collect();
        format!("{label}: {}", lines.join(" | "))
    }

    fn port(&mut self) -> u16 {
        self.next_port += 1;
        self.next_port
    }

    /// Looks at a poller, without waiting for it to do nothing.
    pub(super) async fn glance(&self, polling: &Polling) -> anyhow::Result<Moment> {
        Ok(Moment {
            scraped: scrape(&self.client, polling.admin).await?,
            counts: self.counts(polling.label).await?,
            cpu: polling.process.cpu()?,
            api_writes: polling.api.writes.load(Ordering::Relaxed),
            api_reads: polling.api.reads.load(Ordering::Relaxed),
            calls: polling.calls.load(Ordering::Relaxed),
        })
    }

    /// Looks at a poller between two polls, so that what it did and what the servers saw of it
    /// agree to the request.
    pub(super) async fn look(&self, polling: &mut Polling) -> anyhow::Result<Moment> {
        polling
            .process
            .check()
            .with_context(|| self.words(polling.label))?;
        let started = Instant::now();
        loop {
            let before = self.counts(polling.label).await?;
            sleep(LOOK).await;
            // Telling its metrics is work, so it is asked only once it seems to rest.
            if self.counts(polling.label).await? == before {
                let now = self.glance(polling).await?;
                if now.counts == before {
                    return Ok(now);
                }
            }
            ensure!(
                started.elapsed() < PATIENCE,
                "{} never rests",
                polling.label
            );
        }
    }
}
