//! A text with one word of lookahead.

use super::error::{TextError, TextProblem};
use super::lexer::{Lexer, Place, Token};

/// Deepest nesting of types and graphs that is read.
const MAX_DEPTH: usize = 64;

pub(super) struct Cursor<'s> {
    lexer: Lexer<'s>,
    token: Token<'s>,
    place: Place,
    depth: usize,
}

pub(super) type Parsed<T> = Result<T, TextError>;

impl<'s> Cursor<'s> {
    pub(super) fn new(text: &'s str) -> Parsed<Self> {
        let mut lexer = Lexer::new(text);
        let (token, place) = lexer.next()?;
        Ok(Self { lexer, token, place, depth: 0 })
    }
    /// The next word, which stays.
    pub(super) fn peek(&self) -> &Token<'s> {
        &self.token
    }
    /// Where the next word begins.
    pub(super) fn place(&self) -> Place {
        self.place
    }
    /// Takes the next word.
    pub(super) fn take(&mut self) -> Parsed<Token<'s>> {
        let (token, place) = self.lexer.next()?;
        self.place = place;
        Ok(std::mem::replace(&mut self.token, token))
    }
    /// Takes `c` if it is next.
    pub(super) fn eat(&mut self, c: char) -> Parsed<bool> {
        let is = self.token == Token::Punct(c);
        if is {
            self.take()?;
        }
        Ok(is)
    }
    /// Takes `c`, which must be next.
    pub(super) fn expect(&mut self, c: char, expected: &'static str) -> Parsed<()> {
        if self.eat(c)? { Ok(()) } else { Err(self.unexpected(expected)) }
    }
    pub(super) fn unexpected(&self, expected: &'static str) -> TextError {
        TextProblem::Unexpected { expected, found: self.token.to_string() }.at(self.place)
    }
    /// A name, quoted or not.
    pub(super) fn name(&mut self, expected: &'static str) -> Parsed<String> {
        self.optional_name()?.ok_or_else(|| self.unexpected(expected))
    }
    /// A name, quoted or not, if one is next.
    pub(super) fn optional_name(&mut self) -> Parsed<Option<String>> {
        Ok(match &self.token {
            Token::Ident(_) | Token::Str(_) => match self.take()? {
                Token::Ident(s) => Some(s.to_string()),
                Token::Str(s) => Some(s.into_owned()),
                _ => None,
            },
            _ => None,
        })
    }
    /// A quoted string.
    pub(super) fn string(&mut self, expected: &'static str) -> Parsed<String> {
        match &self.token {
            Token::Str(_) => self.name(expected),
            _ => Err(self.unexpected(expected)),
        }
    }
    /// A number as it is written; `inf` and `nan` among them.
    pub(super) fn number(&mut self) -> Parsed<&'s str> {
        match self.token {
            Token::Number(s) | Token::Ident(s @ ("inf" | "infinity" | "nan")) => {
                self.take()?;
                Ok(s)
            }
            _ => Err(self.unexpected("a number")),
        }
    }
    /// A number that `T` holds.
    pub(super) fn parse_number<T: std::str::FromStr>(&mut self, wanted: &'static str) -> Parsed<T> {
        let place = self.place;
        let text = self.number()?;
        text.parse().map_err(|_| TextProblem::BadNumber { text: text.to_string(), wanted }.at(place))
    }
    /// Reads `item`s separated by commas up to `close`; the opening is read already.
    pub(super) fn list_until(
        &mut self,
        close: char,
        expected: &'static str,
        mut item: impl FnMut(&mut Self) -> Parsed<()>,
    ) -> Parsed<()> {
        if self.eat(close)? {
            return Ok(());
        }
        loop {
            item(self)?;
            if !self.eat(',')? {
                return self.expect(close, expected);
            }
        }
    }
    /// Reads something that may contain itself, to a limit: a hostile text must not exhaust the stack.
    pub(super) fn nested<T>(&mut self, read: impl FnOnce(&mut Self) -> Parsed<T>) -> Parsed<T> {
        if self.depth == MAX_DEPTH {
            return Err(TextProblem::TooDeep { limit: MAX_DEPTH }.at(self.place));
        }
        self.depth += 1;
        let out = read(self);
        self.depth -= 1;
        out
    }
}
