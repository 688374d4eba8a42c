//! How much memory there is, on machines made of files in a temporary directory.

#![forbid(unsafe_code)]

mod cached;
mod cgroup_events;
mod cgroups;
mod device;
mod disk;
mod host;
mod machine;
mod own_limits;
