//! A plan: one workload, one request of the process, one thing that goes wrong with it. It is a
//! file, and replays from the file alone.

use std::fmt;
use std::time::Duration;

use anyhow::Context as _;
use serde::{Deserialize, Serialize};

use super::call::Call;

/// One workload with one fault.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Plan {
    /// What is done meanwhile.
    pub workload: Workload,
    /// The bug that the executor was built with, to see that the plan finds it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bug: Option<String>,
    /// What goes wrong; nothing in a plan without a fault.
    #[serde(flatten, skip_serializing_if = "Option::is_none")]
    pub fault: Option<Fault>,
}

impl Plan {
    /// A plan in which nothing goes wrong.
    pub const fn without_fault(workload: Workload) -> Self {
        Self {
            workload,
            bug: None,
            fault: None,
        }
    }

    /// Reads a plan file.
    pub fn parse(text: &str) -> anyhow::Result<Self> {
        serde_saphyr::from_str(text).context("this is no plan")
    }

    /// The plan as a file.
    pub fn to_yaml(&self) -> String {
        serde_saphyr::to_string(self).unwrap_or_else(|error| format!("# {error}"))
    }
}

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.workload)?;
        if let Some(bug) = &self.bug {
            write!(f, " with {bug}")?;
        }
        match &self.fault {
            None => f.write_str(" without a fault"),
            Some(fault) => write!(f, " {fault}"),
        }
    }
}

/// What is done while something goes wrong; see `workload.rs`.
#[derive(
    Debug,
    Clone,
    Copy,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    Serialize,
    Deserialize,
    clap::ValueEnum,
)]
pub enum Workload {
    /// A first deployment.
    #[value(name = "W1")]
    W1,
    /// An upgrade.
    #[value(name = "W2")]
    W2,
    /// Three tags in a row, the second and third before the first is deployed.
    #[value(name = "W3")]
    W3,
    /// A Secret with values changes while a Job runs.
    #[value(name = "W4")]
    W4,
    /// A tag that fails, then one that does not.
    #[value(name = "W5")]
    W5,
    /// The bundle is deleted while its Job runs.
    #[value(name = "W6")]
    W6,
    /// The bundle is deleted and another one made under its name.
    #[value(name = "W7")]
    W7,
    /// The bundle is deleted, and what it deployed with it.
    #[value(name = "W8")]
    W8,
    /// The bundle is rolled back, and a newer tag ends that.
    #[value(name = "W9")]
    W9,
    /// A tag that fails, fails again, and is given up.
    #[value(name = "W10")]
    W10,
    /// An upgrade is rolled back by annotation, and the annotation removed again.
    #[value(name = "W11")]
    W11,
    /// Two bundles name one release.
    #[value(name = "W12")]
    W12,
}

impl Workload {
    /// Those whose every request is tried with every fault.
    pub const ENUMERATED: [Self; 11] = [
        Self::W1,
        Self::W2,
        Self::W4,
        Self::W5,
        Self::W6,
        Self::W7,
        Self::W8,
        Self::W9,
        Self::W10,
        Self::W11,
        Self::W12,
    ];
}

/// What goes wrong with which request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Fault {
    /// The request.
    pub trigger: Trigger,
    /// When.
    pub side: Side,
    /// What happens.
    pub action: Action,
    /// What the request is held for before anything happens to it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<Until>,
}

/// What a request is held for, so that what happens meanwhile is no matter of time.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Until {
    /// The apiserver has answered this other request of the process's.
    Answered(Trigger),
    /// So many announcements were acknowledged.
    Acknowledged(usize),
}

impl Until {
    /// How long a request is held at most: less than whoever made it waits for an answer. Without its
    /// bug an executor may never do what is waited for.
    pub(super) const fn limit(&self) -> Duration {
        match self {
            Self::Answered(_) => Duration::from_secs(8),
            Self::Acknowledged(_) => Duration::from_secs(3),
        }
    }
}

impl fmt::Display for Until {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Answered(trigger) => write!(f, "{trigger} was answered"),
            Self::Acknowledged(count) => write!(f, "{count} announcements were acknowledged"),
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (side, trigger) = (format!("{:?}", self.side).to_lowercase(), &self.trigger);
        write!(f, "{} {side} {trigger}", self.action)?;
        match &self.until {
            Some(until) => write!(f, " until {until}"),
            None => Ok(()),
        }
    }
}

/// The n-th request of its kind that the process makes, restarts included.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Trigger {
    /// `POST`, `PUT`, `PATCH`, `DELETE`, `GET` or `WATCH`.
    pub verb: String,
    /// As in [`Call::resource`].
    pub resource: String,
    /// The object's name; any when not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Counted from 1.
    pub nth: usize,
    /// So many requests of the kind, beginning with the n-th.
    #[serde(default = "one", skip_serializing_if = "is_one")]
    pub times: usize,
}

const fn one() -> usize {
    1
}

#[expect(
    clippy::trivially_copy_pass_by_ref,
    reason = "serde hands out references"
)]
const fn is_one(times: &usize) -> bool {
    *times == 1
}

impl Trigger {
    /// The request is of this kind.
    pub fn is_of_kind(&self, call: &Call) -> bool {
        self.verb == call.verb
            && self.resource == call.resource
            && (self.name.is_none() || self.name == call.name)
    }
}

impl fmt::Display for Trigger {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            verb,
            resource,
            nth,
            ..
        } = self;
        let name = self.name.as_ref().map(|name| format!("/{name}"));
        write!(f, "{verb} {resource}{} #{nth}", name.unwrap_or_default())
    }
}

/// When it goes wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Side {
    /// Before the request reaches the apiserver.
    Before,
    /// After the apiserver has done it, with the answer withheld.
    Committed,
    /// After the answer.
    After,
}

/// What goes wrong.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Action {
    /// The process is killed, and started again.
    Kill9,
    /// The connection breaks.
    Drop,
    /// The apiserver answers something else.
    Reply(Reply),
    /// It takes so many milliseconds longer.
    Delay(u64),
    /// Nothing but the wait.
    Hold,
    /// Somebody else makes an object of the same name first, one that looks as if it had succeeded.
    Squat,
}

/// Another answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Reply {
    /// The status code.
    pub code: u16,
    /// Seconds in `Retry-After`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry_after: Option<u32>,
}

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Kill9 => f.write_str("kill -9"),
            Self::Drop => f.write_str("drop"),
            Self::Reply(reply) => write!(f, "{}", reply.code),
            Self::Delay(millis) => write!(f, "{millis} ms"),
            Self::Hold => f.write_str("hold"),
            Self::Squat => f.write_str("squat"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plan_replays_from_its_file() {
        let text = "workload: W2\ntrigger: {verb: POST, resource: batch/jobs, nth: 1}\n\
                    side: committed\naction: kill9\n";
        let plan = Plan::parse(text).unwrap();
        let fault = plan.fault.clone().unwrap();
        assert_eq!(
            (fault.side, &fault.action),
            (Side::Committed, &Action::Kill9)
        );
        assert_eq!(Plan::parse(&plan.to_yaml()).unwrap(), plan);
    }

    #[test]
    fn every_action_survives_its_file() {
        let reply = Reply {
            code: 429,
            retry_after: Some(1),
        };
        for action in [
            Action::Kill9,
            Action::Drop,
            Action::Reply(reply),
            Action::Delay(300),
            Action::Hold,
            Action::Squat,
        ] {
            let trigger = Trigger {
                verb: "POST".to_owned(),
                resource: "secrets".to_owned(),
                name: Some("s".to_owned()),
                nth: 2,
                times: 3,
            };
            for until in [
                None,
                Some(Until::Acknowledged(2)),
                Some(Until::Answered(trigger.clone())),
            ] {
                let plan = Plan {
                    workload: Workload::W4,
                    bug: Some("random-job-name".to_owned()),
                    fault: Some(Fault {
                        trigger: trigger.clone(),
                        side: Side::Before,
                        action: action.clone(),
                        until,
                    }),
                };
                let yaml = plan.to_yaml();
                assert_eq!(Plan::parse(&yaml).unwrap(), plan, "{yaml}");
            }
        }
    }
}
