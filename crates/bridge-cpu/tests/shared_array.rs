//! Which doors of a `SharedArray` open on which memory, and what is behind them.
#![cfg(feature = "ndarray")]

use bridge_convert::Convert;
use bridge_core::{
    Access, CopyPolicy, DataType, Device, Error, Layout, ManagedTensor, NativeArray, Options,
    Owner, TensorError, TensorSpec,
};
use bridge_cpu::ndarray::{Ndarray, SharedArray};
use bridge_host as _;
use bridge_testkit::bytes_of;
use ndarray::{Array2, ArrayD, ArrayViewD, Axis, Ix1, Ix2, array};

/// Six numbers in two rows, in memory that others may write.
fn written_by_others() -> SharedArray<i32> {
    SharedArray::import(lent(vec![1_i32, 2, 3, 4, 5, 6], DataType::I32, &[2, 3])).unwrap()
}

/// Memory that others may write.
fn lent<T: Send + 'static>(
    mut elements: Vec<T>,
    data_type: DataType,
    shape: &[usize],
) -> ManagedTensor {
    let data = elements.as_mut_ptr().cast();
    let spec = TensorSpec::row_major(data_type, shape).unwrap();
    let owner = Owner::keep(elements);
    // SAFETY: the elements fill the vector, which the owner keeps.
    unsafe { ManagedTensor::from_parts(data, spec, Device::CPU, Access::Shared, owner) }.unwrap()
}

fn exclusive() -> SharedArray<i32> {
    SharedArray::from(array![[1, 2, 3], [4, 5, 6]])
}

fn read_only() -> SharedArray<i32> {
    let tensor = ManagedTensor::from_vec(vec![1, 2, 3, 4, 5, 6], &[2, 3]).unwrap();
    SharedArray::import(tensor.into_read_only()).unwrap()
}

#[track_caller]
fn says<T>(result: bridge_core::Result<T>, words: &[&str]) {
    let text = result.err().expect("it is refused").to_string();
    for word in words {
        assert!(text.contains(word), "{text}");
    }
}

#[test]
fn memory_that_nobody_else_writes_is_seen_safely() {
    for shared in [exclusive(), read_only()] {
        assert!(!shared.others_may_write());
        assert_eq!(shared.try_view().unwrap(), array![[1, 2, 3], [4, 5, 6]].into_dyn());
        assert_eq!(shared.view().sum(), 21);
        assert_eq!((shared[[1, 0]], shared.iter().sum::<i32>()), (4, 21));
        assert_eq!((&shared).into_iter().copied().max(), Some(6));
        assert_eq!((shared.len(), shared.ndim(), shared.shape()), (6, 2, &[2, 3][..]));
        assert_eq!(ArrayViewD::try_from(&shared).unwrap().len(), 6);
        assert!(!shared.is_empty());
        assert!(format!("{shared:?}").contains("[4, 5, 6]"));
    }
    assert!(SharedArray::from(Array2::<f32>::zeros((0, 3))).is_empty());
}

#[test]
fn a_view_of_fixed_rank_has_the_arrays_own_rank() {
    let shared = exclusive();
    assert_eq!(shared.view_as::<Ix2>().unwrap().row(1), array![4, 5, 6]);
    says(shared.view_as::<Ix1>(), &["a view of rank 1 of an array of rank 2", "IxDyn"]);
    says(written_by_others().view_as::<Ix2>(), &["others may write"]);
}

#[test]
fn memory_that_others_write_is_seen_unsafely_or_copied() {
    let mut shared = written_by_others();
    assert!(shared.others_may_write());
    says(shared.try_view(), &["others may write", "try_to_owned()", "view_shared()"]);
    assert!(ArrayViewD::try_from(&shared).is_err());
    // SAFETY: nobody else has the memory.
    assert_eq!(unsafe { shared.view_shared() }.unwrap()[[1, 2]], 6);
    assert_eq!(shared.try_to_owned().unwrap(), array![[1, 2, 3], [4, 5, 6]].into_dyn());
    assert!(format!("{shared:?}").contains("others_may_write"), "{shared:?}");

    says(shared.view_mut(), &["others may hold", "try_to_owned()", "view_mut_shared()"]);
    // SAFETY: nobody else has the memory.
    unsafe { shared.view_mut_shared() }.unwrap()[[0, 0]] = 10;
    assert_eq!(shared.try_to_owned().unwrap()[[0, 0]], 10);
}

#[test]
#[should_panic(expected = "others may write")]
fn safe_reading_of_what_others_write_panics() {
    let _ = written_by_others()[[0, 0]];
}

#[test]
fn memory_that_others_write_stays_so_through_clones() {
    let shared = written_by_others();
    let clone = shared.clone();
    assert_eq!(NativeArray::<Ndarray>::describe(&clone).unwrap().access, Access::Shared);
    let exported = NativeArray::<Ndarray>::export(clone).unwrap();
    assert_eq!(exported.access(), Access::Shared);
    let again: SharedArray<i32> = exported.convert().unwrap();
    assert!(again.others_may_write() && shared.others_may_write());
}

#[test]
fn writing_asks_for_memory_that_is_this_arrays_alone() {
    let mut shared = exclusive();
    assert!(!shared.is_read_only());
    shared.view_mut().unwrap()[[0, 0]] = 10;
    let clone = shared.clone();
    says(shared.view_mut(), &["clones", "try_to_owned()"]);
    assert!(!shared.is_read_only(), "it is writable when the clone is dropped");
    drop(clone);
    assert_eq!(shared[[0, 0]], 10);

    let mut read_only = read_only();
    assert!(read_only.is_read_only() && written_by_others().is_read_only());
    says(read_only.view_mut(), &["it is read-only"]);
    // SAFETY: nobody else has the memory.
    says(unsafe { read_only.view_mut_shared() }, &["it is read-only"]);
}

#[test]
fn repeated_elements_are_not_written() {
    let one = lent(vec![1_i32], DataType::I32, &[1]);
    let spec = TensorSpec { layout: Layout::new(&[4], &[0], 0).unwrap(), data_type: DataType::I32 };
    let (data, owner) = (one.data(), Owner::keep(one));
    // SAFETY: every place is the one element, which the owner keeps.
    let repeated =
        unsafe { ManagedTensor::from_parts(data, spec, Device::CPU, Access::Exclusive, owner) };
    let mut repeated = SharedArray::<i32>::import(repeated.unwrap()).unwrap();
    says(repeated.view_mut(), &["repeated by broadcasting"]);
    // SAFETY: nobody else has the memory.
    says(unsafe { repeated.view_mut_shared() }, &["repeated by broadcasting"]);
    assert_eq!(repeated.try_to_owned().unwrap(), array![1, 1, 1, 1].into_dyn());
}

#[test]
fn a_copy_shares_nothing_and_is_row_major() {
    let shared = SharedArray::from(array![[1, 2, 3], [4, 5, 6]].reversed_axes());
    let mut copy = shared.try_to_owned().unwrap();
    assert!(copy.is_standard_layout());
    copy[[2, 0]] = 9;
    assert_eq!((shared[[2, 0]], copy[[1, 1]]), (3, 5));
}

#[test]
fn a_copy_that_no_memory_holds_is_an_error() {
    let one = ManagedTensor::from_vec(vec![1_f64], &[1]).unwrap();
    let huge = one.broadcast_to(&[1 << 60]).unwrap();
    let shared: SharedArray<f64> = huge.convert().unwrap();
    let error = shared.try_to_owned().unwrap_err();
    assert!(
        matches!(error, Error::Tensor(TensorError::OutOfMemory { requested, .. }) if requested == 1 << 63),
        "{error}"
    );
}

#[test]
fn bytes_that_others_write_are_looked_at_before_they_are_bools() {
    let mut bytes = lent(vec![1_u8, 0, 1], DataType::BOOL, &[3]);
    let address = bytes.first_element();
    let mut flags: SharedArray<bool> = bytes.convert().unwrap();
    // SAFETY: nobody else has the memory.
    assert_eq!(unsafe { flags.view_shared() }.unwrap(), array![true, false, true].into_dyn());
    // SAFETY: the address leads to the first of three bytes, of which there is no view.
    unsafe { address.write(2) };
    // SAFETY: nobody else has the memory.
    says(unsafe { flags.view_shared() }.map(drop), &["is 2, only 0 and 1"]);
    // SAFETY: as above.
    says(unsafe { flags.view_mut_shared() }.map(drop), &["is 2, only 0 and 1"]);
    says(flags.try_to_owned(), &["2, only 0 and 1"]);
    // A conversion that fails gives the array back.
    let never = Options::default().copy(CopyPolicy::Never);
    flags = flags.convert_to::<ArrayD<bool>>(never).unwrap_err().into_value();
    bytes = flags.convert().unwrap();
    assert_eq!(bytes.first_element(), address);
}

#[test]
fn bytes_that_are_no_bools_do_not_come_back_as_an_array() {
    // One that is cut out of a longer array keeps itself as the owner of its memory.
    let cut = array![true, false, true, false].slice_move(ndarray::s![1..]);
    let exported = NativeArray::<Ndarray>::export(cut).unwrap();
    // SAFETY: the tensor has three elements of a byte each, of which there is no view.
    unsafe { exported.first_element().add(1).write(2) };
    let refused = ndarray::Array1::<bool>::import(exported).unwrap_err();
    assert!(refused.to_string().contains("2, only 0 and 1"), "{refused}");
}

#[test]
fn every_way_the_elements_lie_is_seen_with_their_own_values() {
    let numbers = || ManagedTensor::from_vec((0..12_i32).collect(), &[3, 4]).unwrap();
    let backwards = SharedArray::<i32>::import(numbers().sliced(0, 2, 3, -1).unwrap()).unwrap();
    assert_eq!(backwards.view().index_axis(Axis(0), 0), array![8, 9, 10, 11].into_dyn());
    let (kept, exported) = (backwards.clone(), backwards.export().unwrap());
    assert_eq!(SharedArray::<i32>::import(exported).unwrap(), kept);
    let list = ManagedTensor::from_vec(vec![1, 2, 3], &[3]).unwrap().sliced(0, 2, 3, -1).unwrap();
    let list = SharedArray::<i32>::import(list).unwrap();
    assert_eq!(list.view(), array![3, 2, 1].into_dyn());
    // The first element lies behind the others, and that is where the tensor says it begins.
    let layout = Layout::new(&[3], &[-1], 8).unwrap();
    let last_first = ManagedTensor::from_vec_with_layout(vec![1_i32, 2, 3], layout).unwrap();
    assert_eq!(last_first.layout().byte_offset(), 8);
    let last_first = SharedArray::<i32>::import(last_first).unwrap();
    let (kept, exported) = (last_first.clone(), last_first.export().unwrap());
    let elements: Vec<u8> = kept.iter().flat_map(|number| number.to_ne_bytes()).collect();
    assert_eq!(bytes_of(&exported), elements);
    let turned = SharedArray::<i32>::import(numbers().permuted(&[1, 0]).unwrap()).unwrap();
    assert_eq!(turned.view().index_axis(Axis(0), 1), array![1, 5, 9].into_dyn());
    // What a view of part of it hands out begins where the part does, while the whole lives too.
    let last = SharedArray::<i32>::import(numbers().sliced(0, 1, 2, 1).unwrap()).unwrap();
    let (kept, exported) = (last.clone(), last.export().unwrap());
    assert_eq!(exported.shape(), kept.shape());
    let again = SharedArray::<i32>::import(exported).unwrap();
    assert_eq!(again.view(), array![[4, 5, 6, 7], [8, 9, 10, 11]].into_dyn());
    let nothing = SharedArray::<i32>::import(numbers().sliced(0, 2, 0, -1).unwrap()).unwrap();
    assert!(nothing.view().is_empty() && nothing.shape() == [0, 4]);
}

#[test]
fn arrays_are_equal_where_shapes_and_elements_are() {
    let two_rows = exclusive();
    assert!(two_rows == read_only() && two_rows == two_rows.clone());
    assert!(two_rows != SharedArray::from(array![[1, 2, 3], [4, 5, 7]]));
    assert!(two_rows != SharedArray::from(array![[1, 2], [3, 4], [5, 6]]));
}

#[test]
fn what_nobody_else_holds_becomes_an_owned_array_where_it_lies() {
    let shared = exclusive();
    let address = shared.view().as_ptr();
    let clone = shared.clone();
    let refused = shared.try_into_owned().unwrap_err();
    assert!(refused.error().to_string().contains("it has clones"), "{refused}");
    drop(clone);
    let owned = refused.into_value().try_into_owned().unwrap();
    assert_eq!((owned.as_ptr(), owned.sum()), (address, 21));
}
