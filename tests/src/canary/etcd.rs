//! etcd from beside the apiserver, through its JSON gateway: every change of every key, and at the end
//! every key. See the etcd documentation, "gRPC gateway".

use std::net::SocketAddr;
use std::sync::Arc;

use anyhow::{Context as _, bail};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use futures::StreamExt as _;
use serde::Deserialize;
use serde_json::json;
use tokio::sync::watch;

use super::pile::Pile;
use crate::cluster::Cluster;

/// Where etcd listens, inside the cluster.
const ETCD: &str = "127.0.0.1:2379";

/// As a first key and as an end: everything.
const EVERYTHING: [u8; 1] = [0];

const PAGE: usize = 200;

#[derive(Debug, Deserialize)]
struct Pair {
    key: String,
    #[serde(default)]
    value: String,
}

#[derive(Debug, Deserialize)]
struct Event {
    kv: Pair,
}

#[derive(Debug, Deserialize)]
struct Changed {
    #[serde(default)]
    events: Vec<Event>,
    #[serde(default)]
    canceled: bool,
}

#[derive(Debug, Deserialize)]
struct Line {
    result: Changed,
}

#[derive(Debug, Deserialize)]
struct Page {
    #[serde(default)]
    kvs: Vec<Pair>,
    #[serde(default)]
    more: bool,
}

/// A watch of all keys that has begun.
#[derive(Debug)]
pub(super) struct Changes(reqwest::Response);

impl Changes {
    pub(super) async fn open(cluster: &Cluster) -> anyhow::Result<Self> {
        let everything = STANDARD.encode(EVERYTHING);
        let create = json!({"create_request": {"key": everything, "range_end": everything}});
        let response = post(cluster, "watch", create.to_string()).await?;
        Ok(Self(response))
    }

    pub(super) async fn follow(
        self,
        pile: Arc<Pile>,
        mut stop: watch::Receiver<bool>,
    ) -> anyhow::Result<()> {
        let mut stream = self.0.bytes_stream();
        let mut rest = Vec::new();
        loop {
            let chunk = tokio::select! {
                chunk = stream.next() => chunk.context("etcd ended the watch")??,
                _ = stop.wait_for(|stop| *stop) => return Ok(()),
            };
            rest.extend_from_slice(&chunk);
            while let Some(end) = rest.iter().position(|byte| *byte == b'\n') {
                let line: Vec<u8> = rest.drain(..=end).collect();
                let line: Line =
                    serde_json::from_slice(&line).context("an unknown answer of etcd")?;
                if line.result.canceled {
                    bail!("etcd cancelled the watch");
                }
                for event in line.result.events {
                    keep(&pile, &event.kv)?;
                }
            }
        }
    }
}

/// Every key there is.
pub(super) async fn read_all(cluster: &Cluster, pile: &Pile) -> anyhow::Result<()> {
    let mut from = EVERYTHING.to_vec();
    loop {
        let range = json!({
            "key": STANDARD.encode(&from), "range_end": STANDARD.encode(EVERYTHING),
            "limit": PAGE.to_string(),
        });
        let text = post(cluster, "kv/range", range.to_string()).await?;
        let page: Page = serde_json::from_slice(&text.bytes().await?)?;
        for pair in &page.kvs {
            keep(pile, pair)?;
        }
        let Some(last) = page.kvs.last().filter(|_| page.more) else {
            return Ok(());
        };
        from = STANDARD.decode(&last.key)?;
        from.push(0);
    }
}

fn keep(pile: &Pile, pair: &Pair) -> anyhow::Result<()> {
    let key = STANDARD.decode(&pair.key)?;
    let place = format!("etcd {}", String::from_utf8_lossy(&key));
    pile.add(place, STANDARD.decode(&pair.value)?);
    Ok(())
}

async fn post(cluster: &Cluster, path: &str, body: String) -> anyhow::Result<reqwest::Response> {
    let etcd: SocketAddr = ETCD.parse()?;
    let door = cluster.forward(etcd).await?;
    let client = reqwest::Client::builder().no_proxy().build()?;
    let response = client.post(format!("http://{door}/v3/{path}")).body(body);
    let response = response.send().await?.error_for_status();
    response.with_context(|| format!("etcd does not answer to {path}"))
}
