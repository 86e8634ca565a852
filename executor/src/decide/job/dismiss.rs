//! The Job that uninstalls a release: the same Pod as for deploying, with nothing mounted. It needs
//! neither the registry nor values, and so nothing of the spec that could be wrong by now.

use std::time::Duration;

use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::ResourceExt;
use werf_shared::bundle::status::TriedRelease;
use werf_shared::bundle::{Converge, WerfBundle, duration};
use werf_shared::names::{self, annotation};

use super::BundleIdentity;
use super::pod::{self, LEEWAY, Pod};
use super::pod_settings::PodSettings;

/// What such a Job is for, in its annotation.
const PURPOSE: &str = "dismiss";

/// What werf may take where the spec says it in no words that can be read.
const DEFAULT_TIMEOUT: Duration = Duration::from_mins(10);

/// The Job that uninstalls `release` for a bundle that is going, suspended.
pub fn build(
    bundle: BundleIdentity<'_>,
    converge: &Converge,
    release: &TriedRelease,
    attempt: i32,
    settings: &PodSettings,
) -> Job {
    let labels = bundle.labels(&release.name);
    let mut annotations = bundle.annotations(&release.name, attempt);
    annotations.insert(annotation::PURPOSE.to_owned(), PURPOSE.to_owned());
    let timeout = duration::parse(&converge.timeout).unwrap_or(DEFAULT_TIMEOUT);
    let retention = Duration::from_secs(u64::from(converge.log_retention_days) * 86_400);
    Job {
        metadata: ObjectMeta {
            name: Some(names::dismiss_job(bundle.name, bundle.uid, attempt)),
            namespace: Some(release.namespace.clone()),
            labels: Some(labels.clone()),
            annotations: Some(annotations.clone()),
            owner_references: bundle.owns_in(&release.namespace),
            ..ObjectMeta::default()
        },
        spec: Some(pod::job_spec(Pod {
            labels,
            annotations,
            deadline: timeout + LEEWAY,
            retention,
            service_account: &release.service_account_name,
            settings,
            cpu: &converge.resource_limits.cpu.0,
            memory: &converge.resource_limits.memory.0,
            arguments: vec![
                "dismiss".to_owned(),
                format!("--release={}", release.name),
                format!("--namespace={}", release.namespace),
                format!("--timeout={}", timeout.as_secs()),
                "--log-pretty=false".to_owned(),
            ],
            traceparent: None,
            files: None,
        })),
        status: None,
    }
}

/// It uninstalls; any other Job of ours deploys.
pub fn is_one(job: &Job) -> bool {
    job.annotations()
        .get(annotation::PURPOSE)
        .is_some_and(|purpose| purpose == PURPOSE)
}

/// It was made for this attempt of this bundle to uninstall. A name alone proves nothing.
pub fn is_of_attempt(job: &Job, bundle: &WerfBundle, attempt: i32) -> bool {
    let says = |key: &str, value: &str| job.annotations().get(key).is_some_and(|v| v == value);
    is_one(job)
        && says(annotation::BUNDLE_UID, &bundle.uid().unwrap_or_default())
        && says(annotation::ATTEMPT, &attempt.to_string())
}
