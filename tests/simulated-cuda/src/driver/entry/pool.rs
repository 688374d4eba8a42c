//! Memory pools.

use std::ffi::c_int;

use super::super::arguments::{In, Out};
use super::super::code::Code;

/// The beginning of a `CUmemPoolProps`.
#[derive(Clone, Copy)]
#[repr(C)]
pub(crate) struct Properties {
    kind: c_int,
    handle_types: c_int,
    location_kind: c_int,
    location: c_int,
}

export! {
    fn cuDeviceGetDefaultMemPool(cuda, pool: Out<usize>, device: c_int) {
        let device = cuda.device(device)?;
        pool.set(cuda.devices[device].default_pool.to_raw())
    }

    fn cuDeviceGetMemPool(cuda, pool: Out<usize>, device: c_int) {
        let device = cuda.device(device)?;
        pool.set(cuda.devices[device].current_pool.to_raw())
    }

    fn cuDeviceSetMemPool(cuda, device: c_int, pool: usize) {
        let (device, pool) = (cuda.device(device)?, cuda.pool(pool)?);
        if cuda.pools[&pool].device != device {
            return Err(Code::INVALID_VALUE);
        }
        cuda.devices[device].current_pool = pool;
        Ok(())
    }

    fn cuMemPoolCreate(cuda, pool: Out<usize>, properties: In<Properties>) {
        let Properties { kind, location_kind, location, .. } = properties.get()?;
        if pool.is_null() || kind != 1 || location_kind != 1 {
            return Err(Code::INVALID_VALUE);
        }
        let device = cuda.device(location)?;
        pool.set(cuda.create_pool(device)?.to_raw())
    }

    fn cuMemPoolDestroy(cuda, pool: usize) {
        let pool = cuda.pool(pool)?;
        cuda.destroy_pool(pool)
    }

    fn cuMemPoolTrimTo(cuda, pool: usize, keep: usize) {
        let pool = cuda.pool(pool)?;
        if let Some(pool) = cuda.pools.get_mut(&pool) {
            pool.trim(keep as u64);
        }
        Ok(())
    }

    fn cuMemPoolGetAttribute(cuda, pool: usize, attribute: c_int, value: *mut u64) {
        let pool = cuda.pool(pool)?;
        let pool = &cuda.pools[&pool];
        match attribute {
            1..=3 => Out::of(value.cast::<u32>()).set(pool.reuse[attribute as usize - 1]),
            4 => Out::of(value).set(pool.threshold),
            5 => Out::of(value).set(pool.reserved),
            6 => Out::of(value).set(pool.reserved_high),
            7 => Out::of(value).set(pool.used),
            8 => Out::of(value).set(pool.used_high),
            _ => Err(Code::INVALID_VALUE),
        }
    }

    fn cuMemPoolSetAttribute(cuda, pool: usize, attribute: c_int, value: In<u64>) {
        let pool = cuda.pool(pool)?;
        let Some(pool) = cuda.pools.get_mut(&pool) else { return Err(Code::INVALID_VALUE) };
        match attribute {
            1..=3 => Ok(()), // addresses are never reused here, so the switches for it change nothing
            4 => {
                pool.threshold = value.get()?;
                Ok(())
            }
            6 | 8 if value.get()? == 0 => {
                pool.used_high = if attribute == 8 { pool.used } else { pool.used_high };
                pool.reserved_high = if attribute == 6 { pool.reserved } else { pool.reserved_high };
                Ok(())
            }
            _ => Err(Code::INVALID_VALUE),
        }
    }
}
