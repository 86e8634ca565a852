//! Does `valuesFrom` name exactly one object per entry? The schema asks the same, but an object
//! may have been stored before the schema did. The messages are promised by the guides.

use werf_shared::bundle::ValuesSource;
use werf_shared::names::{self, IllegalName};

use super::SourceKind;

/// The objects to fetch, in order.
pub fn check(sources: &[ValuesSource]) -> Result<Vec<SourceRef>, InvalidSource> {
    sources
        .iter()
        .enumerate()
        .map(|(index, source)| reference(index, source))
        .collect()
}

/// One object to fetch values from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SourceRef {
    /// Its place in `valuesFrom`.
    pub index: usize,
    /// Which kind of object.
    pub kind: SourceKind,
    /// Its name; a legal one.
    pub name: String,
    /// Whether it may be missing.
    pub optional: bool,
}

/// Why an entry of `valuesFrom` cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidSource {
    /// The object has no name.
    #[error("source {index}: {kind}Ref name is empty")]
    EmptyName {
        /// Place in `valuesFrom`.
        index: usize,
        /// Which of the two references.
        kind: SourceKind,
    },
    /// No object can be named so.
    #[error(transparent)]
    IllegalName(#[from] IllegalName),
    /// The entry names nothing.
    #[error("source {index}: neither ConfigMapRef nor SecretRef is set")]
    Neither {
        /// Place in `valuesFrom`.
        index: usize,
    },
    /// The entry names two objects.
    #[error("source {index}: both ConfigMapRef and SecretRef are set")]
    Both {
        /// Place in `valuesFrom`.
        index: usize,
    },
}

fn reference(index: usize, source: &ValuesSource) -> Result<SourceRef, InvalidSource> {
    let (kind, reference) = match (&source.config_map_ref, &source.secret_ref) {
        (Some(reference), None) => (SourceKind::ConfigMap, reference),
        (None, Some(reference)) => (SourceKind::Secret, reference),
        (None, None) => return Err(InvalidSource::Neither { index }),
        (Some(_), Some(_)) => return Err(InvalidSource::Both { index }),
    };
    if reference.name.is_empty() {
        return Err(InvalidSource::EmptyName { index, kind });
    }
    let field = match kind {
        SourceKind::ConfigMap => "configMapRef",
        SourceKind::Secret => "secretRef",
    };
    let field = format!("spec.converge.valuesFrom[{index}].{field}.name");
    names::check_object(&field, &reference.name)?;
    Ok(SourceRef {
        index,
        kind,
        name: reference.name.clone(),
        optional: source.optional,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use werf_shared::bundle::LocalReference;

    fn source(config_map: Option<&str>, secret: Option<&str>) -> ValuesSource {
        let named = |name: &str| LocalReference {
            name: name.to_owned(),
        };
        ValuesSource {
            config_map_ref: config_map.map(named),
            secret_ref: secret.map(named),
            optional: true,
        }
    }

    #[rstest::rstest]
    #[case::no_config_map_name(&[source(Some(""), None)], "source 0: ConfigMapRef name is empty")]
    #[case::no_secret_name(&[source(None, Some(""))], "source 0: SecretRef name is empty")]
    #[case::nothing(&[source(Some("a"), None), source(None, None)], "source 1: neither ConfigMapRef nor SecretRef is set")]
    #[case::both(&[source(Some("a"), Some("b"))], "source 0: both ConfigMapRef and SecretRef are set")]
    fn a_malformed_entry_is_named_as_the_guides_do(
        #[case] sources: &[ValuesSource],
        #[case] told: &str,
    ) {
        assert_eq!(check(sources).unwrap_err().to_string(), told);
    }

    #[rstest::rstest]
    #[case::query("creds?resourceVersion=0")]
    #[case::path("a/../b")]
    #[case::no_request("my config")]
    fn a_name_that_is_none_is_told_by_its_field_and_not_repeated(#[case] name: &str) {
        for (sources, field) in [
            (
                [source(None, Some("a")), source(None, Some(name))],
                "secretRef",
            ),
            (
                [source(None, Some("a")), source(Some(name), None)],
                "configMapRef",
            ),
        ] {
            let told = check(&sources).unwrap_err().to_string();
            let field = format!("spec.converge.valuesFrom[1].{field}.name must be ");
            assert!(told.starts_with(&field) && !told.contains(name), "{told}");
        }
    }

    #[test]
    fn entries_keep_their_order_and_whether_they_may_be_missing() {
        let refs = check(&[source(None, Some("b")), source(Some("a"), None)]).unwrap();
        let told: Vec<_> = refs
            .iter()
            .map(|r| (r.index, r.kind, r.name.as_str(), r.optional))
            .collect();
        assert_eq!(
            told,
            [
                (0, SourceKind::Secret, "b", true),
                (1, SourceKind::ConfigMap, "a", true)
            ]
        );
    }
}
