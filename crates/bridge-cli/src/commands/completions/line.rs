//! A command line of bash that is being typed: its words, and how one more is written there.

/// The quotation marks that the end of a line is within.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Quote {
    None,
    Single,
    Double,
}

/// A command line up to somewhere.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Line {
    /// The words that have ended, without quotation marks.
    pub(super) words: Vec<String>,
    /// The last one, which may go on; empty behind a space.
    pub(super) last: String,
    /// Where the last one begins.
    pub(super) start: usize,
    pub(super) quote: Quote,
}

impl Line {
    /// Variables and substitutions stay as they are written.
    pub(super) fn read(text: &str) -> Self {
        let mut line =
            Self { words: Vec::new(), last: String::new(), start: text.len(), quote: Quote::None };
        let mut in_word = false;
        let mut letters = text.char_indices().peekable();
        while let Some((place, letter)) = letters.next() {
            let ends = line.quote == Quote::None && letter.is_ascii_whitespace();
            if ends {
                if in_word {
                    line.words.push(std::mem::take(&mut line.last));
                }
                in_word = false;
                continue;
            }
            if !in_word {
                (in_word, line.start) = (true, place);
            }
            match (line.quote, letter) {
                (Quote::None, '\\') => line.last.extend(letters.next().map(|(_, letter)| letter)),
                (Quote::Double, '\\') => match letters.peek() {
                    Some(&(_, next)) if "\\\"$`".contains(next) => {
                        line.last.push(next);
                        letters.next();
                    }
                    _ => line.last.push('\\'),
                },
                (Quote::None, '\'') => line.quote = Quote::Single,
                (Quote::None, '"') => line.quote = Quote::Double,
                (Quote::Single, '\'') | (Quote::Double, '"') => line.quote = Quote::None,
                _ => line.last.push(letter),
            }
        }
        if !in_word {
            line.start = text.len();
        }
        line
    }
}

impl Quote {
    /// Text as it is written within these quotation marks so that it stays what it is.
    pub(super) fn quoted(self, text: &str) -> String {
        let mut quoted = String::with_capacity(text.len());
        for letter in text.chars() {
            match self {
                Self::None if !is_plain(letter) => quoted.push('\\'),
                Self::Double if "\\\"$`".contains(letter) => quoted.push('\\'),
                Self::Single if letter == '\'' => {
                    quoted.push_str("'\\''");
                    continue;
                }
                _ => {}
            }
            quoted.push(letter);
        }
        quoted
    }
}

/// Whether it means nothing but itself to a shell.
fn is_plain(letter: char) -> bool {
    letter.is_ascii_alphanumeric() || "_-./,:=@%+".contains(letter) || !letter.is_ascii()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_read_as_a_shell_reads_them() {
        let line =
            Line::read(r#"arraybridge  convert my\ file.npz "a \"b\" \c" 'x y'z --name "lay er"#);
        assert_eq!(
            line.words,
            ["arraybridge", "convert", "my file.npz", r#"a "b" \c"#, "x yz", "--name"]
        );
        assert_eq!((line.last.as_str(), line.quote), ("lay er", Quote::Double));
        assert_eq!(line.start, 61);
        assert_eq!(Line::read("a b ").last, "");
        assert_eq!(Line::read("a b ").start, 4);
        assert_eq!(Line::read("a ''").last, "");
        assert_eq!(Line::read("a ''").start, 2);
        assert_eq!(Line::read(r"a b\").last, "b");
        assert_eq!(Line::read("").words, [""; 0]);
    }

    #[test]
    fn what_is_quoted_is_read_as_it_was() {
        let text: String = (' '..='~').chain("äß漢".chars()).collect();
        for (quote, mark) in [(Quote::None, ""), (Quote::Single, "'"), (Quote::Double, "\"")] {
            let line = format!("{mark}{}{mark} ", quote.quoted(&text));
            assert_eq!(Line::read(&line).words, [text.as_str()], "{line}");
        }
        assert_eq!(Quote::None.quoted("layer.0/kernel:0"), "layer.0/kernel:0");
    }
}
