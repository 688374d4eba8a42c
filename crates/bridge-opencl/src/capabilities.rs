//! What a device can do, asked once.

use bridge_core::DataType;
use opencl3::device::{
    CL_DEVICE_AVAILABLE, CL_DEVICE_COMPILER_AVAILABLE, CL_DEVICE_DOUBLE_FP_CONFIG,
    CL_DEVICE_ENDIAN_LITTLE, CL_DEVICE_EXTENSIONS, CL_DEVICE_GLOBAL_MEM_SIZE,
    CL_DEVICE_HOST_UNIFIED_MEMORY, CL_DEVICE_MAX_COMPUTE_UNITS, CL_DEVICE_MAX_MEM_ALLOC_SIZE,
    CL_DEVICE_NAME, CL_DEVICE_PROFILE, CL_DEVICE_SINGLE_FP_CONFIG, CL_DEVICE_SVM_CAPABILITIES,
    CL_DEVICE_SVM_COARSE_GRAIN_BUFFER, CL_DEVICE_SVM_FINE_GRAIN_BUFFER,
    CL_DEVICE_SVM_FINE_GRAIN_SYSTEM, CL_DEVICE_TYPE, CL_DEVICE_TYPE_CPU, CL_DEVICE_VERSION,
    CL_DRIVER_VERSION, CL_FP_DENORM, CL_FP_ROUND_TO_NEAREST, get_device_data,
};
use opencl3::types::{cl_device_id, cl_device_info};

use crate::info;

/// What a device can do.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Capabilities {
    /// What the driver calls the device.
    pub name: String,
    /// The OpenCL version, as the driver writes it: "OpenCL 3.0 ...".
    pub version: String,
    /// Major and minor OpenCL version.
    pub version_number: (u32, u32),
    /// The driver's version.
    pub driver: String,
    /// Bytes of memory.
    pub memory: u64,
    /// Bytes of the largest buffer.
    pub largest_buffer: u64,
    /// Compute units.
    pub compute_units: u32,
    /// Whether it computes with `f64` (`cl_khr_fp64`).
    pub fp64: bool,
    /// Whether it computes with `f16` (`cl_khr_fp16`).
    pub fp16: bool,
    /// Whether it is a processor, whose memory is the host's.
    pub is_cpu: bool,
    /// Whether it uses the host's memory (`CL_DEVICE_HOST_UNIFIED_MEMORY`).
    pub unified_memory: bool,
    /// Shared virtual memory that has to be mapped before the host touches it.
    pub svm_coarse: bool,
    /// Shared virtual memory that host and device touch without mapping.
    pub svm_fine: bool,
    /// Whether the device uses any memory of the process in place.
    pub svm_system: bool,
    /// Whether programs can be built for it at run time.
    pub compiles: bool,
    /// Whether `f32` arithmetic is IEEE's: rounds to nearest and keeps subnormals.
    pub ieee_f32: bool,
    /// Whether the driver says that the device is there at all.
    pub(crate) available: bool,
    pub(crate) full_profile: bool,
    pub(crate) same_byte_order: bool,
}

impl Capabilities {
    /// Asks the driver. What it does not answer counts as absent.
    pub(crate) fn ask(id: cl_device_id) -> Self {
        let asked = Asked(id);
        let extensions = asked.text(CL_DEVICE_EXTENSIONS);
        let has = |name: &str| extensions.split_whitespace().any(|one| one == name);
        let version = asked.text(CL_DEVICE_VERSION);
        let version_number = version_number(&version).unwrap_or((0, 0));
        // Older drivers need not answer questions of OpenCL 2.
        let svm =
            if version_number >= (2, 0) { asked.number(CL_DEVICE_SVM_CAPABILITIES) } else { 0 };
        let single = asked.number(CL_DEVICE_SINGLE_FP_CONFIG);
        let double = asked.number(CL_DEVICE_DOUBLE_FP_CONFIG);
        let ieee = CL_FP_DENORM | CL_FP_ROUND_TO_NEAREST;
        Self {
            name: asked.text(CL_DEVICE_NAME),
            version_number,
            version,
            driver: asked.text(CL_DRIVER_VERSION),
            memory: asked.number(CL_DEVICE_GLOBAL_MEM_SIZE),
            largest_buffer: asked.number(CL_DEVICE_MAX_MEM_ALLOC_SIZE),
            compute_units: u32::try_from(asked.number(CL_DEVICE_MAX_COMPUTE_UNITS)).unwrap_or(1),
            fp64: double & ieee == ieee && (has("cl_khr_fp64") || version_number >= (3, 0)),
            fp16: has("cl_khr_fp16"),
            is_cpu: asked.number(CL_DEVICE_TYPE) & CL_DEVICE_TYPE_CPU != 0,
            unified_memory: asked.number(CL_DEVICE_HOST_UNIFIED_MEMORY) != 0,
            svm_coarse: svm & CL_DEVICE_SVM_COARSE_GRAIN_BUFFER != 0,
            svm_fine: svm & CL_DEVICE_SVM_FINE_GRAIN_BUFFER != 0,
            svm_system: svm & CL_DEVICE_SVM_FINE_GRAIN_SYSTEM != 0,
            compiles: asked.number(CL_DEVICE_COMPILER_AVAILABLE) != 0,
            ieee_f32: single & ieee == ieee,
            available: asked.number(CL_DEVICE_AVAILABLE) != 0,
            full_profile: asked.text(CL_DEVICE_PROFILE) == "FULL_PROFILE",
            same_byte_order: (asked.number(CL_DEVICE_ENDIAN_LITTLE) != 0)
                == cfg!(target_endian = "little"),
        }
    }

    /// Those of a device that can do nothing.
    #[cfg(test)]
    pub(crate) fn of_nothing() -> Self {
        Self {
            name: String::new(),
            version: String::new(),
            version_number: (1, 2),
            driver: String::new(),
            memory: 0,
            largest_buffer: 0,
            compute_units: 1,
            fp64: false,
            fp16: false,
            is_cpu: false,
            unified_memory: false,
            svm_coarse: false,
            svm_fine: false,
            svm_system: false,
            compiles: false,
            ieee_f32: false,
            available: true,
            full_profile: false,
            same_byte_order: false,
        }
    }

    /// Whether memory of the device is memory of the host, so that neither side needs a copy.
    pub fn shares_host_memory(&self) -> bool {
        self.is_cpu || self.unified_memory || self.svm_system
    }

    /// Why kernels cannot compute with elements of this type here; `None` where they can. Elements
    /// are carried as bytes either way.
    ///
    /// `f16` and `bf16` are decoded and encoded by integer operations, which every device has;
    /// a kernel of yours needs [`fp16`](Self::fp16) for arithmetic on `f16`.
    pub fn cannot_compute_with(&self, data_type: DataType) -> Option<&'static str> {
        use DataType as D;
        match data_type {
            _ if !self.compiles => Some("the device has no compiler"),
            _ if !self.full_profile => Some("the device has the embedded profile"),
            _ if !self.same_byte_order => Some("the device has another byte order than the host"),
            D::F64 | D::C128 if !self.fp64 => Some("the device has no cl_khr_fp64"),
            D::F16 | D::BF16 | D::F32 | D::F64 if !self.ieee_f32 => {
                Some("the device's float32 does not keep subnormals")
            }
            D::I8 | D::I16 | D::I32 | D::I64 | D::U8 | D::U16 | D::U32 | D::U64 | D::BOOL => None,
            D::F16 | D::BF16 | D::F32 | D::F64 => None,
            _ => Some("OpenCL C has no such type"),
        }
    }
}

/// The numbers in "OpenCL 3.0 vendor's words".
fn version_number(text: &str) -> Option<(u32, u32)> {
    let (major, minor) =
        text.strip_prefix("OpenCL ")?.split_whitespace().next()?.split_once('.')?;
    Some((major.parse().ok()?, minor.parse().ok()?))
}

struct Asked(cl_device_id);

impl Asked {
    fn text(&self, what: cl_device_info) -> String {
        info::text(&get_device_data(self.0, what).unwrap_or_default())
    }

    /// 0 where there is no answer.
    fn number(&self, what: cl_device_info) -> u64 {
        info::number(&get_device_data(self.0, what).unwrap_or_default())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_read_as_drivers_write_them() {
        assert_eq!(version_number("OpenCL 3.0 PoCL HSTR: pthread"), Some((3, 0)));
        assert_eq!(version_number("OpenCL 1.2 "), Some((1, 2)));
        assert_eq!(version_number("OpenCL 1"), None);
        assert_eq!(version_number(""), None);
    }

    #[test]
    fn each_element_type_that_kernels_lack_has_its_reason() {
        type Change = fn(&mut Capabilities);
        let able = Capabilities {
            compiles: true,
            full_profile: true,
            same_byte_order: true,
            ieee_f32: true,
            fp64: true,
            ..Capabilities::of_nothing()
        };
        for data_type in [DataType::BOOL, DataType::U64, DataType::F16, DataType::F64] {
            assert_eq!(able.cannot_compute_with(data_type), None, "{data_type}");
        }
        let without = |change: Change, data_type| {
            let mut device = able.clone();
            change(&mut device);
            device.cannot_compute_with(data_type).unwrap_or("nothing").to_owned()
        };
        let lacks: [(Change, DataType, &str); 6] = [
            (|device| device.fp64 = false, DataType::F64, "cl_khr_fp64"),
            (|device| device.ieee_f32 = false, DataType::BF16, "subnormals"),
            (|device| device.compiles = false, DataType::I8, "no compiler"),
            (|device| device.full_profile = false, DataType::I8, "embedded profile"),
            (|device| device.same_byte_order = false, DataType::U16, "byte order"),
            (|_| (), DataType::C64, "no such type"),
        ];
        for (change, data_type, word) in lacks {
            let reason = without(change, data_type);
            assert!(reason.contains(word), "{data_type}: {reason}");
        }
        // Half precision is computed by integer operations: no extension is asked for.
        assert_eq!(without(|device| device.fp16 = false, DataType::F16), "nothing");
    }
}
