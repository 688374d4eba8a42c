//! The largest batch that fits.

use std::error::Error as StdError;
use std::ops::RangeInclusive;

use bridge_core::{Error, Result as CoreResult};

use crate::arguments::invalid;
use crate::recovery::{RecoveryPolicy, make_room};

/// The largest size of the range that fits; `None` where the smallest does not. `fits` tries a size
/// and says whether it fits; one that runs out of memory does not. Whatever is larger than a size that does
/// not fit is taken not to fit either.
///
/// As [`BatchSearch::find`], for `fits` with arraybridge's errors.
///
/// ```
/// use bridge_memory::training::find_max_batch;
///
/// let largest = find_max_batch(8..=512, |batch| Ok(batch * 100 <= 20_000))?;
/// assert_eq!(largest, Some(200));
/// # Ok::<(), bridge_core::Error>(())
/// ```
///
/// # Errors
///
/// Where the range is empty or has a zero, and any error of `fits` that is not about memory.
pub fn find_max_batch(
    sizes: RangeInclusive<usize>,
    fits: impl FnMut(usize) -> CoreResult<bool>,
) -> CoreResult<Option<usize>> {
    BatchSearch::new(sizes)?.find::<Error>(fits)
}

/// A search for the largest batch that fits.
#[derive(Debug, Clone)]
pub struct BatchSearch<'a> {
    least: usize,
    most: usize,
    guess: Option<usize>,
    policy: RecoveryPolicy<'a>,
}

impl BatchSearch<'static> {
    /// A search of these sizes.
    ///
    /// # Errors
    ///
    /// Where the range is empty or has a zero.
    pub fn new(sizes: RangeInclusive<usize>) -> CoreResult<Self> {
        let (least, most) = sizes.into_inner();
        if least == 0 {
            return Err(invalid("the smallest batch", &least, "it must have an item at least"));
        }
        if most < least {
            let expected = format!("it must be {least} or more, as the smallest batch");
            return Err(invalid("the largest batch", &most, &expected));
        }
        Ok(Self { least, most, guess: None, policy: RecoveryPolicy::new() })
    }
}

impl<'a> BatchSearch<'a> {
    /// Starts from this size, and doubles or halves it until it knows a size that fits and one that
    /// does not: for sizes that are far below the largest, and those that take long to fail.
    ///
    /// # Errors
    ///
    /// Where the size is not in the range.
    pub fn starting_at(mut self, guess: usize) -> CoreResult<Self> {
        if guess < self.least || guess > self.most {
            let expected = format!("it must be from {} to {}", self.least, self.most);
            return Err(invalid("the first batch to try", &guess, &expected));
        }
        self.guess = Some(guess);
        Ok(self)
    }

    /// What is done about sizes that run out of memory: whose caches are released before the next
    /// size is tried, and who is told. No size is tried twice.
    #[must_use]
    pub fn policy<'b>(self, policy: RecoveryPolicy<'b>) -> BatchSearch<'b>
    where
        'a: 'b,
    {
        BatchSearch { policy, ..self }
    }

    /// The largest size that fits; `None` where the smallest does not. `fits` tries a size and says
    /// whether it fits; one that runs out of memory does not.
    ///
    /// Of n sizes, at most log₂(n + 1) are tried, rounded up. From a [guess](Self::starting_at)
    /// it is at most twice as many and one.
    ///
    /// # Errors
    ///
    /// Any error of `fits` that is not about memory.
    pub fn find<E: StdError + 'static>(
        &self,
        mut fits: impl FnMut(usize) -> Result<bool, E>,
    ) -> Result<Option<usize>, E> {
        let mut fits = |size| match fits(size) {
            Err(error) if make_room(&self.policy, &error) => Ok(false),
            answer => answer,
        };
        // All below `low` fit, none from `high` on.
        let (mut low, mut high) = (self.least, self.most.checked_add(1));
        if let Some(guess) = self.guess {
            (low, high) = self.bracket(guess, &mut fits)?;
        }
        loop {
            // The middle of the sizes that nothing is known of, `most` being the last of them where
            // there is no number above it.
            let last = high.map_or(self.most, |high| high - 1);
            if low > last {
                break;
            }
            let middle = low + (last - low) / 2;
            if !fits(middle)? {
                high = Some(middle);
            } else if middle == usize::MAX {
                return Ok(Some(middle));
            } else {
                low = middle + 1;
            }
        }
        Ok((low > self.least).then(|| low - 1))
    }

    /// A number below which all sizes fit, and one from which on none does.
    fn bracket<E>(
        &self,
        guess: usize,
        fits: &mut impl FnMut(usize) -> Result<bool, E>,
    ) -> Result<(usize, Option<usize>), E> {
        let end = self.most.checked_add(1);
        let mut size = guess;
        if fits(size)? {
            while size < self.most {
                let next = size.saturating_mul(2).min(self.most);
                if !fits(next)? {
                    return Ok((size + 1, Some(next)));
                }
                size = next;
            }
            return Ok((size.saturating_add(1), end));
        }
        while size > self.least {
            let next = (size / 2).max(self.least);
            if fits(next)? {
                return Ok((next + 1, Some(size)));
            }
            size = next;
        }
        Ok((self.least, Some(self.least)))
    }
}
