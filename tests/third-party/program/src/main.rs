//! The program `arraybridge` with the backends for nalgebra and Arrow.

use bridge_arrow as _; // naming a crate links its backend
use bridge_nalgebra as _;

fn main() -> bridge_cli::Exit {
    bridge_cli::main()
}
