//! What is done to a bundle while something goes wrong, step by step. A step waits for what people
//! and pollers would wait for, never for the process under test to be well.

use std::time::Duration;

use anyhow::{Context as _, ensure};
use kube::Client;
use kube::api::{DeleteParams, Patch, PatchParams, PostParams};
use serde_json::{Value, json};
use tokio::sync::watch;
use werf_proto::v1alpha1::announce_tag_response::Verdict;

use super::announcer::{self, Subject};
use super::history::{History, Kind, World, may_run, text};
use super::plan::Workload;
use super::process::Process;
use super::progress::Progress;

mod more;

/// The bundle's name in every plan.
pub(super) const BUNDLE: &str = "app";

/// Made by the plan itself, or for all plans alike.
pub(super) fn is_set_up(secret: &str) -> bool {
    matches!(secret, "credentials" | "extra" | "werf-operator-inputs-key")
}

/// How long a step may take. The slowest thing an executor waits for in these workloads are 30 s,
/// before it looks again at what kept it from making a Job; the rest is for machines that are busy.
pub(super) const PATIENCE: Duration = Duration::from_mins(3);

/// Where a workload is played.
pub(super) struct Stage<'a> {
    pub(super) client: &'a Client,
    pub(super) namespace: &'a str,
    pub(super) history: &'a History,
    pub(super) process: &'a Process,
    /// Whether Jobs may end.
    pub(super) jobs_end: &'a watch::Sender<bool>,
    pub(super) progress: &'a Progress,
    /// Whether a request of the process will be held.
    pub(super) holds: bool,
    /// How long a step may take.
    pub(super) patience: Duration,
    /// A value that may stand in Secrets only; another one each time.
    pub(super) canary: &'a str,
}

impl Stage<'_> {
    /// Plays a workload to its end; what is expected at the end is for [`is_over`].
    pub(super) async fn play(&self, workload: Workload) -> anyhow::Result<()> {
        self.set_up().await?;
        match workload {
            Workload::W1 => {
                let app = self.make_bundle("app").await?;
                self.accepted(&app, "v1.0.0").await?;
            }
            Workload::W2 => {
                let app = self.make_bundle("app").await?;
                self.accepted(&app, "v1.0.0").await?;
                self.deployed("v1.0.0").await?;
                self.accepted(&app, "v1.1.0").await?;
            }
            Workload::W3 => {
                let app = self.make_bundle("app").await?;
                self.accepted(&app, "v1.0.0").await?;
                if self.holds {
                    self.progress.held().await?;
                }
                for tag in ["v1.1.0", "v1.2.0"] {
                    self.accepted(&app, tag).await?;
                }
            }
            Workload::W4 => {
                self.jobs_end.send_replace(false);
                let app = self.make_bundle("app").await?;
                self.accepted(&app, "v1.0.0").await?;
                self.until("a Job runs", |world| world.all(Kind::Job).any(may_run))
                    .await?;
                self.rotate().await?;
                self.jobs_end.send_replace(true);
            }
            Workload::W5 => {
                let app = self.make_bundle("app").await?;
                self.accepted(&app, "v1.0.0-fails").await?;
                self.until("it has failed", |world| {
                    status(world, "/phase") == "Failed"
                        && status(world, "/activeJobName").is_empty()
                })
                .await?;
                self.accepted(&app, "v1.0.1").await?;
            }
            Workload::W6 => {
                self.jobs_end.send_replace(false);
                let app = self.make_bundle("app").await?;
                self.accepted(&app, "v1.0.0").await?;
                self.until("a Job runs", |world| world.all(Kind::Job).any(may_run))
                    .await?;
                self.delete_bundle().await?;
            }
            Workload::W7 => {
                let first = self.make_bundle("app").await?;
                self.accepted(&first, "v1.0.0").await?;
                self.deployed("v1.0.0").await?;
                self.delete_bundle().await?;
                self.until("it is gone", |world| {
                    world.get(Kind::Bundle, BUNDLE).is_none()
                })
                .await?;
                let second = self.make_bundle("another").await?;
                // A poller that was slow, and knows only the first.
                let late = self.announce(&first, "v9.0.0").await?;
                ensure!(
                    late == Verdict::UnknownBundle,
                    "I8: an announcement for the deleted bundle was answered {late:?}"
                );
                self.accepted(&second, "v2.0.0").await?;
            }
            Workload::W8 | Workload::W9 | Workload::W10 | Workload::W11 | Workload::W12 => {
                self.play_more(workload).await?;
            }
        }
        Ok(())
    }

    async fn set_up(&self) -> anyhow::Result<()> {
        for (kind, object) in [
            (
                Kind::ConfigMap,
                json!({
                    "apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "settings"},
                    "data": {"values.yaml": "replicas: 2\n"},
                }),
            ),
            (Kind::Secret, self.secret("credentials", "password")),
            (Kind::Secret, self.secret("extra", "token")),
        ] {
            let api = kind.api(self.client, self.namespace);
            api.create(&PostParams::default(), &serde_json::from_value(object)?)
                .await?;
        }
        Ok(())
    }

    fn secret(&self, name: &str, key: &str) -> Value {
        let values = format!("{key}: {}-{key}\n", self.canary);
        json!({
            "apiVersion": "v1", "kind": "Secret", "metadata": {"name": name},
            "stringData": {"values.yaml": values},
        })
    }

    async fn make_bundle(&self, release: &str) -> anyhow::Result<Subject> {
        self.make(BUNDLE, json!({"releaseName": release})).await
    }

    /// Makes a bundle with some fields of `spec.converge` changed.
    async fn make(&self, name: &str, changes: Value) -> anyhow::Result<Subject> {
        let mut converge = json!({
            "releaseName": "app",
            "serviceAccountName": super::ACCOUNT,
            // A second attempt would come after half a minute.
            "retry": {"limit": 0},
            "valuesFrom": [
                {"configMapRef": {"name": "settings"}},
                {"secretRef": {"name": "credentials"}},
                {"secretRef": {"name": "extra"}, "optional": true},
            ],
        });
        for (key, change) in changes.as_object().into_iter().flatten() {
            converge[key] = change.clone();
        }
        let bundle = json!({
            "apiVersion": "werf.io/v1alpha1", "kind": "WerfBundle", "metadata": {"name": name},
            "spec": {
                "registry": {"url": "registry.example.com/app", "pollInterval": "1h"},
                "converge": converge,
            },
        });
        let api = Kind::Bundle.api(self.client, self.namespace);
        let made = api
            .create(&PostParams::default(), &serde_json::from_value(bundle)?)
            .await?;
        let uid = made.metadata.uid.context("a bundle without uid")?;
        // A poller needs longer to poll than an executor to say that it waits for it.
        self.until("the bundle is greeted", |world| {
            let bundle = world.get(Kind::Bundle, name);
            bundle.is_some_and(|bundle| text(bundle, "/metadata/uid") == uid)
                && !status_of(world, name, "/phase").is_empty()
        })
        .await?;
        Ok(Subject {
            namespace: self.namespace.to_owned(),
            name: name.to_owned(),
            uid,
            generation: made
                .metadata
                .generation
                .context("a bundle without generation")?,
        })
    }

    async fn announce(&self, subject: &Subject, tag: &str) -> anyhow::Result<Verdict> {
        self.announce_as(subject, tag, tag).await
    }

    /// Announces a tag with some contents.
    async fn announce_as(
        &self,
        subject: &Subject,
        tag: &str,
        contents: &str,
    ) -> anyhow::Result<Verdict> {
        announcer::announce(self.process.grpc, subject, tag, contents).await
    }

    /// Announces a tag that has to be taken.
    async fn accepted(&self, subject: &Subject, tag: &str) -> anyhow::Result<()> {
        let verdict = self.announce(subject, tag).await?;
        self.progress.acknowledged();
        ensure!(
            matches!(verdict, Verdict::Accepted | Verdict::AlreadyKnown),
            "I2: the announcement of {tag} was answered {verdict:?}"
        );
        Ok(())
    }

    async fn rotate(&self) -> anyhow::Result<()> {
        let values = format!("password: {}-rotated\n", self.canary);
        let change = json!({"stringData": {"values.yaml": values}});
        let api = Kind::Secret.api(self.client, self.namespace);
        api.patch(
            "credentials",
            &PatchParams::default(),
            &Patch::Merge(change),
        )
        .await?;
        Ok(())
    }

    async fn delete_bundle(&self) -> anyhow::Result<()> {
        let api = Kind::Bundle.api(self.client, self.namespace);
        api.delete(BUNDLE, &DeleteParams::default()).await?;
        Ok(())
    }

    async fn deployed(&self, tag: &str) -> anyhow::Result<()> {
        let tag_deployed = |world: &World| {
            status(world, "/lastAppliedTag") == tag && status(world, "/phase") == "Synced"
        };
        self.until(&format!("{tag} is deployed"), tag_deployed)
            .await?;
        Ok(())
    }

    async fn until(&self, what: &str, wanted: impl Fn(&World) -> bool) -> anyhow::Result<World> {
        let world = self.history.until(self.patience, wanted).await;
        world.with_context(|| format!("I2: {what}"))
    }
}

/// A text in the bundle's status.
pub(super) fn status<'a>(world: &'a World, pointer: &str) -> &'a str {
    status_of(world, BUNDLE, pointer)
}

fn status_of<'a>(world: &'a World, name: &str, pointer: &str) -> &'a str {
    let bundle = world.get(Kind::Bundle, name);
    bundle.map_or("", |bundle| text(bundle, &format!("/status{pointer}")))
}

/// The workload has come to its end: this is what it was for.
pub(super) fn is_over(workload: Workload, world: &World) -> bool {
    let newest = match workload {
        Workload::W1 | Workload::W4 | Workload::W12 => "v1.0.0",
        Workload::W2 | Workload::W11 => "v1.1.0",
        Workload::W3 | Workload::W9 => "v1.2.0",
        Workload::W5 => "v1.0.1",
        Workload::W7 => "v2.0.0",
        Workload::W10 => {
            return runs(world) == 2
                && status(world, "/phase") == "Failed"
                && status(world, "/activeJobName").is_empty()
                && !world.all(Kind::Job).any(may_run);
        }
        Workload::W6 | Workload::W8 => {
            return world.get(Kind::Bundle, BUNDLE).is_none()
                && world.all(Kind::Job).next().is_none()
                && world
                    .all(Kind::Secret)
                    .all(|secret| is_set_up(text(secret, "/metadata/name")));
        }
    };
    let jobs_ended = !world.all(Kind::Job).any(may_run);
    let settled = status(world, "/phase") == "Synced" && status(world, "/activeJobName").is_empty();
    let all_ran = match workload {
        // Values that changed during a run are a run of their own.
        Workload::W4 => runs(world) >= 2,
        // There and back again.
        Workload::W9 | Workload::W11 => runs(world) >= 4,
        Workload::W12 => more::is_second_told(world),
        _ => true,
    };
    status(world, "/lastAppliedTag") == newest && settled && jobs_ended && all_ran
}

fn runs(world: &World) -> usize {
    let bundle = world.get(Kind::Bundle, BUNDLE);
    let history = bundle.and_then(|bundle| bundle.pointer("/status/history")?.as_array());
    history.map_or(0, Vec::len)
}
