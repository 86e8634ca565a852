//! What follows from what was seen. Pure: no clock, no client, no log; every answer is a closed
//! enum or a finished object.

pub mod admit;
pub mod annotations;
pub mod inputs;
pub mod job;
pub mod log_tail;
pub mod mask;
pub mod obstacle;
pub mod outcome;
pub mod plan;
pub mod poll_report;
pub mod registry_access;
pub mod release;
pub mod request;
pub mod rollback;
pub mod rules;
pub mod setback;
pub mod settings;
pub mod status;
pub mod text;
pub mod uninstall;
pub mod values;

#[cfg(test)]
mod fixtures;
