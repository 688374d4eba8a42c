//! The scenes of NLSQ's memory manager (seed 003), in the order of its guide.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bridge_core::DataType;
use bridge_memory::ManualClock;
use bridge_memory::budget::Shortage;
use bridge_memory::chunk::ChunkPlan;
use bridge_memory::manager::{
    FitSize, FitStrategy, MemoryBudget, MemoryManager, MemoryManagerBuilder, clear_memory_pool,
    get_memory_manager, get_memory_stats,
};
use bridge_memory::probe::FixedProbe;

pub(crate) const GB: u64 = 1_000_000_000;

/// A machine that the test sets.
pub(crate) struct Machine {
    pub(crate) probe: Arc<FixedProbe>,
    pub(crate) clock: Arc<ManualClock>,
    resident: Arc<AtomicU64>,
}

impl Machine {
    /// With so many GB in all and available, of which this process has one.
    pub(crate) fn new(total: u64, available: u64) -> Self {
        let probe = Arc::new(FixedProbe::new(total * GB, available * GB));
        let (clock, resident) = (Arc::new(ManualClock::new()), Arc::new(AtomicU64::new(GB)));
        Self { probe, clock, resident }
    }

    pub(crate) fn builder(&self) -> MemoryManagerBuilder {
        let resident = Arc::clone(&self.resident);
        MemoryManager::builder()
            .probe(Arc::clone(&self.probe))
            .clock(Arc::clone(&self.clock))
            .resident(move || Ok(resident.load(Ordering::SeqCst)))
    }

    pub(crate) fn manager(&self) -> MemoryManager {
        self.builder().build().unwrap()
    }

    /// This process has so many bytes more in memory.
    pub(crate) fn grow(&self, bytes: u64) {
        self.resident.fetch_add(bytes, Ordering::SeqCst);
    }
}

#[test]
fn basic_memory_management() {
    let machine = Machine::new(8, 4);
    let manager = machine.builder().gc_threshold(0.8).safety_factor(1.2).build().unwrap();
    assert_eq!(manager.get_available_memory().unwrap(), 4 * GB);
    assert_eq!(manager.get_memory_usage_bytes(), GB);
    assert_eq!(manager.get_memory_usage_fraction().unwrap(), 0.5);
    let needed = manager.predict_memory_requirement(1_000_000, 10, "trf", DataType::F64).unwrap();
    assert_eq!(needed, 144_001_536);
    let (fits, message) = manager.check_memory_availability(needed);
    assert!(fits);
    assert_eq!(message, "Memory available: 4.00GB >= 0.14GB needed");
    let (fits, message) = manager.check_memory_availability(8 * GB);
    assert!(!fits);
    assert_eq!(message, "Insufficient memory: need 8.00GB, have 4.00GB available");
}

#[test]
fn memory_safe_operations() {
    let machine = Machine::new(8, 4);
    let manager = machine.manager();
    let needed = manager.predict_memory_requirement(5_000_000, 5, "trf", DataType::F64).unwrap();
    let guard = manager.memory_guard(needed).unwrap();
    machine.grow(needed / 2); // the work
    assert_eq!(guard.bytes(), needed);
    drop(guard);
    // What cannot be had is an error, and the caller falls back to chunks.
    let refused = manager.memory_guard(100 * GB).unwrap_err();
    assert!(matches!(Shortage::of(&refused), Some(Shortage::Never { .. })), "{refused}");
    let stats = manager.get_memory_stats().unwrap();
    assert_eq!(stats.total_requested_gb, Some(needed as f64 / 1e9));
    assert_eq!(stats.rss_delta_max_gb, Some((needed / 2) as f64 / 1e9));
    assert_eq!(stats.peak_usage_gb, (GB + needed / 2) as f64 / 1e9);
}

#[test]
fn array_pooling() {
    let manager = Machine::new(8, 4).manager();
    let mut jacobian = manager.allocate_array::<f64>(&[1000, 10]).unwrap();
    let residuals = manager.allocate_array::<f64>(&[1000]).unwrap();
    assert_eq!(
        (jacobian.shape(), jacobian.len(), residuals.len()),
        (&[1000, 10][..], 10_000, 1000)
    );
    jacobian.fill(7.0);
    // While it is in use, nobody else gets its memory, and nobody zeroes it.
    let other = manager.allocate_array::<f64>(&[1000, 10]).unwrap();
    assert_ne!(jacobian.as_ptr(), other.as_ptr());
    assert!(jacobian.iter().all(|&element| element == 7.0));
    assert_eq!(manager.get_memory_stats().unwrap().pool_arrays, 0);
    let memory = jacobian.as_ptr();
    manager.free_array(jacobian);
    manager.free_array(residuals);
    assert_eq!(manager.get_memory_stats().unwrap().pool_arrays, 2);
    let again = manager.allocate_array::<f64>(&[1000, 10]).unwrap();
    assert_eq!(again.as_ptr(), memory);
    assert!(again.iter().all(|&element| element == 0.0));
    let stats = manager.get_memory_stats().unwrap();
    assert_eq!((stats.allocations, stats.efficiency), (4, Some(0.25)));
    // The same without zeros, and as a tensor.
    drop(other);
    let counted = manager.allocate_array_uninit::<f64>(&[1000, 10]).unwrap();
    let tensor = counted.write_with(|index| index as f64).into_tensor().unwrap();
    assert_eq!(
        (tensor.shape(), tensor.as_slice::<f64>().unwrap()[9999]),
        (&[1000, 10][..], 9999.0)
    );
}

#[test]
fn temporary_allocations() {
    let manager = Machine::new(8, 4).manager();
    let sum = manager.temporary_allocation(&[1000, 50], |array| {
        array.fill(0.5);
        array.iter().sum::<f64>()
    });
    assert_eq!(sum.unwrap(), 25_000.0);
    assert_eq!(manager.get_memory_stats().unwrap().pool_arrays, 1);
}

#[test]
fn chunking_strategy_estimation() {
    let manager = Machine::new(8, 4).manager();
    let estimate = |points, parameters, limit| {
        manager.estimate_chunking_strategy(points, parameters, "trf", limit)
    };
    let strategy = estimate(100_000_000, 5, Some(4.0)).unwrap();
    assert!(strategy.needs_chunking);
    assert_eq!((strategy.chunk_size, strategy.n_chunks), (1_000_000, 100));
    assert_eq!(strategy.memory_per_chunk_gb, 0.096_000_528);
    assert_eq!(strategy.total_points, Some(100_000_000));
    let strategy = estimate(1_000_000, 100, Some(0.01)).unwrap();
    assert_eq!((strategy.chunk_size, strategy.n_chunks), (1475, 678));
    assert_eq!(strategy.memory_per_chunk_gb, 0.001_588_56);
    // Without a limit it is 0.8 of what is available.
    assert!(!estimate(1_000_000, 5, None).unwrap().needs_chunking);
    let (of_available, same) =
        (estimate(100_000_000, 5, None), estimate(100_000_000, 5, Some(3.2)));
    assert_eq!(of_available.unwrap(), same.unwrap());
}

#[test]
fn global_memory_manager() {
    let manager = get_memory_manager();
    let array = manager.allocate_array::<f64>(&[1000, 100]).unwrap();
    let stats = get_memory_stats().unwrap();
    assert!(stats.current_usage_gb > 0.0 && stats.available_gb > 0.0, "{stats:?}");
    assert!(stats.peak_usage_gb >= stats.current_usage_gb);
    assert_eq!((stats.allocations, stats.pool_arrays), (1, 0));
    drop(array);
    assert_eq!(get_memory_stats().unwrap().pool_arrays, 1);
    assert_eq!(clear_memory_pool().count, 1);
    assert_eq!(get_memory_stats().unwrap().pool_memory_gb, 0.0);
}

#[test]
fn integration_with_large_dataset_fitting() {
    let machine = Machine::new(8, 1);
    let manager = machine.builder().gc_threshold(0.75).build().unwrap();
    let (points, parameters) = (50_000_000, 3);
    let needed =
        manager.predict_memory_requirement(points, parameters, "trf", DataType::F64).unwrap();
    assert!(!manager.check_memory_availability(needed).0);
    let strategy = manager.estimate_chunking_strategy(50_000_000, 3, "trf", Some(4.0)).unwrap();
    assert_eq!((strategy.chunk_size, strategy.n_chunks), (500_000, 100));
    // Each chunk is guarded, and takes what it was promised; all points are done.
    let mut done = 0;
    for chunk in ChunkPlan::of_size(50_000_000, strategy.chunk_size).unwrap().chunks() {
        let points = chunk.len() as u64;
        let bytes = manager.predict_memory_requirement(points, 3, "trf", DataType::F64).unwrap();
        assert_eq!(bytes as f64 / 1e9, strategy.memory_per_chunk_gb);
        let _guard = manager.memory_guard(bytes).unwrap();
        done += chunk.len();
    }
    assert_eq!(done, 50_000_000);
}

#[test]
fn memory_statistics_and_diagnostics() {
    let machine = Machine::new(8, 4);
    let manager = machine.manager();
    for _ in 0..10 {
        let array = manager.allocate_array::<f64>(&[10_000, 100]).unwrap();
        manager.free_array(array);
    }
    let stats = manager.get_memory_stats().unwrap();
    assert_eq!((stats.allocations, stats.pool_arrays, stats.efficiency), (10, 1, Some(0.9)));
    assert!((0.008..0.010).contains(&stats.pool_memory_gb), "{stats:?}");
    let keys = |manager: &MemoryManager| -> BTreeSet<String> {
        let stats = serde_json::to_value(manager.get_memory_stats().unwrap()).unwrap();
        stats.as_object().unwrap().keys().cloned().collect()
    };
    let always = [
        "current_usage_gb",
        "available_gb",
        "peak_usage_gb",
        "usage_fraction",
        "pool_memory_gb",
        "pool_arrays",
        "allocations",
        "disable_padding",
    ];
    let named = |more: &[&str]| always.iter().chain(more).map(|&name| name.to_owned()).collect();
    assert_eq!(keys(&machine.manager()), named(&[]));
    drop(manager.memory_guard(1000).unwrap());
    let with_history = [
        "efficiency",
        "total_requested_gb",
        "total_used_gb",
        "rss_delta_mean_gb",
        "rss_delta_max_gb",
    ];
    assert_eq!(keys(&manager), named(&with_history));
    let adaptive = machine.builder().enable_adaptive_safety(true).build().unwrap();
    assert_eq!(keys(&adaptive), named(&["safety_telemetry"]));

    // The pool grows, and is cut back to the arrays that came back last.
    let many: Vec<_> = (0..60).map(|_| manager.allocate_array::<u8>(&[100]).unwrap()).collect();
    drop(many);
    assert_eq!(manager.optimize_memory_pool(50).count, 11);
    assert_eq!(manager.get_memory_stats().unwrap().pool_arrays, 50);
}

#[test]
fn memory_prediction_for_different_algorithms() {
    let manager = Machine::new(8, 4).manager();
    let predict = |algorithm, data_type| {
        manager.predict_memory_requirement(10_000, 20, algorithm, data_type).unwrap()
    };
    for (algorithm, bytes) in
        [("trf", 2_404_992), ("lm", 2_308_608), ("dogbox", 2_501_184), ("other", 4_032_192)]
    {
        assert_eq!(predict(algorithm, DataType::F64), bytes, "{algorithm}");
    }
    assert_eq!(predict("trf", DataType::F32), 1_202_496);
    // NLSQ counts eight bytes.
    assert_eq!(predict("trf", DataType::F16), 601_248);
}

#[test]
fn configuration() {
    let machine = Machine::new(8, 4);
    let predict = |builder: MemoryManagerBuilder| {
        let manager = builder.build().unwrap();
        manager.predict_memory_requirement(10_000, 20, "trf", DataType::F64).unwrap()
    };
    let conservative = || machine.builder().gc_threshold(0.7).safety_factor(1.5);
    assert_eq!(predict(conservative()), 3_006_240);
    assert_eq!(predict(conservative().disable_padding(true)), 2_004_160);

    // Above the threshold, a guard's end clears the pool.
    for (available, kept) in [(3, 1), (1, 0)] {
        let machine = Machine::new(10, available);
        let manager = machine.builder().gc_threshold(0.8).build().unwrap();
        drop(manager.allocate_array::<f64>(&[1000]).unwrap());
        drop(manager.memory_guard(1000).unwrap());
        assert_eq!(manager.get_memory_stats().unwrap().pool_arrays, kept);
    }
}

#[test]
fn adaptive_safety() {
    let machine = Machine::new(8, 4);
    let manager = machine.builder().enable_adaptive_safety(true).build().unwrap();
    let predict = || manager.predict_memory_requirement(10_000, 20, "trf", DataType::F64).unwrap();
    for _ in 0..20 {
        let guard = manager.memory_guard(predict()).unwrap();
        machine.grow(2_024_201); // 1 % more than the model says
        drop(guard);
    }
    let telemetry = manager.get_safety_telemetry();
    assert_eq!((telemetry.initial_safety_factor, telemetry.current_safety_factor), (1.2, 1.05));
    assert_eq!((telemetry.telemetry_entries, telemetry.adaptive_enabled), (20, true));
    assert!((telemetry.p95_safety_needed.unwrap() - 1.01).abs() < 1e-6, "{telemetry:?}");
    assert_eq!(predict(), 2_104_368);
    // Work that took more than was predicted raises it.
    let guard = manager.memory_guard(predict()).unwrap();
    machine.grow(4_008_320);
    drop(guard);
    let guard = manager.memory_guard(predict()).unwrap();
    machine.grow(4_008_320);
    drop(guard);
    assert!(manager.get_safety_telemetry().current_safety_factor > 1.9);
}

/// NLSQ's formulas, by its own sizes: GB are gibibytes there.
#[test]
fn strategy_by_what_a_fit_takes() {
    let choose = |n_points, n_params, available| {
        let size = FitSize::new(n_points, n_params);
        MemoryBudget::compute(size, 0.75, available).unwrap().strategy()
    };
    assert_eq!(choose(1_000_000, 5, 16.0), FitStrategy::Standard);
    // 1.49 GiB of data and 3.73 of Jacobian; a chunk of a small threshold is below a million points.
    assert_eq!(choose(100_000_000, 5, 4.0), FitStrategy::Chunked { chunk_size: 1_000_000 });
    assert_eq!(choose(100_000_000, 5, 1.0), FitStrategy::Streaming { batch_size: 1_000_000 });
    assert_eq!(choose(100_000, 1000, 0.5), FitStrategy::Chunked { chunk_size: 37_673 });
    assert_eq!(choose(10_000_000, 1000, 0.01), FitStrategy::Streaming { batch_size: 1000 });

    let budget = Machine::new(8, 4).manager().memory_budget(FitSize::new(1 << 27, 2), 0.5).unwrap();
    let four_gb_in_gib = 4e9 / f64::from(1 << 30);
    assert!((budget.available_gb - four_gb_in_gib).abs() < 1e-9, "{budget:?}");
    assert_eq!((budget.data_gb, budget.jacobian_gb), (2.0, 2.0));
    assert!((budget.peak_gb - 4.7).abs() < 1e-12);
    for (points, parameters, safety, available) in [
        (0, 5, 0.75, 1.0),
        (10, 0, 0.75, 1.0),
        (10, 5, 0.0, 1.0),
        (10, 5, f64::NAN, 1.0),
        (10, 5, 0.75, -1.0),
        (10, 5, 0.75, f64::INFINITY),
    ] {
        let size = FitSize::new(points, parameters);
        assert!(MemoryBudget::compute(size, safety, available).is_err(), "{size:?}");
    }
}
