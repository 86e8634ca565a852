//! The part of the fault tests that every change has to pass: kills around every write of a first
//! deployment, and behind every write of the others; and all seeded bugs, each of which has to be
//! found. `make faults` plays everything.

use std::path::Path;
use std::time::Instant;

use anyhow::{Context as _, ensure};
use testbed::cluster::Cluster;
use testbed::faults::plan::Workload;
use testbed::faults::{self, Bed, Choice, Depth, Tally};

/// What only the executor with seeded bugs knows.
const MARK: &[u8] = b"SEEDED_BUG";

#[tokio::test]
async fn nothing_is_lost_and_nothing_done_twice() -> anyhow::Result<()> {
    let instance = std::env::var("TESTBED_INSTANCE")
        .context("these tests run on a cluster: use `make test` or `make faults`")?;
    let cluster = Cluster::attach(&instance)?
        .with_context(|| format!("the cluster {instance} does not run"))?;
    let bed = Bed::prepare(&cluster).await?;
    what_is_shipped_has_no_seeded_bugs(&bed)?;
    let mut workloads = vec![(Workload::W1, Depth::Kills)];
    let others = Workload::ENUMERATED.into_iter().skip(1);
    // Attempts are half a minute apart, and going there and back again takes four Jobs.
    let slow = [Workload::W9, Workload::W10, Workload::W11];
    let others = others.filter(|workload| !slow.contains(workload));
    workloads.extend(others.map(|workload| (workload, Depth::Committed)));
    let choice = Choice {
        workloads,
        seeded: true,
        ..Choice::default()
    };
    let started = Instant::now();
    let Tally { plans, violations } = faults::play(&bed, choice, &tell).await;
    tell(format!("took {} s", started.elapsed().as_secs()));
    ensure!(violations == 0, "{plans} plans, {violations} violations");
    tell(format!("{plans} plans, {violations} violations"));
    Ok(())
}

fn what_is_shipped_has_no_seeded_bugs(bed: &Bed) -> anyhow::Result<()> {
    let knows = |program: &Path| {
        let bytes = std::fs::read(program).with_context(|| program.display().to_string())?;
        anyhow::Ok(bytes.windows(MARK.len()).any(|window| window == MARK))
    };
    ensure!(
        knows(&bed.executor(true))?,
        "nobody would notice a seeded bug"
    );
    ensure!(
        !knows(&bed.executor(false))?,
        "the executor is built with seeded bugs"
    );
    Ok(())
}

#[expect(clippy::print_stderr, reason = "what the plans found")]
#[expect(clippy::needless_pass_by_value, reason = "lines are handed over")]
fn tell(line: String) {
    eprintln!("{line}");
}
