//! Functions with the attribute `on`.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::fmt;
use std::future::Future;
use std::sync::Mutex;

use bridge_convert::ConvertByName;
use bridge_core::{Array, DataType, Device, Error, ManagedTensor, Options, Refused, TensorError};
use bridge_macros::on;
use bridge_memory::budget::{Budget, Shortage};
use bridge_memory::pool::Pool;
use bridge_testkit::fake_accelerator::DEVICES;
use ndarray::{Array1, Array2, arr1, arr2};

use crate::support::{NextTime, array, elements, ready, registry, tensor};

/// Each element times `factor`, and how many there are.
#[on(ndarray, crate = bridge_memory)]
fn scaled(#[array] x: Array1<f32>, factor: f32) -> (Array1<f32>, usize) {
    let count = x.len();
    (x * factor, count)
}

#[test]
fn arrays_of_any_framework_go_in_and_other_arguments_stay() {
    let expected = (arr1(&[2.0, 4.0]), 2);
    assert_eq!(scaled(tensor(&[1.0_f32, 2.0], &[2]), 2.0).unwrap(), expected);
    assert_eq!(scaled(arr1(&[1.0_f32, 2.0]), 2.0).unwrap(), expected);
    assert_eq!(scaled(array(&[1.0_f32, 2.0], &[2]), 2.0).unwrap(), expected);
    let error: Error = scaled(tensor(&[1_u8], &[1]), 2.0).unwrap_err();
    assert!(matches!(error, Error::UnsupportedDataType { .. }), "{error}");
}

#[test]
fn the_program_knows_which_functions_there_are() {
    let mut found = bridge_memory::call::declared().filter(|one| one.name == "scaled");
    let scaled = found.next().expect("it is declared above");
    assert_eq!((scaled.module, scaled.backend), (module_path!(), "ndarray"));
    assert_eq!((scaled.arrays, scaled.by_slice, scaled.is_async), (&["x"][..], false, false));
    assert!(found.next().is_none());
    let awaited = bridge_memory::call::declared().filter(|one| one.is_async).count();
    assert!(awaited > 0 && bridge_memory::call::declared().any(|one| one.by_slice));
}

#[on("ndarray", output = (ManagedTensor, Vec<ManagedTensor>, &'static str), crate = bridge_memory)]
fn apart(#[array] x: &Array2<u8>) -> (Array2<u8>, Vec<Array1<u8>>, &'static str) {
    (x.clone(), x.rows().into_iter().map(|row| row.to_owned()).collect(), "rows")
}

#[test]
fn results_become_what_output_says_part_by_part() {
    let (whole, rows, text) = apart(tensor(&[1_u8, 2, 3, 4], &[2, 2])).unwrap();
    assert_eq!((whole.shape(), text), (&[2, 2][..], "rows"));
    assert_eq!(rows[1].as_slice::<u8>().unwrap(), [3, 4]);
}

#[on(ndarray, output = "dlpack", crate = bridge_memory)]
fn by_name(#[array] x: Array1<u8>) -> BTreeMap<&'static str, Array> {
    BTreeMap::from([("x", Array::new(x))])
}

#[test]
fn results_of_any_type_go_to_the_backend_that_output_names() {
    let mut made = by_name(arr1(&[7_u8])).unwrap();
    let made = made.remove("x").unwrap();
    assert_eq!(made.descriptor().name, "dlpack");
    assert_eq!(elements::<u8>(made), [7]);
}

#[on("NDArray", crate = bridge_memory)]
fn of_any_type(#[array] x: &Array, #[array] more: Option<Array>) -> Result<Vec<DataType>, Error> {
    let arrays = std::iter::once(x).chain(&more);
    arrays
        .map(|array| {
            assert_eq!(array.descriptor().name, "ndarray");
            Ok(array.describe()?.data_type)
        })
        .collect::<Result<_, _>>()
}

#[test]
fn an_array_as_the_parameters_type_takes_every_element_type() {
    let given = || array(&[1_u8], &[1]);
    let found = of_any_type(tensor(&[1.0], &[1]), Some(given()));
    assert_eq!(found.unwrap(), [DataType::F64, DataType::U8]);
    assert_eq!(of_any_type(given(), None::<ManagedTensor>).unwrap(), [DataType::U8]);
}

#[derive(Debug)]
enum Failure {
    Bridge(Error),
    Mine(&'static str),
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self::Bridge(error)
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Bridge(error) => error.fmt(f),
            Self::Mine(text) => f.write_str(text),
        }
    }
}

impl std::error::Error for Failure {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Bridge(error) => Some(error),
            Self::Mine(_) => None,
        }
    }
}

struct Model {
    bias: f32,
}

impl Model {
    #[on(ndarray, crate = bridge_memory)]
    fn applied<const N: usize>(
        &self,
        #[array] mut x: Array1<f32>,
        #[array] others: Vec<Array1<f32>>,
        (first, more): (f32, [f32; N]),
    ) -> Result<Option<Array1<f32>>, Failure> {
        if others.is_empty() {
            return Err(Failure::Mine("nothing to add"));
        }
        for other in &others {
            x += other;
        }
        Ok(Some(x + self.bias + first + more.iter().sum::<f32>()))
    }
}

#[test]
fn methods_keep_their_own_errors_generics_and_patterns() {
    let model = Model { bias: 1.0 };
    let given = || tensor(&[1.0_f32, 2.0], &[2]);
    let made = model.applied(given(), vec![given(), given()], (10.0, [100.0, 100.0])).unwrap();
    assert_eq!(made, Some(arr1(&[214.0, 217.0])));
    let failed = model.applied(given(), Vec::<ManagedTensor>::new(), (0.0, [])).unwrap_err();
    assert!(matches!(failed, Failure::Mine("nothing to add")));
    let failed = model.applied(tensor(&[1_u8], &[1]), vec![given()], (0.0, [])).unwrap_err();
    assert!(matches!(failed, Failure::Bridge(Error::UnsupportedDataType { .. })));
}

trait Norm {
    fn norm(&self, x: Array1<f32>) -> Result<f32, Error>;
}

impl Norm for Model {
    #[on(dlpack, input = Array1<f32>, crate = bridge_memory)]
    fn norm(&self, #[array] x: ManagedTensor) -> Result<f32, Error> {
        Ok(x.as_slice::<f32>()?.iter().sum())
    }
}

#[test]
fn input_as_a_type_leaves_a_traits_method_as_it_is() {
    let model: &dyn Norm = &Model { bias: 0.0 };
    assert_eq!(model.norm(arr1(&[1.0, 2.0])).unwrap(), 3.0);
}

#[on(ndarray, input = "ndarray", crate = bridge_memory)]
fn only_ndarray(#[array] x: &Array1<f32>) -> f32 {
    x.sum()
}

#[test]
fn input_as_a_name_refuses_other_backends_and_names_the_argument() {
    assert_eq!(only_ndarray(arr1(&[1.0_f32])).unwrap(), 1.0);
    let error = only_ndarray(tensor(&[1.0_f32], &[1])).unwrap_err().to_string();
    assert!(error.contains("`x` of `only_ndarray`, of \"dlpack\""), "{error}");
}

#[on(ndarray, device = "cuda:0", crate = bridge_memory)]
fn on_a_gpu(#[array] x: Array1<f32>) -> f32 {
    x.sum()
}

#[on(ndarray, device = Device::CPU, crate = bridge_memory)]
fn on_the_host(#[array] x: Array1<f32>) -> f32 {
    x.sum()
}

#[test]
fn the_device_is_asked_for() {
    let error = on_a_gpu(tensor(&[1.0_f32], &[1])).unwrap_err().to_string();
    assert!(error.contains("cuda:0"), "{error}");
    assert_eq!(on_the_host(tensor(&[1.0_f32], &[1])).unwrap(), 1.0);
}

#[on(ndarray, output = ManagedTensor, dtype = preserve, rescale = min_max, crate = bridge_memory)]
fn root(#[array] x: &Array1<u16>) -> Array1<f64> {
    x.mapv(|one| f64::from(one).sqrt())
}

#[on(ndarray, output = ManagedTensor, dtype = f32, crate = bridge_memory)]
fn single(#[array] x: &Array1<u16>) -> Array1<f64> {
    x.mapv(f64::from)
}

#[test]
fn element_types_of_results_follow_the_attribute() {
    let made = root(tensor(&[0_u16, 1, 4], &[3])).unwrap();
    assert_eq!(made.as_slice::<u16>().unwrap(), [0, 32_767, 65_535]);
    assert_eq!(single(tensor(&[3_u16], &[1])).unwrap().data_type(), DataType::F32);
}

fn square(x: &Array2<f32>) -> Result<(), String> {
    if x.is_square() { Ok(()) } else { Err(format!("{:?} is not square", x.shape())) }
}

#[on(ndarray, contract = square, crate = bridge_memory)]
fn gram(#[array] x: &Array2<f32>, transposed: bool) -> Array2<f32> {
    if transposed { x.dot(&x.t()) } else { x.clone() }
}

#[test]
fn a_contract_that_is_not_kept_names_the_function() {
    let x = || tensor(&[1.0_f32, 2.0], &[1, 2]);
    assert_eq!(gram(x(), true).unwrap(), arr2(&[[5.0]]));
    let error = gram(x(), false).unwrap_err().to_string();
    assert!(
        error.contains("`gram` violates its contract") && error.contains("[1, 2] is not"),
        "{error}"
    );
}

#[on(ndarray, oom_recovery(retries = 1), crate = bridge_memory)]
fn at_the_second_try(
    #[array] x: &Array1<f32>,
    runs: &mut usize,
    name: String,
    failures: &Cell<usize>,
) -> Result<(Array1<f32>, String), Failure> {
    *runs += 1;
    if failures.get() > 0 {
        failures.set(failures.get() - 1);
        Err(Error::from(TensorError::OutOfMemory { device: Device::CPU, requested: 8 }))?;
    }
    Ok((x.clone(), name))
}

#[test]
fn a_function_that_runs_out_of_memory_runs_again_with_the_same_arguments() {
    let run = |failures| {
        let (mut runs, failures) = (0, Cell::new(failures));
        let made =
            at_the_second_try(tensor(&[1.0_f32], &[1]), &mut runs, "a".to_owned(), &failures);
        (made.ok(), runs)
    };
    let done = Some((arr1(&[1.0]), "a".to_owned()));
    assert_eq!(run(0), (done.clone(), 1));
    assert_eq!(run(1), (done, 2));
    assert_eq!(run(2), (None, 2));
}

#[on(ndarray, by_slice, output = ManagedTensor, crate = bridge_memory)]
fn plus(
    #[array] row: Array1<f32>,
    #[array] other: &Array1<f32>,
    more: f32,
) -> Result<Array1<f32>, Failure> {
    if row[0] < 0.0 {
        return Err(Failure::Mine("negative"));
    }
    Ok(row + other + more)
}

/// A body of one expression, as most are: the code around it is nobody's mistake.
#[deny(unused_braces)]
#[on(ndarray, by_slice, output = ManagedTensor, crate = bridge_memory)]
fn doubled(#[array] row: &Array1<f32>) -> Array1<f32> {
    row * 2.0
}

#[test]
fn slices_are_worked_on_one_by_one_and_stacked() {
    let made = doubled(tensor(&[1.0_f32, 2.0], &[2, 1])).unwrap();
    assert_eq!(made.as_slice::<f32>().unwrap(), [2.0, 4.0]);

    let other = || tensor(&[10.0_f32, 20.0], &[2]);
    let made = plus(tensor(&[1.0_f32, 2.0, 3.0, 4.0], &[2, 2]), other(), 100.0).unwrap();
    assert_eq!(made.shape(), [2, 2]);
    assert_eq!(made.as_slice::<f32>().unwrap(), [111.0, 122.0, 113.0, 124.0]);
    let failed = plus(arr2(&[[1.0_f32, 0.0], [-1.0, 0.0]]), other(), 0.0).unwrap_err();
    assert!(matches!(failed, Failure::Mine("negative")));
}

#[on(ndarray, output = ManagedTensor, crate = bridge_memory)]
async fn later(
    #[array] x: Array1<f32>,
    wait: impl Future<Output = f32>,
) -> Result<Array1<f32>, Failure> {
    let more = wait.await;
    if more < 0.0 {
        return Err(Failure::Mine("negative"));
    }
    Ok(x + more)
}

#[on(ndarray, oom_recovery(retries = 2, clear_cache), crate = bridge_memory)]
async fn later_again(#[array] x: &Array1<f32>, failures: &Cell<usize>) -> Result<f32, Error> {
    let requested = failures.get() as u64;
    if requested > 0 {
        failures.set(failures.get() - 1);
        return Err(Error::from(TensorError::OutOfMemory { device: Device::CPU, requested }));
    }
    Ok(std::future::ready(x.sum()).await)
}

#[test]
fn an_async_function_that_runs_out_of_memory_runs_again_and_fails_with_its_first_error() {
    let run = |failures| {
        let failures = Cell::new(failures);
        let made = ready(later_again(tensor(&[1.0_f32, 2.0], &[2]), &failures));
        (made.map_err(|error| error.out_of_memory()), failures.get())
    };
    assert_eq!(run(2), (Ok(3.0), 0));
    assert_eq!(run(5), (Err(Some((Device::CPU, 5))), 2));
}

#[test]
fn an_async_function_is_wrapped_and_can_go_to_another_thread() {
    let made = later(tensor(&[1.0_f32], &[1]), std::future::ready(2.0));
    let made = std::thread::scope(|scope| scope.spawn(|| ready(made)).join().unwrap()).unwrap();
    assert_eq!(made.as_slice::<f32>().unwrap(), [3.0]);
    assert!(ready(later(tensor(&[1.0_f32], &[1]), std::future::ready(-2.0))).is_err());
}

/// Each row twice as large, and some are late; the first that is negative is refused.
#[on(ndarray, by_slice, output = ManagedTensor, contract = |row: &Array1<f32>| row[0] < 100.0, crate = bridge_memory)]
async fn rows_later(
    #[array] mut row: Array1<f32>,
    #[array] other: &Array1<f32>,
    rows: &Cell<usize>,
) -> Result<Array1<f32>, Failure> {
    rows.set(rows.get() + 1);
    NextTime::default().await;
    if row[0] < 0.0 {
        return Err(Failure::Mine("negative"));
    }
    row *= 2.0;
    Ok(row + other)
}

#[test]
fn an_async_function_works_on_slices_one_after_the_other() {
    let other = || tensor(&[10.0_f32, 20.0], &[2]);
    let run = |first: f32, second: f32| {
        let rows = Cell::new(0);
        let given = arr2(&[[first, 1.0], [second, 3.0], [4.0, 5.0]]);
        (ready(rows_later(given, other(), &rows)), rows.get())
    };
    let (made, rows) = run(0.0, 2.0);
    let made = made.unwrap();
    assert_eq!((made.shape(), rows), (&[3, 2][..], 3));
    assert_eq!(made.as_slice::<f32>().unwrap(), [10.0, 22.0, 14.0, 26.0, 18.0, 30.0]);
    let (failed, rows) = run(0.0, -1.0);
    assert!(matches!(failed.unwrap_err(), Failure::Mine("negative")));
    assert_eq!(rows, 2, "the third is not begun");
    let (failed, rows) = run(50.0, 0.0);
    assert!(failed.unwrap_err().to_string().contains("`rows_later` violates its contract"));
    assert_eq!(rows, 1);
}

#[on(ndarray, by_slice, output = ManagedTensor, oom_recovery(retries = 1), crate = bridge_memory)]
async fn slices_again(
    #[array] row: &Array1<f32>,
    failures: &Mutex<Vec<f32>>,
) -> Result<Array1<f32>, Error> {
    NextTime::default().await;
    let mut failures = failures.lock().unwrap();
    if let Some(place) = failures.iter().position(|one| *one == row[0]) {
        failures.swap_remove(place);
        return Err(Error::from(TensorError::OutOfMemory { device: Device::CPU, requested: 8 }));
    }
    Ok(row.clone())
}

#[test]
fn a_slice_that_runs_out_of_memory_is_awaited_again_on_any_thread() {
    let run = |failures: &[f32]| {
        let failures = Mutex::new(failures.to_vec());
        let made = slices_again(tensor(&[1.0_f32, 2.0], &[2, 1]), &failures);
        // A future that could not go to another thread would not compile here.
        std::thread::scope(|scope| scope.spawn(|| ready(made)).join().unwrap())
    };
    assert_eq!(run(&[1.0, 2.0]).unwrap().as_slice::<f32>().unwrap(), [1.0, 2.0]);
    assert!(run(&[2.0, 2.0]).unwrap_err().out_of_memory().is_some());
}

#[on(ndarray, dtype = f64, output = (ManagedTensor, u64), within = budget, crate = bridge_memory)]
fn counted(#[array] x: &Array1<f32>, budget: &Budget) -> (Array1<f32>, u64) {
    (x.clone(), budget.reserved())
}

struct Images {
    room: Budget,
}

impl Images {
    #[on(ndarray, by_slice, output = ManagedTensor, within = &self.room.consumer("images"), crate = bridge_memory)]
    async fn stacked(&self, #[array] row: Array1<f32>) -> Array1<f32> {
        NextTime::default().await;
        row
    }
}

#[test]
fn arguments_and_results_are_converted_within_a_budget() {
    let budget = Budget::new("test", 32).unwrap();
    let (made, reserved) = counted(arr1(&[1.0_f32; 4]), &budget).unwrap();
    assert_eq!((made.data_type(), reserved), (DataType::F64, 0));
    assert_eq!((budget.status().peak, budget.reserved()), (32, 0), "room is given back");
    let error = counted(arr1(&[1.0_f32; 5]), &budget).unwrap_err();
    assert!(matches!(Shortage::of(&error), Some(Shortage::Never { need: 40, .. })), "{error}");

    let images = Images { room: Budget::new("stacks", 31).unwrap() };
    let rows = || tensor(&[1.0_f32; 8], &[4, 2]);
    let error = ready(images.stacked(rows())).unwrap_err();
    assert!(Shortage::of(&error).is_some(), "{error}");
    images.room.set_capacity(1000).unwrap();
    assert_eq!(ready(images.stacked(rows())).unwrap().as_slice::<f32>().unwrap(), [1.0; 8]);
    assert!(images.room.status().peak >= 32 && images.room.reserved() == 0);
}

#[on(dlpack, dtype = f64, pool = pool, crate = bridge_memory)]
fn pooled(#[array] x: &ManagedTensor, pool: &Pool) -> Result<(ManagedTensor, u64), Error> {
    let room = pool.uninit::<f32>(x.layout().element_count())?;
    let copy = room.copy_of(x.as_slice()?).map_err(Refused::into_error)?;
    let copy = copy.into_tensor(x.shape()).map_err(Refused::into_error)?;
    Ok((copy, pool.stats().buffers_in_use))
}

struct Rows {
    pool: Pool,
}

impl Rows {
    #[on(dlpack, by_slice, pool = &self.pool, within = &Budget::new("rows", 16)?, crate = bridge_memory)]
    async fn stacked(&self, #[array] row: ManagedTensor) -> Result<ManagedTensor, Error> {
        NextTime::default().await;
        Ok(row)
    }
}

#[test]
fn arguments_and_results_take_their_memory_from_a_pool() {
    let pool = Pool::new();
    let (made, in_use) = pooled(tensor(&[1.0_f32; 100], &[100]), &pool).unwrap();
    assert_eq!((made.as_slice::<f64>().unwrap(), in_use), (&[1.0; 100][..], 1));
    // The function's own and the cast of it, which is the result.
    let stats = pool.stats();
    assert_eq!((stats.allocations, stats.buffers_in_use), (2, 1));
    drop(made);
    assert_eq!((pool.stats().buffers_in_use, pool.stats().pool_arrays), (0, 2));

    // A pool without a budget reserves nothing itself: the call does.
    let rows = Rows { pool: Pool::new() };
    let stacked = ready(rows.stacked(tensor(&[1.0_f32; 4], &[2, 2]))).unwrap();
    assert_eq!(stacked.as_slice::<f32>().unwrap(), [1.0; 4]);
    assert_eq!((rows.pool.stats().misses, rows.pool.stats().buffers_in_use), (1, 1), "the stack");
    let error = ready(rows.stacked(tensor(&[1.0_f32; 6], &[3, 2]))).unwrap_err();
    assert!(matches!(Shortage::of(&error), Some(Shortage::Never { need: 24, .. })), "{error}");
}

#[on(ndarray, crate = bridge_memory)]
fn sum(#[array] x: &Array1<f32>, #[array] others: Vec<Array1<f32>>) -> f32 {
    x.sum() + others.iter().map(|one| one.sum()).sum::<f32>()
}

#[test]
fn arrays_on_different_devices_are_refused_by_the_parameters_names() {
    let there = |device: usize| {
        let options = Options::default().on(DEVICES[device]);
        registry().convert(array(&[1.0_f32], &[1]), "fake", options).unwrap()
    };
    let error = sum(there(0), vec![there(0), there(1)]).unwrap_err().to_string();
    let each = "extension:0 for `x`, extension:0 for `others`, extension:1 for `others`";
    assert!(error.contains(each) && error.contains("`sum`"), "{error}");
}
