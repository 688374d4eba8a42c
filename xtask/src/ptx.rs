//! `cargo xtask ptx`: makes the PTX of bridge-cuda's kernels from their source.
//!
//! The compiler is NVRTC of CUDA 12.0, the oldest that bridge-cuda works with, as PTX runs on newer
//! drivers and not on older ones. It needs no GPU. It is a Python package of NVIDIA's, which is fetched
//! into the target folder.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Args;

use crate::command::Tool;
use crate::failure::{Failure, Result};
use crate::workspace::Workspace;

/// The compiler, as pip names it.
const NVRTC: &str = "nvidia-cuda-nvrtc-cu12==12.0.140";
/// The oldest architecture the kernels run on, as NVRTC names it.
const ARCHITECTURE: &str = "compute_60";

/// Options of `ptx`.
#[derive(Debug, Args)]
pub(crate) struct Options {
    /// Change nothing; fail where the committed PTX is not what the source makes
    #[arg(long)]
    check: bool,
}

/// Compiles a source with its header; prints what the compiler says.
const COMPILE: &str = r#"
import ctypes, sys
library, folder, architecture, out = sys.argv[1:5]
nvrtc = ctypes.CDLL(library)
nvrtc.nvrtcGetErrorString.restype = ctypes.c_char_p
def check(code, what):
    if code != 0:
        sys.exit(f"{what}: {nvrtc.nvrtcGetErrorString(code).decode()}")
def text(size_of, get):
    size = ctypes.c_size_t()
    check(size_of(program, ctypes.byref(size)), "size")
    buffer = ctypes.create_string_buffer(size.value)
    check(get(program, buffer), "text")
    return buffer.value
source = open(f"{folder}/kernels.cu", "rb").read()
header = open(f"{folder}/arithmetic.h", "rb").read()
program = ctypes.c_void_p()
headers, names = (ctypes.c_char_p * 1)(header), (ctypes.c_char_p * 1)(b"arithmetic.h")
check(nvrtc.nvrtcCreateProgram(ctypes.byref(program), source, b"kernels.cu", 1, headers, names), "create")
options = [b"--gpu-architecture=" + architecture.encode(), b"--fmad=false", b"--std=c++17"]
code = nvrtc.nvrtcCompileProgram(program, len(options), (ctypes.c_char_p * len(options))(*options))
sys.stderr.write(text(nvrtc.nvrtcGetProgramLogSize, nvrtc.nvrtcGetProgramLog).decode())
check(code, "compile")
open(out, "wb").write(text(nvrtc.nvrtcGetPTXSize, nvrtc.nvrtcGetPTX))
"#;

/// Makes the PTX, or compares it.
pub(crate) fn run(workspace: &Workspace, options: &Options) -> Result<ExitCode> {
    let kernels = workspace.root.join("crates/bridge-cuda/src/kernels");
    let committed = kernels.join("kernels.ptx");
    let made = workspace.target.join("kernels.ptx");
    compile(workspace, &kernels, &made)?;
    let new = read(&made)?;
    if options.check {
        let same = fs::read(&committed).is_ok_and(|old| old == new);
        println!("{} is {}", committed.display(), if same { "up to date" } else { "out of date" });
        return Ok(if same { ExitCode::SUCCESS } else { ExitCode::FAILURE });
    }
    fs::write(&committed, &new).map_err(|error| {
        Failure::new(
            format!("write {}", committed.display()),
            error.to_string(),
            "make it writable",
        )
    })?;
    println!("{}: {} bytes", committed.display(), new.len());
    Ok(ExitCode::SUCCESS)
}

fn compile(workspace: &Workspace, kernels: &Path, made: &Path) -> Result<()> {
    let library = nvrtc(workspace)?;
    let folder = library.parent().map(|folder| folder.display().to_string()).unwrap_or_default();
    let [library, kernels, made] =
        [&*library, kernels, made].map(|path| path.display().to_string());
    Tool::new("python3", &workspace.root)
        .args(["-c", COMPILE, &library, &kernels, ARCHITECTURE, &made])
        // NVRTC loads a second library from beside it.
        .env("LD_LIBRARY_PATH", &folder)
        .run()
}

/// The compiler's library, fetched at the first use.
fn nvrtc(workspace: &Workspace) -> Result<PathBuf> {
    let folder = workspace.target.join("nvrtc");
    let library = folder.join("nvidia/cuda_nvrtc/lib/libnvrtc.so.12");
    if !library.is_file() {
        let folder = folder.display().to_string();
        Tool::new("python3", &workspace.root)
            .args(["-m", "pip", "install", "--quiet", "--no-deps", "--target", &folder, NVRTC])
            .run()?;
    }
    Ok(library)
}

fn read(path: &Path) -> Result<Vec<u8>> {
    fs::read(path).map_err(|error| {
        Failure::new(format!("read {}", path.display()), error.to_string(), "run it again")
    })
}
