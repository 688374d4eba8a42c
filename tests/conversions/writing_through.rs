//! One memory under several frameworks: what one writes, the others read.
#![cfg(any(feature = "torch", feature = "opencl"))]

use arraybridge::backends::ndarray::SharedArray;
use arraybridge::{Convert, CopyPolicy, Options};
use ndarray::{ArrayD, array};

const NEVER: fn() -> Options<'static> = || Options::default().copy(CopyPolicy::Never);

fn numbers() -> ArrayD<f32> {
    array![[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]].into_dyn()
}

#[cfg(feature = "torch")]
mod torch {
    use super::*;
    use arraybridge::Error;
    use tch::Tensor;

    #[test]
    fn torch_writes_into_the_vector_of_an_ndarray() {
        let array = numbers();
        let before = array.as_ptr().addr();
        let tensor: Tensor = array.convert_to(NEVER()).unwrap();
        assert_eq!(tensor.data_ptr().addr(), before);

        let mut alias = tensor.get(1);
        let shared: SharedArray<f32> = tensor.convert_to(NEVER()).unwrap();
        let _ = alias.fill_(7.0);
        assert_eq!(shared.as_ptr().addr(), before);
        let seen = shared.try_to_owned().unwrap();
        assert_eq!(seen, array![[1.0, 2.0, 3.0], [7.0, 7.0, 7.0]].into_dyn());

        // While torch has an alias the vector is not given back; after that it is.
        let refused = shared.convert_to::<ArrayD<f32>>(NEVER()).unwrap_err();
        assert!(matches!(refused.error(), Error::WouldCopy { .. }), "{refused}");
        drop(alias);
        assert_eq!(refused.into_value().try_to_owned().unwrap()[[1, 2]], 7.0);
    }

    #[test]
    fn ndarray_writes_into_torchs_memory() {
        let tensor = Tensor::zeros([2, 3], (tch::Kind::Float, tch::Device::Cpu));
        let alias = tensor.shallow_clone();
        let mut shared: SharedArray<f32> = tensor.convert_to(NEVER()).unwrap();
        // SAFETY: nothing else reads or writes the tensor while the view lives.
        unsafe { shared.view_mut_shared() }.unwrap()[[0, 1]] = 5.0;
        assert_eq!(alias.double_value(&[0, 1]), 5.0);
    }

    #[test]
    fn candles_read_only_memory_reaches_torch_by_name_only() {
        let candle: candle_core::Tensor = numbers().convert().unwrap();
        let refused = candle.convert_to::<Tensor>(NEVER()).unwrap_err();
        assert!(refused.to_string().contains("read-only"), "{refused}");
        let candle = refused.into_value();
        let shared = candle.clone().convert_to::<Tensor>(promised(NEVER())).unwrap();
        assert_eq!(Vec::<f32>::try_from(shared.reshape([6])).unwrap(), [1., 2., 3., 4., 5., 6.]);
        let mut copied: Tensor = candle.clone().convert().unwrap();
        let _ = copied.fill_(0.0);
        assert_eq!(candle.to_vec2::<f32>().unwrap()[0], [1.0, 2.0, 3.0]);
    }
}

#[cfg(feature = "opencl")]
mod opencl {
    use super::*;
    use arraybridge::backends::opencl::{ClArray, OpenCl};
    use arraybridge::{Backend, ManagedTensor};

    /// Whether there is a device that shares the host's memory; said where there is none.
    #[expect(clippy::print_stderr, reason = "what is not tested is said")]
    fn shares_memory() -> bool {
        let shares = arraybridge::backends::opencl::ClDevice::all()
            .is_ok_and(|all| all.iter().any(|one| one.capabilities().shares_host_memory()));
        if !shares {
            assert!(!bridge_testkit::is_required("opencl"), "{:?}", OpenCl.availability());
            eprintln!("not tested: {:?}", OpenCl.availability());
        }
        shares
    }

    #[test]
    fn a_device_writes_into_the_vector_of_an_ndarray() {
        if !shares_memory() {
            return;
        }
        let array = numbers();
        let before = array.as_ptr();
        let (mut on_device, report) = array.convert_reported::<ClArray>(NEVER()).unwrap();
        assert_eq!(report.steps[0].name(), "map", "{report}");
        on_device.fill(9.0_f32).unwrap();
        let array: ArrayD<f32> = on_device.convert_to(NEVER()).unwrap();
        assert_eq!((array.as_ptr(), array.sum()), (before, 54.0));
    }

    #[test]
    fn the_host_writes_into_a_devices_buffer() {
        if !shares_memory() {
            return;
        }
        let queue = arraybridge::backends::opencl::ClDevice::all().unwrap()[0].queue().unwrap();
        let array = ClArray::from_slice(&queue, &[1_i32, 2, 3, 4], &[4]).unwrap();
        let mut shared: SharedArray<i32> = array.convert_to(NEVER()).unwrap();
        shared.view_mut().unwrap()[2] = 30;
        let back: ClArray = shared.convert_to(NEVER()).unwrap();
        assert_eq!(back.to_vec::<i32>().unwrap(), [1, 2, 30, 4]);
    }

    #[cfg(feature = "torch")]
    #[test]
    fn a_device_writes_into_torchs_memory() {
        if !shares_memory() {
            return;
        }
        let tensor = tch::Tensor::zeros([64, 64], (tch::Kind::Float, tch::Device::Cpu));
        let (alias, before) = (tensor.shallow_clone(), tensor.data_ptr().addr());
        let mut on_device: ClArray = tensor.convert_to(NEVER()).unwrap();
        on_device.fill(2.0_f32).unwrap();
        let on_host: ManagedTensor =
            on_device.convert_to(NEVER().on(arraybridge::Device::CPU)).unwrap();
        assert_eq!(on_host.first_element().addr(), before);
        assert_eq!(alias.sum(tch::Kind::Float).double_value(&[]), 8192.0);
        let tensor: tch::Tensor = on_host.convert_to(NEVER()).unwrap();
        assert_eq!(tensor.data_ptr().addr(), before);
    }
}

/// The options, with the promise that nobody writes to what is converted under them.
fn promised(options: Options) -> Options {
    // SAFETY: no test that asks for it writes to the result.
    unsafe { options.ignore_read_only() }
}
