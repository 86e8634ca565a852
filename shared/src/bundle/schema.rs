//! Pieces of the CRD's schema that no derive macro knows, and the patterns that schema and
//! parsers share.

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize};

/// A Go duration (`time.ParseDuration`) in hours, minutes and seconds, each at most once and in
/// that order. Smaller units have no use here; a fixed order refuses typing errors such as `1h1h`.
pub const DURATION_PATTERN: &str =
    r"^([0-9]+(\.[0-9]+)?h)?([0-9]+(\.[0-9]+)?m)?([0-9]+(\.[0-9]+)?s)?$";

/// An RFC 1123 label, as namespaces are named.
pub const LABEL_PATTERN: &str = "^[a-z0-9]([-a-z0-9]*[a-z0-9])?$";

/// An RFC 1123 subdomain, as most objects are named.
pub const SUBDOMAIN_PATTERN: &str =
    r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$";

/// A positive Kubernetes quantity (`resource.Quantity` without sign).
const QUANTITY_PATTERN: &str =
    r"^([0-9]+(\.[0-9]*)?|\.[0-9]+)(m|k|M|G|T|P|E|Ki|Mi|Gi|Ti|Pi|Ei|[eE][0-9]{1,2})?$";

/// A Kubernetes quantity in the words it was written in; `2` and `"2"` are the same.
#[derive(Clone, Debug, Serialize, PartialEq, Eq)]
pub struct Quantity(pub String);

impl<'de> Deserialize<'de> for Quantity {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum Written {
            Text(String),
            Number(serde_json::Number),
        }
        Ok(Self(match Written::deserialize(deserializer)? {
            Written::Text(text) => text,
            Written::Number(number) => number.to_string(),
        }))
    }
}

impl JsonSchema for Quantity {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Quantity".into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        quantity(generator)
    }
}

/// The schema of a quantity: text or number, as for the quantities of built-in kinds.
pub fn quantity(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "pattern": QUANTITY_PATTERN,
        "x-kubernetes-int-or-string": true,
    })
}

/// The schema of `status.conditions`: a list keyed by type, as Kubernetes' own conditions are. Its
/// default makes a fresh bundle say that nothing is known yet, so that a tool that waits for
/// readiness never takes the absence of conditions for success.
pub fn conditions(generator: &mut SchemaGenerator) -> Schema {
    let condition =
        generator.subschema_for::<k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition>();
    json_schema!({
        "description": "What holds for the bundle: Ready, RegistryAvailable, and Reconciling and Stalled while they are true.",
        "type": "array",
        "items": condition,
        "x-kubernetes-list-type": "map",
        "x-kubernetes-list-map-keys": ["type"],
    })
}
