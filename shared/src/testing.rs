//! What the tests of this crate and of its users share: spans caught instead of exported.

use std::sync::{Arc, Mutex, PoisonError};

use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::trace::{SdkTracerProvider, SpanData, SpanExporter};
use tracing_subscriber::layer::SubscriberExt as _;

/// The spans that ended on this thread since [`capture_spans`], until this is dropped.
#[derive(Debug)]
#[must_use = "capturing ends when this is dropped"]
pub struct CapturedSpans {
    caught: Catcher,
    _provider: SdkTracerProvider,
    _subscriber: tracing::subscriber::DefaultGuard,
}

impl CapturedSpans {
    /// Every span that ended, in the order they ended.
    pub fn all(&self) -> Vec<SpanData> {
        self.caught.lock().clone()
    }

    /// The last ended span called `name`.
    pub fn find(&self, name: &str) -> Option<SpanData> {
        let caught = self.caught.lock();
        caught.iter().rfind(|span| span.name == name).cloned()
    }
}

/// Gives spans of this thread ids and keeps those that end, as [`telemetry`](crate::telemetry)
/// does for a whole process.
pub fn capture_spans() -> CapturedSpans {
    let caught = Catcher::default();
    let provider = SdkTracerProvider::builder()
        .with_simple_exporter(caught.clone())
        .build();
    let subscriber = tracing_subscriber::registry().with(crate::telemetry::spans(&provider));
    CapturedSpans {
        caught,
        _provider: provider,
        _subscriber: tracing::subscriber::set_default(subscriber),
    }
}

#[derive(Clone, Debug, Default)]
struct Catcher(Arc<Mutex<Vec<SpanData>>>);

impl Catcher {
    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<SpanData>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl SpanExporter for Catcher {
    async fn export(&self, batch: Vec<SpanData>) -> OTelSdkResult {
        self.lock().extend(batch);
        Ok(())
    }
}
