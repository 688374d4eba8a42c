//! The kernels as PTX, which the driver compiles for its GPU.
//!
//! `cargo xtask ptx` compiles `kernels.cu` to `kernels.ptx`. Each kernel is given to the driver as a
//! module of its own: compiling all of them would delay the first use by seconds.

/// All kernels.
const PTX: &str = include_str!("kernels.ptx");

/// What a kernel begins with.
const ENTRY: &str = ".visible .entry ";

/// The module of one kernel, ending with a zero byte as the driver requires; `None` where no kernel
/// has this name.
pub(crate) fn module_of(kernel: &str) -> Option<String> {
    let head = &PTX[..PTX.find(ENTRY)?];
    let is_it = |text: &&str| text.strip_prefix(kernel).is_some_and(|rest| rest.starts_with('('));
    let text = PTX.split(ENTRY).skip(1).find(is_it)?;
    Some([head, ENTRY, text, "\0"].concat())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_module_has_its_kernel_and_no_other() {
        for kernel in ["copy_1", "copy_16", "cast_any", "cast_f32_f16", "cast_f32_f16_strided"] {
            let module = module_of(kernel).unwrap();
            assert!(module.contains(&format!("{ENTRY}{kernel}(")), "{kernel}");
            assert!(module.contains("\n.version 8.0\n") && module.ends_with('\0'), "{kernel}");
            assert_eq!(module.matches(ENTRY).count(), 1, "{kernel}");
        }
        assert_eq!(module_of("copy"), None);
    }
}
