//! The Job that deploys a bundle, and the Secret with its files. Infallible: everything in an
//! order was checked before. The container is the one that was tried with the real werf as an
//! arbitrary user, with a read-only root and under restricted Pod Security.

use std::collections::BTreeMap;

use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference};
use werf_shared::names::{self, annotation, label};

use super::registry_access::RegistryAccess;
use super::settings::Settings;
use super::values::Values;

pub mod dismiss;
pub mod files;
pub mod log;
mod pod;
pub mod pod_settings;

use files::Files;
use pod::{LEEWAY, Pod, TERMINATION_LOG};
use pod_settings::PodSettings;

/// The container that runs werf.
pub const CONTAINER: &str = "werf";

const RELEASES_KEPT: u32 = 10;
/// The argument that names the release.
pub const RELEASE: &str = "--release=";

/// Everything that makes a Job.
#[derive(Clone, Debug)]
pub struct JobOrder<'a> {
    /// The Job's name.
    pub job: &'a str,
    /// The bundle.
    pub bundle: BundleIdentity<'a>,
    /// The tag to deploy.
    pub tag: &'a str,
    /// Its digest, where it is known; the Job then pulls by digest.
    pub digest: Option<&'a str>,
    /// How to deploy it.
    pub settings: &'a Settings,
    /// What to deploy it with.
    pub values: &'a Values,
    /// What it shows the registry, and what it takes the registry for.
    pub access: &'a RegistryAccess,
    /// A hash of what decides what is deployed; how the registry is accessed does not.
    pub inputs_hash: &'a str,
    /// Number of the run.
    pub run: i64,
    /// Number of the attempt.
    pub attempt: i32,
    /// W3C trace context of the span that creates the Job.
    pub traceparent: Option<&'a str>,
    /// What the Pods of all Jobs have in common.
    pub pod: &'a PodSettings,
}

/// The bundle a Job belongs to.
#[derive(Clone, Copy, Debug)]
pub struct BundleIdentity<'a> {
    /// Its namespace.
    pub namespace: &'a str,
    /// Its name.
    pub name: &'a str,
    /// Its uid.
    pub uid: &'a str,
}

impl BundleIdentity<'_> {
    /// The reference that makes a Job go with its bundle. Owners must be in the same namespace: a
    /// reference across namespaces makes the garbage collector delete the Job.
    fn owns_in(&self, namespace: &str) -> Option<Vec<OwnerReference>> {
        (namespace == self.namespace).then(|| {
            vec![OwnerReference {
                api_version: "werf.io/v1alpha1".to_owned(),
                kind: "WerfBundle".to_owned(),
                name: self.name.to_owned(),
                uid: self.uid.to_owned(),
                controller: Some(true),
                block_owner_deletion: None,
            }]
        })
    }

    /// What is on every Job of the bundle that works on `release`.
    fn labels(&self, release: &str) -> BTreeMap<String, String> {
        let bundle = names::label_value(self.name);
        [
            (label::NAME, names::OPERATOR.to_owned()),
            (label::MANAGED_BY, names::OPERATOR.to_owned()),
            (label::INSTANCE, bundle.clone()),
            (label::BUNDLE, bundle),
            (label::RELEASE, names::label_value(release)),
            (label::BUNDLE_UID, self.uid.to_owned()),
        ]
        .map(|(key, value)| (key.to_owned(), value))
        .into()
    }

    /// The same for annotations.
    fn annotations(&self, release: &str, attempt: i32) -> BTreeMap<String, String> {
        [
            (annotation::RELEASE, release.to_owned()),
            (annotation::ATTEMPT, attempt.to_string()),
            (annotation::BUNDLE_UID, self.uid.to_owned()),
            (annotation::BUNDLE_NAMESPACE, self.namespace.to_owned()),
            (annotation::BUNDLE_NAME, self.name.to_owned()),
        ]
        .map(|(key, value)| (key.to_owned(), value))
        .into()
    }
}

/// The Job of an order, suspended: it runs once the status says that it exists and its Secret, which
/// can only be owned by a Job that exists, is there.
pub fn build(order: &JobOrder<'_>) -> Job {
    let labels = labels(order);
    let annotations = annotations(order);
    let settings = order.settings;
    Job {
        metadata: ObjectMeta {
            name: Some(order.job.to_owned()),
            namespace: Some(settings.target_namespace.clone()),
            labels: Some(labels.clone()),
            annotations: Some(annotations.clone()),
            owner_references: order.bundle.owns_in(&settings.target_namespace),
            ..ObjectMeta::default()
        },
        spec: Some(pod::job_spec(Pod {
            labels,
            annotations,
            // A deployment that fails is rolled back, which may take as long again.
            deadline: 2 * settings.timeout + LEEWAY,
            retention: settings.log_retention,
            service_account: &settings.service_account,
            settings: order.pod,
            cpu: &settings.cpu,
            memory: &settings.memory,
            arguments: arguments(order),
            traceparent: order.traceparent,
            files: Some((files(order), order.job)),
        })),
        status: None,
    }
}

/// The release that a Job deploys.
pub fn release_of(job: &Job) -> Option<&str> {
    let pod = job.spec.as_ref()?.template.spec.as_ref()?;
    let container = pod.containers.iter().find(|it| it.name == CONTAINER)?;
    let arguments = container.args.as_ref()?;
    arguments.iter().find_map(|it| it.strip_prefix(RELEASE))
}

/// What belongs to a Job is gone with it.
fn owned_by_job(job: &Job) -> OwnerReference {
    OwnerReference {
        api_version: "batch/v1".to_owned(),
        kind: "Job".to_owned(),
        name: job.metadata.name.clone().unwrap_or_default(),
        uid: job.metadata.uid.clone().unwrap_or_default(),
        controller: Some(true),
        block_owner_deletion: None,
    }
}

fn labels(order: &JobOrder<'_>) -> BTreeMap<String, String> {
    let mut labels = order.bundle.labels(&order.settings.release);
    labels.insert(label::TAG.to_owned(), names::label_value(order.tag));
    labels
}

fn annotations(order: &JobOrder<'_>) -> BTreeMap<String, String> {
    let of_bundle = order
        .bundle
        .annotations(&order.settings.release, order.attempt);
    let run = order.run.to_string();
    let client_certificate = order.access.client_certificate_unused().then_some("unused");
    let known = [
        (annotation::TAG, Some(order.tag)),
        (annotation::INPUTS_HASH, Some(order.inputs_hash)),
        (annotation::RUN, Some(run.as_str())),
        (annotation::DIGEST, order.digest),
        (annotation::TRACEPARENT, order.traceparent),
        (annotation::CLIENT_CERTIFICATE, client_certificate),
    ];
    of_bundle
        .into_iter()
        .chain(
            known
                .into_iter()
                .filter_map(|(key, value)| Some((key.to_owned(), value?.to_owned()))),
        )
        .collect()
}

fn arguments(order: &JobOrder<'_>) -> Vec<String> {
    let settings = order.settings;
    let repository = &settings.repository;
    // werf glues repository and tag together with a colon, so that a digest can be split between
    // the two. `--tag=sha256:…` fails.
    let (repository, tag) = match order
        .digest
        .and_then(|digest| digest.strip_prefix("sha256:"))
    {
        Some(hex) => (format!("{repository}@sha256"), hex),
        None => (repository.to_string(), order.tag),
    };
    let mut arguments = vec![
        "bundle".to_owned(),
        "apply".to_owned(),
        format!("--repo={repository}"),
        format!("--tag={tag}"),
        format!("{RELEASE}{}", settings.release),
        format!("--namespace={}", settings.target_namespace),
        format!("--timeout={}", settings.timeout.as_secs()),
        "--auto-rollback".to_owned(),
        format!("--releases-history-max={RELEASES_KEPT}"),
        "--skip-dependencies-repo-refresh".to_owned(),
        "--status-progress-period=15".to_owned(),
        "--no-pod-logs".to_owned(),
        "--no-notes".to_owned(),
        "--log-pretty=false".to_owned(),
        "--save-deploy-report".to_owned(),
        format!("--deploy-report-path={TERMINATION_LOG}"),
    ];
    if settings.insecure {
        arguments.push("--insecure-registry".to_owned());
    }
    if files(order).has_values() {
        arguments.push(format!("--values={}", files::VALUES_FILE));
    }
    arguments.extend(order.values.arguments.iter().cloned());
    arguments
}

fn files<'a>(order: &JobOrder<'a>) -> Files<'a> {
    Files::of(order.values, order.access)
}

#[cfg(test)]
mod tests;
