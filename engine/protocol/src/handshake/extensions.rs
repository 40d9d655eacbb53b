//! The list in `Sec-WebSocket-Extensions` (RFC 6455 §9.1).
//!
//! Blanks may stand around every separator, `=` included, and elements may be empty: the grammar of RFC 6455 is that of
//! RFC 2616 with its implied white space (§2.1 there). Names are compared case by case, as other implementations do.
//! Nothing here allocates, and a list is read in time linear in its bytes.

use super::field::is_token_byte;

/// The elements of a list, empty ones left out; after an error, no more.
#[derive(Debug, Clone)]
pub(crate) struct Extensions<'a> {
    rest: &'a [u8],
}

/// One element: an extension and its parameters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Extension<'a> {
    pub(crate) name: &'a [u8],
    /// The parameters as sent, known to be well formed.
    parameters: &'a [u8],
}

/// The parameters of an [`Extension`].
#[derive(Debug, Clone)]
pub(crate) struct Parameters<'a> {
    rest: &'a [u8],
}

/// A name, and the value behind its `=`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Parameter<'a> {
    pub(crate) name: &'a [u8],
    pub(crate) value: Option<Value<'a>>,
}

/// A value: a token, with or without quotes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Value<'a> {
    /// Between the quotes, with the backslashes.
    text: &'a [u8],
}

/// What stands in the header does not follow the grammar of §9.1.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct NotAList;

impl<'a> Extensions<'a> {
    /// The elements of one header's value.
    pub(crate) const fn new(list: &'a [u8]) -> Self {
        Self { rest: list }
    }

    fn element(&mut self) -> Result<Extension<'a>, NotAList> {
        let name = token(&mut self.rest)?;
        let behind_name = self.rest;
        while parameter(&mut self.rest)?.is_some() {}
        match self.rest {
            [] | [b',', ..] => Ok(Extension {
                name,
                parameters: &behind_name[..behind_name.len() - self.rest.len()],
            }),
            _ => Err(NotAList),
        }
    }
}

impl<'a> Iterator for Extensions<'a> {
    type Item = Result<Extension<'a>, NotAList>;

    fn next(&mut self) -> Option<Self::Item> {
        while let [b',' | b' ' | b'\t', rest @ ..] = self.rest {
            self.rest = rest;
        }
        if self.rest.is_empty() {
            return None;
        }
        let element = self.element();
        if element.is_err() {
            self.rest = &[];
        }
        Some(element)
    }
}

impl<'a> Extension<'a> {
    /// The parameters in order, repeated ones included.
    pub(crate) const fn parameters(&self) -> Parameters<'a> {
        Parameters {
            rest: self.parameters,
        }
    }
}

impl<'a> Iterator for Parameters<'a> {
    type Item = Parameter<'a>;

    fn next(&mut self) -> Option<Parameter<'a>> {
        parameter(&mut self.rest).expect("they were well formed before")
    }
}

impl<'a> Value<'a> {
    /// The token that it stands for: without quotes and backslashes, since no token has a backslash of its own.
    pub(crate) fn bytes(&self) -> impl Iterator<Item = u8> + use<'a> {
        self.text.iter().copied().filter(|&byte| byte != b'\\')
    }
}

/// Takes `;`, a name and perhaps a value. `None` when there is no `;`. Blanks on both sides go with it.
fn parameter<'a>(rest: &mut &'a [u8]) -> Result<Option<Parameter<'a>>, NotAList> {
    skip_blanks(rest);
    if !take(rest, b';') {
        return Ok(None);
    }
    skip_blanks(rest);
    let name = token(rest)?;
    skip_blanks(rest);
    let value = if take(rest, b'=') {
        skip_blanks(rest);
        let text = if take(rest, b'"') {
            quoted(rest)?
        } else {
            token(rest)?
        };
        skip_blanks(rest);
        Some(Value { text })
    } else {
        None
    };
    Ok(Some(Parameter { name, value }))
}

/// Takes what is left of a quoted string. Unescaped it must be a token (§9.1).
fn quoted<'a>(rest: &mut &'a [u8]) -> Result<&'a [u8], NotAList> {
    let all = *rest;
    let mut at = 0;
    loop {
        match all[at..] {
            [b'"', ref behind @ ..] if at > 0 => {
                *rest = behind;
                return Ok(&all[..at]);
            }
            [b'\\', byte, ..] if is_token_byte(byte) => at += 2,
            [byte, ..] if is_token_byte(byte) => at += 1,
            _ => return Err(NotAList),
        }
    }
}

/// Takes a token (RFC 9110 §5.6.2).
fn token<'a>(rest: &mut &'a [u8]) -> Result<&'a [u8], NotAList> {
    let len = rest.iter().take_while(|&&byte| is_token_byte(byte)).count();
    let (token, behind) = rest.split_at(len);
    *rest = behind;
    if token.is_empty() {
        return Err(NotAList);
    }
    Ok(token)
}

fn take(rest: &mut &[u8], wanted: u8) -> bool {
    match *rest {
        [first, behind @ ..] if *first == wanted => {
            *rest = behind;
            true
        }
        _ => false,
    }
}

fn skip_blanks(rest: &mut &[u8]) {
    while let [b' ' | b'\t', behind @ ..] = *rest {
        *rest = behind;
    }
}
