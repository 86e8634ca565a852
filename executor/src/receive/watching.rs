//! What callers see who wait for a bundle: its state in their words, and what became of a request.

use std::pin::Pin;
use std::sync::Arc;

use futures::Stream;
use kube::Client;
use kube::runtime::reflector::{ObjectRef, Store};
use tokio_util::sync::CancellationToken;
use tonic::Status;
use werf_proto::v1alpha1 as proto;
use werf_proto::v1alpha1::converge_response::Result as Came;
use werf_shared::bundle::condition::{self, ConditionType};
use werf_shared::bundle::status::JobStatus;
use werf_shared::bundle::{BundleKey, WerfBundle};

use super::{LOOK, failed, trace_id_of};
use crate::io::api::ApiError;
use crate::io::bundles;
use crate::io::watched::Watched;

/// The answer about a request whose run is the bundle's current one.
pub(super) fn answer(bundle: &WerfBundle, result: Came) -> proto::ConvergeResponse {
    let status = bundle.status.clone().unwrap_or_default();
    let job_name = status
        .active_job_name
        .or_else(|| status.history.first().map(|entry| entry.job.clone()))
        .unwrap_or_default();
    let tag = match result {
        Came::Queued => status.desired_tag,
        _ => status.current_run.map(|run| run.tag),
    }
    .unwrap_or_default();
    let message = match result {
        Came::Started => format!("Job {job_name} deploys {tag}"),
        Came::AlreadyRunning => format!("Job {job_name} is deploying {tag} already"),
        Came::AlreadyApplied => {
            format!("{tag} is deployed already; ask with force to deploy it again")
        }
        Came::Queued => format!("{tag} comes next"),
        Came::Unspecified => String::new(),
    };
    proto::ConvergeResponse {
        job_name,
        job_namespace: status.resolved_target_namespace.unwrap_or_default(),
        trace_id: trace_id_of(bundle),
        tag,
        result: result.into(),
        message,
    }
}

/// The states of a bundle, as a call streams them.
pub(super) type States =
    Pin<Box<dyn Stream<Item = Result<proto::WatchBundleResponse, Status>> + Send>>;

/// Streams a bundle's states until nothing is active or waiting, it is gone, or the process stops.
/// States that follow each other faster than the caller reads are skipped.
pub(super) fn stream(
    client: Client,
    bundles: Store<Watched>,
    key: BundleKey,
    shutdown: CancellationToken,
) -> States {
    let reference = ObjectRef::<Watched>::new(&key.name).within(&key.namespace);
    let eye = Arc::new((client, bundles, key, reference, shutdown));
    let unfolded = futures::stream::unfold((None, false), move |(told, over)| {
        let eye = Arc::clone(&eye);
        async move {
            let (client, bundles, key, reference, shutdown) = &*eye;
            if over {
                return None;
            }
            loop {
                let bundle = bundles.get(reference)?.0.clone().ok()?;
                let seen = state(&bundle);
                let over = at_rest(&bundle);
                if told.as_ref() != Some(&seen) {
                    return Some(match log_of(client, key, &bundle).await {
                        Ok(log_tail) => {
                            let state = proto::WatchBundleResponse {
                                log_tail,
                                ..seen.clone()
                            };
                            (Ok(state), (Some(seen), over))
                        }
                        Err(error) => (Err(failed(&error)), (told, true)),
                    });
                }
                tokio::select! {
                    () = tokio::time::sleep(LOOK) => {}
                    () = shutdown.cancelled() => return None,
                }
            }
        }
    });
    Box::pin(unfolded)
}

/// The log's end, where a Job has ended; the watch keeps none.
async fn log_of(client: &Client, key: &BundleKey, seen: &WerfBundle) -> Result<String, ApiError> {
    let status = seen.status.as_ref().and_then(|s| s.last_job_status);
    if !matches!(status, Some(JobStatus::Succeeded | JobStatus::Failed)) {
        return Ok(String::new());
    }
    let status = bundles::get(client, key).await?.and_then(|b| b.status);
    Ok(status.and_then(|s| s.last_job_logs).unwrap_or_default())
}

/// The state without the log.
fn state(bundle: &WerfBundle) -> proto::WatchBundleResponse {
    let status = bundle.status.clone().unwrap_or_default();
    let ready = condition::find(&status.conditions, ConditionType::Ready);
    proto::WatchBundleResponse {
        phase: status.phase.map_or("", |phase| phase.as_str()).to_owned(),
        message: ready.map(|ready| ready.message.clone()).unwrap_or_default(),
        trace_id: trace_id_of(bundle),
        desired_tag: status.desired_tag.unwrap_or_default(),
        last_applied_tag: status.last_applied_tag.unwrap_or_default(),
        active_job_name: status.active_job_name.unwrap_or_default(),
        last_job_status: status
            .last_job_status
            .map_or("", |job| job.as_str())
            .to_owned(),
        log_tail: String::new(),
    }
}

/// Nothing runs, waits for its time or waits for the registry.
fn at_rest(bundle: &WerfBundle) -> bool {
    let Some(status) = &bundle.status else {
        return false;
    };
    let current = status.observed_generation == bundle.metadata.generation;
    let known = condition::find(&status.conditions, ConditionType::Ready)
        .is_some_and(|ready| ready.status != "Unknown");
    let reconciling = condition::find(&status.conditions, ConditionType::Reconciling).is_some();
    let overtaken = status.current_run.as_ref().is_some_and(|run| {
        status.desired_tag.as_ref() != Some(&run.tag) || status.desired_digest != run.digest
    });
    current && known && !reconciling && !overtaken && status.requested.is_none()
}
