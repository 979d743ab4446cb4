//! String literals: quotes, prefixes and escapes.

use winnow::{
    Parser,
    combinator::{alt, opt},
    error::EmptyError,
    token::{one_of, take_while},
};

use crate::error::ExprError;

/// How a literal began, and so how it ends.
#[derive(Clone, Copy, Debug)]
pub(super) struct Opening {
    quote: char,
    /// Backslashes stand for themselves, and one before the quote only keeps the literal open.
    raw: bool,
}

/// Takes the opening quote with its prefix, if a literal starts here, with `first`.
///
/// The prefixes `u8`, `u`, `U` and `L` change nothing: all text is UTF-8.
pub(super) fn opening(rest: &mut &str, first: char) -> Option<Opening> {
    if !matches!(first, '"' | '\'' | 'u' | 'U' | 'L' | 'r' | 'R') {
        return None;
    }
    let mut ahead = *rest;
    let parsed: Result<(Option<&str>, char), EmptyError> = (
        opt(alt(("u8", "u", "U", "L", "r", "R"))),
        one_of(['"', '\'']),
    )
        .parse_next(&mut ahead);
    let (prefix, quote) = parsed.ok()?;
    *rest = ahead;
    Some(Opening {
        quote,
        raw: matches!(prefix, Some("r" | "R")),
    })
}

/// Takes the rest of a literal, its closing quote too, and returns its text. `at` is where it began.
pub(super) fn body(rest: &mut &str, opening: Opening, at: usize) -> Result<String, ExprError> {
    let Opening { quote, raw } = opening;
    let mut text = Vec::new();
    loop {
        let plain: Result<&str, EmptyError> =
            take_while(0.., |c| c != quote && c != '\\').parse_next(rest);
        if let Ok(plain) = plain {
            text.extend_from_slice(plain.as_bytes());
        }
        let mut chars = rest.chars();
        match chars.next() {
            None => {
                return Err(ExprError::new(
                    at,
                    format!("the string has no closing {quote}"),
                ));
            }
            Some('\\') if raw => {
                text.push(b'\\');
                if let Some(next) = chars.next() {
                    push(&mut text, next);
                }
                *rest = chars.as_str();
            }
            Some('\\') => {
                *rest = chars.as_str();
                escape(rest, &mut text, at)?;
            }
            Some(_) => {
                *rest = chars.as_str();
                break;
            }
        }
    }
    // Only `\x` and octal escapes make single bytes.
    String::from_utf8(text)
        .map_err(|_| ExprError::new(at, "the byte escapes of the string are not UTF-8"))
}

/// Takes what follows a backslash.
fn escape(rest: &mut &str, text: &mut Vec<u8>, at: usize) -> Result<(), ExprError> {
    let mut chars = rest.chars();
    let Some(c) = chars.next() else {
        return Ok(()); // the caller reports the missing quote
    };
    let byte = match c {
        '0'..='7' => {
            let octal = digits(rest, 1..=3, 8);
            let value = octal.and_then(|value| u8::try_from(value).ok());
            text.push(value.ok_or_else(|| ExprError::new(at, "an octal escape is above \\377"))?);
            return Ok(());
        }
        'x' | 'u' | 'U' => {
            *rest = chars.as_str();
            return hexadecimal(c, rest, text, at);
        }
        'a' => 7,
        'b' => 8,
        'f' => 12,
        'n' => b'\n',
        'r' => b'\r',
        't' => b'\t',
        'v' => 11,
        '"' | '\'' | '?' | '\\' => c as u8,
        // A line break after a backslash joins two lines.
        '\n' => {
            *rest = chars.as_str();
            return Ok(());
        }
        '\r' => {
            let after = chars.as_str();
            *rest = after.strip_prefix('\n').unwrap_or(after);
            return Ok(());
        }
        // Kept with its backslash: `\%` and `\_` mean something to `like`.
        other => {
            text.push(b'\\');
            push(text, other);
            *rest = chars.as_str();
            return Ok(());
        }
    };
    text.push(byte);
    *rest = chars.as_str();
    Ok(())
}

fn hexadecimal(
    kind: char,
    rest: &mut &str,
    text: &mut Vec<u8>,
    at: usize,
) -> Result<(), ExprError> {
    let width = match kind {
        'x' => 2,
        'u' => 4,
        _ => 8,
    };
    let wrong = || {
        ExprError::new(
            at,
            format!(
                "the escape \\{kind} of the string needs {width} hexadecimal digits of a character"
            ),
        )
    };
    let value = digits(rest, width..=width, 16).ok_or_else(wrong)?;
    if kind == 'x' {
        text.push(u8::try_from(value).map_err(|_| wrong())?);
        return Ok(());
    }
    // Characters beyond 16 bits may come as two halves, as JSON writes them.
    let mut value = value;
    if (0xD800..0xDC00).contains(&value) {
        *rest = rest.strip_prefix("\\u").ok_or_else(wrong)?;
        let low = digits(rest, 4..=4, 16).ok_or_else(wrong)?;
        if !(0xDC00..0xE000).contains(&low) {
            return Err(wrong());
        }
        value = 0x1_0000 + ((value - 0xD800) << 10) + (low - 0xDC00);
    }
    push(text, char::from_u32(value).ok_or_else(wrong)?);
    Ok(())
}

fn digits(rest: &mut &str, count: std::ops::RangeInclusive<usize>, radix: u32) -> Option<u32> {
    let digits: Result<&str, EmptyError> =
        take_while(count, |c: char| c.is_digit(radix)).parse_next(rest);
    u32::from_str_radix(digits.ok()?, radix).ok()
}

fn push(text: &mut Vec<u8>, c: char) {
    text.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
}
