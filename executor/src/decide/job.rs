//! The Job that deploys a bundle, and the Secret with its files. Infallible: everything in an
//! order was checked before. The container is the one that was tried with the real werf as an
//! arbitrary user, with a read-only root and under restricted Pod Security.

use std::collections::BTreeMap;
use std::time::Duration;

use k8s_openapi::api::batch::v1::{Job, JobSpec};
use k8s_openapi::api::core::v1::{
    Capabilities, Container, EmptyDirVolumeSource, EnvVar, PodSecurityContext, PodSpec,
    PodTemplateSpec, ResourceRequirements, SeccompProfile, SecurityContext, Volume, VolumeMount,
};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference};
use werf_shared::names::{self, annotation, label};

use super::registry_access::RegistryAccess;
use super::settings::Settings;
use super::values::Values;

pub mod files;
pub mod log;
pub mod pod_settings;

use files::Files;
use pod_settings::PodSettings;

/// The container that runs werf.
pub const CONTAINER: &str = "werf";

/// The user werf runs as; the official image has it, but not by number.
const USER: i64 = 1000;

const HOME: &str = "/home/werf";
const TERMINATION_LOG: &str = "/dev/termination-log.json";
const RELEASES_KEPT: u32 = 10;
const RELEASE: &str = "--release=";

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

/// The Job of an order, suspended: it runs once the status says that it exists and its Secret, which
/// can only be owned by a Job that exists, is there.
pub fn build(order: &JobOrder<'_>) -> Job {
    let labels = labels(order);
    let annotations = annotations(order);
    let settings = order.settings;
    // A deployment that fails is rolled back, which may take as long again.
    let deadline = 2 * settings.timeout.as_secs() + 120;
    Job {
        metadata: ObjectMeta {
            name: Some(order.job.to_owned()),
            namespace: Some(settings.target_namespace.clone()),
            labels: Some(labels.clone()),
            annotations: Some(annotations.clone()),
            // Owners must be in the same namespace: a reference across namespaces makes the
            // garbage collector delete the Job.
            owner_references: (settings.target_namespace == order.bundle.namespace)
                .then(|| vec![owned_by_bundle(&order.bundle)]),
            ..ObjectMeta::default()
        },
        spec: Some(JobSpec {
            backoff_limit: Some(0),
            suspend: Some(true),
            active_deadline_seconds: i64::try_from(deadline).ok(),
            ttl_seconds_after_finished: seconds(settings.log_retention),
            template: PodTemplateSpec {
                metadata: Some(ObjectMeta {
                    labels: Some(labels),
                    annotations: Some(annotations),
                    ..ObjectMeta::default()
                }),
                spec: Some(pod(order)),
            },
            ..JobSpec::default()
        }),
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
    let bundle = names::label_value(order.bundle.name);
    [
        (label::NAME, names::OPERATOR.to_owned()),
        (label::MANAGED_BY, names::OPERATOR.to_owned()),
        (label::INSTANCE, bundle.clone()),
        (label::BUNDLE, bundle),
        (label::TAG, names::label_value(order.tag)),
        (label::BUNDLE_UID, order.bundle.uid.to_owned()),
    ]
    .map(|(key, value)| (key.to_owned(), value))
    .into()
}

fn annotations(order: &JobOrder<'_>) -> BTreeMap<String, String> {
    let always = [
        (annotation::TAG, order.tag.to_owned()),
        (annotation::INPUTS_HASH, order.inputs_hash.to_owned()),
        (annotation::RUN, order.run.to_string()),
        (annotation::ATTEMPT, order.attempt.to_string()),
        (annotation::BUNDLE_UID, order.bundle.uid.to_owned()),
        (
            annotation::BUNDLE_NAMESPACE,
            order.bundle.namespace.to_owned(),
        ),
        (annotation::BUNDLE_NAME, order.bundle.name.to_owned()),
    ];
    let client_certificate = order.access.client_certificate_unused().then_some("unused");
    let known = [
        (annotation::DIGEST, order.digest),
        (annotation::TRACEPARENT, order.traceparent),
        (annotation::CLIENT_CERTIFICATE, client_certificate),
    ];
    always
        .into_iter()
        .chain(
            known
                .into_iter()
                .filter_map(|(key, value)| Some((key, value?.to_owned()))),
        )
        .map(|(key, value)| (key.to_owned(), value))
        .collect()
}

fn owned_by_bundle(bundle: &BundleIdentity<'_>) -> OwnerReference {
    OwnerReference {
        api_version: "werf.io/v1alpha1".to_owned(),
        kind: "WerfBundle".to_owned(),
        name: bundle.name.to_owned(),
        uid: bundle.uid.to_owned(),
        controller: Some(true),
        block_owner_deletion: None,
    }
}

fn pod(order: &JobOrder<'_>) -> PodSpec {
    let mut volumes = vec![Volume {
        name: "home".to_owned(),
        empty_dir: Some(EmptyDirVolumeSource::default()),
        ..Volume::default()
    }];
    volumes.extend(files(order).volumes(order.job));
    PodSpec {
        restart_policy: Some("Never".to_owned()),
        service_account_name: Some(order.settings.service_account.clone()),
        // A Service called `werf-values` would put WERF_VALUES_SERVICE_HOST into the environment,
        // which werf reads as the name of a values file.
        enable_service_links: Some(false),
        termination_grace_period_seconds: Some(30),
        security_context: Some(PodSecurityContext {
            run_as_non_root: Some(true),
            run_as_user: Some(USER),
            run_as_group: Some(USER),
            fs_group: Some(USER),
            seccomp_profile: Some(SeccompProfile {
                type_: "RuntimeDefault".to_owned(),
                ..SeccompProfile::default()
            }),
            ..PodSecurityContext::default()
        }),
        containers: vec![container(order)],
        volumes: Some(volumes),
        image_pull_secrets: some(&order.pod.image_pull_secrets),
        node_selector: Some(order.pod.node_selector.clone()).filter(|it| !it.is_empty()),
        tolerations: some(&order.pod.tolerations),
        ..PodSpec::default()
    }
}

fn container(order: &JobOrder<'_>) -> Container {
    let resources: BTreeMap<String, Quantity> = [
        ("cpu".to_owned(), Quantity(order.settings.cpu.clone())),
        ("memory".to_owned(), Quantity(order.settings.memory.clone())),
    ]
    .into();
    let mut mounts = vec![VolumeMount {
        name: "home".to_owned(),
        mount_path: HOME.to_owned(),
        ..VolumeMount::default()
    }];
    mounts.extend(files(order).mounts());
    Container {
        name: CONTAINER.to_owned(),
        image: Some(order.pod.image.clone()),
        command: Some(vec!["werf".to_owned()]),
        args: Some(arguments(order)),
        working_dir: Some(HOME.to_owned()),
        env: Some(environment(order)),
        resources: Some(ResourceRequirements {
            limits: Some(resources.clone()),
            requests: Some(resources),
            ..ResourceRequirements::default()
        }),
        security_context: Some(SecurityContext {
            allow_privilege_escalation: Some(false),
            read_only_root_filesystem: Some(true),
            capabilities: Some(Capabilities {
                drop: Some(vec!["ALL".to_owned()]),
                ..Capabilities::default()
            }),
            ..SecurityContext::default()
        }),
        volume_mounts: Some(mounts),
        termination_message_path: Some(TERMINATION_LOG.to_owned()),
        termination_message_policy: Some("FallbackToLogsOnError".to_owned()),
        ..Container::default()
    }
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

fn environment(order: &JobOrder<'_>) -> Vec<EnvVar> {
    let fixed = [
        ("HOME", HOME),
        ("TMPDIR", HOME),
        ("WERF_HOME", "/home/werf/.werf"),
        ("WERF_TELEMETRY", "0"),
        // `auto`, the image's own setting, re-executes werf in a user namespace, which restricted
        // Pods may not do. `docker` stands for no build backend; no daemon is needed.
        ("WERF_BUILDAH_MODE", "docker"),
        ("WERF_DISABLE_AUTO_HOST_CLEANUP", "1"),
        ("WERF_LOG_COLOR_MODE", "off"),
    ];
    let traceparent = order.traceparent.map(|it| ("TRACEPARENT", it.to_owned()));
    fixed
        .into_iter()
        .map(|(name, value)| (name, value.to_owned()))
        .chain(files(order).environment())
        .chain(traceparent)
        .map(|(name, value)| EnvVar {
            name: name.to_owned(),
            value: Some(value),
            value_from: None,
        })
        .collect()
}

fn files<'a>(order: &JobOrder<'a>) -> Files<'a> {
    Files::of(order.values, order.access)
}

/// A list, unless it is empty.
fn some<T: Clone>(list: &[T]) -> Option<Vec<T>> {
    (!list.is_empty()).then(|| list.to_vec())
}

fn seconds(duration: Duration) -> Option<i32> {
    i32::try_from(duration.as_secs()).ok()
}

#[cfg(test)]
mod tests;
