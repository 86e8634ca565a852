//! How is a constraint written? Reads one alternative; anything the original refuses is refused.

use semver::Version;
use werf_shared::tag::parse_version;

use super::{Alternative, Comparator, Given, Operator};

/// Longer spellings first: `=>` is not `=` followed by `>`.
const OPERATORS: [(&str, Operator); 11] = [
    ("!=", Operator::NotEqual),
    (">=", Operator::GreaterEqual),
    ("=>", Operator::GreaterEqual),
    ("<=", Operator::LessEqual),
    ("=<", Operator::LessEqual),
    ("~>", Operator::Tilde),
    ("=", Operator::Equal),
    (">", Operator::Greater),
    ("<", Operator::Less),
    ("~", Operator::Tilde),
    ("^", Operator::Caret),
];

impl Alternative {
    pub(super) fn read(text: &str) -> Option<Self> {
        let mut comparators = Vec::new();
        let mut rest = text.trim_ascii();
        // What stands before the next comparator: an upper bound of a range takes the spaces
        // behind it along, so a range may follow a range, but not a comparator without a comma.
        let mut range_may_follow = true;
        loop {
            let (operator, after) = read_operator(rest);
            let (first, after) = read_version(after.trim_ascii_start())?;
            let range = operator
                .is_none()
                .then(|| read_upper_bound(after))
                .flatten();
            let is_range = range.is_some();
            rest = match range {
                Some((upper, after)) if range_may_follow => {
                    comparators.push(Comparator::new(Operator::GreaterEqual, first));
                    comparators.push(Comparator::new(Operator::LessEqual, upper));
                    after
                }
                Some(_) => return None,
                None => {
                    comparators.push(Comparator::new(operator.unwrap_or(Operator::Equal), first));
                    after
                }
            };
            if rest.is_empty() {
                break;
            }
            let spaced = rest.trim_ascii_start();
            let joined = spaced.strip_prefix(',');
            if joined.is_none() && spaced.len() == rest.len() {
                return None;
            }
            range_may_follow = joined.is_some() || is_range;
            rest = joined.unwrap_or(spaced).trim_ascii_start();
        }
        let prereleases = comparators.iter().any(|c| !c.version.pre.is_empty());
        Some(Self {
            comparators,
            prereleases,
        })
    }
}

fn read_operator(text: &str) -> (Option<Operator>, &str) {
    OPERATORS
        .iter()
        .find_map(|(spelling, operator)| Some((Some(*operator), text.strip_prefix(spelling)?)))
        .unwrap_or((None, text))
}

/// ` - 2.0.0` behind a version, with space on both sides of the dash.
fn read_upper_bound(text: &str) -> Option<((Version, Given), &str)> {
    let dash = text.trim_ascii_start();
    let behind = dash.strip_prefix('-')?;
    let version = behind.trim_ascii_start();
    if dash.len() == text.len() || version.len() == behind.len() {
        return None;
    }
    read_version(version)
}

/// A version with wildcards or missing numbers, and what follows it.
fn read_version(text: &str) -> Option<((Version, Given), &str)> {
    let end = text
        .find(|c: char| !(c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '+' | '*')))
        .unwrap_or(text.len());
    let (word, after) = text.split_at(end);
    let word = word.strip_prefix('v').unwrap_or(word);
    let numbers_end = word.find(['-', '+']).unwrap_or(word.len());
    let (numbers, tail) = word.split_at(numbers_end);
    // Build metadata says nothing about order.
    let pre = tail.split_once('+').map_or(tail, |(pre, _)| pre);
    let parts: Vec<&str> = numbers.split('.').collect();
    if parts.len() > 3
        || !parts
            .iter()
            .all(|part| is_number(part) || is_wildcard(part))
    {
        return None;
    }
    let written = parts.iter().take_while(|part| is_number(part)).count();
    let (given, complete) = match written {
        0 => (Given::Nothing, format!("0.0.0{pre}")),
        1 => (Given::Major, format!("{}.0.0{pre}", parts[0])),
        2 => (Given::Minor, format!("{}.{}.0{pre}", parts[0], parts[1])),
        _ => (Given::Patch, format!("{numbers}{tail}")),
    };
    Some(((parse_version(&complete)?, given), after))
}

fn is_number(part: &str) -> bool {
    !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit())
}

fn is_wildcard(part: &str) -> bool {
    matches!(part, "x" | "X" | "*")
}
