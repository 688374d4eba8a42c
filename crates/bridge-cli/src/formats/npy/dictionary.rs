//! The header of an `.npy` file: a Python dictionary.
//!
//! It is read by a strict parser of its own: the three keys that NumPy writes, without recursion and
//! without allocating what the header claims. A parser for all of Python's literals would let a forged
//! header exhaust the stack.

use super::data_types::OBJECTS;
use crate::failure::{Failure, Outcome};

/// The element type as it is written in the header.
#[derive(Debug)]
pub(super) enum Descr {
    Plain(String),
    /// Records of these fields, in their order.
    Fields(Vec<Field>),
}

/// A field of a record.
#[derive(Debug)]
pub(super) struct Field {
    /// Empty for the space that aligns the next one.
    pub(super) name: String,
    pub(super) descr: Descr,
    /// Each record has an array of this shape there.
    pub(super) shape: Vec<usize>,
}

/// A line of Python that writes records anew whose fields have other names: those that the user puts in.
pub(super) const RENAME_FIELDS: &str = "in Python: from numpy.lib.recfunctions import rename_fields; \
     numpy.save(path, rename_fields(a, {...}))";

/// How deep records may lie within records. NumPy's are read by functions that call themselves, as here.
const DEEPEST: usize = 16;

/// What the dictionary declares.
#[derive(Debug)]
pub(super) struct Declared {
    pub(super) descr: Descr,
    pub(super) fortran_order: bool,
    pub(super) shape: Vec<usize>,
}

/// How the letters of a header are written.
#[derive(Debug, Clone, Copy)]
pub(super) enum Encoding {
    /// Each byte is the letter of its number.
    Latin1,
    Utf8,
}

/// Reads the text of a header.
pub(super) fn parse(text: &[u8], encoding: Encoding) -> Outcome<Declared> {
    Parser { text, encoding, at: 0 }.dictionary()
}

/// Reads the dictionary from left to right.
struct Parser<'a> {
    text: &'a [u8],
    encoding: Encoding,
    at: usize,
}

impl Parser<'_> {
    fn dictionary(mut self) -> Outcome<Declared> {
        let (mut descr, mut fortran_order, mut shape) = (None, None, None);
        self.expect(b'{')?;
        while self.peek() != Some(b'}') {
            let key = self.string()?;
            self.expect(b':')?;
            let repeated = match key.as_str() {
                "descr" => descr.replace(self.descr(0)?).is_some(),
                "fortran_order" => fortran_order.replace(self.boolean()?).is_some(),
                "shape" => shape.replace(self.shape()?).is_some(),
                _ => return Err(self.broken(&format!("it has the unknown key '{key}'"))),
            };
            if repeated {
                return Err(self.broken(&format!("it has '{key}' twice")));
            }
            match self.peek() {
                Some(b',') => self.at += 1,
                Some(b'}') => {}
                _ => return Err(self.broken("a comma or a brace should follow")),
            }
        }
        self.at += 1;
        if self.peek().is_some() {
            return Err(self.broken("something follows the dictionary"));
        }
        match (descr, fortran_order, shape) {
            (Some(descr), Some(fortran_order), Some(shape)) => {
                Ok(Declared { descr, fortran_order, shape })
            }
            _ => Err(self.broken("'descr', 'fortran_order' or 'shape' is missing")),
        }
    }

    /// The next byte that is no space, not yet taken.
    fn peek(&mut self) -> Option<u8> {
        while let Some(&byte) = self.text.get(self.at) {
            if !byte.is_ascii_whitespace() {
                return Some(byte);
            }
            self.at += 1;
        }
        None
    }

    fn expect(&mut self, wanted: u8) -> Outcome<()> {
        if self.peek() == Some(wanted) {
            self.at += 1;
            return Ok(());
        }
        Err(self.broken(&format!("there should be '{}'", char::from(wanted))))
    }

    fn string(&mut self) -> Outcome<String> {
        let Some(quote @ (b'\'' | b'"')) = self.peek() else {
            return Err(self.broken("there should be a string"));
        };
        self.at += 1;
        let mut string = String::new();
        loop {
            let rest = &self.text[self.at..];
            let Some(length) = rest.iter().position(|&byte| byte == quote || byte == b'\\') else {
                return Err(self.broken("a string does not end"));
            };
            match self.encoding {
                Encoding::Latin1 => string.extend(rest[..length].iter().copied().map(char::from)),
                Encoding::Utf8 => string.push_str(
                    std::str::from_utf8(&rest[..length])
                        .map_err(|_| self.broken("a string is not UTF-8"))?,
                ),
            }
            self.at += length + 1;
            if rest[length] == quote {
                return Ok(string);
            }
            string.push(self.escaped()?);
        }
    }

    /// The letter that an escape of Python's stands for, behind its backslash.
    fn escaped(&mut self) -> Outcome<char> {
        let letter = match self.text.get(self.at) {
            Some(b'x') => return self.numbered(2),
            Some(b'u') => return self.numbered(4),
            Some(b'U') => return self.numbered(8),
            Some(&quoted @ (b'\\' | b'\'' | b'"')) => char::from(quoted),
            Some(b'n') => '\n',
            Some(b'r') => '\r',
            Some(b't') => '\t',
            _ => return Err(self.unknown_escape()),
        };
        self.at += 1;
        Ok(letter)
    }

    /// The letter whose number has so many hexadecimal digits, behind another letter.
    fn numbered(&mut self, digits: usize) -> Outcome<char> {
        let start = self.at + 1;
        let number = self
            .text
            .get(start..start + digits)
            .filter(|digits| digits.iter().all(u8::is_ascii_hexdigit))
            .and_then(|digits| std::str::from_utf8(digits).ok())
            .and_then(|digits| u32::from_str_radix(digits, 16).ok());
        let letter = match number {
            Some(half @ 0xd800..=0xdfff) => {
                return Err(Failure::new(format!(
                    "the header has half of a character, U+{half:X}"
                ))
                .why("only Python has text with one half; no other format can name an array so")
                .remedy(format!("rename the field, {RENAME_FIELDS}")));
            }
            number => number.and_then(char::from_u32).ok_or_else(|| self.unknown_escape())?,
        };
        self.at = start + digits;
        Ok(letter)
    }

    fn unknown_escape(&self) -> Failure {
        self.broken("a string has an escape that NumPy does not write")
    }

    fn descr(&mut self, depth: usize) -> Outcome<Descr> {
        match self.peek() {
            Some(b'[') if depth < DEEPEST => self.fields(depth + 1).map(Descr::Fields),
            Some(b'[') => Err(self.broken(&format!("there are records more than {DEEPEST} deep"))),
            Some(b'(') => self.described_type(),
            _ => self.string().map(Descr::Plain),
        }
    }

    /// A type with notes on it, which h5py makes and older NumPy wrote: `('|u1', {'enum': {'RED': 0}})`.
    fn described_type(&mut self) -> Outcome<Descr> {
        self.expect(b'(')?;
        let mut kind = None;
        if matches!(self.peek(), Some(b'\'' | b'"')) {
            kind = Some(self.string()?);
            self.expect(b',')?;
        }
        let (Some(kind), Some(b'{')) = (kind, self.peek()) else {
            return Err(Failure::new("the array has a structured element type without fields")
                .why("NumPy saves what it is made of as axes of the array")
                .remedy("write the file again, with numpy.save"));
        };
        self.skip_notes()?;
        self.expect(b')')?;
        if kind.trim_start_matches(['|', '=', '<', '>']).starts_with('O') {
            return Err(Failure::new(format!(
                "the array has elements of the type '{kind}', Python objects, with notes on them"
            ))
            .why(OBJECTS)
            .remedy(
                "save numbers from where they came, such as an HDF5 file, each field as an array of its own: \
                 NumPy does not read such a header either",
            ));
        }
        Ok(Descr::Plain(kind))
    }

    /// Passes over a dictionary, whatever is in it.
    fn skip_notes(&mut self) -> Outcome<()> {
        let mut open = 0_usize;
        loop {
            match self.peek() {
                Some(b'\'' | b'"') => {
                    self.string()?;
                    continue;
                }
                Some(b'{') => open += 1,
                Some(b'}') => open -= 1,
                Some(_) => {}
                None => return Err(self.broken("the notes on a type do not end")),
            }
            self.at += 1;
            if open == 0 {
                return Ok(());
            }
        }
    }

    /// A list of fields: `('x', '<f4')`, or `('x', '<f4', (3,))`.
    fn fields(&mut self, depth: usize) -> Outcome<Vec<Field>> {
        self.expect(b'[')?;
        let mut fields = Vec::new();
        while self.peek() != Some(b']') {
            self.expect(b'(')?;
            let name = self.field_name()?;
            self.expect(b',')?;
            let descr = self.descr(depth)?;
            let mut shape = Vec::new();
            if self.peek() == Some(b',') {
                self.at += 1;
                if self.peek() == Some(b'(') {
                    shape = self.shape()?;
                }
            }
            if self.peek() == Some(b',') {
                self.at += 1;
            }
            self.expect(b')')?;
            fields.push(Field { name, descr, shape });
            match self.peek() {
                Some(b',') => self.at += 1,
                Some(b']') => {}
                _ => return Err(self.broken("a comma or a bracket should follow")),
            }
        }
        self.at += 1;
        Ok(fields)
    }

    /// The name of a field, or a pair of its title and its name.
    fn field_name(&mut self) -> Outcome<String> {
        if self.peek() != Some(b'(') {
            return self.string();
        }
        self.at += 1;
        self.string()?;
        self.expect(b',')?;
        let name = self.string()?;
        self.expect(b')')?;
        Ok(name)
    }

    fn boolean(&mut self) -> Outcome<bool> {
        self.peek();
        for (word, value) in [(&b"True"[..], true), (b"False", false)] {
            if self.text[self.at..].starts_with(word) {
                self.at += word.len();
                return Ok(value);
            }
        }
        Err(self.broken("there should be True or False"))
    }

    fn shape(&mut self) -> Outcome<Vec<usize>> {
        self.expect(b'(')?;
        let mut shape = Vec::new();
        while self.peek() != Some(b')') {
            if shape.len() == arraybridge::MAX_RANK {
                return Err(self.broken(&format!(
                    "the shape has more than {} extents",
                    arraybridge::MAX_RANK
                )));
            }
            shape.push(self.extent()?);
            match self.peek() {
                Some(b',') => self.at += 1,
                Some(b')') => {}
                _ => return Err(self.broken("a comma or a parenthesis should follow")),
            }
        }
        self.at += 1;
        Ok(shape)
    }

    fn extent(&mut self) -> Outcome<usize> {
        let negative = self.peek() == Some(b'-');
        let digits = self.at + usize::from(negative);
        // Python groups digits with single underscores: 1_000.
        let is_digit = |at: usize| self.text.get(at).is_some_and(u8::is_ascii_digit);
        let belongs = |&at: &usize| {
            is_digit(at)
                || (self.text.get(at) == Some(&b'_')
                    && at > digits
                    && is_digit(at - 1)
                    && is_digit(at + 1))
        };
        let length = (digits..).take_while(belongs).count();
        let number = String::from_utf8_lossy(&self.text[self.at..digits + length]).replace('_', "");
        if length == 0 {
            return Err(self.broken("there should be an extent"));
        }
        if negative {
            return Err(self.broken(&format!("the extent {number} is negative")));
        }
        self.at = digits + length;
        // NumPy under Python 2 wrote long integers with an L.
        if self.text.get(self.at) == Some(&b'L') {
            self.at += 1;
        }
        number.parse().map_err(|_| self.broken(&format!("the extent {number} is beyond 64 bits")))
    }

    fn broken(&self, what: &str) -> Failure {
        Failure::new(format!("the header is broken at its byte {}: {what}", self.at))
            .why("it should be as in {'descr': '<f4', 'fortran_order': False, 'shape': (2, 3), }")
            .remedy("write the file again, with numpy.save")
            .damaged()
    }
}
