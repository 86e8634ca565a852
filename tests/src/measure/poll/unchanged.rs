//! What an unchanged poll costs, and what the poller weighs. One poller per case and the bare client
//! of each run side by side, at the pace bundles are really polled at: every minute. Nobody is
//! anywhere near a core, and what disturbs one disturbs the other.

use std::time::Duration;

use tokio::time::Instant;

use super::at;
use super::bare::Bare;
use super::bundles::Bundles;
use super::ground::{Ground, Moment, Polling};
use super::shape::Shape;
use super::wire::{HOSTS, Wire};
use crate::measure::figures::{Figure, Goal, median};
use crate::measure::process::Process;

/// Bundles of a case; polled every minute.
const BUNDLES: usize = 10_000;

/// After a start, everything is polled for the first time within a minute.
const WARM: Duration = Duration::from_secs(66);

/// Then it is measured so many times, for so long.
const SLICES: u32 = 4;
const SLICE: Duration = Duration::from_secs(16);

const MOST_CPU: f64 = 1.5;
const MOST_MEMORY: f64 = 48.0;

/// Flat means: no more than this on top, for 200 times the tags.
const MOST_GROWTH: f64 = 2.0;

struct Compared {
    bundles: Bundles,
    polling: Polling,
    bare: Process,
    /// The name the bare client's requests are counted under.
    label: String,
    /// What was seen at the borders of the slices, of both.
    seen: Vec<(Moment, Side)>,
}

/// The bare client at one moment.
#[derive(Clone, Copy)]
struct Side {
    polls: u64,
    cpu: Duration,
}

/// The cases that have a bare client beside them.
fn compared() -> Vec<Bundles> {
    let case = |label, wire, etags, chosen| Bundles {
        label,
        wire,
        count: BUNDLES,
        shape: Shape { tags: 50, etags },
        chosen,
        secret: false,
    };
    vec![
        case("http-list", Wire::Http, true, false),
        case("http-tag", Wire::Http, true, true),
        case("http-fingerprint", Wire::Http, false, false),
        case("https1-tag", Wire::Https1, true, true),
        case("https2-list", Wire::Https2, true, false),
        case("https2-tag", Wire::Https2, true, true),
        Bundles {
            secret: true,
            ..case("https2-secret", Wire::Https2, true, true)
        },
    ]
}

/// The cases that are only weighed.
fn weighed() -> Vec<Bundles> {
    let case = |label, count, tags| Bundles {
        label,
        wire: Wire::Http,
        count,
        shape: Shape { tags, etags: true },
        chosen: true,
        secret: false,
    };
    vec![
        case("1000x50", 1_000, 50),
        case("100x50", 100, 50),
        case("100x10000", 100, 10_000),
    ]
}

/// Measures all of it.
pub(super) async fn measure(ground: &mut Ground) -> anyhow::Result<Vec<Figure>> {
    let start = Instant::now();
    let mut only_weighed = Vec::new();
    for bundles in weighed() {
        only_weighed.push((bundles, ground.poller(&bundles).await?));
    }
    let mut cases = Vec::new();
    for bundles in compared() {
        let polling = ground.poller(&bundles).await?;
        cases.push(compare(ground, bundles, polling)?);
    }
    let begin = start.elapsed() + WARM;
    for slice in 0..=SLICES {
        at(start, begin + SLICE * slice).await;
        for case in &mut cases {
            let moment = ground.look(&mut case.polling).await?;
            let side = Side {
                polls: ground.counts(&case.label).await?.listings(),
                cpu: case.bare.cpu()?,
            };
            case.bare.check()?;
            case.seen.push((moment, side));
        }
    }
    let mut figures: Vec<Figure> = cases.iter().flat_map(cost).collect();
    let mut weights = Vec::new();
    for case in &cases {
        if case.bundles.label == "http-tag" || case.bundles.label == "https2-tag" {
            let name = format!("{}x50_{}", case.bundles.count, case.bundles.wire.name());
            weights.push((name, case.polling.process.memory()?));
        }
    }
    for (bundles, polling) in &mut only_weighed {
        let moment = ground.look(polling).await?;
        anyhow::ensure!(
            moment.scraped.polls() >= bundles.count as u64,
            "{} did not poll everything: {moment:?} {}",
            bundles.label,
            ground.words(bundles.label)
        );
        weights.push((bundles.label.to_owned(), polling.process.memory()?));
    }
    for (name, memory) in &weights {
        let most = Goal::AtMost(MOST_MEMORY);
        figures.push(Figure::new(
            format!("rss_{name}"),
            mib(memory.now),
            "MiB",
            most,
        ));
        figures.push(Figure::new(
            format!("rss_peak_{name}"),
            mib(memory.peak),
            "MiB",
            most,
        ));
    }
    let of = |name: &str| {
        weights
            .iter()
            .find(|(label, _)| label == name)
            .map(|(_, memory)| mib(memory.now))
    };
    if let (Some(few), Some(many)) = (of("100x50"), of("100x10000")) {
        let growth = Goal::AtMost(MOST_GROWTH);
        figures.push(Figure::new("rss_growth_by_tags", many - few, "MiB", growth));
    }
    for case in cases {
        case.polling.process.end().await?;
        case.bare.end().await?;
    }
    for (_, polling) in only_weighed {
        polling.process.end().await?;
    }
    Ok(figures)
}

#[expect(clippy::cast_precision_loss, reason = "thousands")]
fn compare(ground: &Ground, bundles: Bundles, polling: Polling) -> anyhow::Result<Compared> {
    let label = format!("bare-{}", bundles.label);
    let bare = ground.bare(&Bare {
        label: label.clone(),
        wire: bundles.wire,
        repositories: bundles.count,
        tags: bundles.shape.tags,
        unconditional: !bundles.shape.etags,
        with_tag: bundles.chosen,
        // At this pace one connection to each host is busy now and then.
        connections: HOSTS,
        rate: Some(bundles.count as f64 / 60.0),
        pki: ground.pki(),
    })?;
    Ok(Compared {
        bundles,
        polling,
        bare,
        label,
        seen: Vec::new(),
    })
}

#[expect(clippy::cast_precision_loss, reason = "thousands")]
fn cost(case: &Compared) -> Vec<Figure> {
    let name = case.bundles.label.replace('-', "_");
    let (Some((first, _)), Some((last, _))) = (case.seen.first(), case.seen.last()) else {
        return Vec::new();
    };
    let (mut ours, mut bares, mut ratios) = (Vec::new(), Vec::new(), Vec::new());
    for pair in case.seen.windows(2) {
        let [(before, side_before), (after, side_after)] = pair else {
            continue;
        };
        let polls = after.scraped.since(before.scraped).polls();
        let our = micros(after.cpu.saturating_sub(before.cpu)) / polls as f64;
        let bare = micros(side_after.cpu.saturating_sub(side_before.cpu))
            / (side_after.polls - side_before.polls) as f64;
        ours.push(our);
        bares.push(bare);
        ratios.push(our / bare);
    }
    let polls = last.scraped.since(first.scraped);
    let asked = last.counts.since(first.counts);
    let per_poll = |count: u64| count as f64 / polls.polls() as f64;
    let (our, bare) = (median(ours), median(bares));
    let exactly = |name: String, count: u64, goal: f64, bare| {
        Figure::new(name, per_poll(count), "/poll", Goal::AtMost(goal)).beside(bare)
    };
    let requests = if case.bundles.chosen { 2.0 } else { 1.0 };
    let none = Goal::AtMost(0.0);
    vec![
        Figure::new(
            format!("cpu_{name}"),
            our,
            "us/poll",
            Goal::AtMost(MOST_CPU * bare),
        )
        .beside(bare),
        Figure::new(
            format!("cpu_ratio_{name}"),
            median(ratios),
            "x",
            Goal::AtMost(MOST_CPU),
        ),
        exactly(
            format!("requests_{name}"),
            asked.requests(),
            requests,
            requests,
        ),
        Figure::new(
            format!("listings_{name}"),
            per_poll(asked.listings()),
            "/poll",
            Goal::AtMost(1.0),
        )
        .beside(1.0),
        Figure::new(format!("failed_{name}"), polls.failed as f64, "polls", none),
        Figure::new(format!("late_{name}"), polls.late as f64, "polls", none),
        Figure::new(
            format!("api_writes_{name}"),
            (last.api_writes - first.api_writes) as f64,
            "calls",
            none,
        ),
        Figure::new(
            format!("api_reads_{name}"),
            (last.api_reads - first.api_reads) as f64,
            "calls",
            none,
        ),
        Figure::new(
            format!("grpc_calls_{name}"),
            (last.calls - first.calls) as f64,
            "calls",
            none,
        ),
    ]
}

#[expect(clippy::cast_precision_loss, reason = "far below 2^52")]
fn micros(time: Duration) -> f64 {
    time.as_micros() as f64
}

#[expect(clippy::cast_precision_loss, reason = "far below 2^52")]
fn mib(kib: u64) -> f64 {
    kib as f64 / 1024.0
}
