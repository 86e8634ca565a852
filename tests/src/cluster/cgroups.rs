//! The control groups the Pods of an instance live under, on either version of cgroups.

use std::fs;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use anyhow::{Context as _, ensure};

const MOUNT: &str = "/sys/fs/cgroup";
const ALL_IN_ONE: &str = "/sys/fs/cgroup/cgroup.controllers";

/// What the kubelet limits Pods with. Where the machine has them all, it wants them all.
const CONTROLLERS: [&str; 5] = ["cpuset", "cpu", "memory", "pids", "hugetlb"];
/// Those it cannot do without.
const NEEDED: [&str; 3] = ["cpu", "memory", "pids"];

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
        // Controllers reach a group only when every group above hands them down. Each is refused
        // by itself, so that one the machine does not have costs no other.
        for controller in CONTROLLERS {
            let hand_down = Path::new(MOUNT).join("cgroup.subtree_control");
            let _ = fs::write(hand_down, format!("+{controller}"));
        }
    }
    for group in places(instance)? {
        fs::create_dir_all(&group)
            .with_context(|| format!("cannot create the control group {}", group.display()))?;
        let handed_down = group.join("cgroup.controllers");
        if Path::new(ALL_IN_ONE).exists() {
            let lacking = lacking(
                &fs::read_to_string(ALL_IN_ONE)?,
                &fs::read_to_string(handed_down)?,
            );
            ensure!(
                lacking.is_empty(),
                "the control group {} lacks the controllers {}: in a container, {MOUNT} must be \
                 writable and the machine's own (docker run --privileged --cgroupns=host); \
                 otherwise the kernel lacks them or {MOUNT}/cgroup.subtree_control refuses them",
                group.display(),
                lacking.join(" ")
            );
        }
    }
    Ok(())
}

/// Controllers that the kubelet will look for in a group and not find, by the `cgroup.controllers`
/// of the topmost group and of that one.
fn lacking(top: &str, group: &str) -> Vec<&'static str> {
    let has = |list: &str, controller: &str| list.split_whitespace().any(|c| c == controller);
    CONTROLLERS
        .into_iter()
        .filter(|controller| NEEDED.contains(controller) || has(top, controller))
        .filter(|controller| !has(group, controller))
        .collect()
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_controller_the_machine_does_not_have_is_not_missed() {
        let all = "cpuset cpu io memory pids";
        assert!(lacking(all, "cpuset cpu memory pids").is_empty());
    }

    #[test]
    fn a_container_that_hands_nothing_down_is_noticed() {
        let all = "cpuset cpu io memory hugetlb pids rdma";
        assert_eq!(lacking(all, ""), CONTROLLERS);
        assert_eq!(lacking("", ""), NEEDED);
    }
}
