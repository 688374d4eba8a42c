//! Memory pools.

use std::ffi::c_int;

use super::super::arguments::{In, Out};
use super::super::code::{Code, Outcome};
use super::super::pools::Access;
use super::super::simulation::Simulation;

/// The beginning of a `CUmemPoolProps`.
#[derive(Clone, Copy)]
#[repr(C)]
pub(crate) struct Properties {
    kind: c_int,
    handle_types: c_int,
    location: Location,
}

/// A `CUmemLocation`.
#[derive(Clone, Copy)]
#[repr(C)]
pub(crate) struct Location {
    kind: c_int,
    id: c_int,
}

impl Location {
    fn device(self, cuda: &Simulation) -> Outcome<usize> {
        if self.kind == 1 { cuda.device(self.id) } else { Err(Code::INVALID_VALUE) }
    }
}

/// A `CUmemAccessDesc`.
#[derive(Clone, Copy)]
#[repr(C)]
pub(crate) struct AccessOf {
    location: Location,
    flags: c_int,
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
        let Properties { kind, location, .. } = properties.get()?;
        if pool.is_null() || kind != 1 {
            return Err(Code::INVALID_VALUE);
        }
        let device = location.device(cuda)?;
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

    fn cuMemPoolSetAccess(cuda, pool: usize, accesses: In<AccessOf>, count: usize) {
        let pool = cuda.pool(pool)?;
        for at in 0..count {
            let AccessOf { location, flags } = accesses.at(at)?;
            let access = match flags {
                0 => Access::None,
                1 => Access::Read,
                3 => Access::ReadWrite,
                _ => return Err(Code::INVALID_VALUE),
            };
            let device = location.device(cuda)?;
            cuda.set_access(pool, device, access)?;
        }
        Ok(())
    }

    fn cuMemPoolGetAccess(cuda, flags: Out<c_int>, pool: usize, location: In<Location>) {
        let (pool, device) = (cuda.pool(pool)?, location.get()?.device(cuda)?);
        flags.set(match cuda.pools[&pool].access_of(device) {
            Access::None => 0,
            Access::Read => 1,
            Access::ReadWrite => 3,
        })
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
