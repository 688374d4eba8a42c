//! Running out of device memory is told by type, and loses nothing.

use bridge_convert::ConvertByName;
mod support;

use bridge_core::{
    Allocator, Array, DataType, Device, Error, ManagedTensor, Options, Registration, Registry,
    TensorError, TensorSpec,
};
use bridge_opencl::{ClArray, OpenCl};
use support::on_every_device;

#[test]
fn a_buffer_above_the_limit_is_refused_before_the_driver_is_asked() {
    on_every_device(|queue| {
        let limit = queue.device().capabilities().largest_buffer;
        let above = usize::try_from(limit).unwrap() + 1;
        for made in [
            ClArray::zeros(queue, DataType::U8, &[above]),
            ClArray::zeros_in_svm(queue, DataType::U8, &[above]),
        ] {
            match made {
                Err(Error::Tensor(TensorError::OutOfMemory { device, requested })) => {
                    assert_eq!((device, requested), (queue.device().device(), limit + 1));
                }
                // No shared virtual memory at all.
                Err(Error::Unsupported { .. }) => {}
                other => panic!("{other:?}"),
            }
        }
    });
}

#[test]
fn what_is_allocated_is_missing_from_what_is_free() {
    on_every_device(|queue| {
        let device = queue.device().device();
        let spec = TensorSpec::row_major(DataType::U8, &[1 << 20]).unwrap();
        let before = OpenCl.usage(device).unwrap();
        let held = OpenCl.allocate(&spec, device).unwrap();
        let during = OpenCl.usage(device).unwrap();
        assert!(during.free <= before.free - (1 << 20), "{before:?} {during:?}");
        let holdings = OpenCl.holdings(device).unwrap().unwrap();
        assert_eq!((holdings.in_use, holdings.cached), (during.total - during.free, 0));
        drop(held);
        assert_eq!(OpenCl.usage(device).unwrap(), before);
        assert_eq!(OpenCl.holdings(Device::CPU).unwrap(), None);
        assert!(!OpenCl.holds(Device::CPU));
    });
}

/// Runs in a process of its own, which may have three GiB of addresses: PoCL's memory is its.
#[test]
#[cfg(target_os = "linux")]
fn a_driver_that_has_no_more_memory_is_out_of_memory() {
    const LIMITED: &str = "ARRAYBRIDGE_TEST_LIMITED";
    if std::env::var_os(LIMITED).is_none() {
        let this = std::env::current_exe().unwrap();
        let name = "a_driver_that_has_no_more_memory_is_out_of_memory";
        let status = std::process::Command::new("sh")
            .args(["-c", "ulimit -v 3145728 && exec \"$0\" \"$@\""])
            .arg(this)
            .args(["--exact", name, "--nocapture"])
            .env(LIMITED, "1")
            .status()
            .unwrap();
        assert!(status.success());
        return;
    }
    on_every_device(|queue| {
        if !queue.device().platform().contains("Portable Computing Language") {
            return;
        }
        let piece = 256 << 20;
        let host = ManagedTensor::from_vec(vec![5_u8; piece], &[piece]).unwrap();
        let mut held = Vec::new();
        let error = loop {
            match ClArray::zeros(queue, DataType::U8, &[piece]) {
                Ok(array) => held.push(array),
                Err(error) => break error,
            }
            assert!(held.len() < 16, "the limit is not kept");
        };
        assert!(matches!(error, Error::Tensor(TensorError::OutOfMemory { .. })), "{error}");
        // A conversion that needs memory gives its array back.
        let registry = Registry::new([
            Registration::backend(&OpenCl),
            Registration::runtime(&OpenCl),
            Registration::allocator(&OpenCl),
            Registration::host_tools(&bridge_host::HostKernels),
        ]);
        let options =
            Options::default().on(queue.device().device()).copy(bridge_core::CopyPolicy::Always);
        let refused = registry.convert(Array::new(host), "opencl", options).unwrap_err();
        assert!(
            matches!(refused.error(), Error::Tensor(TensorError::OutOfMemory { .. })),
            "{refused}"
        );
        let back: ManagedTensor = refused.into_value().export().unwrap();
        assert_eq!(back.as_slice::<u8>().unwrap()[piece - 1], 5);
        // And when memory is free again, all is well.
        held.clear();
        drop(back);
        queue.finish().unwrap();
        let again = (0..100).any(|_| {
            std::thread::sleep(std::time::Duration::from_millis(10));
            ClArray::zeros(queue, DataType::U8, &[piece]).is_ok()
        });
        assert!(again, "memory that was given back cannot be had again");
    });
}
