//! Is it worth trying again, and how is a failure told in one line? Pure; it neither logs nor
//! retries.

use std::error::Error;
use std::fmt;

/// What a failure means for whoever asked: the one input of backoff, gRPC code and condition reason.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Class {
    /// The same request may succeed later: network, overload, throttling.
    Transient,
    /// The request is wrong and stays wrong until someone changes it.
    Rejected,
    /// Something is defective on our side; retry slowly and loudly.
    Broken,
}

impl Class {
    /// Every class, for tables and for metrics that must exist at zero.
    pub const ALL: [Self; 3] = [Self::Transient, Self::Rejected, Self::Broken];

    /// The name used in log fields and metric labels.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Transient => "transient",
            Self::Rejected => "rejected",
            Self::Broken => "broken",
        }
    }
}

impl fmt::Display for Class {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The error and all its sources as `outer: middle: root`.
///
/// Some libraries print their source inside their own message; such a source is not told twice.
pub fn chain(error: &(dyn Error + 'static)) -> String {
    let mut told = error.to_string();
    let mut last = told.clone();
    let mut next = error.source();
    while let Some(source) = next {
        let text = source.to_string();
        if !text.is_empty() && !last.ends_with(&text) {
            if !told.is_empty() {
                told.push_str(": ");
            }
            told.push_str(&text);
            last = text;
        }
        next = source.source();
    }
    told
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug)]
    struct Level(&'static str, Option<Box<Self>>);

    impl fmt::Display for Level {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str(self.0)
        }
    }

    impl Error for Level {
        fn source(&self) -> Option<&(dyn Error + 'static)> {
            self.1.as_deref().map(|level| level as _)
        }
    }

    fn levels(texts: &[&'static str]) -> Level {
        let mut texts = texts.iter().rev();
        let mut level = Level(texts.next().unwrap(), None);
        for text in texts {
            level = Level(text, Some(Box::new(level)));
        }
        level
    }

    #[rstest::rstest]
    #[case::alone(&["cannot list tags"], "cannot list tags")]
    #[case::three(&["cannot list tags", "cannot connect", "refused"], "cannot list tags: cannot connect: refused")]
    #[case::source_in_display(&["cannot connect: refused", "refused"], "cannot connect: refused")]
    #[case::two_levels_in_display(&["a: b: c", "b: c", "c"], "a: b: c")]
    #[case::transparent(&["refused", "refused"], "refused")]
    #[case::silent_level(&["cannot connect", "", "refused"], "cannot connect: refused")]
    fn a_chain_tells_each_level_once(#[case] texts: &[&'static str], #[case] told: &str) {
        assert_eq!(chain(&levels(texts)), told);
    }

    #[test]
    fn classes_are_named_in_lower_case_for_labels() {
        let names: Vec<String> = Class::ALL.iter().map(ToString::to_string).collect();
        assert_eq!(names, ["transient", "rejected", "broken"]);
    }
}
