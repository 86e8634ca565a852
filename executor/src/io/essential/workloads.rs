//! Jobs and Pods.

use k8s_openapi::api::batch::v1::{JobCondition, JobSpec, JobStatus};
use k8s_openapi::api::core::v1::{
    Container, ContainerStatus, PersistentVolumeClaimVolumeSource, PodCondition, PodSpec,
    PodStatus, PodTemplateSpec, SecretVolumeSource, Volume,
};

use super::{Deserialize, Deserializer, Job, Metadata, Pod, Reduced, some, some_of};
use crate::decide::job::{CONTAINER, RELEASE};

#[derive(Deserialize)]
#[doc(hidden)]
pub struct JobRead {
    #[serde(default)]
    metadata: Metadata,
    spec: Option<JobSpecRead>,
    status: Option<JobStatusRead>,
}

#[derive(Deserialize)]
struct JobSpecRead {
    suspend: Option<bool>,
    template: Option<TemplateRead>,
}

#[derive(Deserialize)]
struct TemplateRead {
    spec: Option<PodSpecRead>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct PodSpecRead {
    service_account_name: Option<String>,
    #[serde(default, deserialize_with = "werf")]
    containers: Option<Vec<Container>>,
    #[serde(default, deserialize_with = "volumes")]
    volumes: Option<Vec<Volume>>,
}

#[derive(Deserialize)]
struct ContainerRead {
    name: String,
    #[serde(default, deserialize_with = "release")]
    args: Option<Vec<String>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct VolumeRead {
    name: String,
    secret: Option<SecretRead>,
    persistent_volume_claim: Option<PersistentVolumeClaimVolumeSource>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct SecretRead {
    secret_name: Option<String>,
}

#[derive(Deserialize)]
struct JobStatusRead {
    failed: Option<i32>,
    #[serde(default, deserialize_with = "some")]
    conditions: Option<Vec<JobCondition>>,
}

impl Reduced for Job {
    type Read = JobRead;
}

impl From<JobRead> for Job {
    fn from(read: JobRead) -> Self {
        Self {
            metadata: read.metadata.into(),
            spec: read.spec.map(|spec| JobSpec {
                suspend: spec.suspend,
                template: PodTemplateSpec {
                    spec: spec.template.and_then(|it| it.spec).map(Into::into),
                    ..PodTemplateSpec::default()
                },
                ..JobSpec::default()
            }),
            status: read.status.map(|status| JobStatus {
                failed: status.failed,
                conditions: status.conditions,
                ..JobStatus::default()
            }),
        }
    }
}

impl From<PodSpecRead> for PodSpec {
    fn from(read: PodSpecRead) -> Self {
        Self {
            service_account_name: read.service_account_name,
            containers: read.containers.unwrap_or_default(),
            volumes: read.volumes,
            ..Self::default()
        }
    }
}

/// The container that runs werf, with the release it works on.
fn werf<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Vec<Container>>, D::Error> {
    some_of(deserializer, |read: ContainerRead| {
        (read.name == CONTAINER).then(|| Container {
            name: read.name,
            args: read.args,
            ..Container::default()
        })
    })
}

fn release<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Vec<String>>, D::Error> {
    some_of(deserializer, |argument: String| {
        argument.starts_with(RELEASE).then_some(argument)
    })
}

/// The volumes that are Secrets or are claimed.
fn volumes<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Vec<Volume>>, D::Error> {
    some_of(deserializer, |read: VolumeRead| {
        let kept = read.secret.is_some() || read.persistent_volume_claim.is_some();
        kept.then(|| Volume {
            name: read.name,
            secret: read.secret.map(|secret| SecretVolumeSource {
                secret_name: secret.secret_name,
                ..SecretVolumeSource::default()
            }),
            persistent_volume_claim: read.persistent_volume_claim,
            ..Volume::default()
        })
    })
}

#[derive(Deserialize)]
#[doc(hidden)]
pub struct PodRead {
    #[serde(default)]
    metadata: Metadata,
    spec: Option<PodSpecRead>,
    status: Option<PodStatusRead>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct PodStatusRead {
    phase: Option<String>,
    reason: Option<String>,
    message: Option<String>,
    #[serde(default, deserialize_with = "some")]
    conditions: Option<Vec<PodCondition>>,
    #[serde(default, deserialize_with = "some")]
    init_container_statuses: Option<Vec<ContainerStatus>>,
    #[serde(default, deserialize_with = "some")]
    container_statuses: Option<Vec<ContainerStatus>>,
}

impl Reduced for Pod {
    type Read = PodRead;
}

impl From<PodRead> for Pod {
    fn from(read: PodRead) -> Self {
        Self {
            metadata: read.metadata.into(),
            spec: read.spec.map(Into::into),
            status: read.status.map(|status| PodStatus {
                phase: status.phase,
                reason: status.reason,
                message: status.message,
                conditions: status.conditions,
                init_container_statuses: status.init_container_statuses,
                container_statuses: status.container_statuses,
                ..PodStatus::default()
            }),
        }
    }
}
