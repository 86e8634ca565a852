//! The programs of the cluster, built once from pinned sources into a cache.
//!
//! Kubernetes, `CoreDNS`, grpcurl and a second registry come from the Go modules in
//! `tests/components`; etcd, containerd and the rest are Debian packages. [`ready`] answers
//! "where are they", building what is missing; it starts nothing.

mod build;
pub mod cache;
mod module;
mod packages;
mod progress;

use std::path::{Path, PathBuf};

use anyhow::Context as _;

use self::module::{DISTRIBUTION, MODULES};
pub(crate) use self::packages::SEARCH_PATH;
pub use self::packages::require_packages;
pub use self::progress::Progress;

/// The built programs, each in the folder of the module it came from.
#[derive(Debug, Clone)]
pub struct Programs {
    folders: Vec<(&'static module::Module, PathBuf)>,
}

impl Programs {
    /// The path of a program built here, or the bare name when it comes from the machine.
    pub fn path(&self, name: &str) -> PathBuf {
        self.folders
            .iter()
            .find(|(module, _)| module.makes(name))
            .map_or_else(|| PathBuf::from(name), |(_, folder)| folder.join(name))
    }
}

/// Builds what is missing, telling the terminal about it, and returns the programs.
pub fn ready() -> anyhow::Result<Programs> {
    let cache = cache::root()?;
    let go = build::go_version()?;
    let mut folders = Vec::new();
    for module in MODULES {
        folders.push((module, built(&cache, module, &go)?));
    }
    Ok(Programs { folders })
}

/// The registry server `distribution`, built when it is missing. Apart from [`ready`]: only tests
/// of the poller need it.
pub fn distribution() -> anyhow::Result<PathBuf> {
    let folder = built(&cache::root()?, &DISTRIBUTION, &build::go_version()?)?;
    Ok(folder.join("registry"))
}

/// The programs an earlier [`ready`] built, wherever they are; builds nothing.
pub fn located() -> anyhow::Result<Programs> {
    let cache = cache::root()?;
    let go = build::go_version()?;
    let folders = MODULES
        .iter()
        .map(|module| (module, module_folder(&cache, module, &go)))
        .collect();
    Ok(Programs { folders })
}

fn built(cache: &Path, module: &module::Module, go: &str) -> anyhow::Result<PathBuf> {
    let folder = module_folder(cache, module, go);
    build::build_once(module, &folder)
        .with_context(|| format!("cannot build the {} programs", module.name))?;
    Ok(folder)
}

fn module_folder(cache: &Path, module: &module::Module, go: &str) -> PathBuf {
    cache.join(format!("{}-{}", module.name, module.key(go)))
}
