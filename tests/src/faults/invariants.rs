//! What must hold in every plan, checked over everything that ever existed. The numbers are those of
//! `docs/faults.md`.

use std::collections::{BTreeMap, BTreeSet};

use base64::Engine as _;
use werf_shared::tag::Tag;

use super::announcer;
use super::call::Call;
use super::history::{Change, Kind, What, World, annotation, has_condition, may_run, text};
use super::workload::is_set_up;

/// Everything a plan can be judged by.
pub(super) struct Evidence<'a> {
    pub(super) changes: &'a [Change],
    pub(super) world: &'a World,
    pub(super) requests: &'a [Call],
    pub(super) log: &'a str,
    pub(super) canary: &'a str,
}

/// Every invariant that does not hold, in words.
pub(super) fn violations(evidence: &Evidence<'_>) -> Vec<String> {
    let changes = evidence.changes;
    let mut broken = Vec::new();
    one_job_per_attempt(changes, &mut broken);
    one_job_at_a_time(changes, &mut broken);
    confirmed_before_run(changes, &mut broken);
    applied_after_success(changes, &mut broken);
    etag_with_its_tag(changes, &mut broken);
    held_until_a_newer_tag(changes, &mut broken);
    jobs_of_living_bundles(changes, evidence.world, &mut broken);
    secrets_of_living_jobs(changes, evidence.world, &mut broken);
    nothing_secret_in_sight(evidence, &mut broken);
    for call in evidence.requests.iter().filter(|call| call.stale) {
        broken.push(format!(
            "E2: a stale read was good enough: GET {}",
            call.resource
        ));
    }
    if evidence.log.contains("panicked") {
        broken.push("O5: the process panicked".to_owned());
    }
    broken
}

fn of_kind(changes: &[Change], kind: Kind) -> impl Iterator<Item = &Change> {
    changes.iter().filter(move |change| change.kind == kind)
}

/// Jobs that are the operator's.
fn jobs(changes: &[Change]) -> impl Iterator<Item = &Change> {
    of_kind(changes, Kind::Job).filter(|job| !job.annotation("bundle-uid").is_empty())
}

/// I1: at most one Job ever per bundle, run and attempt; and, as nobody asks twice for the same here,
/// inputs are deployed once; there and back again where a rollback was asked for.
fn one_job_per_attempt(changes: &[Change], broken: &mut Vec<String>) {
    let mut created = BTreeMap::<_, usize>::new();
    let mut ran = BTreeMap::<_, BTreeSet<&str>>::new();
    for job in jobs(changes) {
        let [uid, run, attempt, inputs] =
            ["bundle-uid", "run", "attempt", "inputs-hash"].map(|name| job.annotation(name));
        if job.what == What::Created {
            *created.entry((uid, run, attempt)).or_default() += 1;
        }
        if may_run(&job.object) {
            ran.entry((uid, inputs, attempt))
                .or_default()
                .insert(job.uid());
        }
    }
    for ((_, run, attempt), count) in created.iter().filter(|(_, count)| **count > 1) {
        broken.push(format!("I1: {count} Jobs for run {run}, attempt {attempt}"));
    }
    let back =
        of_kind(changes, Kind::Bundle).any(|bundle| !bundle.annotation("rollback-to").is_empty());
    let often = if back { 2 } else { 1 };
    for jobs in ran.values().filter(|jobs| jobs.len() > often) {
        broken.push(format!(
            "I1: the same inputs were deployed {} times",
            jobs.len()
        ));
    }
}

/// One run at a time: two of one release would meet in werf's lock at best.
fn one_job_at_a_time(changes: &[Change], broken: &mut Vec<String>) {
    let mut running = BTreeSet::new();
    for job in jobs(changes) {
        if job.what != What::Deleted && may_run(&job.object) {
            running.insert(job.uid());
        } else {
            running.remove(job.uid());
        }
        if running.len() > 1 {
            broken.push("I1: two Jobs run at the same time".to_owned());
            return;
        }
    }
}

/// A Job is let run only after the status says that it exists, so that nobody claims anything else
/// beside it.
fn confirmed_before_run(changes: &[Change], broken: &mut Vec<String>) {
    let mut bundles = BTreeMap::new();
    let mut ran = BTreeSet::new();
    for change in changes {
        if change.kind == Kind::Bundle {
            bundles.insert(change.uid(), change);
        }
        let ours = change.kind == Kind::Job && !change.annotation("bundle-uid").is_empty();
        if !ours || !may_run(&change.object) || !ran.insert(change.uid()) {
            continue;
        }
        let bundle = bundles.get(change.annotation("bundle-uid"));
        let says = |pointer| bundle.map_or("", |bundle: &&Change| bundle.text(pointer));
        let confirmed = says("/status/activeJobName") == change.name()
            && says("/status/lastJobStatus") == "Running";
        if !confirmed {
            broken.push(format!(
                "I1: {} ran before the status knew of it",
                change.name()
            ));
        }
    }
}

/// I5: `lastAppliedTag` is written only after a Job of this bundle with this tag succeeded, and
/// never goes back, unless that is asked for; and what the history calls a success was one.
fn applied_after_success(changes: &[Change], broken: &mut Vec<String>) {
    let mut succeeded = BTreeSet::new();
    let mut applied = BTreeMap::<&str, &str>::new();
    for change in changes {
        match change.kind {
            Kind::Job if has_condition(&change.object, "Complete") => {
                let bundle = change.annotation("bundle-uid");
                succeeded.insert((bundle, "tag", change.annotation("tag")));
                succeeded.insert((bundle, "job", change.name()));
            }
            Kind::Bundle => {
                let tag = change.text("/status/lastAppliedTag");
                let before = applied.insert(change.uid(), tag).unwrap_or_default();
                if tag != before && !succeeded.contains(&(change.uid(), "tag", tag)) {
                    broken.push(format!("I5: {tag} is called applied, and no Job did it"));
                }
                if is_behind(tag, before) && change.annotation("rollback-to") != tag {
                    broken.push(format!(
                        "I5: lastAppliedTag went from {before} back to {tag}"
                    ));
                }
                for entry in history_of(change) {
                    let job = text(entry, "/job");
                    let well = text(entry, "/result") == "Succeeded";
                    if well && !succeeded.contains(&(change.uid(), "job", job)) {
                        broken.push(format!("I5: the history calls {job} a success"));
                    }
                }
            }
            _ => {}
        }
    }
    broken.dedup();
}

fn history_of(bundle: &Change) -> impl Iterator<Item = &serde_json::Value> {
    let history = bundle.object.pointer("/status/history");
    history
        .and_then(|history| history.as_array())
        .into_iter()
        .flatten()
}

fn is_behind(tag: &str, before: &str) -> bool {
    let (tag, before) = (tag.parse::<Tag>(), before.parse::<Tag>());
    matches!((tag, before), (Ok(tag), Ok(before)) if tag.is_behind(&before))
}

/// I6: the `ETag` of a list stands in the status only together with the tag that was chosen from it.
fn etag_with_its_tag(changes: &[Change], broken: &mut Vec<String>) {
    for bundle in of_kind(changes, Kind::Bundle) {
        let etag = bundle.text("/status/lastETag");
        let tag = bundle.text("/status/announced/tag");
        if !etag.is_empty() && etag != announcer::etag(tag) {
            broken.push(format!("I6: ETag {etag} is stored, and its tag is not"));
            return;
        }
    }
}

/// I10: while nobody takes the annotation away, a rollback ends for a tag only that is newer than the
/// one that was rolled back from.
fn held_until_a_newer_tag(changes: &[Change], broken: &mut Vec<String>) {
    let mut held = BTreeMap::new();
    for bundle in of_kind(changes, Kind::Bundle) {
        let from = bundle.text("/status/rollback/from");
        let before = held.insert(bundle.uid(), (from, bundle.annotation("rollback-to")));
        let Some((before, annotation)) = before else {
            continue;
        };
        let wanted = bundle.text("/status/desiredTag");
        let newer = wanted != before && !is_behind(wanted, before);
        let stands = !annotation.is_empty() && annotation == bundle.annotation("rollback-to");
        if !before.is_empty() && from.is_empty() && stands && !newer {
            broken.push(format!(
                "I10: the rollback from {before} ended for {wanted}"
            ));
        }
    }
}

/// I8: nothing is done for a bundle that is gone, whatever its name; and nobody removes a Job that
/// runs for a bundle that stays.
fn jobs_of_living_bundles(changes: &[Change], world: &World, broken: &mut Vec<String>) {
    let mut alive = BTreeSet::new();
    let mut leaving = BTreeSet::new();
    let mut running = BTreeSet::new();
    for change in changes {
        match (change.kind, change.what) {
            (Kind::Bundle, What::Deleted) => {
                alive.remove(change.uid());
            }
            (Kind::Bundle, _) => {
                alive.insert(change.uid());
                if !change.text("/metadata/deletionTimestamp").is_empty() {
                    leaving.insert(change.uid());
                }
            }
            (Kind::Job, what) if !change.annotation("bundle-uid").is_empty() => {
                let bundle = change.annotation("bundle-uid");
                if what == What::Created && !alive.contains(bundle) {
                    broken.push(format!(
                        "I8: {} was made for a bundle that is gone",
                        change.name()
                    ));
                }
                if what == What::Deleted
                    && running.contains(change.uid())
                    && !leaving.contains(bundle)
                {
                    broken.push(format!("I8: {} was removed while it ran", change.name()));
                }
                if may_run(&change.object) {
                    running.insert(change.uid());
                } else {
                    running.remove(change.uid());
                }
            }
            _ => {}
        }
    }
    for job in world.all(Kind::Job) {
        let bundle = annotation(job, "bundle-uid");
        if !bundle.is_empty() && !alive.contains(bundle) {
            let name = text(job, "/metadata/name");
            broken.push(format!("I8: {name} outlived its bundle"));
        }
    }
}

/// Whether each Secret of a Job has its Job, so that it goes with it.
pub(super) fn secrets_have_jobs(world: &World) -> bool {
    world.all(Kind::Secret).all(|secret| {
        let name = text(secret, "/metadata/name");
        let owner = text(secret, "/metadata/ownerReferences/0/uid");
        is_set_up(name)
            || world
                .all(Kind::Job)
                .any(|job| text(job, "/metadata/uid") == owner)
    })
}

/// I9: no Secret with values without its Job, from its first moment.
fn secrets_of_living_jobs(changes: &[Change], world: &World, broken: &mut Vec<String>) {
    let mut existed = BTreeSet::new();
    for change in changes {
        if change.kind == Kind::Job {
            existed.insert(change.uid());
        }
        if change.kind != Kind::Secret || change.what != What::Created || is_set_up(change.name()) {
            continue;
        }
        if !existed.contains(change.text("/metadata/ownerReferences/0/uid")) {
            broken.push(format!(
                "I9: Secret {} was made without its Job",
                change.name()
            ));
        }
    }
    if !secrets_have_jobs(world) {
        broken.push("I9: a Secret with values has outlived its Job".to_owned());
    }
}

/// I7: what is in a Secret is in Secrets only.
fn nothing_secret_in_sight(evidence: &Evidence<'_>, broken: &mut Vec<String>) {
    let encoded = base64::engine::general_purpose::STANDARD_NO_PAD.encode(evidence.canary);
    // The last characters depend on what follows.
    let encoded = &encoded[..encoded.len().saturating_sub(4)];
    let shown = |text: &str| text.contains(evidence.canary) || text.contains(encoded);
    for change in evidence
        .changes
        .iter()
        .filter(|change| change.kind != Kind::Secret)
    {
        if shown(&change.object.to_string()) {
            broken.push(format!(
                "I7: a secret in {:?} {}",
                change.kind,
                change.name()
            ));
            break;
        }
    }
    if shown(evidence.log) {
        broken.push("I7: a secret in the log".to_owned());
    }
}
