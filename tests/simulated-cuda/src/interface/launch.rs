//! A kernel launch, as the host implementation of the kernel sees it.

use std::cell::RefCell;
use std::ffi::{c_int, c_void};

/// What the driver runs for a launch. Not zero: the launch fails with that error.
pub(crate) type RawKernel = unsafe extern "C" fn(launch: *const RawLaunch) -> c_int;

/// The launch as it crosses between the driver and the kernel.
#[repr(C)]
pub(crate) struct RawLaunch {
    pub(crate) grid: [u32; 3],
    pub(crate) block: [u32; 3],
    pub(crate) arguments: *const u8,
    pub(crate) sizes: *const usize,
    pub(crate) count: usize,
    /// What was given when the kernel was registered.
    pub(crate) user: *mut c_void,
    /// Checks a range and gives where it is in host memory, null if the kernel may not touch it.
    pub(crate) access: unsafe extern "C" fn(*mut c_void, u64, u64, c_int) -> *mut u8,
    pub(crate) driver: *mut c_void,
}

/// A kernel launch: its grid, its arguments, and the way to the device's memory.
pub struct Launch<'a> {
    raw: &'a RawLaunch,
    /// The ranges given out, and whether to write.
    given: RefCell<Vec<(usize, usize, bool)>>,
}

impl<'a> Launch<'a> {
    pub(crate) fn of(raw: &'a RawLaunch) -> Self {
        Self { raw, given: RefCell::default() }
    }

    /// The number of blocks in x, y and z.
    pub fn grid(&self) -> [u32; 3] {
        self.raw.grid
    }

    /// The number of threads of a block in x, y and z.
    pub fn block(&self) -> [u32; 3] {
        self.raw.block
    }

    /// The bytes of an argument.
    ///
    /// # Panics
    /// Panics if the kernel was registered with fewer arguments.
    pub fn bytes(&self, argument: usize) -> &'a [u8] {
        // SAFETY: the driver gives `count` sizes, which live as long as the launch.
        let sizes = unsafe { std::slice::from_raw_parts(self.raw.sizes, self.raw.count) };
        let start: usize = sizes[..argument].iter().sum();
        // SAFETY: the driver packs the arguments without gaps, each with the size it was registered with; they live as long as the launch.
        unsafe { std::slice::from_raw_parts(self.raw.arguments.add(start), sizes[argument]) }
    }

    /// An argument's value.
    ///
    /// # Panics
    /// Panics if the kernel was registered with fewer arguments or another size.
    pub fn argument<T: Argument>(&self, argument: usize) -> T {
        T::of(self.bytes(argument))
    }

    /// Device memory to read; the driver checks that the launch may. Empty and always granted for 0 bytes.
    ///
    /// `None`: it may not, which is recorded as a violation, or the range overlaps one that this launch
    /// writes.
    pub fn read(&self, address: u64, bytes: usize) -> Option<&[u8]> {
        let start = self.range(address, bytes, false)?;
        // SAFETY: the driver checked that the range is alive and within its allocation, nothing else runs during the launch, and `range` keeps it apart from what is written.
        Some(unsafe { std::slice::from_raw_parts(start, bytes) })
    }

    /// Device memory to write, as [`read`](Self::read). It may be read too.
    #[expect(clippy::mut_from_ref, reason = "`range` never gives out overlapping ranges to write")]
    pub fn write(&self, address: u64, bytes: usize) -> Option<&mut [u8]> {
        let start = self.range(address, bytes, true)?;
        // SAFETY: as in `read`; `range` keeps it apart from everything else given out.
        Some(unsafe { std::slice::from_raw_parts_mut(start, bytes) })
    }

    fn range(&self, address: u64, bytes: usize, write: bool) -> Option<*mut u8> {
        if bytes == 0 {
            return Some(std::ptr::NonNull::dangling().as_ptr());
        }
        // SAFETY: the driver gives its own function and the pointer that belongs to it, for the time of the launch.
        let start = unsafe {
            (self.raw.access)(self.raw.driver, address, bytes as u64, c_int::from(write))
        };
        let (from, to) = (start.addr(), start.addr().checked_add(bytes)?);
        let mut given = self.given.borrow_mut();
        let clash =
            |&(a, b, writes): &(usize, usize, bool)| (write || writes) && a < to && from < b;
        if start.is_null() || given.iter().any(clash) {
            return None;
        }
        given.push((from, to, write));
        Some(start)
    }
}

/// What can be read from an argument's bytes.
pub trait Argument: Sized {
    /// The value; the number of bytes has to be its size.
    ///
    /// # Panics
    /// Panics if it is not.
    fn of(bytes: &[u8]) -> Self;
}

macro_rules! arguments {
    ($($number:ty),+) => {$(
        impl Argument for $number {
            fn of(bytes: &[u8]) -> Self {
                Self::from_ne_bytes(bytes.try_into().expect("the kernel was registered with this size"))
            }
        }
    )+};
}
arguments!(u8, i8, u16, i16, u32, i32, u64, i64, f32, f64);

impl<T: Argument + Default + Copy, const N: usize> Argument for [T; N] {
    fn of(bytes: &[u8]) -> Self {
        assert_eq!(bytes.len(), size_of::<Self>(), "the kernel was registered with this size");
        let mut array = [T::default(); N];
        for (element, bytes) in array.iter_mut().zip(bytes.chunks(size_of::<T>())) {
            *element = T::of(bytes);
        }
        array
    }
}
