//! The functions of the library, with the names and types of nvrtc.h.

#![allow(non_snake_case, reason = "the names are NVRTC's")]

use std::ffi::{CStr, c_char, c_int};

const SUCCESS: c_int = 0;
const INVALID_INPUT: c_int = 3;
const INVALID_OPTION: c_int = 5;
const COMPILATION: c_int = 6;

const ARCHITECTURES: [c_int; 3] = [60, 70, 80];
const PTX: &str = include_str!("../../../crates/bridge-cuda/src/kernels/kernels.ptx");
const ENTRY: &str = ".visible .entry ";

/// What a handle points to.
struct Program {
    /// The header `entries.h`: the line of one kernel.
    entries: Option<String>,
    binary: Vec<u8>,
    log: Vec<u8>,
}

impl Program {
    fn compile(&mut self, options: &[String]) -> c_int {
        let known = ARCHITECTURES.map(|one| format!("--gpu-architecture=sm_{one}"));
        if !options.iter().any(|option| known.contains(option)) {
            self.log = format!("no known architecture in {options:?}\0").into_bytes();
            return INVALID_OPTION;
        }
        let kernel = self.entries.as_deref().and_then(|line| line.split(['(', ',', ')']).nth(1));
        let head = PTX.split(ENTRY).next().unwrap_or_default();
        let is_it = |text: &&str| text.split('(').next() == kernel;
        match PTX.split(ENTRY).skip(1).find(is_it) {
            Some(text) => {
                self.binary = ["\u{7f}ELF", head, ENTRY, text, "\0"].concat().into_bytes();
                SUCCESS
            }
            None => {
                self.log = format!("entries.h(1): error: no kernel {kernel:?}\0").into_bytes();
                COMPILATION
            }
        }
    }
}

/// # Safety
///
/// `text` ends with a zero byte.
unsafe fn text(text: *const c_char) -> String {
    // SAFETY: the caller promises it.
    unsafe { CStr::from_ptr(text) }.to_string_lossy().into_owned()
}

/// # Safety
///
/// There are `count` texts at `texts`, each with a zero byte in the end.
unsafe fn all(count: c_int, texts: *const *const c_char) -> Vec<String> {
    // SAFETY: the caller promises as many.
    (0..count as usize).map(|place| unsafe { text(*texts.add(place)) }).collect()
}

#[unsafe(no_mangle)]
unsafe extern "C" fn nvrtcVersion(major: *mut c_int, minor: *mut c_int) -> c_int {
    // SAFETY: as nvrtc.h says, both can be written.
    unsafe { (*major, *minor) = (12, 0) };
    SUCCESS
}

#[unsafe(no_mangle)]
extern "C" fn nvrtcGetErrorString(code: c_int) -> *const c_char {
    let text = match code {
        SUCCESS => c"NVRTC_SUCCESS",
        INVALID_INPUT => c"NVRTC_ERROR_INVALID_INPUT",
        INVALID_OPTION => c"NVRTC_ERROR_INVALID_OPTION",
        COMPILATION => c"NVRTC_ERROR_COMPILATION",
        _ => c"NVRTC_ERROR unknown",
    };
    text.as_ptr()
}

#[unsafe(no_mangle)]
unsafe extern "C" fn nvrtcGetNumSupportedArchs(count: *mut c_int) -> c_int {
    // SAFETY: as nvrtc.h says, it can be written.
    unsafe { *count = ARCHITECTURES.len() as c_int };
    SUCCESS
}

#[unsafe(no_mangle)]
unsafe extern "C" fn nvrtcGetSupportedArchs(architectures: *mut c_int) -> c_int {
    // SAFETY: as nvrtc.h says, there is room for as many as counted.
    unsafe { architectures.cast::<[c_int; 3]>().write_unaligned(ARCHITECTURES) };
    SUCCESS
}

#[unsafe(no_mangle)]
unsafe extern "C" fn nvrtcCreateProgram(
    program: *mut *mut Program,
    source: *const c_char,
    _name: *const c_char,
    count: c_int,
    headers: *const *const c_char,
    names: *const *const c_char,
) -> c_int {
    // SAFETY: as nvrtc.h says, the texts end with a zero byte, and there are `count` of both.
    let (source, headers, names) =
        unsafe { (text(source), all(count, headers), all(count, names)) };
    let included = ["kernels.h", "entries.h"];
    let whole = |name: &&str| source.contains(&format!("#include \"{name}\""));
    if !included.iter().all(whole) || !names.iter().any(|name| name == "arithmetic.h") {
        return INVALID_INPUT;
    }
    let entries = names.iter().position(|name| name == "entries.h");
    let entries = entries.and_then(|place| headers.get(place)).cloned();
    let new = Box::new(Program { entries, binary: Vec::new(), log: vec![0] });
    // SAFETY: as nvrtc.h says, it can be written.
    unsafe { *program = Box::into_raw(new) };
    SUCCESS
}

#[unsafe(no_mangle)]
unsafe extern "C" fn nvrtcDestroyProgram(program: *mut *mut Program) -> c_int {
    // SAFETY: the program was made above, and is destroyed once.
    drop(unsafe { Box::from_raw(*program) });
    SUCCESS
}

#[unsafe(no_mangle)]
unsafe extern "C" fn nvrtcCompileProgram(
    program: *mut Program,
    count: c_int,
    options: *const *const c_char,
) -> c_int {
    // SAFETY: the program is alive and used by one thread, and there are as many options.
    unsafe { (*program).compile(&all(count, options)) }
}

/// Functions that give bytes of a program, and how many they are.
macro_rules! results {
    ($($field:ident: $size:ident, $get:ident;)+) => {$(
        #[unsafe(no_mangle)]
        unsafe extern "C" fn $size(program: *const Program, size: *mut usize) -> c_int {
            // SAFETY: the program is alive, and the size can be written.
            unsafe { *size = (*program).$field.len() };
            SUCCESS
        }

        #[unsafe(no_mangle)]
        unsafe extern "C" fn $get(program: *const Program, bytes: *mut u8) -> c_int {
            // SAFETY: the program is alive, and there is room for as many bytes as it said.
            unsafe {
                let found = &(*program).$field;
                bytes.copy_from_nonoverlapping(found.as_ptr(), found.len());
            }
            SUCCESS
        }
    )+};
}

results! {
    binary: nvrtcGetCUBINSize, nvrtcGetCUBIN;
    log: nvrtcGetProgramLogSize, nvrtcGetProgramLog;
}
