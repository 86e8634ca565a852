//! Secrets that are put where the look has to find them.

use std::fs;
use std::time::Duration;

use anyhow::Context as _;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use k8s_openapi::api::core::v1::{ConfigMap, Namespace, Secret};
use kube::Api;
use kube::api::{DeleteParams, PostParams};
use serde_json::{Value, json};
use tokio::time::{sleep, timeout};

use super::pile::Pile;
use crate::cluster::Cluster;

/// How many are planted.
pub(super) const COUNT: usize = 3;

/// What was planted, and a part of the place where.
#[derive(Debug)]
pub(super) struct Decoys {
    planted: [(String, String); COUNT],
}

impl Decoys {
    /// One in an object in base64, one in an object that is deleted again, one in the log of a Pod.
    pub(super) async fn plant(cluster: &Cluster) -> anyhow::Result<Self> {
        let random = || format!("{:032x}", rand::random::<u128>());
        let namespace = format!("canary-{:08x}", rand::random::<u32>());
        let secrets = [random(), random(), random()];
        let [encoded, deleted, logged] = &secrets;
        let client = cluster.client().await?;
        let params = PostParams::default();
        let made = json!({"metadata": {"name": namespace}});
        let namespaces: Api<Namespace> = Api::all(client.clone());
        namespaces.create(&params, &object(made)?).await?;

        let own: Api<Secret> = Api::namespaced(client.clone(), &namespace);
        let secret =
            json!({"metadata": {"name": "decoys"}, "stringData": {"all": secrets.join(" ")}});
        own.create(&params, &object(secret)?).await?;
        let maps: Api<ConfigMap> = Api::namespaced(client, &namespace);
        let config =
            |name: &str, text: String| json!({"metadata": {"name": name}, "data": {"a": text}});
        let text = STANDARD.encode(format!("user:{encoded}\n"));
        maps.create(&params, &object(config("encoded", text))?)
            .await?;
        let text = format!("password={deleted}");
        maps.create(&params, &object(config("deleted", text))?)
            .await?;
        maps.delete("deleted", &DeleteParams::default()).await?;

        let folder = cluster.logs().join("node/pods").join(&namespace);
        fs::create_dir_all(&folder)?;
        let line = format!("connecting with \"{logged}\"\n");
        fs::write(folder.join("0.log"), line).context("cannot plant a secret in a log")?;
        namespaces
            .delete(&namespace, &DeleteParams::default())
            .await?;
        Ok(Self {
            planted: [
                (format!("/configmaps/{namespace}/encoded"), encoded.clone()),
                (format!("/configmaps/{namespace}/deleted"), deleted.clone()),
                (format!("log pods/{namespace}/"), logged.clone()),
            ],
        })
    }

    /// Waits until the watch of etcd has come so far, but not for ever: who misses something tells.
    pub(super) async fn seen(&self, pile: &Pile) {
        let [_, (deleted, _), _] = &self.planted;
        let came = async {
            while !pile.with(|records| records.iter().any(|record| record.place.contains(deleted)))
            {
                sleep(Duration::from_millis(50)).await;
            }
        };
        let _ = timeout(Duration::from_secs(10), came).await;
    }

    /// Whether this was planted there.
    pub(super) fn planted(&self, place: &str, canary: &str) -> bool {
        let mut planted = self.planted.iter();
        planted.any(|(part, secret)| place.contains(part.as_str()) && secret == canary)
    }
}

fn object<T: serde::de::DeserializeOwned>(value: Value) -> anyhow::Result<T> {
    Ok(serde_json::from_value(value)?)
}
