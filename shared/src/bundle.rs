//! The `WerfBundle` custom resource: what people write and what the operator answers. The CRD
//! under `crds/` is generated from here, so every doc comment on a field is what
//! `kubectl explain` shows. What the schema refuses is parsed again where it is used, because an
//! object may have been stored before a rule existed.

#![expect(
    unreachable_pub,
    reason = "KubeSchema repeats each struct, as public, inside a function"
)]
#![expect(
    clippy::duplicated_attributes,
    reason = "each printer column has a type, and some the same"
)]

use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub mod asked;
pub mod condition;
pub mod duration;
pub mod key;
pub mod schema;
pub mod status;

pub use key::BundleKey;
pub use status::WerfBundleStatus;

/// Keeps the newest bundle of a repository deployed.
#[derive(CustomResource, KubeSchema, Clone, Debug, Deserialize, Serialize, PartialEq)]
#[kube(
    group = "werf.io",
    version = "v1alpha1",
    kind = "WerfBundle",
    plural = "werfbundles",
    singular = "werfbundle",
    namespaced,
    status = "WerfBundleStatus",
    shortname = "wb",
    shortname = "wbs",
    category = "werf",
    doc = "A WerfBundle keeps the newest bundle of an OCI repository deployed into a namespace.",
    printcolumn(
        name = "Phase",
        type_ = "string",
        json_path = ".status.phase",
        description = "Syncing, Synced or Failed."
    ),
    printcolumn(
        name = "LastAppliedTag",
        type_ = "string",
        json_path = ".status.lastAppliedTag",
        description = "The tag that was deployed last."
    ),
    printcolumn(
        name = "Ready",
        type_ = "string",
        json_path = ".status.conditions[?(@.type==\"Ready\")].status",
        description = "Whether the wanted tag is deployed."
    ),
    printcolumn(
        name = "Reason",
        type_ = "string",
        json_path = ".status.conditions[?(@.type==\"Ready\")].reason",
        description = "Why Ready is what it is, in one word."
    ),
    printcolumn(
        name = "Suspended",
        type_ = "boolean",
        json_path = ".spec.suspend",
        description = "Whether polling and deploying are stopped."
    ),
    printcolumn(
        name = "Age",
        type_ = "date",
        json_path = ".metadata.creationTimestamp"
    ),
    printcolumn(
        name = "Desired",
        type_ = "string",
        json_path = ".status.desiredTag",
        description = "The tag that is wanted.",
        priority = 1
    ),
    printcolumn(
        name = "Target",
        type_ = "string",
        json_path = ".status.resolvedTargetNamespace",
        description = "The namespace that is deployed into.",
        priority = 1
    ),
    printcolumn(
        name = "Message",
        type_ = "string",
        json_path = ".status.conditions[?(@.type==\"Ready\")].message",
        priority = 1
    )
)]
#[serde(rename_all = "camelCase")]
pub struct WerfBundleSpec {
    /// Stops polling and starting Jobs while true. A Job that runs already is left to end.
    #[serde(default)]
    pub suspend: bool,

    /// Where bundles come from and which of them are wanted.
    pub registry: Registry,

    /// How a bundle is deployed.
    #[serde(default)]
    pub converge: Converge,
}

/// Where bundles come from and which of them are wanted.
#[derive(KubeSchema, Clone, Debug, Deserialize, Serialize, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct Registry {
    /// The repository that bundles are published to: `host[:port]/path`, for example
    /// `ghcr.io/org/my-app-bundle`. No scheme, no user, no tag, no digest.
    #[schemars(length(min = 3, max = 255))]
    #[x_kube(validation = Rule::new(format!("self.matches(r'{}')", crate::repository::PATTERN))
        .message(crate::repository::RULE))]
    pub url: String,

    /// The Secret with the credentials for the registry, in the bundle's namespace. Its type is
    /// `kubernetes.io/dockerconfigjson` or `kubernetes.io/basic-auth`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret_ref: Option<LocalReference>,

    /// The Secret with certificates for the registry, in the bundle's namespace: `ca.crt` is the
    /// only CA that is trusted then, `tls.crt` and `tls.key` are the client's own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cert_secret_ref: Option<LocalReference>,

    /// Talks plain HTTP to the registry. Works only if the operator was started with
    /// `--allow-insecure-registries`, except for registries on the loopback address.
    #[serde(default)]
    pub insecure: bool,

    /// How often the registry is asked for new tags, as a duration such as `15m` or `1h30m`,
    /// from 1m to 24h. The real interval varies by 10 % so that bundles do not poll in step.
    #[serde(default = "default_poll_interval")]
    #[schemars(length(max = 16), regex(pattern = schema::DURATION_PATTERN))]
    #[x_kube(validation = Rule::new("duration(self) >= duration('1m') && duration(self) <= duration('24h')")
        .message("pollInterval must be between 1m and 24h"))]
    pub poll_interval: String,

    /// Which versions may be deployed, in the syntax of Helm's version constraints, for example
    /// `>=1.0.0, <2.0.0`, `~1.2`, `^1`, `1.x`. Without it the highest stable version is deployed.
    /// Prereleases are considered only when the constraint names one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 256))]
    pub version_constraint: Option<String>,
}

/// How a bundle is deployed.
#[derive(KubeSchema, Clone, Debug, Deserialize, Serialize, PartialEq)]
#[x_kube(validation = Rule::new("!has(self.targetNamespace) || has(self.serviceAccountName)")
    .message("serviceAccountName is required when targetNamespace is set")
    .field_path(".serviceAccountName"))]
#[serde(rename_all = "camelCase")]
pub struct Converge {
    /// The namespace to deploy into; the bundle's own when not set. It must exist.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 63), regex(pattern = schema::LABEL_PATTERN))]
    pub target_namespace: Option<String>,

    /// The ServiceAccount in the target namespace that the deployment runs as. The operator
    /// lends it no rights of its own. `default` when not set and deploying into the bundle's
    /// own namespace.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253), regex(pattern = schema::SUBDOMAIN_PATTERN))]
    pub service_account_name: Option<String>,

    /// The name of the Helm release; the bundle's name when not set, or its beginning and a hash if
    /// that is longer than Helm allows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 53), regex(pattern = schema::SUBDOMAIN_PATTERN))]
    pub release_name: Option<String>,

    /// What the deploying container may use. Requests are set to the same.
    #[serde(default)]
    pub resource_limits: ResourceLimits,

    /// How many days a finished Job and its logs are kept.
    #[serde(default = "default_log_retention_days")]
    #[schemars(range(min = 1, max = 365))]
    pub log_retention_days: u32,

    /// How long a deployment may wait for the application to become ready, as a duration such as
    /// `10m`, from 1s to 24h.
    #[serde(default = "default_timeout")]
    #[schemars(length(max = 16), regex(pattern = schema::DURATION_PATTERN))]
    #[x_kube(validation = Rule::new("duration(self) >= duration('1s') && duration(self) <= duration('24h')")
        .message("timeout must be between 1s and 24h"))]
    pub timeout: String,

    /// What happens after a failed deployment.
    #[serde(default)]
    pub retry: Retry,

    /// What becomes of the deployed release when the bundle is deleted: `Retain` leaves it,
    /// `Uninstall` removes it first, as the ServiceAccount it was deployed as.
    #[serde(default)]
    pub deletion_policy: DeletionPolicy,

    /// Values for the chart, merged in order: a later source wins. Each key of a ConfigMap or
    /// Secret holds one YAML document.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32))]
    pub values_from: Vec<ValuesSource>,
}

/// What becomes of the deployed release when the bundle is deleted.
#[derive(Clone, Copy, Debug, Default, Deserialize, Serialize, JsonSchema, PartialEq, Eq)]
pub enum DeletionPolicy {
    /// It stays as it is.
    #[default]
    Retain,
    /// It is uninstalled before the bundle goes.
    Uninstall,
}

/// What the deploying container may use.
#[derive(KubeSchema, Clone, Debug, Deserialize, Serialize, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct ResourceLimits {
    /// Processor time, for example `500m` or `2`.
    #[serde(default = "default_cpu")]
    #[schemars(schema_with = "schema::quantity")]
    #[x_kube(validation = Rule::new("string(self) != '0' && !string(self).startsWith('-')")
        .message("cpu must be greater than zero"))]
    pub cpu: schema::Quantity,

    /// Memory, for example `1Gi`.
    #[serde(default = "default_memory")]
    #[schemars(schema_with = "schema::quantity")]
    #[x_kube(validation = Rule::new("string(self) != '0' && !string(self).startsWith('-')")
        .message("memory must be greater than zero"))]
    pub memory: schema::Quantity,
}

/// What happens after a failed deployment.
#[derive(KubeSchema, Clone, Debug, Deserialize, Serialize, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct Retry {
    /// How often a failed deployment is tried again, after 30s, 1m, 2m, 4m and then every 8m.
    /// After that the bundle is stalled until something changes or someone asks.
    #[serde(default = "default_retry_limit")]
    #[schemars(range(min = 0, max = 100))]
    pub limit: u32,
}

/// One source of values: a ConfigMap or a Secret.
#[derive(KubeSchema, Clone, Debug, Default, Deserialize, Serialize, PartialEq)]
#[x_kube(validation = Rule::new("has(self.configMapRef) != has(self.secretRef)")
    .message("exactly one of configMapRef and secretRef must be set"))]
#[serde(rename_all = "camelCase")]
pub struct ValuesSource {
    /// A ConfigMap in the bundle's namespace or, failing that, in the target namespace.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub config_map_ref: Option<LocalReference>,

    /// A Secret in the bundle's namespace or, failing that, in the target namespace.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret_ref: Option<LocalReference>,

    /// Skips the source when it does not exist, instead of failing.
    #[serde(default)]
    pub optional: bool,
}

/// The name of an object whose kind and namespace are known.
#[derive(KubeSchema, Clone, Debug, Default, Deserialize, Serialize, PartialEq)]
pub struct LocalReference {
    /// Name of the object.
    #[schemars(length(min = 1, max = 253), regex(pattern = schema::SUBDOMAIN_PATTERN))]
    pub name: String,
}

impl Default for Converge {
    fn default() -> Self {
        Self {
            target_namespace: None,
            service_account_name: None,
            release_name: None,
            resource_limits: ResourceLimits::default(),
            log_retention_days: default_log_retention_days(),
            timeout: default_timeout(),
            retry: Retry::default(),
            deletion_policy: DeletionPolicy::default(),
            values_from: Vec::new(),
        }
    }
}

impl Default for ResourceLimits {
    fn default() -> Self {
        Self {
            cpu: default_cpu(),
            memory: default_memory(),
        }
    }
}

impl Default for Retry {
    fn default() -> Self {
        Self {
            limit: default_retry_limit(),
        }
    }
}

fn default_poll_interval() -> String {
    "15m".to_owned()
}

fn default_timeout() -> String {
    "10m".to_owned()
}

fn default_cpu() -> schema::Quantity {
    schema::Quantity("1".to_owned())
}

fn default_memory() -> schema::Quantity {
    schema::Quantity("1Gi".to_owned())
}

const fn default_log_retention_days() -> u32 {
    7
}

const fn default_retry_limit() -> u32 {
    3
}
