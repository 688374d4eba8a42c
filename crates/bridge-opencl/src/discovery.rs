//! Finding the devices: once, in an order that stays.

use std::sync::OnceLock;

use bridge_core::{Device, DeviceKind, Error, Result, Unavailable};
use opencl3::device::{CL_DEVICE_TYPE_ALL, get_device_ids};
use opencl3::error_codes::{CL_PLATFORM_NOT_FOUND_KHR, DLOPEN_RUNTIME_LOAD_FAILED};
use opencl3::platform::platform::{
    CL_PLATFORM_NAME, CL_PLATFORM_VERSION, get_platform_data, get_platform_ids,
};
use opencl3::types::{cl_int, cl_platform_id};

use crate::capabilities::Capabilities;
use crate::device::ClDevice;
use crate::info;
use crate::status::{NAME, message};

/// The oldest OpenCL whose calls are used.
const OLDEST: (u32, u32) = (1, 2);

/// What was found, or why nothing was.
pub(crate) enum Found {
    Devices(Vec<ClDevice>),
    Nothing(Unavailable),
}

/// The devices of this machine. The first call asks the drivers, later ones repeat the answer.
pub(crate) fn found() -> &'static Found {
    FOUND.get_or_init(|| match find() {
        Ok(devices) => Found::Devices(devices),
        Err(nothing) => nothing.into_found(),
    })
}

static FOUND: OnceLock<Found> = OnceLock::new();

/// The device, where OpenCL has been asked for its devices before: this never loads it.
pub(crate) fn in_use(device: Device) -> Option<&'static ClDevice> {
    match FOUND.get()? {
        Found::Devices(devices) if device.kind() == DeviceKind::OpenCl => {
            devices.get(device.ordinal() as usize)
        }
        _ => None,
    }
}

impl ClDevice {
    /// Every device of this machine, in the order of their numbers.
    ///
    /// # Errors
    ///
    /// [`Error::Unavailable`] without an OpenCL loader, platform or device.
    pub fn all() -> Result<&'static [Self]> {
        match found() {
            Found::Devices(devices) => Ok(devices),
            Found::Nothing(why) => Err(Error::Unavailable { backend: NAME, why: why.clone() }),
        }
    }

    /// The device of this number.
    ///
    /// # Errors
    ///
    /// As [`all`](Self::all), and [`Error::DeviceUnavailable`] where there is none of this number,
    /// or `device` is no OpenCL device.
    pub fn of(device: Device) -> Result<&'static Self> {
        let devices = Self::all()?;
        let found = (device.kind() == DeviceKind::OpenCl)
            .then(|| devices.get(device.ordinal() as usize))
            .flatten();
        found.ok_or_else(|| Error::DeviceUnavailable {
            backend: NAME,
            asked: device,
            available: devices.iter().map(Self::device).collect(),
        })
    }
}

/// Why there is no device.
#[derive(Debug, PartialEq, Eq)]
enum Nothing {
    NoLoader,
    NoPlatform,
    PlatformsFailed(cl_int),
    /// The platforms, and what was wrong with each device.
    NoDevice {
        platforms: Vec<String>,
        rejected: Vec<String>,
    },
}

impl Nothing {
    fn into_found(self) -> Found {
        let install_driver = "install an OpenCL driver: that of the GPU's vendor, or PoCL for the \
                              processor (Debian: apt-get install pocl-opencl-icd)";
        let (reason, remedy) = match self {
            Self::NoLoader => (
                "the OpenCL loader (libOpenCL.so.1) cannot be loaded".to_owned(),
                "install it and a driver (Debian: apt-get install ocl-icd-libopencl1 \
                 pocl-opencl-icd), or name it in OPENCL_DYLIB_PATH"
                    .to_owned(),
            ),
            Self::NoPlatform => (
                "the OpenCL loader finds no platform: no driver is registered (in \
                 /etc/OpenCL/vendors, or where OCL_ICD_VENDORS says)"
                    .to_owned(),
                install_driver.to_owned(),
            ),
            Self::PlatformsFailed(status) => (
                format!("asking for OpenCL platforms failed: {}", message(status)),
                "run clinfo, and reinstall the driver it names".to_owned(),
            ),
            Self::NoDevice { platforms, rejected } if rejected.is_empty() => (
                format!("no OpenCL platform has a device; there is {}", platforms.join(", ")),
                format!(
                    "check that this user may open the GPU's device file; else {install_driver}"
                ),
            ),
            Self::NoDevice { rejected, .. } => (
                format!("no OpenCL device can be used: {}", rejected.join("; ")),
                format!("update the driver to OpenCL {}.{} or later", OLDEST.0, OLDEST.1),
            ),
        };
        Found::Nothing(Unavailable { reason, remedy })
    }
}

fn find() -> std::result::Result<Vec<ClDevice>, Nothing> {
    let platforms = match get_platform_ids() {
        Ok(platforms) => platforms,
        Err(DLOPEN_RUNTIME_LOAD_FAILED) => return Err(Nothing::NoLoader),
        Err(CL_PLATFORM_NOT_FOUND_KHR) => return Err(Nothing::NoPlatform),
        Err(status) => return Err(Nothing::PlatformsFailed(status)),
    };
    if platforms.is_empty() {
        return Err(Nothing::NoPlatform);
    }
    let named = in_order(
        platforms
            .into_iter()
            .map(|id| (text(id, CL_PLATFORM_NAME), text(id, CL_PLATFORM_VERSION), id))
            .collect(),
    );
    let mut devices = Vec::new();
    let mut rejected = Vec::new();
    for (platform, _, id) in &named {
        let ids = match get_device_ids(*id, CL_DEVICE_TYPE_ALL) {
            Ok(ids) => ids,
            Err(status) => {
                rejected.push(format!("{platform}: {}", message(status)));
                continue;
            }
        };
        for id in ids {
            let capabilities = Capabilities::ask(id);
            match why_not(&capabilities) {
                Some(why) => rejected.push(format!("{platform}, {}: {why}", capabilities.name)),
                None => {
                    let ordinal = u32::try_from(devices.len()).unwrap_or(u32::MAX);
                    devices.push(ClDevice::new(ordinal, id, platform.clone(), capabilities));
                }
            }
        }
    }
    if devices.is_empty() {
        let platforms = named.into_iter().map(|(name, ..)| name).collect();
        return Err(Nothing::NoDevice { platforms, rejected });
    }
    Ok(devices)
}

/// Platforms by name and version: the loader lists them as it happens to read its folder.
fn in_order<T>(mut platforms: Vec<(String, String, T)>) -> Vec<(String, String, T)> {
    platforms.sort_by(|a, b| (&a.0, &a.1).cmp(&(&b.0, &b.1)));
    platforms
}

/// Why a device cannot be used.
fn why_not(capabilities: &Capabilities) -> Option<String> {
    if capabilities.version_number < OLDEST {
        let (major, minor) = OLDEST;
        return Some(format!("it has {:?}, not OpenCL {major}.{minor}", capabilities.version));
    }
    (!capabilities.available).then(|| "the driver says it is not available".to_owned())
}

fn text(platform: cl_platform_id, what: u32) -> String {
    info::text(&get_platform_data(platform, what).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn platforms_have_one_order_however_the_loader_lists_them() {
        let platform = |name: &str, version: &str| (name.to_owned(), version.to_owned(), ());
        let listed = [
            platform("Portable Computing Language", "OpenCL 3.0 PoCL 3.1"),
            platform("NVIDIA CUDA", "OpenCL 3.0 CUDA 12.4"),
            platform("Intel(R) OpenCL", "OpenCL 3.0"),
            platform("Intel(R) OpenCL", "OpenCL 2.1"),
        ];
        let first = in_order(listed.to_vec());
        for start in 0..listed.len() {
            let mut other = listed.to_vec();
            other.rotate_left(start);
            assert_eq!(in_order(other.clone()), first);
            other.reverse();
            assert_eq!(in_order(other), first);
        }
        assert_eq!(first[0], listed[3]);
    }

    #[test]
    fn each_lack_has_its_own_reason_and_remedy() {
        let platforms = vec!["P".to_owned()];
        let told: Vec<(String, String)> = [
            Nothing::NoLoader,
            Nothing::NoPlatform,
            Nothing::PlatformsFailed(-6),
            Nothing::NoDevice { platforms: platforms.clone(), rejected: Vec::new() },
            Nothing::NoDevice { platforms, rejected: vec!["P, D: it is old".to_owned()] },
        ]
        .into_iter()
        .map(|nothing| match nothing.into_found() {
            Found::Nothing(Unavailable { reason, remedy }) => (reason, remedy),
            Found::Devices(_) => panic!("nothing is something"),
        })
        .collect();
        for (index, (reason, remedy)) in told.iter().enumerate() {
            assert!(!remedy.is_empty());
            assert!(told[..index].iter().all(|(other, _)| other != reason), "{reason}");
        }
        assert!(told[0].1.contains("ocl-icd-libopencl1"), "{}", told[0].1);
        assert!(told[3].0.contains("there is P"), "{}", told[3].0);
        assert!(told[4].0.contains("it is old"), "{}", told[4].0);
    }
}
