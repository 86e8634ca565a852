//! What is told of a run that does not end, for each cause and nothing else.

use jiff::Timestamp;
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::api::events::v1::Event;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use proptest::prelude::*;
use rstest::rstest;
use serde_json::{Value, json};

use super::*;

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(1_800_000_000 + second).unwrap()
}

fn job(suspend: bool) -> Job {
    serde_json::from_value(json!({
        "metadata": {"name": "my-app-1", "namespace": "prod", "uid": "job-uid"},
        "spec": {"suspend": suspend, "template": {"spec": {"containers": [
            {"name": "werf", "args": ["bundle", "apply", "--release=my-app", "--namespace=prod"]}]}}},
    }))
    .unwrap()
}

/// A Pod of an owner, made at a second.
fn pod(owner: &str, uid: &str, second: i64, status: &Value) -> Pod {
    serde_json::from_value(json!({
        "metadata": {
            "name": "app-x7k2p", "uid": "pod-uid", "creationTimestamp": at(second).to_string(),
            "ownerReferences": [{"apiVersion": "v1", "kind": owner, "name": "owner", "uid": uid, "controller": true}],
        },
        "spec": {"containers": [], "volumes": [{"name": "data", "persistentVolumeClaim": {"claimName": "data"}}]},
        "status": status,
    }))
    .unwrap()
}

fn of_job(status: &Value) -> Pod {
    pod("Job", "job-uid", 5, status)
}

fn of_app(status: &Value) -> Pod {
    pod("ReplicaSet", "rs-uid", 5, status)
}

fn container(state: &Value) -> Value {
    let mut container = json!({
        "name": "web", "image": "web:1", "imageID": "", "ready": false, "restartCount": 0,
    });
    container
        .as_object_mut()
        .unwrap()
        .extend(state.as_object().unwrap().clone());
    container
}

fn waiting(reason: &str, message: &str) -> Value {
    let state = json!({"state": {"waiting": {"reason": reason, "message": message}}});
    json!({"phase": "Pending", "containerStatuses": [container(&state)]})
}

fn unscheduled(message: &str) -> Value {
    json!({"phase": "Pending", "conditions": [
        {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": message}]})
}

fn refusal(kind: &str, uid: &str, second: i64, note: &str) -> Event {
    serde_json::from_value(json!({
        "metadata": {"name": "e", "namespace": "prod"},
        "reason": "FailedCreate", "note": note, "eventTime": null,
        "deprecatedLastTimestamp": at(second).to_string(),
        "regarding": {"kind": kind, "name": "owner", "uid": uid},
    }))
    .unwrap()
}

fn seen(job: &Job, pods: &[Pod], refusals: &[Event], mounts: &[Event]) -> Option<Obstacle> {
    let observed = Observed {
        job,
        pods,
        refusals,
        mounts,
        since: at(0),
        now: at(60),
    };
    let workloads = [("rs-uid".to_owned(), "Deployment/app".to_owned())].into();
    worst("my-app-1", suspects(&observed), &workloads)
}

fn told(pods: &[Pod], refusals: &[Event]) -> Option<(String, String)> {
    let obstacle = seen(&job(false), pods, refusals, &[])?;
    let told = obstacle.told(Some(&Masker::default()), None);
    assert_eq!(told.reason, obstacle.kind.reason());
    Some((told.reason, told.message))
}

#[rstest]
#[case::image_not_found(
    waiting(
        "ErrImagePull",
        "failed to pull and unpack image \"web:1\": web:1: not found"
    ),
    "ImagePullFailed",
    "image pull failure: Deployment/app: container web cannot pull web:1: not found"
)]
#[case::image_backing_off(
    waiting(
        "ImagePullBackOff",
        "Back-off pulling image \"web:1\": ErrImagePull: web:1: not found"
    ),
    "ImagePullFailed",
    "image pull failure: Deployment/app: container web cannot pull web:1: not found"
)]
#[case::image_denied(
    waiting("ErrImagePull", "unexpected status: 401 Unauthorized"),
    "ImagePullFailed",
    "image pull failure: Deployment/app: container web cannot pull web:1: access denied"
)]
#[case::registry_away(
    waiting("ErrImagePull", "dial tcp: lookup r.example.com: no such host"),
    "ImagePullFailed",
    "image pull failure: Deployment/app: container web cannot pull web:1: the registry cannot be reached"
)]
#[case::image_unknown_words(
    waiting("ErrImageNeverPull", "present with policy Never"),
    "ImagePullFailed",
    "image pull failure: Deployment/app: container web cannot pull web:1"
)]
#[case::image_name(
    waiting("InvalidImageName", "couldn't parse image name"),
    "ImagePullFailed",
    "image pull failure: Deployment/app: container web: web:1 is no name of an image"
)]
#[case::missing_secret(
    waiting("CreateContainerConfigError", "secret \"db\" not found"),
    "ContainerNotCreated",
    "container cannot be created: Deployment/app: container web: secret \"db\" not found"
)]
#[case::no_room(
    unscheduled(
        "0/3 nodes are available: 1 Insufficient cpu, 2 node(s) had untolerated taint {a.b/c: d}. no new claims to deallocate, preemption: 0/3 nodes are available: 3 No preemption victims found for incoming pod."
    ),
    "Unschedulable",
    "unschedulable: Deployment/app: Insufficient cpu, node(s) had untolerated taint {a.b/c: d}"
)]
#[case::unbound_claim(
    unscheduled(
        "0/1 nodes are available: pod has unbound immediate PersistentVolumeClaims. preemption: 0/1 nodes are available."
    ),
    "VolumePending",
    "volume pending: Deployment/app: pod has unbound immediate PersistentVolumeClaims"
)]
#[case::missing_claim(
    unscheduled("0/1 nodes are available: persistentvolumeclaim \"data\" not found."),
    "VolumePending",
    "volume pending: Deployment/app: persistentvolumeclaim \"data\" not found"
)]
#[case::being_provisioned(
    json!({"phase": "Pending"}),
    "VolumePending", "volume pending: Deployment/app: PersistentVolumeClaim data is not bound")]
#[case::init_container(
    json!({"phase": "Pending", "initContainerStatuses": [container(&json!({
        "restartCount": 3, "state": {"waiting": {"reason": "CrashLoopBackOff"}},
        "lastState": {"terminated": {"exitCode": 2}}}))]}),
    "InitContainerFailing", "init container failing: Deployment/app: container web ends with exit code 2")]
#[case::init_container_in_between(
    json!({"phase": "Pending", "initContainerStatuses": [container(&json!({
        "restartCount": 3, "state": {"running": {}}, "lastState": {"terminated": {"exitCode": 2}}}))]}),
    "InitContainerFailing", "init container failing: Deployment/app: container web ends with exit code 2")]
#[case::init_container_first_time(
    json!({"phase": "Pending", "initContainerStatuses": [container(&json!({
        "state": {"terminated": {"exitCode": 2}}}))]}),
    "InitContainerFailing", "init container failing: Deployment/app: container web ends with exit code 2")]
#[case::crash_loop(
    json!({"phase": "Running", "containerStatuses": [container(&json!({
        "restartCount": 1, "state": {"waiting": {"reason": "CrashLoopBackOff", "message": "back-off 10s restarting"}},
        "lastState": {"terminated": {"exitCode": 137, "reason": "OOMKilled"}}}))]}),
    "CrashLooping", "crash loop: Deployment/app: container web runs out of memory")]
fn each_cause_is_told(#[case] status: Value, #[case] reason: &str, #[case] message: &str) {
    let conditions = status.get("conditions").is_some() || status == json!({"phase": "Pending"});
    let mut status = status;
    if !conditions {
        status["conditions"] = json!([{"type": "PodScheduled", "status": "True"}]);
    }
    let expected = Some((reason.to_owned(), message.to_owned()));
    assert_eq!(told(&[of_app(&status)], &[]), expected);
    // The Job's own Pod is told first, whatever its application does.
    let app = of_app(&waiting("InvalidImageName", ""));
    let own = told(&[app, of_job(&status)], &[]).unwrap();
    assert_eq!(own.1, message.replace("Deployment/app", "Job/my-app-1"));
}

#[rstest]
#[case::scheduled(json!({"phase": "Pending", "conditions": [{"type": "PodScheduled", "status": "True"}]}))]
#[case::creating(waiting("ContainerCreating", ""))]
#[case::failed_once(json!({"phase": "Running", "containerStatuses": [container(&json!({"state": {"terminated": {"exitCode": 1}}}))]}))]
#[case::well_again(json!({"phase": "Running", "containerStatuses": [container(&json!({
    "restartCount": 4, "ready": true, "state": {"running": {}}, "lastState": {"terminated": {"exitCode": 1}}}))]}))]
#[case::init_done(json!({"phase": "Pending", "initContainerStatuses": [container(&json!({
    "restartCount": 1, "state": {"terminated": {"exitCode": 0}}, "lastState": {"terminated": {"exitCode": 1}}}))]}))]
fn what_is_on_its_way_is_not_told(#[case] status: Value) {
    let mut status = status;
    status["conditions"] = json!([{"type": "PodScheduled", "status": "True"}]);
    assert_eq!(told(&[of_app(&status)], &[]), None);
}

#[test]
fn only_what_is_the_runs_is_told() {
    let trouble = || waiting("ErrImagePull", "not found");
    assert_eq!(
        told(&[pod("ReplicaSet", "other", 5, &trouble())], &[]),
        None
    );
    assert_eq!(told(&[pod("Widget", "rs-uid-2", 5, &trouble())], &[]), None);
    let before = pod("ReplicaSet", "rs-uid", -5, &trouble());
    assert_eq!(told(&[before], &[]), None);
    let mut leaving = of_app(&trouble());
    leaving.metadata.deletion_timestamp = leaving.metadata.creation_timestamp.clone();
    assert_eq!(told(&[leaving], &[]), None);
    let mut bare = of_app(&trouble());
    bare.metadata.owner_references = None;
    assert_eq!(told(&[bare.clone()], &[]), None);
    bare.metadata.annotations = Some(marked("my-app", "prod"));
    assert_eq!(told(&[bare], &[]).unwrap().0, "ImagePullFailed");
}

fn marked(release: &str, namespace: &str) -> BTreeMap<String, String> {
    [
        ("meta.helm.sh/release-name", release),
        ("meta.helm.sh/release-namespace", namespace),
    ]
    .map(|(key, value)| (key.to_owned(), value.to_owned()))
    .into()
}

#[test]
fn an_owner_is_told_as_people_know_it() {
    let owner: ObjectMeta = serde_json::from_value(json!({
        "name": "app-6d5f", "annotations": marked("my-app", "prod"),
        "ownerReferences": [{"apiVersion": "apps/v1", "kind": "Deployment", "name": "app", "uid": "d", "controller": true}],
    }))
    .unwrap();
    let told = |kind, release, namespace| workload(kind, &owner, release, namespace);
    let of_set = told(OwnerKind::ReplicaSet, "my-app", "prod");
    assert_eq!(of_set.as_deref(), Some("Deployment/app"));
    let stateful = told(OwnerKind::StatefulSet, "my-app", "prod");
    assert_eq!(stateful.as_deref(), Some("StatefulSet/app-6d5f"));
    assert_eq!(told(OwnerKind::ReplicaSet, "other", "prod"), None);
    assert_eq!(told(OwnerKind::ReplicaSet, "my-app", "other"), None);
}

#[rstest]
#[case::blank("my app")]
#[case::path("../../secrets/db")]
#[case::lines("app\n\u{1b}[2Jready")]
#[case::long(&"a".repeat(1 << 20))]
fn an_owner_of_a_name_that_nothing_has_is_nobody(#[case] name: &str) {
    let mut forged = of_app(&waiting("ErrImagePull", "not found"));
    forged.metadata.owner_references.as_mut().unwrap()[0].name = name.to_owned();
    assert_eq!(told(&[forged], &[]), None);
    let mut event = refusal("ReplicaSet", "rs-uid", 10, "Error creating: no");
    event.regarding.as_mut().unwrap().name = Some(name.to_owned());
    assert_eq!(told(&[], &[event]), None);
    let set: ObjectMeta = serde_json::from_value(json!({
        "name": "app-6d5f", "annotations": marked("my-app", "prod"),
        "ownerReferences": [{"apiVersion": "apps/v1", "kind": "Deployment", "name": name, "uid": "d", "controller": true}],
    }))
    .unwrap();
    let told = workload(OwnerKind::ReplicaSet, &set, "my-app", "prod");
    assert_eq!(told.as_deref(), Some("ReplicaSet/app-6d5f"));
}

#[rstest]
#[case::quota(
    "Error creating: pods \"app-x7k2p\" is forbidden: exceeded quota: none, requested: pods=1, used: pods=3, limited: pods=3",
    "QuotaExceeded",
    "quota exceeded: Deployment/app: none, requested: pods=1, limited: pods=3"
)]
#[case::quota_needs_limits(
    "Error creating: pods \"app-x7k2p\" is forbidden: failed quota: q: must specify limits.cpu for: web",
    "QuotaExceeded",
    "quota exceeded: Deployment/app: q: must specify limits.cpu for: web"
)]
#[case::pod_security(
    "Error creating: pods \"app-x7k2p\" is forbidden: violates PodSecurity \"restricted:latest\": runAsNonRoot != true",
    "PodRefused",
    "pod refused: Deployment/app: violates PodSecurity \"restricted:latest\": runAsNonRoot != true"
)]
#[case::webhook(
    "Error creating: admission webhook \"a.b.c\" denied the request: no",
    "PodRefused",
    "pod refused: Deployment/app: admission webhook \"a.b.c\" denied the request: no"
)]
fn a_pod_that_could_not_be_made_is_told(
    #[case] note: &str,
    #[case] reason: &str,
    #[case] message: &str,
) {
    let events = [refusal("ReplicaSet", "rs-uid", 10, note)];
    let expected = Some((reason.to_owned(), message.to_owned()));
    assert_eq!(told(&[], &events), expected);
    // One Pod of several was made before the quota was used up.
    assert_eq!(
        told(&[of_app(&json!({"phase": "Running"}))], &events),
        expected
    );
    let own = told(&[], &[refusal("Job", "job-uid", 10, note)]).unwrap();
    assert_eq!(own.1, message.replace("Deployment/app", "Job/my-app-1"));
}

#[test]
fn a_refusal_is_over_once_a_later_pod_was_made() {
    let events = [refusal("ReplicaSet", "rs-uid", 10, "Error creating: no")];
    let scheduled = json!([{"type": "PodScheduled", "status": "True"}]);
    let running = json!({"phase": "Running", "conditions": scheduled});
    let later = pod("ReplicaSet", "rs-uid", 11, &running);
    assert_eq!(told(&[later], &events), None);
    assert_eq!(
        told(&[], &[refusal("ReplicaSet", "rs-uid", -1, "old")]),
        None
    );
    let own = [refusal("Job", "job-uid", 10, "Error creating: no")];
    assert_eq!(told(&[of_job(&running)], &own), None);
}

#[test]
fn a_volume_that_cannot_be_mounted_is_told() {
    let mut status = waiting("ContainerCreating", "");
    status["conditions"] = json!([{"type": "PodScheduled", "status": "True"}]);
    let pods = [of_app(&status)];
    assert!(needs_mount_events(&pods, at(60)));
    assert!(!needs_mount_events(&pods, at(20)));
    let mounts = [refusal(
        "Pod",
        "pod-uid",
        20,
        "MountVolume.SetUp failed for volume \"x\"",
    )];
    let obstacle = seen(&job(false), &pods, &[], &mounts).unwrap();
    assert_eq!(obstacle.kind, Kind::VolumePending);
    assert_eq!(seen(&job(false), &pods, &[], &[]), None);
}

#[test]
fn a_job_that_somebody_suspended_is_told() {
    let obstacle = seen(&job(true), &[], &[], &[]).unwrap();
    assert_eq!(obstacle.kind, Kind::JobSuspended);
}

#[test]
fn what_is_told_stays_while_the_trouble_stays() {
    let obstacle = |kind, detail: &str| Obstacle {
        kind,
        object: "Deployment/app".to_owned(),
        detail: detail.to_owned(),
    };
    let open = Masker::default();
    let first = obstacle(Kind::PodRefused, "webhook says 1").told(Some(&open), None);
    let next = obstacle(Kind::PodRefused, "webhook says 2").told(Some(&open), Some(&first));
    assert_eq!(next, first);
    let other = obstacle(Kind::QuotaExceeded, "none").told(Some(&open), Some(&first));
    assert_eq!(other.reason, "QuotaExceeded");
    let more = obstacle(Kind::QuotaExceeded, "other").told(Some(&open), Some(&other));
    assert_eq!(more.message, "quota exceeded: Deployment/app: other");
}

#[test]
fn a_cause_that_is_not_said_again_is_kept() {
    let pulling = |image: &str, message: &str| {
        let mut status = waiting("ImagePullBackOff", message);
        status["containerStatuses"][0]["image"] = json!(image);
        seen(&job(false), &[of_app(&status)], &[], &[]).unwrap()
    };
    let open = Masker::default();
    let first = pulling("web:1", "web:1: not found").told(Some(&open), None);
    // As before Kubernetes 1.32.
    let next = pulling("web:1", "Back-off pulling image \"web:1\"");
    assert_eq!(next.told(Some(&open), Some(&first)), first);
    assert!(next.is_told(Some(&first)));
    let other = pulling("web", "Back-off pulling image \"web\"");
    assert_ne!(other.told(Some(&open), Some(&first)), first);
}

#[test]
fn what_is_told_already_is_known_without_the_secrets() {
    let obstacle = |detail: &str| Obstacle {
        kind: Kind::QuotaExceeded,
        object: "Deployment/app".to_owned(),
        detail: detail.to_owned(),
    };
    let before = obstacle("none").told(Some(&Masker::default()), None);
    assert!(obstacle("none").is_told(Some(&before)));
    assert!(!obstacle("hunter22").is_told(Some(&before)));
    assert!(!obstacle("none").is_told(None));
}

#[test]
fn what_others_wrote_is_masked_or_not_told() {
    let mut masks = crate::decide::mask::Masks::default();
    masks.add("hunter22");
    let obstacle = Obstacle {
        kind: Kind::ContainerNotCreated,
        object: "Deployment/app".to_owned(),
        detail: "container web: secret \"hunter22\" not\n\u{1b}[2Jfound".to_owned(),
    };
    let told = obstacle.told(Some(&masks.masker()), None).message;
    assert_eq!(
        told,
        "container cannot be created: Deployment/app: container web: secret \"***\" not found"
    );
    let told = obstacle.told(None, None).message;
    assert_eq!(told, "container cannot be created: Deployment/app");
}

#[test]
fn each_reason_is_one_word_and_stands_for_its_kind() {
    for kind in Kind::ALL {
        assert_eq!(Kind::of_reason(kind.reason()), Some(kind));
        assert!(kind.reason().chars().all(char::is_alphanumeric));
    }
    assert_eq!(Kind::of_reason("Deploying"), None);
}

proptest! {
    #[test]
    fn forged_words_do_no_harm(reason in ".{0,60}", message in r"(?s).{0,2000}", note in r"(?s).{0,2000}") {
        let pods = [of_app(&waiting(&reason, &message)), of_app(&unscheduled(&message))];
        let events = [refusal("ReplicaSet", "rs-uid", 10, &note)];
        let (reason, message) = told(&pods, &events).unwrap();
        prop_assert!(Kind::of_reason(&reason).is_some());
        prop_assert!(message.chars().count() < 500 && !message.contains(char::is_control));
    }
}
