//! Copies tensors in host memory between any two layouts, casts them between element types, and
//! allocates them.
//!
//! [`copy`], [`cast`], [`to_row_major`] and [`to_data_type`] work on tensors, as do [`stretch`] and [`spread`], which put
//! floats on the range of another type, and [`saturate`]. [`HostKernels`] offers
//! copy and cast to `bridge-core` as its [`HostTools`](bridge_core::HostTools). [`copy_strided`]
//! works on pointers and layouts, for device backends.
//!
//! ```
//! use bridge_core::{DataType, ManagedTensor, Overflow};
//!
//! let matrix = ManagedTensor::from_vec(vec![1_f32, 2.0, 3.0, 4.0, 5.0, 6.0], &[2, 3])?;
//! let columns = bridge_host::to_row_major(&matrix.permuted(&[1, 0])?)?;
//! assert_eq!(columns.as_slice::<f32>()?, [1.0, 4.0, 2.0, 5.0, 3.0, 6.0]);
//!
//! let bytes = bridge_host::to_data_type(&columns, DataType::U8, Overflow::Refuse)?;
//! assert_eq!(bytes.as_slice::<u8>()?, [1, 4, 2, 5, 3, 6]);
//! # Ok::<(), bridge_core::Error>(())
//! ```
//!
//! Copies and casts of 4 MiB or more use several threads. [`set_max_threads`] or the environment
//! variable `ARRAYBRIDGE_THREADS` limits how many.

mod booleans;
mod cast;
mod ends;
mod first_touch;
mod host_kernels;

mod loop_nest;
mod new_tensor;
mod parts;
mod processor;
mod registration;
mod rescale;
mod runs;
#[cfg(target_arch = "x86_64")]
mod runs_avx2;
#[cfg(all(target_arch = "x86_64", not(miri)))]
mod runs_avx512;
mod small_floats;
mod strided_copy;
mod strided_rows;
mod threads;
mod transpose;
#[cfg(target_arch = "x86_64")]
mod transpose_avx2;
mod working_memory;

pub use host_kernels::{HostKernels, cast, copy};
pub use new_tensor::{allocate, saturate, to_data_type, to_data_type_with, to_row_major, zeroed};
pub use registration::register_all;
pub use rescale::{Rescaled, is_read_in_place, spread, stretch};
pub use strided_copy::copy_strided;
pub use threads::{max_threads, set_max_threads};
pub use working_memory::working_memory;
