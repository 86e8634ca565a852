//! The executor with seeded bugs, for the fault tests: a program of its own, so that the one that is
//! shipped is never built with them.

use std::process::ExitCode;

use werf_executor::{app, args};
use werf_shared::arguments;

#[tokio::main]
async fn main() -> ExitCode {
    let config = match arguments::parse::<args::Args>() {
        Ok(config) => config,
        Err(refused) => return refused.report(),
    };
    let _ = rustls::crypto::ring::default_provider().install_default();
    let guard = match werf_shared::telemetry::start("werf-operator-executor", &config.telemetry) {
        Ok(guard) => guard,
        Err(error) => return arguments::exit_code(&Err(error.into())),
    };
    let code = arguments::exit_code(&app::run(config).await);
    guard.shutdown().await;
    code
}
