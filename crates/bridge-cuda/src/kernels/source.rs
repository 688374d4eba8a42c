//! The kernels as CUDA C++, for NVRTC: `kernels.cu`, with the one line of `entries.h` that defines
//! the kernel.

/// A program, as NVRTC takes it.
#[derive(Debug)]
pub(crate) struct Program {
    pub(crate) source: &'static str,
    /// File names and contents.
    pub(crate) headers: [(&'static str, String); 3],
}

const ENTRIES: &str = include_str!("entries.h");

/// The program with one kernel; `None` where no kernel has this name.
pub(crate) fn program_of(kernel: &str) -> Option<Program> {
    let entry = ENTRIES.lines().find(|line| name_of(line) == Some(kernel))?;
    Some(program(format!("{entry}\n")))
}

/// The name of the kernel that a line of the entries defines.
fn name_of(line: &str) -> Option<&str> {
    let is_comment = line.starts_with("//");
    line.split(['(', ',', ')']).nth(1).filter(|_| !is_comment)
}

fn program(entries: String) -> Program {
    Program {
        source: include_str!("kernels.cu"),
        headers: [
            ("arithmetic.h", include_str!("arithmetic.h").to_owned()),
            ("kernels.h", include_str!("kernels.h").to_owned()),
            ("entries.h", entries),
        ],
    }
}

/// The names of all kernels.
#[cfg(test)]
pub(crate) fn names() -> Vec<&'static str> {
    ENTRIES.lines().filter_map(name_of).collect()
}

/// The program with all kernels.
#[cfg(test)]
pub(crate) fn all() -> Program {
    program(ENTRIES.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernels::ptx;

    #[test]
    fn every_line_of_the_entries_is_a_kernel_of_the_ptx() {
        assert!(names().len() > 50, "{:?}", names());
        for kernel in names() {
            assert!(ptx::module_of(kernel).is_some(), "{kernel}: run `cargo xtask ptx`");
            let entries = &program_of(kernel).unwrap().headers[2].1;
            assert_eq!((entries.lines().count(), name_of(entries)), (1, Some(kernel)));
        }
        assert!(program_of("copy").is_none());
    }
}
