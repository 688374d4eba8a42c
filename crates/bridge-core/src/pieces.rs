//! Long copies and casts on the host: done in pieces, between which they can be interrupted.

use bridge_tensor::{Error as TensorError, ManagedTensor};

use crate::error::{Error, Result};
use crate::interrupt::Interrupt;

/// About the bytes of a piece between two questions to an [`Interrupt`]: large enough that nothing is lost by doing one
/// after the other, and done in well below a second.
pub const PIECE_BYTES: usize = 64 << 20;

/// Has `write` write all elements of `source` to those of `target`, in pieces of about `piece` bytes along the first axis
/// that can be divided, and asks `interrupt` before each but the first. Without `interrupt` there is one piece.
///
/// # Errors
///
/// What `write` or `interrupt` say, and [`TensorError::InvalidTensor`] where `write` has kept a part of the target. The target
/// is dropped then.
pub fn write_in_pieces(
    source: &ManagedTensor,
    mut target: ManagedTensor,
    interrupt: Option<&dyn Interrupt>,
    piece: usize,
    write: impl Fn(&ManagedTensor, &mut ManagedTensor) -> Result<()>,
) -> Result<ManagedTensor> {
    let cut = interrupt.and_then(|interrupt| Some((interrupt, cut(source, &target, piece)?)));
    let Some((interrupt, Cut { axis, step, row })) = cut else {
        write(source, &mut target)?;
        return Ok(target);
    };
    let (extent, target) = (source.shape()[axis], target.into_shared());
    for start in (0..extent).step_by(step) {
        if start > 0 {
            interrupt.check()?;
        }
        let range = start..extent.min(start + step);
        // SAFETY: no other part has these indices, also where `write` has kept one, and the whole is given out only where no
        // part lives.
        let mut to = unsafe { ManagedTensor::range_of(&target, axis, range.clone()) }?;
        let written = source.with_range(axis, range, |from| write(from, &mut to))?;
        written.map_err(|error| in_the_whole(error, start * row))?;
    }
    let kept = || "a part of it is kept by the function that was to write it".to_owned();
    Ok(target.try_unwrap().map_err(|_| TensorError::InvalidTensor { reason: kept() })?)
}

/// How a tensor is divided.
struct Cut {
    axis: usize,
    /// Indices of a piece.
    step: usize,
    /// Elements of one index.
    row: usize,
}

/// None where it is not worth while, or cannot be done.
fn cut(source: &ManagedTensor, target: &ManagedTensor, piece: usize) -> Option<Cut> {
    let from = source.data_type().size_in_bytes()?;
    let to = target.data_type().size_in_bytes()?;
    let (shape, count) = (source.shape(), source.layout().element_count());
    // The axes before it have one index each, so that the pieces come in row-major order.
    let axis = shape.iter().position(|&extent| extent > 1)?;
    let row = count / shape[axis];
    let step = (piece / from.max(to).checked_mul(row.max(1))?.max(1)).max(1);
    (count > 0 && step.checked_mul(2)? <= shape[axis]).then_some(Cut { axis, step, row })
}

/// The error of a piece whose first element has this index.
fn in_the_whole(error: Error, first: usize) -> Error {
    match error {
        Error::ValueOutOfRange { index, value, from, to } => {
            Error::ValueOutOfRange { index: index + first, value, from, to }
        }
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use bridge_tensor::{DataType, SharedTensor};

    use super::*;

    /// Lets so many pieces pass.
    struct After(AtomicUsize);

    impl Interrupt for After {
        fn check(&self) -> Result<()> {
            let left =
                self.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |n| n.checked_sub(1));
            left.map(drop).map_err(|_| Error::Unsupported {
                what: "going on".to_owned(),
                remedy: "it was interrupted".to_owned(),
            })
        }
    }

    fn after(pieces: usize) -> After {
        After(AtomicUsize::new(pieces))
    }

    fn source(shape: &[usize]) -> SharedTensor {
        let values = (0..shape.iter().product::<usize>()).map(|value| value as u16).collect();
        ManagedTensor::from_vec(values, shape).unwrap().into_shared()
    }

    fn target(shape: &[usize]) -> ManagedTensor {
        ManagedTensor::from_vec(vec![0_u16; shape.iter().product()], shape).unwrap()
    }

    fn write(from: &ManagedTensor, to: &mut ManagedTensor) -> Result<()> {
        to.as_mut_slice::<u16>()?.copy_from_slice(from.as_slice::<u16>()?);
        Ok(())
    }

    #[test]
    fn every_element_is_written_whatever_the_pieces() {
        for shape in [&[7, 3][..], &[1, 1, 5, 2], &[21], &[2, 2], &[1], &[], &[0, 4], &[4, 0]] {
            for piece in [1, 2, 5, 6, 12, 13, 1 << 20] {
                let source = source(shape);
                let made = write_in_pieces(&source, target(shape), Some(&after(99)), piece, write)
                    .unwrap();
                let (made, source) =
                    (made.as_slice::<u16>().unwrap(), source.as_slice::<u16>().unwrap());
                assert_eq!(made, source, "{shape:?} in pieces of {piece}");
            }
        }
    }

    #[test]
    fn it_is_asked_between_the_pieces_and_no_piece_more_is_written() {
        let (shape, written) = ([10, 2], AtomicUsize::new(0));
        let count = |from: &ManagedTensor, to: &mut ManagedTensor| {
            written.fetch_add(from.shape()[0], Ordering::Relaxed);
            write(from, to)
        };
        let source = source(&shape);
        let stopped = write_in_pieces(&source, target(&shape), Some(&after(1)), 12, count);
        assert!(stopped.unwrap_err().to_string().contains("going on"));
        assert_eq!(written.load(Ordering::Relaxed), 6, "two pieces of three indices");
        assert!(source.is_unique(), "no piece is kept");
    }

    #[test]
    fn a_part_that_is_kept_is_an_error_and_the_keepers_alone() {
        let kept = std::cell::RefCell::new(Vec::new());
        let keep = |_: &ManagedTensor, to: &mut ManagedTensor| {
            kept.borrow_mut().push(std::mem::replace(to, target(&[1])));
            Ok(())
        };
        let done = write_in_pieces(&source(&[4]), target(&[4]), Some(&after(9)), 4, keep);
        assert!(done.unwrap_err().to_string().contains("is kept by the function"));
        for part in kept.take().iter_mut() {
            part.as_mut_slice::<u16>().unwrap().fill(7);
        }
    }

    #[test]
    fn an_error_names_the_element_of_the_whole() {
        let refuse = |from: &ManagedTensor, _: &mut ManagedTensor| {
            let first = from.as_slice::<u16>().map_err(Error::Tensor)?[0];
            match first {
                0 => Ok(()),
                _ => Err(Error::ValueOutOfRange {
                    index: 1,
                    value: first.to_string(),
                    from: DataType::U16,
                    to: DataType::I8,
                }),
            }
        };
        let shape = [1, 6, 2];
        let done = write_in_pieces(&source(&shape), target(&shape), Some(&after(9)), 8, refuse);
        assert!(matches!(done, Err(Error::ValueOutOfRange { index: 5, .. })), "{done:?}");
        let other = |_: &ManagedTensor, _: &mut ManagedTensor| {
            Err(TensorError::InvalidTensor { reason: "a bool is 7".to_owned() }.into())
        };
        let done = write_in_pieces(&source(&shape), target(&shape), Some(&after(9)), 8, other);
        assert!(matches!(done, Err(Error::Tensor(_))));
    }
}
