//! Tensors as their holder sees them: who may write, what they are known to be, and what becomes of
//! them when they are changed, shared, or taken apart.

use std::any::TypeId;
use std::ffi::c_void;
use std::ptr::without_provenance_mut;

use bridge_tensor::{
    Access, DataType, Device, Error, HostMemory, Layout, ManagedTensor, Owner, Ownership, Stream,
    TensorSpec, alignment_of, vec_with_room,
};

const ACCESSES: [Access; 3] = [Access::ReadOnly, Access::Shared, Access::Exclusive];

/// A 2×3 tensor of 0 to 5, kept by an array that nobody else has.
fn kept(owner: impl FnOnce(Array) -> Owner, access: Access) -> ManagedTensor {
    let mut array = Array(vec![0, 1, 2, 3, 4, 5]);
    let data = array.0.as_mut_ptr().cast();
    let spec = TensorSpec::row_major(DataType::I32, &[2, 3]).unwrap();
    // SAFETY: the array, which the owner keeps, has six initialized elements, may be dropped on any
    // thread, and is in nobody else's hands.
    unsafe { ManagedTensor::from_parts(data, spec, Device::CPU, access, owner(array)) }.unwrap()
}

/// What a framework keeps memory in.
struct Array(Vec<i32>);

/// A 2×3 tensor of 0 to 5 in a vector.
fn vector() -> ManagedTensor {
    ManagedTensor::from_vec((0..6_i32).collect(), &[2, 3]).unwrap()
}

/// A 2×3 tensor of bytes in memory of this handle.
fn handle(handle: *mut c_void, byte_offset: usize) -> ManagedTensor {
    let spec = TensorSpec {
        data_type: DataType::U8,
        layout: Layout::row_major(&[2, 3]).unwrap().at_byte_offset(byte_offset),
    };
    let (device, owner) = (Device::opencl(1), Owner::nothing());
    // SAFETY: nothing uses the handle.
    unsafe { ManagedTensor::from_parts(handle, spec, device, Access::Exclusive, owner) }.unwrap()
}

#[test]
fn an_owner_is_given_back_to_who_knows_it_until_the_tensor_is_changed() {
    struct OtherArray;
    type Way = fn(Array) -> Owner;
    let ways: [(Way, TypeId, Ownership); 3] = [
        (Owner::keep, TypeId::of::<Array>(), Ownership::Kept),
        (Owner::keep_for::<OtherArray, _>, TypeId::of::<OtherArray>(), Ownership::Kept),
        (Owner::keep_vector, TypeId::of::<Array>(), Ownership::Movable),
    ];
    for (owner, taken_back_by, ownership) in ways {
        let tensor = kept(owner, Access::Exclusive);
        let described = tensor.describe();
        assert_eq!((described.owner, described.ownership), (Some(taken_back_by), ownership));
        assert!(tensor.is_kept_by::<Array>() && !tensor.is_kept_by::<OtherArray>());
        assert_eq!(tensor.owner_ref::<Array>().unwrap().0.len(), 6);
        assert!(tensor.owner_ref::<OtherArray>().is_none());
        let Err(tensor) = tensor.into_owner::<OtherArray>() else { panic!("another type") };
        assert_eq!(tensor.into_owner::<Array>().ok().unwrap().0, [0, 1, 2, 3, 4, 5]);

        let changed = kept(owner, Access::Exclusive).permuted(&[1, 0]).unwrap();
        let described = changed.describe();
        assert_eq!((described.owner, described.ownership), (None, Ownership::Kept));
        assert!(!changed.is_kept_by::<Array>() && changed.owner_ref::<Array>().is_none());
        assert_eq!(changed.into_owner::<Array>().err().unwrap().shape(), [3, 2]);

        let refused = owner(Array(vec![7])).into_kept::<OtherArray>().err().unwrap();
        assert_eq!(refused.into_kept::<Array>().ok().unwrap().0, [7]);
    }
    // A value of one pointer is kept without a box.
    let tensor = kept(|array| Owner::keep(Box::new(array)), Access::ReadOnly);
    assert_eq!(tensor.owner_ref::<Box<Array>>().unwrap().0.len(), 6);
    assert_eq!(tensor.into_owner::<Box<Array>>().ok().unwrap().0.len(), 6);
    assert!(vector().describe().owner.is_none());
    assert!(vector().into_owner::<Vec<i32>>().is_err(), "a vector comes from into_vec");
    assert!(Owner::nothing().into_kept::<Array>().is_err());
}

#[test]
fn a_tensor_and_its_owner_are_printed_without_the_elements() {
    let printed = |tensor: &ManagedTensor| format!("{tensor:?}");
    let tensor = vector();
    assert_eq!(
        printed(&tensor),
        "ManagedTensor { data_type: int32, device: cpu, layout: shape [2, 3] strides [3, 1], \
         access: Exclusive, owner: host memory, .. }"
    );
    let shared = tensor.into_shared();
    assert!(printed(&ManagedTensor::alias(&shared)).contains("owner: a shared tensor"));
    assert!(printed(&kept(Owner::keep, Access::Shared)).contains("owner: a Rust value"));
    assert!(printed(&kept(Owner::keep_vector, Access::Shared)).contains("owner: a Rust value"));
    assert!(printed(&handle(without_provenance_mut(64), 0)).contains("owner: nothing"));
    // SAFETY: the tensor was handed out just now, and is taken back once.
    let back = unsafe { ManagedTensor::from_dlpack(vector().into_dlpack().as_ptr()) }.unwrap();
    assert!(printed(&back).contains("owner: a DLPack deleter"));
}

#[test]
fn what_a_plan_is_told_is_what_the_tensor_is() {
    let tensor = vector();
    let facts = tensor.facts();
    assert_eq!((facts.data_type, facts.device), (DataType::I32, Device::CPU));
    assert_eq!((facts.layout, facts.access), (tensor.layout(), Access::Exclusive));
    assert_eq!(facts.alignment, alignment_of(tensor.data()));
    let described = tensor.describe();
    assert_eq!((described.data_type, described.device), (DataType::I32, Device::CPU));
    assert_eq!(format!("{:?}", described.facts()), format!("{facts:?}"));
    assert_eq!(tensor.shape(), [2, 3]);
    assert_eq!(tensor.spec(), TensorSpec::row_major(DataType::I32, &[2, 3]).unwrap());

    let addresses =
        [(1, 1), (2, 2), (12, 4), (64, 64), (4096, 4096), (3 << 12, 4096), (1 << 20, 4096)];
    for (address, alignment) in addresses {
        assert_eq!(alignment_of(without_provenance_mut::<u8>(address)), alignment, "{address}");
    }
}

#[test]
fn a_vectors_memory_can_change_hands_as_long_as_the_tensor_starts_it() {
    type Change = fn(ManagedTensor) -> ManagedTensor;
    // Whether the allocation comes out, and whether it does as the vector of all that the tensor is.
    let changes: [(&str, Change, bool, bool); 9] = [
        ("nothing", |tensor| tensor, true, true),
        ("permuted", |tensor| tensor.permuted(&[1, 0]).unwrap(), true, true),
        ("first row", |tensor| tensor.selected(0, 0).unwrap(), true, true),
        ("second row", |tensor| tensor.selected(0, 1).unwrap(), false, false),
        ("first column", |tensor| tensor.selected(1, 0).unwrap(), true, false),
        ("backwards", |tensor| tensor.sliced(0, 1, 2, -1).unwrap(), true, false),
        ("no rows", |tensor| tensor.sliced(0, 2, 0, 1).unwrap(), true, true),
        ("read-only", ManagedTensor::into_read_only, true, false),
        ("alias", |tensor| ManagedTensor::alias(&tensor.into_shared()), false, false),
    ];
    for (name, change, is_movable, is_vector) in changes {
        let tensor = change(vector());
        let (layout, address) = (tensor.layout().clone(), tensor.data());
        let is_known_movable = tensor.facts().ownership == Ownership::Movable;
        assert_eq!(is_known_movable, is_movable, "{name}");
        match tensor.into_host_memory() {
            Ok((memory, spec)) => {
                assert!(is_movable, "{name}");
                assert_eq!((memory.size(), memory.alignment()), (24, 4), "{name}");
                assert_eq!(spec, TensorSpec { data_type: DataType::I32, layout }, "{name}");
            }
            Err(tensor) => {
                assert!(!is_movable, "{name}");
                assert_eq!((tensor.layout(), tensor.data()), (&layout, address), "{name}");
            }
        }
        let tensor = change(vector());
        let layout = tensor.layout().clone();
        match tensor.into_vec::<i32>() {
            Ok((vec, found)) => {
                assert!(is_vector, "{name}");
                assert_eq!(vec, (0..layout.element_count() as i32).collect::<Vec<_>>(), "{name}");
                assert_eq!((vec.capacity(), found), (6, layout), "{name}");
            }
            Err(refused) => {
                assert!(!is_vector, "{name}: {refused}");
                assert_eq!(refused.into_value().layout(), &layout, "{name}");
            }
        }
    }
    let refusal = |tensor: ManagedTensor| tensor.into_vec::<i32>().unwrap_err().to_string();
    assert!(refusal(vector().selected(0, 1).unwrap()).contains("do not fill the allocation"));
    assert!(refusal(vector().into_read_only()).contains("the tensor is read-only"));
    assert!(refusal(kept(Owner::keep, Access::Exclusive)).contains("another owner keeps"));
    let wrong = vector().into_vec::<f32>().unwrap_err().to_string();
    assert!(wrong.contains("the elements are int32"), "{wrong}");
}

#[test]
fn an_empty_tensor_of_a_vector_gives_it_back_wherever_it_lies_in_it() {
    let empty = || {
        let layout = Layout::row_major(&[0]).unwrap().at_byte_offset(4);
        ManagedTensor::from_vec_with_layout(vec![1_i32, 2], layout).unwrap()
    };
    assert!(empty().into_vec::<i32>().unwrap().0.is_empty());
    assert_eq!(empty().into_host_memory().unwrap().0.size(), 8);
    assert!(empty().as_slice::<i32>().unwrap().is_empty());
    // SAFETY: the tensor was handed out just now, and is taken back once.
    unsafe {
        let raw = empty().into_dlpack();
        assert!(raw.as_ref().dl_tensor.data.is_null(), "there is nothing to point to");
        drop(ManagedTensor::from_dlpack(raw.as_ptr()).unwrap());
    }
}

#[test]
fn packed_elements_come_out_as_bytes() {
    let packed = |count| {
        let memory = HostMemory::zeroed(3, 1).unwrap();
        let spec = TensorSpec::row_major(DataType::F4E2M1FN, &[count]).unwrap();
        // SAFETY: the memory is zeros.
        unsafe { ManagedTensor::from_host_memory(memory, spec) }
    };
    let tensor = packed(5).unwrap();
    assert_eq!(tensor.facts().ownership, Ownership::Movable);
    assert_eq!(tensor.into_byte_vec().unwrap().0, [0, 0, 0]);
    assert_eq!(packed(3).unwrap().into_byte_vec().unwrap().0, [0, 0]);
    assert_eq!(packed(6).unwrap().into_host_memory().unwrap().0.size(), 3);
    let refused = packed(7).unwrap_err();
    assert!(refused.to_string().contains("outside 3 bytes"), "{refused}");
    assert_eq!(refused.into_value().size(), 3);
    let refused = vector().into_byte_vec().unwrap_err();
    assert!(matches!(refused.error(), Error::NotAVector { .. }), "{refused}");
}

#[test]
fn a_layout_must_lie_within_the_elements() {
    // Of six elements of four bytes.
    let layouts: [(&[usize], &[isize], usize, bool); 14] = [
        (&[6], &[1], 0, true),
        (&[7], &[1], 0, false),
        (&[5], &[1], 4, true),
        (&[6], &[1], 4, false),
        (&[5], &[1], 3, false),
        (&[2, 3], &[3, 1], 0, true),
        (&[2, 3], &[4, 1], 0, false),
        (&[3], &[-1], 8, true),
        (&[3], &[-1], 4, false),
        (&[2, 3], &[1, 2], 0, true),
        (&[9], &[0], 20, true),
        (&[9], &[0], 24, false),
        (&[0], &[1], 400, true),
        (&[2], &[1], usize::MAX - 3, false),
    ];
    for (shape, strides, byte_offset, is_inside) in layouts {
        let layout = Layout::new(shape, strides, byte_offset).unwrap();
        let elements: Vec<i32> = (0..6).collect();
        let borrowed = ManagedTensor::with_borrowed(&elements, layout.clone(), |tensor| {
            assert_eq!((tensor.access(), tensor.others_may_write()), (Access::ReadOnly, false));
            assert_eq!(tensor.shape(), shape);
        });
        assert_eq!(borrowed.is_ok(), is_inside, "{layout:?}");
        let owned = ManagedTensor::from_vec_with_layout(elements, layout.clone());
        assert_eq!(owned.is_ok(), is_inside, "{layout:?}");
        match owned {
            Ok(tensor) => assert_eq!(tensor.access(), Access::Exclusive),
            Err(refused) => assert_eq!(refused.into_value(), [0, 1, 2, 3, 4, 5]),
        }
        // Memory without a type may hold elements at any byte.
        let memory = HostMemory::zeroed(24, 4).unwrap();
        let spec = TensorSpec { data_type: DataType::I32, layout: layout.clone() };
        // SAFETY: the memory is zeros.
        let tensor = unsafe { ManagedTensor::from_host_memory(memory, spec) };
        assert_eq!(tensor.is_ok(), is_inside || byte_offset == 3, "{layout:?}");
    }
    for shape in [&[5][..], &[7], &[2, 2]] {
        let refused = ManagedTensor::from_vec(vec![0_u8; 6], shape).unwrap_err();
        assert!(refused.to_string().contains("number of elements is 6"), "{refused}");
        assert_eq!(refused.into_value().len(), 6);
    }
}

#[test]
fn elements_lie_where_the_layout_says_whichever_end_it_starts_from() {
    let last_first = Layout::new(&[3], &[-2], 20).unwrap();
    let tensor = ManagedTensor::from_vec_with_layout((0..6_i32).collect(), last_first).unwrap();
    assert_eq!(tensor.layout().byte_offset(), 16, "from the lowest element to the first");
    for (index, expected) in [5, 3, 1].into_iter().enumerate() {
        // SAFETY: the pointer leads to an element of the vector, at `-2 * index` from the first.
        let found = unsafe { *tensor.first_element().cast::<i32>().offset(-2 * index as isize) };
        assert_eq!(found, expected);
    }
    let forwards = tensor.sliced(0, 2, 3, -1).unwrap();
    assert_eq!((forwards.layout().byte_offset(), forwards.layout().strides()), (0, &[2][..]));
    assert_eq!(forwards.selected(0, 1).unwrap().as_slice::<i32>().unwrap(), [3]);
}

#[test]
fn slices_are_given_of_memory_that_nobody_else_writes() {
    for access in ACCESSES {
        let mut tensor = kept(Owner::keep, access);
        assert_eq!(tensor.others_may_write(), access == Access::Shared);
        match tensor.as_slice::<i32>() {
            Ok(elements) => assert_eq!(elements, [0, 1, 2, 3, 4, 5]),
            Err(error) => assert!(error.to_string().contains("others may write"), "{error}"),
        }
        assert_eq!(tensor.as_slice::<i32>().is_ok(), access != Access::Shared, "{access:?}");
        match tensor.as_mut_slice::<i32>() {
            Ok(elements) => elements[5] = 7,
            Err(error) => assert!(matches!(error, Error::NotWritable { .. }), "{error}"),
        }
        let is_written = access == Access::Exclusive;
        // SAFETY: nobody writes meanwhile.
        let elements = unsafe { tensor.as_shared_slice::<i32>() }.unwrap();
        assert_eq!(elements[5], if is_written { 7 } else { 5 }, "{access:?}");

        // An alias may not be written, and others write to it as before.
        let shared = tensor.into_shared();
        let mut alias = ManagedTensor::alias(&shared);
        assert_eq!(alias.access(), Access::ReadOnly);
        assert_eq!(alias.others_may_write(), access == Access::Shared);
        assert_eq!(alias.as_slice::<i32>().is_ok(), access != Access::Shared);
        assert!(matches!(alias.as_mut_slice::<i32>(), Err(Error::NotWritable { .. })));
    }
    let mut tensor = vector();
    let wrong = tensor.as_mut_slice::<u32>().unwrap_err().to_string();
    assert!(wrong.contains("the elements are int32") && wrong.contains("u32"), "{wrong}");
    let mut turned = tensor.permuted(&[1, 0]).unwrap();
    let wrong = turned.as_mut_slice::<i32>().unwrap_err().to_string();
    assert!(wrong.contains("not row-major"), "{wrong}");
}

#[test]
fn a_bool_that_is_neither_true_nor_false_is_never_made() {
    let of = |byte: u8| {
        let memory = HostMemory::from_vec(vec![1, byte, 0]);
        let spec = TensorSpec::row_major(DataType::BOOL, &[3]).unwrap();
        // SAFETY: the memory is initialized.
        unsafe { ManagedTensor::from_host_memory(memory, spec) }.unwrap()
    };
    assert_eq!(of(1).into_vec::<bool>().unwrap().0, [true, true, false]);
    assert_eq!(of(0).as_mut_slice::<bool>().unwrap(), [true, false, false]);
    assert!(of(2).as_slice::<bool>().is_err() && of(2).as_mut_slice::<bool>().is_err());
    let refused = of(2).into_vec::<bool>().unwrap_err();
    assert!(refused.to_string().contains("byte 1 of a bool tensor is 2"), "{refused}");
    assert_eq!(refused.into_value().into_byte_vec().unwrap().0, [1, 2, 0]);
}

#[test]
fn access_is_limited_and_never_widened() {
    for access in ACCESSES {
        for most in ACCESSES {
            let tensor = kept(Owner::keep, access).limited_to(most);
            assert_eq!(tensor.access(), access.min(most), "{access:?} limited to {most:?}");
            // Its owner would give out more than is allowed.
            let is_limited = most < access;
            assert_eq!(tensor.is_kept_by::<Array>(), !is_limited, "{access:?}, {most:?}");
        }
        assert_eq!(kept(Owner::keep, access).into_read_only().access(), Access::ReadOnly);
        let broadcast = kept(Owner::keep, access).broadcast_to(&[4, 2, 3]).unwrap();
        assert_eq!((broadcast.access(), broadcast.shape()), (Access::ReadOnly, &[4, 2, 3][..]));
        for view in [
            kept(Owner::keep, access).permuted(&[1, 0]).unwrap(),
            kept(Owner::keep, access).reshaped(&[6]).unwrap(),
            kept(Owner::keep, access).sliced(1, 0, 2, 2).unwrap(),
            kept(Owner::keep, access).selected(0, 1).unwrap(),
        ] {
            assert_eq!(view.access(), access, "{view:?}");
        }
    }
}

#[test]
fn an_ignored_read_only_flag_is_remembered() {
    // SAFETY: nobody writes through any of these tensors.
    let ignored = |access| unsafe { kept(Owner::keep, access).ignore_read_only() };
    let tensor = ignored(Access::ReadOnly);
    assert_eq!((tensor.access(), tensor.is_read_only_ignored()), (Access::Shared, true));
    assert!(!tensor.others_may_write() && tensor.as_slice::<i32>().is_ok());
    assert!(tensor.is_kept_by::<Array>());

    let mut parts = tensor.unstack(0).unwrap();
    assert!(parts.iter().all(|part| part.access() == Access::Shared));
    let restored = parts.remove(0).restore_read_only();
    assert_eq!((restored.access(), restored.is_read_only_ignored()), (Access::ReadOnly, false));

    let alias = ManagedTensor::alias(&ignored(Access::ReadOnly).into_shared());
    assert_eq!((alias.access(), alias.is_read_only_ignored()), (Access::ReadOnly, false));
    for access in [Access::Shared, Access::Exclusive] {
        let tensor = ignored(access);
        assert_eq!((tensor.access(), tensor.is_read_only_ignored()), (access, false));
        assert_eq!(tensor.restore_read_only().access(), access);
        let part = ignored(access).unstack(0).unwrap().remove(0);
        assert_eq!((part.access(), part.is_read_only_ignored()), (access, false));
    }
}

#[test]
fn a_shared_tensor_is_writable_again_when_it_is_held_once() {
    let mut shared = vector().into_shared();
    assert!(shared.is_unique() && shared.unique().is_some());
    let clone = shared.clone();
    assert_eq!(clone.data(), shared.data());
    assert!(!shared.is_unique() && shared.unique().is_none());
    let alias = ManagedTensor::alias(&shared);
    let mut shared = shared.try_unwrap().expect_err("a clone and an alias are held");
    drop(clone);
    assert!(!shared.is_unique() && shared.unique().is_none());
    assert_eq!(alias.as_slice::<i32>().unwrap(), [0, 1, 2, 3, 4, 5]);
    drop(alias);
    assert!(shared.is_unique());
    shared.unique().unwrap().as_mut_slice::<i32>().unwrap()[0] = 9;
    let vec = shared.try_unwrap().unwrap().into_vec::<i32>().unwrap().0;
    assert_eq!(vec, [9, 1, 2, 3, 4, 5]);
}

#[test]
fn the_parts_of_a_tensor_are_as_writable_as_it_was() {
    for access in ACCESSES {
        let parts = kept(Owner::keep, access).unstack(0).unwrap();
        assert_eq!(parts.len(), 2);
        assert!(parts.iter().all(|part| part.access() == access && part.shape() == [3]));
    }
    let mut columns = vector().unstack(1).unwrap();
    let firsts: Vec<i32> =
        // SAFETY: each column starts at an element of the vector.
        columns.iter().map(|column| unsafe { *column.first_element().cast() }).collect();
    assert_eq!(firsts, [0, 1, 2]);
    let mut corner = columns.remove(1).selected(0, 1).unwrap();
    corner.as_mut_slice::<i32>().unwrap()[0] = 40;
    assert_eq!(corner.as_slice::<i32>().unwrap(), [40]);

    let refused = vector().unstack(2).unwrap_err();
    assert!(refused.to_string().contains("below the rank 2"), "{refused}");
    let whole = refused.into_value();
    assert_eq!((whole.shape(), whole.access()), (&[2, 3][..], Access::Exclusive));
}

#[test]
fn parts_that_meet_in_an_element_may_not_be_written() {
    // Windows of two into three elements, and one element three times.
    for strides in [[1, 1], [0, 1]] {
        let overlapping = || {
            let layout = Layout::new(&[2, 2], &strides, 0).unwrap();
            ManagedTensor::from_vec_with_layout(vec![1_i32, 2, 3], layout).unwrap()
        };
        let shared = overlapping().into_shared();
        // SAFETY: the elements are not reached through the whole; the parts are looked at one after
        // the other.
        let (slice, rest) = unsafe {
            let slice = ManagedTensor::slice_of(&shared, 0, 0).unwrap();
            (slice, ManagedTensor::rest_of(&shared, 0, 1).unwrap())
        };
        for mut part in overlapping().unstack(0).unwrap().into_iter().chain([slice, rest]) {
            assert_eq!(part.access(), Access::ReadOnly, "{part:?}");
            assert!(matches!(part.as_mut_slice::<i32>(), Err(Error::NotWritable { .. })));
        }
    }
    let broadcast = vector().broadcast_to(&[2, 2, 3]).unwrap();
    for mut part in broadcast.unstack(0).unwrap() {
        assert_eq!((part.access(), part.shape()), (Access::ReadOnly, &[2, 3][..]));
        assert!(part.as_mut_slice::<i32>().is_err() && part.into_vec::<i32>().is_err());
    }
}

#[test]
fn ranges_of_an_axis_are_written_apart_and_come_back_as_the_whole() {
    let shared = vector().into_shared();
    // SAFETY: no index is in two of the ranges, and nothing is reached through the whole.
    let range = |indices| unsafe { ManagedTensor::range_of(&shared, 1, indices) };
    let (mut first, last, nothing) =
        (range(0..1).unwrap(), range(1..3).unwrap(), range(3..3).unwrap());
    assert_eq!(
        (first.shape(), last.shape(), nothing.shape()),
        (&[2, 1][..], &[2, 2][..], &[2, 0][..])
    );
    assert_eq!((first.access(), last.layout().strides()), (Access::Exclusive, &[3, 1][..]));
    // SAFETY: the element is the part's own, which is exclusive.
    unsafe { first.first_element().cast::<i32>().add(3).write(30) };
    first = first.selected(0, 1).unwrap();
    assert_eq!(first.as_slice::<i32>().unwrap(), [30]);
    assert!(range(2..4).is_err());
    // SAFETY: there is no such axis.
    assert!(unsafe { ManagedTensor::range_of(&shared, 2, 0..1) }.is_err());
    drop((first, last, nothing));
    let vec = shared.try_unwrap().unwrap().into_vec::<i32>().unwrap().0;
    assert_eq!(vec, [0, 1, 2, 30, 4, 5]);
}

#[test]
fn the_rest_of_a_tensor_is_what_its_first_parts_leave() {
    let shared = vector().into_shared();
    // SAFETY: each index is reached through one part, and not through the whole.
    let (mut first, mut rest) = unsafe {
        let first = ManagedTensor::slice_of(&shared, 0, 0).unwrap();
        (first, ManagedTensor::rest_of(&shared, 0, 1).unwrap())
    };
    assert_eq!((first.shape(), rest.shape()), (&[3][..], &[1, 3][..]));
    first.as_mut_slice::<i32>().unwrap()[0] = 10;
    rest.as_mut_slice::<i32>().unwrap()[0] = 30;
    // SAFETY: as above; there is nothing behind the last index.
    let nothing = unsafe { ManagedTensor::rest_of(&shared, 0, 2) }.unwrap();
    assert_eq!(nothing.shape(), [0, 3]);
    // SAFETY: there are no such axes.
    assert!(unsafe { ManagedTensor::rest_of(&shared, 2, 0) }.is_err());
    drop((first, rest, nothing));
    let vec = shared.try_unwrap().unwrap().into_vec::<i32>().unwrap().0;
    assert_eq!(vec, [10, 1, 2, 30, 4, 5]);
}

#[test]
fn what_is_ready_on_a_stream_is_not_read_before() {
    assert_eq!(vector().stream(), None);
    // SAFETY: the stream is never used.
    let tensor = unsafe { vector().ready_on(Some(Stream(7))) };
    assert_eq!(tensor.stream(), Some(Stream(7)));
    let refused = tensor.as_slice::<i32>().unwrap_err().to_string();
    assert!(refused.contains("Stream(7)") && refused.contains("synchronize"), "{refused}");
    let tensor = tensor.into_vec::<i32>().expect_err("not ready yet").into_value();
    let view = tensor.permuted(&[1, 0]).unwrap().into_shared();
    assert_eq!(ManagedTensor::alias(&view).stream(), Some(Stream(7)));
    // SAFETY: the data was always ready.
    let ready = unsafe { view.try_unwrap().unwrap().ready_on(None) };
    assert_eq!(ready.stream(), None);
    assert_eq!(ready.into_vec::<i32>().unwrap().0, [0, 1, 2, 3, 4, 5]);
}

#[test]
fn a_handle_stays_as_it_is_and_offsets_are_counted_beside_it() {
    // Not an address: a multiple of no element's size.
    let opaque = without_provenance_mut(0x1001);
    let offset = |tensor: &ManagedTensor| (tensor.data(), tensor.layout().byte_offset());
    assert_eq!(offset(&handle(opaque, 8)), (opaque, 8));
    let row = handle(opaque, 8).selected(0, 1).unwrap();
    assert_eq!(offset(&row), (opaque, 11));
    let backwards = row.sliced(0, 2, 3, -1).unwrap();
    assert_eq!(offset(&backwards), (opaque, 13));
    let parts = handle(opaque, 8).unstack(1).unwrap();
    assert_eq!(parts.iter().map(offset).collect::<Vec<_>>(), [8, 9, 10].map(|at| (opaque, at)));
    let refused = handle(opaque, 0).as_slice::<u8>().unwrap_err().to_string();
    assert!(refused.contains("memory of opencl:1") && refused.contains("to the host"), "{refused}");

    // SAFETY: the tensor was handed out just now, and is taken back once.
    let back = unsafe {
        let raw = handle(opaque, 8).into_dlpack();
        let header = &raw.as_ref().dl_tensor;
        assert_eq!((header.data, header.byte_offset), (opaque, 8));
        ManagedTensor::from_dlpack(raw.as_ptr()).unwrap()
    };
    assert_eq!(offset(&back), (opaque, 8));
}

#[test]
fn parts_that_are_no_tensor_give_the_owner_back() {
    let refusal = |data: *mut c_void, shape: &[usize], device| {
        let spec = TensorSpec::row_major(DataType::U8, shape).unwrap();
        let owner = Owner::keep(Array(vec![7]));
        // SAFETY: nothing is read.
        let made =
            unsafe { ManagedTensor::from_parts(data, spec, device, Access::ReadOnly, owner) };
        let (owner, error) = made.err()?.into_parts();
        assert_eq!(owner.into_kept::<Array>().ok().unwrap().0, [7]);
        Some(error.to_string())
    };
    let (null, some) = (std::ptr::null_mut(), without_provenance_mut(64));
    assert!(refusal(null, &[2], Device::CPU).unwrap().contains("the data pointer is null"));
    assert_eq!(refusal(null, &[0], Device::CPU), None);
    let beyond = i32::MAX as u32 + 1;
    assert!(refusal(some, &[2], Device::cuda(beyond)).unwrap().contains("no ordinals above"));
    assert_eq!(refusal(some, &[2], Device::cuda(beyond - 1)), None);
}

#[test]
fn room_for_many_items_is_had_or_an_error() {
    let room = vec_with_room::<u16>(3, 100).unwrap();
    assert!(room.is_empty() && room.capacity() >= 3);
    // Room for the items, and room for what they hold.
    for (count, each, bytes) in [(usize::MAX, 0, u64::MAX), (2, 1 << 62, (1 << 63) + 4)] {
        let refused = vec_with_room::<u16>(count, each).unwrap_err();
        let Error::OutOfMemory { device, requested } = refused else { panic!("{refused}") };
        assert_eq!((device, requested), (Device::CPU, bytes));
    }
}
