//! `kill -9` at the worst moments: nothing is lost, nothing is done twice.

use kube::ResourceExt;
use serde_json::json;
use werf_shared::bundle::status::Phase;

use crate::tenant::{Tenant, in_namespace_roughly, jobs_per_attempt};

/// Waits until the Job's Pod runs: the status calls a Job running just before it is let run.
async fn until_its_pod_runs(tenant: &Tenant, job: &str) -> anyhow::Result<()> {
    tenant
        .eventually("the Job's Pod runs", async || {
            let jobs = tenant.jobs().await?;
            Ok(jobs.iter().any(|it| {
                let status = it.status.as_ref();
                it.name_any() == job && status.and_then(|status| status.ready) == Some(1)
            }))
        })
        .await
}

#[tokio::test]
async fn an_executor_killed_before_the_job_creates_it_when_it_is_back() -> anyhow::Result<()> {
    in_namespace_roughly("killed-before", async |tenant| {
        tenant.publish("v1.0.0").await?;
        tenant.forbid("count/jobs.batch").await?;
        tenant.follow(json!({})).await?;
        // The wish is stored and the run claimed; its Job is refused.
        let status = tenant
            .until("the Job is refused", |status| {
                status.active_job_name.is_some() && status.phase == Some(Phase::Failed)
            })
            .await?;
        assert_eq!(status.desired_tag.as_deref(), Some("v1.0.0"));
        assert!(tenant.jobs().await?.is_empty());
        tenant.bed.kill_one_at_least("executor").await?;
        tenant.permit().await?;
        let status = tenant.synced("v1.0.0").await?;
        assert_eq!((status.run, status.attempt), (1, 1));
        assert_eq!(jobs_per_attempt(&tenant.jobs().await?), [1]);
        Ok(())
    })
    .await
}

#[tokio::test]
async fn an_executor_killed_while_the_job_runs_records_its_end() -> anyhow::Result<()> {
    in_namespace_roughly("killed-after", async |tenant| {
        // Long enough to be seen running.
        tenant.publish("v1.0.0-slow10s").await?;
        tenant.follow(json!({})).await?;
        let job = tenant.running().await?.active_job_name.unwrap_or_default();
        until_its_pod_runs(tenant, &job).await?;
        // Dead until the Job has ended, so that nobody sees it end.
        let ended = async || {
            let jobs = tenant.jobs().await?;
            anyhow::Ok(jobs.iter().any(|job| {
                let status = job.status.as_ref();
                status.is_some_and(|status| status.completion_time.is_some())
            }))
        };
        tenant
            .eventually("the Job has ended", async || {
                tenant.bed.kill("executor").await?;
                ended().await
            })
            .await?;
        let status = tenant.synced("v1.0.0-slow10s").await?;
        assert_eq!((status.run, status.attempt), (1, 1));
        assert_eq!(status.history[0].job, job);
        assert_eq!(jobs_per_attempt(&tenant.jobs().await?), [1]);
        Ok(())
    })
    .await
}

#[tokio::test]
async fn a_poller_killed_at_any_time_loses_no_tag() -> anyhow::Result<()> {
    in_namespace_roughly("killed-poller", async |tenant| {
        tenant.publish("v1.0.0").await?;
        tenant.follow(json!({})).await?;
        tenant.synced("v1.0.0").await?;
        tenant.publish("v1.1.0").await?;
        // Once while it polls, once as soon as it is back.
        let (_, killed) = tokio::join!(tenant.poll_now(), tenant.bed.kill_one_at_least("poller"));
        killed?;
        tenant.poll_now().await?;
        tenant.synced("v1.1.0").await?;
        tenant.publish("v1.2.0").await?;
        tenant.bed.kill_one_at_least("poller").await?;
        // Nobody asks: the interval alone finds it.
        let status = tenant.synced("v1.2.0").await?;
        assert_eq!(status.run, 3);
        assert_eq!(jobs_per_attempt(&tenant.jobs().await?), [1, 1, 1]);
        Ok(())
    })
    .await
}

#[tokio::test]
async fn a_job_deleted_by_hand_counts_as_failed_and_is_tried_again() -> anyhow::Result<()> {
    in_namespace_roughly("killed-job", async |tenant| {
        tenant.publish("v1.0.0-slow20s").await?;
        tenant.follow(json!({})).await?;
        let job = tenant.running().await?.active_job_name.unwrap_or_default();
        until_its_pod_runs(tenant, &job).await?;
        tenant
            .bed
            .kubectl(&["delete", "job", &job, "-n", &tenant.namespace])
            .await?;
        let status = tenant
            .until("it is told", |status| !status.history.is_empty())
            .await?;
        assert_eq!(
            status.history[0].message.as_deref(),
            Some("job was removed before its end was recorded")
        );
        tenant
            .until("the second attempt runs", |status| {
                status.attempt == 2 && status.active_job_name.is_some()
            })
            .await?;
        Ok(())
    })
    .await
}
