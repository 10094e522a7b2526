use std::{fmt, ops::Deref, sync::Arc};

use crate::Value;

/// An attribute of an event. Reads as a `&str`; a clone shares the text. `String::from` gives one of your own.
#[derive(Clone, Default)]
pub struct Text {
    /// All attributes of the event, or this one alone; UTF-8 from `start` to `end`.
    whole: Arc<Vec<u8>>,
    start: usize,
    end: usize,
}

impl Text {
    /// # Safety
    ///
    /// From `start` to `end` `whole` is UTF-8.
    #[cfg(target_family = "wasm")]
    pub(crate) unsafe fn part(whole: &Arc<Vec<u8>>, start: usize, end: usize) -> Text {
        Text {
            whole: Arc::clone(whole),
            start,
            end,
        }
    }
}

impl Deref for Text {
    type Target = str;

    fn deref(&self) -> &str {
        // SAFETY: whoever made this knew it to be UTF-8, and nothing changes it.
        unsafe { std::str::from_utf8_unchecked(&self.whole[self.start..self.end]) }
    }
}

impl From<String> for Text {
    fn from(text: String) -> Text {
        Text {
            start: 0,
            end: text.len(),
            whole: Arc::new(text.into_bytes()),
        }
    }
}

impl From<&str> for Text {
    fn from(text: &str) -> Text {
        text.to_owned().into()
    }
}

impl From<Text> for String {
    fn from(text: Text) -> String {
        text.to_string()
    }
}

impl From<&Text> for Value {
    fn from(text: &Text) -> Value {
        Value::Text(text.to_string())
    }
}

impl From<Text> for Value {
    fn from(text: Text) -> Value {
        Value::from(&text)
    }
}

impl AsRef<str> for Text {
    fn as_ref(&self) -> &str {
        self
    }
}

impl<T: AsRef<str> + ?Sized> PartialEq<T> for Text {
    fn eq(&self, other: &T) -> bool {
        **self == *other.as_ref()
    }
}

impl Eq for Text {}

impl fmt::Display for Text {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.pad(self)
    }
}

impl fmt::Debug for Text {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&**self, formatter)
    }
}

#[cfg(test)]
mod tests {
    use super::Text;
    use crate::Value;

    #[test]
    fn it_reads_as_a_text() {
        let text = Text::from("ein Wörtchen");
        assert_eq!(text, "ein Wörtchen");
        assert_eq!(text, text.clone());
        assert_eq!(text, String::from("ein Wörtchen"));
        assert_eq!(text.split_once(' '), Some(("ein", "Wörtchen")));
        assert_eq!(format!("{text:>13}"), " ein Wörtchen");
        assert_eq!(format!("{text:?}"), "\"ein Wörtchen\"");
        assert_eq!(Value::from(Some(text.clone())), Value::Text(text.into()));
    }
}
