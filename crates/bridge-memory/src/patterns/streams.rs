//! Streams that threads do not share.

use std::any::Any;
use std::cell::RefCell;
use std::fmt;
use std::marker::PhantomData;
use std::rc::Rc;
use std::sync::{Arc, Weak};

use bridge_core::{Device, Result};

/// One stream a thread and device: made when a thread first asks for it, the same one ever after,
/// dropped when the thread ends.
///
/// What a stream is and how one is made is the caller's: a value of this type for each backend.
///
/// ```
/// use bridge_core::Device;
/// use bridge_memory::patterns::ThreadStreams;
///
/// let streams = ThreadStreams::new(|device| Ok(format!("a stream of {device}")));
/// let first = streams.get(Device::cuda(0))?;
/// assert_eq!(*first, "a stream of cuda:0");
/// assert!(std::rc::Rc::ptr_eq(&first, &streams.get(Device::cuda(0))?));
/// # Ok::<(), bridge_core::Error>(())
/// ```
pub struct ThreadStreams<S> {
    make: Box<dyn Fn(Device) -> Result<S> + Send + Sync>,
    identity: Arc<()>,
    /// Streams stay on their threads: this is `Send` and `Sync` whatever they are.
    streams: PhantomData<fn() -> S>,
}

struct Made {
    by: Weak<()>,
    device: Device,
    stream: Rc<dyn Any>,
}

thread_local! {
    static MADE: RefCell<Vec<Made>> = const { RefCell::new(Vec::new()) };
}

impl<S: 'static> ThreadStreams<S> {
    /// Streams that `make` makes.
    pub fn new(make: impl Fn(Device) -> Result<S> + Send + Sync + 'static) -> Self {
        Self { make: Box::new(make), identity: Arc::new(()), streams: PhantomData }
    }

    /// This thread's stream of `device`. A thread that is ending keeps none: it gets a new one.
    ///
    /// # Errors
    ///
    /// Where a stream cannot be made; the next call tries again.
    pub fn get(&self, device: Device) -> Result<Rc<S>> {
        if let Some(stream) = self.made(device) {
            return Ok(stream);
        }
        let stream = Rc::new((self.make)(device)?);
        // Making one may have asked for one: the first stays.
        if let Some(first) = self.made(device) {
            return Ok(first);
        }
        let by = Arc::downgrade(&self.identity);
        let made = Made { by, device, stream: Rc::clone(&stream) as Rc<dyn Any> };
        let dead = MADE.try_with(|all| {
            let mut all = all.borrow_mut();
            let is_dead = |made: &mut Made| made.by.strong_count() == 0;
            let dead: Vec<_> = all.extract_if(.., is_dead).collect();
            all.push(made);
            dead
        });
        // What a stream does when it is dropped may ask for one.
        drop(dead);
        Ok(stream)
    }

    fn made(&self, device: Device) -> Option<Rc<S>> {
        let found = MADE.try_with(|all| {
            let all = all.borrow();
            let mine = all.iter().find(|made| {
                made.device == device && std::ptr::eq(made.by.as_ptr(), Arc::as_ptr(&self.identity))
            })?;
            Some(Rc::clone(&mine.stream))
        });
        found.ok().flatten()?.downcast().ok()
    }
}

impl<S> fmt::Debug for ThreadStreams<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ThreadStreams").finish_non_exhaustive()
    }
}
