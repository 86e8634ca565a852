//! How long a new tag takes from the registry's answer to its Job: through poller and executor as
//! they are shipped, against a bare patch of a status and a bare creation of the same Job, in turns.

use std::time::{Duration, Instant};

use anyhow::Context as _;
use futures::future::try_join;
use k8s_openapi::api::batch::v1::Job;
use kube::api::{DeleteParams, Patch, PatchParams};
use kube::{Api, ResourceExt};
use serde_json::json;
use tokio::time::sleep;
use tonic::transport::Channel;
use werf_proto::v1alpha1::PollNowRequest;
use werf_proto::v1alpha1::poller_service_client::PollerServiceClient;
use werf_shared::bundle::WerfBundle;
use werf_shared::bundle::status::Phase;

use super::bare::Pattern;
use super::ground::{Ground, until};
use super::objects::{self, create};
use super::registry::{self, Registry};
use super::sight::Seen;
use crate::measure::figures::{Figure, Goal};

const NAMESPACE: &str = "polled";
const STAND_IN: &str = "app";

/// Tags that are pushed, one after the other.
const RUNS: usize = 200;

/// Bundles that take turns: a poller does not poll the same one twice within five seconds.
const BUNDLES: usize = 40;

/// After a turn, for what the executor does when all is said and done.
const REST: Duration = Duration::from_millis(30);

const MOST_RATIO: f64 = 3.0;

/// What one turn of the bare client took.
struct Bare {
    /// Until the Job was seen by the watch.
    seen: Duration,
    /// Until the API server had answered.
    answered: Duration,
}

/// Measures.
pub(super) async fn measure(ground: &mut Ground) -> anyhow::Result<Vec<Figure>> {
    objects::make_namespace(&ground.admin, NAMESPACE).await?;
    let (registry, address) = registry::serve(&mut ground.beside).await?;
    let executor = ground.executor().await?;
    let poller = ground.poller(NAMESPACE).await?;
    let poll = PollerServiceClient::new(ground.to_poller().await?);
    let bundles: Api<WerfBundle> = Api::namespaced(ground.admin.clone(), NAMESPACE);
    let names: Vec<_> = (0..BUNDLES).map(|i| format!("app-{i:02}")).collect();
    for name in &names {
        registry.push(&repository(name), FIRST);
        let mut bundle = objects::bundle(name, &format!("{address}/{}", repository(name)), false);
        bundle["spec"]["registry"]["insecure"] = json!(true);
        create(&bundles, bundle).await?;
    }
    let mut pattern = None;
    for name in &names {
        let job = ground.sight.of(name, FIRST).await?;
        finish(ground, &job, name, FIRST).await?;
        if pattern.is_none() {
            pattern = Some(Pattern::read(&ground.admin, NAMESPACE, &job.name, name).await?);
        }
    }
    let pattern = pattern.context("no bundles")?;
    let stand_ins = objects::stand_ins(&ground.admin, NAMESPACE);
    create(&stand_ins, pattern.stand_in(STAND_IN)?).await?;
    ground.audit.quiet().await?;
    let (mut ours, mut bares) = (Vec::new(), Vec::new());
    for (run, name) in (0..RUNS).zip(names.iter().cycle()) {
        let tag = format!("v1.{run}.0");
        ours.push(turn(ground, &registry, poll.clone(), name, &tag).await?);
        sleep(REST).await;
        bares.push(bare(ground, &pattern, &tag).await?);
        sleep(REST).await;
    }
    poller.end().await?;
    executor.end().await?;
    Ok(figures(ours, &bares))
}

/// The tag that every bundle is deployed with before anything is measured.
const FIRST: &str = "v0.1.0";

fn repository(bundle: &str) -> String {
    format!("measured/{bundle}")
}

fn figures(ours: Vec<Duration>, bares: &[Bare]) -> Vec<Figure> {
    let seen = bares.iter().map(|bare| bare.seen).collect();
    let answered = bares.iter().map(|bare| bare.answered).collect();
    let (ours, seen, answered) = (Sorted::of(ours), Sorted::of(seen), Sorted::of(answered));
    let milliseconds = |name: &str, value: f64| Figure::plain(name, value, "ms");
    vec![
        Figure::new(
            "tag_to_job_ratio",
            ours.at(50) / seen.at(50),
            "x",
            Goal::AtMost(MOST_RATIO),
        ),
        milliseconds("tag_to_job_p50", ours.at(50)).beside(seen.at(50)),
        milliseconds("tag_to_job_p99", ours.at(99)).beside(seen.at(99)),
        milliseconds("tag_to_job_bare_p50", seen.at(50)),
        milliseconds("tag_to_job_bare_p99", seen.at(99)),
        milliseconds("tag_to_job_watch_adds", seen.at(50) - answered.at(50)),
    ]
}

/// Milliseconds, the shortest first.
struct Sorted(Vec<f64>);

impl Sorted {
    fn of(mut times: Vec<Duration>) -> Self {
        times.sort_unstable();
        Self(times.iter().map(|time| time.as_secs_f64() * 1e3).collect())
    }

    fn at(&self, percent: usize) -> f64 {
        let index = self.0.len() * percent / 100;
        self.0.get(index).copied().unwrap_or(f64::NAN)
    }
}

/// A new tag, from the registry's answer to its Job; then the Job ends.
async fn turn(
    ground: &Ground,
    registry: &Registry,
    mut poller: PollerServiceClient<Channel>,
    bundle: &str,
    tag: &str,
) -> anyhow::Result<Duration> {
    registry.push(&repository(bundle), tag);
    let ask = PollNowRequest {
        namespace: NAMESPACE.to_owned(),
        name: bundle.to_owned(),
    };
    let polling = async { poller.poll_now(ask).await.context("PollNow") };
    let (_, job) = try_join(polling, ground.sight.of(bundle, tag)).await?;
    let told = registry.told(&repository(bundle), tag)?;
    finish(ground, &job, bundle, tag).await?;
    Ok(job.at.saturating_duration_since(told))
}

/// Ends a Job that has been let run, and waits until that is recorded.
async fn finish(ground: &Ground, job: &Seen, bundle: &str, tag: &str) -> anyhow::Result<()> {
    let released = |seen: &Seen| seen.name == job.name && seen.released;
    ground.sight.until(1, released).await?;
    objects::end_job(&ground.admin, job).await?;
    let bundles: Api<WerfBundle> = Api::namespaced(ground.admin.clone(), NAMESPACE);
    until("the tag is deployed", async || {
        let status = bundles.get(bundle).await?.status.unwrap_or_default();
        let deployed = status.last_applied_tag.as_deref() == Some(tag);
        Ok(deployed && status.phase == Some(Phase::Synced))
    })
    .await
}

/// A status is patched, a Job created.
async fn bare(ground: &Ground, pattern: &Pattern, tag: &str) -> anyhow::Result<Bare> {
    let name = format!("bare-{}-12345678", tag.replace('.', "-"));
    let stand_ins = objects::stand_ins(&ground.bare, NAMESPACE);
    let jobs: Api<Job> = Api::namespaced(ground.bare.clone(), pattern.namespace());
    let (status, job) = (json!({"status": {"desiredTag": tag}}), pattern.job(&name));
    let params = PatchParams::default();
    let started = Instant::now();
    stand_ins
        .patch_status(STAND_IN, &params, &Patch::Merge(&status))
        .await?;
    let made = create(&jobs, job).await?;
    let answered = started.elapsed();
    let seen = ground.sight.until(1, |job| job.name == name).await?;
    remove(ground, &made.name_any()).await?;
    Ok(Bare {
        seen: seen[0].at.saturating_duration_since(started),
        answered,
    })
}

async fn remove(ground: &Ground, job: &str) -> anyhow::Result<()> {
    let jobs: Api<Job> = Api::namespaced(ground.admin.clone(), NAMESPACE);
    jobs.delete(job, &DeleteParams::background()).await?;
    Ok(())
}
