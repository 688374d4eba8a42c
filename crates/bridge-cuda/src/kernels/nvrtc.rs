//! NVRTC, NVIDIA's run-time compiler, where it is installed: it compiles for a GPU without the driver's
//! help.

use std::ffi::{CStr, CString, c_char, c_int, c_void};
use std::path::{Path, PathBuf};
use std::ptr::null_mut;
use std::sync::OnceLock;

use bridge_core::{Error, Result, TensorError};
use libloading::Library;

use super::source::Program;
use crate::context::errors::NAME;
use bridge_core::Unavailable;

/// The environment variable that names its library.
const LIBRARY: &str = "ARRAYBRIDGE_NVRTC";

type Handle = *mut c_void;
type Text = *const c_char;
type Texts = *const Text;
type SizeOf = unsafe extern "C" fn(Handle, *mut usize) -> c_int;
type Get = unsafe extern "C" fn(Handle, *mut u8) -> c_int;

/// The compiler; its library stays loaded.
pub(crate) struct Nvrtc {
    version: unsafe extern "C" fn(*mut c_int, *mut c_int) -> c_int,
    error_string: unsafe extern "C" fn(c_int) -> *const c_char,
    count_architectures: unsafe extern "C" fn(*mut c_int) -> c_int,
    architectures: unsafe extern "C" fn(*mut c_int) -> c_int,
    create: unsafe extern "C" fn(*mut Handle, Text, Text, c_int, Texts, Texts) -> c_int,
    destroy: unsafe extern "C" fn(*mut Handle) -> c_int,
    compile: unsafe extern "C" fn(Handle, c_int, Texts) -> c_int,
    binary_size: SizeOf,
    binary: Get,
    log_size: SizeOf,
    log: Get,
}

/// A program, destroyed on drop.
struct Created<'a>(&'a Nvrtc, Handle);

impl Drop for Created<'_> {
    fn drop(&mut self) {
        // SAFETY: the program was made by this compiler, and is destroyed once.
        unsafe { (self.0.destroy)(&raw mut self.1) };
    }
}

impl Nvrtc {
    /// The compiler, preferably of the driver's version (12040 for 12.4). One that was found is kept; where
    /// none was, it is looked for again at each call.
    pub(crate) fn find(driver_version: i32) -> Result<&'static Self, Unavailable> {
        static FOUND: OnceLock<Nvrtc> = OnceLock::new();
        if let Some(found) = FOUND.get() {
            return Ok(found);
        }
        let nvrtc = Self::load(driver_version)?;
        Ok(FOUND.get_or_init(|| nvrtc))
    }

    fn load(driver_version: i32) -> Result<Self, Unavailable> {
        let asked = std::env::var_os(LIBRARY).map(PathBuf::from);
        let candidates =
            asked.as_ref().map_or_else(|| candidates(driver_version), |path| vec![path.clone()]);
        let mut why = String::new();
        for path in &candidates {
            load_builtins(path);
            // SAFETY: the libraries are NVRTC under its usual names, or what the user names as such;
            // what runs when it is loaded is its own.
            match unsafe { Library::new(path) } {
                Ok(library) => {
                    return Self::of(library)
                        .map_err(|error| not_loaded(path, &loader_message(&error)));
                }
                Err(error) => why = loader_message(&error),
            }
        }
        Err(match asked {
            Some(path) => not_loaded(&path, &why),
            None => Unavailable {
                reason: "no libnvrtc is found".to_owned(),
                remedy: format!(
                    "install NVRTC, as with `pip install nvidia-cuda-nvrtc-cu12`, and name it in \
                     {LIBRARY}=…/libnvrtc.so.12"
                ),
            },
        })
    }

    fn of(library: Library) -> Result<Self, libloading::Error> {
        // SAFETY: the functions have these types in every NVRTC since 11.2, whose header declares
        // them so. Function pointers outlive `library`, which is never unloaded.
        let nvrtc = unsafe {
            Self {
                version: *library.get(b"nvrtcVersion")?,
                error_string: *library.get(b"nvrtcGetErrorString")?,
                count_architectures: *library.get(b"nvrtcGetNumSupportedArchs")?,
                architectures: *library.get(b"nvrtcGetSupportedArchs")?,
                create: *library.get(b"nvrtcCreateProgram")?,
                destroy: *library.get(b"nvrtcDestroyProgram")?,
                compile: *library.get(b"nvrtcCompileProgram")?,
                binary_size: *library.get(b"nvrtcGetCUBINSize")?,
                binary: *library.get(b"nvrtcGetCUBIN")?,
                log_size: *library.get(b"nvrtcGetProgramLogSize")?,
                log: *library.get(b"nvrtcGetProgramLog")?,
            }
        };
        std::mem::forget(library);
        Ok(nvrtc)
    }

    /// "12.4"; "of unknown version" where it does not say.
    pub(crate) fn version(&self) -> String {
        let (mut major, mut minor) = (0, 0);
        // SAFETY: two numbers are written.
        match unsafe { (self.version)(&raw mut major, &raw mut minor) } {
            0 => format!("{major}.{minor}"),
            _ => "of unknown version".to_owned(),
        }
    }

    /// The program as a binary for GPUs of this compute capability: 86 for 8.6.
    pub(crate) fn compile(&self, program: &Program, capability: i32) -> Result<Vec<u8>> {
        let architecture = self.architecture(capability)?;
        let options = [
            c_string(&format!("--gpu-architecture=sm_{architecture}"))?,
            c"--fmad=false".to_owned(),
            c"--std=c++17".to_owned(),
        ];
        let source = c_string(program.source)?;
        let texts = program.headers.iter().map(|(_, text)| c_string(text));
        let texts = texts.collect::<Result<Vec<_>>>()?;
        let names = program.headers.iter().map(|(name, _)| c_string(name));
        let names = names.collect::<Result<Vec<_>>>()?;
        let [options, texts, names] = [&options[..], &texts, &names]
            .map(|all| all.iter().map(|one| one.as_ptr()).collect::<Vec<_>>());

        let mut handle = null_mut();
        let count = texts.len() as c_int;
        // SAFETY: all texts end with a zero byte and live until the compilation is over; there are
        // as many headers as names.
        let code = unsafe {
            (self.create)(
                &raw mut handle,
                source.as_ptr(),
                c"kernels.cu".as_ptr(),
                count,
                texts.as_ptr(),
                names.as_ptr(),
            )
        };
        self.check("create a program", code)?;
        let created = Created(self, handle);
        // SAFETY: the program is alive, and there are as many options as said.
        let code = unsafe { (self.compile)(handle, options.len() as c_int, options.as_ptr()) };
        if code != 0 {
            let log = self.bytes(&created, self.log_size, self.log).unwrap_or_default();
            let log = String::from_utf8_lossy(&log);
            let log = log.trim_end_matches(['\0', '\n']);
            return Err(self.failed("compile a kernel", code, &format!("\n{log}")));
        }
        self.bytes(&created, self.binary_size, self.binary)
    }

    /// The architecture that NVRTC knows and whose binaries the GPU runs: those of its own
    /// generation, up to itself.
    fn architecture(&self, capability: i32) -> Result<c_int> {
        let mut count = 0;
        // SAFETY: one number is written.
        self.check("count architectures", unsafe { (self.count_architectures)(&raw mut count) })?;
        let mut known = vec![0; usize::try_from(count).unwrap_or(0)];
        // SAFETY: there is room for as many numbers as there are.
        self.check("list architectures", unsafe { (self.architectures)(known.as_mut_ptr()) })?;
        let fits = |one: &c_int| *one / 10 == capability / 10 && *one <= capability;
        known.into_iter().filter(fits).max().ok_or_else(|| Error::Unsupported {
            what: format!(
                "compiling for compute capability {capability} with NVRTC {}",
                self.version()
            ),
            remedy: format!(
                "install an NVRTC that knows sm_{capability}, and name it in {LIBRARY}"
            ),
        })
    }

    /// The result of a pair of functions: one gives the size, the other as many bytes.
    fn bytes(&self, program: &Created<'_>, size_of: SizeOf, get: Get) -> Result<Vec<u8>> {
        let mut size = 0;
        // SAFETY: the program is alive; one number is written.
        self.check("report a size", unsafe { size_of(program.1, &raw mut size) })?;
        let mut bytes = vec![0; size];
        // SAFETY: the program is alive, and there is room for all bytes.
        self.check("return its result", unsafe { get(program.1, bytes.as_mut_ptr()) })?;
        Ok(bytes)
    }

    fn check(&self, operation: &'static str, code: c_int) -> Result<()> {
        if code == 0 { Ok(()) } else { Err(self.failed(operation, code, "")) }
    }

    fn failed(&self, operation: &'static str, code: c_int, more: &str) -> Error {
        // SAFETY: any code may be asked for; the answer is a text that ends with a zero byte and is
        // never freed.
        let text = unsafe { CStr::from_ptr((self.error_string)(code)) }.to_string_lossy();
        let message = format!("NVRTC {}: {text}{more}", self.version());
        Error::Framework { backend: NAME, operation, message }
    }
}

fn c_string(text: &str) -> Result<CString> {
    CString::new(text).map_err(|error| {
        Error::Tensor(TensorError::InvalidArgument {
            what: "a text for NVRTC",
            found: error.to_string(),
            expected: "a text without zero bytes".to_owned(),
        })
    })
}

/// What the system's loader reports, where it reports more than that it failed.
fn loader_message(error: &libloading::Error) -> String {
    std::error::Error::source(error).map_or_else(|| error.to_string(), ToString::to_string)
}

fn not_loaded(path: &Path, why: &str) -> Unavailable {
    Unavailable {
        reason: format!("it cannot be loaded from {}: {why}", path.display()),
        remedy: format!("set {LIBRARY} to the libnvrtc of CUDA 11.2 or later, or unset it"),
    }
}

/// Where NVRTC may be, that of the driver's major version first: a driver may refuse binaries of newer
/// ones. A library that the process has already loaded, as torch does, is found by its file name.
fn candidates(driver_version: i32) -> Vec<PathBuf> {
    let driver = driver_version / 1000;
    let mut majors = vec![driver];
    majors.extend([13, 12].into_iter().filter(|&major| major != driver));
    let names = majors.iter().map(|&major| match cfg!(windows) {
        true => format!("nvrtc64_{major}0_0.dll"),
        false => format!("libnvrtc.so.{major}"),
    });
    let names: Vec<_> = names.collect();
    let folders = ["CUDA_HOME", "CUDA_PATH"].into_iter().filter_map(std::env::var_os);
    let folders = folders.chain([if cfg!(windows) { "" } else { "/usr/local/cuda" }.into()]);
    let mut all: Vec<PathBuf> = names.iter().map(PathBuf::from).collect();
    for folder in folders.filter(|folder| !folder.is_empty()).map(PathBuf::from) {
        let folder = folder.join(if cfg!(windows) { "bin" } else { "lib64" });
        all.extend(names.iter().map(|name| folder.join(name)));
    }
    all
}

/// Loads the library of NVRTC's built-in functions from the same folder first: NVRTC looks for it by
/// its bare file name.
fn load_builtins(path: &Path) {
    let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty()) else {
        return;
    };
    for file in folder.read_dir().into_iter().flatten().flatten() {
        if file.file_name().to_string_lossy().contains("nvrtc-builtins.so") {
            // SAFETY: the library is NVRTC's own, which would load it itself.
            if let Ok(library) = unsafe { Library::new(file.path()) } {
                std::mem::forget(library);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernels::{ptx, source};

    /// `cargo xtask ptx --check --assemble` runs this with NVIDIA's NVRTC; elsewhere it tests nothing.
    #[test]
    #[expect(clippy::print_stdout, reason = "a test that could not run says so")]
    fn with_the_real_one_every_kernel_becomes_a_binary() {
        let Some(path) = std::env::var_os(LIBRARY) else {
            println!("unavailable: {LIBRARY} names no NVRTC");
            return;
        };
        load_builtins(Path::new(&path));
        let nvrtc = Nvrtc::load(12_000).unwrap_or_else(|none| panic!("{none:?}"));
        let names = source::names();
        assert!(names.len() > 50 && names.iter().all(|name| ptx::module_of(name).is_some()));
        for capability in [60, 70, 75, 80, 86, 89, 90, 100, 103, 120] {
            let made = match nvrtc.architecture(capability) {
                Ok(_) => nvrtc.compile(&source::all(), capability).unwrap(),
                Err(error) => {
                    println!("{error}");
                    continue;
                }
            };
            assert!(made.starts_with(b"\x7fELF"), "{capability}");
            for name in &names {
                // A binary has its functions' names as texts that end with a zero byte.
                let section = format!(".text.{name}\0");
                let found = made.windows(section.len()).any(|bytes| bytes == section.as_bytes());
                assert!(found, "{name} for {capability}");
            }
            println!("NVRTC {}: {} kernels for {capability}", nvrtc.version(), names.len());
        }
        for name in ["copy_1", "transpose_2", "cast_any", "cast_f32_bf16_strided"] {
            let program = source::program_of(name).unwrap();
            let started = std::time::Instant::now();
            let made = nvrtc.compile(&program, 80).unwrap();
            let seconds = started.elapsed().as_secs_f64();
            println!("{name} alone: {} bytes in {seconds:.2} s", made.len());
            assert!(made.starts_with(b"\x7fELF"), "{name}");
        }
        let mut broken = source::program_of("copy_1").unwrap();
        broken.headers[2].1 = "COPY(copy_1, nothing)".to_owned();
        let error = nvrtc.compile(&broken, 80).unwrap_err().to_string();
        assert!(error.contains("entries.h(1): error") && error.contains("nothing"), "{error}");
    }
}
