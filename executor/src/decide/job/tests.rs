//! The Job as the apiserver and werf see it.

use serde_json::{Value, json};

use super::*;
use crate::decide::fixtures::{bundle, digest};
use crate::decide::values::{self, Source, SourceKind};

fn no_values() -> Values {
    values::resolve(&[]).unwrap()
}

fn secret_values() -> Values {
    let source = Source {
        index: 0,
        kind: SourceKind::Secret,
        name: "app-secrets".to_owned(),
        documents: [("v".to_owned(), b"password: hunter22".to_vec())].into(),
    };
    values::resolve(&[source]).unwrap()
}

fn built(change: impl FnOnce(&mut Settings), digest: Option<&str>, values: &Values) -> Value {
    let mut settings = Settings::of(&bundle(), false).unwrap();
    change(&mut settings);
    let order = JobOrder {
        job: "my-app-aaaaaaaa-bbbbbbbb",
        bundle: BundleIdentity {
            namespace: "apps",
            name: "my-app",
            uid: "uid-1",
        },
        tag: "v1.0.0",
        digest,
        settings: &settings,
        values,
        inputs_hash: "h1",
        run: 4,
        attempt: 2,
        traceparent: Some("00-trace-span-01"),
        image: "werf:1",
    };
    serde_json::to_value(build(&order)).unwrap()
}

fn arguments(job: &Value) -> Vec<String> {
    let container = &job["spec"]["template"]["spec"]["containers"][0];
    serde_json::from_value(container["args"].clone()).unwrap()
}

#[test]
fn werf_gets_exactly_these_arguments() {
    let job = built(|_| {}, None, &no_values());
    assert_eq!(
        arguments(&job),
        [
            "bundle",
            "apply",
            "--repo=registry.example.com/team/app",
            "--tag=v1.0.0",
            "--release=my-app",
            "--namespace=apps",
            "--timeout=600",
            "--auto-rollback",
            "--releases-history-max=10",
            "--skip-dependencies-repo-refresh",
            "--status-progress-period=15",
            "--no-pod-logs",
            "--no-notes",
            "--log-pretty=false",
            "--save-deploy-report",
            "--deploy-report-path=/dev/termination-log.json",
        ]
    );
}

#[test]
fn a_known_digest_is_what_is_pulled() {
    let job = built(|_| {}, Some(&digest('7')), &no_values());
    let arguments = arguments(&job);
    assert!(arguments.contains(&"--repo=registry.example.com/team/app@sha256".to_owned()));
    assert!(arguments.contains(&format!("--tag={}7", "0".repeat(63))));
}

#[test]
fn plain_http_is_asked_for_only_when_the_bundle_does() {
    let insecure = "--insecure-registry".to_owned();
    assert!(!arguments(&built(|_| {}, None, &no_values())).contains(&insecure));
    let job = built(|settings| settings.insecure = true, None, &no_values());
    assert!(arguments(&job).contains(&insecure));
}

#[test]
fn a_job_runs_once_and_is_kept_for_its_retention() {
    let job = built(|_| {}, None, &no_values());
    assert_eq!(job["spec"]["backoffLimit"], 0);
    assert_eq!(job["spec"]["suspend"], true);
    assert_eq!(job["spec"]["ttlSecondsAfterFinished"], 7 * 86_400);
    assert_eq!(job["spec"]["activeDeadlineSeconds"], 2 * 600 + 120);
    let pod = &job["spec"]["template"]["spec"];
    assert_eq!(pod["restartPolicy"], "Never");
    assert_eq!(pod["serviceAccountName"], "default");
    assert_eq!(pod["enableServiceLinks"], false);
    let container = &pod["containers"][0];
    assert_eq!(container["name"], "werf");
    assert_eq!(
        container["resources"],
        json!({"limits": {"cpu": "1", "memory": "1Gi"}, "requests": {"cpu": "1", "memory": "1Gi"}})
    );
}

#[test]
fn the_longest_retention_there_can_be_does_not_overflow() {
    let job = built(
        |settings| settings.log_retention = Duration::from_hours(8760),
        None,
        &no_values(),
    );
    assert_eq!(job["spec"]["ttlSecondsAfterFinished"], 365 * 86_400);
}

#[test]
fn who_it_belongs_to_can_be_found_from_the_job() {
    let job = built(|_| {}, Some(&digest('7')), &no_values());
    let metadata = &job["metadata"];
    assert_eq!(metadata["labels"]["app.kubernetes.io/instance"], "my-app");
    assert_eq!(metadata["labels"]["operator.werf.io/bundle-uid"], "uid-1");
    assert_eq!(metadata["labels"]["werf.io/tag"], "v1.0.0");
    assert_eq!(metadata["annotations"]["operator.werf.io/run"], "4");
    assert_eq!(metadata["annotations"]["operator.werf.io/attempt"], "2");
    assert_eq!(
        metadata["annotations"]["operator.werf.io/traceparent"],
        "00-trace-span-01"
    );
    assert_eq!(metadata["ownerReferences"][0]["uid"], "uid-1");
    assert_eq!(
        job["spec"]["template"]["metadata"]["labels"],
        metadata["labels"]
    );
}

#[test]
fn a_job_in_another_namespace_has_no_owner_that_would_get_it_collected() {
    let job = built(
        |settings| settings.target_namespace = "production".to_owned(),
        None,
        &no_values(),
    );
    assert_eq!(job["metadata"]["namespace"], "production");
    assert_eq!(job["metadata"]["ownerReferences"], Value::Null);
}

#[test]
fn secret_values_are_mounted_and_in_no_argument() {
    let values = secret_values();
    let job = built(|_| {}, None, &values);
    assert_eq!(job["spec"]["suspend"], true);
    assert!(arguments(&job).contains(&"--values=/values/values.yaml".to_owned()));
    assert!(!job.to_string().contains("hunter22"));
    let volumes = job["spec"]["template"]["spec"]["volumes"]
        .as_array()
        .unwrap();
    assert!(
        volumes
            .iter()
            .any(|v| v["secret"]["secretName"] == "my-app-aaaaaaaa-bbbbbbbb-values")
    );
}

#[test]
fn a_job_can_be_asked_whether_it_has_values() {
    let asked =
        |values: &Values| has_values(&serde_json::from_value(built(|_| {}, None, values)).unwrap());
    assert!(asked(&secret_values()));
    assert!(!asked(&no_values()));
}

#[test]
fn the_values_secret_is_immutable_and_goes_with_its_job() {
    let mut job: Job = serde_json::from_value(built(|_| {}, None, &secret_values())).unwrap();
    job.metadata.uid = Some("job-uid".to_owned());
    let secret = serde_json::to_value(values_secret(&job, "password: x")).unwrap();
    assert_eq!(secret["immutable"], true);
    assert_eq!(secret["metadata"]["namespace"], "apps");
    assert_eq!(secret["metadata"]["ownerReferences"][0]["uid"], "job-uid");
}

#[test]
fn the_pod_is_as_restricted_as_pod_security_asks() {
    let job = built(|_| {}, None, &no_values());
    let pod = &job["spec"]["template"]["spec"];
    assert_eq!(pod["securityContext"]["runAsNonRoot"], true);
    assert_eq!(
        pod["securityContext"]["seccompProfile"]["type"],
        "RuntimeDefault"
    );
    assert_eq!(
        pod["containers"][0]["securityContext"],
        json!({
            "allowPrivilegeEscalation": false,
            "readOnlyRootFilesystem": true,
            "capabilities": {"drop": ["ALL"]},
        })
    );
}
