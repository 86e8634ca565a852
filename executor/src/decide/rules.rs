//! Under which rules a tag is wanted: the repository and the constraint. A tag that was wanted under
//! other rules says nothing about what is wanted now; every other edit of a spec leaves it valid.

use werf_shared::bundle::Registry;
use werf_shared::names;

/// A hash of the rules, eight hexadecimal digits.
pub fn of(registry: &Registry) -> String {
    let constraint = registry.version_constraint.as_deref().unwrap_or_default();
    names::short_hash(&[&registry.url, constraint])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::decide::fixtures::bundle;

    #[test]
    fn only_repository_and_constraint_are_rules() {
        let registry = bundle().spec.registry;
        let mut other = registry.clone();
        other.poll_interval = "1h".to_owned();
        assert_eq!(of(&registry), of(&other));
        other.version_constraint = Some("^1".to_owned());
        assert_ne!(of(&registry), of(&other));
        other.version_constraint = None;
        other.url = "registry.example.com/another/app".to_owned();
        assert_ne!(of(&registry), of(&other));
    }
}
