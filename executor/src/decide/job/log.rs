//! The `ConfigMap` with the whole log of a Job: beside the Job, owned by it and gone with it.

use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::ConfigMap;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

use super::owned_by_job;

/// The key of the log.
const KEY: &str = "log";

/// The `ConfigMap` with a Job's log. A log does not change any more.
pub fn config_map(job: &Job, log: String) -> ConfigMap {
    let name = job.metadata.name.as_deref().unwrap_or_default();
    ConfigMap {
        metadata: ObjectMeta {
            name: Some(format!("{name}-logs")),
            namespace: job.metadata.namespace.clone(),
            labels: job.metadata.labels.clone(),
            owner_references: Some(vec![owned_by_job(job)]),
            ..ObjectMeta::default()
        },
        immutable: Some(true),
        data: Some([(KEY.to_owned(), log)].into()),
        binary_data: None,
    }
}
