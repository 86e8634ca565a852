//! The workloads beyond those of the design notes: what people ask a bundle for.

use std::time::Duration;

use anyhow::Context as _;
use k8s_openapi::jiff::Timestamp;
use kube::api::{Patch, PatchParams};
use serde_json::json;
use werf_shared::clock;
use werf_shared::names::wish;

use super::{BUNDLE, Stage, text};
use crate::faults::history::{Kind, World, may_run};
use crate::faults::plan::Workload;

/// Another bundle, of the same release.
const SECOND: &str = "second";

/// How often the clock is looked at.
const LOOK: Duration = Duration::from_millis(50);

impl Stage<'_> {
    pub(super) async fn play_more(&self, workload: Workload) -> anyhow::Result<()> {
        match workload {
            Workload::W8 => {
                let changes = json!({"deletionPolicy": "Uninstall"});
                let app = self.make(BUNDLE, changes).await?;
                self.accepted(&app, "v1.0.0").await?;
                self.deployed("v1.0.0").await?;
                self.delete_bundle().await?;
            }
            Workload::W9 => {
                let app = self.make_bundle("app").await?;
                for tag in ["v1.0.0", "v1.1.0"] {
                    self.accepted(&app, tag).await?;
                    self.deployed(tag).await?;
                }
                self.roll_back_to(Some("v1.0.0")).await?;
                self.deployed("v1.0.0").await?;
                // What it was rolled back from is pushed anew: known, and not wanted.
                self.announce_as(&app, "v1.1.0", "v1.1.0 again").await?;
                self.accepted(&app, "v1.2.0").await?;
            }
            Workload::W10 => {
                let app = self.make(BUNDLE, json!({"retry": {"limit": 1}})).await?;
                self.accepted(&app, "v1.0.0-fails").await?;
            }
            Workload::W11 => {
                let app = self.make_bundle("app").await?;
                for tag in ["v1.0.0", "v1.1.0"] {
                    self.accepted(&app, tag).await?;
                    self.deployed(tag).await?;
                }
                self.roll_back_to(Some("v1.0.0")).await?;
                self.deployed("v1.0.0").await?;
                self.roll_back_to(None).await?;
            }
            Workload::W12 => {
                self.jobs_end.send_replace(false);
                let app = self.make_bundle("app").await?;
                self.accepted(&app, "v1.0.0").await?;
                self.until("a Job runs", |world| world.all(Kind::Job).any(may_run))
                    .await?;
                self.is_older_than_what_comes().await?;
                let second = self.make(SECOND, json!({})).await?;
                self.accepted(&second, "v1.0.0").await?;
                self.until("the second one is told", is_second_told).await?;
                self.jobs_end.send_replace(true);
            }
            _ => {}
        }
        Ok(())
    }

    /// Waits until a bundle that is made now is younger than the first: times of creation are whole
    /// seconds.
    async fn is_older_than_what_comes(&self) -> anyhow::Result<()> {
        let world = self.until("it is seen", |world| {
            world.get(Kind::Bundle, BUNDLE).is_some()
        });
        let world = world.await?;
        let bundle = world.get(Kind::Bundle, BUNDLE).context("no bundle")?;
        let created: Timestamp = text(bundle, "/metadata/creationTimestamp").parse()?;
        while clock::now().as_second() <= created.as_second() {
            tokio::time::sleep(LOOK).await;
        }
        Ok(())
    }

    /// Sets or removes the annotation that rolls back.
    async fn roll_back_to(&self, tag: Option<&str>) -> anyhow::Result<()> {
        let change = json!({"metadata": {"annotations": {wish::ROLLBACK_TO: tag}}});
        let api = Kind::Bundle.api(self.client, self.namespace);
        api.patch(BUNDLE, &PatchParams::default(), &Patch::Merge(change))
            .await?;
        Ok(())
    }
}

/// The second bundle knows why nothing is deployed for it.
pub(super) fn is_second_told(world: &World) -> bool {
    let bundle = world.get(Kind::Bundle, SECOND);
    let conditions = bundle.and_then(|bundle| bundle.pointer("/status/conditions")?.as_array());
    conditions
        .into_iter()
        .flatten()
        .any(|condition| text(condition, "/reason") == "ReleaseConflict")
}
