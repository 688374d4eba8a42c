//! How much memory the process has, to see whether it grows.

/// Bytes by which the resident memory of the process grows over `rounds` rounds. A tenth as many run
/// before, so that what is kept for good is there already.
///
/// # Panics
///
/// Where `/proc` does not tell, as in all of this crate's tools.
pub fn growth(rounds: usize, mut round: impl FnMut()) -> u64 {
    for _ in 0..rounds / 10 {
        round();
    }
    let before = resident_bytes();
    for _ in 0..rounds {
        round();
    }
    resident_bytes().saturating_sub(before)
}

fn resident_bytes() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").expect("Linux has it");
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).expect("a line of it");
    let kib: u64 = line.split_whitespace().nth(1).expect("a number").parse().expect("a number");
    kib << 10
}

#[cfg(all(test, not(miri)))]
mod tests {
    use super::growth;

    #[test]
    fn what_is_kept_is_seen() {
        let mut kept = Vec::new();
        let grown = growth(1000, || kept.push(vec![1_u8; 10_000]));
        assert!(grown > 8_000_000, "{grown} bytes of {}", kept.len() * 10_000);
    }
}
