//! The operator on a real cluster, in the words of those who use it. Each test has a namespace and
//! a repository of its own; all share one cluster and one installation, so that a test that kills
//! a service shows the others that it does no harm.

mod bed;
mod canary;
mod confirming;
mod deploying;
mod failing;
mod guides;
mod killing;
mod leaving;
mod logs;
mod naming;
mod owning;
mod placing;
mod private;
mod private_registry;
mod refusing;
mod requesting;
mod rolling_back;
mod scaling;
mod seeing;
mod tenant;
mod turn;
mod uninstalling;
mod values;
mod waiting;
