//! Round trips leave nothing behind. Alone in its program, whose memory is measured.
#![cfg(target_os = "linux")]

use bridge_convert::Convert;
use bridge_core::ManagedTensor;
use bridge_host as _;
use bridge_torch as _;
use tch::Tensor;

#[test]
fn a_hundred_thousand_round_trips_leave_memory_flat() {
    // cudf#2400, tvm#6559: importers that never called the deleter.
    let round_trip = || {
        // What torch holds alone, what it shares, and what it made itself.
        let array = ndarray::ArrayD::<f32>::zeros(ndarray::IxDyn(&[16, 16]));
        let torch: Tensor = array.convert().unwrap();
        let back: bridge_cpu::ndarray::SharedArray<f32> = torch.convert().unwrap();
        let torch: Tensor = back.convert().unwrap();
        let view = torch.get(3);
        let shared: ManagedTensor = view.convert().unwrap();
        assert_eq!(shared.shape(), [16]);
        let doubled: ManagedTensor = (&torch + &torch).convert().unwrap();
        assert_eq!(doubled.shape(), [16, 16]);
    };
    let grown = bridge_testkit::growth(100_000, round_trip);
    // One leaked array an iteration would be 100 MB, one leaked handle 5 MB.
    assert!(grown < 2 << 20, "resident memory grew by {grown} bytes");
}
