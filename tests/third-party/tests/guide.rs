//! `docs/writing-a-backend.md` and `docs/program.md` show the crates of this workspace as they are.

use std::fs;
use std::path::Path;

/// A fenced block whose info string names a file of the repository, and the file.
struct Excerpt<'a> {
    file: &'a str,
    lines: Vec<&'a str>,
}

fn excerpts(guide: &str) -> Vec<Excerpt<'_>> {
    let mut found = Vec::new();
    let mut lines = guide.lines();
    while let Some(line) = lines.next() {
        let Some(info) = line.strip_prefix("```") else { continue };
        let body = lines.by_ref().take_while(|line| !line.starts_with("```")).collect();
        if let Some((_, file)) = info.split_once(' ') {
            found.push(Excerpt { file, lines: body });
        }
    }
    found
}

#[test]
fn every_excerpt_is_in_the_source() {
    is_in_the_source("docs/writing-a-backend.md", 9);
    is_in_the_source("docs/program.md", 1);
}

fn is_in_the_source(page: &str, least: usize) {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let page = fs::read_to_string(root.join(page)).unwrap();
    let excerpts = excerpts(&page);
    assert!(excerpts.len() >= least, "only {} excerpts were found", excerpts.len());
    for Excerpt { file, lines } in excerpts {
        let source = fs::read_to_string(root.join(file)).unwrap();
        let source: Vec<&str> = source.lines().collect();
        assert!(
            source.windows(lines.len()).any(|window| window == lines),
            "this excerpt is not in {file}:\n{}",
            lines.join("\n")
        );
    }
}
