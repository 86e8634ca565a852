//! `make bench-deploy`: how quickly a new tag becomes a Job and is deployed, and what the services weigh.
//! Printed as `NAME VALUE UNIT`, one line each.

use std::fs;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::Pod;
use kube::api::ListParams;
use kube::{Api, Client, ResourceExt};
use serde_json::json;
use tokio::process::Command;
use werf_shared::bundle::WerfBundle;
use werf_shared::bundle::status::Phase;

use crate::access::Access;
use crate::bundle::{Bundle, Repository};
use crate::cluster::Cluster;
use crate::operator::{self, Installation, NAMESPACE};

pub mod converge;
mod figures;
pub mod poll;
mod process;

pub use figures::Figure;
pub use process::enter;

/// Tags that are pushed, one after the other.
const RUNS: u32 = 20;

/// How often the apiserver is asked whether something is there; what is measured is late by half of
/// it on average.
const LOOK: Duration = Duration::from_millis(2);

/// How long one deployment may take.
const PATIENCE: Duration = Duration::from_mins(2);

const BUNDLE: &str = "measured";

/// Measures on a cluster and returns the lines.
pub async fn measure(cluster: &Cluster) -> anyhow::Result<Vec<String>> {
    let access = Access::local(cluster)?;
    let images = operator::push_images(&access).await?;
    Installation::local(&images).apply(&access).await?;
    let mut lines = vec![
        weight("poller_idle", cluster, "poller").await?,
        weight("executor_idle", cluster, "executor").await?,
    ];
    let (to_job, to_synced) = deployments(cluster, &access, &images.busybox).await?;
    lines.extend(quantiles("poll_to_job", to_job));
    lines.extend(quantiles("poll_to_synced", to_synced));
    lines.push(weight("poller_after", cluster, "poller").await?);
    lines.push(weight("executor_after", cluster, "executor").await?);
    Ok(lines)
}

/// Pushes tags and polls at once; returns, for each, the time from the poll's start to the Job and
/// to the end of the deployment.
async fn deployments(
    cluster: &Cluster,
    access: &Access,
    image: &str,
) -> anyhow::Result<(Vec<Duration>, Vec<Duration>)> {
    let client = cluster.client().await?;
    let repository = Repository::new(&access.registry_here, "measure/app")?;
    repository
        .push("v1.0.0", &Bundle::demo("v1.0.0", image)?)
        .await?;
    let account = json!({"apiVersion": "v1", "kind": "List", "items": [
        {"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "RoleBinding",
         "metadata": {"name": "measured", "namespace": "default"},
         "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "admin"},
         "subjects": [{"kind": "ServiceAccount", "name": "default", "namespace": "default"}]},
        {"apiVersion": "werf.io/v1alpha1", "kind": "WerfBundle",
         "metadata": {"name": BUNDLE, "namespace": "default"},
         "spec": {
            "registry": {
                "url": format!("{}/measure/app", access.registry_in_pods),
                "insecure": true, "pollInterval": "1h",
            },
            "converge": {"resourceLimits": {"cpu": "1", "memory": "512Mi"}},
         }},
    ]});
    access
        .kubectl_with(&["apply", "-f", "-"], &account.to_string())
        .await?;
    synced(&client, "v1.0.0").await?;
    let poller = cluster
        .forward(service(&client, "werf-operator-poller").await?)
        .await?;
    let (mut to_job, mut to_synced) = (Vec::new(), Vec::new());
    for minor in 1..=RUNS {
        let tag = format!("v1.{minor}.0");
        repository.push(&tag, &Bundle::demo(&tag, image)?).await?;
        let started = Instant::now();
        let poll = Command::new(access.program("grpcurl"))
            .args(["-plaintext", "-d"])
            .arg(json!({"namespace": "default", "name": BUNDLE}).to_string())
            .arg(poller.to_string())
            .arg("werf.operator.v1alpha1.PollerService/PollNow")
            .output();
        let (answer, job) = tokio::join!(poll, job_exists(&client, &tag));
        anyhow::ensure!(answer?.status.success(), "PollNow failed");
        job?;
        to_job.push(started.elapsed());
        synced(&client, &tag).await?;
        to_synced.push(started.elapsed());
    }
    Ok((to_job, to_synced))
}

async fn service(client: &Client, name: &str) -> anyhow::Result<std::net::SocketAddr> {
    use k8s_openapi::api::core::v1::Service;
    let services: Api<Service> = Api::namespaced(client.clone(), NAMESPACE);
    let spec = services.get(name).await?.spec;
    let address = spec
        .and_then(|spec| spec.cluster_ip)
        .context("no address")?;
    Ok(std::net::SocketAddr::new(address.parse()?, 9090))
}

async fn job_exists(client: &Client, tag: &str) -> anyhow::Result<()> {
    let jobs: Api<Job> = Api::namespaced(client.clone(), "default");
    let this = ListParams::default().labels(&format!("werf.io/tag={tag}"));
    within(async || Ok(!jobs.list_metadata(&this).await?.items.is_empty())).await
}

async fn synced(client: &Client, tag: &str) -> anyhow::Result<()> {
    let bundles: Api<WerfBundle> = Api::namespaced(client.clone(), "default");
    within(async || {
        let status = bundles.get(BUNDLE).await?.status.unwrap_or_default();
        Ok(status.phase == Some(Phase::Synced) && status.last_applied_tag.as_deref() == Some(tag))
    })
    .await
}

async fn within(holds: impl AsyncFn() -> anyhow::Result<bool>) -> anyhow::Result<()> {
    let started = Instant::now();
    while !holds().await? {
        anyhow::ensure!(started.elapsed() < PATIENCE, "not within {PATIENCE:?}");
        tokio::time::sleep(LOOK).await;
    }
    Ok(())
}

/// Resident memory of a service's process.
async fn weight(name: &str, cluster: &Cluster, component: &str) -> anyhow::Result<String> {
    let pods: Api<Pod> = Api::namespaced(cluster.client().await?, NAMESPACE);
    let this = ListParams::default().labels(&format!("app.kubernetes.io/component={component}"));
    let pod = pods.list(&this).await?.items.into_iter().next();
    let uid = pod.and_then(|pod| pod.uid()).context("no Pod")?;
    let pid = operator::processes_of(&uid, component)?
        .into_iter()
        .next()
        .context("no process")?;
    let status = fs::read_to_string(format!("/proc/{}/status", pid.as_raw_nonzero()))?;
    let line = status.lines().find(|line| line.starts_with("VmRSS:"));
    let kib = line.and_then(|line| line.split_whitespace().nth(1)?.parse::<u64>().ok());
    Ok(format!("{name}_rss {} KiB", kib.context("no VmRSS")?))
}

fn quantiles(name: &str, mut times: Vec<Duration>) -> Vec<String> {
    times.sort_unstable();
    [("p50", times.len() / 2), ("max", times.len() - 1)]
        .into_iter()
        .filter_map(|(label, index)| {
            let milliseconds = times.get(index)?.as_millis();
            Some(format!("{name}_{label} {milliseconds} ms"))
        })
        .collect()
}
