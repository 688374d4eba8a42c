//! PyTorch itself, run by Python.

use std::io::Write;
use std::process::Command;

use crate::support::Folder;

/// Runs a script in the folder; not where there is no Python, which is said.
pub(crate) fn python(folder: &Folder, script: &str) -> bool {
    let Some(python) = python_peer::python() else {
        // Not captured, as what `eprintln!` says would be; without a terminal nobody is told.
        let missing = format!("not compared with Python: {}", python_peer::REMEDY);
        let _ = writeln!(std::io::stderr(), "{missing}");
        return false;
    };
    let script = format!("import torch, numpy\nfrom torch import nn\n{script}");
    let ran = Command::new(python).args(["-c", &script]).current_dir(folder.path()).output();
    let ran = ran.unwrap();
    assert!(ran.status.success(), "{}", String::from_utf8_lossy(&ran.stderr));
    true
}
