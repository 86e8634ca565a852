//! What do the sources of a bundle's values say to its chart? Their documents are merged in
//! order, and each merged leaf becomes either an argument that people can read in the Job or a
//! line of a file that only the Job can read. Pure. No content of a source may reach an error or a
//! `Debug` output: any of them may be a Secret.

use std::collections::BTreeMap;
use std::fmt;

mod arguments;
mod budget;
mod document;
mod file;
mod mask;
mod merge;
mod problem;
mod references;
mod scalar;

pub use problem::Problem;
pub use references::{InvalidSource, SourceRef, check};

use super::mask::Masks;
use budget::Budget;
use merge::Tree;

/// The most bytes the keys of one source may hold together: what etcd lets an object have.
const MAX_SOURCE_BYTES: usize = 1024 * 1024;

/// The most bytes of merged values, because they must fit into one Secret.
const MAX_FILE_BYTES: usize = 1_000_000;

/// Merges `sources` and decides where each value goes.
///
/// Every key of a source is one YAML document; within a source they are merged in the order of
/// their names. Maps are merged, anything else is replaced by the later document; `null` is kept,
/// because it is how a chart's default is deleted. Leaves from config maps become arguments as far
/// as Helm reads the argument back as exactly the same value, and go into the file otherwise;
/// leaves from secrets go only into the file. More than 64 KiB of arguments go into the file as a
/// whole.
pub fn resolve(sources: &[Source]) -> Result<Values, InvalidValues> {
    let tree = merged(sources)?;
    let (arguments, rest) = arguments::split(&tree);
    if !rest.values().all(arguments::exact_in_json) {
        return Err(rounded(sources));
    }
    let file = (!rest.is_empty()).then(|| file::write(&rest));
    if file
        .as_ref()
        .is_some_and(|text| text.len() > MAX_FILE_BYTES)
    {
        return Err(InvalidValues::TooLarge);
    }
    Ok(Values {
        arguments,
        file,
        secret_texts: mask::secret_texts(&tree),
        canonical: tree.canonical(),
    })
}

/// What to mask of `sources`: each scalar of at least four characters that a Secret said last. `None`
/// if one of them cannot be read.
pub fn secret_texts(sources: &[Source]) -> Option<Masks> {
    merged(sources).ok().map(|tree| mask::secret_texts(&tree))
}

/// What a source is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum SourceKind {
    /// Readable by everyone who may read the namespace.
    ConfigMap,
    /// Never shown.
    Secret,
}

impl fmt::Display for SourceKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::ConfigMap => "ConfigMap",
            Self::Secret => "Secret",
        })
    }
}

/// One fetched source, in the order of `spec.converge.valuesFrom`.
#[derive(Clone, PartialEq, Eq)]
pub struct Source {
    /// Its place in `valuesFrom`.
    pub index: usize,
    /// Whether its content may be shown.
    pub kind: SourceKind,
    /// The name of the object.
    pub name: String,
    /// Key to YAML document.
    pub documents: BTreeMap<String, Vec<u8>>,
}

impl fmt::Debug for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Source")
            .field("index", &self.index)
            .field("kind", &self.kind)
            .field("name", &self.name)
            .field("keys", &self.documents.len())
            .finish()
    }
}

/// What the merged values become.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Values {
    /// Arguments for werf, each a whole `--set…=key=value`, in the order of their keys. They
    /// survive Kubernetes' expansion of `$(NAME)` unchanged and hold nothing from a Secret.
    pub arguments: Vec<String>,
    /// A values file for everything that is not an argument, if there is anything.
    pub file: Option<String>,
    /// What to mask in logs: each scalar of at least four characters that came from a Secret.
    pub secret_texts: Masks,
    canonical: Vec<u8>,
}

impl Values {
    /// The merged document with the origin of each leaf, as bytes that are equal exactly when
    /// those are: for hashing. They hold Secret values.
    pub fn fingerprint_parts(&self) -> impl Iterator<Item = &[u8]> {
        std::iter::once(self.canonical.as_slice())
    }
}

impl fmt::Debug for Values {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Values")
            .field("arguments", &self.arguments.len())
            .field("file", &self.file.is_some())
            .finish_non_exhaustive()
    }
}

/// Why the sources make no values.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidValues {
    /// One document cannot be used.
    #[error("{kind} '{name}' key '{key}'{}: {problem}", .line.map(|line| format!(" line {line}")).unwrap_or_default())]
    Document {
        /// Of the source.
        kind: SourceKind,
        /// Of the source.
        name: String,
        /// Which of its documents.
        key: String,
        /// Counted from 1, if known.
        line: Option<usize>,
        /// What is wrong there.
        problem: Problem,
    },
    /// The documents of one source are too much to read.
    #[error("{kind} '{name}' holds more than 1 MiB of values")]
    SourceTooLarge {
        /// Of the source.
        kind: SourceKind,
        /// Of the source.
        name: String,
    },
    /// The merged values do not fit into one Secret.
    #[error("the merged values are larger than 1 MB")]
    TooLarge,
}

fn merged(sources: &[Source]) -> Result<Tree, InvalidValues> {
    let mut tree = Tree::default();
    let mut budget = Budget::default();
    for source in sources {
        let bytes: usize = source.documents.values().map(Vec::len).sum();
        if bytes > MAX_SOURCE_BYTES {
            return Err(InvalidValues::SourceTooLarge {
                kind: source.kind,
                name: source.name.clone(),
            });
        }
        for (key, text) in &source.documents {
            let document =
                document::parse(text, &mut budget).map_err(|refusal| InvalidValues::Document {
                    kind: source.kind,
                    name: source.name.clone(),
                    key: key.clone(),
                    line: refusal.line,
                    problem: refusal.problem,
                })?;
            tree.merge(document, source.kind);
        }
    }
    Ok(tree)
}

/// Names the document with the number that would be rounded: one that has such a number by itself, or
/// else, where all arguments go into the file because they are too many, one with any large number.
fn rounded(sources: &[Source]) -> InvalidValues {
    let has_one = |source: &Source, text: &[u8], whole: bool| {
        let document = document::parse(text, &mut Budget::default()).unwrap_or_default();
        let mut tree = Tree::default();
        tree.merge(document, source.kind);
        let rest = if whole {
            tree.document()
        } else {
            arguments::split(&tree).1
        };
        !rest.values().all(arguments::exact_in_json)
    };
    let find = |whole: bool| {
        sources.iter().find_map(|source| {
            let mut documents = source.documents.iter();
            let found = documents.find(|(_, text)| has_one(source, text, whole));
            found.map(|(key, _)| (source, key))
        })
    };
    let Some((source, key)) = find(false).or_else(|| find(true)) else {
        return InvalidValues::TooLarge;
    };
    InvalidValues::Document {
        kind: source.kind,
        name: source.name.clone(),
        key: key.clone(),
        line: None,
        problem: Problem::NumberTooLarge,
    }
}

#[cfg(test)]
mod tests;
