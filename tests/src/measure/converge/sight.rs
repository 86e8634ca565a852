//! Which Jobs are there, and since when: a watch of all of them that notes the moment it was told.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::ensure;
use futures::StreamExt as _;
use k8s_openapi::api::batch::v1::Job;
use kube::api::PartialObjectMeta;
use kube::runtime::watcher::{self, Event};
use kube::{Api, Client, ResourceExt};
use tokio::time::sleep;
use werf_shared::names::{annotation, label};

use super::objects::NOBODY;

/// The moments are noted by the watch; this only says how soon they are asked for.
const LOOK: Duration = Duration::from_millis(2);

const PATIENCE: Duration = Duration::from_secs(90);

/// A Job as it was seen.
#[derive(Clone, Debug)]
pub(super) struct Seen {
    pub(super) namespace: String,
    pub(super) name: String,
    /// When it was seen first.
    pub(super) at: Instant,
    /// It was let run.
    pub(super) released: bool,
    bundle: String,
    tag: String,
    /// The bare client made it.
    bare: bool,
}

/// All Jobs that were seen and are still there.
#[derive(Debug, Default)]
pub(super) struct Sight(Mutex<HashMap<String, Seen>>);

impl Sight {
    /// Looks until the watch ends for good.
    pub(super) async fn follow(&self, client: Client) {
        let api: Api<PartialObjectMeta<Job>> = Api::all(client);
        let mut events = std::pin::pin!(watcher::watcher(api, watcher::Config::default()));
        while let Some(event) = events.next().await {
            let now = Instant::now();
            let mut jobs = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            match event {
                Ok(Event::Apply(job) | Event::InitApply(job)) => note(&mut jobs, &job, now),
                Ok(Event::Delete(job)) => {
                    jobs.remove(&job.name_any());
                }
                Ok(Event::Init | Event::InitDone) | Err(_) => {}
            }
        }
    }

    /// Waits until there are so many Jobs that are wanted.
    pub(super) async fn until(
        &self,
        count: usize,
        wanted: impl Fn(&Seen) -> bool,
    ) -> anyhow::Result<Vec<Seen>> {
        let started = Instant::now();
        loop {
            let found = self.now(&wanted);
            if found.len() >= count {
                return Ok(found);
            }
            let there = found.len();
            ensure!(
                started.elapsed() < PATIENCE,
                "{there} of {count} Jobs after {PATIENCE:?}"
            );
            sleep(LOOK).await;
        }
    }

    /// Waits for the Job that deploys a bundle with a tag.
    pub(super) async fn of(&self, bundle: &str, tag: &str) -> anyhow::Result<Seen> {
        let wanted = |job: &Seen| job.bundle == bundle && job.tag == tag && !job.bare;
        let found = self.until(1, wanted).await?;
        Ok(found[0].clone())
    }

    fn now(&self, wanted: impl Fn(&Seen) -> bool) -> Vec<Seen> {
        let jobs = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        jobs.values().filter(|job| wanted(job)).cloned().collect()
    }
}

fn note(jobs: &mut HashMap<String, Seen>, job: &PartialObjectMeta<Job>, now: Instant) {
    let name = job.name_any();
    let annotations = job.annotations();
    let released = annotations.contains_key(annotation::RELEASED);
    if let Some(known) = jobs.get_mut(&name) {
        known.released = released;
        return;
    }
    let says = |key: &str| annotations.get(key).cloned().unwrap_or_default();
    let owner = job.labels().get(label::MANAGED_BY).map(String::as_str);
    let seen = Seen {
        namespace: job.namespace().unwrap_or_default(),
        name: name.clone(),
        at: now,
        released,
        bundle: says(annotation::BUNDLE_NAME),
        tag: says(annotation::TAG),
        bare: owner == Some(NOBODY),
    };
    jobs.insert(name, seen);
}
