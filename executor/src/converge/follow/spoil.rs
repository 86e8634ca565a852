//! Where the fault tests' own executor makes its mistakes about Jobs; see [`crate::seeded`]. In every
//! other executor nothing here does anything.

use k8s_openapi::api::batch::v1::Job;
use kube::{Client, ResourceExt};
use werf_shared::bundle::WerfBundleStatus;

use super::Inputs;
use crate::io::api::ApiError;
use crate::io::jobs;
use crate::seeded::{self, Bug};

/// A Job right before it is made.
pub(super) async fn new_job(
    client: &Client,
    mut job: Job,
    inputs: &Inputs,
) -> Result<Job, ApiError> {
    if seeded::has(Bug::SecretBeforeJob)
        && let Some(mut secret) = inputs.files().secret(&job)
    {
        secret.metadata.owner_references = None;
        jobs::create_files(client, &job, &secret).await?;
    }
    if seeded::has(Bug::RandomJobName) {
        let name = format!("{}-{:04x}", job.name_any(), rand::random::<u16>());
        job.metadata.name = Some(name);
    }
    if seeded::has(Bug::SecretInArguments) {
        let spec = job.spec.as_mut();
        let pod = spec.and_then(|spec| spec.template.spec.as_mut());
        let arguments = pod.and_then(|pod| pod.containers.first_mut()?.args.as_mut());
        if let Some(arguments) = arguments {
            arguments.extend(inputs.values.file.clone());
        }
    }
    Ok(job)
}

/// A confirmation right before it is stored.
pub(super) async fn confirmation(
    client: &Client,
    mut confirmed: WerfBundleStatus,
    job: &Job,
) -> Result<WerfBundleStatus, ApiError> {
    if seeded::has(Bug::AppliedBeforeSuccess) {
        let wanted = &confirmed.desired_tag;
        confirmed.last_applied_tag.clone_from(wanted);
    }
    if seeded::has(Bug::RunBeforeConfirmed) {
        jobs::release(client, job).await?;
    }
    Ok(confirmed)
}
