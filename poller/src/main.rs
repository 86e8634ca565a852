//! The program `poller`.

use std::process::ExitCode;

use werf_poller::args::{Args, Task};
use werf_poller::{app, explain};
use werf_shared::arguments;

fn main() -> ExitCode {
    rustls::crypto::ring::default_provider()
        .install_default()
        .expect("no other TLS provider is installed before main");
    match arguments::parse::<Args>() {
        Err(refused) => refused.report(),
        Ok(Task::Explain(task)) => explain::report(&task),
        Ok(Task::Run(config)) => match app::run(*config) {
            Ok(()) => ExitCode::SUCCESS,
            Err(_told) => ExitCode::FAILURE,
        },
    }
}
