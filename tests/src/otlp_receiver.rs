//! Receives spans over OTLP/gRPC and prints each as a line of JSON, so that a test can read in the
//! log of a Pod what the operator exported.

use std::io::Write as _;

use anyhow::Context as _;
use opentelemetry_proto::tonic::collector::trace::v1::trace_service_server::{
    TraceService, TraceServiceServer,
};
use opentelemetry_proto::tonic::collector::trace::v1::{
    ExportTraceServiceRequest, ExportTraceServiceResponse,
};
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::trace::v1::ResourceSpans;
use serde_json::json;
use tonic::{Request, Response, Status};

/// The port OTLP/gRPC has by convention.
const LISTEN: &str = "0.0.0.0:4317";

struct Printer;

#[tonic::async_trait]
impl TraceService for Printer {
    async fn export(
        &self,
        request: Request<ExportTraceServiceRequest>,
    ) -> Result<Response<ExportTraceServiceResponse>, Status> {
        for spans in &request.get_ref().resource_spans {
            print(spans).map_err(|error| Status::internal(error.to_string()))?;
        }
        Ok(Response::new(ExportTraceServiceResponse::default()))
    }
}

fn print(spans: &ResourceSpans) -> std::io::Result<()> {
    let service = service_name(spans).unwrap_or_default();
    let mut out = std::io::stdout().lock();
    for span in spans.scope_spans.iter().flat_map(|scope| &scope.spans) {
        let line = json!({
            "service": service,
            "name": span.name,
            "trace": hex(&span.trace_id),
            "span": hex(&span.span_id),
            "parent": hex(&span.parent_span_id),
            // For those who look for what should not be there.
            "everything": format!("{span:?}"),
        });
        writeln!(out, "{line}")?;
    }
    out.flush()
}

fn service_name(spans: &ResourceSpans) -> Option<String> {
    let attributes = &spans.resource.as_ref()?.attributes;
    let attribute = attributes.iter().find(|a| a.key == "service.name")?;
    match attribute.value.as_ref()?.value.as_ref()? {
        Value::StringValue(name) => Some(name.clone()),
        _ => None,
    }
}

/// Ids have 8 or 16 bytes; a span without a parent names none.
fn hex(id: &[u8]) -> String {
    if id.is_empty() {
        return String::new();
    }
    let number = id
        .iter()
        .fold(0, |number: u128, byte| number << 8 | u128::from(*byte));
    format!("{number:0width$x}", width = 2 * id.len())
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> anyhow::Result<()> {
    tonic::transport::Server::builder()
        .add_service(TraceServiceServer::new(Printer))
        .serve(LISTEN.parse()?)
        .await
        .context("cannot receive spans")
}
