//! The bare client: the HTTP library of the poller with the settings of the poller, doing the same
//! conditional requests over as many connections, and nothing else.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, ensure};
use clap::Args;
use http::{HeaderValue, Method, StatusCode, header};
use reqwest::redirect::Policy;
use reqwest::{Client, Url};
use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval};

use super::shape::Shape;
use super::wire::{self, HOSTS, Wire};

/// What to ask for.
#[derive(Clone, Debug, Args)]
pub struct Bare {
    /// The label its requests are counted under
    #[arg(long)]
    pub label: String,
    /// How to talk to the registry
    #[arg(long)]
    pub wire: Wire,
    /// Repositories to go through
    #[arg(long)]
    pub repositories: usize,
    /// Tags of each
    #[arg(long)]
    pub tags: usize,
    /// Send no condition and read the list each time
    #[arg(long)]
    pub unconditional: bool,
    /// Also ask for the digest of a tag
    #[arg(long)]
    pub with_tag: bool,
    /// Connections
    #[arg(long)]
    pub connections: usize,
    /// Rounds a second [default: as many as possible]
    #[arg(long)]
    pub rate: Option<f64>,
    /// Where the authority's certificate is
    #[arg(long)]
    pub pki: PathBuf,
}

struct Target {
    list: Url,
    manifest: Url,
}

impl Bare {
    /// The command line that says this.
    pub(super) fn arguments(&self) -> Vec<String> {
        let mut arguments = vec![
            "bare".to_owned(),
            format!("--label={}", self.label),
            format!("--wire={}", self.wire.name()),
            format!("--repositories={}", self.repositories),
            format!("--tags={}", self.tags),
            format!("--connections={}", self.connections),
            format!("--pki={}", self.pki.display()),
        ];
        arguments.extend(self.rate.map(|rate| format!("--rate={rate}")));
        arguments.extend(self.unconditional.then(|| "--unconditional".to_owned()));
        arguments.extend(self.with_tag.then(|| "--with-tag".to_owned()));
        arguments
    }

    fn shape(&self) -> Shape {
        Shape {
            tags: self.tags,
            etags: !self.unconditional,
        }
    }

    /// Asks until it is killed.
    pub async fn run(self) -> anyhow::Result<()> {
        let client = client(self.wire, &self.pki)?;
        let asked = Arc::new(self);
        let mut loops = JoinSet::new();
        for lane in 0..asked.connections {
            loops.spawn(ask(client.clone(), Arc::clone(&asked), lane));
        }
        let ended = loops.join_next().await.context("no connections")?;
        ended?
    }
}

/// The client of the poller.
fn client(wire: Wire, pki: &std::path::Path) -> anyhow::Result<Client> {
    let mut client = Client::builder()
        .user_agent("werf-operator/bare")
        .redirect(Policy::none())
        .referer(false)
        .connect_timeout(Duration::from_secs(5))
        .read_timeout(Duration::from_secs(15));
    if wire.is_tls() {
        client = client.tls_certs_only([wire::authority(pki)?]);
    }
    Ok(client.build()?)
}

/// Goes round the repositories of one host; as many lanes share a host as connections are made
/// to it.
async fn ask(client: Client, asked: Arc<Bare>, lane: usize) -> anyhow::Result<()> {
    let shape = asked.shape();
    let stride = asked.connections.max(HOSTS);
    let target = |number| -> anyhow::Result<Target> {
        let repository = shape.repository(&asked.label, number);
        let url = |tail: &str| {
            asked
                .wire
                .url(number, &format!("/v2/{repository}/{tail}"))
                .parse()
        };
        Ok(Target {
            list: url("tags/list")?,
            manifest: url(&format!("manifests/{}", shape.newest()))?,
        })
    };
    let numbers = (lane..asked.repositories).step_by(stride);
    let targets = numbers.map(target).collect::<Result<Vec<_>, _>>()?;
    let etag = shape.etag(0).map(HeaderValue::try_from).transpose()?;
    #[expect(clippy::cast_precision_loss, reason = "a number of connections")]
    let period = asked
        .rate
        .map(|rate| Duration::from_secs_f64(asked.connections as f64 / rate));
    let mut pace = period.map(interval);
    if let (Some(pace), Some(period)) = (&mut pace, period) {
        pace.set_missed_tick_behavior(MissedTickBehavior::Delay);
        // Not all lanes at once.
        tokio::time::sleep(period.mul_f64(unit(lane, asked.connections))).await;
        pace.reset();
    }
    for target in targets.iter().cycle() {
        if let Some(pace) = &mut pace {
            pace.tick().await;
        }
        poll(&client, target, etag.as_ref(), asked.with_tag).await?;
    }
    anyhow::bail!("lane {lane} has no repositories")
}

#[expect(clippy::cast_precision_loss, reason = "a number of connections")]
fn unit(lane: usize, lanes: usize) -> f64 {
    lane as f64 / lanes as f64
}

async fn poll(
    client: &Client,
    target: &Target,
    etag: Option<&HeaderValue>,
    with_tag: bool,
) -> anyhow::Result<()> {
    let mut request = client
        .request(Method::GET, target.list.clone())
        .header(header::ACCEPT, "application/json");
    if let Some(etag) = etag {
        request = request.header(header::IF_NONE_MATCH, etag);
    }
    let mut response = request.send().await?;
    let expected = match etag {
        Some(_) => StatusCode::NOT_MODIFIED,
        None => StatusCode::OK,
    };
    ensure!(response.status() == expected, "{}", response.status());
    while response.chunk().await?.is_some() {}
    if with_tag {
        let accept = "application/vnd.oci.image.manifest.v1+json";
        let request = client.request(Method::HEAD, target.manifest.clone());
        let response = request.header(header::ACCEPT, accept).send().await?;
        ensure!(response.status() == StatusCode::OK, "{}", response.status());
        ensure!(response.headers().contains_key("docker-content-digest"));
    }
    Ok(())
}
