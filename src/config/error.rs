//! What is wrong with a file of the operator's: every fault at once, each with its place.

use std::{fmt, sync::Arc};

/// Where a value was written.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Place {
    /// Lines and columns (in characters) count from 1.
    File { file: Arc<str>, line: u32, column: u32 },
    /// The whole file.
    Whole(Arc<str>),
    /// An environment variable.
    Variable(Arc<str>),
    /// Nowhere: the value is built in.
    Default,
}

impl Place {
    pub fn line(&self) -> Option<u32> {
        match self {
            Place::File { line, .. } => Some(*line),
            Place::Whole(_) | Place::Variable(_) | Place::Default => None,
        }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Place::File { file, line, column } => write!(formatter, "{file}:{line}:{column}"),
            Place::Whole(file) => formatter.write_str(file),
            Place::Variable(name) => formatter.write_str(name),
            Place::Default => formatter.write_str("built-in default"),
        }
    }
}

/// One fault: `PLACE: KEY: MESSAGE (SUGGESTION)`.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub struct ConfigError {
    pub place: Place,
    /// `section.key`; empty where the fault lies in no key.
    pub key: String,
    pub message: String,
    /// What to do.
    pub suggestion: Option<String>,
    /// Something that is not there: in a file that cannot be read whole it may only seem so.
    pub missing: bool,
}

impl ConfigError {
    pub fn new(place: Place, key: impl Into<String>, message: impl Into<String>) -> ConfigError {
        ConfigError {
            place,
            key: key.into(),
            message: message.into(),
            suggestion: None,
            missing: false,
        }
    }

    #[must_use]
    pub fn suggesting(mut self, suggestion: impl Into<String>) -> ConfigError {
        self.suggestion = Some(suggestion.into());
        self
    }

    /// Says that the fault is something that is not there.
    #[must_use]
    pub fn missing(mut self) -> ConfigError {
        self.missing = true;
        self
    }
}

impl fmt::Display for ConfigError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}: ", self.place)?;
        if !self.key.is_empty() {
            write!(formatter, "{}: ", self.key)?;
        }
        formatter.write_str(&self.message)?;
        match &self.suggestion {
            Some(suggestion) => write!(formatter, " ({suggestion})"),
            None => Ok(()),
        }
    }
}

/// Every fault that was found, in the order of their places; never empty.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub struct ConfigErrors(Vec<ConfigError>);

impl ConfigErrors {
    /// Sorts `errors` by place.
    pub fn new(mut errors: Vec<ConfigError>) -> ConfigErrors {
        errors.sort_by(|one, two| one.place.cmp(&two.place));
        ConfigErrors(errors)
    }

    pub fn iter(&self) -> impl Iterator<Item = &ConfigError> {
        self.0.iter()
    }

    pub fn into_vec(self) -> Vec<ConfigError> {
        self.0
    }
}

impl fmt::Display for ConfigErrors {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, error) in self.0.iter().enumerate() {
            if index > 0 {
                formatter.write_str("\n")?;
            }
            fmt::Display::fmt(error, formatter)?;
        }
        Ok(())
    }
}
