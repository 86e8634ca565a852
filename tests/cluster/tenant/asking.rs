//! What is asked of the operator's services and of the application, and asked again.

use std::time::{Duration, Instant};

use anyhow::bail;
use k8s_openapi::api::core::v1::Pod;
use serde_json::{Value, json};

use super::{BUNDLE, LOOK, Tenant, merge, patience};

/// How long a page may be waited for until it is asked for again.
const PAGE_LIMIT: Duration = Duration::from_secs(5);

const POLL_NOW: &str = "werf.operator.v1alpha1.PollerService/PollNow";

impl Tenant {
    /// Polls now instead of in a minute. A poller that was just killed is asked again.
    pub(crate) async fn poll_now(&self) -> anyhow::Result<Value> {
        let request = json!({"namespace": self.namespace, "name": BUNDLE});
        answered(async || {
            self.bed
                .grpcurl("werf-operator-poller", POLL_NOW, &request)
                .await
        })
        .await
    }

    /// The same, by one Pod of the poller.
    pub(crate) async fn poll_now_by(&self, pod: &Pod) -> anyhow::Result<Value> {
        let request = json!({"namespace": self.namespace, "name": BUNDLE});
        answered(async || self.bed.grpcurl_pod(pod, POLL_NOW, &request).await).await
    }

    /// Asks the executor to deploy now.
    pub(crate) async fn converge(&self, request: Value) -> anyhow::Result<Value> {
        let mut whole = json!({"namespace": self.namespace, "name": BUNDLE});
        merge(&mut whole, request);
        let method = "werf.operator.v1alpha1.ExecutorService/Converge";
        self.bed
            .grpcurl("werf-operator-executor", method, &whole)
            .await
    }

    /// The same for what no Job runs for yet. An executor that is busy answers after a while that the
    /// wish waits, and is asked again.
    pub(crate) async fn converge_until_it_is_known(&self, request: Value) -> anyhow::Result<Value> {
        let started = Instant::now();
        loop {
            let answer = self.converge(request.clone()).await?;
            if answer["result"] != "RESULT_QUEUED" || started.elapsed() > patience() {
                return Ok(answer);
            }
            tokio::time::sleep(LOOK).await;
        }
    }

    /// Waits until these words are on the page of the demo application; returns the page. When it has
    /// just been deployed, the node may still send connections where no Pod, or an old one, is.
    pub(crate) async fn page(&self, words: &str) -> anyhow::Result<String> {
        let started = Instant::now();
        loop {
            match self.page_now().await {
                Ok(page) if page.contains(words) => return Ok(page),
                last if started.elapsed() > patience() => {
                    bail!("never: {words} on the page; the last time: {last:?}")
                }
                _ => tokio::time::sleep(LOOK).await,
            }
        }
    }

    async fn page_now(&self) -> anyhow::Result<String> {
        let address = self.bed.reach(&self.namespace, BUNDLE, 80).await?;
        let client = reqwest::Client::builder().timeout(PAGE_LIMIT).build()?;
        let answer = client.get(format!("http://{address}/")).send().await?;
        Ok(answer.text().await?)
    }
}

/// Asks until there is an answer.
async fn answered(ask: impl AsyncFn() -> anyhow::Result<Value>) -> anyhow::Result<Value> {
    let started = Instant::now();
    loop {
        match ask().await {
            Err(_) if started.elapsed() < patience() => tokio::time::sleep(LOOK).await,
            answer => return answer,
        }
    }
}
