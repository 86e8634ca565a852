//! Measures what polling costs; see `testbed::measure::poll`.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::ensure;
use clap::{Parser, Subcommand};
use testbed::measure::poll::{Bare, Sustained, measure, serve};
use testbed::measure::{Figure, enter};

/// What polling costs, on this machine and against a bare HTTP client.
#[derive(Debug, Parser)]
#[command(name = "bench-poll", version)]
struct Arguments {
    #[command(subcommand)]
    part: Option<Part>,
}

/// The processes of a measurement.
#[derive(Debug, Subcommand)]
#[command(hide = true)]
enum Part {
    /// Measure, in a network namespace of its own.
    Inside,
    /// Be the registry.
    Registry {
        /// Where its certificates are
        #[arg(long)]
        pki: PathBuf,
    },
    /// Be the bare client.
    Bare(Bare),
    /// Be the poll loop.
    Sustained(Box<Sustained>),
}

fn main() -> ExitCode {
    match run(Arguments::parse().part) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            complain(&error);
            ExitCode::FAILURE
        }
    }
}

/// Not in a runtime when another process is only waited for.
fn run(part: Option<Part>) -> anyhow::Result<()> {
    let Some(part) = part else {
        ensure!(enter(&[])?.success(), "the measurement failed");
        return Ok(());
    };
    rustls::crypto::ring::default_provider()
        .install_default()
        .map_err(|_| anyhow::anyhow!("another TLS provider is installed"))?;
    play(part)
}

#[tokio::main]
async fn play(part: Part) -> anyhow::Result<()> {
    match part {
        Part::Inside => measure(tell).await,
        Part::Registry { pki } => serve(&pki).await,
        Part::Bare(bare) => bare.run().await,
        Part::Sustained(sustained) => sustained.run().await,
    }
}

#[expect(clippy::print_stdout, reason = "the answer of a command line program")]
fn tell(figure: &Figure) {
    println!("{figure}");
}

#[expect(clippy::print_stderr, reason = "the error of a command line program")]
fn complain(error: &anyhow::Error) {
    eprintln!("error: {error:#}");
}
