//! What is left of objects.

use serde_json::{Value, json};

use super::*;
use crate::decide::job::files::secret_of;
use crate::decide::job::release_of;
use crate::decide::outcome::{Progress, progress};
use crate::decide::release::{Release, tried};

fn job() -> Value {
    json!({
        "apiVersion": "batch/v1", "kind": "Job",
        "metadata": {
            "name": "app-1", "namespace": "prod", "uid": "u1", "resourceVersion": "7",
            "creationTimestamp": "2026-01-01T00:00:00Z",
            "labels": {"operator.werf.io/release": "app"},
            "annotations": {"operator.werf.io/release": "app", "theirs": "x"},
            "managedFields": [{"manager": "m", "fieldsV1": {"f:spec": {}}}],
        },
        "spec": {
            "suspend": true, "parallelism": 1,
            "template": {"metadata": {"labels": {"a": "b"}}, "spec": {
                "serviceAccountName": "werf",
                "containers": [
                    {"name": "side", "args": ["--release=other"]},
                    {"name": "werf", "image": "i", "args": ["converge", "--release=app"], "env": [{"name": "a"}]},
                ],
                "volumes": [
                    {"name": "tmp", "emptyDir": {}},
                    {"name": "values", "secret": {"secretName": "app-1-files", "items": []}},
                ],
            }},
        },
        "status": {"failed": 1, "conditions": [{"type": "Suspended", "status": "True"}]},
    })
}

fn read(job: Value) -> Job {
    let Essential(job) = serde_json::from_value(job).unwrap();
    job
}

/// Whatever is decided about a Job is decided alike.
#[test]
fn of_a_job_everything_stays_that_something_is_decided_by() {
    let whole: Job = serde_json::from_value(job()).unwrap();
    let read = read(job());
    assert_eq!(read.metadata.uid, whole.metadata.uid);
    assert_eq!(read.metadata.labels, whole.metadata.labels);
    assert_eq!(read.metadata.resource_version.as_deref(), Some("7"));
    assert_eq!(
        read.metadata.creation_timestamp,
        whole.metadata.creation_timestamp
    );
    assert_eq!(progress(&read), Progress::New);
    assert_eq!(Release::of_job(&read), Release::of_job(&whole));
    assert_eq!(tried(&read), tried(&whole));
    assert!(tried(&read).is_some());
    assert_eq!(release_of(&read), Some("app"));
    assert_eq!(secret_of(&read), Some("app-1-files"));
    assert_eq!(read.status, whole.status);
}

#[test]
fn of_a_job_nothing_else_stays() {
    let read = read(job());
    let annotations = read.metadata.annotations.unwrap();
    let known: Vec<_> = annotations.keys().map(String::as_str).collect();
    assert_eq!(known, ["operator.werf.io/release"]);
    assert_eq!(read.metadata.managed_fields, None);
    let pod = read.spec.unwrap().template.spec.unwrap();
    assert_eq!(pod.containers.len(), 1);
    assert_eq!(pod.containers[0].env, None);
    assert_eq!(pod.containers[0].args.as_deref().map(<[_]>::len), Some(1));
    assert_eq!(pod.volumes.map(|volumes| volumes.len()), Some(1));
}

#[test]
fn what_is_in_an_object_many_times_or_at_length_stays_a_few_times_and_short() {
    let mut many = job();
    let owner = json!({"apiVersion": "v1", "kind": "k", "name": "n", "uid": "u"});
    many["metadata"]["ownerReferences"] = vec![owner; 10_000].into();
    let labels = (0..10_000).map(|number| (format!("l{number}"), json!("")));
    many["metadata"]["labels"] = Value::Object(labels.collect());
    many["metadata"]["annotations"]["operator.werf.io/release"] = "é".repeat(10_000).into();
    let pod = &mut many["spec"]["template"]["spec"];
    pod["containers"] = vec![pod["containers"][1].clone(); 10_000].into();
    pod["volumes"] = vec![pod["volumes"][1].clone(); 10_000].into();
    let read = read(many);
    assert_eq!(
        read.metadata.owner_references.as_ref().map(Vec::len),
        Some(ENTRIES)
    );
    assert_eq!(
        read.metadata.labels.as_ref().map(BTreeMap::len),
        Some(ENTRIES)
    );
    let release = Release::of_job(&read).unwrap().name;
    assert!((254..=TEXT).contains(&release.len()), "{}", release.len());
    let pod = read.spec.unwrap().template.spec.unwrap();
    assert_eq!(pod.containers.len(), ENTRIES);
    assert_eq!(pod.volumes.map(|volumes| volumes.len()), Some(ENTRIES));
}

#[test]
fn what_is_missing_or_null_is_missing() {
    let bare = json!({"metadata": {"name": "a", "labels": null, "ownerReferences": null}});
    let read = read(bare.clone());
    assert_eq!(read.metadata.name.as_deref(), Some("a"));
    assert_eq!(read.metadata.labels, None);
    let identity: Identity<Job> = serde_json::from_value(bare).unwrap();
    assert_eq!(identity.metadata, read.metadata);
}

#[test]
fn a_long_note_is_cut_where_it_can_be_seen_that_it_was() {
    let note = "x".repeat(100_000);
    let event = json!({"metadata": {"name": "e"}, "note": note, "regarding": {"uid": "u"}});
    let Essential::<Event>(event) = serde_json::from_value(event).unwrap();
    assert_eq!(event.note.map(|note| note.len()), Some(OUTSIDE_LIMIT + 4));
    assert_eq!(event.regarding.unwrap().uid.as_deref(), Some("u"));
}
