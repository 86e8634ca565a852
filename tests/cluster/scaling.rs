//! Either service alone, with more replicas: duplicate polls are allowed, duplicate Jobs are not.

use anyhow::ensure;
use futures::future::try_join_all;
use serde_json::json;

use crate::bed::Bed;
use crate::tenant::{in_namespace, jobs_per_attempt};
use crate::turn::Turn;

#[tokio::test]
async fn two_replicas_of_each_service_deploy_each_tag_once() -> anyhow::Result<()> {
    let outcome = in_namespace("scaling", async |tenant| {
        tenant.publish("v1.0.0").await?;
        tenant.follow(json!({})).await?;
        tenant.synced("v1.0.0").await?;
        tenant.bed.scale("executor", 2).await?;
        tenant.publish("v1.1.0").await?;
        tenant.poll_now().await?;
        tenant.synced("v1.1.0").await?;
        tenant.bed.scale("poller", 2).await?;
        tenant.publish("v1.2.0").await?;
        // Both at once, each by its own address: a Service might send both calls to one.
        let mut pollers = tenant.bed.pods_of("poller").await?;
        pollers.retain(|pod| pod.metadata.deletion_timestamp.is_none());
        ensure!(pollers.len() == 2, "{} pollers", pollers.len());
        for answer in try_join_all(pollers.iter().map(|pod| tenant.poll_now_by(pod))).await? {
            assert_eq!(answer["tag"], "v1.2.0", "{answer}");
        }
        let status = tenant.synced("v1.2.0").await?;
        assert_eq!((status.run, status.history.len()), (3, 3));
        assert_eq!(jobs_per_attempt(&tenant.jobs().await?), [1, 1, 1]);
        Ok(())
    })
    .await;
    let scaled_back = scale_back().await;
    outcome.and(scaled_back)
}

/// A replica that goes may refuse a connection, which others need not expect.
async fn scale_back() -> anyhow::Result<()> {
    let _turn = Turn::rough().await;
    let bed = Bed::ready().await?;
    bed.scale("executor", 1).await?;
    bed.scale("poller", 1).await
}
