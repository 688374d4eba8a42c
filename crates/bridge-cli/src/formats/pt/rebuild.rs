//! What a PyTorch file may call, and the tensors that come of it.

use arraybridge::{DataType, Layout, TensorSpec};

use super::data_types;
use super::heap::{Heap, Rebuilt, Storage, Value};
use crate::failure::{Failure, Outcome};

pub(super) const SAVE_A_STATE_DICTIONARY: &str =
    "save only the tensors: torch.save(model.state_dict(), path)";

const REBUILD: &str = "torch._utils";

/// Fails for what is no part of a state dictionary, before anything is made of it.
pub(super) fn check_global(module: &str, name: &str) -> Outcome<()> {
    let known = match (module, name) {
        ("collections", "OrderedDict") | ("torch.storage", "UntypedStorage") => true,
        (REBUILD, "_rebuild_tensor_v2" | "_rebuild_tensor_v3" | "_rebuild_parameter") => true,
        ("torch", name) => {
            data_types::of_storage(name).is_some() || data_types::of_name(name).is_some()
        }
        _ => false,
    };
    if known {
        return Ok(());
    }
    Err(Failure::new(format!("the file asks for {module}.{name}"))
        .why("only plain tensors are read, and nothing in a pickle is run")
        .remedy(SAVE_A_STATE_DICTIONARY))
}

/// What an id of the archive stands for: ("storage", class, key, device, number of elements).
pub(super) fn storage<'a>(heap: &Heap<'a>, id: Value<'a>) -> Outcome<Storage<'a>> {
    let Some(
        [
            Value::Text("storage"),
            Value::Global(module, class),
            Value::Text(key),
            Value::Text(_),
            Value::Int(count),
        ],
    ) = heap.tuple(id)
    else {
        return Err(forged("a storage is not described as PyTorch does it"));
    };
    let data_type = match (*module, *class) {
        ("torch.storage", "UntypedStorage") => None,
        ("torch", class) => data_types::of_storage(class),
        _ => return Err(forged("a storage has an unknown class")),
    };
    let count = usize::try_from(*count).map_err(|_| forged("a storage has a negative length"))?;
    let size = data_type.map_or(Some(count), |data_type| data_type.bytes_for(count));
    let size = size.ok_or_else(|| forged("the bytes of a storage cannot be counted"))?;
    Ok(Storage { key, data_type, size })
}

/// What a call makes: a dictionary or a tensor.
pub(super) fn call<'a>(
    heap: &mut Heap<'a>,
    function: Value<'a>,
    arguments: Value<'a>,
) -> Outcome<Value<'a>> {
    let Value::Global(module, name) = function else {
        return Err(forged("it calls something that is not a function"));
    };
    let arguments = heap.tuple(arguments).ok_or_else(|| forged("a call has no arguments"))?;
    match (module, name, arguments) {
        ("collections", "OrderedDict", []) => heap.new_dict(),
        (REBUILD, "_rebuild_parameter", &[tensor @ Value::Tensor(_), ..]) => Ok(tensor),
        (
            REBUILD,
            "_rebuild_tensor_v2",
            &[storage, offset, sizes, strides, _, _, ref more @ ..],
        ) => {
            let rebuilt = rebuild(heap, storage, None, [offset, sizes, strides], more.first())?;
            heap.new_tensor(rebuilt)
        }
        (
            REBUILD,
            "_rebuild_tensor_v3",
            &[storage, offset, sizes, strides, _, _, Value::Global("torch", name), ref more @ ..],
        ) => {
            let data_type = data_types::of_name(name);
            let rebuilt =
                rebuild(heap, storage, data_type, [offset, sizes, strides], more.first())?;
            heap.new_tensor(rebuilt)
        }
        _ => Err(forged(&format!("{module}.{name} is called with other arguments than PyTorch's"))),
    }
}

fn rebuild(
    heap: &Heap<'_>,
    storage: Value<'_>,
    data_type: Option<DataType>,
    [offset, sizes, strides]: [Value<'_>; 3],
    metadata: Option<&Value<'_>>,
) -> Outcome<Rebuilt> {
    let Value::Storage(index) = storage else {
        return Err(forged("a tensor has no storage"));
    };
    let Storage { data_type: own, size, .. } = heap.storages[index];
    let data_type = data_type.or(own).ok_or_else(|| forged("a tensor has no element type"))?;
    let plain = match metadata {
        None | Some(Value::None) => true,
        Some(Value::Dict(index)) => heap.entries(*index).is_empty(),
        Some(_) => false,
    };
    if !plain {
        return Err(Failure::new("a tensor is conjugated or negated when it is read")
            .why("the elements in the file are not its values")
            .remedy("save tensor.resolve_conj().resolve_neg()"));
    }
    let numbers = |value| -> Outcome<Vec<i64>> {
        let items = heap.tuple(value).ok_or_else(|| forged("a shape is not a tuple"))?;
        let numbers = items.iter().map(|item| match item {
            Value::Int(number) => Ok(*number),
            _ => Err(forged("a shape contains something other than integers")),
        });
        numbers.collect()
    };
    let negative = || forged("an extent or an offset is negative");
    let sizes: Result<Vec<usize>, _> = numbers(sizes)?.into_iter().map(usize::try_from).collect();
    let strides: Result<Vec<isize>, _> =
        numbers(strides)?.into_iter().map(isize::try_from).collect();
    let Value::Int(offset) = offset else {
        return Err(forged("the offset of a tensor is not an integer"));
    };
    let offset = usize::try_from(offset).map_err(|_| negative())?;
    let offset = data_type.bytes_for(offset).ok_or_else(negative)?;
    let layout = Layout::new(
        &sizes.map_err(|_| negative())?,
        &strides.map_err(|_| forged("a stride is beyond the address space"))?,
        offset,
    )?;
    let span = layout.span(data_type)?;
    let start = layout.byte_offset().checked_add_signed(span.start);
    let end = layout.byte_offset().checked_add_signed(span.end);
    if !layout.is_empty() && (start.is_none() || end.is_none_or(|end| end > size)) {
        return Err(forged("a tensor reaches outside its storage"));
    }
    // Where nothing is read, nothing has to be found.
    let layout = if layout.is_empty() { layout.at_byte_offset(0) } else { layout };
    Ok(Rebuilt { storage: index, spec: TensorSpec { data_type, layout } })
}

fn forged(why: &str) -> Failure {
    Failure::new("the pickle in the file is forged, or of another kind")
        .why(why)
        .remedy("write the file again, with torch.save")
}
