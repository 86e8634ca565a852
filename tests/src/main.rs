//! Starts and stops the local cluster and everything people do with it by hand.

mod cli;

use std::process::ExitCode;

use clap::Parser as _;

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    match cli::run(cli::Arguments::parse()).await {
        Ok(code) => code,
        Err(error) => {
            cli::terminal::complain(&error);
            ExitCode::FAILURE
        }
    }
}
