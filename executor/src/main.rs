//! The executor's process: arguments, telemetry, then [`werf_executor::app`].

use std::process::ExitCode;

use werf_executor::{app, args};
use werf_shared::{arguments, telemetry};

#[tokio::main]
async fn main() -> ExitCode {
    let config = match arguments::parse::<args::Args>() {
        Ok(config) => config,
        Err(refused) => return refused.report(),
    };
    // rustls wants to be told which cryptography to use; only a second call could fail.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let guard = match telemetry::start("werf-operator-executor", &config.telemetry) {
        Ok(guard) => guard,
        Err(error) => return arguments::exit_code(&Err(error.into())),
    };
    let code = arguments::exit_code(&app::run(config).await);
    guard.shutdown().await;
    code
}
