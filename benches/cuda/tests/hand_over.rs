//! The library is what Python makes of it: tensors go to us and back, and stay alive and right. Without a
//! GPU it is torch's tensors on the CPU that go.

use std::path::Path;
use std::process::Command;

const PROGRAM: &str = r#"
import ctypes, sys, torch
library = ctypes.PyDLL(sys.argv[1])
library.hand_over.restype = ctypes.c_int64
library.hand_over.argtypes = [ctypes.c_void_p] * 3 + [ctypes.c_uint64, ctypes.c_bool]
pointer = ctypes.pythonapi.PyCapsule_GetPointer
pointer.restype, pointer.argtypes = ctypes.c_void_p, [ctypes.py_object, ctypes.c_char_p]
table = getattr(torch.Tensor, '__dlpack_c_exchange_api__', None)
table = table or torch.Tensor.__c_dlpack_exchange_api__  # before DLPack 1.3 was out
api = table if isinstance(table, int) else pointer(table, b'dlpack_exchange_api')
release = ctypes.cast(ctypes.pythonapi.Py_DecRef, ctypes.c_void_p)
tensor = torch.arange(12.0).reshape(3, 4)
before = sys.getrefcount(tensor)
for through in (False, True):
    passed = library.hand_over(api, id(tensor), release, 10_000, through)
    assert passed > 0, passed
    print(f'through us: {through}, {passed / 10_000:.0f} ns')
assert sys.getrefcount(tensor) == before
assert tensor.tolist() == [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9, 10, 11]]
print('right')
"#;

#[test]
#[expect(clippy::print_stdout, reason = "a test that could not run says so")]
fn tensors_of_torch_go_there_and_back() {
    let python = std::env::var("ARRAYBRIDGE_PYTHON").unwrap_or_else(|_| {
        concat!(env!("CARGO_MANIFEST_DIR"), "/../../.venv/bin/python").to_owned()
    });
    let has_torch = Command::new(&python).args(["-c", "import torch"]).output();
    if !has_torch.is_ok_and(|output| output.status.success()) {
        println!("unavailable: {python} has no torch; set ARRAYBRIDGE_PYTHON");
        return;
    }
    // Cargo builds it beside the tests, for the package they are of.
    let program = std::env::current_exe().unwrap();
    let library = program.parent().map(Path::to_owned).unwrap().join("libtorch_hand_over.so");
    let output = Command::new(&python).args(["-c", PROGRAM]).arg(library).output().unwrap();
    let said = [output.stdout, output.stderr].concat();
    let said = String::from_utf8_lossy(&said);
    println!("{said}");
    assert!(output.status.success() && said.ends_with("right\n"), "{said}");
}
