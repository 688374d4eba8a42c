//! Which element type the results of a call have.

use std::fmt;
use std::str::FromStr;

use bridge_core::{DataType, Error};

use crate::arguments::invalid;

macro_rules! modes {
    ($($(#[$doc:meta])+ $mode:ident = $name:literal, $data_type:expr;)*) => {
        /// Which element type the results of a call have: the eight modes of the Python package
        /// arraybridge, under its names. What becomes of values that do not fit is
        /// [`Rescale`](super::Rescale)'s.
        ///
        /// ```
        /// use bridge_core::DataType;
        /// use bridge_memory::call::DtypeConversion;
        ///
        /// let mode: DtypeConversion = "uint16".parse()?;
        /// assert_eq!(mode.data_type(), Some(DataType::U16));
        /// assert_eq!(DtypeConversion::PreserveInput.to_string(), "preserve");
        /// # Ok::<(), bridge_core::Error>(())
        /// ```
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
        pub enum DtypeConversion { $($(#[$doc])+ $mode,)* }

        impl DtypeConversion {
            /// Every mode.
            pub const ALL: [Self; 8] = [$(Self::$mode),*];

            /// The mode's name, which it is printed with and read from.
            pub const fn name(self) -> &'static str {
                match self { $(Self::$mode => $name,)* }
            }

            /// The element type that the mode names, where it names one.
            pub const fn data_type(self) -> Option<DataType> {
                match self { $(Self::$mode => $data_type,)* }
            }
        }
    };
}

modes! {
    /// That of the call's first array.
    PreserveInput = "preserve", None;
    /// The one that the function gave.
    #[default]
    NativeOutput = "native", None;
    /// 8-bit unsigned integers.
    Uint8 = "uint8", Some(DataType::U8);
    /// 16-bit unsigned integers.
    Uint16 = "uint16", Some(DataType::U16);
    /// 16-bit signed integers.
    Int16 = "int16", Some(DataType::I16);
    /// 32-bit signed integers.
    Int32 = "int32", Some(DataType::I32);
    /// Single precision.
    Float32 = "float32", Some(DataType::F32);
    /// Double precision.
    Float64 = "float64", Some(DataType::F64);
}

impl DtypeConversion {
    /// The element type that results shall have, where the first array had `input`; `None` where they
    /// stay as they are.
    pub fn for_input(self, input: Option<DataType>) -> Option<DataType> {
        match self {
            Self::PreserveInput => input,
            other => other.data_type(),
        }
    }
}

impl fmt::Display for DtypeConversion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl FromStr for DtypeConversion {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        Self::ALL.into_iter().find(|mode| mode.name() == text).ok_or_else(|| {
            let names = Self::ALL.map(Self::name).join(", ");
            invalid("the dtype conversion", &format!("{text:?}"), &format!("it is one of {names}"))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_mode_is_read_from_its_name_and_names_the_type_of_that_name() {
        for mode in DtypeConversion::ALL {
            assert_eq!(mode.to_string().parse::<DtypeConversion>().unwrap(), mode);
            if let Some(data_type) = mode.data_type() {
                assert_eq!(data_type.to_string(), mode.name());
            }
        }
        let error = "float16".parse::<DtypeConversion>().unwrap_err().to_string();
        assert!(
            error.contains("\"float16\"") && error.contains("preserve, native, uint8"),
            "{error}"
        );
    }

    #[test]
    fn only_preserve_looks_at_the_input() {
        let input = Some(DataType::U16);
        let wanted = DtypeConversion::ALL.map(|mode| mode.for_input(input));
        use DataType as D;
        let others = [D::U8, D::U16, D::I16, D::I32, D::F32, D::F64].map(Some);
        assert_eq!(wanted[..2], [input, None]);
        assert_eq!(wanted[2..], others);
        assert_eq!(DtypeConversion::PreserveInput.for_input(None), None);
    }
}
