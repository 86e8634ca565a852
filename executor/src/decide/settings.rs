//! What a bundle asks for, parsed: past this point there are no raw texts and no missing defaults.
//! The schema refuses most of what is refused here; an object may be older than the schema.

use std::time::Duration;

use kube::ResourceExt;
use werf_shared::bundle::{LocalReference, WerfBundle, duration};
use werf_shared::names::{self, IllegalName};
use werf_shared::repository::Repository;

use super::release::Release;
use super::values::{InvalidSource, SourceRef, check};

/// How a bundle is deployed.
#[derive(Clone, Debug, PartialEq)]
pub struct Settings {
    /// Where the bundle is pulled from.
    pub repository: Repository,
    /// By plain HTTP.
    pub insecure: bool,
    /// The Secret with credentials for it, in the bundle's namespace.
    pub registry_secret: Option<String>,
    /// The Secret with certificates for it, in the bundle's namespace.
    pub certificate_secret: Option<String>,
    /// The namespace that is deployed into, where the Job is.
    pub target_namespace: String,
    /// The ServiceAccount there that the Job runs as.
    pub service_account: String,
    /// The Helm release.
    pub release: String,
    /// Processor time of the Job, as a quantity.
    pub cpu: String,
    /// Memory of the Job, as a quantity.
    pub memory: String,
    /// How long a finished Job is kept.
    pub log_retention: Duration,
    /// How long werf may wait for the application.
    pub timeout: Duration,
    /// How often a failed Job is tried again.
    pub retry_limit: u32,
    /// How often values are read again.
    pub refresh: Duration,
    /// Where values come from, in order.
    pub sources: Vec<SourceRef>,
}

/// A spec that cannot be deployed; each variant names the field.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidSettings {
    /// `spec.registry.url` is not a repository.
    #[error("spec.registry.{0}")]
    Repository(werf_shared::repository::InvalidRepository),
    /// A duration is not one.
    #[error("spec.{field}: {source}")]
    Duration {
        /// The field under `spec`.
        field: &'static str,
        /// What is wrong with it.
        source: duration::InvalidDuration,
    },
    /// Plain HTTP where the operator does not allow it.
    #[error(
        "spec.registry.insecure: plain HTTP is only used if the operator was started with --allow-insecure-registries"
    )]
    InsecureNotAllowed,
    /// Deploying elsewhere needs a ServiceAccount by name.
    #[error("spec.converge.serviceAccountName is required when targetNamespace is set")]
    ServiceAccountMissing,
    /// No object of its kind can be named so.
    #[error(transparent)]
    Name(#[from] IllegalName),
    /// A source of values is incomplete.
    #[error("{0}")]
    Source(#[from] InvalidSource),
}

impl Settings {
    /// Reads the spec of a bundle. Plain HTTP to this very machine is always allowed.
    pub fn of(bundle: &WerfBundle, allow_insecure: bool) -> Result<Self, InvalidSettings> {
        let own_namespace = bundle.namespace().unwrap_or_default();
        let registry = &bundle.spec.registry;
        let converge = &bundle.spec.converge;
        let target = converge.target_namespace.clone().unwrap_or_default();
        let elsewhere = !target.is_empty() && target != own_namespace;
        if elsewhere {
            names::check_namespace("spec.converge.targetNamespace", &target)?;
        }
        let service_account = match &converge.service_account_name {
            Some(name) if !name.is_empty() => name.clone(),
            _ if elsewhere => return Err(InvalidSettings::ServiceAccountMissing),
            _ => "default".to_owned(),
        };
        names::check_object("spec.converge.serviceAccountName", &service_account)?;
        let release = Release::of(bundle).name;
        names::check_release("spec.converge.releaseName", &release)?;
        let repository: Repository = registry.url.parse().map_err(InvalidSettings::Repository)?;
        if registry.insecure && !allow_insecure && !repository.is_loopback() {
            return Err(InvalidSettings::InsecureNotAllowed);
        }
        Ok(Self {
            repository,
            insecure: registry.insecure,
            registry_secret: name_of("spec.registry.secretRef.name", registry.secret_ref.as_ref())?,
            certificate_secret: name_of(
                "spec.registry.certSecretRef.name",
                registry.cert_secret_ref.as_ref(),
            )?,
            target_namespace: if elsewhere { target } else { own_namespace },
            service_account,
            release,
            cpu: converge.resource_limits.cpu.0.clone(),
            memory: converge.resource_limits.memory.0.clone(),
            log_retention: Duration::from_secs(u64::from(converge.log_retention_days) * 86_400),
            timeout: parse("converge.timeout", &converge.timeout)?,
            retry_limit: converge.retry.limit,
            refresh: parse("registry.pollInterval", &registry.poll_interval)?,
            sources: check(&converge.values_from)?,
        })
    }
}

fn name_of(field: &str, reference: Option<&LocalReference>) -> Result<Option<String>, IllegalName> {
    let Some(LocalReference { name }) = reference else {
        return Ok(None);
    };
    names::check_object(field, name)?;
    Ok(Some(name.clone()))
}

fn parse(field: &'static str, text: &str) -> Result<Duration, InvalidSettings> {
    duration::parse(text).map_err(|source| InvalidSettings::Duration { field, source })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::decide::fixtures::bundle;
    use werf_shared::bundle::ValuesSource;

    #[test]
    fn plain_http_needs_leave_unless_it_stays_on_this_machine() {
        let mut bundle = bundle();
        bundle.spec.registry.insecure = true;
        assert_eq!(
            Settings::of(&bundle, false),
            Err(InvalidSettings::InsecureNotAllowed)
        );
        assert!(Settings::of(&bundle, true).is_ok());
        bundle.spec.registry.url = "localhost:5000/app".to_owned();
        assert!(Settings::of(&bundle, false).is_ok());
    }

    #[test]
    fn deploying_elsewhere_needs_a_service_account() {
        let mut bundle = bundle();
        bundle.spec.converge.target_namespace = Some("production".to_owned());
        assert_eq!(
            Settings::of(&bundle, false),
            Err(InvalidSettings::ServiceAccountMissing)
        );
        bundle.spec.converge.target_namespace = Some("apps".to_owned());
        let settings = Settings::of(&bundle, false).unwrap();
        assert_eq!(settings.service_account, "default");
    }

    #[rstest::rstest]
    #[case::target("spec.converge.targetNamespace", |bundle: &mut WerfBundle, name: String| {
        bundle.spec.converge.target_namespace = Some(name);
        bundle.spec.converge.service_account_name = Some("deployer".to_owned());
    })]
    #[case::account("spec.converge.serviceAccountName", |bundle: &mut WerfBundle, name: String| {
        bundle.spec.converge.service_account_name = Some(name);
    })]
    #[case::release("spec.converge.releaseName", |bundle: &mut WerfBundle, name: String| {
        bundle.spec.converge.release_name = Some(name);
    })]
    #[case::login("spec.registry.secretRef.name", |bundle: &mut WerfBundle, name: String| {
        bundle.spec.registry.secret_ref = Some(LocalReference { name });
    })]
    #[case::certificates("spec.registry.certSecretRef.name", |bundle: &mut WerfBundle, name: String| {
        bundle.spec.registry.cert_secret_ref = Some(LocalReference { name });
    })]
    #[case::values("spec.converge.valuesFrom[0].secretRef.name", |bundle: &mut WerfBundle, name: String| {
        bundle.spec.converge.values_from = vec![ValuesSource {
            secret_ref: Some(LocalReference { name }),
            ..ValuesSource::default()
        }];
    })]
    fn what_can_be_no_name_is_told_by_its_field(
        #[case] field: &str,
        #[case] set: fn(&mut WerfBundle, String),
    ) {
        for hostile in [
            "creds?resourceVersion=0",
            "a/../b",
            "my config",
            "..",
            "--x",
        ] {
            let mut bundle = bundle();
            set(&mut bundle, hostile.to_owned());
            let told = Settings::of(&bundle, false).unwrap_err().to_string();
            assert!(told.starts_with(&format!("{field} must be ")), "{told}");
            assert!(!told.contains(hostile), "{told}");
        }
        let mut bundle = bundle();
        set(&mut bundle, "my-name".to_owned());
        assert!(Settings::of(&bundle, false).is_ok());
    }
}
