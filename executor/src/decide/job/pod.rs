//! What the Jobs have in common: the Pod that runs werf, whatever werf is to do.

use std::collections::BTreeMap;
use std::time::Duration;

use k8s_openapi::api::batch::v1::JobSpec;
use k8s_openapi::api::core::v1::{
    Capabilities, Container, EmptyDirVolumeSource, EnvVar, PodSecurityContext, PodSpec,
    PodTemplateSpec, ResourceRequirements, SeccompProfile, SecurityContext, Volume, VolumeMount,
};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

use super::CONTAINER;
use super::files::Files;
use super::pod_settings::PodSettings;

/// The user werf runs as; the official image has it, but not by number.
const USER: i64 = 1000;

const HOME: &str = "/home/werf";

/// Where the container says how it ended.
pub(super) const TERMINATION_LOG: &str = "/dev/termination-log.json";

/// What a Job gets beyond what werf is told, for pulling images and for the time a stop takes.
pub(super) const LEEWAY: Duration = Duration::from_mins(2);

/// What Jobs differ in.
pub(super) struct Pod<'a> {
    pub(super) labels: BTreeMap<String, String>,
    pub(super) annotations: BTreeMap<String, String>,
    /// How long the Job may run.
    pub(super) deadline: Duration,
    /// How long it is kept after its end.
    pub(super) retention: Duration,
    pub(super) service_account: &'a str,
    pub(super) settings: &'a PodSettings,
    pub(super) cpu: &'a str,
    pub(super) memory: &'a str,
    /// werf's.
    pub(super) arguments: Vec<String>,
    /// W3C trace context.
    pub(super) traceparent: Option<&'a str>,
    /// What is mounted, and the name of the Job.
    pub(super) files: Option<(Files<'a>, &'a str)>,
}

/// A Job with that Pod, suspended.
pub(super) fn job_spec(pod: Pod<'_>) -> JobSpec {
    JobSpec {
        backoff_limit: Some(0),
        suspend: Some(true),
        active_deadline_seconds: i64::try_from(pod.deadline.as_secs()).ok(),
        ttl_seconds_after_finished: i32::try_from(pod.retention.as_secs()).ok(),
        template: PodTemplateSpec {
            metadata: Some(ObjectMeta {
                labels: Some(pod.labels.clone()),
                annotations: Some(pod.annotations.clone()),
                ..ObjectMeta::default()
            }),
            spec: Some(pod_spec(pod)),
        },
        ..JobSpec::default()
    }
}

fn pod_spec(pod: Pod<'_>) -> PodSpec {
    let mut volumes = vec![Volume {
        name: "home".to_owned(),
        empty_dir: Some(EmptyDirVolumeSource::default()),
        ..Volume::default()
    }];
    if let Some((files, job)) = &pod.files {
        volumes.extend(files.volumes(job));
    }
    PodSpec {
        restart_policy: Some("Never".to_owned()),
        service_account_name: Some(pod.service_account.to_owned()),
        // Whatever the account says: werf is nobody without it.
        automount_service_account_token: Some(true),
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
        volumes: Some(volumes),
        image_pull_secrets: some(&pod.settings.image_pull_secrets),
        node_selector: Some(pod.settings.node_selector.clone()).filter(|it| !it.is_empty()),
        tolerations: some(&pod.settings.tolerations),
        containers: vec![container(pod)],
        ..PodSpec::default()
    }
}

/// A list, unless it is empty.
fn some<T: Clone>(list: &[T]) -> Option<Vec<T>> {
    (!list.is_empty()).then(|| list.to_vec())
}

fn container(pod: Pod<'_>) -> Container {
    let resources: BTreeMap<String, Quantity> = [
        ("cpu".to_owned(), Quantity(pod.cpu.to_owned())),
        ("memory".to_owned(), Quantity(pod.memory.to_owned())),
    ]
    .into();
    let mut mounts = vec![VolumeMount {
        name: "home".to_owned(),
        mount_path: HOME.to_owned(),
        ..VolumeMount::default()
    }];
    mounts.extend(pod.files.iter().flat_map(|(files, _)| files.mounts()));
    Container {
        name: CONTAINER.to_owned(),
        image: Some(pod.settings.image.clone()),
        command: Some(vec!["werf".to_owned()]),
        env: Some(environment(&pod)),
        args: Some(pod.arguments),
        working_dir: Some(HOME.to_owned()),
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

fn environment(pod: &Pod<'_>) -> Vec<EnvVar> {
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
    let files = pod.files.iter().flat_map(|(files, _)| files.environment());
    let traceparent = pod.traceparent.map(|it| ("TRACEPARENT", it.to_owned()));
    fixed
        .into_iter()
        .map(|(name, value)| (name, value.to_owned()))
        .chain(files)
        .chain(traceparent)
        .map(|(name, value)| EnvVar {
            name: name.to_owned(),
            value: Some(value),
            value_from: None,
        })
        .collect()
}
