//! Measures what deploying costs; see `testbed::measure::converge`.

use std::process::ExitCode;

use anyhow::{Context as _, ensure};
use clap::{Parser, Subcommand, ValueEnum};
use testbed::cluster::ControlPlane;
use testbed::measure::converge::{Part, measure};
use testbed::measure::{Figure, enter};

/// What turning tags into Jobs costs, on this machine and against a bare client of the apiserver.
#[derive(Debug, Parser)]
#[command(name = "bench-converge", version)]
struct Arguments {
    /// Measure only this; can be given several times
    #[arg(long, value_enum, global = true)]
    only: Vec<Part>,
    #[command(subcommand)]
    place: Option<Place>,
}

/// Where it runs.
#[derive(Debug, Subcommand)]
#[command(hide = true)]
enum Place {
    /// In a network namespace of its own.
    Inside,
}

fn main() -> ExitCode {
    match run(&Arguments::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            complain(&error);
            ExitCode::FAILURE
        }
    }
}

/// Not in a runtime when another process is only waited for.
fn run(arguments: &Arguments) -> anyhow::Result<()> {
    if arguments.place.is_none() {
        ControlPlane::build()?;
        let all = Part::value_variants();
        let wanted = Some(&*arguments.only).filter(|only| !only.is_empty());
        // Each in a cluster of its own: what one leaves behind is not to be weighed by the next.
        for part in wanted.unwrap_or(all) {
            let name = part.to_possible_value().context("a part has no name")?;
            let only = ["--only".to_owned(), name.get_name().to_owned()];
            ensure!(enter(&only)?.success(), "the measurement failed");
        }
        return Ok(());
    }
    play(&arguments.only)
}

#[tokio::main]
async fn play(only: &[Part]) -> anyhow::Result<()> {
    measure(only, tell).await
}

#[expect(clippy::print_stdout, reason = "the answer of a command line program")]
fn tell(figure: &Figure) {
    println!("{figure}");
}

#[expect(clippy::print_stderr, reason = "the error of a command line program")]
fn complain(error: &anyhow::Error) {
    eprintln!("error: {error:#}");
}
