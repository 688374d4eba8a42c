//! What only a device would show, decided without one.

use bridge_core::Stream;

use super::*;

type Change = fn(&mut Tensor);

/// A vector, handed to torch, changed there and taken back while torch works on `torchs`.
fn back_from_torch(torchs: Option<Stream>, change: Change) -> ManagedTensor {
    let vector = ManagedTensor::from_vec(vec![1_f32; 6], &[2, 3]).unwrap();
    let mut torch = import_memory(vector).unwrap();
    change(&mut torch);
    let view = view_of(&torch).unwrap();
    assert!(view.is_alone());
    let imported = imported_of(&view).unwrap();
    export_imported(torch, &view, imported, torchs).unwrap()
}

const CHANGES: [(&str, Change); 3] = [
    ("nothing", |_| ()),
    ("mul_", |tensor| {
        let _ = tensor.g_mul_scalar_(2);
    }),
    ("transpose_", |tensor| {
        let _ = tensor.transpose_(0, 1);
    }),
];

#[test]
fn what_torch_did_on_a_device_is_ready_on_the_stream_that_torch_works_on() {
    // cuda-python#1863: the order of streams lost, so that the consumer reads before the kernel is done.
    for (what, change) in CHANGES {
        let back = back_from_torch(Some(Stream(9)), change);
        assert_eq!(back.stream(), Some(Stream(9)), "{what}");
    }
}

#[test]
fn what_torch_did_on_the_host_is_ready_for_everybody() {
    for (what, change) in CHANGES {
        assert_eq!(back_from_torch(None, change).stream(), None, "{what}");
    }
}
