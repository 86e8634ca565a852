//! What users expect of the choice, and that the order of the list never matters.

use proptest::prelude::*;

use super::*;

fn tags(texts: &[&str]) -> Vec<Tag> {
    texts.iter().map(|text| text.parse().unwrap()).collect()
}

fn rule(constraint: &str) -> Rule {
    match constraint {
        "" => Rule::Newest,
        text => text.parse().map_or_else(Rule::Unreadable, Rule::Matching),
    }
}

fn newest(tags: &[Tag], rule: &Rule) -> Selection {
    let mut selector = Selector::new(rule);
    for tag in tags {
        selector.add(&Looked::at(tag));
    }
    selector.finish()
}

/// The same choice, made of the whole list at once: sort it, and take the first ones.
fn sorted(tags: &[Tag], rule: &Rule) -> Vec<Tag> {
    let looked: Vec<Looked<'_>> = tags.iter().map(Looked::at).collect();
    let mut candidates: Vec<Candidate<'_>> = looked
        .iter()
        .filter_map(|looked| looked.candidate(rule).ok())
        .collect();
    candidates.sort_by(|a, b| compare(b, a));
    candidates.dedup_by(|a, b| a.tag == b.tag);
    let best = candidates.first().map(|candidate| candidate.rank);
    candidates.retain(|candidate| Some(candidate.rank) == best);
    candidates.truncate(CANDIDATES);
    candidates
        .iter()
        .map(|candidate| candidate.tag.clone())
        .collect()
}

fn choose(texts: &[&str], constraint: &str) -> Result<String, Nothing> {
    match newest(&tags(texts), &rule(constraint)).choice {
        Choice::Chosen(tag, _) => Ok(tag.to_string()),
        Choice::Nothing(nothing, _) => Err(nothing),
    }
}

#[rstest::rstest]
#[case::ten_is_more_than_nine(&["v1.9.0", "v1.10.0"], "v1.10.0")]
#[case::stable_beats_prerelease(&["v1.0.0", "v2.0.0-rc.1"], "v1.0.0")]
#[case::a_prerelease_is_better_than_nothing(&["v1.0.0-rc.1", "v1.0.0-rc.2", "latest"], "v1.0.0-rc.2")]
#[case::short_versions_are_names(&["1.0", "v0.1.0", "2"], "v0.1.0")]
#[case::partial_versions_by_number(&["9.0", "10.0", "latest"], "10.0")]
#[case::names_by_text(&["alpha", "latest", "beta"], "latest")]
#[case::dates_by_text(&["2024-01-01", "2024-10-01", "2024-02-01"], "2024-10-01")]
#[case::attachments_do_not_count(&["v1.0.0", "zzz.sig", "meta-zzz"], "v1.0.0")]
fn without_a_constraint_the_highest_stable_version_is_chosen(
    #[case] list: &[&str],
    #[case] tag: &str,
) {
    assert_eq!(choose(list, ""), Ok(tag.to_owned()));
}

#[rstest::rstest]
#[case(&["1.9.0", "2.0.0", "1.10.0"], "^1", "1.10.0")]
#[case(&["1.2.0", "1.2", "v1.2.0"], "1.2.x", "v1.2.0")]
#[case(&["1.0.0", "1.1.0-rc.1"], ">=1.0.0", "1.0.0")]
#[case(&["1.0.0", "1.1.0-rc.1"], ">=1.0.0-0", "1.1.0-rc.1")]
#[case(&["1.0.0", "latest"], "*", "1.0.0")]
fn with_a_constraint_the_highest_matching_version_is_chosen(
    #[case] list: &[&str],
    #[case] constraint: &str,
    #[case] tag: &str,
) {
    assert_eq!(choose(list, constraint), Ok(tag.to_owned()));
}

#[rstest::rstest]
#[case(&[], "", Nothing::NoTags)]
#[case(&[], "^1", Nothing::NoTags)]
#[case(&["v1.0.0.sig", "meta-x"], "", Nothing::NoTags)]
#[case(&["v1.0.0.sig", "meta-x"], "^1", Nothing::NoTags)]
#[case(&["2.0.0"], "^1", Nothing::NoMatchingVersion)]
#[case(&["latest"], "^1", Nothing::NoMatchingVersion)]
#[case(&["1.0.0"], "banana", Nothing::NoMatchingVersion)]
fn nothing_to_choose_has_a_reason(
    #[case] list: &[&str],
    #[case] constraint: &str,
    #[case] nothing: Nothing,
) {
    assert_eq!(choose(list, constraint), Err(nothing));
}

#[test]
fn a_selection_tells_why() {
    let list = tags(&[
        "v1.0.0",
        "v2.0.0",
        "v2.1.0-rc.1",
        "latest",
        "v1.0.0.sig",
        "meta-1",
    ]);
    let selection = newest(&list, &Rule::Newest);
    let why = "v2.0.0 is the highest stable version".to_owned();
    assert_eq!(selection.choice, Choice::Chosen(list[1].clone(), why));
    assert_eq!(selection.considered, 6);
    assert_eq!(
        selection.dropped.to_string(),
        "1 prereleases, 1 not versions, 1 signatures or attestations, 1 werf's own"
    );
    assert_eq!(selection.candidates, tags(&["v2.0.0", "v1.0.0"]));
}

#[rstest::rstest]
#[case::the_list_lost_it(&["v1.0.0"], "", "v2.0.0", true)]
#[case::the_list_is_empty(&[], "", "v2.0.0", true)]
#[case::only_a_prerelease_is_left(&["v3.0.0-rc.1"], "", "v2.0.0", true)]
#[case::newer(&["v2.0.1"], "", "v2.0.0", false)]
#[case::same(&["v2.0.0"], "", "v2.0.0", false)]
#[case::stable_at_last(&["v1.0.0", "v2.0.0-rc.1"], "", "v2.0.0-rc.1", false)]
#[case::versions_at_last(&["v0.1.0", "latest"], "", "latest", false)]
#[case::lost_within_the_constraint(&["1.0.0"], "^1", "1.1.0", true)]
#[case::outside_the_constraint(&["1.0.0"], "^1", "2.0.0", false)]
fn nothing_moves_backwards_by_surprise(
    #[case] list: &[&str],
    #[case] constraint: &str,
    #[case] announced: &str,
    #[case] held: bool,
) {
    let rule = rule(constraint);
    let selection = newest(&tags(list), &rule);
    let choice = hold_back(&selection, &rule, &announced.parse().unwrap());
    let vanished = matches!(choice, Some(Choice::Nothing(Nothing::TagVanished, _)));
    assert_eq!(vanished, held);
    assert_eq!(choice.is_some(), held);
}

prop_compose! {
    fn any_tag()(text in "v?[0-3]\\.[0-3](\\.[0-3])?(-rc\\.?[0-9]{1,2})?|[a-c]{1,3}|meta-[a-c]|[a-c]\\.sig") -> Tag {
        text.parse().unwrap()
    }
}

#[test]
fn two_spellings_of_a_version_do_not_take_turns() {
    for (rule, chosen) in [("", "v1.0.0"), ("*", "v1.0.0"), ("~1.0", "v1.0.0")] {
        for list in [["v1.0", "1.0.0", "v1.0.0"], ["v1.0.0", "v1.0", "1.0.0"]] {
            assert_eq!(choose(&list, rule), Ok(chosen.to_owned()));
        }
    }
}

fn any_rule() -> impl Strategy<Value = Rule> {
    let texts = ["", "^1", ">=1.0.0-0", "~1.2 || 3.x", "*", "banana"];
    proptest::sample::select(texts.to_vec()).prop_map(rule)
}

proptest! {
    #[test]
    fn choosing_as_the_list_goes_by_is_choosing_from_the_sorted_list(
        list in proptest::collection::vec(any_tag(), 0..60),
        rule in any_rule(),
    ) {
        let selection = newest(&list, &rule);
        let expected = sorted(&list, &rule);
        if !matches!(rule, Rule::Unreadable(_)) {
            let chosen = match &selection.choice {
                Choice::Chosen(tag, _) => Some(tag),
                Choice::Nothing(..) => None,
            };
            prop_assert_eq!(chosen, expected.first());
        }
        prop_assert_eq!(&selection.candidates, &expected);
        prop_assert_eq!(selection.considered, list.len());
    }

    #[test]
    fn within_a_rank_the_order_is_that_of_tags(a in any_tag(), b in any_tag(), rule in any_rule()) {
        let (one, other) = (Looked::at(&a), Looked::at(&b));
        if let (Ok(one), Ok(other)) = (one.candidate(&rule), other.candidate(&rule))
            && one.rank == other.rank
        {
            prop_assert_eq!(compare(&one, &other), a.cmp(&b));
        }
    }

    #[test]
    fn every_tag_is_a_candidate_or_counted_with_its_reason(
        list in proptest::collection::hash_set(any_tag(), 0..10),
        rule in any_rule(),
    ) {
        let list: Vec<Tag> = list.into_iter().collect();
        let Selection { candidates, dropped, considered, .. } = newest(&list, &rule);
        let Dropped { signatures, service, not_a_version, prereleases, outside } = dropped;
        let passed_over = signatures + service + not_a_version + prereleases + outside;
        prop_assert_eq!(candidates.len() + passed_over, considered);
    }

    #[test]
    fn a_tag_that_is_listed_twice_is_chosen_as_if_it_were_listed_once(
        list in proptest::collection::vec(any_tag(), 1..20),
        rule in any_rule(),
        again in any::<proptest::sample::Index>(),
    ) {
        let mut longer = list.clone();
        longer.push(list[again.index(list.len())].clone());
        let (once, twice) = (newest(&list, &rule), newest(&longer, &rule));
        prop_assert_eq!(once.candidates, twice.candidates);
    }

    #[test]
    fn the_order_of_the_list_never_matters(
        (list, shuffled) in proptest::collection::vec(any_tag(), 0..30)
            .prop_flat_map(|list| (Just(list.clone()), Just(list).prop_shuffle())),
        rule in any_rule(),
    ) {
        prop_assert_eq!(newest(&list, &rule), newest(&shuffled, &rule));
    }

    #[test]
    fn the_chosen_tag_is_in_the_list_and_more_tags_never_lower_it(
        list in proptest::collection::vec(any_tag(), 1..20),
        more in any_tag(),
    ) {
        let before = newest(&list, &Rule::Newest);
        if let Choice::Chosen(tag, _) = &before.choice {
            prop_assert!(list.contains(tag));
            let mut longer = list.clone();
            longer.push(more);
            let after = newest(&longer, &Rule::Newest);
            prop_assert_eq!(hold_back(&after, &Rule::Newest, tag), None);
        }
    }
}
