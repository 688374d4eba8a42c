//! What a PyTorch file may name and call. Nothing is run: each call is one of those below, and makes a
//! value of this program.

use super::data_types;
use super::heap::{Heap, Value};
use super::numpy;
use super::rebuild::{self, forged};
use super::unread::Unread;
use super::{SAVE_A_STATE_DICTIONARY, SAVE_THE_STATE_OF_A_MODEL};
use crate::failure::{Failure, Outcome};

const REBUILD: &str = "torch._utils";

/// Classes of TorchScript programs are in modules of this name.
const TORCH_SCRIPT: &str = "__torch__";

/// What libtorch calls the class of what it saves that is no program.
const ARCHIVE_CLASS: (&str, &str) = (TORCH_SCRIPT, "Module");

/// A module of NumPy and of Python, by the one of its names that is used here.
fn module_of(module: &str) -> &str {
    match module {
        "__builtin__" => "builtins",
        "numpy._core.multiarray" => "numpy.core.multiarray",
        "numpy._core.numeric" => "numpy.core.numeric",
        other => other,
    }
}

fn is_torch_script(module: &str) -> bool {
    let rest = module.strip_prefix(TORCH_SCRIPT);
    rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
}

/// Fails for what is neither a tensor nor a plain value, before anything is made of it.
pub(super) fn check(module: &str, name: &str) -> Outcome<()> {
    let known = match (module_of(module), name) {
        ("collections", "OrderedDict" | "defaultdict" | "Counter" | "deque")
        | ("_codecs", "encode")
        | ("torch.storage", "UntypedStorage")
        | ("torch.nn.parameter", "Parameter" | "Buffer")
        | ("torch.serialization", "_get_layout")
        | ("torch._tensor", "_rebuild_from_type_v2")
        | ("numpy", "dtype" | "ndarray")
        | ("numpy.core.multiarray", "scalar" | "_reconstruct")
        | ("numpy.core.numeric", "_frombuffer") => true,
        (
            "builtins",
            "set" | "frozenset" | "complex" | "bytes" | "bytearray" | "range" | "xrange" | "slice"
            | "dict" | "list" | "tuple" | "int" | "float" | "str" | "bool",
        ) => true,
        ("torch.jit._pickle", name) => name.starts_with("build_") || name == "restore_type_tag",
        (
            REBUILD,
            "_rebuild_tensor"
            | "_rebuild_tensor_v2"
            | "_rebuild_tensor_v3"
            | "_rebuild_parameter"
            | "_rebuild_parameter_with_state"
            | "_rebuild_sparse_tensor"
            | "_rebuild_sparse_csr_tensor"
            | "_rebuild_qtensor"
            | "_rebuild_meta_tensor_no_storage"
            | "_rebuild_nested_tensor"
            | "_rebuild_wrapper_subclass"
            | "_rebuild_device_tensor_from_numpy"
            | "_rebuild_device_tensor_from_cpu_tensor",
        ) => true,
        ("torch", "Size" | "device" | "Tensor") => true,
        ("torch", name) => {
            data_types::of_storage(name).is_some()
                || data_types::of_name(name).is_some()
                || data_types::is_known(name)
        }
        (module, _) => is_torch_script(module),
    };
    if known {
        return Ok(());
    }
    let is_layer = module.starts_with("torch.nn.");
    let remedy = if is_layer { SAVE_THE_STATE_OF_A_MODEL } else { SAVE_A_STATE_DICTIONARY };
    Err(Failure::new(format!("the file asks for {module}.{name}"))
        .why("tensors and plain values are read, and nothing in a pickle is run")
        .remedy(remedy))
}

/// What a call makes.
pub(super) fn call<'a>(
    heap: &mut Heap<'a>,
    function: Value<'a>,
    arguments: Value<'a>,
) -> Outcome<Value<'a>> {
    let Value::Global(module, name) = function else {
        return Err(forged("it calls something that is not a function"));
    };
    let given = heap.tuple(arguments).ok_or_else(|| forged("a call has no arguments"))?;
    match (module_of(module), name, given) {
        ("collections", "OrderedDict" | "Counter", []) => heap.new_dict(),
        ("collections", "defaultdict", [] | [Value::None | Value::Global(..)]) => heap.new_dict(),
        ("collections", "OrderedDict" | "Counter", &[made @ Value::Dict(_)]) => Ok(made),
        ("collections", "OrderedDict", &[pairs @ Value::List(_)]) => dict_of(heap, pairs),
        ("collections", "deque", []) => heap.new_list(Vec::new()),
        ("collections", "deque", &[items @ Value::List(_), ..]) => Ok(items),
        ("collections", "deque", &[Value::Tuple(_), ..]) => heap.new_list(Vec::new()),
        // What is in the list that it is made of is in it.
        ("builtins", "set" | "frozenset", given) => {
            let given = given.to_vec();
            heap.new_set(given)
        }
        ("builtins", "complex", _) => Ok(Value::Other("a number")),
        // Protocol 2 has bytes as calls, of none and of a text.
        ("builtins", "bytes" | "bytearray", []) => Ok(Value::Bytes(&[])),
        ("builtins", "bytes" | "bytearray", &[made @ (Value::Bytes(_) | Value::Latin1(..))]) => {
            Ok(made)
        }
        ("_codecs", "encode", &[Value::Text(text), Value::Text("latin1" | "latin-1")])
        | (
            "builtins",
            "bytes" | "bytearray",
            &[Value::Text(text), Value::Text("latin1" | "latin-1")],
        ) => numpy::encoded(heap, text),
        ("builtins", "bytes" | "bytearray", _) | ("_codecs", "encode", _) => {
            Ok(Value::Other("bytes"))
        }
        ("builtins", "range" | "xrange" | "slice", _) => Ok(Value::Other("a range")),
        ("torch", "Size", [] | [_]) => {
            // Of libtorch's lists too.
            given.first().copied().map_or_else(|| heap.new_tuple(Vec::new()), Ok)
        }
        ("torch", "device", _) => Ok(Value::Other("a device")),
        ("torch.serialization", "_get_layout", _) => Ok(Value::Other("a layout")),
        ("torch.jit._pickle", _, &[first, ..]) => Ok(first),
        ("numpy", "dtype", _) => numpy::new_type(heap, arguments),
        ("numpy.core.multiarray", "scalar", _) => Ok(Value::Other("a number of NumPy")),
        ("numpy.core.multiarray", "_reconstruct", &[Value::Global("numpy", "ndarray"), ..]) => {
            numpy::new_array(heap)
        }
        ("numpy.core.multiarray", "_reconstruct", _) => Ok(Value::Unread(Unread::OfNumpy)),
        ("numpy.core.numeric", "_frombuffer", _) => numpy::from_buffer(heap, arguments),
        (REBUILD, "_rebuild_parameter_with_state", &[tensor, _, _, state, ..])
            if matches!(tensor, Value::Tensor(_)) =>
        {
            heap.add_attributes(tensor, state)?;
            Ok(tensor)
        }
        ("torch.nn.parameter", "Parameter" | "Buffer", &[tensor, ..])
        | (REBUILD, "_rebuild_parameter" | "_rebuild_parameter_with_state", &[tensor, ..])
        | (REBUILD, "_rebuild_device_tensor_from_cpu_tensor", &[tensor, ..])
            if matches!(tensor, Value::Tensor(_) | Value::Unread(_)) =>
        {
            Ok(tensor)
        }
        (REBUILD, _, _) => tensor(heap, name, arguments),
        (
            "torch._tensor",
            "_rebuild_from_type_v2",
            &[Value::Global(REBUILD, inner), _, arguments @ Value::Tuple(_), ref more @ ..],
        ) => {
            let state = more.first().copied();
            let made = call(heap, Value::Global(REBUILD, inner), arguments)?;
            if let Some(state) = state {
                heap.add_attributes(made, state)?;
            }
            Ok(made)
        }
        (module, name, _) if is_torch_script(module) => {
            heap.new_object((module, name) == ARCHIVE_CLASS)
        }
        _ => Err(other_arguments(module, name)),
    }
}

/// The tensor that a function of `torch._utils` makes.
fn tensor<'a>(heap: &mut Heap<'a>, name: &str, arguments: Value<'a>) -> Outcome<Value<'a>> {
    let given = heap.tuple(arguments).unwrap_or_default();
    let unread = match (name, given) {
        ("_rebuild_tensor", &[storage, offset, sizes, strides]) => {
            return rebuild::tensor(heap, storage, None, [offset, sizes, strides], None);
        }
        ("_rebuild_tensor_v2", &[storage, offset, sizes, strides, _, _, ref more @ ..]) => {
            let marks = more.first().copied();
            return rebuild::tensor(heap, storage, None, [offset, sizes, strides], marks);
        }
        (
            "_rebuild_tensor_v3",
            &[storage, offset, sizes, strides, _, _, Value::Global("torch", name), ref more @ ..],
        ) => {
            let Some(data_type) = data_types::of_name(name) else {
                return Ok(Value::Unread(Unread::OfType(name)));
            };
            let (place, marks) = ([offset, sizes, strides], more.first().copied());
            return rebuild::tensor(heap, storage, Some(data_type), place, marks);
        }
        ("_rebuild_sparse_tensor" | "_rebuild_sparse_csr_tensor", _) => Unread::Sparse,
        ("_rebuild_qtensor", _) => Unread::Quantised,
        ("_rebuild_meta_tensor_no_storage", _) => Unread::Meta,
        ("_rebuild_nested_tensor", _) => Unread::Nested,
        ("_rebuild_wrapper_subclass", _) => Unread::Subclass,
        ("_rebuild_device_tensor_from_numpy", _) => Unread::OfNumpy,
        _ => return Err(other_arguments(REBUILD, name)),
    };
    Ok(Value::Unread(unread))
}

/// The dictionary of a list of pairs, as Python 2 wrote ordered ones.
fn dict_of<'a>(heap: &mut Heap<'a>, pairs: Value<'a>) -> Outcome<Value<'a>> {
    let made = heap.new_dict()?;
    let Value::Dict(dict) = made else {
        return Ok(made);
    };
    for at in 0..heap.items(pairs).map_or(0, <[_]>::len) {
        let pair = heap.items(pairs).and_then(|pairs| heap.items(*pairs.get(at)?));
        let Some(&[key, value]) = pair else {
            return Err(forged("a dictionary is made of something other than pairs"));
        };
        heap.insert(dict, key, value)?;
    }
    Ok(made)
}

fn other_arguments(module: &str, name: &str) -> Failure {
    forged(&format!("{module}.{name} is called with other arguments than PyTorch's"))
}
