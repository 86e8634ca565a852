//! Answers people over gRPC: polls a bundle now and says what was seen. The poll itself is the
//! poll loop's; this waits for it, but not for ever.

use std::time::Duration;

use jiff::Timestamp;
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, timeout_at};
use tonic::{Request, Response, Status};
use tracing::{Span, field, info_span};
use werf_proto::v1alpha1::poller_service_server::{PollerService, PollerServiceServer};
use werf_proto::v1alpha1::{PollNowRequest, PollNowResponse};
use werf_shared::bundle::BundleKey;
use werf_shared::clock;
use werf_shared::grpc::MAX_MESSAGE_BYTES;
use werf_shared::names;
use werf_shared::telemetry::propagation::parent_from_metadata;

/// People ask one at a time; more than this at once is not people.
pub const QUEUE: usize = 64;

/// The server cuts calls at 10 s; an answer that comes before it says more.
const PATIENCE: Duration = Duration::from_secs(9);

/// A wish to have a bundle polled now.
#[derive(Debug)]
pub struct Ask {
    /// The bundle.
    pub key: BundleKey,
    /// The span of the poll, in the caller's trace.
    pub span: Span,
    /// Where the answer goes.
    pub reply: oneshot::Sender<Result<Answer, Refusal>>,
}

/// What a poll saw, and where the executor's verdict will come from if something was announced.
#[derive(Debug)]
pub struct Answer {
    /// The response, complete but for the verdict.
    pub response: PollNowResponse,
    /// The verdict in words.
    pub verdict: Option<oneshot::Receiver<String>>,
}

/// Why a bundle is not polled.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// There is none.
    #[error("there is no WerfBundle {0}")]
    Unknown(BundleKey),
    /// It is suspended or being deleted.
    #[error("WerfBundle {0} is suspended or being deleted")]
    Resting(BundleKey),
    /// It cannot be polled.
    #[error("WerfBundle {0} cannot be polled: {1}")]
    Unpollable(BundleKey, String),
    /// Its registry is left alone for a while.
    #[error(
        "registry {1} asked for patience; WerfBundle {0} is polled again as soon as it may be, not before {2:.0}"
    )]
    Parked(BundleKey, String, Timestamp),
    /// Many wait for its poll already.
    #[error("too many polls of WerfBundle {0} are asked for at once")]
    Crowded(BundleKey),
}

/// The service, asking the poll loop.
#[derive(Clone, Debug)]
pub struct Desk {
    asks: mpsc::Sender<Ask>,
}

/// The service as tonic serves it.
pub fn service(asks: mpsc::Sender<Ask>) -> PollerServiceServer<Desk> {
    PollerServiceServer::new(Desk { asks }).max_decoding_message_size(MAX_MESSAGE_BYTES)
}

/// The span of a poll; the root of its trace unless a caller's is made its parent.
pub fn poll_span(key: &BundleKey) -> Span {
    info_span!(
        parent: None,
        "poll",
        bundle.namespace = key.namespace,
        bundle.name = key.name,
        registry.host = field::Empty,
    )
}

#[tonic::async_trait]
impl PollerService for Desk {
    async fn poll_now(
        &self,
        request: Request<PollNowRequest>,
    ) -> Result<Response<PollNowResponse>, Status> {
        let deadline = clock::instant() + PATIENCE;
        let key = parse(request.get_ref())?;
        let span = poll_span(&key);
        parent_from_metadata(&span, request.metadata());
        let (reply, answer) = oneshot::channel();
        let ask = Ask { key, span, reply };
        let gone = |_| Status::unavailable("the poller is stopping");
        self.asks
            .try_send(ask)
            .map_err(|_| Status::resource_exhausted("too many polls are asked for at once"))?;
        let answer = timeout_at(deadline, answer)
            .await
            .map_err(|_| {
                Status::deadline_exceeded(
                    "the poll goes on; its result will be in the bundle's status",
                )
            })?
            .map_err(gone)?
            .map_err(|refusal| status_of(&refusal))?;
        Ok(Response::new(with_verdict(answer, deadline).await))
    }
}

fn parse(request: &PollNowRequest) -> Result<BundleKey, Status> {
    if !names::is_dns_label(&request.namespace) {
        return Err(Status::invalid_argument(
            "namespace is not a namespace's name",
        ));
    }
    if !names::is_subdomain(&request.name) {
        return Err(Status::invalid_argument("name is not an object's name"));
    }
    Ok(BundleKey::new(&request.namespace, &request.name))
}

async fn with_verdict(answer: Answer, deadline: Instant) -> PollNowResponse {
    let mut response = answer.response;
    if let Some(verdict) = answer.verdict {
        response.verdict = match timeout_at(deadline, verdict).await {
            Ok(Ok(words)) => words,
            Ok(Err(_)) => "withdrawn, the bundle was suspended or deleted".to_owned(),
            Err(_) => "no answer yet, the announcement is being repeated".to_owned(),
        };
    }
    response
}

fn status_of(refusal: &Refusal) -> Status {
    match refusal {
        Refusal::Unknown(_) => Status::not_found(refusal.to_string()),
        Refusal::Resting(_) | Refusal::Unpollable(..) => {
            Status::failed_precondition(refusal.to_string())
        }
        // As gRPC maps a 429: no client repeats it by itself, as it would an Unavailable.
        Refusal::Crowded(_) | Refusal::Parked(..) => {
            Status::resource_exhausted(refusal.to_string())
        }
    }
}
