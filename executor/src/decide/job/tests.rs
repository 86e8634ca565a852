//! The Job as the apiserver and werf see it.

use std::time::Duration;

use serde_json::{Value, json};

use werf_shared::registry_secret::Secret;

use super::*;
use crate::decide::fixtures::{bundle, digest};
use crate::decide::registry_access::Named;
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

fn private() -> RegistryAccess {
    let secret = |kind: &str, data: &[(&str, &str)]| {
        let data = data
            .iter()
            .map(|(key, value)| ((*key).to_owned(), value.as_bytes().to_vec()));
        Some(Named {
            name: "registry".to_owned(),
            namespace: "apps".to_owned(),
            found: Some(Secret::new(kind, data)),
        })
    };
    let login = [("username", "robot"), ("password", "hunter2-registry")];
    let pem = "-----BEGIN CERTIFICATE-----\nMAMCAQE=\n-----END CERTIFICATE-----\n";
    let certificates = [("ca.crt", pem), ("tls.crt", "c"), ("tls.key", "k")];
    RegistryAccess::of(
        &"registry.example.com/team/app".parse().unwrap(),
        secret("kubernetes.io/basic-auth", &login),
        secret("Opaque", &certificates),
    )
    .unwrap()
}

fn built(change: impl FnOnce(&mut Settings), digest: Option<&str>, values: &Values) -> Value {
    built_with(change, digest, values, &RegistryAccess::default())
}

fn built_with(
    change: impl FnOnce(&mut Settings),
    digest: Option<&str>,
    values: &Values,
    access: &RegistryAccess,
) -> Value {
    let mut settings = Settings::of(&bundle(), false).unwrap();
    change(&mut settings);
    let order = JobOrder {
        digest,
        ..order(&settings, values, access)
    };
    serde_json::to_value(build(&order)).unwrap()
}

fn order<'a>(
    settings: &'a Settings,
    values: &'a Values,
    access: &'a RegistryAccess,
) -> JobOrder<'a> {
    JobOrder {
        job: "my-app-aaaaaaaa-bbbbbbbb",
        bundle: BundleIdentity {
            namespace: "apps",
            name: "my-app",
            uid: "uid-1",
        },
        tag: "v1.0.0",
        digest: None,
        settings,
        values,
        access,
        inputs_hash: "h1",
        run: 4,
        attempt: 2,
        traceparent: Some("00-trace-span-01"),
        pod: &PLAIN,
    }
}

static PLAIN: PodSettings = PodSettings {
    image: String::new(),
    image_pull_secrets: Vec::new(),
    node_selector: BTreeMap::new(),
    tolerations: Vec::new(),
};

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

fn parsed(job: Value) -> Job {
    serde_json::from_value(job).unwrap()
}

fn volume<'a>(job: &'a Value, name: &str) -> &'a Value {
    let volumes = &job["spec"]["template"]["spec"]["volumes"];
    let mut volumes = volumes.as_array().unwrap().iter();
    volumes.find(|volume| volume["name"] == name).unwrap()
}

fn variable(job: &Value, name: &str) -> Value {
    let env = &job["spec"]["template"]["spec"]["containers"][0]["env"];
    let mut env = env.as_array().unwrap().iter();
    env.find(|variable| variable["name"] == name)
        .map_or(Value::Null, |variable| variable["value"].clone())
}

#[test]
fn secret_values_are_mounted_and_in_no_argument() {
    let job = built(|_| {}, None, &secret_values());
    assert_eq!(job["spec"]["suspend"], true);
    assert!(arguments(&job).contains(&"--values=/values/values.yaml".to_owned()));
    assert!(!job.to_string().contains("hunter22"));
    assert_eq!(
        volume(&job, "values")["secret"],
        json!({
            "secretName": "my-app-aaaaaaaa-bbbbbbbb-files",
            "defaultMode": 0o440,
            "items": [{"key": "values.yaml", "path": "values.yaml"}],
        })
    );
}

#[test]
fn the_login_is_mounted_for_werf_and_nowhere_else() {
    let job = built_with(|_| {}, None, &no_values(), &private());
    assert_eq!(variable(&job, "DOCKER_CONFIG"), "/docker-config");
    assert_eq!(
        volume(&job, "docker-config")["secret"]["items"],
        json!([{"key": "config.json", "path": "config.json"}])
    );
    let mounts = &job["spec"]["template"]["spec"]["containers"][0]["volumeMounts"];
    assert!(mounts.as_array().unwrap().contains(
        &json!({"name": "docker-config", "mountPath": "/docker-config", "readOnly": true})
    ));
    let text = job.to_string();
    assert!(!text.contains("hunter2") && !text.contains("robot"));
    assert!(!text.contains("aHVudGVy"));

    let job = built(|_| {}, None, &no_values());
    assert_eq!(variable(&job, "DOCKER_CONFIG"), Value::Null);
    assert_eq!(variable(&job, "SSL_CERT_DIR"), Value::Null);
}

#[test]
fn own_authorities_are_known_beside_the_public_ones() {
    let job = built_with(|_| {}, None, &no_values(), &private());
    assert_eq!(
        variable(&job, "SSL_CERT_DIR"),
        "/etc/ssl/certs:/etc/pki/tls/certs:/registry-certificates"
    );
    // It would take the place of the image's own.
    assert_eq!(variable(&job, "SSL_CERT_FILE"), Value::Null);
    assert_eq!(
        job["metadata"]["annotations"]["operator.werf.io/client-certificate"],
        "unused"
    );
}

#[test]
fn a_job_can_be_asked_for_its_secret() {
    let asked = |values: &Values, access: &RegistryAccess| {
        let job = parsed(built_with(|_| {}, None, values, access));
        files::secret_of(&job).map(ToOwned::to_owned)
    };
    let secret = Some("my-app-aaaaaaaa-bbbbbbbb-files".to_owned());
    let public = RegistryAccess::default();
    assert_eq!(asked(&secret_values(), &public), secret);
    assert_eq!(asked(&no_values(), &private()), secret);
    assert_eq!(asked(&no_values(), &public), None);
}

#[test]
fn a_job_that_was_made_for_other_files_is_recognised() {
    let (some, none) = (secret_values(), no_values());
    let (private, public) = (private(), RegistryAccess::default());
    let made =
        |values: &Values, access: &RegistryAccess| parsed(built_with(|_| {}, None, values, access));
    assert!(Files::of(&some, &private).fit(&made(&some, &private)));
    assert!(Files::of(&none, &public).fit(&made(&none, &public)));
    assert!(!Files::of(&some, &public).fit(&made(&some, &private)));
    assert!(!Files::of(&some, &private).fit(&made(&some, &public)));
    assert!(!Files::of(&none, &private).fit(&made(&some, &public)));
}

#[test]
fn all_files_are_in_one_secret_that_is_immutable_and_goes_with_its_job() {
    let (values, access) = (secret_values(), private());
    let mut job = parsed(built_with(|_| {}, None, &values, &access));
    job.metadata.uid = Some("job-uid".to_owned());
    let secret = Files::of(&values, &access).secret(&job).unwrap();
    let secret = serde_json::to_value(secret).unwrap();
    assert_eq!(secret["immutable"], true);
    assert_eq!(secret["metadata"]["namespace"], "apps");
    assert_eq!(secret["metadata"]["name"], files::secret_of(&job).unwrap());
    assert_eq!(secret["metadata"]["ownerReferences"][0]["uid"], "job-uid");
    let keys: Vec<_> = secret["stringData"].as_object().unwrap().keys().collect();
    assert_eq!(keys, ["ca.crt", "config.json", "values.yaml"]);
    let public = RegistryAccess::default();
    assert_eq!(Files::of(&no_values(), &public).secret(&job), None);
}

#[test]
fn what_the_operator_says_of_all_pods_is_in_the_pod() {
    let texts = |text: &str| vec![text.to_owned()];
    let pod = PodSettings {
        image: "werf:1".to_owned(),
        image_pull_secrets: pod_settings::image_pull_secrets(&texts("login")).unwrap(),
        node_selector: pod_settings::node_selector(&texts("pool=deploy")).unwrap(),
        tolerations: pod_settings::tolerations(&texts("deploy:NoSchedule")).unwrap(),
    };
    let settings = Settings::of(&bundle(), false).unwrap();
    let job = serde_json::to_value(build(&JobOrder {
        pod: &pod,
        ..order(&settings, &no_values(), &RegistryAccess::default())
    }))
    .unwrap();
    let pod = &job["spec"]["template"]["spec"];
    assert_eq!(pod["containers"][0]["image"], "werf:1");
    assert_eq!(pod["imagePullSecrets"], json!([{"name": "login"}]));
    assert_eq!(pod["nodeSelector"], json!({"pool": "deploy"}));
    let toleration = json!({"key": "deploy", "operator": "Exists", "effect": "NoSchedule"});
    assert_eq!(pod["tolerations"], json!([toleration]));
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
