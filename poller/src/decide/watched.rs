//! What matters about a bundle for polling? The object reduced to a small value whose equality is
//! the change test. Everything is parsed here, once; a part that does not parse is kept as the
//! reason why, because objects may be older than the rules of the schema.

use std::time::Duration;

use jiff::Timestamp;
use werf_shared::bundle::condition::{self, ConditionType};
use werf_shared::bundle::status::{Announced, Phase};
use werf_shared::bundle::{LocalReference, WerfBundle, WerfBundleStatus, asked, duration};
use werf_shared::names::{self, IllegalName};
use werf_shared::repository::{InvalidRepository, Repository};
use werf_shared::tag::Tag;

use super::newest::Rule;

/// The limits the schema sets, for objects that are older than it.
const SHORTEST: Duration = Duration::from_mins(1);
const LONGEST: Duration = Duration::from_hours(24);
const DEFAULT: Duration = Duration::from_mins(15);

/// A bundle as the poller sees it.
#[derive(Clone, Debug, PartialEq)]
pub struct Watched {
    /// metadata.uid.
    pub uid: String,
    /// metadata.generation; moves with every edit of the spec.
    pub generation: i64,
    /// It must not be polled for: suspended, or being deleted.
    pub resting: bool,
    /// Where to look, or why nowhere.
    pub subscription: Result<Subscription, String>,
    /// How often.
    pub interval: Duration,
    /// What to choose.
    pub rule: Rule,
    /// The value of the annotation that asks for a poll and a deployment now, or what stands for it.
    pub asked: Option<String>,
    /// What the executor knows.
    pub status: Known,
}

/// What is polled, and as whom: bundles of the same repository share it when they name the same
/// Secrets, or none.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Subscription {
    /// The repository.
    pub repository: Repository,
    /// The bundle asks for plain HTTP.
    pub insecure: bool,
    /// Where the credentials are.
    pub credentials: Option<SecretKey>,
    /// Where the registry's CA and our client certificate are.
    pub certificates: Option<SecretKey>,
}

/// A Secret that a bundle names; always one of its own namespace.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SecretKey {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
}

/// The bits of the status that polling depends on.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Known {
    /// The last choice the executor acknowledged.
    pub announced: Option<Announced>,
    /// The tag that is wanted.
    pub desired: Option<String>,
    /// Failed polls in a row.
    pub failures: u32,
    /// When something failed last.
    pub last_error: Option<Timestamp>,
    /// The generation of the last poll the executor heard of, where it is known.
    pub reported: Option<i64>,
    /// That poll found that the list lost the tag that was announced last.
    pub vanished: bool,
    /// The `ETag` of the last list; empty when there was none.
    pub etag: String,
    /// The value of that annotation that was taken up last.
    pub handled: Option<String>,
    /// Syncing, Synced or Failed.
    pub phase: Option<Phase>,
}

impl Subscription {
    fn of(bundle: &WerfBundle) -> Result<Self, String> {
        let registry = &bundle.spec.registry;
        let namespace = bundle.metadata.namespace.as_deref().unwrap_or_default();
        let secret = |field, reference: Option<&LocalReference>| {
            reference
                .map(|reference| SecretKey::named(field, namespace, &reference.name))
                .transpose()
                .map_err(|illegal| illegal.to_string())
        };
        Ok(Self {
            repository: registry
                .url
                .parse()
                .map_err(|error: InvalidRepository| error.to_string())?,
            insecure: registry.insecure,
            credentials: secret("spec.registry.secretRef.name", registry.secret_ref.as_ref())?,
            certificates: secret(
                "spec.registry.certSecretRef.name",
                registry.cert_secret_ref.as_ref(),
            )?,
        })
    }

    /// A repository that is polled as nobody in particular.
    pub const fn anonymous(repository: Repository, insecure: bool) -> Self {
        Self {
            repository,
            insecure,
            credentials: None,
            certificates: None,
        }
    }
}

impl SecretKey {
    fn named(field: &str, namespace: &str, name: &str) -> Result<Self, IllegalName> {
        names::check_object(field, name)?;
        Ok(Self {
            namespace: namespace.to_owned(),
            name: name.to_owned(),
        })
    }
}

impl Watched {
    /// The bundle, reduced.
    pub fn of(bundle: &WerfBundle) -> Self {
        let registry = &bundle.spec.registry;
        let rule = match registry.version_constraint.as_deref().map(str::parse) {
            None => Rule::Newest,
            Some(Ok(constraint)) => Rule::Matching(constraint),
            Some(Err(error)) => Rule::Unreadable(error),
        };
        Self {
            uid: bundle.metadata.uid.clone().unwrap_or_default(),
            generation: bundle.metadata.generation.unwrap_or_default(),
            resting: bundle.spec.suspend || bundle.metadata.deletion_timestamp.is_some(),
            subscription: Subscription::of(bundle),
            interval: duration::parse(&registry.poll_interval)
                .unwrap_or(DEFAULT)
                .clamp(SHORTEST, LONGEST),
            rule,
            asked: asked::reconcile(bundle),
            status: bundle.status.as_ref().map(Known::of).unwrap_or_default(),
        }
    }

    /// What is polled for it now, if anything.
    pub fn active(&self) -> Option<&Subscription> {
        self.subscription.as_ref().ok().filter(|_| !self.resting)
    }

    /// The spec was changed, and nobody has polled under it yet.
    pub fn edited_unseen(&self) -> bool {
        let reported = self.status.reported;
        reported.is_some_and(|reported| reported < self.generation)
    }

    /// An annotation asks for a poll, and that was not taken up yet.
    pub fn asks(&self) -> bool {
        self.asked.is_some() && self.asked != self.status.handled
    }

    /// Under the present spec a poller found that the list lost the tag that was announced last.
    pub fn holds_back(&self) -> bool {
        self.status.vanished && self.status.reported == Some(self.generation)
    }

    /// The tag that was announced last, where it was chosen under the rules that have held since
    /// the generation `rules_since`.
    pub fn announced_since(&self, rules_since: i64) -> Option<Tag> {
        self.status
            .announced
            .as_ref()
            .filter(|announced| announced.generation >= rules_since)
            .and_then(|announced| announced.tag.parse().ok())
    }
}

impl Known {
    fn of(status: &WerfBundleStatus) -> Self {
        let available = condition::find(&status.conditions, ConditionType::RegistryAvailable);
        Self {
            reported: available.and_then(|condition| condition.observed_generation),
            vanished: available.is_some_and(|condition| condition.reason == "TagVanished"),
            announced: status.announced.clone(),
            desired: status.desired_tag.clone(),
            failures: u32::try_from(status.consecutive_failures).unwrap_or_default(),
            last_error: status.last_error_time.as_ref().map(|time| time.0),
            etag: status.last_etag.clone().unwrap_or_default(),
            handled: status.last_handled_reconcile.clone(),
            phase: status.phase,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn bundle(registry: &serde_json::Value) -> Watched {
        let object = json!({
            "apiVersion": "werf.io/v1alpha1",
            "kind": "WerfBundle",
            "metadata": { "name": "app", "namespace": "team", "uid": "u", "generation": 3 },
            "spec": { "registry": registry },
            "status": { "consecutiveFailures": 2, "lastETag": "\"e\"", "lastJobLogs": "long", "conditions": [{
                "type": "RegistryAvailable", "status": "False", "reason": "RegistryTimeout",
                "message": "", "observedGeneration": 2, "lastTransitionTime": "2026-01-01T00:00:00Z",
            }] },
        });
        Watched::of(&serde_json::from_value(object).unwrap())
    }

    #[test]
    fn a_bundle_is_reduced_to_what_polling_needs() {
        let watched = bundle(&json!({ "url": "ghcr.io/org/app", "pollInterval": "30m" }));
        assert_eq!(watched.generation, 3);
        assert_eq!(watched.interval, Duration::from_mins(30));
        assert_eq!(watched.rule, Rule::Newest);
        assert_eq!(
            (watched.status.failures, watched.status.etag.as_str()),
            (2, "\"e\"")
        );
        assert_eq!(watched.active().unwrap().repository.host(), "ghcr.io");
        assert!(watched.edited_unseen());
    }

    #[test]
    fn what_does_not_parse_is_kept_as_the_reason() {
        let watched = bundle(&json!({
            "url": "https://ghcr.io/org/app", "pollInterval": "1s", "versionConstraint": ">=banana"
        }));
        assert!(watched.subscription.is_err());
        assert_eq!(watched.active(), None);
        assert_eq!(watched.interval, SHORTEST);
        assert!(matches!(watched.rule, Rule::Unreadable(_)));
    }

    #[rstest::rstest]
    #[case::query("creds?resourceVersion=0")]
    #[case::path("a/../b")]
    #[case::no_request("my config")]
    #[case::empty("")]
    fn a_secret_that_can_have_no_such_name_is_never_asked_for(#[case] name: &str) {
        for field in ["secretRef", "certSecretRef"] {
            let watched = bundle(&json!({ "url": "ghcr.io/org/app", field: { "name": name } }));
            let told = watched.subscription.unwrap_err();
            let begins = format!("spec.registry.{field}.name must be ");
            assert!(told.starts_with(&begins), "{told}");
            assert!(name.is_empty() || !told.contains(name), "{told}");
        }
    }
}
