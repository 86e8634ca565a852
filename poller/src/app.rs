//! Puts the poller together: clients, metrics, servers, tasks. No logic.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use kube::Client;
use prometheus_client::registry::Registry as Metrics;
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tonic::service::Routes;
use tracing::info;
use werf_proto::FILE_DESCRIPTOR_SET;
use werf_shared::readiness::Readiness;
use werf_shared::supervise::Supervisor;
use werf_shared::{admin, apiserver, grpc, telemetry};

use crate::args::PollerConfig;
use crate::decide::book::Book;
use crate::decide::schedule::ASKED_EVERY;
use crate::io::announce::{Courier, connect};
use crate::io::registry::{Reach, Registry};
use crate::io::secrets::Secrets;
use crate::io::{server, watch};
use crate::metrics::PollerMetrics;
use crate::poll::Poller;

const SERVICE: &str = "werf.operator.v1alpha1.PollerService";

/// Polls are dropped on a stop; this is for the servers to finish what is open.
const GRACE: Duration = Duration::from_secs(20);

/// Runs until told to stop.
#[tokio::main]
pub async fn run(config: PollerConfig) -> anyhow::Result<()> {
    let telemetry = telemetry::start("werf-operator-poller", &config.telemetry)?;
    let ended = supervise(config).await;
    // Said here, because afterwards nobody writes log lines any more.
    if let Err(error) = &ended {
        tracing::error!(error = %format!("{error:#}"), "Failed");
    }
    telemetry.shutdown().await;
    ended
}

async fn supervise(config: PollerConfig) -> anyhow::Result<()> {
    let mut supervisor = Supervisor::new(GRACE);
    start(&config, &mut supervisor).await?;
    supervisor.run().await
}

async fn start(config: &PollerConfig, supervisor: &mut Supervisor) -> anyhow::Result<()> {
    let mut registry = Metrics::default();
    let metrics = PollerMetrics::register(&mut registry);
    let readiness = Readiness::new();
    let synced = readiness.expect("watch of WerfBundles");
    let listening = readiness.expect("gRPC");
    let shutdown = supervisor.shutdown_token();

    let admin = listen("--admin-listen", config.admin_listen).await?;
    let served = admin::serve(admin, readiness, Arc::new(registry), shutdown.clone());
    supervisor.spawn("admin", async { Ok(served.await?) });

    let (asks, asked) = mpsc::channel(server::QUEUE);
    let listener = listen("--grpc-listen", config.grpc_listen).await?;
    let routes = Routes::new(server::service(asks));
    let stop = shutdown.clone();
    supervisor.spawn("grpc", async move {
        let served = grpc::serve(listener, routes, FILE_DESCRIPTOR_SET, &[SERVICE], stop);
        Ok(served.await?)
    });
    listening.ready();

    let client = kubernetes(&config.reach).await;
    let client = client.context("cannot set up the Kubernetes client")?;
    let (changes, queue) = mpsc::channel(watch::QUEUE);
    let events = watch::bundles(client.clone(), config.namespace.as_deref());
    let watched = watch::run(events, changes, metrics.clone(), shutdown.clone());
    supervisor.spawn("watch", async { Ok(watched.await?) });

    let http = Registry::new(config.limits.clone(), config.reach.clone())?
        .with_secrets(Secrets::new(client))
        .with_token_servers(config.token_servers.clone());
    let courier = Courier::new(connect(config.executor.clone()), metrics.clone());
    let book = Book::new(config.per_host, ASKED_EVERY);
    let poller = Poller::new(book, http, courier, metrics, synced);
    supervisor.spawn("poll", async move {
        poller.run(queue, asked, shutdown).await;
        Ok(())
    });
    info!(
        grpc.listen = %config.grpc_listen,
        admin.listen = %config.admin_listen,
        executor.address = %config.executor,
        namespace = config.namespace.as_deref().unwrap_or("all"),
        "Started"
    );
    Ok(())
}

/// The proxies in the environment are for registries. In a Pod, kube leaves them alone; with a
/// kubeconfig it takes `HTTPS_PROXY` for the apiserver as well, where only the kubeconfig's own
/// `proxy-url` should count.
async fn kubernetes(reach: &Reach) -> anyhow::Result<Client> {
    let mut config = kube::Config::infer().await?;
    config.proxy_url = config.proxy_url.filter(|url| !reach.proxies.include(url));
    Ok(apiserver::bounded(Client::try_from(config)?))
}

async fn listen(flag: &str, address: std::net::SocketAddr) -> anyhow::Result<TcpListener> {
    let bound = TcpListener::bind(address).await;
    bound.with_context(|| format!("cannot listen on {flag} {address}"))
}
