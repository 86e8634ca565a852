//! Plays the poller's part: announces a tag until it is acknowledged.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::Context as _;
use sha2::{Digest as _, Sha256};
use tokio::time::{sleep, timeout};
use werf_proto::v1alpha1::announce_tag_response::Verdict;
use werf_proto::v1alpha1::executor_service_client::ExecutorServiceClient;
use werf_proto::v1alpha1::{AnnounceTagRequest, AnnounceTagResponse};

/// One call; the executor's own calls may be held up for a while.
const DEADLINE: Duration = Duration::from_secs(15);

/// Between a call that failed and the next.
const PAUSE: Duration = Duration::from_millis(50);

/// How long a process that is killed and started again may take to acknowledge.
const PATIENCE: Duration = Duration::from_mins(3);

/// A bundle as the poller knows it.
#[derive(Debug, Clone)]
pub(super) struct Subject {
    pub(super) namespace: String,
    pub(super) name: String,
    pub(super) uid: String,
    pub(super) generation: i64,
}

/// The ETag of the list whose newest tag this is.
pub(super) fn etag(tag: &str) -> String {
    format!("\"list-{tag}\"")
}

/// Announces until there is an answer; `contents` is what the tag stands for.
pub(super) async fn announce(
    executor: SocketAddr,
    subject: &Subject,
    tag: &str,
    contents: &str,
) -> anyhow::Result<Verdict> {
    let request = AnnounceTagRequest {
        namespace: subject.namespace.clone(),
        name: subject.name.clone(),
        uid: subject.uid.clone(),
        generation: subject.generation,
        tag: tag.to_owned(),
        digest: format!("sha256:{:x}", Sha256::digest(contents)),
        etag: etag(tag),
        list_fingerprint: format!("{:x}", Sha256::digest(etag(tag))),
        seen_at: None,
    };
    let answered = async {
        loop {
            match timeout(DEADLINE, call(executor, request.clone())).await {
                Ok(Ok(answer)) => return answer.verdict(),
                Ok(Err(_)) | Err(_) => sleep(PAUSE).await,
            }
        }
    };
    let verdict = timeout(PATIENCE, answered).await;
    verdict.with_context(|| format!("the announcement of {tag} was never acknowledged"))
}

async fn call(
    executor: SocketAddr,
    request: AnnounceTagRequest,
) -> anyhow::Result<AnnounceTagResponse> {
    // A connection of its own each time: the process may have been killed in between.
    let mut client = ExecutorServiceClient::connect(format!("http://{executor}")).await?;
    Ok(client.announce_tag(request).await?.into_inner())
}
