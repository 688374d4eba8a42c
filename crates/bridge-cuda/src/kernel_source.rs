//! The kernels as CUDA C++, for NVRTC: `kernels/kernels.cu`, with the line of `entries.h` that makes
//! the kernel that is asked for.

/// A program as NVRTC takes it.
#[derive(Debug)]
pub(crate) struct Program {
    pub(crate) source: &'static str,
    /// Names and texts.
    pub(crate) headers: [(&'static str, String); 3],
}

const ENTRIES: &str = include_str!("kernels/entries.h");

/// The program that makes one kernel; `None` where there is no kernel of this name.
pub(crate) fn program_of(kernel: &str) -> Option<Program> {
    let entry = ENTRIES.lines().find(|line| name_of(line) == Some(kernel))?;
    Some(program(format!("{entry}\n")))
}

/// The kernel that a line of the entries makes.
fn name_of(line: &str) -> Option<&str> {
    let is_comment = line.starts_with("//");
    line.split(['(', ',', ')']).nth(1).filter(|_| !is_comment)
}

fn program(entries: String) -> Program {
    Program {
        source: include_str!("kernels/kernels.cu"),
        headers: [
            ("arithmetic.h", include_str!("kernels/arithmetic.h").to_owned()),
            ("kernels.h", include_str!("kernels/kernels.h").to_owned()),
            ("entries.h", entries),
        ],
    }
}

/// The names of all kernels.
#[cfg(test)]
pub(crate) fn names() -> Vec<&'static str> {
    ENTRIES.lines().filter_map(name_of).collect()
}

/// The program that makes all kernels.
#[cfg(test)]
pub(crate) fn all() -> Program {
    program(ENTRIES.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernel_ptx;

    #[test]
    fn every_line_of_the_entries_is_a_kernel_of_the_ptx() {
        assert!(names().len() > 50, "{:?}", names());
        for kernel in names() {
            assert!(kernel_ptx::module_of(kernel).is_some(), "{kernel}: run `cargo xtask ptx`");
            let entries = &program_of(kernel).unwrap().headers[2].1;
            assert_eq!((entries.lines().count(), name_of(entries)), (1, Some(kernel)));
        }
        assert!(program_of("copy").is_none());
    }
}
