//! Watches `WerfBundle`s and passes on what matters of each. An object that cannot be read is told
//! about and skipped: one bad bundle never stops the others.

use std::collections::HashSet;

use futures::{Stream, TryStreamExt};
use kube::core::DeserializeGuard;
use kube::runtime::watcher::Event;
use kube::runtime::{WatchStreamExt, watcher};
use kube::{Api, Client, ResourceExt};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};
use werf_shared::bundle::{BundleKey, WerfBundle};
use werf_shared::error::chain;

use crate::decide::watched::Watched;
use crate::metrics::PollerMetrics;

/// The poll loop takes changes faster than an apiserver sends them; this bridges one slow turn.
pub const QUEUE: usize = 1024;

type Guarded = DeserializeGuard<WerfBundle>;

/// What happened to the bundles.
#[derive(Clone, Debug, PartialEq)]
pub enum WatchEvent {
    /// A bundle as it is now.
    Applied(BundleKey, Box<Watched>),
    /// It is gone.
    Deleted(BundleKey),
    /// These are all there are; others are gone.
    Complete(HashSet<BundleKey>),
}

/// Bundles that are listed at a time. One can be twenty kilobytes, and what a page takes while it is
/// decoded, the process never gives back. Bundles can be made larger, up to the megabytes that etcd takes;
/// then the client makes smaller pages of it, of at most [`PAGE_LIMIT`](werf_shared::apiserver::PAGE_LIMIT)
/// in all.
const PAGE: u32 = 100;

/// The watch ended although it never does.
#[derive(Debug, thiserror::Error)]
#[error("the watch of WerfBundles ended")]
pub struct Ended;

/// The events of all bundles, or of those in one namespace. Errors are retried with backoff.
pub fn bundles(
    client: Client,
    namespace: Option<&str>,
) -> impl Stream<Item = Result<Event<Guarded>, watcher::Error>> + Send + use<> {
    let api: Api<Guarded> = match namespace {
        Some(namespace) => Api::namespaced(client, namespace),
        None => Api::all(client),
    };
    watcher(api, watcher::Config::default().page_size(PAGE)).default_backoff()
}

/// Passes events on until `shutdown`.
pub async fn run(
    events: impl Stream<Item = Result<Event<Guarded>, watcher::Error>> + Send,
    queue: mpsc::Sender<WatchEvent>,
    metrics: PollerMetrics,
    shutdown: CancellationToken,
) -> Result<(), Ended> {
    tokio::select! {
        () = shutdown.cancelled() => Ok(()),
        () = pass_on(events, &queue, &metrics) => {
            if shutdown.is_cancelled() { Ok(()) } else { Err(Ended) }
        }
    }
}

async fn pass_on(
    events: impl Stream<Item = Result<Event<Guarded>, watcher::Error>> + Send,
    queue: &mpsc::Sender<WatchEvent>,
    metrics: &PollerMetrics,
) {
    let mut events = std::pin::pin!(events);
    let mut listed = HashSet::new();
    loop {
        let event = match events.try_next().await {
            Ok(Some(event)) => event,
            Ok(None) => return,
            Err(error) => {
                warn!(
                    error = chain(&error),
                    "Cannot watch WerfBundles, trying again"
                );
                continue;
            }
        };
        let passed = match event {
            Event::Init => {
                listed.clear();
                None
            }
            Event::InitApply(object) => {
                listed.insert(key(&object));
                applied(object, metrics)
            }
            Event::Apply(object) => applied(object, metrics),
            Event::Delete(object) => Some(WatchEvent::Deleted(key(&object))),
            Event::InitDone => {
                info!(bundles = listed.len(), "Listed the WerfBundles");
                Some(WatchEvent::Complete(std::mem::take(&mut listed)))
            }
        };
        if let Some(passed) = passed
            && queue.send(passed).await.is_err()
        {
            return;
        }
    }
}

fn applied(object: Guarded, metrics: &PollerMetrics) -> Option<WatchEvent> {
    let key = key(&object);
    match object.0 {
        Ok(bundle) => Some(WatchEvent::Applied(key, Box::new(Watched::of(&bundle)))),
        Err(invalid) => {
            metrics.unreadable_bundle();
            warn!(
                bundle.namespace = key.namespace,
                bundle.name = key.name,
                error = %invalid,
                "Skipped a WerfBundle that cannot be read"
            );
            None
        }
    }
}

fn key(object: &Guarded) -> BundleKey {
    BundleKey::new(object.namespace().unwrap_or_default(), object.name_any())
}
