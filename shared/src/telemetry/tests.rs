//! What does somebody who reads the log see?

use std::io;
use std::sync::{Arc, Mutex};

use rstest::rstest;
use serde_json::Value;

use super::*;

#[derive(Clone, Default)]
struct Output(Arc<Mutex<Vec<u8>>>);

impl io::Write for Output {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// What the log shows of `work` at `level`.
fn logged(format: LogFormat, level: &str, work: impl FnOnce()) -> String {
    let output = Output::default();
    let (lines, writer) = LineQueue::start(output.clone()).unwrap();
    let provider = provider("test".to_owned(), None).unwrap();
    let filter = EnvFilter::builder().parse(level).unwrap();
    let subscriber = subscriber(&provider, filter, format, writer, false);
    tracing::subscriber::with_default(subscriber, work);
    lines.flush(FLUSH);
    let written = output.0.lock().unwrap().clone();
    String::from_utf8(written).unwrap()
}

fn poll() {
    let span = tracing::info_span!("poll", bundle.name = "shop", tag = tracing::field::Empty);
    let _entered = span.enter();
    span.record("tag", "1.2.3");
    let announce = tracing::info_span!("announce", attempt = 2).entered();
    tracing::warn!(attempt = 3, slow = true, "Executor \"away\"\nfor now");
    drop(announce);
}

#[test]
fn a_json_line_is_flat_and_leads_to_its_trace() {
    let text = logged(LogFormat::Json, "info", poll);
    assert_eq!(text.lines().count(), 1, "{text}");
    assert!(text.starts_with(r#"{"timestamp":"20"#), "{text}");
    let line: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(line["message"], "Executor \"away\"\nfor now");
    assert_eq!(line["level"], "WARN");
    assert_eq!(line["target"], "werf_shared::telemetry::tests");
    assert_eq!(line["span"], "announce");
    assert_eq!(line["bundle.name"], "shop");
    assert_eq!(line["tag"], "1.2.3");
    assert_eq!(line["slow"], true);
    assert_eq!(line["attempt"], 3, "the event's own field wins");
    assert_eq!(line["trace_id"].as_str().map(str::len), Some(32));
    let time = line["timestamp"].as_str().unwrap();
    assert!(time.parse::<jiff::Timestamp>().is_ok(), "{time}");
}

#[test]
fn a_text_line_ends_with_its_trace() {
    let text = logged(LogFormat::Text, "info", poll);
    assert!(text.contains("bundle.name=\"shop\""), "{text}");
    let trace_id = text.trim_end().rsplit_once("trace_id=").unwrap().1;
    assert_eq!(trace_id.len(), 32, "{text}");
}

#[test]
fn spans_keep_their_fields_and_trace_when_only_errors_are_logged() {
    let text = logged(LogFormat::Json, "error", || {
        poll();
        tracing::info_span!("admit", tag = "1.2.4").in_scope(|| tracing::error!("Broken"));
    });
    assert_eq!(text.lines().count(), 1, "{text}");
    let line: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(line["tag"], "1.2.4");
    assert!(line["trace_id"].is_string());
}

#[rstest]
#[case::json(LogFormat::Json)]
#[case::text(LogFormat::Text)]
fn a_line_outside_any_span_names_no_trace(#[case] format: LogFormat) {
    let text = logged(format, "info", || tracing::info!("Started"));
    assert!(text.contains("Started"), "{text}");
    assert!(!text.contains("trace_id"), "{text}");
}

#[test]
fn directives_choose_what_is_logged_per_part() {
    let text = logged(LogFormat::Text, "off,werf_shared=debug", || {
        tracing::debug!("Ours");
        tracing::error!(target: "hyper", "Theirs");
    });
    assert!(text.contains("Ours") && !text.contains("Theirs"), "{text}");
}

#[rstest]
#[case("http://collector:4317", true)]
#[case("http://[::1]:4317/", true)]
#[case("", true)]
#[case("https://collector:4317", false)]
#[case("collector:4317", false)]
#[case("/collector", false)]
#[case("http://", false)]
fn only_plain_http_endpoints_are_taken(#[case] endpoint: &str, #[case] taken: bool) {
    let args = TelemetryArgs {
        otlp_endpoint: Some(endpoint.to_owned()),
        ..args("info")
    };
    assert_eq!(args.endpoint().is_ok(), taken);
}

fn args(log_level: &str) -> TelemetryArgs {
    TelemetryArgs {
        log_level: log_level.to_owned(),
        log_format: None,
        otlp_endpoint: None,
        otel_service_name: None,
    }
}

#[rstest]
#[case("", true)]
#[case("info", true)]
#[case("OFF", true)]
#[case("info,werf_poller=debug", true)]
#[case("warn,[poll{bundle.name=shop}]=trace", true)]
#[case("infoo", false)]
#[case("info,", true)]
#[case("werf_poller", false)]
#[case("werf_poller=loud", false)]
fn a_misspelt_level_is_refused(#[case] level: &str, #[case] taken: bool) {
    assert_eq!(args(level).log_filter().is_ok(), taken);
}

#[test]
fn spans_that_cannot_be_sent_are_a_warning() {
    let text = logged(LogFormat::Json, "info", || {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        runtime.block_on(async {
            let nobody = Uri::from_static("http://127.0.0.1:1");
            let exporter = LoudExporter::connect(&nobody).unwrap();
            let sent = opentelemetry_sdk::trace::SpanExporter::export(&exporter, Vec::new()).await;
            assert!(sent.is_err());
        });
    });
    let line: Value = serde_json::from_str(text.lines().last().unwrap()).unwrap();
    assert_eq!(line["level"], "WARN", "{text}");
    assert_eq!(line["otlp.endpoint"], "http://127.0.0.1:1/");
    assert!(
        line["error"]
            .as_str()
            .is_some_and(|error| !error.is_empty())
    );
}
