//! A bundle as the watch keeps it: perhaps not decodable, and without what is long. Ten thousand
//! bundles with histories and logs would be more than a hundred megabytes; who needs those reads
//! the bundle.

use std::borrow::Cow;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::Resource;
use kube::core::DeserializeGuard;
use kube::core::error_boundary::InvalidObject;
use serde::{Deserialize, Deserializer};
use werf_shared::bundle::WerfBundle;

/// A bundle without its annotations, its history and its log, or why it cannot be read.
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
    if let Some(status) = &mut bundle.status {
        status.history = Vec::new();
        status.last_job_logs = None;
    }
    bundle
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
    fn what_is_long_is_left_out() {
        let time = "2026-01-01T00:00:00Z";
        let run = json!({
            "tag": "v1.0.0", "job": "app-1", "cause": "NewTag", "result": "Succeeded",
            "started": time, "finished": time,
        });
        let watched: Watched = serde_json::from_value(json!({
            "metadata": {
                "name": "app", "uid": "u1", "annotations": {"long": "…"},
                "managedFields": [{"manager": "kubectl"}],
            },
            "spec": {"registry": {"url": "registry.example.com/app"}},
            "status": {"desiredTag": "v1.0.0", "history": [run], "lastJobLogs": "…"},
        }))
        .unwrap();
        let bundle = watched.0.unwrap();
        assert_eq!(bundle.metadata.annotations, None);
        assert_eq!(bundle.metadata.managed_fields, None);
        assert_eq!(bundle.metadata.uid.as_deref(), Some("u1"));
        let status = bundle.status.unwrap();
        assert_eq!((status.history.len(), status.last_job_logs), (0, None));
        assert_eq!(status.desired_tag.as_deref(), Some("v1.0.0"));
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
