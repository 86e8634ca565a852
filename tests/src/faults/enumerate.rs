//! Every fault for every request that a workload makes.

use std::collections::BTreeMap;

use super::call::Call;
use super::plan::{Action, Fault, Plan, Reply, Side, Trigger, Workload};

/// Late enough for everything else that goes on to go on.
const LATE: u64 = 300;

/// How much goes wrong with a workload.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Depth {
    /// The process is killed when a write was done and not answered yet.
    Committed,
    /// The process is killed before each request, when it was done, and after the answer.
    Kills,
    /// Everything there is.
    Everything,
}

impl Depth {
    fn has(self, call: &Call, side: Side, action: &Action) -> bool {
        let kill = *action == Action::Kill9;
        match self {
            Self::Committed => kill && side == Side::Committed && call.changes_something(),
            Self::Kills => kill,
            Self::Everything => true,
        }
    }
}

/// The plans for a workload whose requests without a fault are `trace`.
pub(super) fn plans(workload: Workload, trace: &[Call], depth: Depth) -> Vec<Plan> {
    let mut numbers = BTreeMap::new();
    let mut plans = Vec::new();
    for call in trace {
        let number = numbers
            .entry((call.verb.clone(), call.resource.clone()))
            .or_insert(0);
        *number += 1;
        for (side, action) in faults_of(call) {
            if !depth.has(call, side, &action) {
                continue;
            }
            let trigger = Trigger {
                verb: call.verb.clone(),
                resource: call.resource.clone(),
                name: None,
                nth: *number,
                times: 1,
            };
            plans.push(Plan {
                workload,
                bug: None,
                fault: Some(Fault {
                    trigger,
                    side,
                    action,
                    until: None,
                }),
            });
        }
    }
    plans
}

/// What can go wrong with a request.
fn faults_of(call: &Call) -> Vec<(Side, Action)> {
    if call.is_event() {
        return vec![
            (Side::Before, Action::Kill9),
            (Side::Committed, Action::Kill9),
            (Side::Before, Action::Drop),
            (Side::Before, reply(500, None)),
        ];
    }
    if !call.changes_something() {
        return Vec::new();
    }
    vec![
        (Side::Before, Action::Kill9),
        (Side::Committed, Action::Kill9),
        (Side::After, Action::Kill9),
        (Side::Before, Action::Drop),
        (Side::Committed, Action::Drop),
        (Side::Before, reply(409, None)),
        (Side::Before, reply(429, Some(1))),
        (Side::Before, reply(500, None)),
        (Side::Committed, reply(500, None)),
        (Side::Before, reply(504, None)),
        (Side::Committed, reply(504, None)),
        (Side::Before, Action::Delay(LATE)),
        (Side::Committed, Action::Delay(LATE)),
    ]
}

pub(super) const fn reply(code: u16, retry_after: Option<u32>) -> Action {
    Action::Reply(Reply { code, retry_after })
}
