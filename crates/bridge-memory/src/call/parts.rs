//! Values that arrays are part of: an array, or a tuple, list, option, result or map of them.

use std::collections::{BTreeMap, HashMap};
use std::hash::{BuildHasher, Hash};

use bridge_core::{
    Array, DataType, Description, Descriptor, Device, NativeArray, Refused, Result, vec_with_room,
};

use super::way::Way;

/// An array of any framework, or one whose framework is only known at run time. `A` is found by the
/// compiler.
pub trait IntoArray<A>: Sized {
    /// The array with its type erased.
    fn into_array(self) -> Array;

    /// Which backend it belongs to, and what it is.
    ///
    /// # Errors
    ///
    /// Where it cannot be exported, and why.
    fn described(&self) -> Result<(&'static Descriptor, Description)>;
}

/// The mark of an [`Array`], whose backend is known at run time only.
#[derive(Debug, Clone, Copy)]
pub struct AnyArray;

impl<T: NativeArray<A>, A: 'static> IntoArray<A> for T {
    fn into_array(self) -> Array {
        Array::new(self)
    }

    fn described(&self) -> Result<(&'static Descriptor, Description)> {
        Ok((T::descriptor(), self.describe()?))
    }
}

impl IntoArray<AnyArray> for Array {
    fn into_array(self) -> Array {
        self
    }

    fn described(&self) -> Result<(&'static Descriptor, Description)> {
        Ok((self.descriptor(), self.describe()?))
    }
}

/// What an array can be converted to: a framework's array type, or [`Array`]. `B` is found by the compiler.
pub trait FromArray<B>: Sized {
    /// Converts the array.
    ///
    /// # Errors
    ///
    /// As [`Convert::convert_to`](bridge_convert::Convert::convert_to). The array comes back.
    fn from_array(array: Array, way: &Way<'_>) -> Result<Self, Refused<Array>>;
}

impl<T: NativeArray<B>, B: 'static> FromArray<B> for T {
    fn from_array(array: Array, way: &Way<'_>) -> Result<Self, Refused<Array>> {
        way.typed(array)
    }
}

impl FromArray<AnyArray> for Array {
    fn from_array(array: Array, way: &Way<'_>) -> Result<Self, Refused<Array>> {
        way.by_name(array)
    }
}

/// A value whose arrays can be converted so that it becomes a `T`: an array; a tuple, `Vec`, `Option`,
/// `Result`, `HashMap` or `BTreeMap` of such values; a number, text, `bool`, `()`, [`DataType`] or [`Device`], and
/// anything inside [`Untouched`], which stay as they are. `M` is found by the compiler.
#[diagnostic::on_unimplemented(
    message = "the arrays in `{Self}` cannot be converted to those of `{T}`",
    label = "there is no such conversion",
    note = "arrays, tuples, Vec, Option, Result, HashMap and BTreeMap of them, numbers, texts and bool are \
            converted part by part; put any other value into `Untouched`"
)]
pub trait Arrays<T, M>: Sized {
    /// Shows every array.
    ///
    /// # Errors
    ///
    /// What `look` gives, and where an array cannot be exported.
    fn look_at(&self, look: &mut Look<'_>) -> Result<()>;

    /// Converts every array.
    ///
    /// # Errors
    ///
    /// As [`FromArray::from_array`], for the first that fails. The arrays are gone then.
    fn convert(self, way: &Way<'_>) -> Result<T>;
}

/// What is shown each array.
pub type Look<'l> = dyn FnMut(&'static Descriptor, Description) -> Result<()> + 'l;

/// The mark of one array.
#[derive(Debug, Clone, Copy)]
pub struct One<A, B>(std::marker::PhantomData<(A, B)>);

impl<S: IntoArray<A>, T: FromArray<B>, A, B> Arrays<T, One<A, B>> for S {
    fn look_at(&self, look: &mut Look<'_>) -> Result<()> {
        let (descriptor, description) = self.described()?;
        look(descriptor, description)
    }

    fn convert(self, way: &Way<'_>) -> Result<T> {
        T::from_array(self.into_array(), way).map_err(Refused::into_error)
    }
}

/// A value that is no array, and stays as it is.
///
/// ```
/// use bridge_memory::call::Untouched;
///
/// let Untouched(path) = Untouched(std::path::PathBuf::from("data"));
/// # assert_eq!(path, std::path::Path::new("data"));
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct Untouched<T>(pub T);

/// The mark of a value that stays as it is.
#[derive(Debug, Clone, Copy)]
pub struct Plain;

macro_rules! plain {
    ($($type:ty $(where $generic:ident)?),*) => {$(
        impl$(<$generic>)? Arrays<Self, Plain> for $type {
            fn look_at(&self, _: &mut Look<'_>) -> Result<()> {
                Ok(())
            }

            fn convert(self, _: &Way<'_>) -> Result<Self> {
                Ok(self)
            }
        }
    )*};
}

plain!(
    (), bool, char, String, &'static str, u8, u16, u32, u64, u128, usize, i8, i16, i32, i64, i128,
    isize, f32, f64, DataType, Device, Untouched<T> where T
);

/// The mark of a list of values of the mark `M`.
#[derive(Debug, Clone, Copy)]
pub struct Many<M>(std::marker::PhantomData<M>);

impl<S: Arrays<T, M>, T, M> Arrays<Vec<T>, Many<M>> for Vec<S> {
    fn look_at(&self, look: &mut Look<'_>) -> Result<()> {
        self.iter().try_for_each(|part| part.look_at(look))
    }

    fn convert(self, way: &Way<'_>) -> Result<Vec<T>> {
        let mut parts = vec_with_room(self.len(), 0)?;
        for part in self {
            parts.push(part.convert(way)?);
        }
        Ok(parts)
    }
}

impl<S: Arrays<T, M>, T, M> Arrays<Option<T>, Many<M>> for Option<S> {
    fn look_at(&self, look: &mut Look<'_>) -> Result<()> {
        self.iter().try_for_each(|part| part.look_at(look))
    }

    fn convert(self, way: &Way<'_>) -> Result<Option<T>> {
        self.map(|part| part.convert(way)).transpose()
    }
}

impl<S: Arrays<T, M>, T, M, E> Arrays<Result<T, E>, Many<M>> for Result<S, E> {
    fn look_at(&self, look: &mut Look<'_>) -> Result<()> {
        self.iter().try_for_each(|part| part.look_at(look))
    }

    fn convert(self, way: &Way<'_>) -> Result<Result<T, E>> {
        match self {
            Ok(part) => part.convert(way).map(Ok),
            Err(error) => Ok(Err(error)),
        }
    }
}

macro_rules! maps {
    ($($map:ident<$key:ident $(, $hasher:ident)?>: ($($bounds:tt)+);)*) => {$(
        impl<S, T, M, $key $(, $hasher)?> Arrays<$map<$key, T $(, $hasher)?>, Many<M>>
            for $map<$key, S $(, $hasher)?>
        where
            S: Arrays<T, M>,
            $($bounds)+
        {
            fn look_at(&self, look: &mut Look<'_>) -> Result<()> {
                self.values().try_for_each(|part| part.look_at(look))
            }

            fn convert(self, way: &Way<'_>) -> Result<$map<$key, T $(, $hasher)?>> {
                self.into_iter().map(|(key, part)| Ok((key, part.convert(way)?))).collect()
            }
        }
    )*};
}

maps! {
    HashMap<K, H>: (K: Eq + Hash, H: BuildHasher + Default);
    BTreeMap<K>: (K: Ord);
}

macro_rules! tuples {
    ($(($($source:ident $target:ident $mark:ident $place:tt),+);)*) => {$(
        impl<$($source: Arrays<$target, $mark>, $target, $mark),+> Arrays<($($target,)+), ($($mark,)+)>
            for ($($source,)+)
        {
            fn look_at(&self, look: &mut Look<'_>) -> Result<()> {
                $(self.$place.look_at(look)?;)+
                Ok(())
            }

            fn convert(self, way: &Way<'_>) -> Result<($($target,)+)> {
                Ok(($(self.$place.convert(way)?,)+))
            }
        }
    )*};
}

tuples! {
    (S0 T0 M0 0);
    (S0 T0 M0 0, S1 T1 M1 1);
    (S0 T0 M0 0, S1 T1 M1 1, S2 T2 M2 2);
    (S0 T0 M0 0, S1 T1 M1 1, S2 T2 M2 2, S3 T3 M3 3);
    (S0 T0 M0 0, S1 T1 M1 1, S2 T2 M2 2, S3 T3 M3 3, S4 T4 M4 4);
    (S0 T0 M0 0, S1 T1 M1 1, S2 T2 M2 2, S3 T3 M3 3, S4 T4 M4 4, S5 T5 M5 5);
}
