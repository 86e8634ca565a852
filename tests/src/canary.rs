//! Is anything that is in a Secret anywhere else?
//!
//! ```text
//! etcd ──watch, then everything that is left──┐
//! logs of all Pods and parts ──followed───────┤        every random text that was ever in a
//! processes ──arguments and environments──────┼─► pile ─► Secret is looked for in it, in every
//! /metrics of both services ──at the end──────┘        encoding that it plausibly has there
//! ```
//!
//! What is secret is not declared: it is read from the Secrets that etcd has had, so that no test can
//! forget to. Spans are in the log of their receiver. Before it looks, it plants secrets where it is
//! to find them: a look that finds none of those is blind, and fails.
//!
//! Allowed are a text's own Secret, the Secrets that Jobs own, and the Secrets in which Helm stores
//! releases: those hold all values by Helm's design, and are the tenant's.

mod decoys;
mod encodings;
mod etcd;
mod logs;
mod metrics;
mod pile;
mod processes;
mod secrets;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use anyhow::{Context as _, bail, ensure};
use tokio::sync::watch;
use tokio::task::JoinSet;

use self::decoys::Decoys;
use self::encodings::Finder;
use self::pile::Pile;
use self::secrets::Secrets;
use crate::cluster::{Cluster, use_ring};

/// What must be in the pile when the services were watched at all.
const NOT_BLIND: [(&str, &str); 6] = [
    ("log pods/", "\"Synced\""),
    ("log pods/", "\"everything\""),
    ("process cmdline", "poller"),
    ("process cmdline", "executor"),
    ("process environ", "EXECUTOR_NAMESPACE"),
    ("metrics of executor", "# EOF"),
];

/// A watch of everything that can be seen of a cluster.
#[derive(Debug)]
pub struct Watch {
    cluster: Cluster,
    pile: Arc<Pile>,
    stop: watch::Sender<bool>,
    tasks: JoinSet<anyhow::Result<()>>,
}

/// What came of it.
#[derive(Debug)]
pub struct Verdict {
    /// Secret texts that were looked for.
    pub canaries: usize,
    /// Bytes that were looked through.
    pub bytes: usize,
    /// What was said by a tag on purpose, and not looked for.
    pub spoken: usize,
    /// Where something is that should not be there.
    pub findings: Vec<String>,
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for finding in &self.findings {
            writeln!(f, "CANARY: {finding}")?;
        }
        let Self {
            canaries,
            bytes,
            spoken,
            ..
        } = self;
        let found = self.findings.len();
        let (megabytes, planted) = (bytes >> 20, decoys::COUNT);
        write!(
            f,
            "{canaries} secrets looked for in {megabytes} MiB, {spoken} more were printed on purpose; \
             {planted} of {planted} planted ones found; {found} canaries elsewhere"
        )
    }
}

impl Watch {
    /// Begins to watch.
    pub async fn start(cluster: &Cluster) -> anyhow::Result<Self> {
        use_ring();
        let pile = Arc::new(Pile::default());
        let stop = watch::Sender::new(false);
        let mut tasks = JoinSet::new();
        let changes = etcd::Changes::open(cluster).await?;
        tasks.spawn(changes.follow(Arc::clone(&pile), stop.subscribe()));
        tasks.spawn(logs::follow(
            cluster.logs().join("node/pods"),
            Arc::clone(&pile),
            stop.subscribe(),
        ));
        tasks.spawn(processes::follow(
            cluster.clone(),
            Arc::clone(&pile),
            stop.subscribe(),
        ));
        Ok(Self {
            cluster: cluster.clone(),
            pile,
            stop,
            tasks,
        })
    }

    /// Looks through everything.
    pub async fn finish(mut self) -> anyhow::Result<Verdict> {
        let decoys = Decoys::plant(&self.cluster).await?;
        decoys.seen(&self.pile).await;
        metrics::read(&self.cluster, &self.pile).await?;
        self.stop.send_replace(true);
        while let Some(ended) = self.tasks.join_next().await {
            ended?.context("the watch for secrets broke")?;
        }
        etcd::read_all(&self.cluster, &self.pile).await?;
        for log in std::fs::read_dir(self.cluster.logs())? {
            let path = log?.path();
            if path.is_file() {
                let name = path.file_name().unwrap_or_default().to_string_lossy();
                self.pile.add(format!("log {name}"), std::fs::read(&path)?);
            }
        }
        let pile = Arc::clone(&self.pile);
        let verdict = tokio::task::spawn_blocking(move || judge(&pile, &decoys)).await??;
        Ok(verdict)
    }
}

fn judge(pile: &Pile, decoys: &Decoys) -> anyhow::Result<Verdict> {
    pile.with(|records| {
        for (place, text) in NOT_BLIND {
            let seen = records.iter().any(|record| {
                record.place.starts_with(place) && encodings::contains(&record.bytes, text)
            });
            ensure!(
                seen,
                "{text} was never seen in any {place}: nothing was watched"
            );
        }
        let secrets = Secrets::of(records);
        let finder = Finder::new(secrets.canaries())?;
        let mut found = BTreeMap::<(String, String), &'static str>::new();
        for record in records.iter().filter(|record| !secrets::may_hold(record)) {
            for (canary, encoding) in finder.find(&record.bytes) {
                found.insert((record.place.clone(), canary), encoding);
            }
        }
        let mut findings = Vec::new();
        let mut planted = 0;
        for ((place, canary), encoding) in found {
            if decoys.planted(&place, &canary) {
                planted += 1;
                continue;
            }
            let owner = secrets.owner(&canary);
            findings.push(format!("{place} holds what is in {owner}, {encoding}"));
        }
        if planted != decoys::COUNT {
            bail!(
                "{planted} of {} planted secrets were found: the look is blind",
                decoys::COUNT
            );
        }
        findings.extend(secrets.not_random());
        Ok(Verdict {
            canaries: secrets.canaries().count(),
            bytes: records.iter().map(|record| record.bytes.len()).sum(),
            spoken: secrets.spoken(),
            findings,
        })
    })
}
