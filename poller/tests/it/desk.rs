//! `PollNow` over gRPC: what people type, what they get back, and in which trace it happens.

use std::net::SocketAddr;

use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tonic::service::Routes;
use tonic::{Code, Request};
use werf_poller::io::server::{self, Answer, Ask, Refusal};
use werf_proto::v1alpha1::poller_service_client::PollerServiceClient;
use werf_proto::v1alpha1::{PollNowRequest, PollNowResponse};
use werf_shared::grpc;

const TRACEPARENT: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

async fn serve(tasks: &mut JoinSet<()>) -> (SocketAddr, mpsc::Receiver<Ask>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (asks, asked) = mpsc::channel(server::QUEUE);
    let routes = Routes::new(server::service(asks));
    let served = grpc::serve(
        listener,
        routes,
        werf_proto::FILE_DESCRIPTOR_SET,
        &["werf.operator.v1alpha1.PollerService"],
        CancellationToken::new(),
    );
    tasks.spawn(async { served.await.unwrap() });
    (address, asked)
}

fn request(namespace: &str, name: &str) -> Request<PollNowRequest> {
    let mut request = Request::new(PollNowRequest {
        namespace: namespace.to_owned(),
        name: name.to_owned(),
    });
    let traceparent = TRACEPARENT.parse().unwrap();
    request.metadata_mut().insert("traceparent", traceparent);
    request
}

#[tokio::test]
async fn a_poll_asked_for_belongs_to_the_trace_of_whoever_asked() {
    let spans = werf_shared::testing::capture_spans();
    let mut tasks = JoinSet::new();
    let (address, mut asked) = serve(&mut tasks).await;
    tasks.spawn(async move {
        let ask = asked.recv().await.unwrap();
        let response = PollNowResponse {
            tag: "v1".to_owned(),
            ..PollNowResponse::default()
        };
        let verdict = None;
        ask.reply.send(Ok(Answer { response, verdict })).unwrap();
    });
    let mut client = PollerServiceClient::connect(format!("http://{address}"))
        .await
        .unwrap();
    let answer = client.poll_now(request("team", "app")).await.unwrap();
    assert_eq!(answer.into_inner().tag, "v1");
    let span = spans.find("poll").unwrap();
    let trace_id = span.span_context.trace_id().to_string();
    assert_eq!(trace_id, "0af7651916cd43dd8448eb211c80319c");
    assert_eq!(span.parent_span_id.to_string(), "b7ad6b7169203331");
}

#[tokio::test]
async fn what_cannot_be_polled_is_refused_with_the_reason() {
    let mut tasks = JoinSet::new();
    let (address, mut asked) = serve(&mut tasks).await;
    tasks.spawn(async move {
        while let Some(ask) = asked.recv().await {
            let refusal = match ask.key.name.as_str() {
                "resting" => Refusal::Resting(ask.key),
                "parked" => {
                    let until = "2026-01-01T00:00:01.5Z".parse().unwrap();
                    Refusal::Parked(ask.key, "ghcr.io".to_owned(), until)
                }
                _ => Refusal::Unknown(ask.key),
            };
            ask.reply.send(Err(refusal)).unwrap();
        }
    });
    let mut client = PollerServiceClient::connect(format!("http://{address}"))
        .await
        .unwrap();
    for (namespace, name, code, words) in [
        (
            "team",
            "app",
            Code::NotFound,
            "there is no WerfBundle team/app",
        ),
        (
            "team",
            "resting",
            Code::FailedPrecondition,
            "WerfBundle team/resting is suspended or being deleted",
        ),
        (
            "team",
            "parked",
            Code::ResourceExhausted,
            "registry ghcr.io asked for patience; WerfBundle team/parked is polled again as soon as it may be, not before 2026-01-01T00:00:01Z",
        ),
        (
            "team",
            "../app",
            Code::InvalidArgument,
            "name is not an object's name",
        ),
        (
            "team",
            "..",
            Code::InvalidArgument,
            "name is not an object's name",
        ),
        (
            "team.eu",
            "app",
            Code::InvalidArgument,
            "namespace is not a namespace's name",
        ),
        (
            "",
            "app",
            Code::InvalidArgument,
            "namespace is not a namespace's name",
        ),
    ] {
        let status = client.poll_now(request(namespace, name)).await.unwrap_err();
        assert_eq!((status.code(), status.message()), (code, words));
    }
}
