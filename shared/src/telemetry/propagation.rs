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
    if !carrier.get(TRACEPARENT).is_some_and(is_well_formed) {
        return;
    }
    let context = TraceContextPropagator::new().extract_with_context(&Context::new(), carrier);
    if !context.span().span_context().is_valid() {
        return;
    }
    if let Err(error) = span.set_parent(context) {
        tracing::debug!(%error, "Cannot continue the trace of the caller");
    }
}

/// The shape W3C prescribes; the propagator itself also takes short ids and makes up the rest.
fn is_well_formed(traceparent: &str) -> bool {
    let mut parts = traceparent.split('-');
    let shaped = [2, 32, 16, 2].into_iter().all(|length| {
        parts.next().is_some_and(|part| {
            part.len() == length
                && part
                    .bytes()
                    .all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
        })
    });
    // Versions after 00 may add parts.
    shaped && (parts.next().is_none() || !traceparent.starts_with("00"))
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

#[cfg(test)]
mod tests {
    use opentelemetry::trace::SpanId;

    use super::*;
    use crate::testing::capture_spans;

    const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";
    const PARENT: &str = "b7ad6b7169203331";

    #[test]
    fn outside_any_span_there_is_no_trace_to_tell() {
        let _spans = capture_spans();
        assert_eq!(current_traceparent(), None);
        assert_eq!(current_trace_id(), None);
        let mut metadata = MetadataMap::new();
        inject(&mut metadata);
        assert!(metadata.is_empty());
    }

    #[test]
    fn a_call_carries_the_trace_to_the_other_side() {
        let spans = capture_spans();
        let mut metadata = MetadataMap::new();
        let sent = tracing::info_span!("announce").in_scope(|| {
            inject(&mut metadata);
            current_trace_id()
        });

        let admit = tracing::info_span!("admit");
        parent_from_metadata(&admit, &metadata);
        let received = admit.in_scope(current_trace_id);
        drop(admit);

        assert!(sent.is_some());
        assert_eq!(received, sent);
        let announce = spans.find("announce").unwrap().span_context;
        assert_eq!(
            spans.find("admit").unwrap().parent_span_id,
            announce.span_id()
        );
    }

    #[test]
    fn a_stored_traceparent_continues_its_trace() {
        let spans = capture_spans();
        let span = tracing::info_span!("collect_logs");
        set_parent_from_traceparent(&span, Some(&format!("00-{TRACE}-{PARENT}-01")));
        let stored = span.in_scope(current_traceparent).unwrap();
        drop(span);

        assert!(stored.starts_with(&format!("00-{TRACE}-")), "{stored}");
        assert!(stored.ends_with("-01"), "{stored}");
        let ended = spans.find("collect_logs").unwrap();
        assert_eq!(ended.parent_span_id, SpanId::from_hex(PARENT).unwrap());
    }

    #[rstest::rstest]
    #[case::absent(None)]
    #[case::empty(Some(""))]
    #[case::nonsense(Some("00-nonsense"))]
    #[case::zeros(Some("00-00000000000000000000000000000000-0000000000000000-01"))]
    #[case::line_break(Some("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01\n"))]
    #[case::upper_case(Some("00-0AF7651916CD43DD8448EB211C80319C-B7AD6B7169203331-01"))]
    #[case::version_ff(Some("ff-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"))]
    #[case::short_id(Some("00-0af7651916cd43dd8448eb211c80319c-b7ad6b71-01"))]
    fn a_bad_traceparent_begins_a_new_trace(#[case] traceparent: Option<&str>) {
        let spans = capture_spans();
        let span = tracing::info_span!("admit");
        set_parent_from_traceparent(&span, traceparent);
        let trace_id = span.in_scope(current_trace_id).unwrap();
        drop(span);

        assert_eq!(trace_id.len(), 32);
        assert_eq!(spans.find("admit").unwrap().parent_span_id, SpanId::INVALID);
    }

    #[test]
    fn a_caller_with_binary_rubbish_in_its_header_is_served() {
        let spans = capture_spans();
        let mut headers = http::HeaderMap::new();
        headers.insert(
            TRACEPARENT,
            http::HeaderValue::from_bytes(b"\xff\xfe").unwrap(),
        );
        let span = tracing::info_span!("admit");
        parent_from_metadata(&span, &MetadataMap::from_headers(headers));
        drop(span.entered());
        assert_eq!(spans.find("admit").unwrap().parent_span_id, SpanId::INVALID);
    }
}
