//! What a poller is answered, and what is stored before it is.

use super::*;
use crate::decide::fixtures::{That, at, bundle, digest};
use crate::decide::poll_report::{Outcome, Report, apply};

fn announcing(tag: &str, digit: char) -> Announcement {
    Announcement {
        uid: "uid-1".to_owned(),
        generation: 1,
        tag: tag.parse().unwrap(),
        digest: digest(digit).parse().unwrap(),
        etag: Some("\"e1\"".to_owned()),
        traceparent: Some("00-trace-span-01".to_owned()),
    }
}

fn accepted(bundle: &WerfBundle, announcement: &Announcement) -> WerfBundleStatus {
    match admit(Some(bundle), announcement, at(5)) {
        Admission::Accept(status) => *status,
        other => panic!("{other:?}"),
    }
}

#[test]
fn the_first_tag_is_wanted_together_with_its_etag() {
    let status = accepted(&bundle(), &announcing("v1.0.0", '1'));
    assert_eq!(status.desired_tag.as_deref(), Some("v1.0.0"));
    assert_eq!(status.desired_digest, Some(digest('1')));
    assert_eq!(status.last_etag.as_deref(), Some("\"e1\""));
    assert_eq!(
        status.desired_traceparent.as_deref(),
        Some("00-trace-span-01")
    );
    assert_eq!(status.last_applied_tag, None);
}

#[test]
fn a_repeated_announcement_changes_nothing() {
    let bundle = bundle().wanting("v1.0.0", '1');
    let again = admit(Some(&bundle), &announcing("v1.0.0", '1'), at(5));
    assert_eq!(again, Admission::AlreadyKnown);
}

#[test]
fn a_lower_tag_under_the_same_spec_moves_nothing_backwards() {
    let bundle = bundle().wanting("v1.10.0", '1');
    let late = admit(Some(&bundle), &announcing("v1.9.0", '2'), at(5));
    assert_eq!(late, Admission::NotNewer);
}

#[test]
fn a_lower_tag_under_other_rules_is_what_the_person_wants() {
    let mut bundle = bundle().wanting("v2.0.0", '1');
    bundle.metadata.generation = Some(2);
    bundle.spec.registry.version_constraint = Some("^1".to_owned());
    let mut announcement = announcing("v1.9.0", '2');
    announcement.generation = 2;
    let status = accepted(&bundle, &announcement);
    assert_eq!(status.desired_tag.as_deref(), Some("v1.9.0"));
}

#[test]
fn an_edit_of_anything_else_moves_nothing_backwards_and_tells_why() {
    let mut bundle = bundle().wanting("v2.0.0", '1');
    bundle.metadata.generation = Some(2);
    let before = bundle.state().clone();
    let mut announcement = announcing("v1.9.0", '2');
    announcement.generation = 2;
    let Admission::HeldBack(status) = admit(Some(&bundle), &announcement, at(5)) else {
        panic!("not held back");
    };
    assert_eq!(status.desired_tag, before.desired_tag);
    assert_eq!(status.announced, before.announced);
    let condition = condition::find(&status.conditions, ConditionType::RegistryAvailable).unwrap();
    assert_eq!(condition.reason, "TagVanished");
    assert_eq!(condition.observed_generation, Some(2));
    assert!(
        condition
            .message
            .starts_with("v2.0.0 is no longer in the list")
    );
}

#[test]
fn other_rules_end_what_a_person_held_even_if_the_choice_is_the_same() {
    let mut held = bundle().wanting("v2.0.0", '2').with(|status| {
        status.desired_tag = Some("v1.0.0".to_owned());
        status.desired_digest = None;
    });
    held.metadata.generation = Some(2);
    held.spec.registry.version_constraint = Some(">=2".to_owned());
    let mut announcement = announcing("v2.0.0", '2');
    announcement.generation = 2;
    let status = accepted(&held, &announcement);
    assert_eq!(status.desired_tag.as_deref(), Some("v2.0.0"));
}

#[test]
fn a_generation_that_is_not_there_yet_is_not_believed() {
    let mut announcement = announcing("v1.0.0", '1');
    announcement.generation = i64::MAX;
    assert_eq!(
        admit(Some(&bundle()), &announcement, at(5)),
        Admission::NotNewer
    );
}

#[test]
fn a_tag_chosen_under_an_older_spec_comes_too_late() {
    let mut bundle = bundle();
    bundle.metadata.generation = Some(2);
    let bundle = bundle.wanting("v1.0.0", '1');
    let late = admit(Some(&bundle), &announcing("v9.0.0", '2'), at(5));
    assert_eq!(late, Admission::NotNewer);
}

#[test]
fn a_tag_that_moved_to_another_digest_is_new() {
    let bundle = bundle().wanting("latest", '1');
    let status = accepted(&bundle, &announcing("latest", '2'));
    assert_eq!(status.desired_digest, Some(digest('2')));
}

#[test]
fn a_newer_spec_with_the_same_choice_is_noted_without_a_new_wish() {
    let mut bundle = bundle().wanting("v1.0.0", '1');
    bundle.metadata.generation = Some(2);
    let mut announcement = announcing("v1.0.0", '1');
    announcement.generation = 2;
    let Admission::Refresh(status) = admit(Some(&bundle), &announcement, at(5)) else {
        panic!("not refreshed");
    };
    assert_eq!(status.announced.unwrap().generation, 2);
    assert_eq!(status.desired_since, bundle.state().desired_since);
}

#[test]
fn a_tag_that_a_person_asked_for_stays_until_the_registry_has_a_new_one() {
    let held = bundle().wanting("v2.0.0", '2').with(|status| {
        status.desired_tag = Some("v1.0.0".to_owned());
        status.desired_digest = None;
    });
    let again = admit(Some(&held), &announcing("v2.0.0", '2'), at(5));
    assert_eq!(again, Admission::AlreadyKnown);
    let newer = accepted(&held, &announcing("v2.1.0", '3'));
    assert_eq!(newer.desired_tag.as_deref(), Some("v2.1.0"));
}

#[test]
fn another_bundle_of_the_same_name_does_not_take_the_announcement() {
    let mut announcement = announcing("v1.0.0", '1');
    announcement.uid = "uid-of-its-predecessor".to_owned();
    assert_eq!(
        admit(Some(&bundle()), &announcement, at(5)),
        Admission::UnknownBundle
    );
    assert_eq!(
        admit(None, &announcing("v1.0.0", '1'), at(5)),
        Admission::UnknownBundle
    );
    let mut leaving = bundle();
    leaving.metadata.deletion_timestamp = Some(Time(at(1)));
    assert_eq!(
        admit(Some(&leaving), &announcing("v1.0.0", '1'), at(5)),
        Admission::UnknownBundle
    );
}

#[test]
fn a_suspended_bundle_takes_no_wishes() {
    let mut suspended = bundle();
    suspended.spec.suspend = true;
    assert_eq!(
        admit(Some(&suspended), &announcing("v1.0.0", '1'), at(5)),
        Admission::Suspended
    );
}

#[test]
fn a_registry_without_etags_is_told_in_the_condition() {
    let mut announcement = announcing("v1.0.0", '1');
    announcement.etag = None;
    let status = accepted(&bundle(), &announcement);
    let condition = condition::find(&status.conditions, ConditionType::RegistryAvailable).unwrap();
    assert!(condition.message.ends_with("ETag support not detected"));
}

#[test]
fn a_registry_without_etags_is_told_once() {
    let mut announcement = announcing("v1.0.0", '1');
    announcement.etag = None;
    let mut bundle = bundle();
    bundle.status = Some(accepted(&bundle, &announcement));
    let again = admit(Some(&bundle), &announcement, at(9));
    assert_eq!(again, Admission::AlreadyKnown);
    let report = |etag: Option<&str>| Report {
        uid: "uid-1".to_owned(),
        generation: 1,
        outcome: Outcome::Succeeded {
            etag: etag.map(ToOwned::to_owned),
            nothing_chosen: None,
        },
    };
    assert_eq!(
        apply(&bundle, &report(None), at(9)),
        None,
        "nothing to write"
    );
    let supported = apply(&bundle, &report(Some("e")), at(9)).unwrap();
    let condition =
        condition::find(&supported.conditions, ConditionType::RegistryAvailable).unwrap();
    assert_eq!(condition.message, "The tag list was read");
}
