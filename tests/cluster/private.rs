//! Bundles of a registry that wants a password and has an authority of its own: the login reaches
//! poller and Job, and nobody else.

use anyhow::Context as _;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use serde_json::{Value, json};
use werf_shared::bundle::condition::{self, ConditionType};

use crate::bed::RUN;
use crate::canary;
use crate::private_registry::{CERTIFICATES, LOGIN, PrivateRegistry, pair};
use crate::tenant::{in_namespace, namespace_object};

fn password() -> String {
    format!("{:032x}", rand::random::<u128>())
}

fn registry(registry: &PrivateRegistry<'_>) -> Value {
    json!({"registry": {
        "url": registry.url(), "insecure": false,
        "secretRef": {"name": LOGIN}, "certSecretRef": {"name": CERTIFICATES},
    }})
}

#[tokio::test]
async fn a_private_bundle_is_deployed_and_its_login_may_change() -> anyhow::Result<()> {
    in_namespace("private", async |tenant| {
        let (first, second, other) = (password(), password(), password());
        let private = PrivateRegistry::start(tenant, &first).await?;
        tenant.apply(&private.certificates()).await?;
        tenant.apply(&private.docker_login(&first, &other)).await?;
        private.publish(&first, "v1.0.0").await?;
        tenant.follow(registry(&private)).await?;
        tenant.synced("v1.0.0").await?;

        // Only what the Job needs has travelled.
        let owned = tenant.secrets_of_jobs(&tenant.namespace).await?;
        assert_eq!(owned.len(), 1);
        let data = owned[0].data.clone().context("an empty Secret")?;
        let keys: Vec<_> = data.keys().map(String::as_str).collect();
        assert_eq!(keys, ["ca.crt", "config.json"]);
        let config: Value = serde_json::from_slice(&data["config.json"].0)?;
        let only = json!({"auths": {private.host(): {"auth": pair(&first)}}});
        assert_eq!(config, only);

        private.rotate(&first, &second).await?;
        tenant.apply(&private.docker_login(&second, &other)).await?;
        private.publish(&second, "v1.1.0").await?;
        tenant.poll_now().await?;
        let status = tenant.synced("v1.1.0").await?;
        // The password alone was no reason to deploy.
        assert_eq!((status.run, status.history.len()), (2, 2));

        let pairs = [pair(&first), pair(&second)];
        let encoded = [&first, &second, &other].map(|secret| BASE64.encode(secret));
        let canaries: Vec<&str> = [&first, &second, &other]
            .into_iter()
            .chain(&pairs)
            .chain(&encoded)
            .map(String::as_str)
            .collect();
        // What kubectl applied is remembered in Secrets only.
        canary::is_nowhere(tenant, &tenant.namespace, &canaries).await
    })
    .await
}

#[tokio::test]
async fn a_login_follows_the_job_into_another_namespace() -> anyhow::Result<()> {
    in_namespace("private-from", async |tenant| {
        let secret = password();
        let elsewhere = format!("private-to-{}", *RUN);
        let api = "rbac.authorization.k8s.io";
        tenant.apply(&json!({"apiVersion": "v1", "kind": "List", "items": [
            namespace_object(&elsewhere),
            {"apiVersion": "v1", "kind": "ServiceAccount",
             "metadata": {"name": "werf-converge", "namespace": elsewhere}},
            {"apiVersion": format!("{api}/v1"), "kind": "RoleBinding",
             "metadata": {"name": "werf-converge", "namespace": elsewhere},
             "roleRef": {"apiGroup": api, "kind": "ClusterRole", "name": "cluster-admin"},
             "subjects": [{"kind": "ServiceAccount", "name": "werf-converge", "namespace": elsewhere}]},
        ]}))
        .await?;
        let private = PrivateRegistry::start(tenant, &secret).await?;
        tenant.apply(&private.certificates()).await?;
        tenant.apply(&private.basic_login(&secret)).await?;
        private.publish(&secret, "v1.0.0").await?;
        let mut spec = registry(&private);
        spec["converge"] = json!({"targetNamespace": elsewhere});
        tenant.follow(spec).await?;
        tenant.synced("v1.0.0").await?;
        assert_eq!(tenant.secrets_of_jobs(&elsewhere).await?.len(), 1);
        assert!(tenant.secrets_of_jobs(&tenant.namespace).await?.is_empty());
        canary::is_nowhere(tenant, &elsewhere, &[&secret, &pair(&secret)]).await?;
        tenant.delete().await?;
        tenant
            .eventually("its Secret is gone with the Job", async || {
                Ok(tenant.secrets_of_jobs(&elsewhere).await?.is_empty())
            })
            .await
    })
    .await
}

#[tokio::test]
async fn a_login_that_werf_prints_is_masked_in_the_status() -> anyhow::Result<()> {
    in_namespace("private-log", async |tenant| {
        let secret = format!("{:016x}", rand::random::<u64>());
        let private = PrivateRegistry::start(tenant, &secret).await?;
        tenant.apply(&private.certificates()).await?;
        tenant.apply(&private.basic_login(&secret)).await?;
        let tag = format!("v1.0.0-canary{secret}");
        private.publish(&secret, &tag).await?;
        tenant.follow(registry(&private)).await?;
        let status = tenant
            .until("its log is collected", |status| {
                status.last_job_logs.is_some()
            })
            .await?;
        let log = status.last_job_logs.unwrap_or_default();
        assert!(log.contains("***"), "{log}");
        assert!(!log.contains(&secret), "the password is in the log");
        Ok(())
    })
    .await
}

#[tokio::test]
async fn without_a_login_the_registry_is_said_to_refuse() -> anyhow::Result<()> {
    in_namespace("private-none", async |tenant| {
        let secret = password();
        let private = PrivateRegistry::start(tenant, &secret).await?;
        tenant.apply(&private.certificates()).await?;
        private.publish(&secret, "v1.0.0").await?;
        tenant
            .follow(json!({"registry": {
                "url": private.url(), "insecure": false,
                "certSecretRef": {"name": CERTIFICATES},
            }}))
            .await?;
        let expected = format!(
            "error polling registry: {}: 401 unauthorized",
            private.url()
        );
        // A poll may come before the cluster knows the registry's name and address.
        let status = tenant
            .until("it is told", |status| {
                status.last_error_message.as_ref() == Some(&expected)
            })
            .await?;
        assert_eq!(reason(&status.conditions), "AuthenticationFailed");
        // The Secret that is named later is found without anybody asking for it twice.
        tenant
            .edit(json!({"registry": {"secretRef": {"name": LOGIN}}}))
            .await?;
        tenant
            .until("the missing Secret is named", |status| {
                reason(&status.conditions) == "RegistrySecretNotFound"
                    && status
                        .last_error_message
                        .as_ref()
                        .is_some_and(|message| message.contains(LOGIN))
            })
            .await?;
        assert!(tenant.jobs().await?.is_empty());
        tenant.apply(&private.basic_login(&secret)).await?;
        tenant.poll_now().await?;
        tenant.synced("v1.0.0").await?;
        Ok(())
    })
    .await
}

fn reason(conditions: &[Condition]) -> &str {
    condition::find(conditions, ConditionType::RegistryAvailable)
        .map_or("", |condition| condition.reason.as_str())
}

#[tokio::test]
async fn a_login_that_is_gone_keeps_a_job_from_being_made() -> anyhow::Result<()> {
    in_namespace("private-gone", async |tenant| {
        tenant.publish("v1.0.0").await?;
        tenant.follow(json!({"suspend": true})).await?;
        tenant
            .converge(json!({"force": true, "tag": "v1.0.0"}))
            .await?;
        tenant.synced("v1.0.0").await?;
        // Nobody polls a suspended bundle: only the Job needs the login now.
        let login = json!({"registry": {"secretRef": {"name": LOGIN}}});
        tenant.edit(login).await?;
        let again = json!({"force": true, "tag": "v1.0.0"});
        // No run begins while its login is not there, however often it is asked for.
        let refused = tenant.converge_until_it_is_known(again).await;
        let refused = refused.unwrap_err().to_string();
        assert!(refused.contains(LOGIN), "{refused}");
        let status = tenant
            .until("it is told", |status| status.last_error_message.is_some())
            .await?;
        let ready = condition::find(&status.conditions, ConditionType::Ready);
        assert_eq!(
            ready.map(|c| c.reason.as_str()),
            Some("RegistrySecretNotFound")
        );
        let message = status.last_error_message.unwrap_or_default();
        assert!(message.contains(LOGIN), "{message}");
        assert_eq!(tenant.jobs().await?.len(), 1);
        Ok(())
    })
    .await
}
