//! The answers of Masterminds/semver v3.5.0, recorded in `tests/data`, and what a table cannot say.

use proptest::prelude::*;

use werf_shared::tag::parse_version;

use super::*;

const TABLES: [&str; 2] = [
    include_str!("../../../tests/data/constraints.tsv"),
    include_str!("../../../tests/data/constraints-generated.tsv"),
];

/// One line per constraint: `1` and `0` for each version of the header, or `refused`.
fn differences(table: &str) -> (usize, Vec<String>) {
    let (header, rows) = table.split_once('\n').unwrap();
    let (_, versions) = header.rsplit_once(':').unwrap();
    let versions: Vec<Version> = versions
        .split_ascii_whitespace()
        .map(|text| parse_version(text).unwrap())
        .collect();
    let mut count = 0;
    let mut wrong = Vec::new();
    for row in rows.lines().filter(|row| !row.starts_with('#')) {
        let (constraint, expected) = row.split_once('\t').unwrap();
        count += 1;
        let answer = match constraint.parse::<Constraint>() {
            Ok(parsed) => versions
                .iter()
                .map(|version| if parsed.matches(version) { '1' } else { '0' })
                .collect(),
            Err(_) => "refused".to_owned(),
        };
        if answer != expected {
            wrong.push(format!("{constraint:?}: {answer} instead of {expected}"));
        }
    }
    (count, wrong)
}

#[test]
fn every_answer_is_that_of_the_original() {
    let (rows, wrong) = differences(TABLES[0]);
    assert_eq!((rows, wrong), (39, Vec::new()));
    let (rows, wrong) = differences(TABLES[1]);
    assert!(rows > 500, "{rows}");
    assert_eq!(wrong, Vec::<String>::new());
}

#[rstest::rstest]
#[case("")]
#[case(" ")]
#[case("||")]
#[case("^1 ||")]
#[case("banana")]
#[case("1.2.3.4")]
#[case(">=1.0.0<2.0.0")]
#[case(">= 1.0.0 - 2.0.0")]
#[case("^1 1.0 - 2.0")]
#[case("1x")]
#[case(">>1")]
#[case("1.0.0-01")]
#[case(">=1,")]
#[case(",>=1")]
fn what_the_original_refuses_is_refused(#[case] text: &str) {
    assert!(text.parse::<Constraint>().is_err(), "{text:?}");
}

#[test]
fn a_constraint_has_bounds() {
    assert!("1".repeat(600).parse::<Constraint>().is_err());
    assert!(vec!["^1"; 33].join("||").parse::<Constraint>().is_err());
    assert!(vec!["^1"; 32].join("||").parse::<Constraint>().is_ok());
}

proptest! {
    #[test]
    fn no_text_makes_it_panic(text in "[ 0-2vxX*.<>=!~^|,a+-]{0,24}") {
        if let Ok(constraint) = text.parse::<Constraint>() {
            let version = Version::new(1, 2, 3);
            let _either = constraint.matches(&version);
        }
    }
}
