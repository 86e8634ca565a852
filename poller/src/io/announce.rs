//! Tells the executor what polls found, and repeats it until it is answered. An executor that
//! cannot be reached is no failure of a registry, and nothing is lost by it: what was not
//! acknowledged is not in the status either.

use std::time::Duration;

use futures::StreamExt as _;
use futures::future::BoxFuture;
use futures::stream::FuturesUnordered;
use tonic::transport::{Channel, Endpoint, Uri};
use tonic::{Request, Status};
use tracing::{Instrument as _, Span, debug, info, warn};
use werf_proto::v1alpha1::announce_tag_response::Verdict;
use werf_proto::v1alpha1::executor_service_client::ExecutorServiceClient;
use werf_proto::v1alpha1::{AnnounceTagRequest, AnnounceTagResponse, ReportPollRequest};
use werf_shared::backoff::Jitter;
use werf_shared::bundle::BundleKey;
use werf_shared::clock;
use werf_shared::error::Class;
use werf_shared::grpc::class_of;
use werf_shared::telemetry::propagation::inject;

use crate::decide::outbox::{Kind, Letter, Outbox};
use crate::metrics::{AnnounceResult, PollerMetrics};

mod message;

pub use message::{announcement, failure, success, verdict_words};

/// An executor that stores one status patch answers in well under a second.
const DEADLINE: Duration = Duration::from_secs(10);

/// Calls at once: enough to keep an executor busy, few enough not to flood it after an outage.
const AT_ONCE: usize = 32;

/// Tells the executor.
#[derive(Debug)]
pub struct Courier {
    client: ExecutorServiceClient<Channel>,
    outbox: Outbox<Message>,
    flying: FuturesUnordered<BoxFuture<'static, Flown>>,
    metrics: PollerMetrics,
}

/// What is said, in the span of the poll that it comes from.
#[derive(Clone, Debug)]
pub struct Message {
    /// The call.
    pub call: Call,
    /// What repeats it and every log line about it belong to.
    pub span: Span,
}

/// The calls there are.
#[derive(Clone, Debug)]
pub enum Call {
    /// A chosen tag.
    Announce(AnnounceTagRequest),
    /// What a poll changed otherwise.
    Report(ReportPollRequest),
}

/// What became of a message that was still the newest of its kind.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Delivered {
    /// The bundle.
    pub key: BundleKey,
    /// The executor's verdict about an announcement; nothing when it refused to read it.
    pub verdict: Option<Verdict>,
    /// It was an announcement.
    pub announcement: bool,
    /// The executor will not have it, so it knows nothing of it.
    pub refused: bool,
    /// The executor's words.
    pub words: String,
}

struct Flown {
    key: BundleKey,
    letter: Letter<Message>,
    result: Result<Option<AnnounceTagResponse>, Status>,
}

/// A channel that connects when it is used, and notices when the other side is gone.
pub fn connect(executor: Uri) -> Channel {
    Endpoint::from(executor)
        .connect_timeout(Duration::from_secs(5))
        .http2_keep_alive_interval(Duration::from_secs(10))
        .keep_alive_timeout(Duration::from_secs(5))
        .keep_alive_while_idle(true)
        .connect_lazy()
}

impl Courier {
    /// A courier without letters.
    pub fn new(channel: Channel, metrics: PollerMetrics) -> Self {
        Self {
            client: ExecutorServiceClient::new(channel),
            outbox: Outbox::default(),
            flying: FuturesUnordered::new(),
            metrics,
        }
    }

    /// Takes a message along.
    pub fn put(&mut self, key: &BundleKey, message: Message) {
        let kind = match message.call {
            Call::Announce(_) => Kind::Announcement,
            Call::Report(_) => Kind::Report,
        };
        self.outbox.put(key, kind, message, clock::instant());
        self.metrics.waiting(self.outbox.len());
    }

    /// Drops what there is to say about a bundle.
    pub fn forget(&mut self, key: &BundleKey) {
        self.outbox.forget(key);
        self.metrics.waiting(self.outbox.len());
    }

    /// Something about the bundle has not been answered yet.
    pub fn tells(&self, key: &BundleKey) -> bool {
        self.outbox.tells(key)
    }

    /// An announcement of the bundle has not been answered yet.
    pub fn announces(&self, key: &BundleKey) -> bool {
        self.outbox.announces(key)
    }

    /// Sends and repeats until a message is through. Nothing is lost when this is dropped early.
    pub async fn next(&mut self) -> Delivered {
        loop {
            let room = AT_ONCE.saturating_sub(self.flying.len());
            for (key, letter) in self.outbox.take_ready(clock::instant(), room) {
                let sending = send(self.client.clone(), key, letter);
                self.flying.push(Box::pin(sending));
            }
            let wake = self.outbox.wake().filter(|_| self.flying.len() < AT_ONCE);
            tokio::select! {
                Some(flown) = self.flying.next() => {
                    if let Some(delivered) = self.landed(flown) {
                        return delivered;
                    }
                }
                () = sleep_until(wake) => {}
            }
        }
    }

    fn landed(&mut self, flown: Flown) -> Option<Delivered> {
        let Flown {
            key,
            letter,
            result,
        } = flown;
        let span = letter.content.span.clone();
        let _entered = span.enter();
        let announcement = letter.kind == Kind::Announcement;
        let now = clock::instant();
        let refused = result.is_err();
        let (verdict, words) = match result {
            Ok(None) => {
                debug!("Reported the poll");
                (None, String::new())
            }
            Ok(Some(response)) => {
                let verdict = response.verdict();
                info!(
                    reason = response.message,
                    "The executor answered: {}",
                    verdict_words(verdict)
                );
                self.metrics.announced(AnnounceResult::Answered(verdict));
                (Some(verdict), response.message)
            }
            Err(status) if class_of(status.code()) == Class::Rejected => {
                warn!(code = ?status.code(), reason = status.message(), "The executor refused what the poll found");
                self.metrics.announced(AnnounceResult::Refused);
                (None, status.message().to_owned())
            }
            Err(status) => {
                let jitter = Jitter::from_unit(clock::unit_random());
                let failures = self.outbox.failed(&key, now, jitter);
                self.metrics.announced(AnnounceResult::Unanswered);
                if failures == 1 {
                    warn!(code = ?status.code(), reason = status.message(), "The executor did not answer, trying again");
                } else {
                    debug!(code = ?status.code(), reason = status.message(), attempt = failures, "The executor did not answer");
                }
                return None;
            }
        };
        let newest = self.outbox.answered(&key, letter.id, now);
        self.metrics.waiting(self.outbox.len());
        newest.then_some(Delivered {
            key,
            verdict,
            announcement,
            refused,
            words,
        })
    }
}

async fn send(
    client: ExecutorServiceClient<Channel>,
    key: BundleKey,
    letter: Letter<Message>,
) -> Flown {
    let span = letter.content.span.clone();
    let call = call(client, letter.content.call.clone()).instrument(span);
    let result = tokio::time::timeout(DEADLINE, call)
        .await
        .unwrap_or_else(|_| Err(Status::deadline_exceeded("no answer in time")));
    Flown {
        key,
        letter,
        result,
    }
}

async fn call(
    mut client: ExecutorServiceClient<Channel>,
    call: Call,
) -> Result<Option<AnnounceTagResponse>, Status> {
    match call {
        Call::Announce(request) => {
            let response = client.announce_tag(with_context(request)).await?;
            Ok(Some(response.into_inner()))
        }
        Call::Report(request) => {
            client.report_poll(with_context(request)).await?;
            Ok(None)
        }
    }
}

fn with_context<T>(message: T) -> Request<T> {
    let mut request = Request::new(message);
    request.set_timeout(DEADLINE);
    inject(request.metadata_mut());
    request
}

async fn sleep_until(wake: Option<tokio::time::Instant>) {
    match wake {
        Some(wake) => tokio::time::sleep_until(wake).await,
        None => std::future::pending().await,
    }
}
