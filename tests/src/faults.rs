//! What becomes of the executor's promises when something goes wrong at the worst moment?
//!
//! ```text
//! plan ──► namespace of its own
//!            ├ executor, a process of this machine ──► fault proxy ──► real apiserver
//!            ├ announcer (plays the poller), Job controller (plays kubelet and Job controller)
//!            └ history: a watch of everything, past the proxy ──► invariants, end state ──► verdict
//! ```
//!
//! A run without a fault tells which requests a workload makes; each of them is then tried with
//! every fault. See `docs/faults.md`.

mod announcer;
mod bed;
pub mod call;
mod end_state;
mod enumerate;
mod history;
mod invariants;
mod job_controller;
pub mod plan;
mod process;
mod proxy;
mod run;
mod seeded;
mod workload;

use std::collections::HashMap;

use futures::StreamExt as _;
use futures::stream;

use self::bed::ACCOUNT;
pub use self::bed::Bed;
use self::end_state::Outcome;
use self::plan::{Action, Plan, Workload};
use self::run::Report;

/// Plans at the same time. Each waits most of the time.
const AT_ONCE: usize = 10;

/// What came of many plans.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Tally {
    /// Plans played.
    pub plans: usize,
    /// Plans in which something did not hold; of a plan with a bug, that everything held.
    pub violations: usize,
}

/// Plays plans on a cluster.
pub struct Faults<'a> {
    bed: &'a Bed,
    tell: &'a dyn Fn(String),
    next: std::cell::Cell<usize>,
    expected: HashMap<Workload, Outcome>,
    tally: Tally,
}

impl<'a> Faults<'a> {
    /// Plays on `bed`; `tell` gets a line at a time.
    pub fn new(bed: &'a Bed, tell: &'a dyn Fn(String)) -> Self {
        Self {
            bed,
            tell,
            next: std::cell::Cell::new(1),
            expected: HashMap::new(),
            tally: Tally::default(),
        }
    }

    /// What came of it all.
    pub const fn tally(&self) -> Tally {
        self.tally
    }

    /// Plays every fault at every request of a workload.
    pub async fn enumerate(&mut self, workload: Workload) {
        let Some(trace) = self.without_fault(workload).await else {
            return;
        };
        let plans = enumerate::plans(workload, &trace);
        let requests = trace.iter().filter(|call| call.changes_something()).count();
        (self.tell)(format!(
            "{workload:?}: {requests} writes, {} plans",
            plans.len()
        ));
        self.judge_all(plans).await;
    }

    /// Plays only the kills of [`Self::enumerate`].
    pub async fn kill_at_every_write(&mut self, workload: Workload) {
        if let Some(trace) = self.without_fault(workload).await {
            let mut plans = enumerate::plans(workload, &trace);
            plans.retain(|plan| {
                let fault = plan.fault.as_ref();
                fault.is_some_and(|fault| fault.action == Action::Kill9)
            });
            self.judge_all(plans).await;
        }
    }

    /// Plays some plans, in whatever order.
    pub async fn play(&mut self, plans: Vec<Plan>) {
        for workload in plans.iter().map(|plan| plan.workload).collect::<Vec<_>>() {
            if !self.expected.contains_key(&workload) {
                self.without_fault(workload).await;
            }
        }
        self.judge_all(plans).await;
    }

    /// Plays the plans that find seeded bugs, with the bugs: each has to break something; and
    /// without, where nothing may break.
    pub async fn seeded(&mut self) {
        self.play(seeded::without_bugs()).await;
        let all = seeded::all();
        let plans = all.iter().map(|seeded| seeded.plan.clone()).collect();
        let mut found = 0;
        for report in self.reports(plans).await {
            self.tally.plans += 1;
            let plan = &report.plan;
            let breaks = all.iter().find(|seeded| seeded.plan == *plan);
            let breaks = breaks.map_or("", |seeded| seeded.breaks);
            let mut broken = report.violations.iter();
            if let Some(line) = broken.find(|line| line.starts_with(breaks)) {
                found += 1;
                let line = line.lines().next().unwrap_or_default();
                (self.tell)(format!("found: {plan}: {line}"));
            } else {
                self.tally.violations += 1;
                let (yaml, instead) = (plan.to_yaml(), report.violations.join("\n  "));
                (self.tell)(format!(
                    "NOT FOUND, {breaks} holds: {plan}\n  {instead}\n{yaml}"
                ));
            }
        }
        let count = all.len();
        (self.tell)(format!("seeded bugs: {found} of {count} found"));
    }

    /// Plays a workload without a fault: what it leaves is what it has to leave with one.
    async fn without_fault(&mut self, workload: Workload) -> Option<Vec<call::Call>> {
        let plan = Plan::without_fault(workload);
        let report = run::run(self.bed, plan, self.number(), None).await;
        let trace = report.trace.clone();
        let outcome = report.outcome.clone();
        let well = report.violations.is_empty();
        self.judge(&report);
        self.expected.insert(workload, outcome?);
        well.then_some(trace)
    }

    async fn judge_all(&mut self, plans: Vec<Plan>) {
        for report in self.reports(plans).await {
            self.judge(&report);
        }
    }

    async fn reports(&self, plans: Vec<Plan>) -> Vec<Report> {
        let running = plans.into_iter().map(|plan| {
            let expected = self.expected.get(&plan.workload);
            run::run(self.bed, plan, self.number(), expected)
        });
        stream::iter(running)
            .buffer_unordered(AT_ONCE)
            .collect()
            .await
    }

    fn judge(&mut self, report: &Report) {
        self.tally.plans += 1;
        if report.violations.is_empty() {
            return;
        }
        self.tally.violations += 1;
        let (plan, yaml) = (&report.plan, report.plan.to_yaml());
        let told = report.violations.join("\n  ");
        let took = report.took.as_secs_f32();
        (self.tell)(format!(
            "VIOLATION: {plan} ({took:.1} s)\n  {told}\nreplays with:\n{yaml}"
        ));
    }

    fn number(&self) -> usize {
        self.next.replace(self.next.get() + 1)
    }
}
