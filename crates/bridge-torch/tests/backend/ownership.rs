//! Memory lives as long as anybody needs it, and is freed once: class A of the bug bank.

use bridge_convert::Convert;
use bridge_core::{Access, CopyPolicy, Device, Layout, ManagedTensor, Options, Owner, TensorSpec};
use bridge_host as _;
use bridge_testkit::foreign::{ForeignTensor, run_deleter};
use bridge_testkit::{DropCounter, DropToken};
use bridge_torch as _;
use tch::{Kind, Tensor};

/// A tensor of 0, 1, 2, ... whose owner's drop is counted.
fn counted(shape: &[usize]) -> (ManagedTensor, DropCounter) {
    let drops = DropCounter::new();
    let count: usize = shape.iter().product();
    let elements: Vec<f32> = (0..count).map(|index| index as f32).collect();
    (kept_by(elements, shape, |elements| (elements, drops.token())), drops)
}

fn kept_by<T: Send + 'static>(
    mut elements: Vec<f32>,
    shape: &[usize],
    owner: impl FnOnce(Vec<f32>) -> T,
) -> ManagedTensor {
    let data = elements.as_mut_ptr().cast();
    let layout = Layout::row_major(shape).unwrap();
    let spec = TensorSpec { data_type: bridge_core::DataType::F32, layout };
    let owner = Owner::keep(owner(elements));
    // SAFETY: the elements fill the vector, which the owner keeps and which nobody else holds.
    unsafe { ManagedTensor::from_parts(data, spec, Device::CPU, Access::Exclusive, owner) }.unwrap()
}

fn sum(tensor: &Tensor) -> f64 {
    tensor.sum(Kind::Double).double_value(&[])
}

#[test]
fn an_import_keeps_its_owner_until_it_goes() {
    let (tensor, drops) = counted(&[10, 10]);
    let torch: Tensor = tensor.convert().unwrap();
    assert_eq!((sum(&torch), drops.drops()), (4950.0, 0));
    drop(torch);
    assert_eq!(drops.drops(), 1);
}

#[test]
fn views_and_aliases_keep_it_when_the_first_handle_is_gone() {
    // mxnet#13658: a crash when the source goes out of scope before the consumer.
    let (tensor, drops) = counted(&[10, 10]);
    let torch: Tensor = tensor.convert().unwrap();
    let row = torch.get(9);
    let alias = torch.shallow_clone();
    let transposed = torch.tr();
    drop(torch);
    assert_eq!((sum(&row), sum(&alias), sum(&transposed)), (945.0, 4950.0, 4950.0));
    drop((alias, transposed));
    assert_eq!(drops.drops(), 0);
    drop(row);
    assert_eq!(drops.drops(), 1);
}

#[test]
fn a_tensor_saved_for_backward_keeps_it() {
    let (tensor, drops) = counted(&[4]);
    let inputs: Tensor = tensor.convert().unwrap();
    let weights = Tensor::from_slice(&[2_f32, 2.0, 2.0, 2.0]).set_requires_grad(true);
    let loss = (&inputs * &weights).sum(Kind::Float);
    drop(inputs);
    assert_eq!(drops.drops(), 0, "the graph needs the inputs for the gradient of the weights");
    loss.backward();
    let gradient: Vec<f32> = weights.grad().try_into().unwrap();
    assert_eq!(gradient, [0.0, 1.0, 2.0, 3.0]);
    drop(loss);
    assert_eq!(drops.drops(), 1);
}

#[test]
fn an_empty_tensor_frees_its_owner() {
    // pytorch#117273: empty tensors leaked the deleter.
    for shape in [&[0][..], &[3, 0, 2]] {
        let (tensor, drops) = counted(shape);
        let torch: Tensor = tensor.convert().unwrap();
        assert_eq!(torch.size(), shape.iter().map(|&extent| extent as i64).collect::<Vec<_>>());
        drop(torch);
        assert_eq!(drops.drops(), 1, "{shape:?}");
    }
}

#[test]
fn an_export_outlives_every_handle_of_torch() {
    let exported: ManagedTensor = {
        let whole = Tensor::arange(100, (Kind::Int64, tch::Device::Cpu));
        whole.narrow(0, 10, 5).convert().unwrap()
    };
    // SAFETY: nobody writes to it meanwhile.
    assert_eq!(unsafe { exported.as_shared_slice::<i64>() }.unwrap(), [10, 11, 12, 13, 14]);
}

#[test]
fn a_refused_import_gives_the_tensor_back_undropped() {
    let (tensor, drops) = counted(&[4]);
    let address = tensor.data();
    let read_only = tensor.into_read_only();
    let never = Options::default().copy(CopyPolicy::Never);
    let refused = read_only.convert_to::<Tensor>(never).unwrap_err();
    let tensor = refused.into_value();
    assert_eq!((tensor.data(), drops.drops()), (address, 0));
    drop(tensor);
    assert_eq!(drops.drops(), 1);
}

#[test]
fn a_refused_export_gives_the_torch_tensor_back() {
    let tensor = Tensor::zeros([3], (Kind::Float, tch::Device::Cpu)).set_requires_grad(true);
    let address = tensor.data_ptr();
    let refused = tensor.convert::<ManagedTensor>().unwrap_err();
    assert_eq!(refused.into_value().data_ptr(), address);
}

#[test]
fn a_consumed_export_is_freed_once_through_dlpack() {
    // cupy#1445, pytorch#9260: consumers that never called the deleter, producers that called it again.
    let (tensor, drops) = counted(&[8]);
    let torch: Tensor = tensor.convert().unwrap();
    let keeper = torch.shallow_clone();
    let header = torch.convert::<ManagedTensor>().unwrap().into_dlpack();
    drop(keeper);
    assert_eq!(drops.drops(), 0);
    // SAFETY: the header was made just now and is owned here.
    let tensor = unsafe { ManagedTensor::from_dlpack(header.as_ptr()) }.unwrap();
    let again: Tensor = tensor.convert().unwrap();
    assert_eq!((sum(&again), drops.drops()), (28.0, 0));
    drop(again);
    assert_eq!(drops.drops(), 1);
}

#[test]
fn an_export_that_nobody_consumes_is_freed_once() {
    // pytorch#9297, kornia-rs#782: what was handed out and never read leaked.
    let exports: [fn(ManagedTensor); 2] = [drop, |tensor| {
        // SAFETY: the header was made just now, and is run down unread.
        unsafe { run_deleter(tensor.into_dlpack().as_ptr()) };
    }];
    for (index, let_go) in exports.into_iter().enumerate() {
        for alone in [true, false] {
            let (tensor, drops) = counted(&[8]);
            let torch: Tensor = tensor.convert().unwrap();
            let keeper = (!alone).then(|| torch.shallow_clone());
            let_go(torch.convert().unwrap());
            assert_eq!(drops.drops(), usize::from(alone), "{index}, alone: {alone}");
            drop(keeper);
            assert_eq!(drops.drops(), 1, "{index}, alone: {alone}");
        }
    }
}

#[test]
fn shape_and_strides_live_until_the_deleter_runs() {
    // cudnn-frontend#547: a header whose fields were gone before its deleter ran.
    let whole = Tensor::arange(24, (Kind::Int64, tch::Device::Cpu)).view([2, 3, 4]);
    let header = whole.permute([2, 0, 1]).convert::<ManagedTensor>().unwrap().into_dlpack();
    drop(whole);
    // SAFETY: the header is owned here, and says three axes.
    let (shape, strides) = unsafe {
        let found = &(*header.as_ptr()).dl_tensor;
        let read = |list| std::slice::from_raw_parts(list, 3).to_vec();
        (read(found.shape.cast_const()), read(found.strides.cast_const()))
    };
    assert_eq!((shape, strides), (vec![4, 2, 3], vec![1, 12, 4]));
    // SAFETY: it is owned here, and not used any more.
    unsafe { run_deleter(header.as_ptr()) };

    // The other way round the producer's lists are behind the deleter's context.
    let (tensor, drops) =
        (ManagedTensor::from_vec(vec![1_i32; 6], &[3, 2]).unwrap(), DropCounter::new());
    let torch: Tensor = ForeignTensor::of(tensor, &drops).into_managed().convert().unwrap();
    let view = torch.tr();
    drop(torch);
    assert_eq!((view.size(), view.stride(), drops.drops()), (vec![2, 3], vec![1, 2], 0));
    drop(view);
    assert_eq!(drops.drops(), 1);
}

#[test]
fn whatever_stage_refuses_an_export_frees_nothing() {
    // pytorch#171820: leaks where an export raised half way. `src/shim/faults.rs` fails each step of one.
    type Change = fn(Tensor) -> Tensor;
    let refused: [(&str, Change); 3] = [
        ("requires gradients", |tensor| tensor.set_requires_grad(true)),
        ("conjugated", |tensor| tensor.view_dtype(Kind::ComplexFloat).conj()),
        ("negated", |tensor| tensor.view_dtype(Kind::ComplexFloat).conj().imag()),
    ];
    for (says, change) in refused {
        let (tensor, drops) = counted(&[8]);
        let torch = change(tensor.convert().unwrap());
        let error = torch.convert::<ManagedTensor>().unwrap_err();
        assert!(error.to_string().contains(says), "{error}");
        let back = error.into_value();
        assert_eq!((back.numel() > 0, drops.drops()), (true, 0), "{says}");
        drop(back);
        assert_eq!(drops.drops(), 1, "{says}");
    }
}

/// RUSTSEC-2022-0012: an owner that was `Clone`, and so freed its memory twice. Compiles as long as
/// ours are not.
const _: () = {
    trait AmbiguousIfClone<A> {
        const IS_NOT: () = ();
    }
    impl<T> AmbiguousIfClone<()> for T {}
    struct Cloned;
    impl<T: Clone> AmbiguousIfClone<Cloned> for T {}
    let () = <ManagedTensor as AmbiguousIfClone<_>>::IS_NOT;
    let () = <Owner as AmbiguousIfClone<_>>::IS_NOT;
    let () = <Tensor as AmbiguousIfClone<_>>::IS_NOT;
};

#[test]
fn a_vector_comes_back_as_a_vector_when_torch_held_it_alone() {
    let elements = vec![1_f32, 2.0, 3.0, 4.0];
    let address = elements.as_ptr();
    let torch: Tensor = ManagedTensor::from_vec(elements, &[4]).unwrap().convert().unwrap();
    let (back, _) = torch.convert::<ManagedTensor>().unwrap().into_vec::<f32>().unwrap();
    assert_eq!((back.as_ptr(), back.as_slice()), (address, &[1.0, 2.0, 3.0, 4.0][..]));
}

#[test]
fn a_vector_stays_with_torch_while_anything_else_holds_it() {
    type Holder = fn(&Tensor) -> Tensor;
    let holders: [Holder; 3] = [
        |tensor| tensor.shallow_clone(),
        |tensor| tensor.get(0),
        |tensor| {
            let weight = Tensor::from(1_f32).set_requires_grad(true);
            (tensor * &weight).sum(Kind::Float)
        },
    ];
    for (index, hold) in holders.into_iter().enumerate() {
        let vector = ManagedTensor::from_vec(vec![1_f32, 2.0], &[2]).unwrap();
        let torch: Tensor = vector.convert().unwrap();
        let holder = hold(&torch);
        let exported: ManagedTensor = torch.convert().unwrap();
        assert_eq!(exported.access(), Access::Shared, "holder {index}");
        assert!(exported.into_vec::<f32>().is_err(), "holder {index}");
        drop(holder);
    }
}

#[test]
fn memory_that_torch_changed_in_place_comes_back_as_torch_left_it() {
    let (tensor, drops) = counted(&[2, 3]);
    let mut torch: Tensor = tensor.convert().unwrap();
    let _ = torch.transpose_(0, 1);
    let _ = torch.g_mul_scalar_(2);
    let exported: ManagedTensor = torch.convert().unwrap();
    assert_eq!((exported.shape(), exported.layout().strides()), (&[3, 2][..], &[1, 3][..]));
    assert_eq!(exported.access(), Access::Exclusive);
    let column = exported.selected(0, 2).unwrap();
    let bytes = bridge_testkit::bytes_of(&column);
    assert_eq!(bytes, [4_f32.to_ne_bytes(), 10_f32.to_ne_bytes()].concat());
    assert_eq!(drops.drops(), 0);
    drop(column);
    assert_eq!(drops.drops(), 1);
}

#[test]
fn torch_cannot_grow_memory_that_is_not_its_own() {
    let (tensor, drops) = counted(&[4]);
    let mut torch: Tensor = tensor.convert().unwrap();
    assert!(torch.f_resize_([1000]).is_err());
    drop(torch);
    assert_eq!(drops.drops(), 1);
}

#[test]
fn torch_cannot_move_memory_that_was_handed_out() {
    // What an export reads would be freed when another handle grows the storage.
    let mut torch = Tensor::from_slice(&[1_f32, 2.0]);
    let views: [Tensor; 2] = [torch.shallow_clone(), torch.get(1)];
    let exported = views.map(|view| view.convert::<ManagedTensor>().unwrap());
    assert!(torch.f_resize_([1 << 20]).is_err());
    // SAFETY: nobody writes to it meanwhile.
    assert_eq!(unsafe { exported[0].as_shared_slice::<f32>() }.unwrap(), [1.0, 2.0]);
    // Whose only handle went along may grow again when it is back.
    let alone: ManagedTensor = Tensor::from_slice(&[1_f32]).convert().unwrap();
    let mut back: Tensor = alone.convert().unwrap();
    assert!(back.f_resize_([1 << 10]).is_ok());
}

#[test]
fn a_panic_in_an_owners_drop_stays_on_this_side() {
    struct Panics(#[expect(dead_code, reason = "held for its drop")] DropToken);
    impl Drop for Panics {
        fn drop(&mut self) {
            panic!("a panic that must not unwind through libtorch");
        }
    }
    let drops = DropCounter::new();
    let token = drops.token();
    let tensor = kept_by(vec![1.0; 4], &[4], |elements| (elements, Panics(token)));
    let torch: Tensor = tensor.convert().unwrap();
    drop(torch);
    assert_eq!(drops.drops(), 1);
}
