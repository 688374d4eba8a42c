//! The program `arraybridge`, with the backends of this package's features.

fn main() -> bridge_cli::Exit {
    bridge_cli::main()
}
