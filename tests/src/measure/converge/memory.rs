//! What the executor weighs with many bundles that have been deployed often, and finished Jobs of
//! some: once it has listed them all, and once every bundle has changed.

use futures::{StreamExt as _, TryStreamExt as _, stream};
use k8s_openapi::api::batch::v1::Job;
use kube::api::{Patch, PatchParams, PostParams};
use kube::{Api, ResourceExt};
use serde_json::{Value, json};
use werf_shared::bundle::WerfBundle;
use werf_shared::names::{self, annotation, label};

use super::ground::Ground;
use super::{number, objects};
use crate::measure::figures::{Figure, Goal};
use crate::measure::process::Process;

const NAMESPACE: &str = "many";

const BUNDLES: usize = 10_000;

/// The first so many have a finished Job, whose log's end is in their status.
const JOBS: usize = 1_000;

/// As long as the end of a log may be in a status.
const LOG: usize = 5 * 1024;

/// Entries of a history.
const HISTORY: usize = 10;

const AT_ONCE: usize = 32;

/// MiB.
const MOST: f64 = 64.0;

const TIME: &str = "2026-01-01T00:00:00Z";
const DIGEST: &str = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";

/// Measures.
pub(super) async fn measure(ground: &mut Ground) -> anyhow::Result<Vec<Figure>> {
    let idle = ground.executor().await?;
    ground.audit.quiet().await?;
    let idle_weight = weight(&idle)?;
    idle.end().await?;
    objects::make_namespace(&ground.admin, NAMESPACE).await?;
    let making = (0..BUNDLES).map(|number| make(ground, number));
    let mut made = stream::iter(making).buffer_unordered(AT_ONCE);
    while made.try_next().await?.is_some() {}
    drop(made);
    // The first one writes what conditions there are into every status.
    let first = ground.executor().await?;
    ground.audit.quiet().await?;
    first.end().await?;

    let executor = ground.executor().await?;
    ground.audit.quiet().await?;
    let listed = weight(&executor)?;
    let touching = (0..BUNDLES).map(|number| touch(ground, number));
    let mut touched = stream::iter(touching).buffer_unordered(AT_ONCE);
    while touched.try_next().await?.is_some() {}
    ground.audit.quiet().await?;
    let changed = weight(&executor)?;
    #[expect(clippy::cast_precision_loss, reason = "some hundred thousands")]
    let peak = executor.memory()?.peak as f64 / 1024.0;
    executor.end().await?;
    Ok(vec![
        Figure::new("executor_rss", listed, "MiB", Goal::AtMost(MOST)),
        Figure::new(
            "executor_rss_after_changes",
            changed,
            "MiB",
            Goal::AtMost(MOST),
        ),
        Figure::plain("executor_rss_peak", peak, "MiB"),
        Figure::plain("executor_rss_idle", idle_weight, "MiB"),
        Figure::plain(
            "executor_rss_per_bundle",
            (listed - idle_weight) * 1024.0 / number(BUNDLES),
            "KiB",
        ),
    ])
}

#[expect(clippy::cast_precision_loss, reason = "some hundred thousands")]
fn weight(process: &Process) -> anyhow::Result<f64> {
    Ok(process.memory()?.now as f64 / 1024.0)
}

fn name(number: usize) -> String {
    format!("application-{number:05}")
}

/// A bundle that was deployed often, and perhaps its finished Job.
async fn make(ground: &Ground, number: usize) -> anyhow::Result<()> {
    let bundles: Api<WerfBundle> = Api::namespaced(ground.admin.clone(), NAMESPACE);
    let name = name(number);
    let url = format!("registry.example.com/team/{name}");
    let mut bundle = objects::bundle(&name, &url, false);
    bundle["metadata"]["finalizers"] = json!([names::FINALIZER]);
    // Nothing is to start: it would be ten thousand deployments.
    bundle["spec"]["suspend"] = json!(true);
    let mut bundle = objects::create(&bundles, bundle).await?;
    let job = format!("{name}-2f2b1e4a-7c0d9e11");
    bundle.status = Some(serde_json::from_value(status(&name, &job, number < JOBS))?);
    let params = PostParams::default();
    let bundle = bundles.replace_status(&name, &params, &bundle).await?;
    if number < JOBS {
        make_job(ground, &job, &bundle).await?;
    }
    Ok(())
}

fn status(name: &str, job: &str, with_log: bool) -> Value {
    let traceparent = format!("00-{TRACE}-00f067aa0ba902b7-01");
    let history: Vec<_> = (0..HISTORY)
        .map(|past| {
            json!({
                "tag": format!("v1.{}.0", 20 - past), "digest": DIGEST,
                "job": format!("{name}-{past:08x}-7c0d9e11"), "cause": "NewTag",
                "started": TIME, "finished": TIME, "result": "Succeeded", "traceId": TRACE,
            })
        })
        .collect();
    let line = "2026-01-01 00:00:00 release has been deployed, all resources are ready\n";
    let log: String = line.chars().cycle().take(LOG).collect();
    let condition = |kind: &str, status: &str, reason: &str, message: &str| {
        json!({
            "type": kind, "status": status, "reason": reason, "message": message,
            "observedGeneration": 1, "lastTransitionTime": TIME,
        })
    };
    json!({
        "observedGeneration": 1, "phase": "Synced",
        "lastAppliedTag": "v1.20.0", "lastAppliedDigest": DIGEST, "lastSyncTime": TIME,
        "desiredTag": "v1.20.0", "desiredDigest": DIGEST, "desiredSince": TIME,
        "desiredTraceparent": traceparent, "desiredRules": "2f2b1e4a",
        "announced": {"tag": "v1.20.0", "digest": DIGEST, "generation": 1},
        "lastETag": "\"5f2b1e4a7c0d9e11\"", "lastJobStatus": "Succeeded",
        "lastJobLogs": with_log.then_some(log), "resolvedTargetNamespace": NAMESPACE,
        "run": 20, "attempt": 1,
        "currentRun": {
            "tag": "v1.20.0", "digest": DIGEST, "inputsHash": TRACE, "generation": 1,
            "cause": "NewTag", "startedAt": TIME, "traceparent": traceparent,
        },
        "history": history,
        "conditions": [
            condition("Ready", "True", "Synced", &format!("{job} deployed v1.20.0")),
            condition("RegistryAvailable", "True", "Polled", "The tag list was read"),
        ],
    })
}

async fn make_job(ground: &Ground, name: &str, bundle: &WerfBundle) -> anyhow::Result<()> {
    let jobs: Api<Job> = Api::namespaced(ground.admin.clone(), NAMESPACE);
    let uid = bundle.uid().unwrap_or_default();
    let of = bundle.name_any();
    let labels = json!({
        label::NAME: names::OPERATOR, label::MANAGED_BY: names::OPERATOR,
        label::INSTANCE: of, label::BUNDLE: of, label::TAG: "v1.20.0", label::BUNDLE_UID: uid,
    });
    let annotations = json!({
        annotation::TAG: "v1.20.0", annotation::DIGEST: DIGEST, annotation::INPUTS_HASH: TRACE,
        annotation::RUN: "20", annotation::ATTEMPT: "1", annotation::BUNDLE_UID: uid,
        annotation::BUNDLE_NAMESPACE: NAMESPACE, annotation::BUNDLE_NAME: of,
        annotation::RELEASED: "true",
    });
    let job = json!({
        "metadata": {"name": name, "labels": labels, "annotations": annotations},
        "spec": {
            "backoffLimit": 0,
            "template": {
                "metadata": {"labels": labels, "annotations": annotations},
                "spec": {
                    "restartPolicy": "Never",
                    "containers": [{"name": "werf", "image": "registry.example.com/werf"}],
                },
            },
        },
    });
    objects::create(&jobs, job).await?;
    let ended = Patch::Merge(json!({"status": objects::ended()}));
    jobs.patch_status(name, &PatchParams::default(), &ended)
        .await?;
    Ok(())
}

/// A change that means nothing.
async fn touch(ground: &Ground, number: usize) -> anyhow::Result<()> {
    let bundles: Api<WerfBundle> = Api::namespaced(ground.admin.clone(), NAMESPACE);
    let touched = Patch::Merge(json!({"metadata": {"annotations": {"touched": "true"}}}));
    let params = PatchParams::default();
    bundles.patch(&name(number), &params, &touched).await?;
    Ok(())
}
