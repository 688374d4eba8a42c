//! Copies.

use std::ffi::c_int;

use super::super::arguments::In;
use super::super::code::{Code, Outcome};
use super::super::copies::{Claim, HostWaits};
use super::super::simulation::Simulation;
use super::super::work::{Extent, Place};

export! {
    fn cuMemcpy(cuda, to: u64, from: u64, bytes: usize) {
        line(cuda, 0, (to, Claim::Any), (from, Claim::Any), bytes, HostWaits::Unless)
    }

    fn cuMemcpyAsync(cuda, to: u64, from: u64, bytes: usize, stream: usize) {
        line(cuda, stream, (to, Claim::Any), (from, Claim::Any), bytes, HostWaits::No)
    }

    fn cuMemcpyHtoD_v2(cuda, to: u64, from: u64, bytes: usize) {
        line(cuda, 0, (to, Claim::Device), (from, Claim::Host), bytes, HostWaits::Unless)
    }

    fn cuMemcpyHtoDAsync_v2(cuda, to: u64, from: u64, bytes: usize, stream: usize) {
        line(cuda, stream, (to, Claim::Device), (from, Claim::Host), bytes, HostWaits::No)
    }

    fn cuMemcpyDtoH_v2(cuda, to: u64, from: u64, bytes: usize) {
        line(cuda, 0, (to, Claim::Host), (from, Claim::Device), bytes, HostWaits::Unless)
    }

    fn cuMemcpyDtoHAsync_v2(cuda, to: u64, from: u64, bytes: usize, stream: usize) {
        line(cuda, stream, (to, Claim::Host), (from, Claim::Device), bytes, HostWaits::No)
    }

    fn cuMemcpyDtoD_v2(cuda, to: u64, from: u64, bytes: usize) {
        line(cuda, 0, (to, Claim::Device), (from, Claim::Device), bytes, HostWaits::Unless)
    }

    fn cuMemcpyDtoDAsync_v2(cuda, to: u64, from: u64, bytes: usize, stream: usize) {
        line(cuda, stream, (to, Claim::Device), (from, Claim::Device), bytes, HostWaits::No)
    }

    fn cuMemcpyPeer(cuda, to: u64, to_context: usize, from: u64, from_context: usize, bytes: usize) {
        // It has its place between all the work of both contexts before and after.
        let contexts = [cuda.context(to_context)?, cuda.context(from_context)?];
        cuda.order_all(contexts);
        peer(cuda, (to, to_context), (from, from_context), bytes, 0)?;
        cuda.order_all(contexts);
        Ok(())
    }

    fn cuMemcpyPeerAsync(cuda, to: u64, to_context: usize, from: u64, from_context: usize, bytes: usize, stream: usize) {
        peer(cuda, (to, to_context), (from, from_context), bytes, stream)
    }

    fn cuMemcpy2D_v2(cuda, copy: In<Copy2D>) {
        copy.get()?.run(cuda, 0, HostWaits::Unless)
    }

    fn cuMemcpy2DUnaligned_v2(cuda, copy: In<Copy2D>) {
        copy.get()?.run(cuda, 0, HostWaits::Unless)
    }

    fn cuMemcpy2DAsync_v2(cuda, copy: In<Copy2D>, stream: usize) {
        copy.get()?.run(cuda, stream, HostWaits::No)
    }

    fn cuMemcpy3D_v2(cuda, copy: In<Copy3D>) {
        copy.get()?.run(cuda, 0, HostWaits::Unless)
    }

    fn cuMemcpy3DAsync_v2(cuda, copy: In<Copy3D>, stream: usize) {
        copy.get()?.run(cuda, stream, HostWaits::No)
    }
}

fn line(
    cuda: &mut Simulation,
    stream: usize,
    (to, to_claim): (u64, Claim),
    (from, from_claim): (u64, Claim),
    bytes: usize,
    waits: HostWaits,
) -> Outcome {
    cuda.current()?;
    let stream = cuda.stream(stream)?;
    let ends = ((Place::line(to), to_claim), (Place::line(from), from_claim));
    cuda.copy(stream, ends.0, ends.1, Extent::line(bytes as u64), waits, false)
}

fn peer(
    cuda: &mut Simulation,
    to: (u64, usize),
    from: (u64, usize),
    bytes: usize,
    stream: usize,
) -> Outcome {
    cuda.current()?;
    let stream = cuda.stream(stream)?;
    for (address, context) in [to, from] {
        let context = cuda.context(context)?;
        cuda.healthy(context)?;
        if bytes > 0 && cuda.known(address, bytes as u64)?.device != cuda.device_of(context) {
            let message = format!("{address:#x} is not memory of the device of its context");
            cuda.violation(crate::interface::violation::ViolationKind::WrongContext, message);
            return Err(Code::INVALID_VALUE);
        }
    }
    let end = |address| (Place::line(address), Claim::Device);
    cuda.copy(stream, end(to.0), end(from.0), Extent::line(bytes as u64), HostWaits::No, true)
}

/// One end of a `CUDA_MEMCPY2D`.
#[derive(Clone, Copy)]
#[repr(C)]
struct End2D {
    x: usize,
    y: usize,
    kind: c_int,
    host: u64,
    device: u64,
    array: usize,
    row: usize,
}

/// A `CUDA_MEMCPY2D`.
#[derive(Clone, Copy)]
#[repr(C)]
pub(crate) struct Copy2D {
    from: End2D,
    to: End2D,
    width: usize,
    height: usize,
}

impl Copy2D {
    fn run(self, cuda: &mut Simulation, stream: usize, waits: HostWaits) -> Outcome {
        let extent = Extent { width: self.width as u64, height: self.height as u64, depth: 1 };
        cuda.current()?;
        let stream = cuda.stream(stream)?;
        let (to, from) = (self.to.place(extent)?, self.from.place(extent)?);
        cuda.copy(stream, to, from, extent, waits, false)
    }
}

impl End2D {
    fn place(self, extent: Extent) -> Outcome<(Place, Claim)> {
        let Self { x, y, kind, host, device, array, row } = self;
        End3D { x, y, z: 0, level: 0, kind, host, device, array, reserved: 0, row, rows: 0 }
            .place(extent)
    }
}

/// One end of a `CUDA_MEMCPY3D`.
#[derive(Clone, Copy)]
#[repr(C)]
struct End3D {
    x: usize,
    y: usize,
    z: usize,
    level: usize,
    kind: c_int,
    host: u64,
    device: u64,
    array: usize,
    reserved: usize,
    row: usize,
    rows: usize,
}

/// A `CUDA_MEMCPY3D`.
#[derive(Clone, Copy)]
#[repr(C)]
pub(crate) struct Copy3D {
    from: End3D,
    to: End3D,
    width: usize,
    height: usize,
    depth: usize,
}

impl Copy3D {
    fn run(self, cuda: &mut Simulation, stream: usize, waits: HostWaits) -> Outcome {
        let Self { width, height, depth, .. } = self;
        let extent = Extent { width: width as u64, height: height as u64, depth: depth as u64 };
        cuda.current()?;
        let stream = cuda.stream(stream)?;
        let (to, from) = (self.to.place(extent)?, self.from.place(extent)?);
        cuda.copy(stream, to, from, extent, waits, false)
    }
}

impl End3D {
    fn place(self, extent: Extent) -> Outcome<(Place, Claim)> {
        let (start, claim) = match self.kind {
            1 => (self.host, Claim::Host),
            2 => (self.device, Claim::Device),
            4 => (self.device, Claim::Any),
            _ => return Err(Code::NOT_SUPPORTED), // textures
        };
        let row = if self.row == 0 { extent.width } else { self.row as u64 };
        let rows = if self.rows == 0 { extent.height } else { self.rows as u64 };
        let plane = row.checked_mul(rows).ok_or(Code::INVALID_VALUE)?;
        let skip = |pitch: u64, count: usize| pitch.checked_mul(count as u64);
        let skipped =
            skip(row, self.y).zip(skip(plane, self.z)).and_then(|(y, z)| y.checked_add(z));
        let skipped =
            skipped.and_then(|all| all.checked_add(self.x as u64)).ok_or(Code::INVALID_VALUE)?;
        if extent.width.checked_add(self.x as u64).is_none_or(|used| used > row)
            && extent.height > 1
        {
            return Err(Code::INVALID_VALUE);
        }
        let start = start.checked_add(skipped).ok_or(Code::INVALID_VALUE)?;
        Ok((Place { start, row, plane }, claim))
    }
}
