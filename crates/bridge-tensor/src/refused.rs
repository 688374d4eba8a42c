//! A failed call that gives its input back.

use std::fmt;

use crate::error::Error;

/// A call that refused, with the value it was given: a failed call loses nothing.
///
/// `?` turns it into the error `E` and drops the value; [`into_value`](Self::into_value) keeps it.
/// It is `Sync` whatever the value is, as a shared reference to it never reaches the value, so that
/// `?` also works in functions that return `anyhow::Error` or `Box<dyn Error + Send + Sync>`.
pub struct Refused<T, E = Error>(Box<Parts<T, E>>);

struct Parts<T, E> {
    value: Unshared<T>,
    error: E,
}

/// A value that a shared reference does not lead to.
struct Unshared<T>(T);

// SAFETY: `Sync` asks that `&Unshared<T>` may be used on several threads. The field is private to
// this module, whose only use of it consumes the whole (`Refused::into_parts`), so that no `&T` is
// ever made from a shared reference, neither here nor by a derived trait.
unsafe impl<T> Sync for Unshared<T> {}

impl<T, E> Refused<T, E> {
    /// Refuses `value` because of `error`.
    pub fn new(value: T, error: impl Into<E>) -> Self {
        Self(Box::new(Parts { value: Unshared(value), error: error.into() }))
    }

    /// Why it was refused.
    pub fn error(&self) -> &E {
        &self.0.error
    }

    /// The value that was given in, unharmed.
    pub fn into_value(self) -> T {
        self.into_parts().0
    }

    /// Why it was refused; the value is dropped.
    pub fn into_error(self) -> E {
        self.into_parts().1
    }

    /// The value that was given in, and why it was refused.
    pub fn into_parts(self) -> (T, E) {
        let Parts { value: Unshared(value), error } = *self.0;
        (value, error)
    }

    /// The same refusal of another form of the value, and with an error that holds this one.
    pub fn map<U, F: From<E>>(self, form: impl FnOnce(T) -> U) -> Refused<U, F> {
        let (value, error) = self.into_parts();
        Refused::new(form(value), error)
    }

    /// The same refusal with an error that holds this one.
    pub fn widen<F: From<E>>(self) -> Refused<T, F> {
        self.map(|value| value)
    }
}

impl<T, E: fmt::Debug> fmt::Debug for Refused<T, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Refused").field("error", self.error()).finish_non_exhaustive()
    }
}

impl<T, E: fmt::Display> fmt::Display for Refused<T, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.error().fmt(f)
    }
}

impl<T, E: std::error::Error> std::error::Error for Refused<T, E> {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.error().source()
    }
}

impl<T> From<Refused<T>> for Error {
    fn from(refused: Refused<T>) -> Self {
        refused.into_error()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::device::DeviceError;
    use std::cell::Cell;

    fn refusal<T>(value: T) -> Refused<T> {
        Refused::new(value, DeviceError::Unknown { asked: "x".to_owned() })
    }

    #[test]
    fn a_refusal_gives_the_value_back() {
        let refused = refusal(vec![1, 2]);
        assert!(refused.to_string().contains("\"x\" is not a device"));
        let refused: Refused<usize> = refused.map(|vec| vec.len());
        assert_eq!(refused.into_value(), 2);
    }

    #[test]
    fn a_refusal_is_printed_as_its_error_and_has_its_source() {
        let error = fmt::Error;
        let refused: Refused<u8, Wrapped> = Refused::new(7, Wrapped(error));
        assert_eq!(format!("{refused:?}"), "Refused { error: Wrapped(Error), .. }");
        assert_eq!(refused.to_string(), "wrapped");
        let source = std::error::Error::source(&refused).unwrap();
        assert_eq!(source.to_string(), error.to_string());
    }

    #[derive(Debug, thiserror::Error)]
    #[error("wrapped")]
    struct Wrapped(#[source] fmt::Error);

    #[test]
    fn a_refusal_of_what_is_not_sync_is_an_error_that_any_thread_may_hold() {
        let boxed: Box<dyn std::error::Error + Send + Sync> = Box::new(refusal(Cell::new(1)));
        assert!(boxed.to_string().contains("not a device"));
    }
}
