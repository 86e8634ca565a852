//! `make run`: the operator's main job, told as it happens. A bundle is published and deployed, then
//! a newer one is published and the application follows.

mod place;
mod story;
mod terminal;

use std::time::{Duration, Instant};

use anyhow::Context as _;
use kube::Client;
use werf_shared::bundle::BundleKey;

pub use self::place::Place;
use self::story::Story;
use self::terminal::Terminal;
use crate::bundle::{Bundle, Repository};
use crate::operator::{self, Images, Installation, NAMESPACE, checkout};

/// The bundle of the guides.
const BUNDLE: &str = "my-app";

/// No step may take longer.
const STEP: Duration = Duration::from_mins(2);

/// Shows the main job at a place.
///
/// Unless the place `stays`, nothing is said about what to do next.
pub async fn show(place: &Place, stays: bool) -> anyhow::Result<()> {
    let terminal = Terminal::new();
    let demonstration = Demonstration {
        place,
        client: place.client().await?,
        key: BundleKey::new(NAMESPACE, BUNDLE),
        terminal,
    };
    demonstration.run().await?;
    if stays {
        demonstration.what_next().await?;
    }
    Ok(())
}

struct Demonstration<'a> {
    place: &'a Place,
    client: Client,
    key: BundleKey,
    terminal: Terminal,
}

impl Demonstration<'_> {
    async fn run(&self) -> anyhow::Result<()> {
        let images = self.build().await?;
        let installation = Installation::local(&images);
        self.step("Install the operator", async {
            installation.apply(self.place.access()).await
        })
        .await?;
        let repository = self.place.repository("demo/my-app")?;
        let published = minors(&repository).await;
        let [first, second] = [published, published + 1].map(|minor| format!("v1.{minor}.0"));
        self.publish(&repository, &first, &images.busybox).await?;
        self.step("Apply the RBAC and the WerfBundle", self.apply())
            .await?;
        if published > 0 {
            self.look_now().await?;
        }
        self.deployed(&first).await?;
        self.publish(&repository, &second, &images.busybox).await?;
        self.look_now().await?;
        self.deployed(&second).await?;
        self.summary().await
    }

    /// Builds take as long as they take; the steps after it do not.
    async fn build(&self) -> anyhow::Result<Images> {
        self.terminal.title("Build the images and push them");
        let started = Instant::now();
        let images = operator::push_images(self.place.access()).await?;
        self.terminal.done(started.elapsed());
        Ok(images)
    }

    /// Runs a step within its time and says how long it took.
    async fn step<T>(
        &self,
        title: &str,
        work: impl Future<Output = anyhow::Result<T>>,
    ) -> anyhow::Result<T> {
        self.terminal.title(title);
        let started = Instant::now();
        let done = tokio::time::timeout(STEP, work)
            .await
            .with_context(|| format!("{title}: not done after {} s", STEP.as_secs()))?
            .with_context(|| title.to_owned())?;
        self.terminal.done(started.elapsed());
        Ok(done)
    }

    async fn apply(&self) -> anyhow::Result<()> {
        let access = self.place.access();
        let examples = checkout().join("crds/examples");
        let namespace = "apiVersion: v1\nkind: Namespace\nmetadata: {name: production}\n";
        access
            .kubectl_with(&["apply", "-f", "-"], namespace)
            .await?;
        let rbac = examples.join("rbac.yaml");
        access
            .kubectl(&["apply", "-f", &rbac.to_string_lossy()])
            .await?;
        let bundle = tokio::fs::read_to_string(examples.join("werfbundle.yaml")).await?;
        let local = bundle
            .replace(
                "url: ghcr.io/org/my-app-bundle",
                &self.place.registry_of("demo/my-app"),
            )
            .replace("pollInterval: 15m", "pollInterval: 1m")
            .replace("cpu: \"2\"", "cpu: \"1\"")
            .replace("memory: \"2Gi\"", "memory: \"512Mi\"");
        self.terminal.quote(local.trim_end());
        access.kubectl_with(&["apply", "-f", "-"], &local).await?;
        Ok(())
    }

    /// Follows the bundle until a tag is deployed, then looks at the application.
    async fn deployed(&self, tag: &str) -> anyhow::Result<()> {
        self.step(&format!("Wait for {tag}"), async {
            Story::new(&self.client, &self.key, &self.terminal, self.place.access())
                .follow_until(tag)
                .await
        })
        .await?;
        self.step("Ask the application for its page", async {
            let page = self.place.page("production", BUNDLE).await?;
            self.terminal.quote(page.trim());
            let version = tag.trim_start_matches('v');
            anyhow::ensure!(page.contains(version), "the page does not show {version}");
            Ok(())
        })
        .await
    }

    async fn publish(&self, repository: &Repository, tag: &str, image: &str) -> anyhow::Result<()> {
        self.step(&format!("Publish bundle {tag}"), async {
            repository.push(tag, &Bundle::demo(tag, image)?).await?;
            Ok(())
        })
        .await
    }

    async fn look_now(&self) -> anyhow::Result<()> {
        self.terminal.say(
            "The poller looks once a minute. PollNow asks it to look at once; it would find the \
             tag by itself.",
        );
        self.step("PollNow", self.poll_now()).await
    }

    async fn poll_now(&self) -> anyhow::Result<()> {
        let poller = self.place.service("werf-operator-poller", 9090).await?;
        let answer = self
            .place
            .grpcurl(
                &poller,
                "werf.operator.v1alpha1.PollerService/PollNow",
                &format!(r#"{{"namespace": "{NAMESPACE}", "name": "{BUNDLE}"}}"#),
            )
            .await?;
        self.terminal.quote(answer.trim());
        Ok(())
    }

    async fn summary(&self) -> anyhow::Result<()> {
        self.terminal.title("kubectl get werfbundle -A");
        let table = self
            .place
            .access()
            .kubectl(&["get", "werfbundle", "-A"])
            .await?;
        self.terminal.plain(table.trim_end());
        Ok(())
    }

    async fn what_next(&self) -> anyhow::Result<()> {
        self.terminal.plain(&self.place.what_next().await?);
        Ok(())
    }
}

/// How many versions `v1.N.0` an earlier demonstration has published here.
async fn minors(repository: &Repository) -> u32 {
    // A repository that nothing was pushed to is not there.
    let tags = repository.tags().await.unwrap_or_default();
    let minor = |tag: &String| tag.strip_prefix("v1.")?.strip_suffix(".0")?.parse().ok();
    tags.iter()
        .filter_map(minor)
        .max()
        .map_or(0, |highest: u32| highest + 1)
}
