//! Effects: the apiserver in both directions. No decisions.

pub mod accounts;
pub mod api;
pub mod bundles;
pub mod essential;
pub mod events;
pub mod inputs_key;
pub mod jobs;
pub mod just_stored;
pub mod logs;
pub mod pages;
pub mod seen;
pub mod sources;
pub mod trouble;
pub mod watch;
pub mod watched;
