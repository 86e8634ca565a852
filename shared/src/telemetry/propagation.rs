//! How a trace crosses a process border: W3C trace context into and out of gRPC metadata and
//! plain strings (annotations, status). A bad or absent context is no error: a new trace begins.

use opentelemetry::Context;
use opentelemetry::propagation::{Extractor, Injector, TextMapPropagator};
use opentelemetry::trace::{SpanContext, TraceContextExt};
use opentelemetry_sdk::propagation::TraceContextPropagator;
use tonic::metadata::{MetadataKey, MetadataMap};
use tracing::Span;
use tracing_opentelemetry::OpenTelemetrySpanExt;

const TRACEPARENT: &str = "traceparent";

/// The current span's context as a `traceparent`; nothing outside any span.
pub fn current_traceparent() -> Option<String> {
    let span = current_span_context()?;
    Some(format!(
        "00-{}-{}-{:02x}",
        span.trace_id(),
        span.span_id(),
        span.trace_flags()
    ))
}

/// The id of the current trace, 32 hexadecimal digits; nothing outside any span.
pub fn current_trace_id() -> Option<String> {
    Some(current_span_context()?.trace_id().to_string())
}

/// Makes `span` a child of the span a stored `traceparent` names.
///
/// Has no effect on a span that was entered or asked for its ids already.
pub fn set_parent_from_traceparent(span: &Span, traceparent: Option<&str>) {
    if let Some(traceparent) = traceparent {
        set_parent(span, &TraceparentOnly(traceparent));
    }
}

/// Writes the current span's context into the metadata of an outgoing call.
pub fn inject(metadata: &mut MetadataMap) {
    let context = Span::current().context();
    TraceContextPropagator::new().inject_context(&context, &mut MetadataInjector(metadata));
}

/// Makes `span` a child of the span the caller sent in the metadata, if any.
///
/// Has no effect on a span that was entered or asked for its ids already.
pub fn parent_from_metadata(span: &Span, metadata: &MetadataMap) {
    set_parent(span, &MetadataExtractor(metadata));
}

fn current_span_context() -> Option<SpanContext> {
    let context = Span::current().context();
    let span = context.span().span_context().clone();
    span.is_valid().then_some(span)
}

fn set_parent(span: &Span, carrier: &dyn Extractor) {
    let context = TraceContextPropagator::new().extract_with_context(&Context::new(), carrier);
    if !context.span().span_context().is_valid() {
        return;
    }
    if let Err(error) = span.set_parent(context) {
        tracing::debug!(%error, "Cannot continue the trace of the caller");
    }
}

struct TraceparentOnly<'a>(&'a str);

impl Extractor for TraceparentOnly<'_> {
    fn get(&self, key: &str) -> Option<&str> {
        (key == TRACEPARENT).then_some(self.0)
    }

    fn keys(&self) -> Vec<&str> {
        vec![TRACEPARENT]
    }
}

struct MetadataExtractor<'a>(&'a MetadataMap);

impl Extractor for MetadataExtractor<'_> {
    fn get(&self, key: &str) -> Option<&str> {
        self.0.get(key)?.to_str().ok()
    }

    fn keys(&self) -> Vec<&str> {
        self.0
            .as_ref()
            .keys()
            .map(http::HeaderName::as_str)
            .collect()
    }
}

struct MetadataInjector<'a>(&'a mut MetadataMap);

impl Injector for MetadataInjector<'_> {
    fn set(&mut self, key: &str, value: String) {
        if let (Ok(key), Ok(value)) = (MetadataKey::from_bytes(key.as_bytes()), value.parse()) {
            self.0.insert(key, value);
        }
    }
}
