//! `ClArray` in and out of tensors.

use bridge_core::{
    Accepts, DataType, Description, DeviceKind, Error, ManagedTensor, NativeArray, Owner,
    Ownership, Refused, Result,
};

use crate::array::ClArray;
use crate::backend::OpenCl;
use crate::device::ClDevice;
use crate::region::Region;
use crate::status::NAME;
use crate::streams::{self, Ready};

/// Everything is carried as bytes.
const DATA_TYPES: [DataType; DataType::NAMED.len() + 1] = {
    let mut all = [DataType::F4E2M1FN_X2; DataType::NAMED.len() + 1];
    let mut place = 0;
    while place < DataType::NAMED.len() {
        all[place] = DataType::NAMED[place];
        place += 1;
    }
    all
};

impl NativeArray<OpenCl> for ClArray {
    const ACCEPTS: Accepts = Accepts::on(&[DeviceKind::OpenCl], &DATA_TYPES);

    fn descriptor() -> &'static bridge_core::Descriptor {
        bridge_core::Backend::descriptor(&OpenCl)
    }

    fn describe(&self) -> Result<Description> {
        Ok(self.tensor().describe())
    }

    /// A tensor whose data is not ready yet carries a stream number of arraybridge's own, which stands
    /// for the queue and the event to wait for. Call [`ClArray::wait`] before handing it as DLPack to
    /// another library.
    fn export(self) -> Result<ManagedTensor, Refused<Self>> {
        let is_default =
            self.device().queue().is_ok_and(|default| default.is_same_as(self.queue()));
        let last = self.ready();
        if last.is_none() && is_default {
            return Ok(self.into_parts().0);
        }
        let tensor = self.tensor();
        let (data, spec) = (tensor.data(), tensor.spec());
        let (device, access) = (tensor.device(), tensor.access());
        let ownership = tensor.describe().ownership;
        let (array, stream) = match last {
            Some(last) => self.announced(last),
            None => (self, None),
        };
        let owner = match ownership {
            Ownership::Movable => Owner::keep_vector(array),
            Ownership::Kept => Owner::keep(array),
        };
        // SAFETY: memory, access and owner are the array's, which is kept whole; data that is not
        // ready says so by its stream.
        let tensor = unsafe { ManagedTensor::from_parts(data, spec, device, access, owner) };
        match tensor {
            // SAFETY: the stream's number leads to the array's last command as long as the owner
            // lives.
            Ok(tensor) => Ok(unsafe { tensor.ready_on(stream) }),
            Err(refused) => Err(refused.map(|owner| match owner.into_kept::<Self>() {
                Ok(array) => array,
                Err(_) => unreachable!("the owner was made of this array"),
            })),
        }
    }

    fn import(tensor: ManagedTensor) -> Result<Self, Refused<ManagedTensor>> {
        if tensor.is_kept_by::<Self>() {
            return tensor.into_owner().map(Self::unannounced).or_else(over_tensor);
        }
        over_tensor(tensor)
    }
}

/// An array over a tensor that another made.
fn over_tensor(tensor: ManagedTensor) -> Result<ClArray, Refused<ManagedTensor>> {
    match check(&tensor) {
        Ok((queue, event)) => {
            // SAFETY: the array's commands wait for the event instead.
            let tensor = unsafe { tensor.ready_on(None) };
            Ok(ClArray::new(tensor, queue, event))
        }
        Err(error) => Err(Refused::new(tensor, error)),
    }
}

/// What a tensor is worked on and when it is ready, if it can be worked on.
fn check(tensor: &ManagedTensor) -> Result<Ready> {
    let accepts = <ClArray as NativeArray<OpenCl>>::ACCEPTS;
    if !accepts.has(tensor.data_type()) {
        return Err(Error::UnsupportedDataType {
            target: NAME,
            data_type: tensor.data_type(),
            supported: accepts.data_types().to_vec(),
            remedy: tensor.data_type().narrowest_holding(accepts.data_types()),
        });
    }
    Region::of(tensor)?;
    streams::ready(tensor.stream(), ClDevice::of(tensor.device())?)
}
