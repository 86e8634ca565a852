//! Rolling back by annotation.

use serde_json::json;
use werf_shared::bundle::WerfBundleStatus;

use crate::tenant::in_namespace;

const ROLLBACK_TO: &str = "operator.werf.io/rollback-to";

fn ready_reason(status: &WerfBundleStatus) -> Option<&str> {
    let ready = status.conditions.iter().find(|c| c.type_ == "Ready")?;
    Some(&ready.reason)
}

#[tokio::test]
async fn an_earlier_tag_is_held_until_a_newer_one_or_until_the_annotation_is_gone()
-> anyhow::Result<()> {
    in_namespace("returning", async |tenant| {
        let first = tenant.publish("v1.0.0").await?;
        tenant.follow(json!({})).await?;
        tenant.synced("v1.0.0").await?;
        tenant.publish("v1.1.0").await?;
        tenant.poll_now().await?;
        tenant.synced("v1.1.0").await?;

        tenant.annotate(&[&format!("{ROLLBACK_TO}=v1.0.0")]).await?;
        let status = tenant.synced("v1.0.0").await?;
        tenant.page("1.0.0").await?;
        assert_eq!(status.last_applied_digest.as_deref(), Some(first.as_str()));
        assert_eq!(status.history[0].cause, "Rollback");
        assert_eq!(ready_reason(&status), Some("RolledBack"));
        // Polling the same list again changes nothing, nor does the same tag with other contents.
        tenant.poll_now().await?;
        tenant.publish("v1.1.0").await?;
        tenant.poll_now().await?;
        tenant.publish("v1.0.5").await?;
        tenant.poll_now().await?;
        let status = tenant.status().await?;
        assert_eq!(status.desired_tag.as_deref(), Some("v1.0.0"));
        assert_eq!(ready_reason(&status), Some("RolledBack"));
        assert_eq!(tenant.jobs().await?.len(), 3);

        // A newer one does.
        tenant.publish("v1.2.0").await?;
        tenant.poll_now().await?;
        let status = tenant.synced("v1.2.0").await?;
        assert_eq!(status.rollback, None);
        assert_eq!(ready_reason(&status), Some("Synced"));
        tenant
            .eventually("beginning and end are told", async || {
                let events = tenant.events().await?;
                let expected = [
                    ("RollbackStarted", "Rolling back from v1.1.0 to v1.0.0"),
                    (
                        "RollbackEnded",
                        "The rollback from v1.1.0 to v1.0.0 has ended: v1.2.0 is wanted",
                    ),
                ];
                let told = |(reason, note): &(&str, &str)| {
                    events.contains(&((*reason).to_owned(), (*note).to_owned()))
                };
                Ok(expected.iter().all(told))
            })
            .await?;

        // The next one is ended by hand.
        tenant.annotate(&[&format!("{ROLLBACK_TO}=v1.1.0")]).await?;
        tenant.synced("v1.1.0").await?;
        tenant.annotate(&[&format!("{ROLLBACK_TO}-")]).await?;
        let status = tenant.synced("v1.2.0").await?;
        assert_eq!(status.last_handled_rollback, None);
        tenant.page("1.2.0").await?;
        Ok(())
    })
    .await
}

#[tokio::test]
async fn a_tag_that_was_never_deployed_is_told_with_those_that_were() -> anyhow::Result<()> {
    in_namespace("lost", async |tenant| {
        tenant.publish("v1.0.0").await?;
        tenant.follow(json!({})).await?;
        tenant.synced("v1.0.0").await?;
        tenant.annotate(&[&format!("{ROLLBACK_TO}=v0.9.0")]).await?;
        let unknown =
            |status: &WerfBundleStatus| ready_reason(status) == Some("RollbackTagUnknown");
        let status = tenant.until("it is told", unknown).await?;
        let message = status.last_error_message.unwrap_or_default();
        assert!(
            message.contains("v0.9.0") && message.contains("can be rolled back to: v1.0.0"),
            "{message}"
        );
        tenant.publish("v1.1.0").await?;
        tenant.poll_now().await?;
        let status = tenant.status().await?;
        assert_eq!(status.desired_tag.as_deref(), Some("v1.1.0"));
        assert!(unknown(&status));
        assert_eq!(tenant.jobs().await?.len(), 1, "nothing starts");
        tenant.annotate(&[&format!("{ROLLBACK_TO}-")]).await?;
        let status = tenant.synced("v1.1.0").await?;
        assert_eq!(status.last_error_message, None);
        Ok(())
    })
    .await
}
