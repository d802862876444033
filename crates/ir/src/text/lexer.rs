//! Words of the text syntax, one at a time, with their places.

use super::error::{TextError, TextProblem};
use std::borrow::Cow;
use std::fmt;

/// One word.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Token<'s> {
    /// A name without quotes.
    Ident(&'s str),
    /// A quoted string, escapes resolved.
    Str(Cow<'s, str>),
    /// A number as it is written, `-inf` and `-nan` among them.
    Number(&'s str),
    /// Any other character that means something.
    Punct(char),
    /// End of the text.
    End,
}

impl fmt::Display for Token<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ident(s) | Self::Number(s) => write!(f, "`{s}`"),
            Self::Str(s) => write!(f, "{s:?}"),
            Self::Punct(c) => write!(f, "`{c}`"),
            Self::End => f.write_str("the end"),
        }
    }
}

/// Line and column, from 1.
pub(super) type Place = (u32, u32);

/// Reads words from a text.
pub(super) struct Lexer<'s> {
    text: &'s str,
    at: usize,
    line: u32,
    column: u32,
}

impl<'s> Lexer<'s> {
    pub(super) fn new(text: &'s str) -> Self {
        Self { text, at: 0, line: 1, column: 1 }
    }
    /// The next word and where it begins.
    pub(super) fn next(&mut self) -> Result<(Token<'s>, Place), TextError> {
        self.skip_blank();
        let place = (self.line, self.column);
        let from = self.at;
        let Some(c) = self.peek() else { return Ok((Token::End, place)) };
        let token = match c {
            '"' => self.string(place)?,
            c if c.is_ascii_alphabetic() || c == '_' => {
                self.skip_while(|c| c.is_ascii_alphanumeric() || c == '_');
                Token::Ident(&self.text[from..self.at])
            }
            c if c.is_ascii_digit() || c == '-' => {
                self.advance();
                if c == '-' && self.peek().is_some_and(|c| c.is_ascii_alphabetic()) {
                    self.skip_while(|c| c.is_ascii_alphabetic());
                } else {
                    self.digits();
                }
                Token::Number(&self.text[from..self.at])
            }
            '<' | '>' | '(' | ')' | '[' | ']' | '{' | '}' | ',' | ':' | '=' | '.' | '?' | '@' => {
                self.advance();
                Token::Punct(c)
            }
            c => return Err(TextProblem::StrayCharacter(c).at(place)),
        };
        Ok((token, place))
    }

    fn digits(&mut self) {
        self.skip_while(|c| c.is_ascii_digit());
        if self.peek() == Some('.') {
            self.advance();
            self.skip_while(|c| c.is_ascii_digit());
        }
        if matches!(self.peek(), Some('e' | 'E')) {
            self.advance();
            if matches!(self.peek(), Some('+' | '-')) {
                self.advance();
            }
            self.skip_while(|c| c.is_ascii_digit());
        }
    }
    /// A backslash stands for the character behind it; there are no other escapes.
    fn string(&mut self, place: Place) -> Result<Token<'s>, TextError> {
        self.advance();
        let from = self.at;
        let mut resolved: Option<String> = None;
        loop {
            let before = self.at;
            match self.advance() {
                None => return Err(TextProblem::OpenString.at(place)),
                Some('"') => {
                    let plain = &self.text[from..before];
                    return Ok(Token::Str(resolved.map_or(Cow::Borrowed(plain), Cow::Owned)));
                }
                Some('\\') => {
                    let target = resolved.get_or_insert_with(|| self.text[from..before].to_string());
                    match self.text[self.at..].chars().next() {
                        None => return Err(TextProblem::OpenString.at(place)),
                        Some(c) => target.push(c),
                    }
                    self.advance();
                }
                Some(c) => {
                    if let Some(r) = &mut resolved {
                        r.push(c);
                    }
                }
            }
        }
    }
    fn skip_blank(&mut self) {
        while let Some(c) = self.peek() {
            if c == '#' {
                self.skip_while(|c| c != '\n');
            } else if c.is_whitespace() {
                self.advance();
            } else {
                break;
            }
        }
    }
    fn skip_while(&mut self, keep: impl Fn(char) -> bool) {
        while self.peek().is_some_and(&keep) {
            self.advance();
        }
    }
    fn peek(&self) -> Option<char> {
        self.text[self.at..].chars().next()
    }
    fn advance(&mut self) -> Option<char> {
        let c = self.peek()?;
        self.at += c.len_utf8();
        (self.line, self.column) = if c == '\n' { (self.line + 1, 1) } else { (self.line, self.column + 1) };
        Some(c)
    }
}
