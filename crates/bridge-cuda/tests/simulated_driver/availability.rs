//! Each way of having no CUDA has its own reason and its own remedy.

use crate::support::{alone, alone_with};
use bridge_core::{Availability, Backend, Unavailable};
use bridge_cuda::Cuda;
use simulated_cuda::Config;

fn lack() -> (String, String) {
    match Cuda.availability() {
        Availability::Unavailable(Unavailable { reason, remedy }) => (reason, remedy),
        Availability::Ready { devices } => panic!("it is ready on {devices:?}"),
    }
}

#[test]
fn a_driver_without_devices() {
    let config = Config::default().devices(0);
    alone_with("a_driver_without_devices", &config, &[], |_| {
        let (reason, remedy) = lack();
        assert!(reason.contains("finds no device"), "{reason}");
        assert!(remedy.contains("nvidia-smi"), "{remedy}");
        assert!(Cuda.details().is_empty());
    });
}

#[test]
fn devices_that_are_hidden() {
    let config = Config::default().devices(0);
    let hidden = [("CUDA_VISIBLE_DEVICES", "")];
    alone_with("devices_that_are_hidden", &config, &hidden, |_| {
        let (reason, remedy) = lack();
        assert!(reason.contains("CUDA_VISIBLE_DEVICES"), "{reason}");
        assert!(remedy.contains("unset"), "{remedy}");
    });
}

#[test]
fn a_driver_that_is_too_old() {
    let config = Config::default().driver_version(11_040);
    alone("a_driver_that_is_too_old", config, |_| {
        let (reason, remedy) = lack();
        assert!(reason.contains("too old") && reason.contains("11.4"), "{reason}");
        assert!(remedy.contains("12.0"), "{remedy}");
    });
}

#[test]
fn a_driver_that_does_not_start() {
    alone("a_driver_that_does_not_start", Config::default().init_error(999), |_| {
        let (reason, remedy) = lack();
        assert!(reason.contains("failed to start"), "{reason}");
        assert!(remedy.contains("nvidia-smi"), "{remedy}");
    });
}

#[test]
fn a_driver_of_another_version_than_the_kernels() {
    let name = "a_driver_of_another_version_than_the_kernels";
    alone(name, Config::default().init_error(803), |_| {
        let (reason, remedy) = lack();
        assert!(reason.contains("do not match"), "{reason}");
        assert!(remedy.contains("restart the machine"), "{remedy}");
    });
}

#[test]
fn a_driver_that_works_says_what_it_has() {
    alone("a_driver_that_works_says_what_it_has", Config::default().devices(2), |_| {
        let details = Cuda.details();
        let of = |name: &str| details.iter().find(|detail| detail.name == name).map(|d| &d.value);
        assert_eq!(of("driver").unwrap(), "supports CUDA 12.8");
        assert_eq!(of("compute capability").unwrap(), "8.0");
        assert!(of("name").is_some());
    });
}
