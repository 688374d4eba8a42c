//! Child processes find the simulated driver by their environment, and the checks that end a process do.
//!
//! Each test runs this program again with the name of a scene in a variable.

mod support;

use std::process::{Command, Output};

use cudarc::driver::CudaContext;
use simulated_cuda::{Config, environment};
use support::{address, context};

const SCENE: &str = "SIMULATED_CUDA_SCENE";

/// Runs `scene` in a process of its own, that does not load the driver by its path.
fn play(scene: &str, config: &Config, variables: &[(&str, &str)]) -> Output {
    let program = std::env::current_exe().expect("a program knows its path");
    let mut command = Command::new(program);
    command.args(["scenes", "--exact", "--ignored", "--nocapture", "--test-threads=1"]);
    command.env_remove("CUDA_VISIBLE_DEVICES").env(SCENE, scene);
    command.envs(environment(config)).envs(variables.iter().copied());
    command.output().expect("the program runs again")
}

fn said(output: &Output) -> String {
    let Output { stdout, stderr, .. } = output;
    format!("{}{}", String::from_utf8_lossy(stdout), String::from_utf8_lossy(stderr))
}

#[test]
#[ignore = "the other tests play it in processes of their own"]
#[expect(clippy::print_stdout, reason = "the other tests read it")]
fn scenes() {
    let scene = std::env::var(SCENE).unwrap_or_default();
    match scene.as_str() {
        "count" => println!("devices: {:?}", CudaContext::device_count()),
        "names" => {
            let names: Vec<_> = (0..CudaContext::device_count().expect("a count") as usize)
                .map(|device| context(device).name().expect("a name"))
                .collect();
            println!("names: {names:?}");
        }
        "clean" => drop(context(0).default_stream().alloc_zeros::<u8>(8).expect("there is room")),
        "leak" => {
            let array = context(0).default_stream().alloc_zeros::<u8>(8).expect("there is room");
            std::mem::forget(array);
        }
        "touch" => {
            let stream = context(0).default_stream();
            let array = stream.clone_htod(&[1_u8; 8]).expect("there is room");
            let at = std::ptr::with_exposed_provenance::<u8>(address(&array, &stream) as usize);
            // SAFETY: none; the driver ends the process, which is what the test is about.
            println!("read {}", unsafe { at.read_volatile() });
        }
        "race" => {
            let (context, first, second) = support::two_streams();
            let array = first.clone_htod(&[1_u8; 8]).expect("there is room");
            let copy = second.clone_dtod(&array).expect("there is room");
            drop((context.synchronize(), copy));
        }
        other => panic!("there is no scene {other:?}"),
    }
}

#[test]
fn a_child_process_finds_the_driver_with_its_configuration() {
    let output = play("count", &Config::default().devices(3), &[]);
    assert!(said(&output).contains("devices: Ok(3)"), "{}", said(&output));
}

#[test]
fn the_visible_devices_are_the_variables() {
    let visible =
        |devices| said(&play("names", &Config::default(), &[("CUDA_VISIBLE_DEVICES", devices)]));
    let both = visible("1,0");
    assert!(both.contains(r#"["Simulated device 1", "Simulated device 0"]"#), "{both}");
    let none = play("count", &Config::default(), &[("CUDA_VISIBLE_DEVICES", "")]);
    assert!(said(&none).contains("CUDA_ERROR_NO_DEVICE"), "{}", said(&none));
}

#[test]
fn a_process_that_leaks_ends_with_86() {
    let config = Config::default().check_leaks_at_exit(true);
    let clean = play("clean", &config, &[]);
    assert_eq!(clean.status.code(), Some(0), "{}", said(&clean));
    let leak = play("leak", &config, &[]);
    assert_eq!(leak.status.code(), Some(86), "{}", said(&leak));
    assert!(said(&leak).contains("8 bytes of device 0"), "{}", said(&leak));
}

#[test]
fn a_process_ends_when_it_touches_device_memory() {
    let output = play("touch", &Config::default(), &[]);
    assert_eq!(output.status.code(), None, "a signal ends it: {}", said(&output));
    assert!(said(&output).contains("HostAccess: the host touched 0x"), "{}", said(&output));
    assert!(!said(&output).contains("read "), "{}", said(&output));
}

#[test]
fn a_violation_ends_the_process_if_asked() {
    let output = play("race", &Config::default().abort_on_violation(true), &[]);
    assert_eq!(output.status.code(), None, "a signal ends it: {}", said(&output));
    assert!(said(&output).contains("Race: cu"), "{}", said(&output));
    assert_eq!(play("race", &Config::default(), &[]).status.code(), Some(0));
}
