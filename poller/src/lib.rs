//! The poller: watches `WerfBundle`s, polls their registries politely, and announces the tag that is
//! wanted. It never writes a `WerfBundle`; what it finds goes to the executor.
//!
//! ```text
//! io::watch ─► decide::book ─► io::registry ─► decide::{page, newest, manifest}
//!                  ▲                                        │
//!   io::server ────┘        io::announce ◄── decide::tell ◄─┘
//! ```
//! [`poll`] joins them. `decide` is pure, `io` has the effects.

pub mod app;
pub mod args;
pub mod decide;
pub mod explain;
pub mod io;
pub mod metrics;
pub mod poll;
#[cfg(test)]
mod testing;
