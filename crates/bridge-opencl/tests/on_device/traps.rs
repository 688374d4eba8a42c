//! What opencl3 and OpenCL drivers get wrong, or let callers get wrong, each by its name.

use crate::support::{Gate, array, on_every_device, references, settles_at};
use bridge_core::{
    Access, Array, DataType, Device, Error, ManagedTensor, Owner, TensorError, TensorSpec,
};
use bridge_opencl::{ClArray, ClDevice, ClQueue};
use opencl3::memory::{Buffer, CL_MEM_READ_WRITE, ClMem, retain_mem_object};

/// A buffer of opencl3's in the context of a device.
fn buffer<T>(device: &ClDevice, count: usize) -> Buffer<T> {
    let context = device.context().unwrap();
    // SAFETY: there is no host pointer, and the size fits.
    unsafe { Buffer::create(context, CL_MEM_READ_WRITE, count, std::ptr::null_mut()) }.unwrap()
}

#[test]
fn trap_from_buffer_for_cl_mem_gives_out_a_released_handle() {
    on_every_device(|queue| {
        let theirs = buffer::<f32>(queue.device(), 4);
        // A second reference, so that the count can still be asked for after the trap.
        // SAFETY: the buffer is live.
        unsafe { retain_mem_object(theirs.get()) }.unwrap();
        let before = theirs.reference_count().unwrap();
        // SAFETY: the buffer is live and idle, and any bits are an `f32`.
        let ours = unsafe { ClArray::from_buffer(queue, theirs, &[2, 2]) }.unwrap();
        // Ours was added before theirs was given up: the conversion would have left one too few.
        assert!(settles_at(&ours, before), "{} references, not {before}", references(&ours));
        let raw = ours.raw();
        drop(ours);
        queue.finish().unwrap();
        // SAFETY: the reference that was added above is given up.
        unsafe { opencl3::memory::release_mem_object(raw) }.unwrap();
    });
}

#[test]
fn trap_sizes_are_multiplied_unchecked() {
    on_every_device(|queue| {
        // 2^61 + 1 numbers of 8 bytes wrap around to 8 bytes.
        let wrapping = (1_usize << 61) + 1;
        for shape in [&[wrapping][..], &[1 << 32, 1 << 32, 16], &[usize::MAX, 2]] {
            let error = ClArray::zeros(queue, DataType::F64, shape).unwrap_err();
            assert!(
                matches!(error, Error::Tensor(TensorError::TooLarge { .. })),
                "{shape:?}: {error}"
            );
        }
        // opencl3's buffer does not know that it is too short for the shape.
        let short = buffer::<f64>(queue.device(), 3);
        // SAFETY: the buffer is live and idle.
        let refused = unsafe { ClArray::from_buffer(queue, short, &[4]) }.unwrap_err();
        assert!(refused.to_string().contains("outside its buffer of 24 bytes"), "{refused}");
        assert_eq!(refused.into_value().size().unwrap(), 24);
    });
}

#[test]
fn trap_allocation_fails_when_the_memory_is_first_used() {
    on_every_device(|queue| {
        // A driver that allocates lazily fails the first command on the buffer: here the command
        // that the array waits for.
        for status in [-4, -5, -6] {
            let gate = Gate::new(queue);
            let mut lazy = array(queue, &[1_u8; 100]);
            lazy.ready_after(gate.event()).unwrap();
            gate.fail(status);
            for told in [lazy.wait(), lazy.download().map(drop), lazy.to_vec::<u8>().map(drop)] {
                let Err(Error::Tensor(TensorError::OutOfMemory { device, .. })) = told else {
                    panic!("{status}: {told:?}")
                };
                let host = status == -6;
                assert_eq!(device == Device::CPU, host);
            }
        }
    });
}

#[test]
fn trap_a_failed_command_fails_those_behind_it() {
    on_every_device(|queue| {
        let gate = Gate::new(queue);
        let mut source = array(queue, &[1_u8; 100]);
        source.ready_after(gate.event()).unwrap();
        let copy = source.copy().unwrap();
        let copied_again = copy.copy().unwrap();
        gate.fail(-4);
        // Whatever stands between, what is told is why the first one failed.
        let second = copied_again.wait();
        let later = copy.cast(DataType::I32, bridge_core::Overflow::Wrap).map(drop);
        for told in [copy.wait(), copy.to_vec::<u8>().map(drop), second, later] {
            assert!(
                matches!(told, Err(Error::Tensor(TensorError::OutOfMemory { .. }))),
                "{told:?}"
            );
        }
        // The queue goes on.
        assert_eq!(array(queue, &[7_u8]).to_vec::<u8>().unwrap(), [7]);
    });
}

#[test]
fn trap_svm_is_mapped_for_the_host_and_unmapped_for_the_device() {
    on_every_device(|queue| {
        let capabilities = queue.device().capabilities();
        let made = ClArray::zeros_in_svm(queue, DataType::I32, &[64]);
        if !(capabilities.svm_coarse || capabilities.svm_fine) {
            let error = made.unwrap_err();
            assert!(error.to_string().contains("ClArray::zeros"), "{error}");
            return;
        }
        let mut svm = made.unwrap();
        svm.fill(3_i32).unwrap();
        if !capabilities.shares_host_memory() {
            assert_eq!(svm.to_vec::<i32>().unwrap(), [3; 64]);
            return;
        }
        let handle = svm.raw();
        let mut host = svm.into_host().unwrap();
        assert_eq!(host.as_slice::<i32>().unwrap(), [3; 64]);
        host.as_mut_slice::<i32>().unwrap()[5] = 50;
        let again = ClArray::in_place(queue, host).unwrap();
        assert_eq!(again.raw(), handle, "not the same memory");
        // A command of the device sees what the host wrote while it was mapped.
        assert_eq!(again.copy().unwrap().to_vec::<i32>().unwrap()[5], 50);
        let dropped_while_mapped = again.into_host().unwrap();
        drop(dropped_while_mapped);
        queue.finish().unwrap();
    });
}

#[test]
fn trap_svm_is_freed_after_the_last_command_on_it() {
    on_every_device(|queue| {
        let Ok(mut svm) = ClArray::zeros_in_svm(queue, DataType::U8, &[4096]) else { return };
        svm.wait().unwrap();
        let before = queue.device().memory().free;
        let gate = Gate::new(queue);
        svm.ready_after(gate.event()).unwrap();
        let copy = svm.copy().unwrap();
        drop(svm);
        gate.open();
        assert_eq!(copy.to_vec::<u8>().unwrap(), [0; 4096]);
        drop(copy);
        queue.finish().unwrap();
        let freed = (0..1000).any(|_| {
            std::thread::sleep(std::time::Duration::from_millis(1));
            queue.device().memory().free >= before
        });
        assert!(freed, "the memory leaked");
    });
}

#[test]
fn trap_a_release_that_fails_does_not_panic_in_drop() {
    // opencl3's types `expect` a release to succeed, so a failing one aborts during a panic.
    on_every_device(|queue| {
        let unwound = std::panic::catch_unwind(|| {
            let _array = array(queue, &[1_u8]);
            let _queue = ClQueue::new(queue.device()).unwrap();
            panic!("on purpose");
        });
        assert!(unwound.is_err());
        assert_eq!(array(queue, &[1_u8]).to_vec::<u8>().unwrap(), [1]);
    });
}

#[test]
fn trap_handles_of_another_context_mean_nothing_here() {
    use opencl3::context::Context;
    on_every_device(|queue| {
        let device = queue.device();
        let foreign = Context::from_device(&opencl3::device::Device::new(device.id())).unwrap();
        // SAFETY: there is no host pointer, and the size fits.
        let buffer =
            unsafe { Buffer::<u8>::create(&foreign, CL_MEM_READ_WRITE, 16, std::ptr::null_mut()) }
                .unwrap();
        let data = buffer.get();
        let spec = TensorSpec::row_major(DataType::U8, &[16]).unwrap();
        // SAFETY: the buffer is live and kept; that it is of another context is what is tested.
        let tensor = unsafe {
            let owner = Owner::keep(buffer);
            ManagedTensor::from_parts(data, spec, device.device(), Access::Exclusive, owner)
        }
        .unwrap();
        let refused = Array::new(tensor).export().and_then(|tensor| {
            bridge_core::NativeArray::import(tensor)
                .map(|array: ClArray| drop(array))
                .map_err(|refused| refused.map(Array::new))
        });
        let text = refused.unwrap_err().to_string();
        assert!(text.contains("another OpenCL context"), "{text}");
    });
}
