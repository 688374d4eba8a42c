//! Devices given out to processes, by their environment.

use std::process::Command;

use bridge_core::Device;
use bridge_memory::patterns::{DEVICE, DEVICES, DeviceAssigner, WORKER};

/// What a worker process prints: it is this program, told to run one test.
fn worker(variables: &[(&str, &str)]) -> String {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", "environments::as_a_worker", "--ignored", "--nocapture"]);
    for name in [DEVICE, DEVICES, WORKER] {
        command.env_remove(name);
    }
    let output = command.envs(variables.iter().copied()).output().unwrap();
    let printed = String::from_utf8(output.stdout).unwrap();
    let told = printed.lines().find_map(|line| line.split_once("WORKER SAYS "));
    told.unwrap_or_else(|| panic!("{printed}")).1.to_owned()
}

#[test]
#[ignore = "the other tests run it, in a process of its own"]
#[allow(clippy::print_stdout, reason = "it is how the processes talk")]
fn as_a_worker() {
    match DeviceAssigner::from_environment() {
        Ok(assigner) => println!("\nWORKER SAYS {:?}", assigner.devices()),
        Err(error) => println!("\nWORKER SAYS {error}"),
    }
}

#[test]
#[cfg_attr(miri, ignore = "Miri starts no processes")]
fn each_process_of_a_pool_gets_one_device() {
    // The seed hands every worker the whole range of devices.
    let devices: Vec<_> = (0..2).map(Device::cuda).collect();
    let assigner = DeviceAssigner::round_robin(devices).unwrap();
    for (number, device) in [(0, "[cuda:0]"), (1, "[cuda:1]"), (2, "[cuda:0]")] {
        let variables = assigner.variables_for(number);
        let variables = variables.each_ref().map(|(name, value)| (*name, value.as_str()));
        assert_eq!(worker(&variables), device);
        let number = number.to_string();
        let listed = [(DEVICES, "cuda:0, cuda:1"), (WORKER, number.as_str())];
        assert_eq!(worker(&listed), device);
    }
}

#[test]
#[cfg_attr(miri, ignore = "Miri starts no processes")]
fn what_is_missing_or_malformed_is_named() {
    for (variables, told) in [
        (&[] as &[_], [DEVICE, "not set"]),
        (&[(WORKER, "1")], [DEVICES, "not set"]),
        (&[(DEVICE, "gpu")], [DEVICE, "\"gpu\" is not a device"]),
        (&[(DEVICE, "")], [DEVICE, "\"\" is not a device"]),
        (&[(DEVICES, "cuda:0,cuda:1")], [WORKER, "not set"]),
        (&[(DEVICES, "cuda:0,,cuda:1"), (WORKER, "0")], [DEVICES, "\"\" is not a device"]),
        (&[(DEVICES, ""), (WORKER, "0")], [DEVICES, "\"\" is not a device"]),
        (&[(DEVICES, "cuda:0,cuda:1"), (WORKER, "-1")], [WORKER, "a number from 0"]),
        (&[(DEVICES, "cuda:0,cuda:1"), (WORKER, "one")], [WORKER, "one"]),
    ] {
        let said = worker(variables);
        assert!(told.iter().all(|part| said.contains(part)), "{variables:?}: {said}");
    }
    // One device in the list needs no number, and the device of this process comes first.
    assert_eq!(worker(&[(DEVICES, "opencl:1")]), "[opencl:1]");
    assert_eq!(worker(&[(DEVICE, "cpu"), (DEVICES, "cuda:0,cuda:1")]), "[cpu]");
}
