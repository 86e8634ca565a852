//! `testbed build`.

use std::process::ExitCode;

use testbed::components;

/// Builds what is missing.
pub(super) fn run() -> anyhow::Result<ExitCode> {
    components::ready()?;
    Ok(ExitCode::SUCCESS)
}
