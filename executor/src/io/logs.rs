//! The end of a container's log, whatever its length: read as a stream, kept in a bounded buffer,
//! under a deadline.

use std::time::Duration;

use futures::AsyncReadExt;
use k8s_openapi::api::core::v1::Pod;
use kube::api::LogParams;
use kube::{Api, Client, ResourceExt};

use super::api::{ApiError, call};
use crate::decide::job::CONTAINER;

/// How much of the end is kept, in bytes: more than the status takes, so that secrets can be
/// masked before the cut.
const KEPT: usize = 64 * 1024;

/// The kubelet sends at most so many lines.
const LINES: i64 = 2000;

/// After this long what has been read is taken for the whole.
const DEADLINE: Duration = Duration::from_secs(20);

/// The end of the log of a Pod's werf container, at most 64 KiB.
pub async fn end_of_log(client: &Client, pod: &Pod) -> Result<Vec<u8>, ApiError> {
    let api: Api<Pod> = Api::namespaced(client.clone(), &pod.namespace().unwrap_or_default());
    let params = LogParams {
        container: Some(CONTAINER.to_owned()),
        tail_lines: Some(LINES),
        ..LogParams::default()
    };
    let name = pod.name_any();
    let mut stream = Box::pin(call("read the log", api.log_stream(&name, &params)).await?);
    let mut kept = Vec::new();
    let mut chunk = vec![0; 16 * 1024];
    let mut cut = false;
    let read_all = async {
        while let Ok(count @ 1..) = stream.read(&mut chunk).await {
            kept.extend_from_slice(&chunk[..count]);
            let surplus = kept.len().saturating_sub(KEPT);
            cut |= surplus > 0;
            kept.drain(..surplus);
        }
    };
    // A log that was cut short is better than none.
    let _ = tokio::time::timeout(DEADLINE, read_all).await;
    if cut {
        // Half a line may hold half a secret, which nothing would mask.
        let line_end = kept.iter().position(|byte| *byte == b'\n');
        kept.drain(..line_end.map_or(kept.len(), |end| end + 1));
    }
    Ok(kept)
}
