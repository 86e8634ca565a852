//! What polls without a new tag leave in the status.

use super::*;
use crate::decide::fixtures::{That, at, bundle};

fn failing(count: i32) -> Report {
    Report {
        uid: "uid-1".to_owned(),
        generation: 1,
        outcome: Outcome::Failed {
            reason: Reason::RepositoryNotFound,
            message: "error polling registry: r/app: 404 not found".to_owned(),
            consecutive_failures: count,
        },
    }
}

fn succeeding(etag: Option<&str>) -> Report {
    Report {
        uid: "uid-1".to_owned(),
        generation: 1,
        outcome: Outcome::Succeeded {
            etag: etag.map(ToOwned::to_owned),
            nothing_chosen: None,
        },
    }
}

#[test]
fn a_failure_is_counted_and_told() {
    let status = apply(&bundle(), &failing(2), at(1)).unwrap();
    assert_eq!(status.consecutive_failures, 2);
    assert_eq!(
        status.last_error_message.as_deref(),
        Some("error polling registry: r/app: 404 not found")
    );
    let condition = condition::find(&status.conditions, ConditionType::RegistryAvailable).unwrap();
    assert_eq!(
        (condition.status.as_str(), condition.reason.as_str()),
        ("False", "RepositoryNotFound")
    );
}

#[test]
fn a_repeated_report_does_not_count_twice() {
    let mut bundle = bundle();
    bundle.status = apply(&bundle, &failing(2), at(1));
    let again = apply(&bundle, &failing(2), at(9)).unwrap();
    assert_eq!(again.consecutive_failures, 2);
}

#[test]
fn the_count_stops_at_six() {
    assert_eq!(
        apply(&bundle(), &failing(9), at(1))
            .unwrap()
            .consecutive_failures,
        6
    );
}

#[test]
fn recovery_empties_the_error_and_the_count() {
    let mut bundle = bundle();
    bundle.status = apply(&bundle, &failing(6), at(1));
    let status = apply(&bundle, &succeeding(Some("e")), at(2)).unwrap();
    assert_eq!(status.consecutive_failures, 0);
    assert_eq!(status.last_error_message, None);
    assert_eq!(status.last_etag.as_deref(), Some("e"));
}

#[test]
fn a_report_that_says_nothing_new_is_no_write() {
    let mut bundle = bundle();
    bundle.status = apply(&bundle, &succeeding(Some("e")), at(1));
    assert_eq!(apply(&bundle, &succeeding(Some("e")), at(2)), None);
}

#[test]
fn reports_about_another_bundle_or_an_older_spec_are_dropped() {
    let mut foreign = failing(1);
    foreign.uid = "another".to_owned();
    assert_eq!(apply(&bundle(), &foreign, at(1)), None);
    let mut edited = bundle();
    edited.metadata.generation = Some(2);
    assert_eq!(apply(&edited.polled(), &failing(1), at(1)), None);
}

#[test]
fn why_nothing_was_chosen_is_the_reason_of_the_condition() {
    let report = Report {
        outcome: Outcome::Succeeded {
            etag: None,
            nothing_chosen: Some((
                NothingChosen::NoMatchingVersion,
                "3 tags, none ~2".to_owned(),
            )),
        },
        ..succeeding(None)
    };
    let status = apply(&bundle(), &report, at(1)).unwrap();
    let condition = condition::find(&status.conditions, ConditionType::RegistryAvailable).unwrap();
    assert_eq!(condition.reason, "NoMatchingVersion");
    assert_eq!(condition.message, "3 tags, none ~2");
}
