//! Memory of devices, and memory that host and devices share.

use std::ffi::c_int;

use super::super::arguments::Out;
use super::super::code::Code;
use super::super::memory::Kind;
use super::super::scheduler::Queued;
use super::super::work::Work;
use super::pool::Location;

export! {
    fn cuMemAlloc_v2(cuda, address: Out<u64>, bytes: usize) {
        let context = cuda.current()?;
        if address.is_null() {
            return Err(Code::INVALID_VALUE);
        }
        let device = cuda.device_of(context);
        address.set(cuda.allocate_device(context, device, None, bytes as u64)?)
    }

    fn cuMemAllocPitch_v2(cuda, address: Out<u64>, pitch: Out<usize>, width: usize, height: usize, element: u32) {
        let context = cuda.current()?;
        if address.is_null() || pitch.is_null() || !matches!(element, 4 | 8 | 16) {
            return Err(Code::INVALID_VALUE);
        }
        let row = width.checked_next_multiple_of(512).ok_or(Code::INVALID_VALUE)?;
        let bytes = row.checked_mul(height).ok_or(Code::OUT_OF_MEMORY)?;
        let device = cuda.device_of(context);
        address.set(cuda.allocate_device(context, device, None, bytes as u64)?)?;
        pitch.set(row)
    }

    fn cuMemAllocManaged(cuda, address: Out<u64>, bytes: usize, flags: u32) {
        let context = cuda.current()?;
        if address.is_null() || !matches!(flags, 1 | 2) {
            return Err(Code::INVALID_VALUE);
        }
        address.set(cuda.allocate_host(context, Kind::Managed, bytes as u64)?)
    }

    fn cuMemFree_v2(cuda, address: u64) {
        cuda.current_or_broken()?;
        if address == 0 { Ok(()) } else { cuda.free(address) }
    }

    fn cuMemAllocAsync(cuda, address: Out<u64>, bytes: usize, stream: usize) {
        let stream = cuda.stream(stream)?;
        if address.is_null() {
            return Err(Code::INVALID_VALUE);
        }
        address.set(cuda.allocate_async(stream, None, bytes as u64)?)
    }

    fn cuMemAllocFromPoolAsync(cuda, address: Out<u64>, bytes: usize, pool: usize, stream: usize) {
        let (pool, stream) = (cuda.pool(pool)?, cuda.stream(stream)?);
        if address.is_null() {
            return Err(Code::INVALID_VALUE);
        }
        address.set(cuda.allocate_async(stream, Some(pool), bytes as u64)?)
    }

    fn cuMemFreeAsync(cuda, address: u64, stream: usize) {
        let stream = cuda.stream_or_broken(stream)?;
        if address == 0 { Ok(()) } else { cuda.free_async(address, stream) }
    }

    fn cuMemGetInfo_v2(cuda, free: Out<usize>, total: Out<usize>) {
        let context = cuda.current()?;
        free.set(cuda.available(cuda.device_of(context)) as usize)?;
        total.set(cuda.config.memory as usize)
    }

    fn cuMemPrefetchAsync(cuda, address: u64, bytes: usize, device: c_int, stream: usize) {
        let stream = cuda.stream(stream)?;
        cuda.known(address, bytes as u64)?;
        cuda.enqueue(stream, Queued::of(Work::Nothing));
        Ok(())
    }

    fn cuMemPrefetchAsync_v2(cuda, address: u64, bytes: usize, location: Location, flags: u32, stream: usize) {
        let stream = cuda.stream(stream)?;
        cuda.known(address, bytes as u64)?;
        cuda.enqueue(stream, Queued::of(Work::Nothing));
        Ok(())
    }

    fn cuMemAdvise(cuda, address: u64, bytes: usize, advice: c_int, device: c_int) {
        cuda.known(address, bytes as u64).map(drop)
    }

    fn cuMemAdvise_v2(cuda, address: u64, bytes: usize, advice: c_int, location: Location) {
        cuda.known(address, bytes as u64).map(drop)
    }
}
