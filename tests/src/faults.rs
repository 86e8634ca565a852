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
mod progress;
mod proxy;
mod run;
mod seeded;
mod workload;

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use futures::StreamExt as _;
use futures::stream::FuturesUnordered;

use self::bed::ACCOUNT;
pub use self::bed::{Bed, clean_up};
use self::end_state::Outcome;
pub use self::enumerate::Depth;
use self::plan::{Plan, Workload};
use self::run::Report;
use self::seeded::Seeded;

/// Plans at the same time. Each waits most of the time.
const AT_ONCE: usize = 10;

/// What is to be played.
#[derive(Debug, Default)]
pub struct Choice {
    /// These workloads, with what goes wrong in them.
    pub workloads: Vec<(Workload, Depth)>,
    /// These plans.
    pub plans: Vec<Plan>,
    /// The plans that find seeded bugs: with the bugs, where each has to break something; and
    /// without, where nothing may break.
    pub seeded: bool,
}

/// What came of many plans.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Tally {
    /// Plans played.
    pub plans: usize,
    /// Plans in which something did not hold; of a plan with a bug, that everything held.
    pub violations: usize,
}

/// Plays plans on a cluster; `tell` gets a line at a time.
pub async fn play(bed: &Bed, choice: Choice, tell: &dyn Fn(String)) -> Tally {
    let mut run = Run::new(choice, tell);
    let mut playing = FuturesUnordered::new();
    let mut number = 0;
    loop {
        while playing.len() < AT_ONCE
            && let Some(plan) = run.waiting.pop_front()
        {
            number += 1;
            let expected = run.expected.get(&plan.workload).cloned();
            playing.push(run::run(bed, plan, number, expected));
        }
        let Some(report) = playing.next().await else {
            break;
        };
        run.ended(&report);
    }
    run.told()
}

/// A run of many plans.
struct Run<'a> {
    tell: &'a dyn Fn(String),
    depths: HashMap<Workload, Depth>,
    /// To be played when it is known what their workload leaves without a fault.
    later: HashMap<Workload, Vec<Plan>>,
    waiting: VecDeque<Plan>,
    expected: HashMap<Workload, Arc<Outcome>>,
    seeded: Vec<Seeded>,
    found: usize,
    tally: Tally,
}

impl<'a> Run<'a> {
    fn new(choice: Choice, tell: &'a dyn Fn(String)) -> Self {
        let mut plans = choice.plans;
        let seeded = if choice.seeded {
            seeded::all()
        } else {
            Vec::new()
        };
        let mut waiting = VecDeque::new();
        if choice.seeded {
            plans.extend(seeded::without_bugs());
        }
        for seeded in &seeded {
            if seeded.is_compared() {
                plans.push(seeded.plan.clone());
            } else {
                waiting.push_back(seeded.plan.clone());
            }
        }
        let mut workloads: Vec<_> = choice.workloads.iter().map(|(one, _)| *one).collect();
        workloads.extend(plans.iter().map(|plan| plan.workload));
        // Slow ones first, so that they do not come last.
        workloads.sort_unstable_by_key(|workload| std::cmp::Reverse(*workload));
        workloads.dedup();
        waiting.extend(workloads.into_iter().map(Plan::without_fault));
        let mut later = HashMap::<_, Vec<_>>::new();
        for plan in plans {
            later.entry(plan.workload).or_default().push(plan);
        }
        Self {
            tell,
            depths: choice.workloads.into_iter().collect(),
            later,
            waiting,
            expected: HashMap::new(),
            seeded,
            found: 0,
            tally: Tally::default(),
        }
    }

    /// A plan has come to its end.
    fn ended(&mut self, report: &Report) {
        if !self.judge_seeded(report) {
            self.judge(report);
        }
        let plan = &report.plan;
        let first = plan.fault.is_none() && plan.bug.is_none();
        if first && !self.expected.contains_key(&plan.workload) {
            self.go_on(report);
        }
    }

    /// What a workload leaves without a fault is what it has to leave with one.
    fn go_on(&mut self, report: &Report) {
        let workload = report.plan.workload;
        let Some(outcome) = report.outcome.clone().filter(|_| report.is_well()) else {
            return;
        };
        self.expected.insert(workload, Arc::new(outcome));
        // Plans with bugs are waited for longest.
        let plans = self.later.remove(&workload).unwrap_or_default();
        self.waiting.extend(plans);
        let Some(depth) = self.depths.get(&workload) else {
            return;
        };
        let plans = enumerate::plans(workload, &report.trace, *depth);
        let writes = report.trace.iter().filter(|call| call.changes_something());
        (self.tell)(format!(
            "{workload:?}: {} writes, {} plans",
            writes.count(),
            plans.len()
        ));
        self.waiting.extend(plans);
    }

    fn judge(&mut self, report: &Report) {
        self.tally.plans += 1;
        if report.is_well() {
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

    /// Judges a plan that has to find a seeded bug; `false` for any other.
    fn judge_seeded(&mut self, report: &Report) -> bool {
        let plan = &report.plan;
        let Some(seeded) = self.seeded.iter().find(|seeded| seeded.plan == *plan) else {
            return false;
        };
        self.tally.plans += 1;
        let breaks = seeded.breaks;
        let told = |line: &&String| breaks.iter().any(|name| line.starts_with(name));
        if let Some(line) = report.violations.iter().find(told) {
            self.found += 1;
            let line = line.lines().next().unwrap_or_default();
            (self.tell)(format!("found: {plan}: {line}"));
        } else {
            self.tally.violations += 1;
            let (yaml, instead) = (plan.to_yaml(), report.violations.join("\n  "));
            let breaks = breaks.join(" and ");
            (self.tell)(format!(
                "NOT FOUND, {breaks} holds: {plan}\n  {instead}\n{yaml}"
            ));
        }
        true
    }

    /// What came of it all. Plans that never came to be played, because their workload does not even
    /// end well without a fault, were counted with that.
    fn told(self) -> Tally {
        if !self.seeded.is_empty() {
            let (found, count) = (self.found, self.seeded.len());
            (self.tell)(format!("seeded bugs: {found} of {count} found"));
        }
        self.tally
    }
}
