//! Writes what `torch.load` reads.

use std::io::{Seek, Write};

use super::data_types;
use super::names::{BYTE_ORDER, PICKLE, VERSION};
use crate::failure::{Failure, Outcome};
use crate::formats::array_writer::ArrayWriter;
use crate::formats::arrays::Outgoing;
use crate::formats::zip_archive::ArchiveWriter;

/// Writes a member for the pickle and for each storage, all in one folder.
pub(in crate::formats) struct Writer<F: Write + Seek> {
    archive: ArchiveWriter<F>,
    /// How many storages have been begun.
    begun: usize,
}

impl<F: Write + Seek> Writer<F> {
    /// Writes the pickle first.
    pub(in crate::formats) fn new(file: F, pickle: &[u8]) -> Outcome<Self> {
        let mut writer = Self { archive: ArchiveWriter::new(file), begun: 0 };
        writer.write_member(PICKLE, pickle)?;
        Ok(writer)
    }

    fn start_member(&mut self, name: &str, length: u64) -> Outcome<()> {
        self.archive.start_member(format!("archive/{name}"), length)
    }

    fn write_member(&mut self, name: &str, bytes: &[u8]) -> Outcome<()> {
        self.start_member(name, bytes.len() as u64)?;
        self.archive.write(bytes)
    }
}

impl<F: Write + Seek> ArrayWriter for Writer<F> {
    fn begin(&mut self, array: &Outgoing) -> Outcome<()> {
        let name = format!("data/{}", self.begun);
        self.begun += 1;
        self.start_member(&name, array.bytes()?)
    }

    fn write(&mut self, bytes: &[u8]) -> Outcome<()> {
        self.archive.write(bytes)
    }

    fn finish(mut self: Box<Self>) -> Outcome<u64> {
        self.write_member(BYTE_ORDER, b"little")?;
        self.write_member(VERSION, b"3\n")?;
        self.archive.finish()
    }
}

/// The pickle of a dictionary of tensors, or of the one tensor `alone`; the storage of each is
/// called by its index.
pub(in crate::formats) fn pickle_of(arrays: &[Outgoing], alone: bool) -> Outcome<Vec<u8>> {
    let mut pickle = Pickle(vec![0x80, 2]);
    if let ([array], true) = (arrays, alone) {
        pickle.tensor(array, 0)?;
    } else {
        // A plain dictionary: libtorch reads no other.
        pickle.0.extend([b'}', b'(']);
        for (index, array) in arrays.iter().enumerate() {
            pickle.text(&array.name)?;
            pickle.tensor(array, index)?;
        }
        pickle.0.push(b'u');
    }
    pickle.0.push(b'.');
    Ok(pickle.0)
}

struct Pickle(Vec<u8>);

impl Pickle {
    /// `torch._utils._rebuild_tensor_v2(storage, 0, shape, strides, False, OrderedDict())`, or `v3`
    /// with the element type for those that have no storage class of their own.
    fn tensor(&mut self, array: &Outgoing, index: usize) -> Outcome<()> {
        let (class, name) = data_types::words_of(array.data_type)
            .ok_or_else(|| Failure::new(format!("PyTorch has no {}", array.data_type)))?;
        let count: usize = array.shape.iter().product();
        let rebuild = if class.is_some() { "_rebuild_tensor_v2" } else { "_rebuild_tensor_v3" };
        self.global("torch._utils", rebuild);
        self.0.push(b'(');

        self.0.push(b'(');
        self.text("storage")?;
        match class {
            Some(class) => self.global("torch", class),
            None => self.global("torch.storage", "UntypedStorage"),
        }
        self.text(&index.to_string())?;
        self.text("cpu")?;
        // A storage without a class counts bytes.
        let length = if class.is_some() { Some(count) } else { array.data_type.bytes_for(count) };
        self.int(length.unwrap_or(usize::MAX));
        self.0.extend([b't', b'Q']);

        self.int(0);
        self.ints(&array.shape);
        let layout = arraybridge::Layout::row_major(&array.shape)?;
        let strides = layout.strides().iter().map(|stride| stride.unsigned_abs());
        self.ints(&strides.collect::<Vec<_>>());
        self.0.push(0x89);
        self.ordered_dict();
        if class.is_none() {
            self.global("torch", name);
        }
        self.0.extend([b't', b'R']);
        Ok(())
    }

    fn ordered_dict(&mut self) {
        self.global("collections", "OrderedDict");
        self.0.extend([b')', b'R']);
    }

    fn global(&mut self, module: &str, name: &str) {
        self.0.extend(format!("c{module}\n{name}\n").bytes());
    }

    fn text(&mut self, text: &str) -> Outcome<()> {
        let length = u32::try_from(text.len()).map_err(|_| {
            Failure::new("a name of more than 4 GiB").remedy("give it another name")
        })?;
        self.0.push(b'X');
        self.0.extend(length.to_le_bytes());
        self.0.extend(text.bytes());
        Ok(())
    }

    fn ints(&mut self, values: &[usize]) {
        self.0.push(b'(');
        for &value in values {
            self.int(value);
        }
        self.0.push(b't');
    }

    /// In as many bytes as it needs, one more where the highest bit would make it negative.
    fn int(&mut self, value: usize) {
        if let Ok(byte) = u8::try_from(value) {
            self.0.extend([b'K', byte]);
            return;
        }
        let bytes = (value as u64).to_le_bytes();
        let length = bytes.iter().rposition(|&byte| byte != 0).map_or(0, |last| last + 1);
        let padded = length + usize::from(bytes[length - 1] & 0x80 != 0);
        self.0.extend([0x8a, padded as u8]);
        self.0.extend(bytes.iter().chain(&[0]).take(padded));
    }
}
