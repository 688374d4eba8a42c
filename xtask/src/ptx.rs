//! `cargo xtask ptx`: makes the PTX of bridge-cuda's kernels from their source, or checks it.
//!
//! The compiler is NVRTC of CUDA 12.0, the oldest that bridge-cuda works with, as PTX runs on newer
//! drivers and not on older ones. It needs no GPU, and neither do the checks.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Args;

use crate::command::{Lines, Tool};
use crate::failure::{Failure, Result};
use crate::nvidia_wheels::{NVRTC_12, NVRTC_13, Wheel};
use crate::ptx_assembly;
use crate::workspace::Workspace;

/// The oldest architecture the kernels run on, as NVRTC names it.
const ARCHITECTURE: &str = "compute_60";

/// Options of `ptx`.
#[derive(Debug, Args)]
pub(crate) struct Options {
    /// Change nothing; fail where the committed PTX is not what the source makes
    #[arg(long)]
    check: bool,
    /// Also assemble the PTX, and compile the source with NVRTC as a program does, for every
    /// generation of GPUs from sm_60 to sm_120; fetches 200 MB of NVIDIA's compilers
    #[arg(long, requires = "check")]
    assemble: bool,
}

/// Compiles a source with its headers; prints what the compiler says. The constants of a header that
/// NVRTC includes by itself are left out.
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
def read(name):
    return open(f"{folder}/{name}", "rb").read()
names = ["arithmetic.h", "kernels.h", "entries.h"]
program = ctypes.c_void_p()
array = ctypes.c_char_p * len(names)
headers = array(*[read(name) for name in names]), array(*[name.encode() for name in names])
check(nvrtc.nvrtcCreateProgram(ctypes.byref(program), read("kernels.cu"), b"kernels.cu", len(names), *headers), "create")
options = [b"--gpu-architecture=" + architecture.encode(), b"--fmad=false", b"--std=c++17"]
code = nvrtc.nvrtcCompileProgram(program, len(options), (ctypes.c_char_p * len(options))(*options))
sys.stderr.write(text(nvrtc.nvrtcGetProgramLogSize, nvrtc.nvrtcGetProgramLog).decode())
check(code, "compile")
ptx = text(nvrtc.nvrtcGetPTXSize, nvrtc.nvrtcGetPTX)
open(out, "wb").writelines(line for line in ptx.splitlines(True) if b"nv6target" not in line)
"#;

/// Makes the PTX, or checks it.
pub(crate) fn run(workspace: &Workspace, options: &Options) -> Result<ExitCode> {
    let kernels = workspace.root.join("crates/bridge-cuda/src/kernels");
    let committed = kernels.join("kernels.ptx");
    let made = workspace.target.join("kernels.ptx");
    compile(workspace, &kernels, &made)?;
    let new = read(&made)?;
    if options.check {
        let same = fs::read_to_string(&committed).is_ok_and(|old| old == new);
        println!("{} is {}", committed.display(), if same { "up to date" } else { "out of date" });
        if options.assemble {
            ptx_assembly::check(workspace, &new)?;
            NVRTC.iter().try_for_each(|wheel| compile_as_a_program_does(workspace, wheel))?;
        }
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

/// The oldest NVRTC that programs may meet, and a new one.
const NVRTC: [Wheel; 2] = [NVRTC_12, NVRTC_13];

fn compile(workspace: &Workspace, kernels: &Path, made: &Path) -> Result<()> {
    let library = NVRTC_12.file(workspace)?;
    let folder = folder_of(&library);
    let [library, kernels, made] =
        [&*library, kernels, made].map(|path| path.display().to_string());
    Tool::new("python3", &workspace.root)
        .args(["-c", COMPILE, &library, &kernels, ARCHITECTURE, &made])
        // NVRTC loads a second library from beside it.
        .env("LD_LIBRARY_PATH", &folder)
        .run()
}

/// Runs the test of bridge-cuda that compiles every kernel for every architecture with this NVRTC.
fn compile_as_a_program_does(workspace: &Workspace, wheel: &Wheel) -> Result<()> {
    let test = "test --package bridge-cuda --lib with_the_real_one -- --nocapture";
    let library = wheel.file(workspace)?.display().to_string();
    let tool = workspace.cargo().args(test.split(' ')).env("ARRAYBRIDGE_NVRTC", library);
    let mut ran = false;
    let passed = tool.each_line(Lines::Stdout, |line| ran |= line.contains("1 passed"))?;
    if ran && passed {
        return Ok(());
    }
    Err(Failure::new(
        "compile every kernel with NVRTC",
        format!("`{}` failed", tool.line()),
        "mend what its output above names",
    ))
}

fn folder_of(library: &Path) -> String {
    library.parent().map(|folder| folder.display().to_string()).unwrap_or_default()
}

fn read(path: &PathBuf) -> Result<String> {
    fs::read_to_string(path).map_err(|error| {
        Failure::new(format!("read {}", path.display()), error.to_string(), "run it again")
    })
}
