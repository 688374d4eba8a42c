//! Typed conversion: `array.convert()`, resolved at compile time.

use std::any::{Any, TypeId, type_name};
use std::marker::PhantomData;

use bridge_core::{
    Array, ManagedTensor, NativeArray, NativeType, Options, Refused, Result, broken_law,
};

use crate::plan::Plan;
use crate::report::Report;
use crate::route::{Ends, Lookup, Route, stays};
use crate::type_name::short_type_name;

/// Converts an array to an array type of any linked framework.
///
/// `A` and `B` are the two backends; the compiler finds them from the types.
///
/// ```ignore
/// use arraybridge::{Convert, DataType, Options};
///
/// let tensor: candle_core::Tensor = array.convert()?;
/// let halves = array.convert_to::<candle_core::Tensor>(Options::default().cast(DataType::F16))?;
/// ```
///
/// One conversion after another by `?`, or by [`AndConvert`](crate::AndConvert) where the array of the one
/// that fails shall come back:
///
/// ```
/// use bridge_convert::Convert;
/// use bridge_core::{Array, Error, ManagedTensor};
///
/// fn there_and_back(tensor: ManagedTensor) -> Result<ManagedTensor, Error> {
///     Ok(Array::new(tensor).convert::<ManagedTensor>()?.convert()?)
/// }
/// # let tensor = ManagedTensor::from_vec(vec![1_u8], &[1])?;
/// # assert_eq!(there_and_back(tensor)?.shape(), [1]);
/// # Ok::<(), Error>(())
/// ```
pub trait Convert<A, B: 'static>: Sized {
    /// Converts, copying only where there is no way without.
    ///
    /// # Errors
    ///
    /// As [`Plan::new`], out of memory, or what the frameworks report. The array comes back inside
    /// the error.
    fn convert<T: NativeArray<B>>(self) -> Result<T, Refused<Self>> {
        self.convert_to(Options::default())
    }

    /// Converts under `options`.
    ///
    /// # Errors
    ///
    /// As [`convert`](Self::convert).
    fn convert_to<T: NativeArray<B>>(self, options: Options) -> Result<T, Refused<Self>>;

    /// Converts under `options` and says what was done.
    ///
    /// # Errors
    ///
    /// As [`convert`](Self::convert).
    fn convert_reported<T: NativeArray<B>>(
        self,
        options: Options,
    ) -> Result<(T, Report), Refused<Self>>;

    /// What a conversion to `T` would do. Nothing moves.
    ///
    /// # Errors
    ///
    /// As [`Plan::new`].
    fn plan_to<T: NativeArray<B>>(&self, options: &Options) -> Result<Plan>;
}

impl<S: NativeArray<A>, A: 'static, B: 'static> Convert<A, B> for S {
    fn convert_to<T: NativeArray<B>>(self, options: Options) -> Result<T, Refused<Self>> {
        let ends = Typed::<S, A, T, B>(PhantomData);
        match staying(self, &options) {
            Ok((array, _)) => Ok(array),
            Err(array) => ends.route(&options).run(&ends, array),
        }
    }

    fn convert_reported<T: NativeArray<B>>(
        self,
        options: Options,
    ) -> Result<(T, Report), Refused<Self>> {
        let ends = Typed::<S, A, T, B>(PhantomData);
        match staying(self, &options) {
            Ok(stayed) => Ok(stayed),
            Err(array) => ends.route(&options).run_reported(&ends, array),
        }
    }

    fn plan_to<T: NativeArray<B>>(&self, options: &Options) -> Result<Plan> {
        let found = self.describe()?;
        let route = Typed::<S, A, T, B>(PhantomData).route(options);
        if TypeId::of::<S>() == TypeId::of::<T>() && stays(&found, options) {
            return Ok(Plan::stay(route.source));
        }
        route.plan(&found)
    }
}

/// The array itself, where it already is what was asked for.
#[inline]
fn staying<S: NativeArray<A>, A: 'static, T: Any>(
    array: S,
    options: &Options,
) -> Result<(T, Report), S> {
    if TypeId::of::<S>() != TypeId::of::<T>() {
        return Err(array);
    }
    match array.describe() {
        Ok(found) if stays(&found, options) => {
            let plan = Plan::stay(S::descriptor().name);
            let report = Report::of(plan, found.data_type, found.layout.shape());
            same_type(array).map(|array| (array, report))
        }
        _ => Err(array),
    }
}

/// The mark of an [`Array`] in [`Convert`]: its backend is known at run time only.
#[derive(Debug, Clone, Copy)]
pub struct Erased;

impl<B: 'static> Convert<Erased, B> for Array {
    fn convert_to<T: NativeArray<B>>(self, options: Options) -> Result<T, Refused<Self>> {
        self.convert_reported(options).map(|(array, _)| array)
    }

    fn convert_reported<T: NativeArray<B>>(
        self,
        options: Options,
    ) -> Result<(T, Report), Refused<Self>> {
        let ends = FromErased::<T, B>(self.native_type(), PhantomData);
        let route = ends.route(&options);
        match self.describe() {
            Ok(found) if self.downcast_ref::<T>().is_some() && stays(&found, &options) => {
                let plan = Plan::stay(route.source);
                let report = Report::of(plan, found.data_type, found.layout.shape());
                self.downcast::<T>().map(|array| (array, report))
            }
            _ => route.run_reported(&ends, self),
        }
    }

    fn plan_to<T: NativeArray<B>>(&self, options: &Options) -> Result<Plan> {
        let found = self.describe()?;
        let route = FromErased::<T, B>(self.native_type(), PhantomData).route(options);
        if self.downcast_ref::<T>().is_some() && stays(&found, options) {
            return Ok(Plan::stay(route.source));
        }
        route.plan(&found)
    }
}

/// The value as a `T`, where `S` and `T` are one type.
fn same_type<S: Any, T: Any>(value: S) -> Result<T, S> {
    let mut value = Some(value);
    if let Some(same) = (&mut value as &mut dyn Any).downcast_mut::<Option<T>>()
        && let Some(same) = same.take()
    {
        return Ok(same);
    }
    // Nothing was taken, so the value is still there.
    Err(value.take().unwrap_or_else(|| unreachable!("the value was not taken")))
}

/// Both ends known by type.
struct Typed<S, A, T, B>(PhantomData<(S, A, T, B)>);

impl<S: NativeArray<A>, A: 'static, T: NativeArray<B>, B: 'static> Typed<S, A, T, B> {
    fn route<'a>(&self, options: &'a Options) -> Route<'a> {
        Route {
            source: S::descriptor().name,
            target: T::descriptor().name,
            accepts: T::accepts(),
            target_type: TypeId::of::<T>(),
            type_name: short_type_name::<T>,
            options,
            lookup: Lookup::Global,
        }
    }
}

impl<S: NativeArray<A>, A: 'static, T: NativeArray<B>, B: 'static> Ends for Typed<S, A, T, B> {
    type Source = S;
    type Target = T;

    fn export(&self, source: S) -> Result<ManagedTensor, Refused<S>> {
        source.export()
    }

    fn restore(&self, tensor: ManagedTensor) -> S {
        S::import(tensor).unwrap_or_else(|refused| broken_law(type_name::<S>(), refused.error()))
    }

    fn import(&self, tensor: ManagedTensor) -> Result<T, Refused<ManagedTensor>> {
        T::import(tensor)
    }

    fn erase(&self, source: S) -> Array {
        Array::new(source)
    }

    fn target_of(&self, array: Array) -> Result<T, Refused<Array>> {
        array.downcast()
    }

    fn source_of(&self, array: Array) -> Result<S, Refused<Array>> {
        array.downcast()
    }
}

/// The source known at run time, the target by type.
struct FromErased<T, B>(&'static NativeType, PhantomData<(T, B)>);

impl<T: NativeArray<B>, B: 'static> FromErased<T, B> {
    fn route<'a>(&self, options: &'a Options) -> Route<'a> {
        Route {
            source: self.0.descriptor().name,
            target: T::descriptor().name,
            accepts: T::accepts(),
            target_type: TypeId::of::<T>(),
            type_name: short_type_name::<T>,
            options,
            lookup: Lookup::Global,
        }
    }
}

impl<T: NativeArray<B>, B: 'static> Ends for FromErased<T, B> {
    type Source = Array;
    type Target = T;

    fn export(&self, source: Array) -> Result<ManagedTensor, Refused<Array>> {
        source.export()
    }

    fn restore(&self, tensor: ManagedTensor) -> Array {
        Array::restored(tensor, self.0)
    }

    fn import(&self, tensor: ManagedTensor) -> Result<T, Refused<ManagedTensor>> {
        T::import(tensor)
    }

    fn erase(&self, source: Array) -> Array {
        source
    }

    fn target_of(&self, array: Array) -> Result<T, Refused<Array>> {
        array.downcast()
    }

    fn source_of(&self, array: Array) -> Result<Array, Refused<Array>> {
        Ok(array)
    }
}
