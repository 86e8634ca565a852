//! Either service alone, with more replicas: duplicate polls are allowed, duplicate Jobs are not.

use serde_json::json;

use crate::tenant::{in_namespace, jobs_per_attempt};

#[tokio::test]
async fn two_replicas_of_each_service_deploy_each_tag_once() -> anyhow::Result<()> {
    in_namespace("scaling", async |tenant| {
        tenant.publish("v1.0.0").await?;
        tenant.follow(json!({})).await?;
        tenant.synced("v1.0.0").await?;
        tenant.bed.scale("executor", 2).await?;
        tenant.publish("v1.1.0").await?;
        tenant.poll_now().await?;
        tenant.synced("v1.1.0").await?;
        tenant.bed.scale("poller", 2).await?;
        tenant.publish("v1.2.0").await?;
        // Twice at once: the Service spreads the calls over both.
        let (one, other) = tokio::join!(tenant.poll_now(), tenant.poll_now());
        one?;
        other?;
        let status = tenant.synced("v1.2.0").await?;
        assert_eq!((status.run, status.history.len()), (3, 3));
        assert_eq!(jobs_per_attempt(&tenant.jobs().await?), [1, 1, 1]);
        Ok(())
    })
    .await
}
