//! Devices: where a tensor's memory is.

use std::fmt;
use std::str::FromStr;

macro_rules! device_kinds {
    ($($(#[$doc:meta])* $kind:ident = $code:literal, $name:literal;)*) => {
        /// The kind of memory a device has: DLPack 1.3's device types.
        ///
        /// The numeric value is DLPack's `DLDeviceType`.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        #[repr(u32)]
        #[non_exhaustive]
        pub enum DeviceKind {
            $($(#[$doc])* $kind = $code,)*
        }

        impl DeviceKind {
            /// Every kind, by DLPack's number.
            pub const ALL: &[Self] = &[$(Self::$kind),*];

            /// The lower-case name that devices are printed with.
            pub const fn name(self) -> &'static str {
                match self { $(Self::$kind => $name,)* }
            }

            /// The kind with DLPack's number `code`, or `None` where DLPack 1.3 has none.
            pub const fn from_dlpack(code: u32) -> Option<Self> {
                match code { $($code => Some(Self::$kind),)* _ => None }
            }
        }
    };
}

device_kinds! {
    /// Ordinary host memory.
    Cpu = 1, "cpu";
    /// Memory of an NVIDIA GPU.
    Cuda = 2, "cuda";
    /// Host memory pinned for CUDA.
    CudaHost = 3, "cuda_host";
    /// An OpenCL buffer: the data pointer is a `cl_mem` handle.
    OpenCl = 4, "opencl";
    /// A Vulkan buffer.
    Vulkan = 7, "vulkan";
    /// A Metal buffer.
    Metal = 8, "metal";
    /// A Verilog simulator's buffer.
    Vpi = 9, "vpi";
    /// Memory of an AMD GPU.
    Rocm = 10, "rocm";
    /// Host memory pinned for ROCm.
    RocmHost = 11, "rocm_host";
    /// An extension device.
    Extension = 12, "extension";
    /// CUDA managed (unified) memory.
    CudaManaged = 13, "cuda_managed";
    /// oneAPI unified shared memory.
    OneApi = 14, "oneapi";
    /// A WebGPU buffer.
    WebGpu = 15, "webgpu";
    /// Memory of a Qualcomm Hexagon.
    Hexagon = 16, "hexagon";
    /// Memory of a Microsoft MAIA.
    Maia = 17, "maia";
    /// Memory of an AWS Trainium.
    Trainium = 18, "trainium";
}

impl DeviceKind {
    /// Whether the CPU reads and writes this memory through the data pointer.
    #[inline]
    pub const fn is_host_accessible(self) -> bool {
        matches!(self, Self::Cpu | Self::CudaHost | Self::RocmHost | Self::CudaManaged)
    }

    /// Whether a tensor's data pointer is an address on this kind of device, to which byte offsets
    /// can be added. Elsewhere it is a handle of the driver's (a `cl_mem`, say), whose alignment
    /// tells nothing about the memory.
    #[inline]
    pub const fn has_addresses(self) -> bool {
        !matches!(self, Self::OpenCl | Self::Vulkan | Self::Metal | Self::WebGpu)
    }

    /// The kind of device whose driver allocates this memory: of pinned and managed memory the
    /// GPU's, else the kind itself.
    #[inline]
    pub const fn driver_kind(self) -> Self {
        match self {
            Self::CudaHost | Self::CudaManaged => Self::Cuda,
            Self::RocmHost => Self::Rocm,
            other => other,
        }
    }
}

impl fmt::Display for DeviceKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// Why there is no such device.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DeviceError {
    /// The text names no device.
    #[error(
        "\"{asked}\" is not a device: write a kind and an ordinal, as in cpu, cuda:0, opencl:1"
    )]
    Unknown {
        /// The text that was read.
        asked: String,
    },

    /// DLPack has no such device.
    #[error("the device is not valid: {reason}")]
    Invalid {
        /// What is wrong with it.
        reason: String,
    },
}

/// Where memory is: a kind and an ordinal within the kind, as in DLPack.
///
/// ```
/// use bridge_tensor::Device;
///
/// let device: Device = "cuda:1".parse()?;
/// assert_eq!(device, Device::cuda(1));
/// assert_eq!(Device::CPU.to_string(), "cpu");
/// # Ok::<(), bridge_tensor::Error>(())
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Device {
    kind: DeviceKind,
    ordinal: u32,
}

impl Device {
    /// Ordinary host memory.
    pub const CPU: Self = Self { kind: DeviceKind::Cpu, ordinal: 0 };

    /// The device of `kind` with this `ordinal`. DLPack's ordinals are `i32`: larger ones cannot
    /// be handed over and are refused where a tensor is made.
    pub const fn new(kind: DeviceKind, ordinal: u32) -> Self {
        Self { kind, ordinal }
    }

    /// CUDA device `ordinal`.
    pub const fn cuda(ordinal: u32) -> Self {
        Self::new(DeviceKind::Cuda, ordinal)
    }

    /// OpenCL device `ordinal`, counted over all platforms.
    pub const fn opencl(ordinal: u32) -> Self {
        Self::new(DeviceKind::OpenCl, ordinal)
    }

    /// Makes a device from DLPack's raw numbers.
    ///
    /// # Errors
    ///
    /// [`DeviceError::Invalid`] for a device type DLPack 1.3 does not have and for a negative
    /// ordinal.
    #[inline]
    pub fn from_dlpack(device_type: u32, device_id: i32) -> Result<Self, DeviceError> {
        let kind = DeviceKind::from_dlpack(device_type).ok_or_else(|| DeviceError::Invalid {
            reason: format!("device type {device_type} is not one of DLPack 1.3"),
        })?;
        let ordinal = u32::try_from(device_id).map_err(|_| DeviceError::Invalid {
            reason: format!("the device ordinal {device_id} is negative"),
        })?;
        Ok(Self { kind, ordinal })
    }

    /// The kind of memory.
    #[inline]
    pub const fn kind(self) -> DeviceKind {
        self.kind
    }

    /// Which device of its kind, from 0.
    pub const fn ordinal(self) -> u32 {
        self.ordinal
    }
}

impl fmt::Display for Device {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.kind, self.ordinal) {
            (DeviceKind::Cpu, 0) => f.pad("cpu"),
            (kind, ordinal) => f.pad(&format!("{kind}:{ordinal}")),
        }
    }
}

impl fmt::Debug for Device {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Device {
    type Err = DeviceError;

    /// Reads `cpu`, `cuda` (ordinal 0) or `cuda:1`, without regard to case.
    fn from_str(text: &str) -> Result<Self, DeviceError> {
        let unknown = || DeviceError::Unknown { asked: text.to_owned() };
        let asked = text.trim().to_ascii_lowercase();
        let (name, ordinal) = match asked.split_once(':') {
            Some((name, ordinal)) => (name, ordinal.parse().map_err(|_| unknown())?),
            None => (asked.as_str(), 0),
        };
        DeviceKind::ALL
            .iter()
            .find(|kind| kind.name() == name)
            .map(|&kind| Self { kind, ordinal })
            .ok_or_else(unknown)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn devices_print_and_parse() {
        for &kind in DeviceKind::ALL {
            let name = kind.name();
            let device = Device::new(kind, 3);
            assert_eq!(device.to_string(), format!("{name}:3"));
            assert_eq!(device.to_string().parse::<Device>().unwrap(), device);
            assert_eq!(name.to_uppercase().parse::<Device>().unwrap(), Device::new(kind, 0));
        }
    }

    #[test]
    fn pinned_memory_is_its_drivers() {
        assert_eq!(DeviceKind::CudaManaged.driver_kind(), DeviceKind::Cuda);
        assert_eq!(DeviceKind::RocmHost.driver_kind(), DeviceKind::Rocm);
        assert_eq!(DeviceKind::Cpu.driver_kind(), DeviceKind::Cpu);
    }

    #[test]
    fn nonsense_is_refused() {
        for text in ["", "gpu", "cuda:", "cuda:-1", "cuda:x", "cpu:99999999999", "cuda:0:0"] {
            assert!(text.parse::<Device>().is_err(), "{text}");
        }
        assert!(Device::from_dlpack(5, 0).is_err());
        assert!(Device::from_dlpack(2, -1).is_err());
    }
}
