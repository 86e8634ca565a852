//! The executor: turns wishes into Jobs and is the only writer of a bundle's status.
//!
//! ```text
//! receive:  io/server ► decide/admit ► io/bundles (wish stored under resourceVersion) ► answer
//! converge: io/bundles ► decide/plan ► io/{accounts,sources} ► decide/{values,job} ► io/jobs
//!           io/jobs ► io/logs ► decide/{outcome,log_tail} ► decide/status ► io/{bundles,events}
//! ```
//!
//! Everything is level-triggered: an event only says "look again", and a pass reads the bundle and
//! its Job anew. Every process may be killed at any instruction, and any number of replicas may
//! look at the same bundle: Job names are deterministic and every status write carries the
//! resourceVersion it was decided on.

pub mod app;
pub mod args;
pub mod converge;
pub mod decide;
pub mod io;
pub mod metrics;
pub mod receive;
pub mod seeded;
