//! A control group (cgroup) with a limited memory, made below or beside the test's own.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

/// The group, which is removed when this is dropped: whoever ran in it has ended by then.
pub(crate) struct LimitedGroup {
    place: PathBuf,
}

impl LimitedGroup {
    /// A group in which processes have `bytes` of memory, swap left out where the kernel counts it.
    ///
    /// # Errors
    ///
    /// Why this machine has none to give.
    pub(crate) fn new(bytes: u64) -> Result<Self, String> {
        let mut reasons = Vec::new();
        for parent in parents()? {
            match Self::below(&parent, bytes) {
                Ok(group) => return Ok(group),
                Err(reason) => reasons.push(reason),
            }
        }
        Err(match reasons.is_empty() {
            true => "no hierarchy of cgroups is mounted that limits memory".to_owned(),
            false => reasons.join("; "),
        })
    }

    fn below(parent: &Path, bytes: u64) -> Result<Self, String> {
        let place = parent.join(format!("bridge-memory-test-{}", std::process::id()));
        let told = |what: &str, error| format!("{what} {}: {error}", place.display());
        fs::create_dir(&place).map_err(|error| told("cannot make the group", error))?;
        let group = Self { place: place.clone() };
        // v2 has such a file where the group above hands its memory out, v1 always.
        let limit = ["memory.max", "memory.limit_in_bytes"].map(|name| place.join(name));
        let Some(limit) = limit.iter().find(|file| file.exists()) else {
            return Err(format!("memory is not handed out below {}", parent.display()));
        };
        fs::write(limit, bytes.to_string()).map_err(|error| told("cannot limit", error))?;
        // Where swap is not counted, there are no such files.
        let _ = fs::write(place.join("memory.swap.max"), "0");
        let _ = fs::write(place.join("memory.memsw.limit_in_bytes"), bytes.to_string());
        // Whether processes may go there shows when one does.
        let mut there = group.command("true");
        match there.output() {
            Ok(tried) if tried.status.success() => Ok(group),
            Ok(tried) => {
                let why = String::from_utf8_lossy(&tried.stderr).trim().replace('\n', ", ");
                Err(format!("no process can go into {}: {why}", place.display()))
            }
            Err(error) => Err(told("cannot start a process in", error)),
        }
    }

    /// Where its files are.
    pub(crate) fn place(&self) -> &Path {
        &self.place
    }

    /// Runs a program in the group.
    pub(crate) fn command(&self, program: impl AsRef<std::ffi::OsStr>) -> Command {
        let mut command = Command::new("sh");
        command.args(["-c", "echo $$ > \"$GROUP\" && exec \"$0\" \"$@\""]).arg(program);
        command.env("GROUP", self.place.join("cgroup.procs"));
        command
    }
}

impl Drop for LimitedGroup {
    fn drop(&mut self) {
        // A process that has just ended may still be counted.
        for _ in 0..50 {
            match fs::remove_dir(&self.place) {
                Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                    std::thread::sleep(Duration::from_millis(20));
                }
                _ => return,
            }
        }
    }
}

/// Groups below which one can be made perhaps: this process's own, and, since in v2 a group with
/// processes hands nothing out, the one above.
fn parents() -> Result<Vec<PathBuf>, String> {
    let read = |path: &str| fs::read_to_string(path).map_err(|error| format!("{path}: {error}"));
    let (groups, mounts) = (read("/proc/self/cgroup")?, read("/proc/self/mountinfo")?);
    let mut parents = Vec::new();
    for line in groups.lines() {
        let mut parts = line.splitn(3, ':').skip(1);
        let (Some(controllers), Some(path)) = (parts.next(), parts.next()) else { continue };
        let is_v2 = controllers.is_empty();
        if !is_v2 && !controllers.split(',').any(|name| name == "memory") {
            continue;
        }
        for mount in mounts.lines().filter_map(|line| mounted(line, is_v2)) {
            let (root, point) = mount;
            let Ok(below) = Path::new(path).strip_prefix(root) else { continue };
            let own = Path::new(point).join(below);
            parents.push(own.clone());
            if is_v2 && !below.as_os_str().is_empty() {
                parents.extend(own.parent().map(Path::to_path_buf));
            }
        }
    }
    Ok(parents)
}

/// The root of a mounted hierarchy that limits memory, and where it is.
fn mounted(line: &str, is_v2: bool) -> Option<(&str, &str)> {
    let (before, after) = line.split_once(" - ")?;
    let mut after = after.split(' ');
    let (kind, options) = (after.next()?, after.nth(1)?);
    let found = match is_v2 {
        true => kind == "cgroup2",
        false => kind == "cgroup" && options.split(',').any(|name| name == "memory"),
    };
    let mut before = before.split(' ').skip(3);
    found.then_some((before.next()?, before.next()?))
}
