//! Does a version satisfy a constraint? The syntax and the answers are those of Masterminds/semver
//! 3.5, which Helm uses: alternatives parted by `||`, comparators joined by commas or spaces,
//! hyphen ranges, wildcards, and prereleases only where the alternative names one.

use std::cmp::Ordering;
use std::fmt;
use std::str::FromStr;

use semver::Version;

mod read;

/// Longest constraint that is read, as in the original.
const LENGTH_LIMIT: usize = 512;

/// Most alternatives that are read, as in the original.
const ALTERNATIVES_LIMIT: usize = 32;

/// Which versions are wanted.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Constraint {
    text: String,
    alternatives: Vec<Alternative>,
}

/// A text that is no constraint.
#[derive(Clone, Debug, PartialEq, Eq, Hash, thiserror::Error)]
#[error("{0:?} is not a version constraint such as '>=1.0.0, <2.0.0', '~1.2' or '1.x'")]
pub struct InvalidConstraint(String);

/// Comparators that must all hold.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Alternative {
    comparators: Vec<Comparator>,
    prereleases: bool,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Comparator {
    operator: Operator,
    /// What was left out is zero.
    version: Version,
    given: Given,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Operator {
    Equal,
    NotEqual,
    Greater,
    GreaterEqual,
    Less,
    LessEqual,
    Tilde,
    Caret,
}

/// How many of a version's numbers were written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Given {
    Nothing,
    Major,
    Minor,
    Patch,
}

impl Constraint {
    /// The version is wanted.
    pub fn matches(&self, version: &Version) -> bool {
        self.alternatives.iter().any(|alternative| {
            (version.pre.is_empty() || alternative.prereleases)
                && alternative
                    .comparators
                    .iter()
                    .all(|comparator| comparator.matches(version))
        })
    }

    /// Some alternative looks at prereleases.
    pub fn names_prereleases(&self) -> bool {
        self.alternatives.iter().any(|a| a.prereleases)
    }
}

impl FromStr for Constraint {
    type Err = InvalidConstraint;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let invalid = || InvalidConstraint(text.chars().take(LENGTH_LIMIT).collect());
        if text.len() > LENGTH_LIMIT || text.split("||").count() > ALTERNATIVES_LIMIT {
            return Err(invalid());
        }
        let alternatives = text
            .split("||")
            .map(|part| Alternative::read(part).ok_or_else(invalid))
            .collect::<Result<_, _>>()?;
        Ok(Self {
            text: text.to_owned(),
            alternatives,
        })
    }
}

impl fmt::Display for Constraint {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.text)
    }
}

impl Comparator {
    fn new(operator: Operator, (version, given): (Version, Given)) -> Self {
        Self {
            operator,
            version,
            given,
        }
    }

    fn matches(&self, version: &Version) -> bool {
        let order = version.cmp_precedence(&self.version);
        match self.operator {
            Operator::Equal if self.given == Given::Patch => order == Ordering::Equal,
            Operator::Equal | Operator::Tilde => self.within_tilde(version, order),
            Operator::NotEqual => self.differs(version, order),
            Operator::Greater => self.beyond(version, order),
            Operator::GreaterEqual => order.is_ge(),
            Operator::Less => order.is_lt(),
            Operator::LessEqual => self.reaches(version, order),
            Operator::Caret => self.within_caret(version, order),
        }
    }

    /// `~1.2.3` stays within 1.2, `~1` within 1; `~0.0.0` and `*` take everything.
    fn within_tilde(&self, version: &Version, order: Ordering) -> bool {
        let Self {
            version: base,
            given,
            ..
        } = self;
        let zero = (base.major, base.minor, base.patch) == (0, 0, 0);
        let everything = zero && matches!(given, Given::Nothing | Given::Patch);
        order.is_ge()
            && (everything
                || (version.major == base.major
                    && (version.minor == base.minor || *given == Given::Major)))
    }

    /// `^1.2` stays within 1; below 1.0.0 the first number that is not zero must stay.
    fn within_caret(&self, version: &Version, order: Ordering) -> bool {
        let Self {
            version: base,
            given,
            ..
        } = self;
        let same_major = version.major == base.major;
        let same_minor = version.minor == base.minor;
        order.is_ge()
            && same_major
            && (base.major > 0
                || *given == Given::Major
                || (same_minor
                    && (base.minor > 0 || *given == Given::Minor || version.patch == base.patch)))
    }

    /// `!=1.2.x` excludes all of 1.2.
    fn differs(&self, version: &Version, order: Ordering) -> bool {
        let base = &self.version;
        let same_minor = version.major == base.major && version.minor == base.minor;
        match self.given {
            Given::Major => version.major != base.major,
            Given::Minor if !same_minor => true,
            Given::Minor => version.pre != base.pre,
            Given::Nothing | Given::Patch => order != Ordering::Equal,
        }
    }

    /// `>1.2` starts at 1.3.0, `>1` at 2.0.0.
    fn beyond(&self, version: &Version, order: Ordering) -> bool {
        let base = &self.version;
        match self.given {
            Given::Major => version.major > base.major,
            Given::Minor => (version.major, version.minor) > (base.major, base.minor),
            Given::Nothing | Given::Patch => order.is_gt(),
        }
    }

    /// `<=1.2` takes all of 1.2, `<=1` all of 1.
    fn reaches(&self, version: &Version, order: Ordering) -> bool {
        let base = &self.version;
        match self.given {
            Given::Major => version.major <= base.major,
            Given::Nothing | Given::Minor => {
                (version.major, version.minor) <= (base.major, base.minor)
            }
            Given::Patch => order.is_le(),
        }
    }
}

#[cfg(test)]
mod tests;
