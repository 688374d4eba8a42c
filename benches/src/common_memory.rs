//! Arrays whose memory a peer's process maps too, so that both work on the same pages: how fast many MiB
//! are read and written depends on where their pages lie at least as much as on who does it.

use std::fs::{self, OpenOptions};
use std::io;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};

use arraybridge::{Access, DataType, Device, ManagedTensor, Owner, TensorSpec};
use memmap2::MmapOptions;

/// What a peer's process calls an array by. The file that the array's memory is mapped from is removed with
/// it; whoever has mapped it keeps the memory.
pub struct InPython {
    path: PathBuf,
    shape: Vec<usize>,
    data_type: DataType,
}

/// An array of zeros in row-major order, and what peers call it by.
///
/// # Errors
///
/// What the system says where there is no memory for it.
///
/// # Panics
///
/// Where the shape is none that can be, or the type has no whole bytes.
pub fn in_common_memory(
    data_type: DataType,
    shape: &[usize],
) -> io::Result<(ManagedTensor, InPython)> {
    static NUMBER: AtomicU32 = AtomicU32::new(0);
    let number = NUMBER.fetch_add(1, Ordering::Relaxed);
    let memory = PathBuf::from("/dev/shm");
    let folder = if memory.is_dir() { memory } else { std::env::temp_dir() };
    let path = folder.join(format!("arraybridge-{}-{number}", std::process::id()));
    let file = OpenOptions::new().read(true).write(true).create_new(true).open(&path)?;
    let in_python = InPython { path, shape: shape.to_vec(), data_type };
    let spec = TensorSpec::row_major(data_type, shape).expect("a shape that can be");
    let bytes = spec.layout.compact_bytes(data_type).expect("whole bytes");
    file.set_len(bytes as u64)?;
    // SAFETY: nobody makes the file shorter: it is this program's own, and its peers only write.
    let mut map = unsafe { MmapOptions::new().populate().map_mut(&file) }?;
    let data = map.as_mut_ptr().cast();
    // SAFETY:
    // - The map has the bytes of all elements, zeros, which every type has, and lives in the owner,
    //   which any thread may drop.
    // - A peer reads and writes them only in its turn, while nobody does so here.
    let tensor = unsafe {
        let owner = Owner::keep(map);
        ManagedTensor::from_parts(data, spec, Device::CPU, Access::Exclusive, owner)
    };
    let tensor = tensor.map_err(|refused| refused.to_string());
    Ok((tensor.expect("a shape that can be"), in_python))
}

impl InPython {
    /// As an array of NumPy's.
    pub fn numpy(&self) -> String {
        let Self { path, shape, data_type } = self;
        format!("numpy.memmap({path:?}, '{data_type}', 'r+', shape=tuple({shape:?}))")
    }

    /// As a tensor of PyTorch's.
    pub fn torch(&self) -> String {
        let Self { path, shape, data_type } = self;
        let size: usize = shape.iter().product();
        format!("torch.from_file({path:?}, True, {size}, dtype=torch.{data_type}).view({shape:?})")
    }
}

impl Drop for InPython {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.path);
    }
}
