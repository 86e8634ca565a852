//! Who owns a release, who waits and who gives way.

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use rstest::rstest;

use super::*;
use crate::decide::fixtures::{That, at, bundle};

fn named(name: &str, created: i64, release: Option<&str>) -> WerfBundle {
    let mut bundle = bundle();
    bundle.metadata.name = Some(name.to_owned());
    bundle.metadata.namespace = Some(format!("of-{name}"));
    bundle.metadata.uid = Some(format!("uid-{name}"));
    bundle.metadata.creation_timestamp = Some(Time(at(created)));
    bundle.spec.converge.target_namespace = Some("production".to_owned());
    bundle.spec.converge.release_name = release.map(ToOwned::to_owned);
    bundle
}

fn shop() -> Release {
    Release {
        namespace: "production".to_owned(),
        name: "shop".to_owned(),
    }
}

fn working(bundle: WerfBundle) -> WerfBundle {
    bundle
        .wanting("v1", '1')
        .deploying("h")
        .confirmed()
        .with(|status| {
            status.release = Some(TriedRelease {
                namespace: "production".to_owned(),
                name: "shop".to_owned(),
                service_account_name: "deployer".to_owned(),
            });
        })
}

fn going(mut bundle: WerfBundle, policy: DeletionPolicy) -> WerfBundle {
    bundle.metadata.deletion_timestamp = Some(Time(at(100)));
    bundle.spec.converge.deletion_policy = policy;
    bundle
}

fn seen_by(bundle: &WerfBundle, others: &[WerfBundle]) -> Option<Rival> {
    rival(bundle, &shop(), others.iter())
}

fn key(name: &str) -> BundleKey {
    BundleKey::new(format!("of-{name}"), name)
}

#[test]
fn a_release_is_in_the_target_namespace_under_its_own_name_or_the_bundles() {
    let mut bundle = bundle();
    let own = Release {
        namespace: "apps".to_owned(),
        name: "my-app".to_owned(),
    };
    assert_eq!(Release::of(&bundle), own);
    bundle.spec.converge.target_namespace = Some(String::new());
    assert_eq!(Release::of(&bundle), own);
    assert_eq!(Release::of(&named("a", 0, Some("shop"))), shop());
}

#[test]
fn the_oldest_owns_whatever_namespace_it_is_in() {
    let all = [
        named("young", 9, Some("shop")),
        named("old", 1, Some("shop")),
        named("shop", 5, None),
        named("other", 0, Some("another")),
    ];
    assert_eq!(seen_by(&all[1], &all), None);
    for loser in [&all[0], &all[2]] {
        assert_eq!(seen_by(loser, &all), Some(Rival::Owner(key("old"))));
    }
    assert_eq!(
        rival(&all[3], &Release::of(&all[3]), all.iter()),
        None,
        "another release"
    );
}

#[test]
fn of_two_made_in_the_same_second_exactly_one_owns() {
    let all = [named("a", 1, Some("shop")), named("b", 1, Some("shop"))];
    assert_eq!(seen_by(&all[0], &all), None);
    assert_eq!(seen_by(&all[1], &all), Some(Rival::Owner(key("a"))));
}

#[test]
fn the_owner_waits_for_a_job_that_another_has_running() {
    let owner = named("old", 1, Some("shop"));
    // It was edited away while its Job runs on.
    let mut other = working(named("young", 5, Some("shop")));
    other.spec.converge.release_name = Some("elsewhere".to_owned());
    assert_eq!(
        seen_by(&owner, std::slice::from_ref(&other)),
        Some(Rival::Working(key("young"), "job-1-1".to_owned()))
    );
    let ended = other.deployed();
    assert_eq!(seen_by(&owner, &[ended]), None);
}

#[test]
fn a_claim_whose_job_was_never_let_run_keeps_no_owner_waiting() {
    let claimed = named("young", 5, Some("shop"))
        .wanting("v1", '1')
        .deploying("h");
    assert_eq!(seen_by(&named("old", 1, Some("shop")), &[claimed]), None);
}

#[test]
fn a_run_of_an_operator_before_this_one_counts_by_its_spec() {
    let mut old_run = working(named("young", 5, Some("shop")));
    old_run.status.as_mut().unwrap().release = None;
    assert!(matches!(
        seen_by(&named("old", 1, Some("shop")), &[old_run]),
        Some(Rival::Working(..))
    ));
}

#[rstest]
#[case::retain(DeletionPolicy::Retain, false)]
#[case::uninstall(DeletionPolicy::Uninstall, true)]
fn who_is_going_and_uninstalls_is_waited_for(#[case] policy: DeletionPolicy, #[case] waited: bool) {
    let mut other = going(working(named("young", 5, Some("shop"))).deployed(), policy);
    let owner = named("old", 1, Some("shop"));
    let expected = waited.then(|| Rival::Uninstalling(key("young")));
    assert_eq!(seen_by(&owner, std::slice::from_ref(&other)), expected);
    // It is gone but for a finalizer of somebody else.
    other.metadata.finalizers = Some(vec!["example.com/audit".to_owned()]);
    assert_eq!(seen_by(&owner, &[other]), None);
}

#[test]
fn what_others_that_stay_name_is_not_uninstalled() {
    let leaving = going(named("old", 1, Some("shop")), DeletionPolicy::Uninstall);
    let stays = named("young", 5, Some("shop"));
    let of = |others: &[WerfBundle]| heir(&leaving, &shop(), others.iter());
    assert_eq!(of(std::slice::from_ref(&stays)), Some(key("young")));
    assert_eq!(of(&[going(stays, DeletionPolicy::Retain)]), None);
    assert_eq!(of(std::slice::from_ref(&leaving)), None);
}

fn job(uid: &str, release: &str, suspended: bool) -> Job {
    let mut job = Job::default();
    job.metadata.uid = Some(uid.to_owned());
    job.metadata.namespace = Some("production".to_owned());
    job.annotations_mut()
        .insert(annotation::RELEASE.to_owned(), release.to_owned());
    job.spec.get_or_insert_default().suspend = Some(suspended);
    job
}

#[test]
fn only_jobs_of_the_release_that_may_run_count() {
    let own = job("1", "shop", true);
    let check = |other: &Job| found(&own, other);
    assert_eq!(check(&own), Found::Past);
    assert_eq!(check(&job("2", "another", false)), Found::Past);
    assert_eq!(check(&job("2", "shop", true)), Found::Suspended);
    assert_eq!(check(&job("2", "shop", false)), Found::Working);
    let mut held = job("2", "shop", true);
    held.annotations_mut()
        .insert(annotation::RELEASED.to_owned(), "true".to_owned());
    assert_eq!(check(&held), Found::Working, "a person may let it go on");
    let mut dying = job("2", "shop", true);
    dying.metadata.deletion_timestamp = Some(Time(Timestamp::UNIX_EPOCH));
    assert_eq!(check(&dying), Found::Past);
    let mut dying = job("2", "shop", false);
    dying.metadata.deletion_timestamp = Some(Time(Timestamp::UNIX_EPOCH));
    assert_eq!(check(&dying), Found::Working, "its Pod may still run");
}

#[test]
fn a_suspended_job_is_whose_claim_names_it() {
    let own = named("middle", 3, Some("shop"));
    let mut waiting = job("2", "shop", true);
    waiting.metadata.name = Some("job-1-1".to_owned());
    waiting.metadata.namespace = Some("apps".to_owned());
    let claimed = |bundle: WerfBundle| bundle.wanting("v1", '1').deploying("h");
    let old = || named("old", 1, Some("shop"));
    let of = |bundle: &WerfBundle| holder(&own, &waiting, Some(bundle));
    assert_eq!(holder(&own, &waiting, None), Holder::Nobody);
    assert_eq!(of(&claimed(old())), Holder::Elder);
    assert_eq!(
        of(&claimed(named("young", 5, Some("shop")))),
        Holder::Younger
    );
    assert_eq!(of(&claimed(old()).deployed()), Holder::Nobody);
    // Anybody can make a Job that names a bundle.
    assert_eq!(of(&old()), Holder::Nobody);
    assert_eq!(of(&claimed(claimed(old()).deployed())), Holder::Nobody);
    // The Job that uninstalls is made before the status names it.
    assert_eq!(of(&going(old(), DeletionPolicy::Uninstall)), Holder::Elder);
}

#[test]
fn what_is_tried_is_read_from_the_job() {
    let mut deploying = job("1", "shop", true);
    assert_eq!(tried(&deploying), None);
    let spec = deploying.spec.as_mut().unwrap();
    spec.template
        .spec
        .get_or_insert_default()
        .service_account_name = Some("deployer".to_owned());
    let tried = tried(&deploying).unwrap();
    assert_eq!(
        (
            &*tried.namespace,
            &*tried.name,
            &*tried.service_account_name
        ),
        ("production", "shop", "deployer")
    );
}
