//! A whole call of a function that is awaited.

use bridge_core::{Array, Error, Refused, Registry, Result};

use super::options::CallOptions;
use super::parts::Arrays;
use super::run::{begun, cut, put_together};
use super::session::Call;

/// As [`call`](super::call), for a function that is awaited. Where it runs out of memory it runs again at
/// once, as waiting would hold up the thread.
///
/// It is lent the arrays exclusively, so that the future can go to another thread: arrays are `Send`, and
/// not `Sync`.
///
/// # Errors
///
/// As [`call`](super::call). The arrays come back; where the future is dropped before it is done, they
/// are dropped with it.
pub async fn call_async<R: Arrays<R, M>, M>(
    registry: &Registry,
    options: CallOptions<'_>,
    arrays: Vec<Array>,
    mut function: impl AsyncFnMut(&mut [Array]) -> Result<R>,
) -> Result<R, Refused<Vec<Array>>> {
    let (call, mut arrays) = begun(registry, options, arrays)?;
    let mut attempts = Attempts::default();
    let done = loop {
        match function(&mut arrays).await {
            Ok(result) => break call.result(result),
            Err(error) => {
                if let Some(error) = attempts.failed(&call, error) {
                    break Err(error);
                }
            }
        }
    };
    done.map_err(|error| Refused::new(arrays, error))
}

/// As [`call_by_slice`](super::call_by_slice), for a function that is awaited, as [`call_async`] does: one
/// slice after the other.
///
/// ```
/// # use bridge_host as _;
/// use bridge_core::{Array, ManagedTensor, Registry};
/// use bridge_memory::call::{CallOptions, call_by_slice_async};
///
/// # let run = async {
/// let rows = Array::new(ManagedTensor::from_vec(vec![1_u8, 2, 3, 4], &[2, 2])?);
/// let options = CallOptions::new("sums").on("dlpack");
/// let sums = call_by_slice_async(Registry::global()?, options, vec![rows], async |arrays| {
///     let row = arrays[0].downcast_ref::<ManagedTensor>().expect("converted to it");
///     let sum = row.as_slice::<u8>()?.iter().sum();
///     Ok(Array::new(ManagedTensor::from_vec(vec![std::future::ready::<u8>(sum).await], &[1])?))
/// });
/// let sums = sums.await?.downcast::<ManagedTensor>()?;
/// assert_eq!((sums.shape(), sums.as_slice::<u8>()?), (&[2, 1][..], &[3, 7][..]));
/// # Ok::<(), bridge_core::Error>(())
/// # };
/// # let waker = std::task::Waker::noop();
/// # let polled = std::pin::pin!(run).poll(&mut std::task::Context::from_waker(waker));
/// # assert!(matches!(polled, std::task::Poll::Ready(Ok(()))));
/// ```
///
/// # Errors
///
/// As [`call_by_slice`](super::call_by_slice). The arrays come back, as from [`call_async`].
pub async fn call_by_slice_async(
    registry: &Registry,
    options: CallOptions<'_>,
    arrays: Vec<Array>,
    mut function: impl AsyncFnMut(&mut [Array]) -> Result<Array>,
) -> Result<Array, Refused<Vec<Array>>> {
    let (call, mut slices, mut arguments) = cut(registry, options, arrays)?;
    let done = loop {
        match slices.next_slice::<Array, _>() {
            Ok(Some(slice)) => arguments.insert(0, slice),
            Ok(None) => break slices.finish().and_then(|stack| call.result(stack)),
            Err(error) => break Err(error),
        }
        let mut attempts = Attempts::default();
        let made = loop {
            match function(&mut arguments).await {
                Ok(made) => break slices.push(made),
                Err(error) => {
                    if let Some(error) = attempts.failed(&call, error) {
                        break Err(error);
                    }
                }
            }
        };
        arguments.remove(0);
        if let Err(error) = made {
            break Err(error);
        }
    };
    done.map_err(|error| put_together(slices, arguments, error))
}

/// The tries of one function.
#[derive(Default)]
struct Attempts {
    first: Option<Error>,
    count: u32,
}

impl Attempts {
    /// Notes that a try failed; the first try's error where there will be no other.
    fn failed(&mut self, call: &Call<'_>, error: Error) -> Option<Error> {
        self.count = self.count.saturating_add(1);
        let again = call.makes_room(&error, self.count);
        let first = self.first.take().unwrap_or(error);
        if again {
            self.first = Some(first);
            return None;
        }
        Some(first)
    }
}
