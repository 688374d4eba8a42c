//! Numbers whose bytes lie in the other order than this machine's: NumPy's `>f4`.

use std::mem::MaybeUninit;

/// Reverses the bytes of each number of `size` bytes.
pub(super) fn swap(bytes: &mut [u8], size: usize) {
    macro_rules! swap {
        ($number:ident) => {{
            let (numbers, _) = bytes.as_chunks_mut();
            for number in numbers {
                *number = $number::from_ne_bytes(*number).swap_bytes().to_ne_bytes();
            }
        }};
    }
    match size {
        2 => swap!(u16),
        4 => swap!(u32),
        8 => swap!(u64),
        other => bytes.chunks_exact_mut(other.max(1)).for_each(<[u8]>::reverse),
    }
}

/// Copies numbers of `size` bytes, each with its bytes reversed, and answers them. Both slices have the
/// same length, whole numbers.
pub(super) fn copy_swapped(source: &[u8], target: &mut [MaybeUninit<u8>], size: usize) {
    macro_rules! copy {
        ($number:ident) => {{
            let (numbers, _) = source.as_chunks();
            let (places, _) = target.as_chunks_mut();
            for (number, place) in numbers.iter().zip(places) {
                let swapped = $number::from_ne_bytes(*number).swap_bytes().to_ne_bytes();
                *place = swapped.map(MaybeUninit::new);
            }
        }};
    }
    match size {
        2 => copy!(u16),
        4 => copy!(u32),
        8 => copy!(u64),
        other => {
            let other = other.max(1);
            for (number, place) in source.chunks_exact(other).zip(target.chunks_exact_mut(other)) {
                for (byte, place) in number.iter().rev().zip(place) {
                    place.write(*byte);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_of_each_number_are_reversed_in_place_and_in_a_copy() {
        for size in [1, 2, 3, 4, 8, 16] {
            let bytes: Vec<u8> = (0..size as u8 * 5).collect();
            let wanted: Vec<u8> =
                bytes.chunks(size).flat_map(|number| number.iter().rev().copied()).collect();
            let mut swapped = bytes.clone();
            swap(&mut swapped, size);
            assert_eq!(swapped, wanted, "{size}");
            let mut copy = vec![MaybeUninit::new(0xff_u8); bytes.len()];
            copy_swapped(&bytes, &mut copy, size);
            // SAFETY: every byte was initialized when the vector was made.
            let copy: Vec<u8> =
                copy.into_iter().map(|byte| unsafe { byte.assume_init() }).collect();
            assert_eq!(copy, wanted, "{size}");
        }
    }
}
