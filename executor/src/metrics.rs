//! What the executor counts. Labels are closed sets; bundles and tags are never labels.

use jiff::SignedDuration;
use prometheus_client::encoding::{EncodeLabelSet, EncodeLabelValue};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::{Registry, Unit};

use crate::decide::outcome::{Cause, Outcome};

/// Seconds a deployment may take, from a small chart to the longest timeout people set.
const BUCKETS: [f64; 9] = [1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0, 900.0];

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, EncodeLabelValue)]
enum Ended {
    #[expect(non_camel_case_types, reason = "printed as written")]
    succeeded,
    #[expect(non_camel_case_types, reason = "printed as written")]
    oom_killed,
    #[expect(non_camel_case_types, reason = "printed as written")]
    exit_code,
    #[expect(non_camel_case_types, reason = "printed as written")]
    deadline_exceeded,
    #[expect(non_camel_case_types, reason = "printed as written")]
    pod_evicted,
    #[expect(non_camel_case_types, reason = "printed as written")]
    pod_deleted,
    #[expect(non_camel_case_types, reason = "printed as written")]
    removed,
    #[expect(non_camel_case_types, reason = "printed as written")]
    other,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct JobLabels {
    outcome: Ended,
}

/// Counts Jobs.
#[derive(Clone)]
pub struct ConvergeMetrics {
    jobs: Family<JobLabels, Counter>,
    duration: Histogram,
}

impl ConvergeMetrics {
    /// Adds the metrics to a registry.
    pub fn register(registry: &mut Registry) -> Self {
        let metrics = Self {
            jobs: Family::default(),
            duration: Histogram::new(BUCKETS),
        };
        for outcome in [
            Ended::succeeded,
            Ended::oom_killed,
            Ended::exit_code,
            Ended::deadline_exceeded,
            Ended::pod_evicted,
            Ended::pod_deleted,
            Ended::removed,
            Ended::other,
        ] {
            drop(metrics.jobs.get_or_create(&JobLabels { outcome }));
        }
        registry.register("converge_job", "Ended Jobs", metrics.jobs.clone());
        registry.register_with_unit(
            "converge_job_duration",
            "From the claim of a run to the record of its end",
            Unit::Seconds,
            metrics.duration.clone(),
        );
        metrics
    }

    /// Counts an ended Job.
    pub fn ended(&self, outcome: &Outcome, duration: SignedDuration) {
        let outcome = match outcome {
            Outcome::Succeeded => Ended::succeeded,
            Outcome::Failed(failure) => match failure.cause {
                Cause::OomKilled => Ended::oom_killed,
                Cause::ExitCode(_) | Cause::WithoutClientCertificate(_) | Cause::NotStarted(..) => {
                    Ended::exit_code
                }
                Cause::DeadlineExceeded => Ended::deadline_exceeded,
                Cause::PodEvicted(_) => Ended::pod_evicted,
                Cause::PodDeleted => Ended::pod_deleted,
                Cause::Removed => Ended::removed,
                Cause::Other(_) => Ended::other,
            },
        };
        self.jobs.get_or_create(&JobLabels { outcome }).inc();
        self.duration.observe(duration.as_secs_f64());
    }
}
