//! A process in a control group whose memory is limited, as in a container: there the kernel ends
//! whoever takes more, so that what cannot fit must be refused before.

use std::io::Write as _;

use bridge_convert::ConvertByName as _;
use bridge_core::{Array, DataType, ManagedTensor, Options};
use bridge_memory::budget::{Budget, Shortage};
use bridge_memory::chunk::{ChunkMap, ChunkPlan};
use bridge_memory::manager::MemoryManager;
use bridge_memory::pool::PoolOptions;
use bridge_memory::probe::{HostProbe, MemoryProbe as _, Source};

use crate::group::LimitedGroup;
use crate::support::{HostArray, registry};

/// Tells the child its group's directory.
const VARIABLE: &str = "BRIDGE_MEMORY_TEST_GROUP";
const MIB: u64 = 1 << 20;
const LIMIT: u64 = 192 * MIB;

/// Runs in a child of the test below.
#[test]
fn in_a_child_in_a_limited_group() {
    let Ok(group) = std::env::var(VARIABLE) else { return };
    let measured = HostProbe::new().measure().unwrap();
    assert_eq!(measured.total, LIMIT, "{measured}");
    assert!(measured.available < LIMIT, "{measured}");
    let (Source::CgroupV1(from) | Source::CgroupV2(from)) = &measured.total_from else {
        panic!("{measured}")
    };
    assert_eq!((&**from, &measured.available_from), (&*group, &measured.total_from));

    let budget = Budget::measured("this process", HostProbe::new(), 1.0).unwrap();
    let never = budget.reserve(LIMIT + 1).unwrap_err();
    assert!(matches!(never, Shortage::Never { capacity: LIMIT, .. }), "{never}");
    drop(budget.reserve(32 * MIB).unwrap());

    let manager = MemoryManager::new();
    let (fits, told) = manager.check_memory_availability(LIMIT + 1);
    assert!(!fits && told.starts_with("Insufficient memory: need 0.20GB"), "{told}");
    assert!(manager.memory_guard(LIMIT + 1).is_err());
    assert!(manager.allocate_array::<u8>(&[LIMIT as usize + 1]).is_err());
    drop(manager.memory_guard(32 * MIB).unwrap());

    let pool = PoolOptions::new().within(&budget, "pool").build();
    let refused = pool.zeroed::<u8>(LIMIT as usize + 1).unwrap_err();
    assert!(matches!(Shortage::of(&refused), Some(Shortage::Never { .. })), "{refused}");
    drop(pool.zeroed::<u8>(32 << 20).unwrap());

    // 32 MiB, which as float64 are 256.
    let registry = registry();
    let array = ManagedTensor::from_vec(vec![7_u8; 32 << 20], &[32 << 20]).unwrap();
    let to_f64 = Options::default().cast(DataType::F64).within(&budget);
    let array = Array::new(HostArray(array));
    let refused = registry.convert(array, "host", to_f64).unwrap_err();
    assert!(Shortage::of(refused.error()).is_some(), "{}", refused.error());
    let array = refused.into_value();
    let whole = &array.downcast_ref::<HostArray>().unwrap().0;
    assert!(whole.as_slice::<u8>().unwrap().iter().all(|&byte| byte == 7));

    // In chunks it does fit.
    let plan = ChunkPlan::of_size(32 << 20, 4 << 20).unwrap();
    let mut sum = 0.0;
    let mapped = ChunkMap::new(&registry, &plan).to("host").options(to_f64).run(array, |chunk| {
        let chunk = chunk.downcast::<HostArray>()?.0;
        sum += chunk.as_slice::<f64>()?.iter().sum::<f64>();
        Ok(Array::new(ManagedTensor::from_vec(vec![0_u8; 4 << 20], &[4 << 20])?))
    });
    mapped.unwrap();
    assert_eq!(sum, 7.0 * (32 << 20) as f64);
}

#[test]
#[cfg_attr(miri, ignore = "Miri starts no processes")]
fn what_a_container_cannot_hold_is_refused_and_the_process_lives() {
    let group = match LimitedGroup::new(LIMIT) {
        Ok(group) => group,
        Err(reason) => {
            let told =
                writeln!(std::io::stderr(), "not run: a child in a limited cgroup: {reason}");
            return told.unwrap();
        }
    };
    let child = group
        .command(std::env::current_exe().unwrap())
        .args(["--exact", "group_child::in_a_child_in_a_limited_group", "--test-threads=1"])
        .env(VARIABLE, group.place())
        .output()
        .unwrap();
    let told = String::from_utf8_lossy(&child.stdout);
    assert!(child.status.success() && told.contains("1 passed"), "{} {told}", child.status);
}
