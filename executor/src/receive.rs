//! The gRPC side: parse, admit, store, answer. What is stored is all that counts; the answer only
//! says that it is.

use std::time::Duration;

use kube::runtime::reflector::{ObjectRef, Store};
use kube::{Client, ResourceExt};
use tokio_util::sync::CancellationToken;
use tonic::metadata::MetadataMap;
use tonic::{Request, Response, Status};
use tracing::{Instrument, Span, info, info_span};
use werf_proto::v1alpha1 as proto;
use werf_proto::v1alpha1::executor_service_server::ExecutorService;
use werf_shared::bundle::{BundleKey, WerfBundle, WerfBundleStatus};
use werf_shared::clock;
use werf_shared::error::chain;
use werf_shared::tag::Tag;
use werf_shared::telemetry::propagation;

use crate::converge::trace::trace_id;
use crate::decide::admit::{self, Admission};
use crate::decide::poll_report;
use crate::decide::request::{self, Became, Decision};
use crate::decide::rollback;
use crate::io::api::ApiError;
use crate::io::bundles;
use crate::io::events::{self, Reason, Recorder};
use crate::io::just_stored::JustStored;
use crate::io::watched::Watched;
use crate::seeded::{self, Bug};

mod parse;
mod watching;

/// How often a write that was overtaken is decided anew before the caller is asked to come back.
const TRIES: usize = 5;

/// How long `Converge` waits for its Job, within the server's limit for a call.
const CONVERGE_WAIT: Duration = Duration::from_secs(8);

/// How often a bundle is looked at for a waiting caller.
const LOOK: Duration = Duration::from_millis(100);

/// Serves the executor's calls.
pub struct Receiver {
    client: Client,
    recorder: Recorder,
    bundles: Store<Watched>,
    just_stored: JustStored,
    shutdown: CancellationToken,
}

impl Receiver {
    /// A receiver that stores through `client`, keeps in `just_stored` what it stored, tells people
    /// through `recorder` and answers waiting callers from `bundles`.
    pub fn new(
        client: Client,
        recorder: Recorder,
        bundles: Store<Watched>,
        just_stored: JustStored,
        shutdown: CancellationToken,
    ) -> Self {
        Self {
            client,
            recorder,
            bundles,
            just_stored,
            shutdown,
        }
    }

    async fn announce(
        &self,
        key: BundleKey,
        mut announcement: admit::Announcement,
    ) -> Result<proto::AnnounceTagResponse, Status> {
        use proto::announce_tag_response::Verdict;
        announcement.traceparent = propagation::current_traceparent();
        for _ in 0..TRIES {
            let mut bundle = bundles::get(&self.client, &key)
                .await
                .map_err(|error| failed(&error))?;
            if let Some(status) = bundle.as_mut().and_then(|bundle| bundle.status.as_mut())
                && seeded::has(Bug::RollbackHoldIgnored)
            {
                status.rollback = None;
            }
            if let Some(uid) = bundle.as_ref().and_then(ResourceExt::uid)
                && seeded::has(Bug::NameInsteadOfUid)
            {
                announcement.uid = uid;
                announcement.generation = 1;
            }
            let admission = admit::admit(bundle.as_ref(), &announcement, clock::now());
            let (status, verdict, message) = match admission {
                Admission::Accept(status) => (Some(status), Verdict::Accepted, "stored"),
                Admission::Refresh(status) => {
                    (Some(status), Verdict::AlreadyKnown, "announced before")
                }
                Admission::AlreadyKnown => (None, Verdict::AlreadyKnown, "announced before"),
                Admission::NotNewer => (None, Verdict::NotNewer, "a higher tag is known"),
                Admission::HeldBack(status) => {
                    (Some(status), Verdict::NotNewer, "a higher tag is known")
                }
                Admission::UnknownBundle => (None, Verdict::UnknownBundle, "no such bundle"),
                Admission::Suspended => (None, Verdict::Suspended, "the bundle is suspended"),
            };
            if let (Some(bundle), Some(status)) = (bundle, status) {
                let ended = ended(&bundle, &status);
                let about = ended.is_some().then(|| bundle.clone());
                match self.store_wish(bundle, *status).await {
                    Ok(()) => {
                        if let Some(about) = about {
                            self.tell_end(&about, ended).await;
                        }
                    }
                    Err(ApiError::Conflict { .. }) => continue,
                    Err(error) => return Err(failed(&error)),
                }
            }
            if verdict == Verdict::Accepted {
                info!(digest = %announcement.digest, "New tag wanted");
            }
            return Ok(proto::AnnounceTagResponse {
                verdict: verdict.into(),
                message: message.to_owned(),
            });
        }
        Err(overtaken())
    }

    async fn report(&self, key: BundleKey, report: poll_report::Report) -> Result<(), Status> {
        for _ in 0..TRIES {
            let Some(bundle) = bundles::get(&self.client, &key)
                .await
                .map_err(|error| failed(&error))?
            else {
                return Ok(());
            };
            let Some(status) = poll_report::apply(&bundle, &report, clock::now()) else {
                return Ok(());
            };
            match bundles::store_status(&self.client, &bundle, status).await {
                Ok(_) => return Ok(()),
                Err(ApiError::Conflict { .. }) => {}
                Err(error) => return Err(failed(&error)),
            }
        }
        Err(overtaken())
    }

    async fn converge_now(
        &self,
        key: BundleKey,
        mut wish: request::Request,
    ) -> Result<proto::ConvergeResponse, Status> {
        wish.traceparent = propagation::current_traceparent();
        for _ in 0..TRIES {
            let found = bundles::get(&self.client, &key)
                .await
                .map_err(|error| failed(&error))?;
            let bundle =
                found.ok_or_else(|| Status::not_found(format!("there is no WerfBundle {key}")))?;
            let status = match request::decide(&bundle, &wish, clock::now()) {
                Decision::Refused(why) => return Err(Status::failed_precondition(why)),
                Decision::Blocked(why) => return Err(Status::failed_precondition(why)),
                Decision::AlreadyRunning => {
                    return Ok(watching::answer(
                        &bundle,
                        proto::converge_response::Result::AlreadyRunning,
                    ));
                }
                Decision::Store(status) => status,
            };
            let ended = ended(&bundle, &status);
            match bundles::store_status(&self.client, &bundle, *status).await {
                Ok(stored) => {
                    self.just_stored.keep(&stored);
                    info!(force = wish.force, "Deployment requested");
                    self.tell_end(&bundle, ended).await;
                    return self.await_run(&key, &stored).await;
                }
                Err(ApiError::Conflict { .. }) => {}
                Err(error) => return Err(failed(&error)),
            }
        }
        Err(overtaken())
    }

    /// Stores what was announced; only then it is acknowledged.
    async fn store_wish(
        &self,
        mut bundle: WerfBundle,
        status: WerfBundleStatus,
    ) -> Result<(), ApiError> {
        let client = &self.client;
        if seeded::has(Bug::AcknowledgedBeforeStored) {
            let client = client.clone();
            #[expect(clippy::disallowed_methods, reason = "a bug on purpose")]
            tokio::spawn(async move { bundles::store_status(&client, &bundle, status).await });
            return Ok(());
        }
        if seeded::has(Bug::EtagBeforeTag) {
            let mut etag_alone = bundle.status.clone().unwrap_or_default();
            etag_alone.last_etag.clone_from(&status.last_etag);
            bundle = bundles::store_status(client, &bundle, etag_alone).await?;
        }
        let stored = bundles::store_status(client, &bundle, status).await?;
        self.just_stored.keep(&stored);
        Ok(())
    }

    async fn tell_end(&self, bundle: &WerfBundle, ended: Option<String>) {
        if let Some(note) = ended {
            info!(reason = %note, "Rollback ended");
            events::tell(&self.recorder, bundle, None, Reason::RollbackEnded, &note).await;
        }
    }

    /// Waits until a pass has made something of the request stored in `stored`.
    async fn await_run(
        &self,
        key: &BundleKey,
        stored: &WerfBundle,
    ) -> std::result::Result<proto::ConvergeResponse, Status> {
        use proto::converge_response::Result;
        let waited = tokio::time::timeout(CONVERGE_WAIT, async {
            loop {
                // Never from the watch: it may still show the bundle as it was before the request.
                let now = bundles::get(&self.client, key)
                    .await
                    .map_err(|error| failed(&error))?;
                let now = now.ok_or_else(|| Status::aborted("the bundle was deleted"))?;
                let result = match request::became(stored, &now) {
                    Some(Became::CannotPrepare(why)) => {
                        return Err(Status::failed_precondition(why));
                    }
                    Some(Became::Started) => Result::Started,
                    Some(Became::AlreadyApplied) => Result::AlreadyApplied,
                    Some(Became::Queued) => Result::Queued,
                    None => {
                        tokio::time::sleep(LOOK).await;
                        continue;
                    }
                };
                return Ok(watching::answer(&now, result));
            }
        });
        waited.await.unwrap_or_else(|_| {
            Ok(watching::answer(
                stored,
                proto::converge_response::Result::Queued,
            ))
        })
    }

    fn seen(&self, key: &BundleKey) -> Option<WerfBundle> {
        let reference = ObjectRef::new(&key.name).within(&key.namespace);
        self.bundles.get(&reference)?.0.clone().ok()
    }
}

#[tonic::async_trait]
impl ExecutorService for Receiver {
    type WatchBundleStream = watching::States;

    async fn announce_tag(
        &self,
        request: Request<proto::AnnounceTagRequest>,
    ) -> Result<Response<proto::AnnounceTagResponse>, Status> {
        let (metadata, _, message) = request.into_parts();
        let (key, announcement) = parse::announcement(message)?;
        let span = admit(&key, Some(announcement.tag.as_str()), &metadata);
        let answer = Box::pin(self.announce(key, announcement))
            .instrument(span)
            .await?;
        Ok(Response::new(answer))
    }

    async fn report_poll(
        &self,
        request: Request<proto::ReportPollRequest>,
    ) -> Result<Response<proto::ReportPollResponse>, Status> {
        let (metadata, _, message) = request.into_parts();
        let (key, report) = parse::report(message)?;
        let span = admit(&key, None, &metadata);
        self.report(key, report).instrument(span).await?;
        Ok(Response::new(proto::ReportPollResponse {}))
    }

    async fn converge(
        &self,
        request: Request<proto::ConvergeRequest>,
    ) -> Result<Response<proto::ConvergeResponse>, Status> {
        let (metadata, _, message) = request.into_parts();
        let (key, wish) = parse::wish(message)?;
        let span = admit(&key, wish.tag.as_ref().map(Tag::as_str), &metadata);
        let answer = self.converge_now(key, wish).instrument(span).await?;
        Ok(Response::new(answer))
    }

    async fn watch_bundle(
        &self,
        request: Request<proto::WatchBundleRequest>,
    ) -> Result<Response<Self::WatchBundleStream>, Status> {
        let request = request.into_inner();
        let key = parse::key(request.namespace, request.name)?;
        if self.seen(&key).is_none() {
            return Err(Status::not_found(format!("there is no WerfBundle {key}")));
        }
        let (client, bundles) = (self.client.clone(), self.bundles.clone());
        let stream = watching::stream(client, bundles, key, self.shutdown.clone());
        Ok(Response::new(stream))
    }
}

/// What people are told if this status ends a rollback.
fn ended(bundle: &WerfBundle, status: &WerfBundleStatus) -> Option<String> {
    rollback::ended(bundle.status.as_ref()?, status)
}

/// The span of a call, in the trace of its caller. Made after the message was parsed, so that nothing
/// unchecked becomes a field of it.
fn admit(key: &BundleKey, tag: Option<&str>, metadata: &MetadataMap) -> Span {
    let span = info_span!(
        "admit",
        bundle.namespace = key.namespace,
        bundle.name = key.name,
        tag
    );
    propagation::parent_from_metadata(&span, metadata);
    span
}

/// Whatever the apiserver says to us, the caller did nothing wrong and may ask again.
fn failed(error: &ApiError) -> Status {
    Status::unavailable(chain(error))
}

fn overtaken() -> Status {
    Status::aborted("the bundle is being changed by others, try again")
}

/// The trace id of a bundle's current run.
fn trace_id_of(bundle: &WerfBundle) -> String {
    let status = bundle.status.as_ref();
    status
        .and_then(|status| status.current_run.as_ref())
        .and_then(|run| run.traceparent.as_deref())
        .and_then(trace_id)
        .unwrap_or_default()
        .to_owned()
}
