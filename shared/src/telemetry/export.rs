//! Sends spans over OTLP/gRPC and says so in the log when they do not arrive. A lost span is never
//! more than a warning.

use std::time::Duration;

use opentelemetry_otlp::{ExporterBuildError, SpanExporter, WithExportConfig as _};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::trace::SpanData;
use tonic::transport::Uri;

use crate::error::chain;

/// A receiver that does not answer must not pile up spans behind it.
const TIMEOUT: Duration = Duration::from_secs(5);

/// An OTLP exporter whose failures are logged: one line per batch, so at most one in 5 s.
#[derive(Debug)]
pub(super) struct LoudExporter {
    inner: SpanExporter,
    endpoint: String,
}

impl LoudExporter {
    /// Connects lazily, so that a receiver may come up later than this process.
    pub(super) fn connect(endpoint: &Uri) -> Result<Self, ExporterBuildError> {
        let endpoint = endpoint.to_string();
        let inner = SpanExporter::builder()
            .with_tonic()
            .with_endpoint(&endpoint)
            .with_timeout(TIMEOUT)
            .build()?;
        Ok(Self { inner, endpoint })
    }
}

impl opentelemetry_sdk::trace::SpanExporter for LoudExporter {
    async fn export(&self, batch: Vec<SpanData>) -> OTelSdkResult {
        let spans = batch.len();
        let sent = self.inner.export(batch).await;
        if let Err(error) = &sent {
            tracing::warn!(
                otlp.endpoint = self.endpoint,
                spans,
                error = chain(error),
                "Lost spans, the receiver did not take them"
            );
        }
        sent
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.inner.shutdown_with_timeout(timeout)
    }

    fn force_flush(&self) -> OTelSdkResult {
        self.inner.force_flush()
    }

    fn set_resource(&mut self, resource: &Resource) {
        self.inner.set_resource(resource);
    }
}
