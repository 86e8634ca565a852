//! An executor that answers what a test says, and remembers what it was told.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio_stream::wrappers::TcpListenerStream;
use tonic::transport::{Channel, Server};
use tonic::{Code, Request, Response, Status};
use werf_poller::io::announce::connect;
use werf_proto::v1alpha1::announce_tag_response::Verdict;
use werf_proto::v1alpha1::executor_service_server::{ExecutorService, ExecutorServiceServer};
use werf_proto::v1alpha1::{
    AnnounceTagRequest, AnnounceTagResponse, ConvergeRequest, ConvergeResponse, ReportPollRequest,
    ReportPollResponse, WatchBundleRequest, WatchBundleResponse,
};

/// What the executor was told.
#[derive(Clone, Debug)]
pub(crate) enum Told {
    Tag(AnnounceTagRequest, Option<String>),
    Poll(ReportPollRequest),
}

type Answers = Arc<Mutex<Vec<Result<Verdict, Code>>>>;

pub(crate) struct Executor {
    address: SocketAddr,
    pub(crate) told: mpsc::UnboundedReceiver<Told>,
    answers: Answers,
    _serving: JoinSet<()>,
}

struct Service {
    told: mpsc::UnboundedSender<Told>,
    answers: Answers,
}

impl Executor {
    pub(crate) async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (sender, told) = mpsc::unbounded_channel();
        let answers = Answers::default();
        let service = ExecutorServiceServer::new(Service {
            told: sender,
            answers: Arc::clone(&answers),
        });
        let mut serving = JoinSet::new();
        serving.spawn(async move {
            let incoming = TcpListenerStream::new(listener);
            let server = Server::builder().add_service(service);
            server.serve_with_incoming(incoming).await.unwrap();
        });
        Self {
            address,
            told,
            answers,
            _serving: serving,
        }
    }

    pub(crate) fn channel(&self) -> Channel {
        connect(format!("http://{}", self.address).parse().unwrap())
    }

    /// Answers to the next calls, in order; after them everything is accepted.
    pub(crate) fn will_answer(&self, answers: &[Result<Verdict, Code>]) {
        self.answers.lock().unwrap().extend_from_slice(answers);
    }

    pub(crate) async fn next_tag(&mut self) -> AnnounceTagRequest {
        match self.told.recv().await.unwrap() {
            Told::Tag(request, _) => request,
            Told::Poll(report) => panic!("not a tag: {report:?}"),
        }
    }

    pub(crate) async fn next_report(&mut self) -> ReportPollRequest {
        match self.told.recv().await.unwrap() {
            Told::Poll(report) => report,
            Told::Tag(request, _) => panic!("not a report: {request:?}"),
        }
    }

    pub(crate) fn was_told_nothing_more(&mut self) -> bool {
        self.told.try_recv().is_err()
    }
}

impl Service {
    fn answer(&self) -> Result<Verdict, Status> {
        let mut answers = self.answers.lock().unwrap();
        if answers.is_empty() {
            return Ok(Verdict::Accepted);
        }
        answers
            .remove(0)
            .map_err(|code| Status::new(code, "as the test says"))
    }
}

#[tonic::async_trait]
impl ExecutorService for Service {
    type WatchBundleStream = tokio_stream::Empty<Result<WatchBundleResponse, Status>>;

    async fn announce_tag(
        &self,
        request: Request<AnnounceTagRequest>,
    ) -> Result<Response<AnnounceTagResponse>, Status> {
        let traceparent = request.metadata().get("traceparent");
        let traceparent = traceparent.map(|value| value.to_str().unwrap().to_owned());
        let told = Told::Tag(request.into_inner(), traceparent);
        self.told.send(told).unwrap();
        Ok(Response::new(AnnounceTagResponse {
            verdict: self.answer()?.into(),
            message: "as the test says".to_owned(),
        }))
    }

    async fn report_poll(
        &self,
        request: Request<ReportPollRequest>,
    ) -> Result<Response<ReportPollResponse>, Status> {
        self.told.send(Told::Poll(request.into_inner())).unwrap();
        self.answer()?;
        Ok(Response::new(ReportPollResponse {}))
    }

    async fn converge(
        &self,
        _: Request<ConvergeRequest>,
    ) -> Result<Response<ConvergeResponse>, Status> {
        Err(Status::unimplemented("not for pollers"))
    }

    async fn watch_bundle(
        &self,
        _: Request<WatchBundleRequest>,
    ) -> Result<Response<Self::WatchBundleStream>, Status> {
        Err(Status::unimplemented("not for pollers"))
    }
}
