//! What a tenant may not: quotas and admission policies.

use k8s_openapi::api::core::v1::ResourceQuota;
use kube::Api;
use serde_json::{Value, json};

use super::Tenant;

impl Tenant {
    /// Says no to everything of a kind in this namespace.
    pub(crate) async fn forbid(&self, resource: &str) -> anyhow::Result<()> {
        self.allow_at_most(0, resource, 0).await
    }

    /// Says no to more than so many of a kind in this namespace, of which so many are there already.
    pub(crate) async fn allow_at_most(
        &self,
        most: u32,
        resource: &str,
        there: u32,
    ) -> anyhow::Result<()> {
        let quota = json!({
            "apiVersion": "v1", "kind": "ResourceQuota",
            "metadata": {"name": "none", "namespace": self.namespace},
            "spec": {"hard": {resource: most.to_string()}},
        });
        self.apply(&quota).await?;
        let quotas: Api<ResourceQuota> = Api::namespaced(self.bed.client.clone(), &self.namespace);
        // A quota counts from when its controller has seen it.
        self.eventually("the quota is in force", async || {
            let status = quotas.get("none").await?.status.unwrap_or_default();
            let used = status.used.unwrap_or_default();
            let Some(used) = used.get(resource) else {
                return Ok(false);
            };
            if used.0.parse::<u32>()? >= there {
                return Ok(true);
            }
            // It was counted in a cache that had not seen everything, and would not be counted again
            // for minutes.
            self.permit().await?;
            self.apply(&quota).await?;
            Ok(false)
        })
        .await
    }

    pub(crate) async fn permit(&self) -> anyhow::Result<()> {
        self.bed
            .kubectl(&["delete", "quota", "none", "-n", &self.namespace])
            .await?;
        Ok(())
    }

    /// Refuses writes of this kind in this namespace for which the CEL expression is false, with the
    /// words `not now`. In force once `attempt`, a kubectl command, is refused.
    pub(crate) async fn refuse(
        &self,
        rule: Value,
        expression: &str,
        attempt: &[&str],
    ) -> anyhow::Result<()> {
        let name = &self.namespace;
        let api = "admissionregistration.k8s.io/v1";
        self.apply(&json!({"apiVersion": "v1", "kind": "List", "items": [
            {"apiVersion": api, "kind": "ValidatingAdmissionPolicy", "metadata": {"name": name},
             "spec": {
                "failurePolicy": "Fail",
                "matchConstraints": {"resourceRules": [rule]},
                "validations": [{"expression": expression, "message": "not now"}],
             }},
            {"apiVersion": api, "kind": "ValidatingAdmissionPolicyBinding", "metadata": {"name": name},
             "spec": {
                "policyName": name,
                "validationActions": ["Deny"],
                "matchResources": {"namespaceSelector": {"matchLabels": {
                    "kubernetes.io/metadata.name": name,
                }}},
             }},
        ]}))
        .await?;
        let attempt = [attempt, &["-n", name, "--dry-run=server"]].concat();
        self.eventually("the policy is in force", async || {
            let refused = self.bed.kubectl(&attempt).await.err();
            Ok(refused.is_some_and(|it| format!("{it:#}").contains("not now")))
        })
        .await
    }

    /// Refuses them no more.
    pub(crate) async fn refuse_no_more(&self) -> anyhow::Result<()> {
        let policy = "validatingadmissionpolicybinding";
        let delete = ["delete", policy, &self.namespace];
        self.bed.kubectl(&delete).await?;
        Ok(())
    }
}
