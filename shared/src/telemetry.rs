//! Where do log lines and spans go? Sets up the one subscriber of a process: log lines on standard
//! output, spans to an OTLP receiver if there is one. Trace ids exist either way.

mod export;
mod lines;
pub mod propagation;
mod write;

use std::fmt;
use std::io::IsTerminal as _;
use std::str::FromStr;
use std::time::Duration;

use opentelemetry::trace::TracerProvider as _;
use opentelemetry_otlp::ExporterBuildError;
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::{Sampler, SdkTracerProvider};
use tonic::transport::Uri;
use tracing::{Level, Metadata, Subscriber};
use tracing_subscriber::filter::{self, EnvFilter, FilterExt as _, LevelFilter};
use tracing_subscriber::fmt::format::{DefaultFields, JsonFields};
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{Layer, Registry};

use crate::arguments::Problems;
use crate::telemetry::export::LoudExporter;
use crate::telemetry::write::{LineQueue, LineWriter};

/// How long the last spans may take to leave when the process ends.
const FLUSH: Duration = Duration::from_secs(5);

/// The flags about logs and traces; flatten them into a program's own.
#[derive(Clone, Debug, clap::Args)]
#[command(next_help_heading = "Telemetry")]
pub struct TelemetryArgs {
    /// What to log: a level, or directives such as `info,werf_executor=debug`
    #[arg(long, env, default_value = "info", value_name = "DIRECTIVES")]
    pub log_level: String,

    /// `json` or `text` [default: text on a terminal, json otherwise]
    #[arg(long, env, value_name = "FORMAT")]
    pub log_format: Option<String>,

    /// Where to send spans over OTLP/gRPC, such as `http://collector:4317` [default: nowhere]
    #[arg(long, env = "OTEL_EXPORTER_OTLP_ENDPOINT", value_name = "URL")]
    pub otlp_endpoint: Option<String>,

    /// The name of this service in traces [default: the program's name]
    #[arg(long, env = "OTEL_SERVICE_NAME", value_name = "NAME")]
    pub otel_service_name: Option<String>,
}

impl TelemetryArgs {
    /// Reports every value [`start`] would refuse.
    pub fn check(&self, problems: &mut Problems) {
        problems.take("--log-level", self.log_filter());
        problems.take("--log-format", self.format());
        problems.take("--otlp-endpoint", self.endpoint());
    }

    fn log_filter(&self) -> Result<EnvFilter, TelemetryError> {
        let directives = given(Some(&self.log_level)).unwrap_or("info");
        for directive in directives.split(',') {
            // The filter would take a misspelt level for a part to log, and log nothing else.
            let names_part = directive.contains(['=', '[']);
            if !names_part && directive.parse::<LevelFilter>().is_err() {
                return Err(TelemetryError::LogLevel { source: None });
            }
        }
        // The client warns with the whole body of an answer it cannot decode, which may be a Secret.
        let directives = format!("{directives},kube_client::client=error");
        EnvFilter::builder()
            .parse(directives)
            .map_err(|source| TelemetryError::LogLevel {
                source: Some(source),
            })
    }

    fn format(&self) -> Result<LogFormat, TelemetryError> {
        match given(self.log_format.as_deref()) {
            Some(format) => format.parse(),
            None if std::io::stdout().is_terminal() => Ok(LogFormat::Text),
            None => Ok(LogFormat::Json),
        }
    }

    fn endpoint(&self) -> Result<Option<Uri>, TelemetryError> {
        let Some(endpoint) = given(self.otlp_endpoint.as_deref()) else {
            return Ok(None);
        };
        let url: Uri = endpoint.parse().map_err(|_| TelemetryError::Endpoint)?;
        match (url.scheme_str(), url.authority()) {
            (Some("http"), Some(_)) => Ok(Some(url)),
            _ => Err(TelemetryError::Endpoint),
        }
    }
}

/// An empty variable counts as an absent one, as OpenTelemetry specifies.
fn given(value: Option<&str>) -> Option<&str> {
    value.filter(|value| !value.is_empty())
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum LogFormat {
    Json,
    Text,
}

impl FromStr for LogFormat {
    type Err = TelemetryError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "json" => Ok(Self::Json),
            "text" => Ok(Self::Text),
            _ => Err(TelemetryError::LogFormat),
        }
    }
}

/// Why telemetry cannot start.
#[derive(Debug, thiserror::Error)]
pub enum TelemetryError {
    /// `--log-level` is no list of directives.
    #[error("not a log level (error, warn, info, debug, trace, off) or list of part=level")]
    LogLevel {
        /// What the filter's parser said, if it got that far.
        source: Option<filter::ParseError>,
    },
    /// `--log-format` is no known format.
    #[error("must be json or text")]
    LogFormat,
    /// `--otlp-endpoint` is no usable address; TLS to a collector is not built in.
    #[error("must be an http:// URL with a host")]
    Endpoint,
    /// The thread that writes log lines did not start.
    #[error("cannot start the log writer")]
    Writer {
        /// What the operating system said.
        source: std::io::Error,
    },
    /// The span exporter refused its settings.
    #[error("cannot set up the span exporter")]
    Exporter {
        /// What the exporter said.
        source: ExporterBuildError,
    },
    /// A subscriber is installed already.
    #[error("telemetry is already started")]
    AlreadyStarted {
        /// What tracing said.
        source: tracing_subscriber::util::TryInitError,
    },
}

/// Keeps telemetry running; flushes what is pending when shut down or dropped.
#[must_use = "telemetry ends when its guard is dropped"]
pub struct TelemetryGuard {
    provider: SdkTracerProvider,
    lines: LineQueue,
}

impl fmt::Debug for TelemetryGuard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TelemetryGuard").finish_non_exhaustive()
    }
}

impl TelemetryGuard {
    /// Sends the spans and writes the lines that are pending, within a few seconds.
    pub async fn shutdown(self) {
        // Flushing blocks; the runtime must stay free to carry the spans.
        if let Err(error) = tokio::task::spawn_blocking(move || drop(self)).await {
            tracing::warn!(%error, "Cannot flush telemetry");
        }
    }
}

impl Drop for TelemetryGuard {
    fn drop(&mut self) {
        if let Err(error) = self.provider.shutdown_with_timeout(FLUSH) {
            tracing::warn!(%error, "Cannot send the last spans");
        }
        self.lines.flush(FLUSH);
    }
}

/// Installs the subscriber of this process; call it once, inside a multi-threaded runtime.
pub fn start(
    service_name: &'static str,
    args: &TelemetryArgs,
) -> Result<TelemetryGuard, TelemetryError> {
    let filter = args.log_filter()?;
    let format = args.format()?;
    let name = given(args.otel_service_name.as_deref()).unwrap_or(service_name);
    let provider = provider(name.to_owned(), args.endpoint()?.as_ref())?;
    let (lines, writer) =
        LineQueue::start(std::io::stdout()).map_err(|source| TelemetryError::Writer { source })?;
    let ansi = std::io::stdout().is_terminal();
    subscriber(&provider, filter, format, writer, ansi)
        .try_init()
        .map_err(|source| TelemetryError::AlreadyStarted { source })?;
    Ok(TelemetryGuard { provider, lines })
}

fn subscriber(
    provider: &SdkTracerProvider,
    filter: EnvFilter,
    format: LogFormat,
    writer: LineWriter,
    ansi: bool,
) -> impl Subscriber + Send + Sync + use<> {
    let log = match format {
        LogFormat::Json => json(writer).boxed(),
        LogFormat::Text => text(writer, ansi).boxed(),
    };
    Registry::default()
        .with(spans(provider))
        .with(log.with_filter(filter.or(filter::filter_fn(is_own_span))))
}

fn provider(name: String, endpoint: Option<&Uri>) -> Result<SdkTracerProvider, TelemetryError> {
    let resource = Resource::builder().with_service_name(name).build();
    let builder = SdkTracerProvider::builder()
        .with_resource(resource)
        .with_sampler(Sampler::ParentBased(Box::new(Sampler::AlwaysOn)));
    let Some(endpoint) = endpoint else {
        return Ok(builder.build());
    };
    let exporter =
        LoudExporter::connect(endpoint).map_err(|source| TelemetryError::Exporter { source })?;
    Ok(builder.with_batch_exporter(exporter).build())
}

/// The layer that gives every span its ids and sends it to the provider.
pub(crate) fn spans<S>(provider: &SdkTracerProvider) -> impl Layer<S> + use<S>
where
    S: Subscriber + for<'span> LookupSpan<'span>,
{
    tracing_opentelemetry::layer()
        .with_tracer(provider.tracer("werf-operator"))
        .with_location(false)
        .with_threads(false)
        .with_filter(filter::filter_fn(is_exported))
}

fn json<S>(writer: LineWriter) -> impl Layer<S> + Send + Sync
where
    S: Subscriber + for<'span> LookupSpan<'span>,
{
    tracing_subscriber::fmt::layer()
        .fmt_fields(JsonFields::new())
        .event_format(lines::Json)
        .with_writer(writer)
}

fn text<S>(writer: LineWriter, ansi: bool) -> impl Layer<S> + Send + Sync
where
    S: Subscriber + for<'span> LookupSpan<'span>,
{
    tracing_subscriber::fmt::layer()
        .fmt_fields(DefaultFields::new())
        .event_format(lines::Text::default())
        .with_ansi(ansi)
        .with_writer(writer)
}

/// Spans keep their fields on log lines, and ids on traces, whatever the log level is.
fn is_own_span(metadata: &Metadata<'_>) -> bool {
    metadata.is_span() && is_exported(metadata)
}

/// Our spans at any level, others' at info; none of the layers below ours. The exporter's own calls
/// would otherwise trace themselves, and every look of a controller would be a trace of its own.
fn is_exported(metadata: &Metadata<'_>) -> bool {
    const BELOW: [&str; 11] = [
        "h2",
        "hyper",
        "hyper_util",
        "kube_client",
        "kube_runtime",
        "opentelemetry",
        "opentelemetry_otlp",
        "opentelemetry_sdk",
        "reqwest",
        "tonic",
        "tower",
    ];
    let root = metadata.target().split("::").next().unwrap_or_default();
    let ours = metadata.is_span() && root.starts_with("werf_");
    ours || (*metadata.level() <= Level::INFO && !BELOW.contains(&root))
}

#[cfg(test)]
mod tests;
