//! The cluster's own view of the file system, in the mount namespace that dies with it:
//! places with fixed names become private to the instance, and the settings of the kernel
//! that the kubelet would change for the whole machine look as it wants them already.

use std::fs;
use std::path::Path;

use anyhow::Context as _;
use rustix::mount::{MountFlags, MountPropagationFlags, mount, mount_bind, mount_change};

use super::folder::{COVERED, Folder};

/// What the kubelet demands of the kernel; it writes those that read otherwise.
const KERNEL: [(&str, &str); 6] = [
    ("/proc/sys/vm/overcommit_memory", "1"),
    ("/proc/sys/vm/panic_on_oom", "0"),
    ("/proc/sys/kernel/panic", "10"),
    ("/proc/sys/kernel/panic_on_oops", "1"),
    ("/proc/sys/kernel/keys/root_maxkeys", "1000000"),
    ("/proc/sys/kernel/keys/root_maxbytes", "25000000"),
];

/// Arranges the mounts. Must run in a mount namespace of its own.
pub(super) fn arrange(folder: &Folder) -> anyhow::Result<()> {
    // Containers get their mounts from ours; nothing travels back to the machine, because the
    // namespace was made private first.
    let shared = MountPropagationFlags::SHARED | MountPropagationFlags::REC;
    mount_change("/", shared).context("cannot share the mounts with containers")?;
    for covered in COVERED {
        cover(folder, covered)?;
    }
    for (setting, value) in KERNEL {
        shadow(setting, value)?;
    }
    Ok(())
}

/// Puts a private folder over one of the machine's.
fn cover(folder: &Folder, place: &str) -> anyhow::Result<()> {
    let done = match place {
        // In memory: sockets, network namespaces of Pods, tokens.
        "/run" => mount("run", place, "tmpfs", MountFlags::empty(), c"mode=755"),
        "/var/log" => bind(&folder.logs().join("node"), place),
        _ => bind(
            &folder.file(&place.trim_start_matches('/').replace('/', "-")),
            place,
        ),
    };
    done.with_context(|| format!("cannot cover {place}"))
}

fn bind(source: &Path, place: &str) -> rustix::io::Result<()> {
    // A folder that cannot be made fails the mount.
    let _ = fs::create_dir_all(source);
    mount_bind(source, place)
}

fn shadow(setting: &str, value: &str) -> anyhow::Result<()> {
    if !Path::new(setting).exists() {
        return Ok(());
    }
    let stand_in = Path::new("/run/kernel").join(setting.trim_start_matches('/').replace('/', "."));
    fs::create_dir_all("/run/kernel")?;
    fs::write(&stand_in, format!("{value}\n"))?;
    mount_bind(&stand_in, setting).with_context(|| format!("cannot shadow {setting}"))
}
