//! The conversion matrix of this program: every pair of linked backends, with their values.

use bridge_convert::ConvertByName;
use bridge_core::{Array, DataType, Options, Registration, Registry};
use bridge_nalgebra as _; // registers the backend
use bridge_testkit::bytes_of;
use bridge_testkit::fake_accelerator::FakeAccelerator;
use bridge_testkit::samples::{Arrangement, Backing};

/// What is linked, and a device, so that there is more than one.
fn registry() -> Registry {
    let linked = bridge_core::inventory::iter::<Registration>.into_iter().copied();
    Registry::new(linked.chain([
        Registration::backend(&FakeAccelerator),
        Registration::runtime(&FakeAccelerator),
        Registration::allocator(&FakeAccelerator),
    ]))
}

#[test]
fn every_pair_of_linked_backends_converts() {
    let registry = registry();
    let names: Vec<_> = registry.backends().iter().map(|backend| backend.name()).collect();
    assert_eq!(names, ["nalgebra", "fake-accelerator"]);
    for source in &names {
        for target in &names {
            for data_type in registry.backend(target).unwrap().data_types() {
                if registry.backend(source).unwrap().data_types().contains(&data_type) {
                    converts(&registry, source, target, data_type);
                }
            }
        }
    }
}

fn converts(registry: &Registry, source: &str, target: &str, data_type: DataType) {
    let arrangements = Arrangement::of_rank(2);
    let samples = arrangements.iter().filter_map(|one| one.sample(data_type, Backing::RustOwner));
    for sample in samples {
        let made = registry.convert(Array::new(sample.tensor), source, Options::default()).unwrap();
        let array = registry.convert(made, target, Options::default()).unwrap();
        let mut tensor = array.export().unwrap();
        if !tensor.device().kind().is_host_accessible() {
            let runtime = registry.runtime(tensor.device()).unwrap();
            tensor = runtime.transfer(&tensor, bridge_core::Device::CPU).unwrap();
        }
        assert_eq!(bytes_of(&tensor), sample.expected, "{data_type} from {source} to {target}");
    }
}
