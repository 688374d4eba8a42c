//! Which backends have to be there: a test that finds none of its devices says so and passes, unless
//! whoever runs it knows that there is one.

/// Whether the environment variable `ARRAYBRIDGE_REQUIRE` names the backend, in a list with commas:
/// then its tests must fail where it is unavailable. `cargo xtask test-matrix` sets it.
pub fn is_required(backend: &str) -> bool {
    std::env::var("ARRAYBRIDGE_REQUIRE").is_ok_and(|names| lists(&names, backend))
}

fn lists(names: &str, backend: &str) -> bool {
    names.split(',').any(|name| name.trim() == backend)
}

#[cfg(test)]
mod tests {
    use super::lists;

    #[test]
    fn whole_names_are_listed() {
        assert!(lists("opencl", "opencl") && lists("torch, opencl", "opencl"));
        assert!(!lists("opencl2,torch", "opencl") && !lists("", "opencl"));
    }
}
