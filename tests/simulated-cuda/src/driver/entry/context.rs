//! Primary contexts, other contexts, and what is current.

use std::ffi::{c_int, c_void};

use super::super::arguments::Out;
use super::super::code::{Code, Outcome};
use super::super::contexts::{current_raw, pop_current, push_current, set_current_raw};
use super::super::handle::ContextId;
use super::super::simulation::Simulation;

/// `CU_CTX_*` bits that there are.
const FLAGS: u32 = 0x1ff;

export! {
    fn cuDevicePrimaryCtxRetain(cuda, context: Out<usize>, device: c_int) {
        let device = cuda.device(device)?;
        if context.is_null() {
            return Err(Code::INVALID_VALUE);
        }
        context.set(cuda.retain_primary(device)?.to_raw())
    }

    fn cuDevicePrimaryCtxRelease_v2(cuda, device: c_int) {
        let device = cuda.device(device)?;
        cuda.release_primary(device)
    }

    fn cuDevicePrimaryCtxReset_v2(cuda, device: c_int) {
        let device = cuda.device(device)?;
        cuda.devices[device].lost = None;
        if let Some(context) = cuda.devices[device].primary {
            let references = cuda.devices[device].primary_references;
            cuda.destroy_context(context, false);
            let again = cuda.create_context(device, true, 0);
            let state = &mut cuda.devices[device];
            (state.primary, state.primary_references) = (Some(again), references);
        }
        Ok(())
    }

    fn cuDevicePrimaryCtxGetState(cuda, device: c_int, flags: Out<u32>, active: Out<c_int>) {
        let device = cuda.device(device)?;
        let state = &cuda.devices[device];
        flags.set(state.primary_flags)?;
        active.set(c_int::from(state.primary.is_some()))
    }

    fn cuDevicePrimaryCtxSetFlags_v2(cuda, device: c_int, flags: u32) {
        let device = cuda.device(device)?;
        if flags & !FLAGS != 0 {
            return Err(Code::INVALID_VALUE);
        }
        cuda.devices[device].primary_flags = flags;
        Ok(())
    }

    fn cuCtxCreate_v2(cuda, context: Out<usize>, flags: u32, device: c_int) {
        create(cuda, &context, flags, device)
    }

    fn cuCtxCreate_v3(cuda, context: Out<usize>, affinity: *mut c_void, count: c_int, flags: u32, device: c_int) {
        create(cuda, &context, flags, device)
    }

    fn cuCtxCreate_v4(cuda, context: Out<usize>, parameters: *mut c_void, flags: u32, device: c_int) {
        create(cuda, &context, flags, device)
    }

    fn cuCtxDestroy_v2(cuda, context: usize) {
        let id = cuda.context(context)?;
        if cuda.contexts[&id].primary {
            return Err(Code::INVALID_CONTEXT);
        }
        cuda.destroy_context(id, true);
        if current_raw() == context {
            pop_current();
        }
        Ok(())
    }

    fn cuCtxSetCurrent(cuda, context: usize) {
        if context != 0 {
            cuda.context(context)?;
        }
        set_current_raw(context);
        Ok(())
    }

    fn cuCtxGetCurrent(cuda, context: Out<usize>) {
        context.set(current_raw())
    }

    fn cuCtxPushCurrent_v2(cuda, context: usize) {
        push_current(cuda.context(context)?)
    }

    fn cuCtxPopCurrent_v2(cuda, context: Out<usize>) {
        cuda.current_or_broken()?;
        context.set_if_wanted(pop_current());
        Ok(())
    }

    fn cuCtxGetDevice(cuda, device: Out<c_int>) {
        let context = cuda.current_or_broken()?;
        device.set(cuda.device_of(context) as c_int)
    }

    fn cuCtxGetId(cuda, context: usize, id: Out<u64>) {
        let context = if context == 0 { cuda.current()? } else { cuda.context(context)? };
        id.set(context.number())
    }

    fn cuCtxGetApiVersion(cuda, context: usize, version: Out<u32>) {
        if context != 0 {
            cuda.context(context)?;
        }
        version.set(3020)
    }

    fn cuCtxSynchronize(cuda) {
        let context = cuda.current()?;
        synchronize(cuda, context)
    }

    fn cuCtxSynchronize_v2(cuda, context: usize) {
        let context = cuda.context(context)?;
        synchronize(cuda, context)
    }

    fn cuCtxGetFlags(cuda, flags: Out<u32>) {
        let context = cuda.current()?;
        flags.set(cuda.contexts[&context].flags)
    }

    fn cuCtxSetFlags(cuda, flags: u32) {
        let context = cuda.current()?;
        if flags & !FLAGS != 0 {
            return Err(Code::INVALID_VALUE);
        }
        if let Some(context) = cuda.contexts.get_mut(&context) {
            context.flags = flags;
        }
        Ok(())
    }

    fn cuCtxGetLimit(cuda, value: Out<usize>, limit: c_int) {
        let context = cuda.current()?;
        value.set(cuda.contexts[&context].limits.get(&limit).copied().unwrap_or(1024))
    }

    fn cuCtxSetLimit(cuda, limit: c_int, value: usize) {
        let context = cuda.current()?;
        if let Some(context) = cuda.contexts.get_mut(&context) {
            context.limits.insert(limit, value);
        }
        Ok(())
    }

    fn cuCtxGetCacheConfig(cuda, config: Out<c_int>) {
        cuda.current()?;
        config.set(0)
    }

    fn cuCtxSetCacheConfig(cuda, config: c_int) {
        cuda.current().map(drop)
    }

    fn cuCtxGetStreamPriorityRange(cuda, least: Out<c_int>, greatest: Out<c_int>) {
        cuda.current()?;
        least.set_if_wanted(0);
        greatest.set_if_wanted(-5);
        Ok(())
    }

    fn cuCtxEnablePeerAccess(cuda, peer: usize, flags: u32) {
        let (context, peer) = (cuda.current()?, cuda.context(peer)?);
        if flags != 0 {
            return Err(Code::INVALID_VALUE);
        }
        if context == peer {
            return Err(Code::INVALID_CONTEXT);
        }
        if !cuda.config.peer_access || cuda.device_of(context) == cuda.device_of(peer) {
            return Err(Code::PEER_ACCESS_UNSUPPORTED);
        }
        let new = cuda.contexts.get_mut(&context).is_some_and(|context| context.peers.insert(peer));
        if new { Ok(()) } else { Err(Code::PEER_ACCESS_ALREADY_ENABLED) }
    }

    fn cuCtxDisablePeerAccess(cuda, peer: usize) {
        let (context, peer) = (cuda.current()?, cuda.context(peer)?);
        let was = cuda.contexts.get_mut(&context).is_some_and(|context| context.peers.remove(&peer));
        if was { Ok(()) } else { Err(Code::PEER_ACCESS_NOT_ENABLED) }
    }
}

fn create(cuda: &mut Simulation, context: &Out<usize>, flags: u32, device: c_int) -> Outcome {
    let device = cuda.device(device)?;
    if context.is_null() || flags & !FLAGS != 0 {
        return Err(Code::INVALID_VALUE);
    }
    if let Some(code) = cuda.devices[device].lost {
        return Err(code);
    }
    let id = cuda.create_context(device, false, flags);
    push_current(id)?;
    context.set(id.to_raw())
}

fn synchronize(cuda: &mut Simulation, context: ContextId) -> Outcome {
    cuda.drain_where(|stream| stream.context == context);
    cuda.synchronize(context, &Default::default())
}
