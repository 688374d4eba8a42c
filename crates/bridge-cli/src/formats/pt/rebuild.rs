//! Tensors and their storages, as a PyTorch file describes them.

use arraybridge::{DataType, Layout, TensorSpec};

use super::data_types;
use super::heap::{Heap, Rebuilt, Source, Storage, Value};
use super::unread::Unread;
use crate::failure::{Failure, Outcome};

/// What a persistent id stands for: ("storage", class, key, device, number of elements), and in files from
/// before PyTorch 1.6 which part it is of another one. On which device it was does not matter.
pub(super) fn storage<'a>(heap: &Heap<'a>, id: Value<'a>) -> Outcome<Storage<'a>> {
    let Some(
        &[
            Value::Text("storage"),
            Value::Global(module, class),
            Value::Text(key),
            Value::Text(_),
            Value::Int(count),
            ref part @ ..,
        ],
    ) = heap.tuple(id)
    else {
        return Err(forged("a storage is not described as PyTorch does it"));
    };
    if !matches!(part, [] | [Value::None]) {
        return Err(Failure::new(format!("the storage \"{key}\" is a part of another one"))
            .why("PyTorch wrote such files before its version 0.4")
            .remedy("in Python: torch.save(torch.load(path), \"new.pt\")"));
    }
    let (data_type, element) = match (module, class) {
        ("torch.storage", "UntypedStorage") => (None, 1),
        ("torch", class) => match data_types::of_storage(class) {
            Some(data_type) => (Some(data_type), data_type.bytes_for(1).unwrap_or(1)),
            None => (None, data_types::element_of_quantised(class)),
        },
        _ => return Err(forged("a storage has an unknown class")),
    };
    let count = usize::try_from(count).map_err(|_| forged("a storage has a negative length"))?;
    let size = count.checked_mul(element);
    let size = size.ok_or_else(|| forged("the bytes of a storage cannot be counted"))?;
    Ok(Storage { key, data_type, element, size })
}

/// The tensor of a storage, an offset, sizes and strides; `marks` say whether it is conjugated.
pub(super) fn tensor<'a>(
    heap: &mut Heap<'a>,
    storage: Value<'a>,
    data_type: Option<DataType>,
    place: [Value<'a>; 3],
    marks: Option<Value<'a>>,
) -> Outcome<Value<'a>> {
    let plain = match marks {
        None | Some(Value::None) => true,
        Some(Value::Dict(index)) => heap.entries(index).is_empty(),
        Some(_) => false,
    };
    if !plain {
        return Ok(Value::Unread(Unread::Conjugated));
    }
    let rebuilt = rebuild(heap, storage, data_type, place)?;
    heap.new_tensor(rebuilt)
}

fn rebuild<'a>(
    heap: &Heap<'a>,
    storage: Value<'a>,
    data_type: Option<DataType>,
    [offset, sizes, strides]: [Value<'a>; 3],
) -> Outcome<Rebuilt<'a>> {
    let Value::Storage(index) = storage else {
        return Err(forged("a tensor has no storage"));
    };
    let Storage { data_type: own, size, .. } = heap.storages[index];
    let data_type = data_type.or(own).ok_or_else(|| forged("a tensor has no element type"))?;
    let numbers = |value| -> Outcome<Vec<i64>> {
        let items = heap.items(value).ok_or_else(|| forged("a shape is not a tuple"))?;
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
    let spec = TensorSpec { data_type, layout };
    Ok(Rebuilt { source: Source::Storage(index), spec, swapped: None })
}

pub(super) fn forged(why: &str) -> Failure {
    Failure::new("the pickle in the file is forged, or of another kind")
        .why(why)
        .remedy("write the file again, with torch.save")
        .damaged()
}
