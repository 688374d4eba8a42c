//! Pinned host memory.

use super::super::arguments::Out;
use super::super::code::{Code, Outcome};
use super::super::memory::Kind;
use super::super::simulation::Simulation;

export! {
    fn cuMemHostAlloc(cuda, address: Out<u64>, bytes: usize, flags: u32) {
        pin(cuda, &address, bytes, flags)
    }

    fn cuMemAllocHost_v2(cuda, address: Out<u64>, bytes: usize) {
        pin(cuda, &address, bytes, 0)
    }

    fn cuMemFreeHost(cuda, address: u64) {
        if address == 0 { Ok(()) } else { cuda.unpin(address, false) }
    }

    fn cuMemHostRegister_v2(cuda, address: u64, bytes: usize, flags: u32) {
        let context = cuda.current()?;
        if flags > 15 {
            return Err(Code::INVALID_VALUE);
        }
        cuda.register(context, address, bytes as u64, flags)
    }

    fn cuMemHostUnregister(cuda, address: u64) {
        cuda.unpin(address, true)
    }

    fn cuMemHostGetDevicePointer_v2(cuda, device: Out<u64>, host: u64, flags: u32) {
        let pinned = cuda.known(host, 1)?.is_host_memory();
        if !pinned || flags != 0 {
            return Err(Code::INVALID_VALUE);
        }
        device.set(host) // one address space for all
    }

    fn cuMemHostGetFlags(cuda, flags: Out<u32>, host: u64) {
        match cuda.known(host, 1)?.kind {
            Kind::Pinned { flags: found } => flags.set(found),
            _ => Err(Code::INVALID_VALUE),
        }
    }
}

fn pin(cuda: &mut Simulation, address: &Out<u64>, bytes: usize, flags: u32) -> Outcome {
    let context = cuda.current()?;
    if address.is_null() || flags > 7 {
        return Err(Code::INVALID_VALUE);
    }
    address.set(cuda.allocate_host(context, Kind::Pinned { flags }, bytes as u64)?)
}
