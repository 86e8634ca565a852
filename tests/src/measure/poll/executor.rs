//! An executor that takes everything and does nothing, and counts the calls.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio_stream::wrappers::TcpListenerStream;
use tonic::transport::Server;
use tonic::{Request, Response, Status};
use werf_proto::v1alpha1::announce_tag_response::Verdict;
use werf_proto::v1alpha1::executor_service_server::{ExecutorService, ExecutorServiceServer};
use werf_proto::v1alpha1::{
    AnnounceTagRequest, AnnounceTagResponse, ConvergeRequest, ConvergeResponse, ReportPollRequest,
    ReportPollResponse, WatchBundleRequest, WatchBundleResponse,
};

struct Silent {
    calls: Arc<AtomicU64>,
}

/// Serves on a port of its own; returns the port and the count of calls.
pub(super) async fn serve(serving: &mut JoinSet<()>) -> anyhow::Result<(u16, Arc<AtomicU64>)> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let port = listener.local_addr()?.port();
    let calls = Arc::<AtomicU64>::default();
    let service = ExecutorServiceServer::new(Silent {
        calls: Arc::clone(&calls),
    });
    serving.spawn(async move {
        let incoming = TcpListenerStream::new(listener);
        let server = Server::builder().add_service(service);
        // It ends with the measurement only.
        let _ended = server.serve_with_incoming(incoming).await;
    });
    Ok((port, calls))
}

#[tonic::async_trait]
impl ExecutorService for Silent {
    type WatchBundleStream = tokio_stream::Empty<Result<WatchBundleResponse, Status>>;

    async fn announce_tag(
        &self,
        _: Request<AnnounceTagRequest>,
    ) -> Result<Response<AnnounceTagResponse>, Status> {
        self.calls.fetch_add(1, Ordering::Relaxed);
        Ok(Response::new(AnnounceTagResponse {
            verdict: Verdict::Accepted.into(),
            message: String::new(),
        }))
    }

    async fn report_poll(
        &self,
        _: Request<ReportPollRequest>,
    ) -> Result<Response<ReportPollResponse>, Status> {
        self.calls.fetch_add(1, Ordering::Relaxed);
        Ok(Response::new(ReportPollResponse {}))
    }

    async fn converge(
        &self,
        _: Request<ConvergeRequest>,
    ) -> Result<Response<ConvergeResponse>, Status> {
        self.calls.fetch_add(1, Ordering::Relaxed);
        Err(Status::unimplemented("nothing is deployed here"))
    }

    async fn watch_bundle(
        &self,
        _: Request<WatchBundleRequest>,
    ) -> Result<Response<Self::WatchBundleStream>, Status> {
        self.calls.fetch_add(1, Ordering::Relaxed);
        Err(Status::unimplemented("nothing is deployed here"))
    }
}
