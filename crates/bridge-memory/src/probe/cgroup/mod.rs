//! Limits of the control groups (cgroups) that the process is in: what containers are limited by.

mod events;
mod level;
mod membership;
mod mounts;

use std::path::{Component, Path, PathBuf};

use super::measured::Measured;
use super::proc_files::ProcFiles;
pub use events::{CgroupCounts, CgroupEvents};
use membership::Membership;
use mounts::Mount;

/// The two kinds of hierarchy. A machine can have both at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Version {
    V1,
    V2,
}

/// Lowers `measured` to what the groups leave. `resident` stands in for what a group uses where
/// that cannot be read.
pub(super) fn apply(files: &ProcFiles, resident: Option<u64>, measured: &mut Measured) {
    let told = files
        .told("/proc/self/cgroup")
        .and_then(|groups| Ok((groups, files.told("/proc/self/mountinfo")?)));
    let (groups, mounts) = match told {
        Ok(texts) => texts,
        Err(problem) => {
            measured.problems.push(format!("{problem}: limits of containers are not counted"));
            return;
        }
    };
    let (memberships, mounts) = (membership::parse(&groups), mounts::parse(&mounts));
    let mut placed = false;
    for membership in &memberships {
        if let Some((own, top)) = place(files, membership, &mounts) {
            placed = true;
            level::apply_up(files, membership.version, (&own, &top), resident, measured);
        }
    }
    if !placed && !memberships.is_empty() {
        measured.problems.push(
            "/proc/self/mountinfo has no cgroups with memory limits mounted: limits of containers \
             are not counted"
                .to_owned(),
        );
    } else if memberships.is_empty() && !groups.trim().is_empty() {
        measured.problems.push(
            "/proc/self/cgroup names no group with memory limits: limits of containers are not \
             counted"
                .to_owned(),
        );
    }
}

/// Where the process's group is, and the topmost group that can be seen from there.
///
/// A container often sees its own group as the root of a mount, while the group's path still is the
/// host's: then the group is taken for the closest one that can be seen.
fn place(
    files: &ProcFiles,
    membership: &Membership,
    mounts: &[Mount],
) -> Option<(PathBuf, PathBuf)> {
    let mounts = || mounts.iter().filter(|mount| mount.version == membership.version).rev();
    // The mount that shows most of the groups above; of equals the last, which hides the others.
    let shown = mounts().filter(|mount| {
        within(mount, &membership.path).is_some_and(|own| files.is_directory(&own))
    });
    let mount = shown.min_by_key(|mount| mount.root.components().count());
    let mount = mount.or_else(|| mounts().next())?;
    let own = within(mount, &membership.path).unwrap_or_else(|| mount.point.clone());
    let seen = own.ancestors().find(|place| files.is_directory(place) || *place == mount.point)?;
    Some((seen.to_path_buf(), mount.point.clone()))
}

/// The directory of a group within a mount; `None` where it lies outside.
fn within(mount: &Mount, group: &str) -> Option<PathBuf> {
    let below = Path::new(group).strip_prefix(&mount.root).ok()?;
    let stays = below.components().all(|part| matches!(part, Component::Normal(_)));
    let mut place = mount.point.clone();
    place.extend(below.components());
    stays.then_some(place)
}
