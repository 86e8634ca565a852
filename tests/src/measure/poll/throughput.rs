//! How many polls a second the poll loop keeps up, for a minute and none of them late, against what
//! the bare client reaches over as many connections. Both share the machine with the registry.

use std::time::Duration;

use tokio::time::Instant;

use super::bare::Bare;
use super::ground::{Ground, Polling};
use super::pause;
use super::wire::{HOSTS, Wire};
use crate::measure::figures::{Figure, Goal, median};

/// Connections to each host.
const PER_HOST: usize = 4;

/// Repositories the bare client goes round.
const REPOSITORIES: usize = 10_000;

const WARM: Duration = Duration::from_secs(3);
/// A loop that cannot keep up takes its time to settle.
const LONGEST: Duration = Duration::from_secs(40);
const BARE: Duration = Duration::from_secs(4);
const PROBE: Duration = Duration::from_secs(4);
const MINUTE: Duration = Duration::from_mins(1);

/// What is left free of the rate at which the loop was saturated.
const ROOM: f64 = 0.8;

/// Least polls a second.
const LEAST: f64 = 5_000.0;

/// A rate, and how many polls were late meanwhile.
struct Rate {
    a_second: f64,
    late: u64,
    failed: u64,
}

/// Measures over one wire: the bare client before and after.
#[expect(clippy::cast_precision_loss, reason = "thousands")]
pub(super) async fn measure(ground: &mut Ground, wire: Wire) -> anyhow::Result<Vec<Figure>> {
    let mut bares = vec![bare(ground, wire).await?];
    // More than it can do: what it does then is what it can do.
    let saturated = rate(ground, wire, bares[0], PROBE).await?;
    bares.push(bare(ground, wire).await?);
    let sustained = rate(ground, wire, saturated.a_second * ROOM, MINUTE).await?;
    bares.push(bare(ground, wire).await?);
    let bare = median(bares);
    let name = |what: &str| format!("{what}_{}", wire.name());
    let half = Goal::AtLeast(bare / 2.0);
    let none = Goal::AtMost(0.0);
    let (a_second, late) = (sustained.a_second, sustained.late as f64);
    Ok(vec![
        Figure::new(
            name("sustained_share"),
            a_second / bare,
            "x",
            Goal::AtLeast(0.5),
        ),
        Figure::new(name("sustained"), a_second, "polls/s", Goal::AtLeast(LEAST)).beside(bare),
        Figure::new(name("sustained_late"), late, "polls", none),
        Figure::new(
            name("sustained_failed"),
            sustained.failed as f64,
            "polls",
            none,
        ),
        Figure::new(name("saturated"), saturated.a_second, "polls/s", half).beside(bare),
    ])
}

/// What the bare client reaches.
async fn bare(ground: &Ground, wire: Wire) -> anyhow::Result<f64> {
    let label = "bare-sustained";
    let mut process = ground.bare(&Bare {
        label: label.to_owned(),
        wire,
        repositories: REPOSITORIES,
        tags: 50,
        unconditional: false,
        with_tag: false,
        connections: HOSTS * PER_HOST,
        rate: None,
        pki: ground.pki(),
    })?;
    pause(WARM / 3).await;
    let before = (Instant::now(), ground.counts(label).await?);
    pause(BARE).await;
    let after = (Instant::now(), ground.counts(label).await?);
    process.check()?;
    process.end().await?;
    Ok(a_second(
        after.1.listings() - before.1.listings(),
        after.0 - before.0,
    ))
}

/// What the loop does when it is to do that many polls a second.
async fn rate(ground: &mut Ground, wire: Wire, polls: f64, time: Duration) -> anyhow::Result<Rate> {
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "thousands"
    )]
    let bundles = polls as usize;
    let polling = ground.sustained(wire, bundles, PER_HOST).await?;
    settle(ground, &polling, bundles as u64).await?;
    let rate = during(ground, &polling, time).await;
    polling.process.end().await?;
    rate
}

/// Waits until everything was polled twice and the executor has been told all there is to tell.
async fn settle(ground: &Ground, polling: &Polling, bundles: u64) -> anyhow::Result<()> {
    let started = Instant::now();
    let mut before = ground.glance(polling).await?;
    loop {
        pause(WARM / 3).await;
        let now = ground.glance(polling).await?;
        if now.scraped.polls() >= 2 * bundles && now.calls == before.calls {
            return Ok(());
        }
        anyhow::ensure!(started.elapsed() < LONGEST, "it never settles: {now:?}");
        before = now;
    }
}

async fn during(ground: &Ground, polling: &Polling, time: Duration) -> anyhow::Result<Rate> {
    let before = (Instant::now(), ground.glance(polling).await?.scraped);
    pause(time).await;
    let after = (Instant::now(), ground.glance(polling).await?.scraped);
    let polls = after.1.since(before.1);
    Ok(Rate {
        a_second: a_second(polls.polls(), after.0 - before.0),
        late: polls.late,
        failed: polls.failed,
    })
}

#[expect(clippy::cast_precision_loss, reason = "far below 2^52")]
fn a_second(count: u64, time: Duration) -> f64 {
    count as f64 / time.as_secs_f64()
}
