//! A file that is written through a buffer.

use std::io::{self, Seek, SeekFrom, Write};

/// Small parts are collected up to so many bytes.
const CAPACITY: usize = 256 << 10;

/// Collects what is written in small parts. Unlike [`std::io::BufWriter`] it goes back within what it has
/// collected without writing it: an archive's writer goes back to each member's header.
///
/// What is left is written by `flush`, and by seeking to the end; dropping it writes nothing.
#[derive(Debug)]
pub(super) struct BufferedFile<F> {
    /// Its position is where the buffer begins.
    file: F,
    begin: u64,
    buffer: Vec<u8>,
    /// Where in the buffer is written next.
    at: usize,
}

impl<F: Write + Seek> BufferedFile<F> {
    pub(super) fn new(mut file: F) -> io::Result<Self> {
        let begin = file.stream_position()?;
        Ok(Self { file, begin, buffer: Vec::new(), at: 0 })
    }

    /// Writes the buffer, and goes to where is written next.
    fn write_buffer(&mut self) -> io::Result<()> {
        if !self.buffer.is_empty() {
            self.file.write_all(&self.buffer)?;
        }
        let behind = self.at != self.buffer.len();
        self.begin += self.at as u64;
        self.buffer.clear();
        self.at = 0;
        if behind {
            self.file.seek(SeekFrom::Start(self.begin))?;
        }
        Ok(())
    }
}

impl<F: Write + Seek> Write for BufferedFile<F> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.at < self.buffer.len() {
            let rest = &mut self.buffer[self.at..];
            let count = rest.len().min(bytes.len());
            rest[..count].copy_from_slice(&bytes[..count]);
            self.at += count;
            return Ok(count);
        }
        if self.buffer.len().saturating_add(bytes.len()) > CAPACITY {
            self.write_buffer()?;
            if bytes.len() >= CAPACITY {
                let written = self.file.write(bytes)?;
                self.begin += written as u64;
                return Ok(written);
            }
        }
        self.buffer.extend_from_slice(bytes);
        self.at = self.buffer.len();
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.write_buffer()?;
        self.file.flush()
    }
}

impl<F: Write + Seek> Seek for BufferedFile<F> {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        let place = match to {
            SeekFrom::Start(place) => Some(place),
            SeekFrom::Current(by) => (self.begin + self.at as u64).checked_add_signed(by),
            SeekFrom::End(_) => None,
        };
        let within = place.and_then(|place| place.checked_sub(self.begin));
        let within = within.and_then(|within| usize::try_from(within).ok());
        match (place, within.filter(|&within| within <= self.buffer.len())) {
            (Some(place), Some(within)) => {
                self.at = within;
                Ok(place)
            }
            _ => {
                self.write_buffer()?;
                self.begin = self.file.seek(to)?;
                Ok(self.begin)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use proptest::prelude::*;

    use super::*;

    #[derive(Debug, Clone)]
    enum Step {
        Write(usize, u8),
        Seek(SeekFrom),
        Flush,
    }

    fn step() -> impl Strategy<Value = Step> {
        let size =
            prop_oneof![0_usize..300, Just(CAPACITY - 1), Just(CAPACITY), Just(CAPACITY + 9)];
        prop_oneof![
            4 => (size, any::<u8>()).prop_map(|(size, byte)| Step::Write(size, byte)),
            2 => (0_u64..2000).prop_map(|place| Step::Seek(SeekFrom::Start(place))),
            2 => (-400_i64..400).prop_map(|by| Step::Seek(SeekFrom::Current(by))),
            1 => (-400_i64..400).prop_map(|by| Step::Seek(SeekFrom::End(by))),
            1 => Just(Step::Flush),
        ]
    }

    proptest! {
        #[test]
        fn the_file_is_what_it_would_be_without_a_buffer(steps in prop::collection::vec(step(), 0..40)) {
            let mut plain = Cursor::new(Vec::new());
            let mut buffered = BufferedFile::new(Cursor::new(Vec::new())).unwrap();
            for step in steps {
                match step {
                    Step::Write(size, byte) => {
                        // A cursor beyond its end would grow by a write of nothing, as no file does.
                        if size > 0 {
                            plain.write_all(&vec![byte; size]).unwrap();
                        }
                        buffered.write_all(&vec![byte; size]).unwrap();
                    }
                    Step::Seek(to) => {
                        prop_assert_eq!(plain.seek(to).ok(), buffered.seek(to).ok(), "{:?}", to);
                    }
                    Step::Flush => buffered.flush().unwrap(),
                }
                prop_assert_eq!(plain.position(), buffered.stream_position().unwrap());
            }
            buffered.seek(SeekFrom::End(0)).unwrap();
            prop_assert!(plain.get_ref() == buffered.file.get_ref());
        }
    }
}
