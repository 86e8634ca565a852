//! The test bed: a real Kubernetes and real registries on one machine, and what the tests and
//! `make run` do with them. Nothing here is part of the operator.

pub mod access;
pub mod authority;
pub mod bundle;
pub mod canary;
pub mod cluster;
pub mod components;
pub mod demonstration;
pub mod faults;
pub mod image;
pub mod measure;
pub mod operator;
pub mod registries;
