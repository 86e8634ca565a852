//! A span made under `telemetry::start` arrives at an OTLP receiver as what it is. A test binary
//! of its own: the subscriber is global to a process.

use std::net::SocketAddr;

use opentelemetry_proto::tonic::collector::trace::v1::trace_service_server::{
    TraceService, TraceServiceServer,
};
use opentelemetry_proto::tonic::collector::trace::v1::{
    ExportTraceServiceRequest, ExportTraceServiceResponse,
};
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, Span};
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tonic::transport::Server;
use tonic::transport::server::TcpIncoming;
use tonic::{Request, Response, Status};
use werf_shared::telemetry::{self, TelemetryArgs, TelemetryError, propagation};

const TRACEPARENT: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

struct Receiver(mpsc::UnboundedSender<ExportTraceServiceRequest>);

#[tonic::async_trait]
impl TraceService for Receiver {
    async fn export(
        &self,
        request: Request<ExportTraceServiceRequest>,
    ) -> Result<Response<ExportTraceServiceResponse>, Status> {
        self.0
            .send(request.into_inner())
            .map_err(|_| Status::unavailable("nobody is listening"))?;
        Ok(Response::new(ExportTraceServiceResponse::default()))
    }
}

async fn receiver(
    tasks: &mut JoinSet<()>,
) -> anyhow::Result<(
    SocketAddr,
    mpsc::UnboundedReceiver<ExportTraceServiceRequest>,
)> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    let (sender, received) = mpsc::unbounded_channel();
    let server = Server::builder()
        .add_service(TraceServiceServer::new(Receiver(sender)))
        .serve_with_incoming(TcpIncoming::from(listener));
    tasks.spawn(async { server.await.expect("the receiver keeps serving") });
    Ok((address, received))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn spans_arrive_with_service_name_and_parent() {
    let mut tasks = JoinSet::new();
    let (address, mut received) = receiver(&mut tasks).await.unwrap();
    let args = TelemetryArgs {
        log_level: "warn".to_owned(),
        log_format: Some("json".to_owned()),
        otlp_endpoint: Some(format!("http://{address}")),
        otel_service_name: None,
    };
    let guard = telemetry::start("executor", &args).unwrap();
    let again = telemetry::start("executor", &args);
    assert!(matches!(again, Err(TelemetryError::AlreadyStarted { .. })));

    let admit = tracing::info_span!("admit", tag = "1.2.3");
    propagation::set_parent_from_traceparent(&admit, Some(TRACEPARENT));
    let trace_id = admit.in_scope(|| {
        tracing::info_span!("create_job").in_scope(|| tracing::info!("Created"));
        propagation::current_trace_id()
    });
    drop(admit);
    assert_eq!(
        trace_id.as_deref(),
        Some("0af7651916cd43dd8448eb211c80319c")
    );
    guard.shutdown().await;

    let mut batches = Vec::new();
    while let Ok(request) = received.try_recv() {
        batches.extend(request.resource_spans);
    }
    assert_eq!(service_names(&batches), ["executor"]);
    let spans: Vec<Span> = batches
        .into_iter()
        .flat_map(|batch| batch.scope_spans)
        .flat_map(|scope| scope.spans)
        .collect();
    let names: Vec<&str> = spans.iter().map(|span| span.name.as_str()).collect();
    assert_eq!(names, ["create_job", "admit"], "nothing but our own spans");
    let (create_job, admit) = (&spans[0], &spans[1]);
    assert_eq!(hex(&admit.trace_id), "0af7651916cd43dd8448eb211c80319c");
    assert_eq!(hex(&admit.parent_span_id), "b7ad6b7169203331");
    assert_eq!(create_job.trace_id, admit.trace_id);
    assert_eq!(create_job.parent_span_id, admit.span_id);
    assert!(
        admit
            .attributes
            .iter()
            .any(|attribute| attribute.key == "tag")
    );
}

fn service_names(batches: &[ResourceSpans]) -> Vec<String> {
    batches
        .iter()
        .filter_map(|batch| batch.resource.as_ref())
        .flat_map(|resource| &resource.attributes)
        .filter(|attribute| attribute.key == "service.name")
        .filter_map(|attribute| attribute.value.clone()?.value)
        .filter_map(|value| match value {
            Value::StringValue(name) => Some(name),
            _ => None,
        })
        .collect()
}

fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _infallible = write!(text, "{byte:02x}");
        text
    })
}
