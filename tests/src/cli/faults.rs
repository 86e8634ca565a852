//! `testbed faults`.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Instant;

use anyhow::{Context as _, anyhow};
use clap::Args;
use testbed::cluster::{Cluster, Lifetime};
use testbed::faults::plan::{Plan, Workload};
use testbed::faults::{self, Bed, Choice, Depth, Tally};
use tokio::signal::unix::{SignalKind, signal};

use super::terminal;

/// What to play; everything when nothing is named.
#[derive(Debug, Args)]
pub(super) struct Faults {
    /// Replay a plan from its file; can be given several times.
    #[arg(long, value_name = "FILE")]
    plan: Vec<PathBuf>,
    /// Only this workload, with every fault at every request; can be given several times.
    #[arg(long, value_name = "W1…W12", conflicts_with = "plan")]
    workload: Vec<Workload>,
    /// Only the seeded bugs.
    #[arg(long, conflicts_with_all = ["plan", "workload"])]
    seeded: bool,
}

impl Faults {
    /// Plays on a cluster of its own, started for it unless it runs already.
    pub(super) async fn run(self, instance: &str) -> anyhow::Result<ExitCode> {
        let mut interrupt = signal(SignalKind::interrupt())?;
        let mut terminate = signal(SignalKind::terminate())?;
        let cluster = Cluster::start(instance, Lifetime::WhileHeld).await?;
        let started = Instant::now();
        // Dropped halfway through, the plans take their processes and files along.
        let tally = tokio::select! {
            tally = self.play(&cluster) => tally,
            _ = interrupt.recv() => Err(anyhow!("interrupted")),
            _ = terminate.recv() => Err(anyhow!("terminated")),
        };
        if cluster.is_ours() {
            cluster.stop().await?;
        } else if tally.is_err() {
            faults::clean_up(&cluster).await?;
        }
        let Tally { plans, violations } = tally?;
        terminal::print(format!("took {} s", started.elapsed().as_secs()));
        terminal::print(format!("{plans} plans, {violations} violations"));
        Ok(ExitCode::from(u8::from(violations > 0)))
    }

    async fn play(&self, cluster: &Cluster) -> anyhow::Result<Tally> {
        let bed = Bed::prepare(cluster).await?;
        let plans: anyhow::Result<Vec<_>> = self.plan.iter().map(read).collect();
        let everything = self.plan.is_empty() && !self.seeded && self.workload.is_empty();
        let workloads: &[Workload] = if everything {
            &Workload::ENUMERATED
        } else {
            &self.workload
        };
        let all = workloads.iter().map(|one| (*one, Depth::Everything));
        let choice = Choice {
            workloads: all.collect(),
            plans: plans?,
            seeded: everything || self.seeded,
        };
        Ok(faults::play(&bed, choice, &terminal::print).await)
    }
}

fn read(path: &PathBuf) -> anyhow::Result<Plan> {
    let text = std::fs::read_to_string(path);
    let text = text.with_context(|| format!("cannot read {}", path.display()))?;
    Plan::parse(&text).with_context(|| path.display().to_string())
}
