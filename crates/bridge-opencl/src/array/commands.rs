//! What a device does with an array: downloads, fills, copies, casts.

use bridge_core::{
    Access, DataType, Element, Error, ManagedTensor, Overflow, Result, TensorError, TensorSpec,
};

use super::ClArray;
use crate::compute;
use crate::enqueue::After;
use crate::memory::Filled;
use crate::region::Region;
use crate::transfer::{Downloaded, download, download_few};

impl ClArray {
    /// The elements in new host memory, row-major, that a `Vec` can own. Waits for them.
    ///
    /// # Errors
    ///
    /// As [`wait`](Self::wait), and [`TensorError::OutOfMemory`] where the host has none.
    pub fn download(&self) -> Result<ManagedTensor> {
        match self.region() {
            Some(region) => self.behind(|after| {
                let Downloaded { host, unmapped } = download(&region, after)?;
                Ok((host, unmapped))
            }),
            None => {
                let spec = TensorSpec::row_major(self.data_type(), self.shape())?;
                bridge_host::zeroed(&spec, spec.data_type.alignment())
            }
        }
    }

    /// The elements in a vector, row-major. Waits for them.
    ///
    /// # Errors
    ///
    /// [`Error::UnsupportedDataType`] where the elements are not `T`, and as
    /// [`download`](Self::download).
    pub fn to_vec<T: Element>(&self) -> Result<Vec<T>> {
        self.tensor().require_type::<T>()?;
        if let Some(region) = self.region()
            && let Some(few) = self.behind(|after| Ok((download_few(&region, after)?, None)))?
        {
            return Ok(few);
        }
        Ok(self.download()?.into_vec()?.0)
    }

    /// Writes `element` to every place.
    ///
    /// # Errors
    ///
    /// [`Error::UnsupportedDataType`] where the elements are not `T`, [`TensorError::NotWritable`] where
    /// the array is read-only, [`Error::Unsupported`] where it has gaps.
    pub fn fill<T: Element>(&mut self, element: T) -> Result<()> {
        self.tensor().require_type::<T>()?;
        if self.access() == Access::ReadOnly {
            return Err(Error::Tensor(TensorError::NotWritable {
                what: "this array",
                reason: "it is read-only; copy it first",
            }));
        }
        let Some(region) = self.region() else {
            return Ok(());
        };
        // SAFETY: an `Element` has no padding, so all its bytes are initialized.
        let bytes =
            unsafe { std::slice::from_raw_parts((&raw const element).cast(), size_of::<T>()) };
        self.behind(|after| compute::fill(&region, bytes, after).map(|event| ((), Some(event))))
    }

    /// The elements in new memory of the device, row-major.
    ///
    /// # Errors
    ///
    /// As [`zeros`](Self::zeros).
    pub fn copy(&self) -> Result<Self> {
        let spec = TensorSpec::row_major(self.data_type(), self.shape())?;
        let made = self.made(compute::copied)?;
        Self::over(&self.queue, made, spec)
    }

    /// The elements as another type, in new memory of the device, row-major. Under
    /// [`Overflow::Refuse`] the cast is waited for, to see whether a value did not fit.
    ///
    /// # Errors
    ///
    /// [`Error::NoCast`], [`Error::ValueOutOfRange`], and as [`zeros`](Self::zeros).
    pub fn cast(&self, to: DataType, overflow: Overflow) -> Result<Self> {
        let spec = TensorSpec::row_major(to, self.shape())?;
        let made = self.made(|region, after| compute::cast(region, to, overflow, after))?;
        Self::over(&self.queue, made, spec)
    }

    fn made(
        &self,
        make: impl FnOnce(&Region<'_>, After<'_>) -> Result<Filled>,
    ) -> Result<Option<Filled>> {
        let Some(region) = self.region() else {
            return Ok(None);
        };
        self.behind(|after| {
            let filled = make(&region, after)?;
            let event = filled.ready.clone();
            Ok((Some(filled), event))
        })
    }
}
