//! The part of the fault tests that every change has to pass: kills at every write of a first
//! deployment. `make faults` plays all of them, and has the seeded bugs found.

use std::path::Path;

use anyhow::{Context as _, ensure};
use testbed::cluster::Cluster;
use testbed::faults::plan::Workload;
use testbed::faults::{Bed, Faults, Tally};

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
    let mut faults = Faults::new(&bed, &tell);
    faults.kill_at_every_write(Workload::W1).await;
    let Tally { plans, violations } = faults.tally();
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
