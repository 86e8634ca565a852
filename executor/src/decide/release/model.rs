//! Every interleaving of bundles that name the same release, each with two executors, is tried: what
//! they believe of each other may be wrong at any time, a look may show any moment since the own Job was
//! made, Jobs may be deleted under their hands, and any of them may stop for ever at any step. The
//! model's steps are those of `converge/follow.rs`; what is decided is decided by [`permission`].

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use super::{Permission, permission};

const BUNDLES: usize = 2;
const EXECUTORS: usize = 2;

/// How many Jobs a bundle makes at most; each deletion costs one.
const JOBS: u8 = 2;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Job {
    Missing,
    Suspended,
    Running,
    Ended,
}

/// What the status of a bundle says; each write takes a new version.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Claim {
    Claimed,
    Confirmed,
    Over,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Bundle {
    claim: Claim,
    version: u8,
    job: Job,
    /// Which of the Jobs that had this name it is: its uid.
    made: u8,
    /// At some moment since this Job was made, another one was suspended or ran. A look may show it.
    crowded: bool,
    /// At some moment since then, none did. A look may show that.
    alone: bool,
}

/// Where an executor is in its pass, with what it has read: the version of the status, the uid of the
/// Job, and whether the status it read was confirmed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Step {
    Start,
    /// It has read a status.
    Read(u8, bool),
    /// It has a suspended Job of this uid in hand, and looks next.
    Look(u8, bool, u8),
    /// It was granted permission and confirms next.
    Confirm(u8, u8),
    /// It lets the Job run next.
    Release(u8),
    /// It removes the Job of a confirmed claim next, and gives up the claim after that.
    Remove(u8, u8),
    Abandon(u8),
    /// It gives up a claim that is not confirmed next, and removes the Job after that.
    GiveUp(u8, u8),
    Discard(u8),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct State {
    bundles: [Bundle; BUNDLES],
    at: [[Step; EXECUTORS]; BUNDLES],
}

/// How much goes wrong.
#[derive(Clone, Copy, PartialEq, Eq)]
enum World {
    /// Caches may say anything, and people delete Jobs.
    Hostile,
    /// Caches are right: the first bundle is the owner.
    Kind,
    /// Both are, because the first one, which is older, names another release by now.
    TwoOwners,
}

fn start() -> State {
    let bundle = Bundle {
        claim: Claim::Claimed,
        version: 0,
        job: Job::Missing,
        made: 0,
        crowded: false,
        alone: false,
    };
    State {
        bundles: [bundle; BUNDLES],
        at: [[Step::Start; EXECUTORS]; BUNDLES],
    }
}

/// Every state that may be next.
fn successors(state: &State, world: World) -> Vec<State> {
    let mut next = Vec::new();
    for b in 0..BUNDLES {
        for e in 0..EXECUTORS {
            next.extend(step(state, world, b, e));
        }
        let mut with = |job: Job| {
            let mut after = *state;
            after.bundles[b].job = job;
            next.push(after);
        };
        if state.bundles[b].job == Job::Running {
            with(Job::Ended);
        }
        if world == World::Hostile && state.bundles[b].job != Job::Missing {
            with(Job::Missing);
        }
    }
    next
}

/// What an executor may do next.
fn step(state: &State, world: World, b: usize, e: usize) -> Vec<State> {
    let bundle = state.bundles[b];
    let to = |step: Step| {
        let mut after = *state;
        after.at[b][e] = step;
        after
    };
    let write = |claim: Claim, step: Step| {
        let mut after = to(step);
        after.bundles[b].claim = claim;
        after.bundles[b].version = bundle.version.saturating_add(1);
        after
    };
    match state.at[b][e] {
        Step::Start if bundle.claim == Claim::Over => vec![],
        Step::Start => vec![to(Step::Read(
            bundle.version,
            bundle.claim == Claim::Confirmed,
        ))],
        Step::Read(version, confirmed) => match bundle.job {
            // It was removed; that is recorded, under the fence.
            Job::Missing if confirmed && version == bundle.version => {
                vec![write(Claim::Over, Step::Start)]
            }
            Job::Missing if !confirmed && bundle.made < JOBS => {
                let uid = bundle.made + 1;
                let mut after = to(Step::Look(version, confirmed, uid));
                after.bundles[b] = Bundle {
                    job: Job::Suspended,
                    made: uid,
                    crowded: false,
                    alone: false,
                    ..bundle
                };
                vec![after]
            }
            Job::Suspended => vec![to(Step::Look(version, confirmed, bundle.made))],
            Job::Ended if version == bundle.version => vec![write(Claim::Over, Step::Start)],
            _ => vec![to(Step::Start)],
        },
        Step::Look(version, confirmed, uid) => {
            looked(state, world, (b, e), (version, confirmed, uid))
        }
        Step::Confirm(version, uid) if version == bundle.version => {
            vec![write(Claim::Confirmed, Step::Release(uid))]
        }
        Step::Release(uid) => {
            let mut after = to(Step::Start);
            // The request names the uid.
            if bundle.made == uid && bundle.job == Job::Suspended {
                after.bundles[b].job = Job::Running;
            }
            vec![after]
        }
        Step::Remove(version, uid) => {
            // The request names the uid and the version of the Job, which letting it run changes.
            if bundle.made == uid && bundle.job == Job::Suspended {
                let mut after = to(Step::Abandon(version));
                after.bundles[b].job = Job::Missing;
                vec![after]
            } else {
                vec![to(Step::Start)]
            }
        }
        // Given up, in this model, for good: the next claim is another name and the same story.
        Step::Abandon(version) if version == bundle.version => {
            vec![write(Claim::Over, Step::Start)]
        }
        Step::GiveUp(version, uid) if version == bundle.version => {
            vec![write(Claim::Over, Step::Discard(uid))]
        }
        // Whoever does not come to that leaves it to others.
        Step::Discard(uid) => {
            let mut after = to(Step::Start);
            if bundle.made == uid && bundle.job == Job::Suspended {
                after.bundles[b].job = Job::Missing;
            }
            vec![after]
        }
        // Overtaken: it looks again.
        Step::Confirm(..) | Step::Abandon(_) | Step::GiveUp(..) => vec![to(Step::Start)],
    }
}

/// What may come of a look.
fn looked(
    state: &State,
    world: World,
    (b, e): (usize, usize),
    (version, confirmed, uid): (u8, bool, u8),
) -> Vec<State> {
    let bundle = state.bundles[b];
    // For a Job that is gone, whatever was ever seen.
    let gone = bundle.made != uid || bundle.job != Job::Suspended;
    let looks = [
        (true, bundle.crowded || gone),
        (false, bundle.alone || gone),
    ];
    let looks = looks.into_iter().filter(|(_, possible)| *possible);
    // Of a suspended Job's bundle the newest state is read; where nobody owns, either may be older.
    let Bundle { claim, job, .. } = state.bundles[0];
    let elder = b > 0 && job == Job::Suspended && claim != Claim::Over;
    let beliefs: &[(bool, bool)] = match world {
        World::Hostile => &[(true, true), (true, false), (false, false)],
        World::Kind => &[(b == 0, elder)],
        World::TwoOwners => &[(true, elder)],
    };
    let decided = |others, (owner, elder): &(bool, bool)| {
        let mut after = *state;
        after.at[b][e] = match permission(*owner, others, *elder) {
            Permission::Granted if confirmed => Step::Release(uid),
            Permission::Granted => Step::Confirm(version, uid),
            Permission::Wait => Step::Start,
            Permission::StepBack if confirmed => Step::Remove(version, uid),
            Permission::StepBack => Step::GiveUp(version, uid),
        };
        after
    };
    // What is left over of a claim that was given up is removed by whoever finds it.
    let left_over = (0..BUNDLES).filter_map(|other| {
        let Bundle { claim, job, .. } = state.bundles[other];
        let mut after = *state;
        after.bundles[other].job = Job::Missing;
        (other != b && claim == Claim::Over && job == Job::Suspended).then_some(after)
    });
    looks
        .flat_map(|(others, _)| beliefs.iter().map(move |belief| decided(others, belief)))
        .chain(left_over)
        .collect()
}

/// The state with what a look may show from now on.
fn observed(mut state: State) -> State {
    let works = state
        .bundles
        .map(|bundle| matches!(bundle.job, Job::Suspended | Job::Running));
    for (b, bundle) in state.bundles.iter_mut().enumerate() {
        let suspended = bundle.job == Job::Suspended;
        let others = (0..BUNDLES).any(|other| other != b && works[other]);
        bundle.crowded = suspended && (bundle.crowded || others);
        bundle.alone = suspended && (bundle.alone || !others);
    }
    state
}

/// States that differ only in which executor is which are one; where nobody owns, bundles too.
fn same(mut state: State, world: World) -> State {
    for executors in &mut state.at {
        executors.sort_unstable();
    }
    let seen = |b: usize| (state.bundles[b], state.at[b]);
    if world == World::Hostile && seen(0) > seen(1) {
        state.bundles.swap(0, 1);
        state.at.swap(0, 1);
    }
    state
}

/// Every state that can be reached, with those that follow it.
fn explore(world: World) -> BTreeMap<State, Vec<State>> {
    let mut found = BTreeMap::new();
    let mut waiting = VecDeque::from([start()]);
    while let Some(state) = waiting.pop_front() {
        if found.contains_key(&state) {
            continue;
        }
        let next: Vec<State> = successors(&state, world)
            .into_iter()
            .map(|state| same(observed(state), world))
            .collect();
        waiting.extend(next.iter().filter(|state| !found.contains_key(*state)));
        found.insert(state, next);
    }
    found
}

#[test]
fn two_jobs_of_one_release_are_never_let_run_at_the_same_time() {
    let states = explore(World::Hostile);
    assert!(states.len() > 1_000, "only {} states", states.len());
    let mut ran = BTreeSet::new();
    for state in states.keys() {
        let running = state.bundles.map(|bundle| bundle.job == Job::Running);
        assert_ne!(running, [true; BUNDLES], "{state:?}");
        ran.insert(running);
    }
    assert!(ran.len() >= 2, "one of them runs at some time");
}

#[test]
fn whatever_has_happened_the_owner_can_still_run() {
    can_always_run(World::Kind);
}

#[test]
fn of_two_owners_neither_waits_for_ever() {
    can_always_run(World::TwoOwners);
}

/// From wherever things stand, the Job of the first bundle can come to its end.
fn can_always_run(world: World) {
    let states = explore(world);
    let mut before: BTreeMap<State, Vec<State>> = BTreeMap::new();
    let mut good = VecDeque::new();
    for (state, next) in &states {
        for after in next {
            before.entry(*after).or_default().push(*state);
        }
        if state.bundles[0].job == Job::Ended {
            good.push_back(*state);
        }
    }
    let mut can = BTreeSet::new();
    while let Some(state) = good.pop_front() {
        if can.insert(state) {
            good.extend(before.get(&state).into_iter().flatten().copied());
        }
    }
    for state in states.keys() {
        assert!(can.contains(state), "stuck: {state:?}");
    }
}

/// The model is worth something only if it finds what is wrong: without the look two do run.
#[test]
fn without_the_look_two_would_run() {
    let mut state = start();
    for b in 0..BUNDLES {
        state.bundles[b].job = Job::Suspended;
        state.bundles[b].made = 1;
        state.at[b][0] = Step::Confirm(0, 1);
    }
    let mut waiting = VecDeque::from([state]);
    let mut both = false;
    let mut found = BTreeSet::new();
    while let Some(state) = waiting.pop_front() {
        if found.insert(state) {
            both |= state
                .bundles
                .iter()
                .all(|bundle| bundle.job == Job::Running);
            waiting.extend(successors(&state, World::Kind));
        }
    }
    assert!(both);
}
