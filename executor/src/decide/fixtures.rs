//! Bundles for tests, made so that a test reads as a sentence.

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, Time};
use werf_shared::bundle::condition::{self, ConditionType, Holds, Statement};
use werf_shared::bundle::status::{Announced, CurrentRun, HistoryEntry, JobStatus};
use werf_shared::bundle::{Converge, Registry, WerfBundle, WerfBundleSpec, WerfBundleStatus};
use werf_shared::names;

use super::outcome::{Cause, Outcome};
use super::{rules, status};

/// A digest that ends in the given digit.
pub(super) fn digest(digit: char) -> String {
    format!("sha256:{}{digit}", "0".repeat(63))
}

/// Seconds after the start of the test.
pub(super) fn at(seconds: i64) -> Timestamp {
    Timestamp::from_second(1_800_000_000 + seconds).unwrap()
}

/// A bundle `apps/my-app` with its finalizer, generation 1, nothing known yet.
pub(super) fn bundle() -> WerfBundle {
    let spec = WerfBundleSpec {
        suspend: false,
        registry: Registry {
            secret_ref: None,
            cert_secret_ref: None,
            url: "registry.example.com/team/app".to_owned(),
            insecure: false,
            poll_interval: "15m".to_owned(),
            version_constraint: None,
        },
        converge: Converge::default(),
    };
    WerfBundle {
        metadata: ObjectMeta {
            name: Some("my-app".to_owned()),
            namespace: Some("apps".to_owned()),
            uid: Some("uid-1".to_owned()),
            generation: Some(1),
            finalizers: Some(vec![names::FINALIZER.to_owned()]),
            ..ObjectMeta::default()
        },
        spec,
        status: None,
    }
}

/// What a bundle can be made to be.
pub(super) trait That: Sized {
    fn with(self, change: impl FnOnce(&mut WerfBundleStatus)) -> Self;
    fn annotated(self, key: &str, value: &str) -> Self;
    fn polled(self) -> Self;
    fn wanting(self, tag: &str, digit: char) -> Self;
    fn deploying(self, inputs_hash: &str) -> Self;
    fn confirmed(self) -> Self;
    fn deployed(self) -> Self;
    fn failed(self, cause: Cause, now: Timestamp) -> Self;
    fn state(&self) -> WerfBundleStatus;
}

impl That for WerfBundle {
    fn with(mut self, change: impl FnOnce(&mut WerfBundleStatus)) -> Self {
        change(self.status.get_or_insert_default());
        self
    }

    fn annotated(mut self, key: &str, value: &str) -> Self {
        let annotations = self.metadata.annotations.get_or_insert_default();
        annotations.insert(key.to_owned(), value.to_owned());
        self
    }

    fn polled(self) -> Self {
        let generation = self.metadata.generation;
        self.with(|status| {
            let statement = Statement {
                kind: ConditionType::RegistryAvailable,
                holds: Holds::True,
                reason: "Polled",
                message: String::new(),
            };
            condition::set(&mut status.conditions, statement, generation, at(0));
        })
    }

    fn wanting(self, tag: &str, digit: char) -> Self {
        let generation = self.metadata.generation.unwrap();
        let rules = rules::of(&self.spec.registry);
        self.polled().with(|status| {
            status.desired_tag = Some(tag.to_owned());
            status.desired_digest = Some(digest(digit));
            status.desired_since = Some(Time(at(0)));
            status.desired_rules = Some(rules);
            status.announced = Some(Announced {
                tag: tag.to_owned(),
                digest: digest(digit),
                generation,
            });
        })
    }

    fn deploying(self, inputs_hash: &str) -> Self {
        let state = self.state();
        let generation = self.metadata.generation.unwrap();
        self.with(|status| {
            status.run += 1;
            status.attempt = 1;
            status.active_job_name = Some(format!("job-{}-1", status.run));
            status.resolved_target_namespace = Some("apps".to_owned());
            status.last_job_status = None;
            status.current_run = Some(CurrentRun {
                tag: state.desired_tag.unwrap(),
                digest: state.desired_digest,
                inputs_hash: inputs_hash.to_owned(),
                generation,
                cause: "NewTag".to_owned(),
                started_at: Time(at(0)),
                traceparent: None,
                request: status.requested.take(),
                waiting: None,
            });
        })
    }

    fn confirmed(self) -> Self {
        self.with(|status| status.last_job_status = Some(JobStatus::Running))
    }

    fn deployed(mut self) -> Self {
        self.status = Some(status::record(
            &self,
            &Outcome::Succeeded,
            status::Logs::default(),
            None,
            at(10),
        ));
        self
    }

    fn failed(mut self, cause: Cause, now: Timestamp) -> Self {
        self.status = Some(status::record(
            &self,
            &Outcome::Failed(cause.into()),
            status::Logs::default(),
            None,
            now,
        ));
        self
    }

    fn state(&self) -> WerfBundleStatus {
        self.status.clone().unwrap_or_default()
    }
}

/// The newest entry of the history.
pub(super) fn newest(status: &WerfBundleStatus) -> &HistoryEntry {
    &status.history[0]
}
