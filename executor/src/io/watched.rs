//! A bundle as the watch keeps it: perhaps not decodable, and without what nobody looks for there. Ten
//! thousand bundles with histories and logs would be more than a hundred megabytes; who needs those
//! reads the bundle.

use std::borrow::Cow;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::Resource;
use kube::core::DeserializeGuard;
use kube::core::error_boundary::InvalidObject;
use serde::{Deserialize, Deserializer};
use werf_shared::bundle::condition::ConditionType;
use werf_shared::bundle::{WerfBundle, WerfBundleStatus};

/// A bundle with what shows how it stands and which release it works on, or why it cannot be read.
/// Without annotations, history, log, and what only passes and announcements decide by.
#[derive(Clone, Debug)]
pub struct Watched(pub Result<WerfBundle, InvalidObject>);

impl<'de> Deserialize<'de> for Watched {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let DeserializeGuard(found) = DeserializeGuard::<WerfBundle>::deserialize(deserializer)?;
        Ok(Self(found.map(trimmed).map_err(|mut invalid| {
            trim(&mut invalid.metadata);
            invalid
        })))
    }
}

fn trimmed(mut bundle: WerfBundle) -> WerfBundle {
    trim(&mut bundle.metadata);
    bundle.status = bundle.status.map(trimmed_status);
    // A copy takes no more than it needs; what was decoded has room for more.
    bundle.clone()
}

fn trimmed_status(status: WerfBundleStatus) -> WerfBundleStatus {
    let mut conditions = status.conditions;
    let shown = [ConditionType::Ready, ConditionType::Reconciling].map(ConditionType::as_str);
    conditions.retain(|condition| shown.contains(&condition.type_.as_str()));
    WerfBundleStatus {
        conditions,
        current_run: status.current_run.map(|mut run| {
            run.inputs_hash = String::new();
            run
        }),
        observed_generation: status.observed_generation,
        phase: status.phase,
        last_applied_tag: status.last_applied_tag,
        desired_tag: status.desired_tag,
        desired_digest: status.desired_digest,
        active_job_name: status.active_job_name,
        last_job_status: status.last_job_status,
        resolved_target_namespace: status.resolved_target_namespace,
        requested: status.requested,
        release: status.release,
        ..WerfBundleStatus::default()
    }
}

/// One of the annotations is the whole object once more, where people use `kubectl apply`.
fn trim(metadata: &mut ObjectMeta) {
    metadata.annotations = None;
    metadata.managed_fields = None;
}

impl Resource for Watched {
    type DynamicType = <WerfBundle as Resource>::DynamicType;
    type Scope = <WerfBundle as Resource>::Scope;

    fn kind(dt: &Self::DynamicType) -> Cow<'_, str> {
        WerfBundle::kind(dt)
    }

    fn group(dt: &Self::DynamicType) -> Cow<'_, str> {
        WerfBundle::group(dt)
    }

    fn version(dt: &Self::DynamicType) -> Cow<'_, str> {
        WerfBundle::version(dt)
    }

    fn plural(dt: &Self::DynamicType) -> Cow<'_, str> {
        WerfBundle::plural(dt)
    }

    fn meta(&self) -> &ObjectMeta {
        match &self.0 {
            Ok(bundle) => bundle.meta(),
            Err(invalid) => &invalid.metadata,
        }
    }

    fn meta_mut(&mut self) -> &mut ObjectMeta {
        match &mut self.0 {
            Ok(bundle) => bundle.meta_mut(),
            Err(invalid) => &mut invalid.metadata,
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_nobody_looks_for_is_left_out() {
        let time = "2026-01-01T00:00:00Z";
        let run = json!({
            "tag": "v1.0.0", "job": "app-1", "cause": "NewTag", "result": "Succeeded",
            "started": time, "finished": time,
        });
        let condition = |kind: &str| {
            json!({
                "type": kind, "status": "True", "reason": "…", "message": "…",
                "lastTransitionTime": time,
            })
        };
        let watched: Watched = serde_json::from_value(json!({
            "metadata": {
                "name": "app", "uid": "u1", "annotations": {"long": "…"},
                "managedFields": [{"manager": "kubectl"}],
            },
            "spec": {"registry": {"url": "registry.example.com/app"}},
            "status": {
                "desiredTag": "v1.0.0", "history": [run], "lastJobLogs": "…",
                "announced": {"tag": "v1.0.0", "digest": "sha256:…", "generation": 1},
                "currentRun": {
                    "tag": "v1.0.0", "inputsHash": "…", "generation": 1, "cause": "NewTag",
                    "startedAt": time, "traceparent": "00-4bf9-00f0-01",
                },
                "conditions": [condition("RegistryAvailable"), condition("Ready")],
            },
        }))
        .unwrap();
        let bundle = watched.0.unwrap();
        assert_eq!(bundle.metadata.annotations, None);
        assert_eq!(bundle.metadata.managed_fields, None);
        assert_eq!(bundle.metadata.uid.as_deref(), Some("u1"));
        let status = bundle.status.unwrap();
        assert_eq!((status.history.len(), status.last_job_logs), (0, None));
        assert_eq!(status.announced, None);
        assert_eq!(status.desired_tag.as_deref(), Some("v1.0.0"));
        let run = status.current_run.unwrap();
        assert_eq!((run.tag.as_str(), run.inputs_hash.as_str()), ("v1.0.0", ""));
        assert_eq!(run.traceparent.as_deref(), Some("00-4bf9-00f0-01"));
        let shown: Vec<_> = status.conditions.iter().map(|c| c.type_.as_str()).collect();
        assert_eq!(shown, ["Ready"]);
    }

    #[test]
    fn a_bundle_that_cannot_be_read_is_known_by_name() {
        let watched: Watched = serde_json::from_value(json!({
            "metadata": {"name": "app", "annotations": {"long": "…"}}, "spec": "nonsense",
        }))
        .unwrap();
        assert_eq!(watched.meta().name.as_deref(), Some("app"));
        assert_eq!(watched.meta().annotations, None);
        assert!(watched.0.is_err());
    }
}
