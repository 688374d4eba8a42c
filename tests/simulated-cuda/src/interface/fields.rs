//! Lines of `name=value` words, the form in which settings cross the C interface.

use std::str::FromStr;

/// The words of one line that have not been read yet.
pub(crate) struct Fields<'a>(Vec<(&'a str, &'a str)>);

impl<'a> Fields<'a> {
    pub(crate) fn of(text: &'a str) -> Result<Self, String> {
        let words = text.split_whitespace().map(|word| {
            word.split_once('=').ok_or_else(|| format!("`{word}` is not of the form name=value"))
        });
        words.collect::<Result<_, _>>().map(Self)
    }

    /// Reads the value of `name` into `target`, which is left as it is where the line has no such word.
    pub(crate) fn take<T: FromStr>(&mut self, name: &str, target: &mut T) -> Result<(), String> {
        let Some(at) = self.0.iter().position(|(found, _)| *found == name) else { return Ok(()) };
        let (_, value) = self.0.remove(at);
        *target = value.parse().map_err(|_| format!("`{value}` is not a value for `{name}`"))?;
        Ok(())
    }

    /// Refuses words that nobody has read.
    pub(crate) fn finish(self) -> Result<(), String> {
        self.0.first().map_or(Ok(()), |(name, _)| Err(format!("there is no setting `{name}`")))
    }
}
