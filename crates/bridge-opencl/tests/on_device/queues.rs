//! Commands on several queues are ordered by events. Each producer's queue is held up at a gate, so
//! that a consumer on another queue that does not wait for it reads the old data every time.

use crate::support;
use crate::support::{Gate, array, is_held_up};
use bridge_core::{
    Access, DataType, Device, Error, ManagedTensor, NativeArray, Owner, Runtime, Stream,
    TensorError, TensorSpec,
};
use bridge_opencl::{ClArray, ClQueue, OpenCl};

/// An array of ones on `queue`, which becomes twos when the gate opens.
fn produced_behind(gate: &Gate, queue: &ClQueue) -> ClArray {
    let mut made = array(queue, &[1_i32; 256]);
    gate.block(queue);
    made.fill(2_i32).unwrap();
    made
}

#[test]
fn what_one_queue_produces_another_consumes_in_order() {
    support::on_every_device(|producer| {
        let consumer = ClQueue::new(producer.device()).unwrap();
        let gate = Gate::new(producer);
        let made = produced_behind(&gate, producer);
        let copy = made.on_queue(&consumer).unwrap().copy().unwrap();
        assert!(is_held_up(&copy), "the consumer did not wait");
        gate.open();
        assert_eq!(copy.to_vec::<i32>().unwrap(), [2; 256]);
    });
}

#[test]
fn tensors_carry_the_queue_their_data_is_ready_on() {
    support::on_every_device(|default| {
        let producer = ClQueue::new(default.device()).unwrap();
        let gate = Gate::new(default);
        let tensor = produced_behind(&gate, &producer).export().unwrap();
        assert!(tensor.stream().is_some(), "the tensor says that its data is ready");
        // A view: it no longer leads to the array, only the queue's number does.
        let view = tensor.sliced(0, 0, 3, 1).unwrap();
        let array = ClArray::import(view).unwrap();
        assert!(array.queue().is_same_as(&producer));
        let copy = array.on_queue(default).unwrap().copy().unwrap();
        assert!(is_held_up(&copy), "the consumer did not wait");
        gate.open();
        assert_eq!(copy.to_vec::<i32>().unwrap(), [2; 3]);
    });
}

/// What reads the data of a tensor that is a view: it leads to no array any more.
fn read_by_a_view(array: ClArray) -> ClArray {
    let view = array.export().unwrap().sliced(0, 0, 3, 1).unwrap();
    ClArray::import(view).unwrap().copy().unwrap()
}

#[test]
fn an_array_that_changed_its_queue_is_waited_for_where_it_was_made() {
    support::on_every_device(|producer| {
        let consumer = ClQueue::new(producer.device()).unwrap();
        let gate = Gate::new(producer);
        // The last command runs on the queue that the array has left.
        let copy = read_by_a_view(produced_behind(&gate, producer).on_queue(&consumer).unwrap());
        assert!(is_held_up(&copy), "the consumer did not wait");
        gate.open();
        assert_eq!(copy.to_vec::<i32>().unwrap(), [2; 3]);
    });
}

#[test]
fn an_event_of_yours_is_waited_for_through_a_tensor() {
    support::on_every_device(|queue| {
        let gate = Gate::new(queue);
        let mut made = array(queue, &[1_i32; 8]);
        made.ready_after(gate.event()).unwrap();
        let copy = read_by_a_view(made);
        assert!(is_held_up(&copy), "the consumer did not wait");
        gate.open();
        assert_eq!(copy.to_vec::<i32>().unwrap(), [1; 3]);
        // One that fails is told to whom the tensor came.
        let gate = Gate::new(queue);
        let mut made = array(queue, &[1_i32; 8]);
        made.ready_after(gate.event()).unwrap();
        let copy = read_by_a_view(made);
        gate.fail(-4);
        let told = copy.to_vec::<i32>();
        assert!(matches!(told, Err(Error::Tensor(TensorError::OutOfMemory { .. }))), "{told:?}");
    });
}

#[test]
fn an_event_of_yours_is_waited_for_besides_the_last_command() {
    support::on_every_device(|queue| {
        let producer = ClQueue::new(queue.device()).unwrap();
        let gate = Gate::new(&producer);
        let mut made = produced_behind(&gate, &producer);
        let done = queue.marker().unwrap();
        done.wait(queue.device().device()).unwrap();
        made.ready_after(done).unwrap();
        assert!(is_held_up(&made), "the last command was forgotten");
        let yours = Gate::new(queue);
        made.ready_after(yours.event()).unwrap();
        let copy = made.on_queue(queue).unwrap().copy().unwrap();
        gate.open();
        assert!(is_held_up(&copy), "the event of yours was forgotten");
        yours.open();
        assert_eq!(copy.to_vec::<i32>().unwrap(), [2; 256]);
    });
}

#[test]
fn an_event_of_yours_does_not_hide_that_the_last_command_failed() {
    support::on_every_device(|queue| {
        let gate = Gate::new(queue);
        let mut made = array(queue, &[1_i32; 8]);
        made.ready_after(gate.event()).unwrap();
        gate.fail(-4);
        let told = made.ready_after(queue.marker().unwrap());
        assert!(matches!(told, Err(Error::Tensor(TensorError::OutOfMemory { .. }))), "{told:?}");
        assert!(made.to_vec::<i32>().is_err());
    });
}

#[test]
fn a_queue_that_runs_its_commands_out_of_order_is_refused() {
    use opencl3::command_queue::{CL_QUEUE_OUT_OF_ORDER_EXEC_MODE_ENABLE, CommandQueue};
    for device in support::devices() {
        let context = device.context().unwrap();
        let properties = CL_QUEUE_OUT_OF_ORDER_EXEC_MODE_ENABLE;
        // SAFETY: the context and its device are live.
        let Ok(queue) = (unsafe { CommandQueue::create(context, device.id(), properties) }) else {
            continue; // The device has none.
        };
        let error = ClQueue::of(device, &queue).unwrap_err();
        assert!(error.to_string().contains("out of order"), "{error}");
    }
}

#[test]
fn borrowed_tensors_are_waited_for() {
    support::on_every_device(|default| {
        let producer = ClQueue::new(default.device()).unwrap();
        let gate = Gate::new(default);
        let tensor = produced_behind(&gate, &producer).export().unwrap();
        let opener = std::thread::spawn(move || {
            std::thread::sleep(std::time::Duration::from_millis(50));
            gate.open();
        });
        let host = OpenCl.transfer(&tensor, Device::CPU).unwrap();
        opener.join().unwrap();
        assert_eq!(host.as_slice::<i32>().unwrap(), [2; 256]);
    });
}

#[test]
fn an_array_read_on_one_queue_is_not_overwritten_by_another() {
    support::on_every_device(|reader| {
        let writer = ClQueue::new(reader.device()).unwrap();
        let gate = Gate::new(reader);
        let source = array(reader, &[1_i32; 256]);
        gate.block(reader);
        let copy = source.copy().unwrap();
        let mut source = source.on_queue(&writer).unwrap();
        source.fill(9_i32).unwrap();
        assert!(is_held_up(&source), "the writer did not wait");
        gate.open();
        source.wait().unwrap();
        assert_eq!(copy.to_vec::<i32>().unwrap(), [1; 256]);
        assert_eq!(source.to_vec::<i32>().unwrap(), [9; 256]);
    });
}

#[test]
fn an_array_keeps_its_queue_through_a_tensor() {
    support::on_every_device(|default| {
        let own = ClQueue::new(default.device()).unwrap();
        let array = ClArray::zeros(&own, DataType::U8, &[3]).unwrap();
        array.wait().unwrap();
        let back = ClArray::import(array.export().unwrap()).unwrap();
        assert!(back.queue().is_same_as(&own));
    });
}

#[test]
fn a_stream_that_is_no_queue_is_refused() {
    support::on_every_device(|queue| {
        let array = array(queue, &[1_u8, 2]);
        array.wait().unwrap();
        let (data, owner) = (array.raw(), Owner::keep(array));
        let spec = TensorSpec::row_major(DataType::U8, &[2]).unwrap();
        // SAFETY: the memory is the array's, which is kept. The stream is a lie, but nothing is
        // done with it other than finding out.
        let tensor = unsafe {
            let device = queue.device().device();
            ManagedTensor::from_parts(data, spec, device, Access::Exclusive, owner)
                .unwrap()
                .into_read_only()
                .ready_on(Some(Stream(u64::MAX)))
        };
        let refused = ClArray::import(tensor).unwrap_err();
        assert!(refused.to_string().contains("no live command queue"), "{refused}");
        assert_eq!(refused.into_value().data(), data);
    });
}

#[test]
fn a_queue_of_another_context_is_refused() {
    use opencl3::command_queue::CommandQueue;
    use opencl3::context::Context;
    for device in support::devices() {
        let foreign = Context::from_device(&opencl3::device::Device::new(device.id())).unwrap();
        // SAFETY: the context and its device are live.
        let queue = unsafe { CommandQueue::create(&foreign, device.id(), 0) }.unwrap();
        let error = ClQueue::of(device, &queue).unwrap_err();
        assert!(error.to_string().contains("another context"), "{error}");
    }
}

#[test]
fn synchronizing_a_device_waits_for_every_queue() {
    support::on_every_device(|default| {
        let own = ClQueue::new(default.device()).unwrap();
        let gate = Gate::new(default);
        let array = produced_behind(&gate, &own);
        let opener = std::thread::spawn(move || {
            std::thread::sleep(std::time::Duration::from_millis(50));
            gate.open();
        });
        OpenCl.synchronize(default.device().device()).unwrap();
        assert!(array.ready().is_none_or(|event| event.is_done()), "it did not wait");
        opener.join().unwrap();
    });
}
