//! The control groups the Pods of an instance live under, on either version of cgroups.

use std::fs;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use anyhow::Context as _;

const MOUNT: &str = "/sys/fs/cgroup";
const ALL_IN_ONE: &str = "/sys/fs/cgroup/cgroup.controllers";

/// A group cannot be removed while a killed process in it is still being taken apart.
const REMOVAL_TRIES: u32 = 100;
const REMOVAL_PAUSE: Duration = Duration::from_millis(50);

/// The name of the instance's group, as the kubelet's `cgroupRoot` wants it.
pub(super) fn name(instance: &str) -> String {
    format!("/testbed-{instance}")
}

/// Makes the group; the kubelet refuses a root that does not exist.
pub(super) fn create(instance: &str) -> anyhow::Result<()> {
    if Path::new(ALL_IN_ONE).exists() {
        // Controllers reach a group only when every group above hands them down. Those the
        // machine does not have are refused one by one, which the kubelet then judges.
        for controller in ["cpuset", "cpu", "memory", "pids", "hugetlb"] {
            let hand_down = Path::new(MOUNT).join("cgroup.subtree_control");
            let _ = fs::write(hand_down, format!("+{controller}"));
        }
    }
    for group in places(instance)? {
        fs::create_dir_all(&group)
            .with_context(|| format!("cannot create the control group {}", group.display()))?;
    }
    Ok(())
}

/// Removes the group and all below it, once the processes in it have been killed.
pub(super) fn remove(instance: &str) -> anyhow::Result<()> {
    for group in places(instance)? {
        let mut tries = REMOVAL_TRIES;
        while let Err(error) = remove_tree(&group) {
            tries -= 1;
            if tries == 0 {
                return Err(error).with_context(|| {
                    format!("cannot remove the control group {}", group.display())
                });
            }
            thread::sleep(REMOVAL_PAUSE);
        }
    }
    Ok(())
}

/// The group in each hierarchy there is.
fn places(instance: &str) -> anyhow::Result<Vec<PathBuf>> {
    let name = name(instance);
    let name = name.trim_start_matches('/');
    if Path::new(ALL_IN_ONE).exists() {
        return Ok(vec![Path::new(MOUNT).join(name)]);
    }
    let mut places = Vec::new();
    for entry in fs::read_dir(MOUNT).with_context(|| format!("cannot read {MOUNT}"))? {
        let entry = entry?;
        // `cpu,cpuacct` is often one hierarchy with links of either name.
        if entry.file_type()?.is_dir() {
            places.push(entry.path().join(name));
        }
    }
    Ok(places)
}

/// The files of a group cannot be removed and go with it, so this is not `remove_dir_all`.
fn remove_tree(group: &Path) -> std::io::Result<()> {
    if !group.exists() {
        return Ok(());
    }
    for entry in fs::read_dir(group)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            remove_tree(&entry.path())?;
        }
    }
    fs::remove_dir(group)
}
