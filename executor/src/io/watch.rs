//! Watches bundles and their Jobs and says which bundle to look at. A watched object is only a
//! hint; passes read everything anew, except what they have stored themselves. An object that cannot
//! be decoded is told and skipped, and delays nobody.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use k8s_openapi::api::batch::v1::Job;
use kube::runtime::controller::Action;
use kube::runtime::reflector::{ObjectRef, Store};
use kube::runtime::{Controller, controller, watcher};
use kube::{Api, Client, ResourceExt};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;
use tracing::{debug, error, warn};
use werf_shared::bundle::BundleKey;
use werf_shared::error::{Class, chain};
use werf_shared::names::{OPERATOR, annotation, label};
use werf_shared::readiness::ReadinessHandle;

use super::essential::Identity;
use super::watched::Watched;

/// When to look at a bundle again without being told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Again {
    /// Only when something changes.
    OnChange,
    /// After this long at the latest.
    After(Duration),
}

impl Again {
    /// Whatever was missed is found out within a minute.
    pub fn is_soon(self) -> bool {
        matches!(self, Self::After(delay) if delay <= Duration::from_mins(1))
    }
}

/// A pass that failed.
pub trait Failure: std::error::Error + Send + Sync + 'static {
    /// What it means for trying again.
    fn class(&self) -> Class;
}

/// Passes at the same time. They wait for the apiserver most of the time, and client and apiserver
/// both limit more tightly than processors do.
const CONCURRENCY: u16 = 32;

/// Objects that are listed at a time. A bundle can be twenty kilobytes, and what a page takes while it is
/// decoded, the process never gives back. Objects can be made larger, up to the megabytes that etcd takes;
/// then the client makes smaller pages of it, of at most [`PAGE_LIMIT`](werf_shared::apiserver::PAGE_LIMIT)
/// in all.
const PAGE: u32 = 100;

/// The watch of bundles, not running yet.
pub struct BundleWatch {
    controller: Controller<Watched>,
    client: Client,
}

impl BundleWatch {
    /// Sets up the watch of all bundles and of the Jobs that name them.
    pub fn new(client: &Client) -> Self {
        let bundles: Api<Watched> = Api::all(client.clone());
        let config = kube::runtime::controller::Config::default().concurrency(CONCURRENCY);
        Self {
            controller: Controller::new(bundles, watcher::Config::default().page_size(PAGE))
                .with_config(config),
            client: client.clone(),
        }
    }

    /// The bundles as last seen.
    pub fn store(&self) -> Store<Watched> {
        self.controller.store()
    }

    /// Calls `pass` with each bundle that may need it and the version last seen of it, until `shutdown`. Tells `orphaned` when there may
    /// be Jobs whose bundle is gone, and once at the start.
    pub async fn run<P, F, E>(
        self,
        pass: P,
        synced: ReadinessHandle,
        orphaned: Arc<Notify>,
        shutdown: CancellationToken,
    ) -> anyhow::Result<()>
    where
        P: Fn(BundleKey, Option<String>) -> F + Send + Sync + 'static,
        F: Future<Output = Result<Again, E>> + Send + 'static,
        E: Failure,
    {
        let store = self.controller.store();
        let jobs: Api<Identity<Job>> = Api::all(self.client);
        let ours = watcher::Config::default()
            .page_size(PAGE)
            .labels(&format!("{}={OPERATOR}", label::MANAGED_BY));
        let pass = Arc::new(pass);
        let (seen, told) = (store.clone(), Arc::clone(&orphaned));
        let mut results = std::pin::pin!(
            self.controller
                .watches(jobs, ours, move |job| {
                    let bundle = bundle_of(&job)?;
                    if is_anothers(&job, &bundle, &seen) {
                        told.notify_one();
                    }
                    Some(bundle)
                })
                .graceful_shutdown_on(shutdown.cancelled_owned())
                .run(
                    |bundle, pass: Arc<P>| reconcile(bundle, pass),
                    |_, failure: &E, _| Action::requeue(delay_after(failure)),
                    pass,
                )
        );
        let ready = async {
            if store.wait_until_ready().await.is_ok() {
                orphaned.notify_one();
                synced.ready();
            }
        };
        let drain = async {
            while let Some(result) = results.next().await {
                if let Err(controller::Error::ObjectNotFound(_)) = &result {
                    orphaned.notify_one();
                }
                if let Err(failure) = result {
                    // Failed passes are logged where they fail; this is about the watches.
                    debug!(error = %failure, "Watch hiccup");
                }
            }
        };
        tokio::join!(ready, drain);
        Ok(())
    }
}

async fn reconcile<P, F, E>(watched: Arc<Watched>, pass: Arc<P>) -> Result<Action, E>
where
    P: Fn(BundleKey, Option<String>) -> F,
    F: Future<Output = Result<Again, E>>,
    E: Failure,
{
    let key = BundleKey::new(watched.namespace().unwrap_or_default(), watched.name_any());
    if let Err(invalid) = &watched.0 {
        error!(bundle.namespace = %key.namespace, bundle.name = %key.name, error = %invalid.error, "Bundle cannot be read");
        return Ok(Action::await_change());
    }
    let (namespace, name) = (key.namespace.clone(), key.name.clone());
    match pass(key, watched.resource_version()).await {
        Ok(Again::OnChange) => Ok(Action::await_change()),
        Ok(Again::After(delay)) => Ok(Action::requeue(delay)),
        Err(failure) => {
            warn!(bundle.namespace = %namespace, bundle.name = %name, error = %chain(&failure), "Pass failed");
            Err(failure)
        }
    }
}

fn delay_after(failure: &impl Failure) -> Duration {
    match failure.class() {
        Class::Transient => Duration::from_secs(2),
        Class::Rejected => Duration::from_secs(30),
        Class::Broken => Duration::from_mins(1),
    }
}

/// The Job belongs to a bundle that had this name before.
fn is_anothers(job: &Identity<Job>, bundle: &ObjectRef<Watched>, seen: &Store<Watched>) -> bool {
    let uid = job.annotations().get(annotation::BUNDLE_UID);
    seen.get(bundle)
        .is_some_and(|bundle| bundle.uid().as_ref() != uid)
}

/// The bundle a Job names. Owner references do not reach across namespaces; annotations do.
fn bundle_of(job: &Identity<Job>) -> Option<ObjectRef<Watched>> {
    let annotations = job.annotations();
    let name = annotations.get(annotation::BUNDLE_NAME)?;
    let namespace = annotations.get(annotation::BUNDLE_NAMESPACE)?;
    Some(ObjectRef::new(name).within(namespace))
}
