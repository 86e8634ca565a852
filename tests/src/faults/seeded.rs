//! The bugs that the harness has to find to be believed, each with the plan that finds it. They are
//! built into an executor of their own; see `executor/src/seeded.rs`. What has to meet for a bug to
//! show is waited for, so that it is found however busy the machine is.

use super::enumerate::reply;
use super::plan::{Action, Fault, Plan, Side, Trigger, Until, Workload};

/// A plan with a bug, and what it has to break.
#[derive(Debug, Clone)]
pub(super) struct Seeded {
    pub(super) plan: Plan,
    /// How the violation begins; one of these.
    pub(super) breaks: &'static [&'static str],
}

impl Seeded {
    /// It shows in what is left at the end, compared with what is left without a fault.
    pub(super) fn is_compared(&self) -> bool {
        self.breaks.contains(&"I3")
    }
}

/// Every seeded bug.
pub(super) fn all() -> Vec<Seeded> {
    use Action::{Hold, Kill9, Squat};
    use Side::{Before, Committed};
    use Workload::{W1, W3, W7, W9, W10, W12};
    let (jobs, status) = ("batch/jobs", "werf.io/werfbundles/status");
    let seeded = |bug: &str, breaks, workload, fault: Option<Fault>| Seeded {
        plan: Plan {
            workload,
            bug: Some(bug.to_owned()),
            fault,
        },
        breaks,
    };
    // Without a fault a first deployment stores its status five times: greeted, announced, claimed,
    // confirmed, recorded.
    let announced = fault("PUT", status, 2, Before, Kill9);
    let announced = held(announced, Until::Acknowledged(1));
    let tag_stored = fault("PUT", status, 3, Before, Kill9);
    // The pass that will claim the first of three tags has read the bundle, and the other two are
    // stored before it goes on: greeting and three announcements.
    let claiming = of_secret("credentials", Hold);
    let claiming = held(claiming, Until::Answered(trigger("PUT", status, 4)));
    let recorded = fault("PUT", status, 5, Before, Kill9);
    let job_made = fault("POST", jobs, 1, Committed, Kill9);
    let job_squatted = fault("POST", jobs, 1, Before, Squat);
    let forbidden = of_secret("extra", reply(403, None));
    vec![
        seeded("attempts-reset-at-start", &["I4"], W10, None),
        seeded("random-job-name", &["I1"], W1, Some(job_made)),
        seeded("etag-before-tag", &["I6"], W1, Some(tag_stored)),
        seeded("acknowledged-before-stored", &["I2"], W1, Some(announced)),
        seeded("applied-before-success", &["I5"], W1, None),
        seeded("any-conflict-adopted", &["I5"], W1, Some(job_squatted)),
        seeded("name-instead-of-uid", &["I8"], W7, None),
        seeded("status-without-fence", &["I2"], W3, Some(claiming)),
        // A Job that is being deleted may be seen once more.
        seeded("deleted-before-recorded", &["I2", "I3"], W1, Some(recorded)),
        seeded("secret-before-job", &["I9"], W1, None),
        seeded("run-before-confirmed", &["I1"], W1, None),
        seeded("optional-swallows-forbidden", &["I3"], W1, Some(forbidden)),
        seeded("secret-in-arguments", &["I7"], W1, None),
        seeded("rollback-hold-ignored", &["I10"], W9, None),
        seeded("release-exclusion-skipped", &["I1"], W12, None),
        seeded("stale-read", &["E2"], W1, None),
    ]
}

/// The bug may show in that a plan never comes to its end.
pub(super) fn never_ends(bug: &str) -> bool {
    all()
        .iter()
        .any(|seeded| seeded.plan.bug.as_deref() == Some(bug) && seeded.breaks.contains(&"I2"))
}

fn trigger(verb: &str, resource: &str, nth: usize) -> Trigger {
    Trigger {
        verb: verb.to_owned(),
        resource: resource.to_owned(),
        name: None,
        nth,
        times: 1,
    }
}

fn fault(verb: &str, resource: &str, nth: usize, side: Side, action: Action) -> Fault {
    Fault {
        trigger: trigger(verb, resource, nth),
        side,
        action,
        until: None,
    }
}

fn held(fault: Fault, until: Until) -> Fault {
    Fault {
        until: Some(until),
        ..fault
    }
}

/// For the first read of a Secret.
fn of_secret(secret: &str, action: Action) -> Fault {
    let mut fault = fault("GET", "secrets", 1, Side::Before, action);
    fault.trigger.name = Some(secret.to_owned());
    fault
}

/// The same plans for the executor as it is, where they have to come to a good end.
pub(super) fn without_bugs() -> Vec<Plan> {
    let mut plans: Vec<_> = all()
        .into_iter()
        .map(|seeded| Plan {
            bug: None,
            ..seeded.plan
        })
        .filter(|plan| plan.fault.is_some())
        .collect();
    plans.dedup();
    plans
}
