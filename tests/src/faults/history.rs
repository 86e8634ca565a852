//! Ground truth: everything that ever existed in a plan's namespace, watched directly at the
//! apiserver from before the plan began. The process under test has no part in it.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context as _, bail};
use futures::StreamExt as _;
use kube::api::{ApiResource, DynamicObject, ListParams, WatchEvent, WatchParams};
use kube::{Api, Client};
use serde_json::Value;
use tokio::sync::watch;
use tokio::time::timeout;

/// What is watched.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Kind {
    Bundle,
    Job,
    Secret,
    ConfigMap,
    Event,
}

impl Kind {
    const ALL: [Self; 5] = [
        Self::Bundle,
        Self::Job,
        Self::Secret,
        Self::ConfigMap,
        Self::Event,
    ];

    pub(super) fn api(self, client: &Client, namespace: &str) -> Api<DynamicObject> {
        let (group, version, kind, plural) = match self {
            Self::Bundle => ("werf.io", "v1alpha1", "WerfBundle", "werfbundles"),
            Self::Job => ("batch", "v1", "Job", "jobs"),
            Self::Secret => ("", "v1", "Secret", "secrets"),
            Self::ConfigMap => ("", "v1", "ConfigMap", "configmaps"),
            Self::Event => ("events.k8s.io", "v1", "Event", "events"),
        };
        let group_version_kind = kube::core::GroupVersionKind::gvk(group, version, kind);
        let resource = ApiResource::from_gvk_with_plural(&group_version_kind, plural);
        Api::namespaced_with(client.clone(), namespace, &resource)
    }
}

/// What happened to an object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum What {
    Created,
    Changed,
    Deleted,
}

/// One change of one object.
#[derive(Debug, Clone)]
pub(super) struct Change {
    pub(super) kind: Kind,
    pub(super) what: What,
    /// The object after the change; the last state of a deleted one.
    pub(super) object: Value,
    /// etcd's revision, one sequence for all kinds: it says what came first.
    pub(super) revision: u64,
}

impl Change {
    pub(super) fn text(&self, pointer: &str) -> &str {
        text(&self.object, pointer)
    }

    pub(super) fn uid(&self) -> &str {
        self.text("/metadata/uid")
    }

    pub(super) fn name(&self) -> &str {
        self.text("/metadata/name")
    }

    /// An annotation of our own prefix.
    pub(super) fn annotation(&self, name: &str) -> &str {
        annotation(&self.object, name)
    }
}

/// A text in an object; empty when it is not there.
pub(super) fn text<'a>(object: &'a Value, pointer: &str) -> &'a str {
    object
        .pointer(pointer)
        .and_then(Value::as_str)
        .unwrap_or("")
}

/// An annotation of the operator's.
pub(super) fn annotation<'a>(object: &'a Value, name: &str) -> &'a str {
    text(
        object,
        &format!("/metadata/annotations/operator.werf.io~1{name}"),
    )
}

/// Whether a Job may run: it was let run and has not ended.
pub(super) fn may_run(job: &Value) -> bool {
    job.pointer("/spec/suspend") == Some(&Value::Bool(false)) && !has_ended(job)
}

/// A Job's end is in its conditions.
pub(super) fn has_ended(job: &Value) -> bool {
    has_condition(job, "Complete") || has_condition(job, "Failed")
}

/// A condition is true.
pub(super) fn has_condition(object: &Value, kind: &str) -> bool {
    let conditions = object
        .pointer("/status/conditions")
        .and_then(Value::as_array);
    conditions
        .into_iter()
        .flatten()
        .any(|condition| text(condition, "/type") == kind && text(condition, "/status") == "True")
}

/// Everything that happened so far.
#[derive(Debug)]
pub(super) struct History {
    changes: Mutex<Vec<Change>>,
    count: watch::Sender<usize>,
}

impl History {
    pub(super) fn new() -> Self {
        Self {
            changes: Mutex::default(),
            count: watch::Sender::new(0),
        }
    }

    /// Watches a namespace; says `ready` when nothing can be missed any more.
    pub(super) async fn follow(
        &self,
        client: &Client,
        namespace: &str,
        ready: tokio::sync::oneshot::Sender<()>,
    ) -> anyhow::Result<()> {
        let mut streams = Vec::new();
        for kind in Kind::ALL {
            let api = kind.api(client, namespace);
            let listed = api.list(&ListParams::default().limit(1)).await?;
            let version = listed
                .metadata
                .resource_version
                .context("a list without version")?;
            let params = WatchParams::default().timeout(290);
            let events = api.watch(&params, &version).await?;
            streams.push(events.map(move |event| (kind, event)).boxed_local());
        }
        let _ = ready.send(());
        let mut all = futures::stream::select_all(streams);
        while let Some((kind, event)) = all.next().await {
            let (what, object) = match event? {
                WatchEvent::Added(object) => (What::Created, object),
                WatchEvent::Modified(object) => (What::Changed, object),
                WatchEvent::Deleted(object) => (What::Deleted, object),
                WatchEvent::Bookmark(_) => continue,
                WatchEvent::Error(error) => bail!("the watch broke: {error:?}"),
            };
            let mut object = serde_json::to_value(object)?;
            if let Some(metadata) = object
                .pointer_mut("/metadata")
                .and_then(Value::as_object_mut)
            {
                metadata.remove("managedFields");
            }
            let revision = text(&object, "/metadata/resourceVersion").parse()?;
            let change = Change {
                kind,
                what,
                object,
                revision,
            };
            let mut changes = self.changes.lock().unwrap_or_else(PoisonError::into_inner);
            changes.push(change);
            self.count.send_replace(changes.len());
        }
        bail!("a watch of the plan's own ended")
    }

    /// Everything so far, in the order in which it happened.
    pub(super) fn so_far(&self) -> Vec<Change> {
        let changes = self.changes.lock().unwrap_or_else(PoisonError::into_inner);
        let mut changes = changes.clone();
        changes.sort_by_key(|change| change.revision);
        changes
    }

    /// What exists now.
    pub(super) fn world(&self) -> World {
        let mut world = World::default();
        for change in self.so_far() {
            let key = (change.kind, change.name().to_owned());
            if change.what == What::Deleted {
                world.objects.remove(&key);
            } else {
                world.objects.insert(key, change.object);
            }
        }
        world
    }

    /// Waits until the world is as wanted.
    pub(super) async fn until(
        &self,
        limit: Duration,
        wanted: impl Fn(&World) -> bool,
    ) -> anyhow::Result<World> {
        let mut count = self.count.subscribe();
        let waiting = async {
            loop {
                count.borrow_and_update();
                let world = self.world();
                if wanted(&world) {
                    return world;
                }
                if count.changed().await.is_err() {
                    std::future::pending::<()>().await;
                }
            }
        };
        let world = timeout(limit, waiting).await;
        world.with_context(|| format!("not after {} s", limit.as_secs()))
    }

    /// Tells when there is more.
    pub(super) fn subscribe(&self) -> watch::Receiver<usize> {
        self.count.subscribe()
    }
}

/// What exists at one moment.
#[derive(Debug, Default, Clone)]
pub(super) struct World {
    objects: BTreeMap<(Kind, String), Value>,
}

impl World {
    /// The objects of a kind, by name.
    pub(super) fn all(&self, kind: Kind) -> impl Iterator<Item = &Value> {
        self.objects
            .iter()
            .filter(move |((of, _), _)| *of == kind)
            .map(|(_, object)| object)
    }

    /// One object.
    pub(super) fn get(&self, kind: Kind, name: &str) -> Option<&Value> {
        self.objects.get(&(kind, name.to_owned()))
    }
}
