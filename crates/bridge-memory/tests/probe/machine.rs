//! A machine: the kernel's files in a temporary directory.

use std::fs;
use std::path::Path;

use bridge_memory::probe::{HostProbe, Measured, MemoryProbe as _};
use tempfile::TempDir;

pub(crate) const GIB: u64 = 1 << 30;

pub(crate) struct Machine {
    root: TempDir,
}

impl Machine {
    /// No files at all.
    pub(crate) fn without_files() -> Self {
        Self { root: tempfile::tempdir().unwrap() }
    }

    /// 64 GiB, 40 of them available; no cgroups, no limits. The process has 1 GiB resident, 1 GiB
    /// of data, and 2 GiB of addresses.
    pub(crate) fn new() -> Self {
        Self::without_files()
            .file(
                "proc/meminfo",
                "MemTotal:       67108864 kB\nMemFree:         1048576 kB\n\
                 MemAvailable:   41943040 kB\nSwapFree:       99999999 kB\n",
            )
            .file("proc/self/cgroup", "")
            .file("proc/self/mountinfo", "")
            .limits("unlimited", "unlimited")
            .file(
                "proc/self/status",
                "Name:\tprogram\nVmSize:\t 2097152 kB\nVmHWM:\t 1572864 kB\n\
                 VmRSS:\t 1048576 kB\nVmData:\t 1048576 kB\n",
            )
    }

    /// With a file, below the root.
    pub(crate) fn file(self, path: &str, text: &str) -> Self {
        let path = self.root.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
        self
    }

    /// Where it is.
    pub(crate) fn root(&self) -> &Path {
        self.root.path()
    }

    /// With files in one directory.
    pub(crate) fn files<'a>(
        self,
        directory: &str,
        files: impl IntoIterator<Item = (&'a str, &'a str)>,
    ) -> Self {
        files
            .into_iter()
            .fold(self, |machine, (name, text)| machine.file(&format!("{directory}/{name}"), text))
    }

    pub(crate) fn without(self, path: &str) -> Self {
        fs::remove_file(self.root.path().join(path)).unwrap();
        self
    }

    /// With these limits of the process's own.
    pub(crate) fn limits(self, address_space: &str, data: &str) -> Self {
        self.file(
            "proc/self/limits",
            &format!(
                "Limit                     Soft Limit           Hard Limit           Units     \n\
                 Max data size             {data:<21}unlimited            bytes     \n\
                 Max address space         {address_space:<21}unlimited            bytes     \n"
            ),
        )
    }

    /// With a cgroup v2 mounted as usual, and the process in `group`.
    pub(crate) fn in_v2(self, group: &str) -> Self {
        self.file("proc/self/cgroup", &format!("0::{group}\n")).file(
            "proc/self/mountinfo",
            "22 1 0:21 / /proc rw - proc proc rw\n\
             30 23 0:26 / /sys/fs/cgroup rw shared:9 - cgroup2 cgroup2 rw,nsdelegate\n",
        )
    }

    /// With a group of v2 that has this limit and has used this much, this of it inactive cache.
    pub(crate) fn v2_group(self, directory: &str, max: &str, used: u64, cache: u64) -> Self {
        self.files(
            directory,
            [
                ("memory.max", &*format!("{max}\n")),
                ("memory.high", "max\n"),
                ("memory.current", &format!("{used}\n")),
                ("memory.stat", &format!("anon 5\nfile 7\ninactive_file {cache}\nslab 3\n")),
            ],
        )
    }

    pub(crate) fn probe(&self) -> HostProbe {
        HostProbe::at(self.root.path().to_path_buf())
    }

    pub(crate) fn measured(&self) -> Measured {
        self.probe().measure().unwrap()
    }

    /// Total and available memory in GiB, where all could be read.
    #[track_caller]
    pub(crate) fn gib(&self) -> (u64, u64) {
        let measured = self.measured();
        assert_eq!(measured.problems, [""; 0]);
        assert_eq!((measured.total % GIB, measured.available % GIB), (0, 0), "{measured}");
        (measured.total / GIB, measured.available / GIB)
    }
}
