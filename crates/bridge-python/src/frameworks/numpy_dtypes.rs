//! Element types as NumPy's dtypes, and back.

use bridge_core::{DataType, Error, Result};
use numpy::npyffi::{NPY_TYPES, PY_ARRAY_API, PyArray_Descr};
use numpy::{PyArrayDescr, PyArrayDescrMethods};
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::PyModule;

/// What NumPy itself has.
const BUILT_IN: [(DataType, NPY_TYPES); 14] = [
    (DataType::BOOL, NPY_TYPES::NPY_BOOL),
    (DataType::I8, NPY_TYPES::NPY_BYTE),
    (DataType::U8, NPY_TYPES::NPY_UBYTE),
    (DataType::I16, NPY_TYPES::NPY_SHORT),
    (DataType::U16, NPY_TYPES::NPY_USHORT),
    (DataType::I32, NPY_TYPES::NPY_INT),
    (DataType::U32, NPY_TYPES::NPY_UINT),
    (DataType::I64, NPY_TYPES::NPY_LONG),
    (DataType::U64, NPY_TYPES::NPY_ULONG),
    (DataType::F16, NPY_TYPES::NPY_HALF),
    (DataType::F32, NPY_TYPES::NPY_FLOAT),
    (DataType::F64, NPY_TYPES::NPY_DOUBLE),
    (DataType::C64, NPY_TYPES::NPY_CFLOAT),
    (DataType::C128, NPY_TYPES::NPY_CDOUBLE),
];

/// What the package `ml_dtypes` adds, by its names.
const ADDED: [(DataType, &str); 9] = [
    (DataType::BF16, "bfloat16"),
    (DataType::F8E4M3FN, "float8_e4m3fn"),
    (DataType::F8E5M2, "float8_e5m2"),
    (DataType::F8E4M3, "float8_e4m3"),
    (DataType::F8E3M4, "float8_e3m4"),
    (DataType::F8E4M3B11FNUZ, "float8_e4m3b11fnuz"),
    (DataType::F8E4M3FNUZ, "float8_e4m3fnuz"),
    (DataType::F8E5M2FNUZ, "float8_e5m2fnuz"),
    (DataType::F8E8M0FNU, "float8_e8m0fnu"),
];

/// The element types of NumPy itself, which every framework but pyclesperanto has.
pub(super) const OWN: [DataType; BUILT_IN.len()] = {
    let mut own = [DataType::BOOL; BUILT_IN.len()];
    let mut index = 0;
    while index < own.len() {
        own[index] = BUILT_IN[index].0;
        index += 1;
    }
    own
};

/// Every element type that an array of NumPy can have, `ml_dtypes` included; those of JAX are the same.
pub(super) const ALL: [DataType; OWN.len() + ADDED.len()] = {
    let mut added = [DataType::BF16; ADDED.len()];
    let mut index = 0;
    while index < added.len() {
        added[index] = ADDED[index].0;
        index += 1;
    }
    own_and(&added)
};

/// NumPy's own element types, and these.
pub(super) const fn own_and<const ALL: usize>(more: &[DataType]) -> [DataType; ALL] {
    assert!(OWN.len() + more.len() == ALL, "the length is that of both together");
    let mut all = [DataType::BOOL; ALL];
    let mut index = 0;
    while index < ALL {
        all[index] = if index < OWN.len() { OWN[index] } else { more[index - OWN.len()] };
        index += 1;
    }
    all
}

/// The element type that a dtype means.
pub(super) fn data_type(dtype: &Bound<'_, PyArrayDescr>) -> Result<DataType> {
    let number = dtype.num();
    let is_long_long = number == NPY_TYPES::NPY_LONGLONG as i32;
    let found = match number {
        _ if is_long_long => Some(DataType::I64),
        _ if number == NPY_TYPES::NPY_ULONGLONG as i32 => Some(DataType::U64),
        _ if number < NPY_TYPES::NPY_OBJECT as i32 || number == NPY_TYPES::NPY_HALF as i32 => {
            BUILT_IN.iter().find(|(_, npy)| *npy as i32 == number).map(|&(found, _)| found)
        }
        _ => None,
    };
    if let Some(found) = found {
        return match dtype.is_native_byteorder() {
            Some(false) => Err(refused(
                format!("an array of {dtype}, whose bytes are in the other order"),
                "swap them first: `array.astype(array.dtype.newbyteorder('='))`".to_owned(),
            )),
            _ => Ok(found),
        };
    }
    let name = dtype.typeobj().name().map_or_else(|_| String::new(), |name| name.to_string());
    let added = ADDED.iter().find(|(_, added)| *added == name && dtype.itemsize() > 0);
    if let Some(&(found, _)) = added {
        return Ok(found);
    }
    let advice = match dtype.kind() {
        b'V' if name == "void" && !dtype.has_fields() => {
            "they are bytes without a meaning: `array.view('uint8')` gives them, where the array is contiguous"
        }
        b'V' if name != "void" => {
            "NumPy has each in a byte of its own: `array.astype('int8')`, or 'float32', first"
        }
        kind => advice(kind),
    };
    Err(refused(format!("an array of {dtype}"), advice.to_owned()))
}

/// What to do with elements that no other framework has.
fn advice(kind: u8) -> &'static str {
    match kind {
        b'O' => "its elements are Python objects: make numbers of them, `array.astype('float64')`",
        b'M' | b'm' => "dates are numbers of a unit: `array.view('int64')` gives them",
        b'U' | b'S' | b'T' => "text cannot be handed over: encode it as numbers first",
        b'V' => "hand its fields over one by one: `array['field']`, made contiguous",
        b'f' | b'c' => {
            "no other framework has it: `array.astype('float64')`, or 'complex128', first"
        }
        _ => "cast it first to an element type that DLPack knows",
    }
}

fn refused(what: String, remedy: String) -> Error {
    Error::Unsupported { what, remedy }
}

/// A new reference to the dtype of an element type.
pub(super) fn dtype(py: Python<'_>, data_type: DataType) -> Result<*mut PyArray_Descr> {
    if let Some((_, npy)) = BUILT_IN.iter().find(|(known, _)| *known == data_type) {
        // SAFETY: the number is one of NumPy's own, of which there always is a dtype.
        return Ok(unsafe { PY_ARRAY_API.PyArray_DescrFromType(py, *npy as i32) });
    }
    let place = ADDED.iter().position(|(known, _)| *known == data_type);
    let Some(place) = place else {
        let remedy = "cast it: dtype='float32'".to_owned();
        return Err(refused(format!("{data_type} in NumPy"), remedy));
    };
    static KEPT: [PyOnceLock<Py<PyArrayDescr>>; ADDED.len()] =
        [const { PyOnceLock::new() }; ADDED.len()];
    let kept = KEPT[place].get_or_try_init(py, || {
        let module = PyModule::import(py, "ml_dtypes")?;
        Ok::<_, PyErr>(PyArrayDescr::new(py, module.getattr(ADDED[place].1)?)?.unbind())
    });
    match kept {
        Ok(found) => Ok(found.bind(py).clone().into_dtype_ptr()),
        Err(_) => Err(refused(
            format!("{data_type} in NumPy without the package ml_dtypes"),
            "install it (pip install ml_dtypes), or cast: dtype='float32'".to_owned(),
        )),
    }
}
