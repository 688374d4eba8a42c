//! Reads from PTX text which kernels it has, and the sizes of their parameters.

/// How a binary begins. Of binaries, the simulated NVRTC's are known: PTX text comes after this.
const BINARY: &str = "\u{7f}ELF";

/// Each entry's name and its parameters' sizes in bytes; `None` where the text is no PTX.
pub(crate) fn entries(text: &str) -> Option<Vec<(String, Vec<usize>)>> {
    let text = without_comments(text.strip_prefix(BINARY).unwrap_or(text));
    if !text.trim_start().starts_with(".version") || !text.contains(".target") {
        return None;
    }
    let mut entries = Vec::new();
    for after in text.split(".entry").skip(1) {
        let end = after.find(['(', '{'])?;
        let name = after[..end].trim().to_owned();
        let parameters = match after[end..].strip_prefix('(') {
            Some(list) => parameters(&list[..list.find(')')?])?,
            None => Vec::new(),
        };
        entries.push((name, parameters));
    }
    Some(entries)
}

fn parameters(list: &str) -> Option<Vec<usize>> {
    list.split(',').map(str::trim).filter(|one| !one.is_empty()).map(parameter).collect()
}

/// The size of one parameter: `.param .align 8 .b8 name[64]`.
fn parameter(text: &str) -> Option<usize> {
    let size = text.split_whitespace().find_map(|word| {
        let bits = word.strip_prefix('.')?.trim_start_matches(['u', 's', 'f', 'b']);
        bits.parse::<usize>().ok().map(|bits| bits / 8)
    })?;
    match text.split_once('[') {
        Some((_, count)) => size.checked_mul(count.split(']').next()?.trim().parse().ok()?),
        None => Some(size),
    }
}

fn without_comments(text: &str) -> String {
    let mut clean = String::new();
    let mut blocks = text.split("/*");
    clean.push_str(blocks.next().unwrap_or_default());
    for block in blocks {
        clean.push_str(block.split_once("*/").map_or("", |(_, rest)| rest));
    }
    clean.lines().map(|line| line.split("//").next().unwrap_or_default()).fold(
        String::new(),
        |mut all, line| {
            all.push_str(line);
            all.push('\n');
            all
        },
    )
}

#[cfg(test)]
mod tests {
    use super::entries;

    #[test]
    fn entries_are_found_with_the_sizes_of_their_parameters() {
        let text = "// made by hand\n.version 7.0\n.target sm_70\n.address_size 64\n
            .visible .entry copy(\n .param .u64 copy_to,\n .param .align 8 .b8 copy_shape[64], /* rank */
            .param .u32 copy_rank\n)\n{ ret; }\n.entry nothing() { ret; }";
        let expected = [("copy".to_owned(), vec![8, 64, 4]), ("nothing".to_owned(), vec![])];
        assert_eq!(entries(text).expect("it is PTX"), expected);
    }

    #[test]
    fn other_text_is_no_ptx() {
        assert_eq!(entries("__global__ void copy() {}"), None);
        assert_eq!(entries(""), None);
    }
}
