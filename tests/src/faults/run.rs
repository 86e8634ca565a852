//! One plan, from an empty namespace to the verdict.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use tokio::sync::{oneshot, watch};
use tokio::time::sleep;

use super::bed::Bed;
use super::call::Call;
use super::end_state::{self, Outcome};
use super::history::{History, Kind};
use super::invariants::{self, Evidence};
use super::job_controller;
use super::plan::{Action, Plan, Workload};
use super::process::Process;
use super::progress::Progress;
use super::proxy::Proxy;
use super::seeded;
use super::workload::{self, BUNDLE, PATIENCE, Stage};

/// No request and no answer in this time: whatever had to be done is done. Longer than an executor waits between
/// two looks at a bundle that is going.
const QUIET: Duration = Duration::from_millis(400);

/// How long it may take until it is quiet.
const RESTLESS: Duration = Duration::from_mins(1);

const LOOK: Duration = Duration::from_millis(25);

/// A plan with a bug in it is not waited for as long: it need not come to its end. One that has to come
/// there for its bug to show gets more than that takes on a busy machine.
fn patience(plan: &Plan) -> Duration {
    match (&plan.bug, plan.workload) {
        (None, _) => PATIENCE,
        (Some(bug), _) if seeded::never_ends(bug) => Duration::from_secs(20),
        // There is half a minute between two attempts.
        (Some(_), Workload::W10) => Duration::from_mins(2),
        (Some(_), _) => Duration::from_mins(1),
    }
}

/// What became of a plan.
#[derive(Debug)]
pub(super) struct Report {
    pub(super) plan: Plan,
    /// What does not hold, in words.
    pub(super) violations: Vec<String>,
    /// What it did and left, if it came to its end.
    pub(super) outcome: Option<Outcome>,
    /// Every request before the end.
    pub(super) trace: Vec<Call>,
    pub(super) took: Duration,
}

impl Report {
    /// Everything held.
    pub(super) const fn is_well(&self) -> bool {
        self.violations.is_empty()
    }
}

/// Plays a plan and judges it; `expected` is what the workload leaves without a fault.
pub(super) async fn run(
    bed: &Bed,
    plan: Plan,
    number: usize,
    expected: Option<Arc<Outcome>>,
) -> Report {
    let started = Instant::now();
    let mut report = Report {
        plan,
        violations: Vec::new(),
        outcome: None,
        trace: Vec::new(),
        took: Duration::ZERO,
    };
    if let Err(error) = play(bed, number, expected.as_deref(), &mut report).await {
        report.violations.push(format!("{error:#}"));
    }
    report.took = started.elapsed();
    report
}

async fn play(
    bed: &Bed,
    number: usize,
    expected: Option<&Outcome>,
    report: &mut Report,
) -> anyhow::Result<()> {
    let namespace = format!("faults-{}-{number}", bed.run);
    bed.make_namespace(&namespace).await?;
    let folder = bed.folder.path().join(&namespace);
    std::fs::create_dir(&folder)?;
    let plan = report.plan.clone();
    let program = bed.executor(plan.bug.is_some());
    let address = bed.address(number);
    let bug = plan.bug.clone();
    let process = Arc::new(Process::new(program, &folder, &namespace, bug, address));
    let (listener, address) = Proxy::listen().await?;
    let server = format!("http://{address}/{namespace}");
    bed.write_kubeconfig(process.kubeconfig(), &server)?;
    let progress = Arc::new(Progress::default());
    let proxy = Arc::new(Proxy::new(
        bed.upstream.clone(),
        &namespace,
        Arc::clone(&process),
        bed.client.clone(),
        plan.fault.clone(),
        Arc::clone(&progress),
    ));
    let history = History::new();
    let jobs_end = watch::Sender::new(true);
    let canary = format!("canary{:016x}", rand::random::<u64>());
    let (ready, is_ready) = oneshot::channel();
    let stage = Stage {
        client: &bed.client,
        namespace: &namespace,
        history: &history,
        process: &process,
        jobs_end: &jobs_end,
        progress: &progress,
        holds: plan.fault.as_ref().is_some_and(|f| f.until.is_some()),
        patience: patience(&plan),
        canary: &canary,
    };
    let world_around = async {
        tokio::try_join!(
            history.follow(&bed.client, &namespace, ready),
            job_controller::play(&bed.client, &namespace, &history, jobs_end.subscribe()),
            Arc::clone(&proxy).serve(listener),
        )?;
        anyhow::Ok(())
    };
    let script = async {
        is_ready.await.context("there is no watch")?;
        tokio::select! {
            kept = process.keep() => kept,
            done = act(&stage, &plan, &proxy, report) => done,
        }
    };
    let acted = tokio::select! {
        around = world_around => around.and_then(|()| bail!("the plan's surroundings ended")),
        done = script => done,
    };
    if let Err(error) = acted {
        report
            .violations
            .push(format!("{error:#}\n{}", situation(&history, &process)));
    }
    judge(&stage, &proxy, expected, report);
    bed.drop_namespace(&namespace).await
}

/// Plays the workload, waits until nothing happens any more, and sees that a process that starts
/// anew finds nothing to do.
async fn act(
    stage: &Stage<'_>,
    plan: &Plan,
    proxy: &Proxy,
    report: &mut Report,
) -> anyhow::Result<()> {
    let workload = plan.workload;
    let played = stage.play(workload).await;
    let over = match played {
        Ok(()) => {
            let over = |world: &_| workload::is_over(workload, world);
            let over = stage.history.until(stage.patience, over).await;
            over.map(|_| ()).context("I2: it never came to its end")
        }
        Err(error) => Err(error),
    };
    report.trace = proxy.seen();
    over?;
    if plan.fault.is_some() {
        fired(proxy).await?;
    }
    quiet(proxy).await?;
    report.trace = proxy.seen();

    let starts = stage.process.starts();
    stage.process.kill();
    stage.process.started_after(starts).await;
    let before = proxy.seen().len();
    looked(stage, proxy, before, workload).await?;
    quiet(proxy).await?;
    let writes: Vec<_> = proxy
        .seen()
        .split_off(before)
        .into_iter()
        .filter(|call| call.changes_something() || call.is_event())
        .collect();
    if let Some(first) = writes.first() {
        let (count, verb, resource) = (writes.len(), &first.verb, &first.resource);
        bail!("I4: {count} writes although nothing was to do, first {verb} {resource}");
    }
    let collected = stage.history.until(RESTLESS, invariants::secrets_have_jobs);
    // Judged below, whichever way it went.
    let _ = collected.await;
    Ok(())
}

/// Waits until a process that was started anew has looked at everything.
async fn looked(
    stage: &Stage<'_>,
    proxy: &Proxy,
    before: usize,
    workload: Workload,
) -> anyhow::Result<()> {
    let end = Instant::now() + stage.patience;
    // A bundle that is gone is only looked for.
    let (verb, resource, name) = if matches!(workload, Workload::W6 | Workload::W8) {
        ("WATCH", "werf.io/werfbundles", None)
    } else {
        ("GET", "werf.io/werfbundles", Some(BUNDLE))
    };
    while !proxy
        .seen()
        .iter()
        .skip(before)
        .any(|call| call.verb == verb && call.resource == resource && call.name.as_deref() == name)
    {
        if Instant::now() > end {
            bail!("a process that is started anew does not look at the bundle");
        }
        sleep(LOOK).await;
    }
    Ok(())
}

/// Waits until the planned fault has happened: an Event may be told after all is said and done.
async fn fired(proxy: &Proxy) -> anyhow::Result<()> {
    let end = Instant::now() + RESTLESS;
    while !proxy.has_fired() {
        if Instant::now() > end {
            bail!("the plan's request was never made");
        }
        sleep(LOOK).await;
    }
    Ok(())
}

/// Waits until no request has been made for a while.
async fn quiet(proxy: &Proxy) -> anyhow::Result<()> {
    let end = Instant::now() + RESTLESS;
    loop {
        if proxy.quiet_for() > QUIET {
            return Ok(());
        }
        if Instant::now() > end {
            bail!("I4: it never comes to rest");
        }
        sleep(LOOK).await;
    }
}

fn judge(stage: &Stage<'_>, proxy: &Proxy, expected: Option<&Outcome>, report: &mut Report) {
    let changes = stage.history.so_far();
    let world = stage.history.world();
    let requests = proxy.seen();
    let evidence = Evidence {
        changes: &changes,
        world: &world,
        requests: &requests,
        log: &stage.process.log(),
        canary: stage.canary,
    };
    let broken = invariants::violations(&evidence);
    report.violations.extend(broken);
    let outcome = end_state::outcome(&changes, &world, stage.namespace, stage.canary);
    if let Some(expected) = expected.filter(|_| is_compared(&report.plan)) {
        let differences = end_state::difference(expected, &outcome);
        let told = differences.into_iter().map(|line| format!("I3: {line}"));
        report.violations.extend(told);
    }
    report.outcome = Some(outcome);
}

/// Whether the end has to be the one without a fault, to the letter. Not where tags overtake each
/// other, and not where a name is taken by somebody else, for which another run is the remedy.
fn is_compared(plan: &Plan) -> bool {
    let squat = plan
        .fault
        .as_ref()
        .is_some_and(|fault| fault.action == Action::Squat);
    plan.workload != Workload::W3 && !squat
}

/// How things stand, for whoever reads about a violation.
fn situation(history: &History, process: &Process) -> String {
    let world = history.world();
    let bundle = world.get(Kind::Bundle, BUNDLE);
    let status = bundle.and_then(|bundle| bundle.get("status"));
    let status = status.map_or_else(|| "no status".to_owned(), ToString::to_string);
    let log = process.log();
    let lines: Vec<_> = log.lines().collect();
    let tail = lines.split_at(lines.len().saturating_sub(12)).1.join("\n");
    format!("status: {status}\nlog: {tail}")
}
