//! The whole program on a file of the given bytes.

use std::fs;
use std::path::{Path, PathBuf};

use bridge_cli::{Console, Output, run_on};

/// Lets the program list what is in a file of these bytes, and convert what can be converted: it does so or
/// says why not, within a limit of memory, and leaves no other file behind.
///
/// # Panics
///
/// Where the program ends in another way than its documentation says, or leaves a file behind.
pub fn run_program(bytes: &[u8]) {
    let folder = folder();
    let input = folder.join("in.bin");
    fs::write(&input, bytes).expect("there is room");
    let (input, output) = (text(&input), folder.join("out.safetensors"));
    let listed = run(&["info", &input, "--json"]);
    let convert =
        ["convert", &input, &text(&output), "--skip-unsupported", "--memory-limit", "16MiB"];
    let converted = run(&convert);
    assert!(listed <= 2 && converted <= 2, "exit codes {listed} and {converted}");
    assert_eq!(converted == 0, output.exists(), "a file is there if, and only if, all went well");
    if converted == 0 {
        fs::remove_file(&output).expect("it is there");
    }
    assert_eq!(fs::read_dir(&folder).expect("it is there").count(), 1, "files are left behind");
}

fn text(path: &Path) -> String {
    path.to_string_lossy().into_owned()
}

fn run(args: &[&str]) -> u8 {
    let (mut stdout, mut stderr) = (Vec::new(), Vec::new());
    let console = Console::new(Output::plain(&mut stdout), Output::plain(&mut stderr));
    run_on(["arraybridge"].iter().chain(args), console).code()
}

/// A folder of this process, in memory where the system has such a place.
fn folder() -> PathBuf {
    let memory = Path::new("/dev/shm");
    let place = if memory.is_dir() { memory.to_owned() } else { std::env::temp_dir() };
    let folder = place.join(format!("arraybridge-fuzz-{}", std::process::id()));
    fs::create_dir_all(&folder).expect("there is room");
    folder
}
