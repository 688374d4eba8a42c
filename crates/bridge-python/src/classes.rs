//! Which framework an object is an array of.
//!
//! A class is looked at once: its bases' modules and names tell. The answer is kept by the address of
//! the class, and the class is kept alive with it, so that the address means no other.

use std::cell::RefCell;
use std::ptr::{NonNull, null_mut};
use std::sync::atomic::{AtomicPtr, Ordering};

use pyo3::prelude::*;
use pyo3::types::PyType;
use pyo3::{ffi, intern};

use crate::framework::Framework;

/// The framework that `object` is an array of; `None` for anything else.
pub(crate) fn framework_of(object: &Bound<'_, PyAny>) -> Option<Framework> {
    // SAFETY: the object is alive. Its class is compared and not looked at: on a free-threaded interpreter another thread may
    // give the object another one at any time.
    let class = unsafe { ffi::Py_TYPE(object.as_ptr()) };
    let address = NonNull::new(class)?;
    if let Some(own) = own_class(address) {
        return Some(own);
    }
    if let Some(known) = KNOWN.with_borrow(|known| known.find(address)) {
        return known;
    }
    let class = object.get_type();
    let found = of_class(&class).unwrap_or(None);
    if let Some(framework) = found {
        remember(&class, framework);
    }
    let forgotten = KNOWN.with_borrow_mut(|known| known.add(class, found));
    drop(forgotten); // which may run code of others, that comes back here
    found
}

/// The first class of each framework that was seen, which is most often the only one: found without a look at what
/// belongs to this thread.
static FIRST: [AtomicPtr<ffi::PyTypeObject>; Framework::ALL.len()] =
    [const { AtomicPtr::new(null_mut()) }; Framework::ALL.len()];

/// The framework whose first class this is.
#[inline]
fn own_class(class: NonNull<ffi::PyTypeObject>) -> Option<Framework> {
    let is_it = |first: &AtomicPtr<_>| first.load(Ordering::Relaxed) == class.as_ptr();
    FIRST.iter().position(is_it).map(|place| Framework::ALL[place])
}

/// Keeps the first class of a framework as long as the program runs, so that its address means no other.
fn remember(class: &Bound<'_, PyType>, framework: Framework) {
    let (first, class) = (&FIRST[framework as usize], class.clone());
    let kept = class.as_type_ptr();
    if first.compare_exchange(null_mut(), kept, Ordering::Relaxed, Ordering::Relaxed).is_ok() {
        std::mem::forget(class);
    }
}

thread_local! {
    static KNOWN: RefCell<Known> = const { RefCell::new(Known { classes: Vec::new() }) };
}

/// Classes that have been looked at by this thread, those used last in front.
struct Known {
    classes: Vec<One>,
}

/// The address of a class, what keeps it there, and the answer.
type One = (NonNull<ffi::PyTypeObject>, Py<PyType>, Option<Framework>);

/// More classes than programs use as arrays; beyond, those that came first are forgotten.
const MOST: usize = 32;

impl Known {
    #[inline]
    fn find(&self, address: NonNull<ffi::PyTypeObject>) -> Option<Option<Framework>> {
        self.classes.iter().find(|(known, ..)| *known == address).map(|&(_, _, found)| found)
    }

    /// Adds a class, and gives back what is forgotten for it.
    fn add(&mut self, class: Bound<'_, PyType>, found: Option<Framework>) -> Vec<One> {
        let forgotten = self.classes.split_off(self.classes.len().min(MOST - 1));
        if let Some(address) = NonNull::new(class.as_type_ptr()) {
            self.classes.insert(0, (address, class.unbind(), found));
        }
        forgotten
    }
}

/// What the class and its bases say: an array class of a framework, or one that is made of it.
fn of_class(class: &Bound<'_, PyType>) -> PyResult<Option<Framework>> {
    for base in class.mro() {
        let module: String = match base.getattr(intern!(base.py(), "__module__"))?.extract() {
            Ok(module) => module,
            Err(_) => continue,
        };
        let Some(framework) = Framework::of_module(&module) else { continue };
        let name: String = base.getattr(intern!(base.py(), "__name__"))?.extract()?;
        if is_array_class(framework, &name) {
            return Ok(Some(framework));
        }
    }
    Ok(None)
}

fn is_array_class(framework: Framework, name: &str) -> bool {
    match framework {
        Framework::Numpy | Framework::Cupy => name == "ndarray",
        Framework::Torch => name == "Tensor",
        Framework::Tensorflow => matches!(name, "Tensor" | "EagerTensor" | "Variable"),
        Framework::Jax => matches!(name, "Array" | "ArrayImpl" | "Tracer"),
        Framework::Pyclesperanto => matches!(name, "_Array" | "OCLArray" | "Array"),
    }
}

/// Whether a class, or one that it is made of, has this name.
pub(crate) fn is_made_of(class: &Bound<'_, PyType>, name: &str) -> bool {
    class.mro().iter().any(|base| {
        base.cast::<PyType>().is_ok_and(|base| base.name().is_ok_and(|found| found == name))
    })
}
