//! The status of a bundle: what the operator knows, wants and did. Written by the executor only,
//! always under the resourceVersion it was read with, so that it doubles as the operator's
//! database.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::schema;

/// How many ended runs a status remembers.
pub const HISTORY_LIMIT: usize = 10;

/// Failed polls in a row are counted up to here, where polling slows down.
pub const FAILURE_LIMIT: i32 = 6;

/// What the operator knows, wants and did.
#[derive(KubeSchema, Clone, Debug, Default, Deserialize, Serialize, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct WerfBundleStatus {
    /// The generation of the spec that this status is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,

    /// Syncing, Synced or Failed; a summary of the conditions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub phase: Option<Phase>,

    /// The tag that was deployed successfully last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_applied_tag: Option<String>,

    /// The digest of the bundle that was deployed successfully last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_applied_digest: Option<String>,

    /// When the last successful deployment ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_sync_time: Option<Time>,

    /// The tag that is wanted now.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub desired_tag: Option<String>,

    /// The digest of the wanted tag, where it is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub desired_digest: Option<String>,

    /// Since when that tag is wanted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub desired_since: Option<Time>,

    /// The W3C trace context of the poll or request that made it wanted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub desired_traceparent: Option<String>,

    /// A hash of the repository and the constraint that tag was wanted under. Under others nothing is
    /// deployed before the registry was read again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub desired_rules: Option<String>,

    /// The last choice among the registry's tags. It differs from the wanted tag after a person
    /// asked for another one, or for a rollback.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub announced: Option<Announced>,

    /// The newest error of polling, of preparing a deployment, of deploying or of uninstalling.
    /// Emptied when the same thing succeeds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_error_message: Option<String>,

    /// When that error happened.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_error_time: Option<Time>,

    /// What failed: Polling, Preparing, Deploying or Uninstalling.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_error_stage: Option<Stage>,

    /// How many polls in a row have failed, up to 6. At 6 polling goes on slowly; setting it to 0
    /// starts over at once.
    #[serde(default)]
    #[schemars(range(min = 0, max = 6))]
    pub consecutive_failures: i32,

    /// The ETag of the tag list that was read last, where the registry sends one.
    #[serde(default, rename = "lastETag", skip_serializing_if = "Option::is_none")]
    pub last_etag: Option<String>,

    /// The Job that is running or about to be created.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub active_job_name: Option<String>,

    /// Running, Succeeded or Failed: how the newest Job is doing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_job_status: Option<JobStatus>,

    /// The last 5 KB of the newest finished Job's log.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_job_logs: Option<String>,

    /// The namespace that is deployed into and where the Jobs are.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resolved_target_namespace: Option<String>,

    /// How many different inputs have been deployed or tried so far.
    #[serde(default)]
    pub run: i64,

    /// How many Jobs the current run has had.
    #[serde(default)]
    pub attempt: i32,

    /// What the current run deploys.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub current_run: Option<CurrentRun>,

    /// A person's request that has not become a run yet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub requested: Option<Requested>,

    /// The value of the annotation `operator.werf.io/reconcile` that was taken up last. A value that is
    /// longer than 64 characters, or holds others than printable ASCII, is shown as its SHA-256.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_handled_reconcile: Option<String>,

    /// The tag that the bundle is rolled back to, while it is held.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rollback: Option<Rollback>,

    /// The value of the annotation `operator.werf.io/rollback-to` that was taken up last, shown as that
    /// of `operator.werf.io/reconcile` is. Emptied when the annotation is removed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_handled_rollback: Option<String>,

    /// The release that was deployed or tried last, and as whom; `deletionPolicy: Uninstall` removes
    /// this one, whatever the spec names by then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub release: Option<TriedRelease>,

    /// How uninstalling goes, once the bundle is being deleted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub uninstall: Option<Uninstall>,

    /// Ended Jobs, newest first, at most 10. The last success of a tag is forgotten last.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 10))]
    pub history: Vec<HistoryEntry>,

    /// What holds for the bundle.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "schema::conditions")]
    pub conditions: Vec<Condition>,
}

/// The summary of a bundle.
#[derive(Clone, Copy, Debug, Deserialize, Serialize, JsonSchema, PartialEq, Eq)]
pub enum Phase {
    /// The wanted inputs are not deployed yet.
    Syncing,
    /// They are.
    Synced,
    /// Polling has failed six times, or the last deployment or its preparation failed.
    Failed,
}

impl Phase {
    /// The phase as it stands in the status.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Syncing => "Syncing",
            Self::Synced => "Synced",
            Self::Failed => "Failed",
        }
    }
}

/// What an error happened in.
#[derive(Clone, Copy, Debug, Deserialize, Serialize, JsonSchema, PartialEq, Eq)]
pub enum Stage {
    /// Reading the registry.
    Polling,
    /// Getting ready for a Job.
    Preparing,
    /// The Job.
    Deploying,
    /// Removing what was deployed, of a bundle that is being deleted.
    Uninstalling,
}

/// How a Job is doing.
#[derive(Clone, Copy, Debug, Deserialize, Serialize, JsonSchema, PartialEq, Eq)]
pub enum JobStatus {
    /// It exists and has not ended.
    Running,
    /// It ended well.
    Succeeded,
    /// It did not.
    Failed,
}

impl JobStatus {
    /// The status as it stands in the object.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Running => "Running",
            Self::Succeeded => "Succeeded",
            Self::Failed => "Failed",
        }
    }
}

/// The last choice among the registry's tags.
#[derive(Clone, Debug, Default, Deserialize, Serialize, JsonSchema, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct Announced {
    /// The chosen tag.
    pub tag: String,
    /// The digest of its manifest.
    pub digest: String,
    /// The generation of the spec it was chosen under.
    pub generation: i64,
}

/// What the current run deploys.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct CurrentRun {
    /// The tag.
    pub tag: String,
    /// Its digest, where it is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub digest: Option<String>,
    /// A hash of everything that goes into the run, after a short name of the key it was made with.
    pub inputs_hash: String,
    /// The generation of the spec it was claimed under.
    #[serde(default)]
    pub generation: i64,
    /// Why the run was started.
    pub cause: String,
    /// When the current attempt was started.
    pub started_at: Time,
    /// The W3C trace context of the run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub traceparent: Option<String>,
    /// The person's request that the run answers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request: Option<Requested>,
    /// What keeps the run from ending, while something does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub waiting: Option<Waiting>,
}

/// What keeps a run from ending.
#[derive(Clone, Debug, Default, Deserialize, Serialize, JsonSchema, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct Waiting {
    /// One word for it.
    pub reason: String,
    /// What is waited for, such as Deployment/app.
    pub object: String,
    /// One sentence for people.
    pub message: String,
}

/// A person's request that has not become a run yet.
#[derive(Clone, Debug, Default, Deserialize, Serialize, JsonSchema, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct Requested {
    /// Deploy even if nothing changed and even if suspended.
    #[serde(default)]
    pub force: bool,
    /// The W3C trace context of the request.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub traceparent: Option<String>,
}

/// A tag that is held although a newer one is known.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct Rollback {
    /// The tag that is held.
    pub tag: String,
    /// Its digest when it was deployed, where it was known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub digest: Option<String>,
    /// The newest tag when the rollback was asked for. A newer one ends the hold.
    pub from: String,
    /// When the rollback was taken up.
    pub since: Time,
}

/// A release that was deployed or tried.
#[derive(Clone, Debug, Default, Deserialize, Serialize, JsonSchema, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct TriedRelease {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// The ServiceAccount it was deployed as.
    pub service_account_name: String,
}

/// How uninstalling goes.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct Uninstall {
    /// How many Jobs have tried it.
    pub attempt: i32,
    /// The newest of them.
    pub job: String,
    /// Running, Succeeded or Failed: how it is doing.
    pub result: JobStatus,
    /// When its end was recorded.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub finished: Option<Time>,
}

/// An ended Job.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct HistoryEntry {
    /// The tag it deployed.
    pub tag: String,
    /// The digest of that tag, where it was known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub digest: Option<String>,
    /// Name of the Job.
    pub job: String,
    /// Why it was started.
    pub cause: String,
    /// When it was started.
    pub started: Time,
    /// When its end was recorded.
    pub finished: Time,
    /// Succeeded or Failed.
    pub result: JobStatus,
    /// Why it failed, in one word.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Why it failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// The ConfigMap beside the Job with all of its log, where that is longer than lastJobLogs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub logs: Option<String>,
    /// The W3C trace id of the run, 32 hex digits.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trace_id: Option<String>,
}
