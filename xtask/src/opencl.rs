//! The requirement opencl: a loader and a driver, of which PoCL runs on the processor.

use std::path::{Path, PathBuf};

use crate::command::Tool;
use crate::failure::Result;
use crate::requirement::{Presence, Requirement};
use crate::workspace::Workspace;

/// Debian's packages: the loader, and a driver that needs no GPU.
const PACKAGES: [&str; 2] = ["ocl-icd-libopencl1", "pocl-opencl-icd"];

pub(crate) const OPENCL: Requirement = Requirement {
    name: "opencl",
    purpose: "an OpenCL loader and driver, which bridge-opencl is tested on (200 MB on disk)",
    detect,
    remedy: "run `cargo xtask setup opencl` (Debian and Ubuntu), or install an OpenCL loader and \
             a driver such as PoCL",
    install: Some(install),
};

fn detect(workspace: &Workspace) -> Presence {
    let missing = |reason: &str| Presence::Missing { reason: reason.to_owned() };
    let Some(loader) = loader(workspace) else {
        return missing("no libOpenCL.so.1 (the OpenCL loader)");
    };
    let folder = vendors();
    let drivers = drivers_in(&folder);
    if drivers.is_empty() {
        return missing(&format!("no driver is registered in {}", folder.display()));
    }
    let place = format!("{loader}, with {}", drivers.join(", "));
    // Registered is not yet running: the tests must fail where it does not.
    Presence::Found { place, env: vec![("ARRAYBRIDGE_REQUIRE".to_owned(), "opencl".to_owned())] }
}

/// Where the loader is, as the dynamic linker sees it.
fn loader(workspace: &Workspace) -> Option<String> {
    if let Ok(named) = std::env::var("OPENCL_DYLIB_PATH") {
        return named.split(';').find(|path| Path::new(path).exists()).map(str::to_owned);
    }
    let known = ["ldconfig", "/sbin/ldconfig"]
        .into_iter()
        .find_map(|program| Tool::new(program, &workspace.root).args(["-p"]).capture().ok())?;
    let line = known.lines().find(|line| line.trim_start().starts_with("libOpenCL.so.1 "))?;
    line.rsplit(' ').next().map(str::to_owned)
}

/// Where drivers are registered.
fn vendors() -> PathBuf {
    std::env::var_os("OCL_ICD_VENDORS").map_or_else(|| "/etc/OpenCL/vendors".into(), PathBuf::from)
}

/// The names of the registered drivers.
fn drivers_in(folder: &Path) -> Vec<String> {
    let files = std::fs::read_dir(folder).into_iter().flatten().flatten().map(|file| file.path());
    let mut names: Vec<String> = files
        .filter(|path| path.extension().is_some_and(|extension| extension == "icd"))
        .filter_map(|path| Some(path.file_stem()?.to_string_lossy().into_owned()))
        .collect();
    names.sort();
    names
}

fn install(workspace: &Workspace) -> Result<()> {
    let apt = |args: &[&str]| {
        let is_root = Tool::new("id", &workspace.root).args(["-u"]).capture()?.trim() == "0";
        let tool = if is_root {
            Tool::new("apt-get", &workspace.root)
        } else {
            Tool::new("sudo", &workspace.root).args(["apt-get"])
        };
        tool.env("DEBIAN_FRONTEND", "noninteractive").args(args.iter().copied()).run()
    };
    apt(&["update", "--quiet"])?;
    apt(&[&["install", "--yes", "--quiet", "--no-install-recommends"][..], &PACKAGES].concat())
}

#[cfg(test)]
mod tests {
    use super::drivers_in;

    #[test]
    fn registered_drivers_are_named_and_other_files_are_not() {
        let folder = std::env::temp_dir().join(format!("icd-files-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        for name in ["pocl.icd", "amd.icd", "notes.txt"] {
            std::fs::write(folder.join(name), "lib").unwrap();
        }
        assert_eq!(drivers_in(&folder), ["amd", "pocl"]);
        std::fs::remove_dir_all(&folder).unwrap();
        assert!(drivers_in(&folder).is_empty());
    }
}
