//! Finds the library and loads it.

use std::ffi::{CStr, CString, OsString, c_char, c_int, c_void};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use crate::interface::config::Config;
use crate::interface::launch::RawKernel;

macro_rules! library {
    ($($name:ident = $symbol:literal: $kind:ty,)+) => {
        /// The control functions of the library.
        #[derive(Debug)]
        pub(super) struct Library { $(pub(super) $name: $kind,)+ }

        impl Library {
            fn of(handle: *mut c_void) -> Self {
                Self {$(
                    // SAFETY: this is the type of that function in `driver::entry::control`, of the same package.
                    $name: unsafe { std::mem::transmute::<*mut c_void, $kind>(symbol(handle, $symbol)) },
                )+}
            }
        }
    };
}

library! {
    reset = c"sim_reset": unsafe extern "C" fn(*const c_char) -> c_int,
    inject = c"sim_inject": unsafe extern "C" fn(*const c_char) -> c_int,
    clear_faults = c"sim_clear_faults": extern "C" fn(),
    report = c"sim_report": unsafe extern "C" fn(*const c_char, *mut u8, usize) -> usize,
    clear_violations = c"sim_clear_violations": extern "C" fn(),
    mark = c"sim_mark": extern "C" fn() -> u64,
    step = c"sim_step": extern "C" fn(u64) -> u64,
    register_kernel = c"sim_register_kernel":
        unsafe extern "C" fn(*const c_char, RawKernel, *const usize, usize, usize) -> c_int,
    read = c"sim_read": unsafe extern "C" fn(u64, *mut u8, usize) -> c_int,
}

/// The library, loaded once and for good.
pub(super) fn library() -> &'static Library {
    static LIBRARY: OnceLock<Library> = OnceLock::new();
    LIBRARY.get_or_init(|| {
        let path = library_path();
        let name = CString::new(path.as_os_str().as_bytes()).expect("paths have no zero bytes");
        // SAFETY: the library's initializers only set up Rust's runtime.
        let handle = unsafe { libc::dlopen(name.as_ptr(), libc::RTLD_NOW | libc::RTLD_LOCAL) };
        assert!(!handle.is_null(), "cannot load {}: {}", path.display(), last_error());
        Library::of(handle)
    })
}

fn symbol(handle: *mut c_void, name: &CStr) -> *mut c_void {
    // SAFETY: the handle is of a library that stays loaded, the name ends with a zero byte.
    let found = unsafe { libc::dlsym(handle, name.as_ptr()) };
    assert!(!found.is_null(), "the library has no {name:?}: it is of another build");
    found
}

fn last_error() -> String {
    // SAFETY: `dlerror` gives null or a text that stays until the next call on this thread.
    unsafe {
        let text = libc::dlerror();
        if text.is_null() {
            String::new()
        } else {
            CStr::from_ptr(text).to_string_lossy().into_owned()
        }
    }
}

/// Where the library is: `SIMULATED_CUDA_LIBRARY`, or else beside this program, where Cargo builds it and
/// where it is put by hand, or else where it was built with this program.
///
/// # Panics
/// Panics if it is not there; the message says how to build it.
pub fn library_path() -> PathBuf {
    if let Some(path) = std::env::var_os("SIMULATED_CUDA_LIBRARY") {
        return path.into();
    }
    let program = std::env::current_exe().expect("a program knows its path");
    let beside = program.ancestors().skip(1).take(3);
    let places = beside.flat_map(|folder| [folder.to_owned(), folder.join("deps")]);
    let places = places.chain([PathBuf::from(env!("SIMULATED_CUDA_BUILT"))]);
    places.map(|folder| folder.join("libsimulated_cuda.so")).find(|path| path.is_file()).unwrap_or_else(|| {
        panic!(
            "no libsimulated_cuda.so near {} or in {}: depend on the package simulated-cuda, or build it with \
             `cargo build -p simulated-cuda` and set SIMULATED_CUDA_LIBRARY to its path",
            program.display(),
            env!("SIMULATED_CUDA_BUILT")
        )
    })
}

/// A folder in which the library has the names under which programs look for the driver. For
/// `LD_LIBRARY_PATH`.
///
/// # Panics
/// Panics if the library is not there, or the folder cannot be made beside it.
pub fn library_folder() -> PathBuf {
    let library = library_path();
    let folder = library.parent().unwrap_or(Path::new(".")).join("simulated-cuda");
    std::fs::create_dir_all(&folder).expect("the target folder can be written to");
    for name in ["libcuda.so", "libcuda.so.1"] {
        let link = folder.join(name);
        // Processes may make it at the same time: what counts is that it is there.
        let _ = std::os::unix::fs::symlink(&library, &link);
        assert!(link.exists(), "{} cannot be made", link.display());
    }
    folder
}

/// The variables with which a child process finds the simulated driver, configured so.
///
/// # Panics
/// Panics as [`library_folder`] does.
pub fn environment(config: &Config) -> [(&'static str, OsString); 2] {
    let folders = std::env::var_os("LD_LIBRARY_PATH");
    let folders = folders.iter().flat_map(std::env::split_paths);
    let path = std::env::join_paths(std::iter::once(library_folder()).chain(folders));
    let path = path.expect("the target folder's path has no colon");
    [("LD_LIBRARY_PATH", path), ("SIMULATED_CUDA", config.to_string().into())]
}
