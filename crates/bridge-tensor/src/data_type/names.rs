//! Data types as text: the long and the short names.

use std::fmt;
use std::str::FromStr;

use super::{DataType, DataTypeError, TypeCode};

impl DataType {
    /// The short name: `f32`, `bf16`, `u8`, `c64`, `f8e4m3fn`.
    pub fn short_name(self) -> String {
        self.name_with(self.code.short_stem())
    }

    fn name_with(self, stem: &str) -> String {
        let mut name = stem.to_owned();
        if self.code.fixed_bits().is_none() {
            name += &self.bits.to_string();
        }
        if self.lanes != 1 {
            name += &format!("_x{}", self.lanes);
        }
        name
    }
}

impl fmt::Display for DataType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.name_with(self.code.stem()))
    }
}

impl fmt::Debug for DataType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for DataType {
    type Err = DataTypeError;

    /// Reads the long or the short form, without regard to case: `float32`, `F32`,
    /// `float4_e2m1fn_x2`.
    fn from_str(text: &str) -> Result<Self, DataTypeError> {
        let asked = text.trim().to_ascii_lowercase();
        let unknown = || DataTypeError::Unknown { asked: text.to_owned() };
        let (name, lanes) = match asked.rsplit_once("_x") {
            Some((name, lanes)) => (name, lanes.parse().map_err(|_| unknown())?),
            None => (asked.as_str(), 1),
        };
        for code in TypeCode::ALL {
            for stem in [code.stem(), code.short_stem()] {
                let Some(rest) = name.strip_prefix(stem) else {
                    continue;
                };
                let bits = match code.fixed_bits() {
                    Some(bits) if rest.is_empty() => bits,
                    None if !rest.is_empty() && rest.bytes().all(|b| b.is_ascii_digit()) => {
                        rest.parse().map_err(|_| unknown())?
                    }
                    _ => continue,
                };
                // A width that no framework has is a slip of the pen: "float8" has a dozen meanings.
                let scalar = Self::new(code, bits, 1)?;
                if code != TypeCode::Opaque && !Self::NAMED.contains(&scalar) {
                    return Err(unknown());
                }
                return scalar.with_lanes(lanes);
            }
        }
        Err(unknown())
    }
}
