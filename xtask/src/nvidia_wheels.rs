//! NVIDIA's compilers, which are Python packages: each is fetched into the target folder at its first
//! use. None needs a GPU.

use std::path::PathBuf;

use crate::command::Tool;
use crate::failure::Result;
use crate::workspace::Workspace;

/// A package with the one file that is wanted of it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Wheel {
    /// The folder below the target folder that it is put into.
    folder: &'static str,
    /// As pip names it.
    package: &'static str,
    file: &'static str,
}

/// The compiler at run time, of CUDA 12.0.
pub(crate) const NVRTC_12: Wheel = Wheel {
    folder: "nvrtc",
    package: "nvidia-cuda-nvrtc-cu12==12.0.140",
    file: "nvidia/cuda_nvrtc/lib/libnvrtc.so.12",
};
/// The same of CUDA 13.
pub(crate) const NVRTC_13: Wheel = Wheel {
    folder: "nvrtc-13",
    package: "nvidia-cuda-nvrtc==13.5.37",
    file: "nvidia/cu13/lib/libnvrtc.so.13",
};
/// The assembler of CUDA 12, the last for compute capabilities below 7.5.
pub(crate) const PTXAS_12: Wheel = Wheel {
    folder: "nvcc-12",
    package: "nvidia-cuda-nvcc-cu12==12.9.86",
    file: "nvidia/cuda_nvcc/bin/ptxas",
};
/// The assembler of CUDA 13.
pub(crate) const PTXAS_13: Wheel = Wheel {
    folder: "nvcc-13",
    package: "nvidia-cuda-nvcc==13.5.37",
    file: "nvidia/cu13/bin/ptxas",
};

impl Wheel {
    /// The folder that it is put into.
    pub(crate) fn folder(&self) -> &'static str {
        self.folder
    }

    /// The file.
    pub(crate) fn file(&self, workspace: &Workspace) -> Result<PathBuf> {
        let folder = workspace.target.join(self.folder);
        let file = folder.join(self.file);
        if !file.is_file() {
            let folder = folder.display().to_string();
            let target = ["--no-deps", "--target", &folder, self.package];
            Tool::new("python3", &workspace.root)
                .args(["-m", "pip", "install", "--quiet"].into_iter().chain(target))
                .run()?;
        }
        Ok(file)
    }
}
