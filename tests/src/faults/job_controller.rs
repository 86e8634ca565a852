//! Plays the part of Job controller and kubelet for the Jobs of one plan. The Jobs are handed to it
//! with `spec.managedBy`, the apiserver's own way to say that the built-in controller is not to
//! touch them; no Pods are made, and a plan takes seconds. Everything else about them is real: the
//! apiserver's checks, ownership, garbage collection.

use std::collections::BTreeSet;

use kube::Client;
use kube::api::{Patch, PatchParams};
use serde_json::{Value, json};
use tokio::sync::watch;

use super::history::{History, Kind, annotation, may_run, text};

/// Who manages the Jobs, in `spec.managedBy`.
pub(super) const NAME: &str = "faults.testbed.werf.io/job-controller";

/// Ends every Job that may run, once `open` says so: well, unless its tag says that it fails.
pub(super) async fn play(
    client: &Client,
    namespace: &str,
    history: &History,
    open: watch::Receiver<bool>,
) -> anyhow::Result<()> {
    let api = Kind::Job.api(client, namespace);
    let mut changes = history.subscribe();
    let mut open_changes = open.clone();
    let mut ended = BTreeSet::new();
    loop {
        changes.borrow_and_update();
        for job in history.world().all(Kind::Job) {
            let leaving = job.pointer("/metadata/deletionTimestamp").is_some();
            let uid = text(job, "/metadata/uid").to_owned();
            if !*open.borrow() || !may_run(job) || leaving || ended.contains(&uid) {
                continue;
            }
            let status = Patch::Merge(json!({"status": end(job)}));
            let name = text(job, "/metadata/name");
            match api
                .patch_status(name, &PatchParams::default(), &status)
                .await
            {
                Ok(_) => {}
                // Deleted meanwhile.
                Err(kube::Error::Api(status)) if status.code == 404 => {}
                Err(error) => return Err(error.into()),
            }
            ended.insert(uid);
        }
        tokio::select! {
            more = changes.changed() => more?,
            more = open_changes.changed() => more?,
        }
    }
}

fn end(job: &Value) -> Value {
    let now = werf_shared::clock::now();
    let now = now.strftime("%Y-%m-%dT%H:%M:%SZ").to_string();
    let condition = |kind: &str, reason: &str, message: &str| {
        json!({"type": kind, "status": "True", "reason": reason, "message": message,
               "lastProbeTime": now, "lastTransitionTime": now})
    };
    if annotation(job, "tag").contains("fails") {
        let (reason, message) = (
            "BackoffLimitExceeded",
            "Job has reached the specified backoff limit",
        );
        let conditions = ["FailureTarget", "Failed"].map(|kind| condition(kind, reason, message));
        return json!({"startTime": now, "active": 0, "failed": 1, "conditions": conditions});
    }
    let conditions =
        ["SuccessCriteriaMet", "Complete"].map(|kind| condition(kind, "CompletionsReached", ""));
    json!({"startTime": now, "completionTime": now, "active": 0, "succeeded": 1,
           "conditions": conditions})
}
