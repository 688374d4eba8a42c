//! Reading the header of a file from its bytes: no length that it claims is believed before the bytes are
//! there.

use crate::failure::{Failure, Outcome};

/// A place in the bytes of a file.
#[derive(Debug)]
pub(super) struct Cursor<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Cursor<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, at: 0 }
    }

    /// Bytes before the place.
    pub(super) fn at(&self) -> usize {
        self.at
    }

    /// The next `count` bytes, which are `what`.
    pub(super) fn take(&mut self, count: u64, what: &str) -> Outcome<&'a [u8]> {
        let rest = &self.bytes[self.at..];
        let count = usize::try_from(count).ok().filter(|&count| count <= rest.len());
        let Some(count) = count else {
            return Err(Failure::new(format!("the file ends within {what}"))
                .why("it is cut short, or its header is damaged")
                .remedy("download or write the file again")
                .damaged());
        };
        self.at += count;
        Ok(&rest[..count])
    }

    fn array<const N: usize>(&mut self, what: &str) -> Outcome<[u8; N]> {
        let bytes = self.take(N as u64, what)?;
        Ok(std::array::from_fn(|place| bytes[place]))
    }

    pub(super) fn u32(&mut self, what: &str) -> Outcome<u32> {
        self.array(what).map(u32::from_le_bytes)
    }

    pub(super) fn u64(&mut self, what: &str) -> Outcome<u64> {
        self.array(what).map(u64::from_le_bytes)
    }

    /// A length and so many bytes of text.
    pub(super) fn text(&mut self, what: &str) -> Outcome<&'a str> {
        let length = self.u64(what)?;
        let bytes = self.take(length, what)?;
        std::str::from_utf8(bytes)
            .map_err(|error| Failure::new(format!("{what} is no text")).why(error).damaged())
    }

    /// A number of things that follow, each of which takes at least so many bytes.
    pub(super) fn count(&mut self, each: u64, what: &str) -> Outcome<u64> {
        let count = self.u64(what)?;
        let rest = (self.bytes.len() - self.at) as u64;
        if count > rest / each {
            return Err(Failure::new(format!("the header claims {count} {what}"))
                .why(format!("the {rest} bytes behind that have no room for so many"))
                .remedy("download or write the file again")
                .damaged());
        }
        Ok(count)
    }
}
