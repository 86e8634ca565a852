//! `make bench-converge`: what turning tags into Jobs costs. The executor as it is shipped and with
//! the rights it is installed with, a real API server with a real etcd, and a bare client of the same
//! library and the same account that makes the same Jobs. No controllers and no kubelet: Jobs end
//! when the measurement says so, and what is measured is the executor.
//!
//! ```text
//! announcements ─gRPC─► executor ─TLS─► kube-apiserver ──► etcd
//! scripted registry ◄─ poller ─gRPC─┘        ▲  └─ audit.log: every request is counted there
//!                             bare client ───┘
//! ```

use anyhow::Context as _;

mod audit;
mod bare;
mod ground;
mod latency;
mod memory;
mod objects;
mod registry;
mod sight;
mod throughput;

use ground::Ground;

use super::figures::{self, Figure};

/// A part of the measurement.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Part {
    /// From the registry's answer to the Job.
    Latency,
    /// Jobs a second, and requests for each.
    Throughput,
    /// What many bundles weigh.
    Memory,
}

/// Measures everything or only some parts, tells each figure as soon as it is known, and writes all
/// of them into the folder Cargo builds in.
pub async fn measure(only: &[Part], tell: impl Fn(&Figure)) -> anyhow::Result<()> {
    let own = std::env::current_exe()?;
    let programs = own.parent().context("this program is nowhere")?;
    let target = programs.parent().context("this program is in no target")?;
    let mut ground = Ground::start(programs).await?;
    let wanted = |part| only.is_empty() || only.contains(&part);
    let mut figures = Vec::new();
    let mut take = |more: Vec<Figure>| {
        more.iter().for_each(&tell);
        figures.extend(more);
    };
    if wanted(Part::Latency) {
        take(latency::measure(&mut ground).await?);
    }
    if wanted(Part::Throughput) {
        for secret in [false, true] {
            take(throughput::measure(&mut ground, secret).await?);
        }
    }
    if wanted(Part::Memory) {
        take(memory::measure(&mut ground).await?);
    }
    ground.stop().await?;
    figures::write(&target.join("bench.json"), &figures)
}

#[expect(clippy::cast_precision_loss, reason = "thousands")]
fn number(count: usize) -> f64 {
    count as f64
}
