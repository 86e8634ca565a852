//! The poll loop as it is shipped, fed with bundles that are polled every second. The schema allows
//! no interval below a minute, so the same load from outside would take sixty times as many bundles;
//! what is left out is the watch of the apiserver, in which nothing happens in the steady state.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use clap::Args;
use kube::Client;
use prometheus_client::registry::Registry as Metrics;
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;
use werf_poller::args::Task;
use werf_poller::decide::book::Book;
use werf_poller::decide::schedule::ASKED_EVERY;
use werf_poller::decide::watched::Watched;
use werf_poller::io::announce::{Courier, connect};
use werf_poller::io::registry::Registry;
use werf_poller::io::secrets::Secrets;
use werf_poller::io::server;
use werf_poller::io::watch::{self, WatchEvent};
use werf_poller::metrics::PollerMetrics;
use werf_poller::poll::Poller;
use werf_shared::admin;
use werf_shared::arguments::{Arguments as _, Problems};
use werf_shared::bundle::{BundleKey, WerfBundle};
use werf_shared::readiness::Readiness;
use werf_shared::telemetry;

use super::bundles::{Bundles, NAMESPACE};
use super::shape::Shape;
use super::wire::Wire;

/// How often each bundle is polled.
const INTERVAL: Duration = Duration::from_secs(1);

/// In so many steps they are handed over.
const STEPS: usize = 50;

/// What to poll.
#[derive(Clone, Debug, Args)]
pub struct Sustained {
    /// How to talk to the registry
    #[arg(long)]
    wire: Wire,
    /// Bundles, and so polls a second
    #[arg(long)]
    bundles: usize,
    /// Everything else, as the poller takes it
    #[command(flatten)]
    poller: werf_poller::args::Args,
}

/// The bundles that are polled for.
pub(super) fn bundles(wire: Wire, count: usize) -> Bundles {
    Bundles {
        label: "sustained",
        wire,
        count,
        shape: Shape {
            tags: 50,
            etags: true,
        },
        chosen: false,
        secret: false,
    }
}

impl Sustained {
    /// Polls until it is killed.
    pub async fn run(self) -> anyhow::Result<()> {
        let Self {
            wire,
            bundles: count,
            poller,
        } = self;
        let mut problems = Problems::default();
        let Some(Task::Run(config)) = poller.check(&mut problems) else {
            anyhow::bail!("what the poller is told does not fit together: {problems:?}");
        };
        let _telemetry = telemetry::start("sustained", &config.telemetry)?;
        let stop = CancellationToken::new();
        let mut registry = Metrics::default();
        let metrics = PollerMetrics::register(&mut registry);
        let readiness = Readiness::new();
        let synced = readiness.expect("bundles");
        let mut tasks = JoinSet::new();

        let listener = TcpListener::bind(config.admin_listen).await?;
        let served = admin::serve(listener, readiness, Arc::new(registry), stop.clone());
        tasks.spawn(async { anyhow::Ok(served.await?) });

        let client = Client::try_default().await?;
        let http = Registry::new(config.limits.clone(), config.reach.clone())?
            .with_secrets(Secrets::new(client))
            .with_token_servers(config.token_servers.clone());
        let courier = Courier::new(connect(config.executor.clone()), metrics.clone());
        let book = Book::new(config.per_host, ASKED_EVERY);
        let poller = Poller::new(book, http, courier, metrics, synced);
        let (changes, queue) = mpsc::channel(watch::QUEUE);
        let (_asks, asked) = mpsc::channel(server::QUEUE);
        tasks.spawn(async move {
            poller.run(queue, asked, stop).await;
            Ok(())
        });
        tasks.spawn(feed(wire, count, changes));
        while let Some(ended) = tasks.join_next().await {
            ended??;
        }
        anyhow::bail!("everything ended")
    }
}

/// Hands the bundles over, spread over an interval, and then keeps still.
async fn feed(wire: Wire, count: usize, changes: mpsc::Sender<WatchEvent>) -> anyhow::Result<()> {
    let bundles = bundles(wire, count);
    for number in 0..count {
        let object: WerfBundle = serde_json::from_value(bundles.object(number))?;
        let mut watched = Watched::of(&object);
        watched.interval = INTERVAL;
        let key = BundleKey::new(NAMESPACE, format!("app-{number}"));
        let applied = WatchEvent::Applied(key, Box::new(watched));
        changes.send(applied).await.context("the loop ended")?;
        if number % count.div_ceil(STEPS) == 0 {
            sleep(INTERVAL / u32::try_from(STEPS)?).await;
        }
    }
    std::future::pending().await
}
