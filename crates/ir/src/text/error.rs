//! Why a text is no model.

use thiserror::Error;

/// A place in a text, and what is wrong there.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("line {line}, column {column}: {what}")]
pub struct TextError {
    /// Line, from 1.
    pub line: u32,
    /// Column in characters, from 1.
    pub column: u32,
    /// What is wrong.
    pub what: TextProblem,
    /// What to do about it.
    pub help: Option<&'static str>,
}

/// What can be wrong with a text.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum TextProblem {
    /// Something else should stand here.
    #[error("expected {expected}, found {found}")]
    Unexpected {
        /// What should stand here.
        expected: &'static str,
        /// What stands here.
        found: String,
    },
    /// A string without its closing quote.
    #[error("the string does not end")]
    OpenString,
    /// A character that begins nothing.
    #[error("`{0}` begins nothing")]
    StrayCharacter(char),
    /// A number that the type cannot hold.
    #[error("`{text}` is no {wanted}")]
    BadNumber {
        /// The number.
        text: String,
        /// Type it should have.
        wanted: &'static str,
    },
    /// A type, attribute type or header key that does not exist.
    #[error("`{name}` is no {wanted}")]
    UnknownWord {
        /// The word.
        name: String,
        /// What it should be.
        wanted: &'static str,
    },
    /// A name is defined twice in one graph.
    #[error("`{name}` is defined twice")]
    Redefined {
        /// The name.
        name: String,
    },
    /// A name is used but not defined.
    #[error("`{name}` is not defined")]
    Undefined {
        /// The name.
        name: String,
    },
    /// A tensor's sizes are not numbers.
    #[error("a tensor's sizes must be numbers")]
    SymbolicTensor,
    /// A tensor has too few or too many elements.
    #[error("the sizes ask for {expected} elements, there are {found}")]
    WrongCount {
        /// Elements that the sizes ask for.
        expected: u64,
        /// Elements there are.
        found: u64,
    },
    /// Data that is not in the text.
    #[error("the data lies outside the text, at `{location}`")]
    External {
        /// Where.
        location: String,
    },
    /// A fill of more elements than the text could reasonably mean.
    #[error("a fill of {dims:?} is too large")]
    TooLarge {
        /// Sizes.
        dims: Vec<u64>,
    },
    /// Types or graphs are nested too deeply.
    #[error("nested more than {limit} deep")]
    TooDeep {
        /// Deepest nesting that is read.
        limit: usize,
    },
    /// The value of an attribute is not of the type in front of it.
    #[error("the value of `{name}` is no {wanted}")]
    AttributeType {
        /// Attribute.
        name: String,
        /// Type that it states, or a list that has one type.
        wanted: &'static str,
    },
}

impl TextProblem {
    /// What to do about it, where there is something to say.
    fn help(&self) -> Option<&'static str> {
        match self {
            Self::Undefined { .. } => Some("define it as an input, in the list between `<` and `>`, or by a node"),
            Self::External { .. } => Some("write the elements in braces, or `[\"location\": \"random:7\"]`"),
            Self::OpenString => Some("a `\"` inside a string is written `\\\"`"),
            _ => None,
        }
    }
    pub(super) fn at(self, (line, column): (u32, u32)) -> TextError {
        TextError { line, column, help: self.help(), what: self }
    }
}
