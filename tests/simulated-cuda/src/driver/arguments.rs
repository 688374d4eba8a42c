//! The arguments of C functions: pointers of the caller, checked for null.

use std::ffi::{CStr, c_char};

use super::code::{Code, Outcome};

/// Where a result goes.
#[repr(transparent)]
pub(crate) struct Out<T>(*mut T);

impl<T> Out<T> {
    /// A result whose type the caller of a C function has not said.
    pub(crate) fn of(to: *mut T) -> Self {
        Self(to)
    }

    pub(crate) fn is_null(&self) -> bool {
        self.0.is_null()
    }

    /// Stores the result; a null pointer is an invalid value.
    pub(crate) fn set(&self, value: T) -> Outcome {
        if self.0.is_null() {
            return Err(Code::INVALID_VALUE);
        }
        // SAFETY: an `Out` comes from the caller of a C function only, who promises that it is null or valid to write a `T` to during the call.
        unsafe { self.0.write(value) };
        Ok(())
    }

    /// Stores the result where the caller wants it.
    pub(crate) fn set_if_wanted(&self, value: T) {
        if !self.is_null() {
            // `set` fails for null pointers only.
            let _ = self.set(value);
        }
    }
}

impl Out<u8> {
    /// Stores text and a zero byte, cut to `capacity` bytes.
    pub(crate) fn set_text(&self, text: &str, capacity: usize) -> Outcome {
        if self.0.is_null() || capacity == 0 {
            return Err(Code::INVALID_VALUE);
        }
        let length = text.len().min(capacity - 1);
        // SAFETY: as in `set`; the caller promises `capacity` bytes.
        unsafe {
            self.0.copy_from_nonoverlapping(text.as_ptr(), length);
            self.0.add(length).write(0);
        }
        Ok(())
    }
}

/// What the caller gives to read.
#[repr(transparent)]
pub(crate) struct In<T>(*const T);

impl<T: Copy> In<T> {
    pub(crate) fn get(&self) -> Outcome<T> {
        if self.0.is_null() {
            return Err(Code::INVALID_VALUE);
        }
        // SAFETY: an `In` comes from the caller of a C function only, who promises that it is null or points to a `T` during the call.
        Ok(unsafe { self.0.read_unaligned() })
    }

    /// The element at an index that the caller says is there.
    pub(crate) fn at(&self, index: usize) -> Outcome<T> {
        Self(if self.0.is_null() { self.0 } else { self.0.wrapping_add(index) }).get()
    }
}

/// Text that ends with a zero byte.
#[repr(transparent)]
pub(crate) struct Text<'a>(*const c_char, std::marker::PhantomData<&'a CStr>);

impl<'a> Text<'a> {
    pub(crate) fn get(&self) -> Outcome<&'a str> {
        if self.0.is_null() {
            return Err(Code::INVALID_VALUE);
        }
        // SAFETY: a `Text` comes from the caller of a C function only, who promises that it is null or such a text, unchanged during the call.
        let text = unsafe { CStr::from_ptr(self.0) };
        text.to_str().map_err(|_| Code::INVALID_VALUE)
    }
}
