//! Devices.

use std::ffi::c_int;

use super::super::arguments::{Out, Text};
use super::super::code::Code;

export! {
    fn cuDeviceGet(cuda, device: Out<c_int>, ordinal: c_int) {
        cuda.device(ordinal)?;
        device.set(ordinal)
    }

    fn cuDeviceGetCount(cuda, count: Out<c_int>) {
        count.set(cuda.devices.len() as c_int)
    }

    fn cuDeviceGetName(cuda, name: Out<u8>, capacity: c_int, device: c_int) {
        let device = cuda.device(device)?;
        let capacity = usize::try_from(capacity).map_err(|_| Code::INVALID_VALUE)?;
        name.set_text(&format!("Simulated device {}", cuda.devices[device].physical), capacity)
    }

    fn cuDeviceGetUuid(cuda, uuid: Out<[u8; 16]>, device: c_int) {
        let device = cuda.device(device)?;
        uuid.set(unique(cuda.devices[device].physical))
    }

    fn cuDeviceGetUuid_v2(cuda, uuid: Out<[u8; 16]>, device: c_int) {
        let device = cuda.device(device)?;
        uuid.set(unique(cuda.devices[device].physical))
    }

    fn cuDeviceTotalMem_v2(cuda, bytes: Out<usize>, device: c_int) {
        cuda.device(device)?;
        bytes.set(cuda.config.memory as usize)
    }

    fn cuDeviceGetAttribute(cuda, value: Out<c_int>, attribute: c_int, device: c_int) {
        let device = cuda.device(device)?;
        let physical = cuda.devices[device].physical as c_int;
        let capability = cuda.config.compute_capability;
        value.set(match attribute {
            1 | 2 | 3 | 39 => 1024, // threads of a block, in x and y too; threads of a multiprocessor are 39
            4 => 64,                // in z
            5 => c_int::MAX,        // blocks of a grid in x
            6 | 7 => 65_535,        // in y and z
            8 | 81 | 97 => 49_152,  // shared memory of a block, of a multiprocessor, of a block that asks
            9 => 65_536,            // constant memory
            10 => 32,               // threads of a warp
            11 => c_int::MAX,       // pitch
            12 | 82 => 65_536,      // registers
            13 => 1_000_000,        // kHz
            14 => 512,              // alignment of textures
            15 | 19 | 31 | 41 | 83 | 89 | 85 => 1, // overlap, mapping, concurrency, unified addresses, managed memory
            16 => 4,                // multiprocessors
            33 => 0,                // PCI bus
            34 => physical,         // PCI device
            40 => 2,                // copy engines
            75 => capability / 10,
            76 => capability % 10,
            115 => c_int::from(cuda.config.memory_pools),
            1..=150 => 0,
            _ => return Err(Code::INVALID_VALUE),
        })
    }

    fn cuDeviceCanAccessPeer(cuda, can: Out<c_int>, device: c_int, peer: c_int) {
        let (device, peer) = (cuda.device(device)?, cuda.device(peer)?);
        can.set(c_int::from(cuda.config.peer_access && device != peer))
    }

    fn cuDeviceGetP2PAttribute(cuda, value: Out<c_int>, attribute: c_int, from: c_int, to: c_int) {
        let (from, to) = (cuda.device(from)?, cuda.device(to)?);
        if from == to || !(1..=4).contains(&attribute) {
            return Err(Code::INVALID_VALUE);
        }
        value.set(c_int::from(cuda.config.peer_access && attribute != 1))
    }

    fn cuDeviceGetPCIBusId(cuda, text: Out<u8>, capacity: c_int, device: c_int) {
        let device = cuda.device(device)?;
        let capacity = usize::try_from(capacity).map_err(|_| Code::INVALID_VALUE)?;
        text.set_text(&format!("0000:00:{:02x}.0", cuda.devices[device].physical), capacity)
    }

    fn cuDeviceGetByPCIBusId(cuda, device: Out<c_int>, text: Text<'_>) {
        let wanted = text.get()?;
        let found = cuda.devices.iter().position(|d| format!("0000:00:{:02x}.0", d.physical) == wanted);
        device.set(found.ok_or(Code::INVALID_DEVICE)? as c_int)
    }
}

fn unique(physical: usize) -> [u8; 16] {
    let mut bytes = *b"simulated-cuda--";
    bytes[15] = physical as u8;
    bytes
}
