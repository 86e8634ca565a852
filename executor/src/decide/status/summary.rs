//! The summary of a status: phase and conditions, computed from the rest and from where the bundle
//! stands.

use jiff::Timestamp;
use werf_shared::bundle::condition::{self, ConditionType, Holds, Statement};
use werf_shared::bundle::status::{FAILURE_LIMIT, JobStatus, Phase, Rollback};
use werf_shared::bundle::{WerfBundle, WerfBundleStatus};
use werf_shared::names::wish;

use super::{INVALID_SPEC, ROLLBACK_UNKNOWN, SUSPENDED, Standing};
use crate::decide::obstacle::Kind;
use crate::decide::plan::WhyNothing;
use crate::decide::poll_report::NothingChosen;

/// Sets phase, `Ready`, `Reconciling`, `Stalled` and the observed generation.
pub(super) fn summarize(
    status: &mut WerfBundleStatus,
    bundle: &WerfBundle,
    standing: &Standing,
    now: Timestamp,
) {
    let generation = bundle.metadata.generation;
    let view = view(status, standing);
    status.observed_generation = generation;
    status.phase = Some(view.phase);
    let conditions = &mut status.conditions;
    let state = |kind, holds| Statement {
        kind,
        holds,
        reason: view.reason,
        message: view.message.clone(),
    };
    condition::set(
        conditions,
        state(ConditionType::Ready, view.ready),
        generation,
        now,
    );
    for (kind, holds) in [
        (ConditionType::Reconciling, view.reconciling),
        (ConditionType::Stalled, view.stalled),
    ] {
        if holds {
            condition::set(conditions, state(kind, Holds::True), generation, now);
        } else {
            condition::clear(conditions, kind);
        }
    }
}

struct View {
    phase: Phase,
    ready: Holds,
    reconciling: bool,
    stalled: bool,
    reason: &'static str,
    message: String,
}

fn view(status: &WerfBundleStatus, standing: &Standing) -> View {
    let polling_failed = status.consecutive_failures >= FAILURE_LIMIT;
    let registry = condition::find(&status.conditions, ConditionType::RegistryAvailable);
    let syncing = |reason, message: String| View {
        phase: Phase::Syncing,
        ready: Holds::Unknown,
        reconciling: true,
        stalled: false,
        reason,
        message,
    };
    let failed = |reason, message: String, stalled: bool| View {
        phase: Phase::Failed,
        ready: Holds::False,
        reconciling: !stalled,
        stalled,
        reason,
        message,
    };
    let polling = || {
        registry
            .map(|condition| condition.message.clone())
            .unwrap_or_default()
    };
    let run = status.current_run.as_ref();
    let held = status
        .rollback
        .as_ref()
        .filter(|held| run.is_some_and(|run| run.tag == held.tag));
    let wanted = match (run, held) {
        (Some(run), Some(held)) => format!("{} (rollback from {})", run.tag, held.from),
        (run, _) => run.map(|run| run.tag.clone()).unwrap_or_default(),
    };
    match standing {
        Standing::Deploying => match status
            .current_run
            .as_ref()
            .and_then(|run| run.waiting.as_ref())
        {
            Some(waiting) => syncing(
                Kind::of_reason(&waiting.reason).map_or("Deploying", Kind::reason),
                format!("Deploying {wanted}: {}", waiting.message),
            ),
            None => syncing("Deploying", format!("Deploying {wanted}")),
        },
        Standing::CannotPrepare { reason, message } => {
            // Both wait for a person.
            let stalled = [ROLLBACK_UNKNOWN, INVALID_SPEC].contains(reason);
            failed(reason, message.clone(), stalled)
        }
        Standing::Retrying(at) => {
            let at = at.strftime("%H:%M:%S");
            let why = failure(status);
            let message = format!("Deploying {wanted}: {why}; next attempt at {at} UTC");
            failed("JobFailed", message, false)
        }
        Standing::GivenUp => failed(
            "RetriesExhausted",
            format!("Deploying {wanted}: {}; no attempts left", failure(status)),
            true,
        ),
        Standing::Leaving(message) => syncing("Leaving", message.clone()),
        Standing::Uninstalling(message) => syncing("Uninstalling", message.clone()),
        Standing::UninstallFailed(why) => failed(super::UNINSTALL_FAILED, why.clone(), false),
        Standing::UpToDate if polling_failed => failed("PollingFailed", polling(), false),
        Standing::UpToDate => View {
            phase: Phase::Synced,
            ready: Holds::True,
            reconciling: false,
            stalled: false,
            reason: if held.is_some() {
                "RolledBack"
            } else {
                "Synced"
            },
            message: match held {
                Some(held) => held_message(held),
                None => format!("{wanted} is deployed"),
            },
        },
        Standing::Nothing(WhyNothing::Suspended) => suspended(status),
        Standing::Nothing(_) if polling_failed => failed("PollingFailed", polling(), false),
        Standing::Nothing(WhyNothing::NotPolled) => {
            let failing = registry.filter(|condition| condition.status == "False");
            let message = failing.map_or("Waiting for the registry to be polled", |condition| {
                condition.message.as_str()
            });
            syncing("Polling", message.to_owned())
        }
        Standing::Nothing(WhyNothing::NoTag) => {
            let (reason, message) = registry.map_or(("", ""), |condition| {
                (condition.reason.as_str(), condition.message.as_str())
            });
            View {
                ready: Holds::False,
                ..syncing(nothing_to_deploy(reason), message.to_owned())
            }
        }
    }
}

/// As the newest Job ended: suspending takes nothing away.
fn suspended(status: &WerfBundleStatus) -> View {
    let (phase, ready) = match status.last_job_status {
        Some(JobStatus::Succeeded) => (Phase::Synced, Holds::True),
        Some(JobStatus::Failed) => (Phase::Failed, Holds::False),
        Some(JobStatus::Running) | None => (Phase::Syncing, Holds::Unknown),
    };
    let held = status
        .rollback
        .as_ref()
        .map(|held| format!("; a rollback from {} to {} is held", held.from, held.tag));
    View {
        phase,
        ready,
        reconciling: false,
        stalled: false,
        reason: SUSPENDED,
        message: format!(
            "Suspended: no polls, no deployments{}",
            held.unwrap_or_default()
        ),
    }
}

/// How a rollback that is deployed can end.
fn held_message(held: &Rollback) -> String {
    let Rollback { tag, from, .. } = held;
    let held = if from == tag {
        format!("Held at {tag}")
    } else {
        format!("Rolled back from {from} to {tag}")
    };
    let annotation = wish::ROLLBACK_TO;
    format!(
        "{held}, until a tag newer than {from} is announced or the annotation {annotation} is removed"
    )
}

/// Reasons for having nothing to deploy, out of the registry's condition.
fn nothing_to_deploy(reason: &str) -> &'static str {
    NothingChosen::ALL
        .into_iter()
        .map(NothingChosen::as_str)
        .find(|known| *known == reason)
        .unwrap_or("RegistryUnavailable")
}

fn failure(status: &WerfBundleStatus) -> &str {
    status
        .history
        .first()
        .and_then(|entry| entry.message.as_deref())
        .unwrap_or("failed")
}
