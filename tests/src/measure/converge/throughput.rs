//! How many Jobs a second the executor makes of announced tags, and how many requests each takes
//! until its end is recorded; against the bare client, in turns, several times.

use std::time::Instant;

use anyhow::{Context as _, ensure};
use futures::{StreamExt as _, TryStreamExt as _, stream};
use kube::api::ListParams;
use kube::{Api, ResourceExt};
use sha2::{Digest as _, Sha256};
use werf_proto::v1alpha1::AnnounceTagRequest;
use werf_proto::v1alpha1::announce_tag_response::Verdict;
use werf_proto::v1alpha1::executor_service_client::ExecutorServiceClient;
use werf_shared::bundle::WerfBundle;
use werf_shared::bundle::status::Phase;

use super::audit::{self, Requests};
use super::bare::{self, Pattern, Writes};
use super::ground::{EXECUTOR, Ground, until};
use super::sight::Seen;
use super::{number, objects};
use crate::measure::figures::{Figure, Goal, median};

/// Bundles of one round, each deployed once.
const COUNT: usize = 200;

const ROUNDS: usize = 3;

/// As many as the executor looks at bundles at the same time.
const AT_ONCE: usize = 32;

const NAMESPACES: [&str; 2] = ["plain", "with-secrets"];

const LEAST_SHARE: f64 = 0.7;
const MOST_WRITES: f64 = 6.0;

/// One round: Jobs a second.
struct Round {
    executor: f64,
    bare: f64,
    one_at_a_time: f64,
    same_writes: f64,
}

/// What the executor did in a round.
struct Run {
    rate: f64,
    arrival: Requests,
    requests: Requests,
    pattern: Pattern,
}

/// Measures bundles without Secrets or with one each.
pub(super) async fn measure(ground: &mut Ground, secret: bool) -> anyhow::Result<Vec<Figure>> {
    let namespace = NAMESPACES[usize::from(secret)];
    objects::make_namespace(&ground.admin, namespace).await?;
    let executor = ground.executor().await?;
    let mut rounds = Vec::new();
    let mut last = None;
    for round in 0..ROUNDS {
        let run = run(ground, namespace, round, secret).await?;
        let pattern = &run.pattern;
        let jobs = bare::rate(ground, pattern, COUNT, AT_ONCE, Writes::Job);
        let bare = jobs.await?;
        let one = bare::rate(ground, pattern, COUNT / 2, 1, Writes::Job);
        let one_at_a_time = one.await?;
        let writes = bare::rate(ground, pattern, COUNT, AT_ONCE, Writes::Everything);
        let same_writes = writes.await?;
        rounds.push(Round {
            executor: run.rate,
            bare,
            one_at_a_time,
            same_writes,
        });
        last = Some(run);
    }
    executor.end().await?;
    let last = last.context("no round")?;
    Ok(figures(&rounds, &last, secret))
}

fn figures(rounds: &[Round], run: &Run, secret: bool) -> Vec<Figure> {
    let name = |what: &str| {
        let suffix = if secret { "_secret" } else { "" };
        format!("{what}{suffix}")
    };
    let middle = |of: &dyn Fn(&Round) -> f64| median(rounds.iter().map(of).collect());
    let bare = middle(&|round| round.bare);
    let share = middle(&|round| round.executor / round.bare);
    let per_run = |count: usize| number(count) / number(COUNT);
    let writes = per_run(audit::writes(&run.requests));
    // The goals are about bundles without Secrets.
    let judged = |what: &str, value, unit, goal| {
        if secret {
            Figure::plain(name(what), value, unit)
        } else {
            Figure::new(name(what), value, unit, goal)
        }
    };
    let least = Goal::AtLeast(LEAST_SHARE);
    let most = Goal::AtMost(MOST_WRITES);
    let share = judged("jobs_share", share, "x", least);
    let writes = judged("api_writes_per_run", writes, "requests", most);
    let plain = |what: &str, value, unit| Figure::plain(name(what), value, unit);
    let requests = |what: &str, count| plain(what, per_run(count), "requests");
    let mut figures = vec![
        share,
        plain("jobs", middle(&|round| round.executor), "jobs/s").beside(bare),
        plain("jobs_bare", bare, "jobs/s"),
        plain(
            "jobs_bare_one_at_a_time",
            middle(&|round| round.one_at_a_time),
            "jobs/s",
        ),
        plain(
            "jobs_share_of_one_at_a_time",
            middle(&|round| round.executor / round.one_at_a_time),
            "x",
        ),
        plain(
            "jobs_bare_same_writes",
            middle(&|round| round.same_writes),
            "jobs/s",
        ),
        plain(
            "jobs_share_of_same_writes",
            middle(&|round| round.executor / round.same_writes),
            "x",
        ),
        writes,
        requests("api_reads_per_run", audit::reads(&run.requests)),
        requests("api_events_per_run", audit::events(&run.requests)),
    ];
    let kinds = run
        .requests
        .iter()
        .map(|(kind, count)| ("run", kind, count));
    let arrivals = run.arrival.iter();
    let kinds = kinds.chain(arrivals.map(|(kind, count)| ("arrival", kind, count)));
    figures.extend(kinds.map(|(when, kind, count)| {
        let kind = kind.replace([' ', '/'], "_");
        requests(&format!("{when}_{kind}"), *count)
    }));
    figures
}

/// New bundles, a tag for each at once, and a good end.
async fn run(
    ground: &mut Ground,
    namespace: &str,
    round: usize,
    secret: bool,
) -> anyhow::Result<Run> {
    let prefix = format!("round{round}");
    let names: Vec<_> = (0..COUNT).map(|i| format!("{prefix}-{i:03}")).collect();
    ground.audit.quiet().await?;
    ground.audit.skip()?;
    let made = objects::make_bundles(&ground.admin, namespace, &names, secret).await?;
    until("bundles are greeted", async || {
        all(ground, namespace, &prefix, |bundle| {
            let greeted = bundle.status.as_ref().is_some_and(|s| s.phase.is_some());
            greeted && !bundle.finalizers().is_empty()
        })
        .await
    })
    .await?;
    ground.audit.quiet().await?;
    let arrival = ground.audit.asked_by(EXECUTOR)?;

    let channel = ground.to_executor().await?;
    let started = Instant::now();
    let announcing = made
        .iter()
        .map(|bundle| announce(ExecutorServiceClient::new(channel.clone()), bundle));
    let mut announced = stream::iter(announcing).buffer_unordered(AT_ONCE);
    while announced.try_next().await?.is_some() {}
    let ours = |job: &Seen| job.namespace == namespace && job.name.starts_with(&prefix);
    let jobs = ground.sight.until(COUNT, ours).await?;
    let last = jobs.iter().map(|job| job.at).max().context("no Jobs")?;
    let jobs = ground
        .sight
        .until(COUNT, |job| ours(job) && job.released)
        .await?;
    ground.audit.quiet().await?;
    let one = jobs.iter().find(|job| job.name.starts_with(&names[0]));
    let one = one.context("no Job of the first bundle")?;
    let pattern = Pattern::read(&ground.admin, namespace, &one.name, &names[0]).await?;
    objects::end_jobs(&ground.admin, &jobs).await?;
    until("all is deployed", async || {
        all(ground, namespace, &prefix, |bundle| {
            let status = bundle.status.as_ref();
            status.is_some_and(|status| status.phase == Some(Phase::Synced))
        })
        .await
    })
    .await?;
    ground.audit.quiet().await?;
    Ok(Run {
        rate: number(COUNT) / (last - started).as_secs_f64(),
        arrival,
        requests: ground.audit.asked_by(EXECUTOR)?,
        pattern,
    })
}

async fn announce(
    mut executor: ExecutorServiceClient<tonic::transport::Channel>,
    bundle: &WerfBundle,
) -> anyhow::Result<()> {
    let tag = "v1.0.0";
    let digest = format!("{:x}", Sha256::digest(tag));
    let request = AnnounceTagRequest {
        namespace: bundle.namespace().unwrap_or_default(),
        name: bundle.name_any(),
        uid: bundle.uid().unwrap_or_default(),
        generation: bundle.metadata.generation.unwrap_or_default(),
        tag: tag.to_owned(),
        digest: format!("sha256:{digest}"),
        etag: "\"list\"".to_owned(),
        list_fingerprint: digest,
        seen_at: None,
    };
    let answer = executor.announce_tag(request).await?.into_inner();
    let verdict = answer.verdict();
    ensure!(
        verdict == Verdict::Accepted,
        "an announcement was answered {verdict:?}"
    );
    Ok(())
}

/// Something holds for all bundles of a round.
async fn all(
    ground: &Ground,
    namespace: &str,
    prefix: &str,
    holds: impl Fn(&WerfBundle) -> bool,
) -> anyhow::Result<bool> {
    let bundles: Api<WerfBundle> = Api::namespaced(ground.admin.clone(), namespace);
    let listed = bundles.list(&ListParams::default()).await?.items;
    let mut ours = listed
        .iter()
        .filter(|bundle| bundle.name_any().starts_with(prefix));
    Ok(ours.all(holds))
}
