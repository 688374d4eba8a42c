//! A process whose address space is limited: what cannot fit is an error, and it lives.

use std::process::Command;

use bridge_convert::ConvertByName as _;
use bridge_core::{Array, DataType, ManagedTensor, Options};
use bridge_memory::budget::{Budget, Shortage};
use bridge_memory::chunk::{ChunkMap, ChunkPlan};
use bridge_memory::manager::MemoryManager;
use bridge_memory::pool::Pool;
use bridge_memory::probe::HostProbe;

use crate::support::{HostArray, registry};

const VARIABLE: &str = "BRIDGE_MEMORY_TEST_LITTLE_MEMORY";
const GIB: u64 = 1 << 30;

/// Runs in a child of the test below, with half a GiB of addresses.
#[test]
fn in_a_child_with_little_memory() {
    if std::env::var_os(VARIABLE).is_none() {
        return;
    }
    let budget = Budget::measured("this process", HostProbe::new(), 1.0).unwrap();
    assert!(matches!(budget.reserve(2 * GIB), Err(Shortage::Never { .. })));
    drop(budget.reserve(32 << 20).unwrap());

    let manager = MemoryManager::new();
    let (fits, told) = manager.check_memory_availability(2 * GIB);
    assert!(!fits && told.starts_with("Insufficient memory: need 2.15GB"), "{told}");
    assert!(manager.memory_guard(2 * GIB).is_err());
    assert!(manager.allocate_array::<u8>(&[2 << 30]).is_err());
    drop(manager.memory_guard(32 << 20).unwrap());

    // No budget knows of these: the system itself refuses.
    let pool = Pool::new();
    assert!(pool.zeroed::<u8>(2 << 30).unwrap_err().out_of_memory().is_some());
    drop(pool.zeroed::<u8>(32 << 20).unwrap());
    let registry = registry();
    let bytes = vec![7_u8; 64 << 20];
    let array = Array::new(HostArray(ManagedTensor::from_vec(bytes, &[64 << 20]).unwrap()));
    let to_f64 = Options::default().cast(DataType::F64); // 512 MiB
    let refused = registry.convert(array, "host", to_f64).unwrap_err();
    assert!(refused.error().out_of_memory().is_some(), "{}", refused.error());
    // Within a budget it is refused before anything is allocated.
    let within = to_f64.within(&budget);
    let refused = registry.convert(refused.into_value(), "host", within).unwrap_err();
    assert!(Shortage::of(refused.error()).is_some(), "{}", refused.error());
    let array = refused.into_value();

    // In chunks it does fit.
    let plan = ChunkPlan::of_size(64 << 20, 8 << 20).unwrap();
    let mut sum = 0.0;
    let mapped = ChunkMap::new(&registry, &plan).to("host").options(to_f64).run(array, |chunk| {
        let chunk = chunk.downcast::<HostArray>()?.0;
        sum += chunk.as_slice::<f64>()?.iter().sum::<f64>();
        Ok(Array::new(ManagedTensor::from_vec(vec![0_u8; 8 << 20], &[8 << 20])?))
    });
    mapped.unwrap();
    assert_eq!(sum, 7.0 * (64 << 20) as f64);
}

#[test]
#[cfg(target_os = "linux")]
#[cfg_attr(miri, ignore = "Miri starts no processes")]
fn a_request_that_cannot_fit_is_an_error_and_the_process_lives() {
    let script = format!("ulimit -v {} && exec \"$0\" \"$@\"", GIB / 2 / 1024);
    let child = Command::new("sh")
        .args(["-c", &script])
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", "child::in_a_child_with_little_memory", "--test-threads=1"])
        .env(VARIABLE, "1")
        .output()
        .unwrap();
    let told = String::from_utf8_lossy(&child.stdout);
    assert!(child.status.success() && told.contains("1 passed"), "{told}");
}
