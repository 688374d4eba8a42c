//! Without OpenCL the backend says why, and what to do: each lack in a process of its own.

use std::io::Write;
use std::process::Command;

use bridge_core::{
    Allocator, Availability, Backend, DataType, Device, Error, Runtime, TensorSpec, Unavailable,
};
use bridge_opencl::{ClDevice, OpenCl};

/// Runs the test of this name in a process with other variables, and returns what it printed.
fn in_a_process(name: &str, variables: &[(&str, &str)]) -> String {
    let this = std::env::current_exe().expect("this program");
    let done = Command::new(this)
        .args(["--exact", name, "--nocapture", "--ignored"])
        .envs(variables.iter().copied())
        .output()
        .expect("it starts");
    let text = String::from_utf8_lossy(&done.stdout).into_owned();
    assert!(done.status.success(), "{text}\n{}", String::from_utf8_lossy(&done.stderr));
    text
}

#[test]
#[ignore = "run by the other tests, in an environment without OpenCL"]
fn says_why_it_is_unavailable() {
    let Availability::Unavailable(Unavailable { reason, remedy }) = OpenCl.availability() else {
        panic!("there is OpenCL")
    };
    let asked = Device::opencl(0);
    let spec = TensorSpec::row_major(DataType::F32, &[2]).unwrap();
    for error in [
        ClDevice::all().map(drop).unwrap_err(),
        ClDevice::of(asked).map(drop).unwrap_err(),
        OpenCl.allocate(&spec, asked).map(drop).unwrap_err(),
        OpenCl.synchronize(asked).unwrap_err(),
        OpenCl.usage(asked).map(drop).unwrap_err(),
    ] {
        assert!(matches!(error, Error::Unavailable { .. }), "{error}");
        assert!(error.to_string().contains(&reason), "{error}");
    }
    assert!(OpenCl.details().is_empty());
    writeln!(std::io::stdout(), "{reason}; {remedy}").unwrap();
}

const SAYS_WHY: &str = "says_why_it_is_unavailable";

#[test]
#[cfg(target_os = "linux")]
fn without_a_driver_it_names_the_place_where_drivers_are_registered() {
    if !OpenCl.availability().is_ready() {
        return;
    }
    let empty = std::env::temp_dir().join(format!("no-opencl-drivers-{}", std::process::id()));
    std::fs::create_dir_all(&empty).unwrap();
    let text = in_a_process(SAYS_WHY, &[("OCL_ICD_VENDORS", empty.to_str().unwrap())]);
    std::fs::remove_dir(&empty).unwrap();
    assert!(text.contains("finds no platform"), "{text}");
    assert!(text.contains("pocl-opencl-icd"), "{text}");
}

#[test]
#[cfg(target_os = "linux")]
fn with_a_platform_that_has_no_device_it_names_the_platform() {
    let Ok([device, ..]) = ClDevice::all() else { return };
    if !device.platform().contains("Portable Computing Language") {
        return;
    }
    // PoCL has the devices that it is told to have.
    let text = in_a_process(SAYS_WHY, &[("POCL_DEVICES", "")]);
    assert!(text.contains("has a device") || text.contains("no OpenCL device"), "{text}");
}

#[test]
fn numbers_and_names_stay() {
    let Ok(devices) = ClDevice::all() else { return };
    for (ordinal, device) in devices.iter().enumerate() {
        let number = u32::try_from(ordinal).unwrap();
        assert_eq!(device.device(), Device::opencl(number));
        assert!(std::ptr::eq(ClDevice::of(device.device()).unwrap(), device));
        assert!(!device.name().is_empty() && !device.platform().is_empty());
    }
    let error = ClDevice::of(Device::opencl(4_096)).unwrap_err();
    assert!(error.to_string().contains("opencl:0"), "{error}");
    assert!(ClDevice::of(Device::CPU).is_err());
}

#[test]
fn doctor_is_told_of_every_device() {
    let Ok(devices) = ClDevice::all() else { return };
    let details = OpenCl.details();
    for device in devices {
        for name in ["platform", "name", "version", "driver", "float64 (cl_khr_fp64)"] {
            let found =
                details.iter().find(|one| one.device == Some(device.device()) && one.name == name);
            assert!(found.is_some_and(|one| !one.value.is_empty()), "{name}");
        }
    }
}
