//! Why is a document no values? The words for it never quote the document, which may be a Secret,
//! and so never pass on what the parser says in its own words. Pure.

use granit_parser::{ErrorKind, ScanError};

/// A problem and where it is.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Refusal {
    pub(super) line: Option<usize>,
    pub(super) problem: Problem,
}

/// What is wrong with a document; never any of its content.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Problem {
    /// The bytes are no text.
    #[error("not UTF-8")]
    NotUtf8,
    /// A character that YAML does not allow unescaped.
    #[error("control characters are not allowed")]
    ControlCharacter,
    /// Not YAML.
    #[error("not valid YAML: {0}")]
    Syntax(&'static str),
    /// More than one document.
    #[error("more than one YAML document")]
    SeveralDocuments,
    /// A scalar or a list instead of a map.
    #[error("the root must be a map")]
    RootNotAMap,
    /// The same key twice in one map.
    #[error("a key appears twice in one map")]
    DuplicateKey,
    /// Something that cannot be a key of values.
    #[error("a key must be text, an integer or a boolean")]
    InvalidKey,
    /// A key that Helm could not read back.
    #[error("a key is too long")]
    KeyTooLong,
    /// `<<` with something else than maps.
    #[error("only maps can be merged with <<")]
    InvalidMerge,
    /// An alias to a collection that it is part of.
    #[error("an alias refers to a collection it is inside of")]
    AliasOfAncestor,
    /// A tag that values have no use for.
    #[error("this tag is not supported")]
    UnknownTag,
    /// A value that is not what its tag says.
    #[error("the value does not fit its tag")]
    TagMismatch,
    /// A number that would be rounded.
    #[error("the number is too large to be kept exactly; quote it")]
    NumberTooLarge,
    /// `.nan` or `.inf`.
    #[error("values have no NaN and no infinity")]
    NotFinite,
    /// Too deep.
    #[error("nested more than 64 levels deep")]
    TooDeep,
    /// Too many nodes or too much text, all documents of the bundle together.
    #[error("too many values, counting every use of an alias")]
    TooComplex,
}

impl Problem {
    /// The problem, found in `line`.
    pub(super) fn at(self, line: usize) -> Refusal {
        Refusal {
            line: Some(line),
            problem: self,
        }
    }
}

impl From<&ScanError> for Refusal {
    fn from(error: &ScanError) -> Self {
        // The parser's own words may quote the document, so only known words are passed on.
        let problem = match error.kind() {
            ErrorKind::RecursionLimitExceeded => Problem::TooDeep,
            ErrorKind::UnknownAnchor => Problem::Syntax("an alias refers to no anchor"),
            ErrorKind::MappingValueNotAllowed
            | ErrorKind::InvalidMappingValueWhitespace
            | ErrorKind::InvalidColonPlacement => {
                Problem::Syntax("mapping values are not allowed here")
            }
            ErrorKind::TabNotAllowed
            | ErrorKind::TabInBlockIndentation
            | ErrorKind::TabInIndentation
            | ErrorKind::TabAtBlockScalarStart
            | ErrorKind::TabInPlainScalar => Problem::Syntax("a tab is used for indentation"),
            ErrorKind::InvalidIndentation
            | ErrorKind::InvalidFlowScalarIndent
            | ErrorKind::InvalidQuotedScalarIndent
            | ErrorKind::InvalidBlockScalarIndent => Problem::Syntax("wrong indentation"),
            ErrorKind::UnclosedQuotedScalar => Problem::Syntax("a quote is not closed"),
            ErrorKind::UnclosedFlowCollection { .. }
            | ErrorKind::UnexpectedEofFlowSequence
            | ErrorKind::UnexpectedEofFlowMapping
            | ErrorKind::MismatchedFlowCollectionEnd { .. }
            | ErrorKind::MisplacedFlowCollectionEnd => {
                Problem::Syntax("brackets or braces do not match")
            }
            ErrorKind::SimpleKeyExpected | ErrorKind::ExpectedBlockMappingKey => {
                Problem::Syntax("a key with a colon is expected")
            }
            ErrorKind::UnexpectedCharacter { .. } => Problem::Syntax("unexpected character"),
            _ => Problem::Syntax("the parser cannot read on"),
        };
        problem.at(error.marker().line())
    }
}
