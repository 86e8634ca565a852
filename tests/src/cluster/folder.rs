//! The files of one cluster instance: who reads and writes what is decided elsewhere.

use std::fs::{self, File};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, ensure};

use crate::components::cache;

/// Folders that a cluster covers with its own, so that nothing it needs may lie in them.
pub(super) const COVERED: [&str; 3] = ["/run", "/var/lib", "/var/log"];

/// The folder of one instance.
#[derive(Debug, Clone)]
pub(super) struct Folder {
    instance: String,
    root: PathBuf,
}

impl Folder {
    /// The folder of the instance of this name, which need not exist yet.
    pub(super) fn of(instance: &str) -> anyhow::Result<Self> {
        ensure!(
            is_name(instance),
            "{instance:?} is no instance name: use up to 40 of a-z, 0-9 and '-'"
        );
        let root = clusters()?.join(instance);
        Ok(Self {
            instance: instance.to_owned(),
            root,
        })
    }

    /// Every instance that ever had a folder here.
    pub(super) fn all() -> anyhow::Result<Vec<Self>> {
        let clusters = clusters()?;
        let Ok(entries) = fs::read_dir(&clusters) else {
            return Ok(Vec::new());
        };
        let mut folders = Vec::new();
        for entry in entries {
            let entry = entry?;
            let name = entry.file_name();
            if let Some(name) = name.to_str().filter(|_| entry.path().is_dir()) {
                folders.push(Self::of(name)?);
            }
        }
        Ok(folders)
    }

    /// Fails when the cluster would cover the folder it works in.
    pub(super) fn require_uncovered(&self) -> anyhow::Result<()> {
        let program = std::env::current_exe()?;
        for needed in [self.root.as_path(), &program] {
            ensure!(
                !COVERED.iter().any(|covered| needed.starts_with(covered)),
                "{} lies in a folder the cluster covers with its own ({}): move it, \
                 WERF_OPERATOR_CACHE says where the cache is",
                needed.display(),
                COVERED.join(", ")
            );
        }
        Ok(())
    }

    /// Makes the folders anew.
    pub(super) fn create(&self) -> anyhow::Result<()> {
        for folder in [self.logs(), self.file("pki"), self.file("etc")] {
            fs::create_dir_all(&folder)
                .with_context(|| format!("cannot create {}", folder.display()))?;
        }
        Ok(())
    }

    /// Removes everything but the logs, which people want to read afterwards.
    pub(super) fn clear(&self) -> anyhow::Result<()> {
        let Ok(entries) = fs::read_dir(&self.root) else {
            return Ok(());
        };
        for entry in entries {
            let path = entry?.path();
            if path == self.logs() {
                continue;
            }
            let removed = if path.is_dir() {
                fs::remove_dir_all(&path)
            } else {
                fs::remove_file(&path)
            };
            removed.with_context(|| format!("cannot remove {}", path.display()))?;
        }
        Ok(())
    }

    /// Removes the logs of the run before.
    pub(super) fn clear_logs(&self) -> anyhow::Result<()> {
        if self.logs().exists() {
            fs::remove_dir_all(self.logs())?;
        }
        Ok(())
    }

    /// The file whose lock the keeper of the instance holds; outside of what is cleared.
    pub(super) fn lock_file(&self) -> anyhow::Result<File> {
        let path = self.root.with_extension("lock");
        if let Some(parent) = path.parent() {
            fs::create_dir_all(parent)?;
        }
        File::create(&path).with_context(|| format!("cannot open {}", path.display()))
    }

    pub(super) fn instance(&self) -> &str {
        &self.instance
    }

    pub(super) fn file(&self, name: &str) -> PathBuf {
        self.root.join(name)
    }

    pub(super) fn pki(&self, name: &str) -> PathBuf {
        self.root.join("pki").join(name)
    }

    pub(super) fn etc(&self, name: &str) -> PathBuf {
        self.root.join("etc").join(name)
    }

    pub(super) fn logs(&self) -> PathBuf {
        self.root.join("logs")
    }

    pub(super) fn log(&self, part: &str) -> PathBuf {
        self.logs().join(format!("{part}.log"))
    }

    /// What the running instance says about itself; see [`super::state`].
    pub(super) fn state(&self) -> PathBuf {
        self.file("state.json")
    }

    pub(super) fn kubeconfig(&self) -> PathBuf {
        self.file("kubeconfig")
    }

    pub(super) fn control(&self) -> PathBuf {
        self.file("control.sock")
    }
}

impl AsRef<Path> for Folder {
    fn as_ref(&self) -> &Path {
        &self.root
    }
}

fn clusters() -> anyhow::Result<PathBuf> {
    Ok(cache::root()?.join("clusters"))
}

fn is_name(name: &str) -> bool {
    let allowed = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    !name.is_empty() && name.len() <= 40 && name.chars().all(allowed) && !name.starts_with('-')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_cannot_leave_the_folder_of_clusters() {
        for bad in ["", "..", "a/b", "A", "-a", &"a".repeat(41)] {
            assert!(!is_name(bad), "{bad:?}");
        }
        assert!(is_name("werf-operator-test"));
    }
}
