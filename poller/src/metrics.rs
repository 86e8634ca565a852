//! What the poller counts. Labels are fixed words and the hosts that are polled, never names of
//! bundles or tags.

use std::sync::atomic::AtomicU64;
use std::time::Duration;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::{Registry, Unit};
use tokio::time::Instant;
use werf_proto::v1alpha1::announce_tag_response::Verdict;
use werf_shared::clock;
use werf_shared::poll_failure::Class;

mod answers;

use answers::Answers;

/// Handles of all metrics; clones count into the same ones.
#[derive(Clone, Debug)]
pub struct PollerMetrics {
    polls: Family<PollLabels, Counter>,
    duration: Histogram,
    answers: Answers,
    requests: Family<RequestLabels, Counter>,
    parks: Counter,
    parked: Gauge,
    announcements: Family<ResultLabels, Counter>,
    waiting: Gauge,
    lag: Histogram,
    bundles: Gauge,
    unreadable: Counter<u64, AtomicU64>,
}

/// How a poll ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PollEnd {
    /// The list was read whole, and what was chosen from it.
    Success,
    /// Something of it was not.
    Failure(Class),
    /// The process stopped meanwhile.
    Cancelled,
}

/// What a registry answered to a listing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// A list that differs from the one before.
    List,
    /// 304.
    NotModified,
    /// A list that is the one before.
    Unchanged,
}

/// What is asked of a registry, or of the token server it names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RequestKind {
    /// A page of a tag list.
    List,
    /// A manifest or its digest.
    Manifest,
    /// A token.
    Token,
}

/// How an attempt to tell the executor ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AnnounceResult {
    /// With a verdict.
    Answered(Verdict),
    /// For good.
    Refused,
    /// It is repeated.
    Unanswered,
}

/// A poll under way; dropped without an end it counts as cancelled.
#[derive(Debug)]
#[must_use = "a poll that is not finished counts as cancelled"]
pub struct PollTimer {
    metrics: PollerMetrics,
    started: Instant,
    end: PollEnd,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct PollLabels {
    outcome: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct RequestLabels {
    kind: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct ResultLabels {
    result: &'static str,
}

impl PollerMetrics {
    /// Registers everything, at zero.
    pub fn register(registry: &mut Registry) -> Self {
        let metrics = Self {
            polls: Family::default(),
            duration: Histogram::new(exponential_buckets(0.01, 2.0, 14)),
            answers: Answers::default(),
            requests: Family::default(),
            parks: Counter::default(),
            parked: Gauge::default(),
            announcements: Family::default(),
            waiting: Gauge::default(),
            lag: Histogram::new(exponential_buckets(0.01, 4.0, 8)),
            bundles: Gauge::default(),
            unreadable: Counter::default(),
        };
        metrics.create_labels();
        registry.register(
            "registry_poll",
            "Polls of registries",
            metrics.polls.clone(),
        );
        registry.register_with_unit(
            "registry_poll_duration",
            "How long polls take",
            Unit::Seconds,
            metrics.duration.clone(),
        );
        let own = registry.sub_registry_with_prefix("werf_operator");
        metrics.answers.register(own);
        own.register(
            "registry_requests",
            "Requests to registries and their token servers",
            metrics.requests.clone(),
        );
        own.register(
            "registry_host_parks",
            "Times a registry host asked to be left alone for a while",
            metrics.parks.clone(),
        );
        own.register(
            "registry_hosts_parked",
            "Registry hosts that are left alone for a while",
            metrics.parked.clone(),
        );
        own.register(
            "announcements",
            "Attempts to tell the executor what polls found",
            metrics.announcements.clone(),
        );
        own.register(
            "announcements_waiting",
            "Bundles the executor has not been told everything about",
            metrics.waiting.clone(),
        );
        own.register_with_unit(
            "poll_schedule_lag",
            "How late polls start",
            Unit::Seconds,
            metrics.lag.clone(),
        );
        own.register(
            "bundles_watched",
            "Bundles that are known",
            metrics.bundles.clone(),
        );
        own.register(
            "bundle_decode_errors",
            "Times a bundle could not be read",
            metrics.unreadable.clone(),
        );
        metrics
    }

    /// A poll starts, this late.
    pub fn start_poll(&self, lag: Duration) -> PollTimer {
        self.lag.observe(lag.as_secs_f64());
        PollTimer {
            metrics: self.clone(),
            started: clock::instant(),
            end: PollEnd::Cancelled,
        }
    }

    /// A complete list of this host.
    pub fn answered(&self, host: &str, answer: Answer) {
        self.answers.count(host, answer);
    }

    /// These hosts are polled no more.
    pub fn forget_hosts(&self, polled: impl Fn(&str) -> bool) {
        self.answers.retain(polled);
    }

    /// A request goes out.
    pub fn requested(&self, kind: RequestKind) {
        let kind = kind.as_str();
        self.requests.get_or_create(&RequestLabels { kind }).inc();
    }

    /// A host asked to be left alone.
    pub fn parked(&self) {
        self.parks.inc();
    }

    /// So many hosts are left alone.
    pub fn hosts_parked(&self, hosts: usize) {
        self.parked.set(i64::try_from(hosts).unwrap_or(i64::MAX));
    }

    /// An attempt to tell the executor.
    pub fn announced(&self, result: AnnounceResult) {
        let result = result.as_str();
        self.announcements
            .get_or_create(&ResultLabels { result })
            .inc();
    }

    /// So many bundles have something to tell.
    pub fn waiting(&self, bundles: usize) {
        self.waiting.set(i64::try_from(bundles).unwrap_or(i64::MAX));
    }

    /// So many bundles are known.
    pub fn watched(&self, bundles: usize) {
        self.bundles.set(i64::try_from(bundles).unwrap_or(i64::MAX));
    }

    /// A bundle could not be read.
    pub fn unreadable_bundle(&self) {
        self.unreadable.inc();
    }

    fn create_labels(&self) {
        for outcome in [PollEnd::Success, PollEnd::Cancelled]
            .into_iter()
            .chain(Class::ALL.map(PollEnd::Failure))
        {
            let outcome = outcome.as_str();
            let _zero = self.polls.get_or_create(&PollLabels { outcome });
        }
        for kind in [RequestKind::List, RequestKind::Manifest, RequestKind::Token] {
            let kind = kind.as_str();
            let _zero = self.requests.get_or_create(&RequestLabels { kind });
        }
        let verdicts = [
            Verdict::Accepted,
            Verdict::AlreadyKnown,
            Verdict::NotNewer,
            Verdict::UnknownBundle,
            Verdict::Suspended,
        ];
        for result in verdicts
            .map(AnnounceResult::Answered)
            .into_iter()
            .chain([AnnounceResult::Refused, AnnounceResult::Unanswered])
        {
            let result = result.as_str();
            let _zero = self.announcements.get_or_create(&ResultLabels { result });
        }
    }
}

impl PollTimer {
    /// The poll ended like this.
    pub fn finish(mut self, end: PollEnd) {
        self.end = end;
    }
}

impl Drop for PollTimer {
    fn drop(&mut self) {
        let outcome = self.end.as_str();
        let seconds = (clock::instant() - self.started).as_secs_f64();
        self.metrics.duration.observe(seconds);
        self.metrics
            .polls
            .get_or_create(&PollLabels { outcome })
            .inc();
    }
}

impl PollEnd {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Success => "success",
            Self::Failure(class) => class.as_str(),
            Self::Cancelled => "cancelled",
        }
    }
}

impl RequestKind {
    const fn as_str(self) -> &'static str {
        match self {
            Self::List => "list",
            Self::Manifest => "manifest",
            Self::Token => "token",
        }
    }
}

impl Answer {
    const ALL: [Self; 3] = [Self::List, Self::NotModified, Self::Unchanged];

    const fn as_str(self) -> &'static str {
        match self {
            Self::List => "200",
            Self::NotModified => "304",
            Self::Unchanged => "unchanged",
        }
    }
}

impl AnnounceResult {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Answered(Verdict::Unspecified) => "unspecified",
            Self::Answered(Verdict::Accepted) => "accepted",
            Self::Answered(Verdict::AlreadyKnown) => "already_known",
            Self::Answered(Verdict::NotNewer) => "not_newer",
            Self::Answered(Verdict::UnknownBundle) => "unknown_bundle",
            Self::Answered(Verdict::Suspended) => "suspended",
            Self::Refused => "refused",
            Self::Unanswered => "unanswered",
        }
    }
}
