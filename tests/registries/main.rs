//! The poller against real registry servers, as a bundle sees it: what is listed, what is chosen,
//! what a failure is called. The servers are processes on loopback that all tests share; each test
//! has a repository of its own. `serving` shows without the poller what the servers really do, so
//! that a test that fails tells which side changed.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test that cannot go on fails"
)]

mod authenticating;
mod bed;
mod polling;
mod secrets;
mod serving;
mod trusting;
mod watcher;
