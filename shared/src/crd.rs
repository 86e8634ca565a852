//! The CustomResourceDefinition as it is installed: what the types say, plus the one thing no derive
//! can say.

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::{
    CustomResourceDefinition, JSON, JSONSchemaProps,
};
use kube::CustomResourceExt;
use serde_json::json;

use crate::bundle::WerfBundle;

/// The CRD of `WerfBundle`. A fresh object has a status that says nothing is known yet, so that
/// tools that wait for readiness do not take an empty status for success; Gateway API does the same.
pub fn werf_bundle() -> CustomResourceDefinition {
    let mut crd = WerfBundle::crd();
    let schemas = crd
        .spec
        .versions
        .iter_mut()
        .filter_map(|version| version.schema.as_mut()?.open_api_v3_schema.as_mut());
    for schema in schemas {
        schema.description = Some(
            "A WerfBundle keeps the newest bundle of an OCI repository deployed into a namespace."
                .to_owned(),
        );
        forbid_null_quantities(schema);
        let status = schema
            .properties
            .as_mut()
            .and_then(|properties| properties.get_mut("status"));
        if let Some(status) = status {
            status.nullable = None;
            status.default = Some(JSON(json!({
                "conditions": [{
                    "type": "Ready",
                    "status": "Unknown",
                    "reason": "Pending",
                    "message": "Waiting for the operator",
                    "lastTransitionTime": "1970-01-01T00:00:00Z",
                }],
            })));
        }
    }
    crd
}

/// A schema without `type` is taken for one that allows null, and a null would win over the default.
fn forbid_null_quantities(schema: &mut JSONSchemaProps) {
    if schema.x_kubernetes_int_or_string == Some(true) {
        schema.nullable = None;
    }
    for property in schema.properties.iter_mut().flat_map(|p| p.values_mut()) {
        forbid_null_quantities(property);
    }
}
