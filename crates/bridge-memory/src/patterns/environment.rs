//! The device that a process is told to use by its environment.

use std::ffi::OsString;

use bridge_core::{Device, Result};

use crate::arguments::invalid;

/// The variable that names this process's device: `cuda:1`.
pub const DEVICE: &str = "ARRAYBRIDGE_DEVICE";
/// The variable that names the devices of a pool of processes, separated by commas: `cuda:0,cuda:1`.
pub const DEVICES: &str = "ARRAYBRIDGE_DEVICES";
/// The variable that says which process of the pool this is, from 0.
pub const WORKER: &str = "ARRAYBRIDGE_WORKER";

/// The device of this process: [`DEVICE`] where it is set, else one of [`DEVICES`], by [`WORKER`].
pub(super) fn device(variable: impl Fn(&str) -> Option<OsString>) -> Result<Device> {
    let text = |name: &'static str| match variable(name) {
        None => Ok(None),
        Some(value) => value
            .into_string()
            .map(Some)
            .map_err(|value| invalid(name, &value.to_string_lossy(), "it must be text in UTF-8")),
    };
    if let Some(asked) = text(DEVICE)? {
        return parsed(DEVICE, &asked, &asked);
    }
    let Some(listed) = text(DEVICES)? else {
        let expected = "set it to a device, as in cuda:0, or set ARRAYBRIDGE_DEVICES and \
                        ARRAYBRIDGE_WORKER";
        return Err(invalid(DEVICE, &"not set", expected));
    };
    let devices = listed.split(',').map(|part| parsed(DEVICES, &listed, part));
    let devices = devices.collect::<Result<Vec<_>>>()?;
    let worker = match text(WORKER)? {
        Some(number) => number
            .trim()
            .parse::<usize>()
            .map_err(|_| invalid(WORKER, &number, "it must be a number from 0"))?,
        None if devices.len() == 1 => 0,
        None => {
            let expected = "with several devices in ARRAYBRIDGE_DEVICES, it must say which process \
                            this is, from 0";
            return Err(invalid(WORKER, &"not set", expected));
        }
    };
    Ok(of_worker(&devices, worker))
}

/// The device of one process of a pool: the devices in turn.
pub(super) fn of_worker(devices: &[Device], worker: usize) -> Device {
    devices[worker % devices.len()]
}

fn parsed(variable: &'static str, value: &str, part: &str) -> Result<Device> {
    part.parse().map_err(|error| invalid(variable, &value, &format!("{error}")))
}
