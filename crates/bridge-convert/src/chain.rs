//! One conversion after another.

use bridge_core::{Array, NativeArray, Options, Refused};

use crate::by_type::{Convert, Erased};

/// Goes on with what a conversion made.
///
/// Each conversion of a chain that fails has another array to give back; here all give it as an [`Array`], so
/// that a chain has one error type, however long it is.
///
/// ```
/// use bridge_convert::{AndConvert as _, Convert as _};
/// use bridge_core::{Array, ManagedTensor};
///
/// let tensor = ManagedTensor::from_vec(vec![1_u8, 2], &[2])?;
/// let there_and_back =
///     Array::new(tensor).convert::<ManagedTensor>().and_convert::<ManagedTensor>()?;
/// assert_eq!(there_and_back.shape(), [2]);
/// # Ok::<(), bridge_core::Error>(())
/// ```
pub trait AndConvert<A, B, C: 'static>: Sized {
    /// Converts further, where there is something, copying only where there is no way without.
    ///
    /// # Errors
    ///
    /// The failure of the conversion before, else as [`Convert::convert`]; in the error is the array
    /// that the failed conversion was given.
    fn and_convert<T: NativeArray<C>>(self) -> Result<T, Refused<Array>> {
        self.and_convert_to(Options::default())
    }

    /// Converts further under `options`, where there is something.
    ///
    /// # Errors
    ///
    /// As [`and_convert`](Self::and_convert).
    fn and_convert_to<T: NativeArray<C>>(self, options: Options) -> Result<T, Refused<Array>>;
}

impl<S: NativeArray<A>, A: 'static, M: NativeArray<B>, B: 'static, C: 'static> AndConvert<A, B, C>
    for Result<M, Refused<S>>
{
    fn and_convert_to<T: NativeArray<C>>(self, options: Options) -> Result<T, Refused<Array>> {
        further(self.map_err(|refused| refused.map(Array::new)), options)
    }
}

impl<M: NativeArray<B>, B: 'static, C: 'static> AndConvert<Erased, B, C>
    for Result<M, Refused<Array>>
{
    fn and_convert_to<T: NativeArray<C>>(self, options: Options) -> Result<T, Refused<Array>> {
        further(self, options)
    }
}

fn further<M: NativeArray<B>, B: 'static, T: NativeArray<C>, C: 'static>(
    made: Result<M, Refused<Array>>,
    options: Options,
) -> Result<T, Refused<Array>> {
    made?.convert_to(options).map_err(|refused| refused.map(Array::new))
}
