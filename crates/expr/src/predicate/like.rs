//! `like` patterns, split once so that the common shapes are one comparison per row.

/// A `like` pattern: `%` stands for any text, `_` for any one character, and a backslash makes the
/// character after it stand for itself. The pattern is for the whole text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LikePattern {
    /// No wildcard: the whole text.
    Exact(Box<str>),
    /// `text%`
    Prefix(Box<str>),
    /// `%text`
    Suffix(Box<str>),
    /// `%text%`
    Infix(Box<str>),
    /// Anything else.
    General(GeneralPattern),
}

/// A pattern of no simple shape: fixed pieces with any text between them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GeneralPattern {
    /// What stood between the `%`. The first piece is at the start of the text, the last at its end;
    /// either may be empty, and one alone is both (a pattern with `_` only).
    pieces: Vec<Piece>,
}

/// Text and single wildcards in a row.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Piece {
    tokens: Vec<Token>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Token {
    Text(String),
    /// This many arbitrary characters.
    Any(usize),
}

impl LikePattern {
    /// Reads a pattern. A backslash at the very end stands for itself.
    #[must_use]
    pub fn new(pattern: &str) -> Self {
        let mut pieces = vec![Piece::default()];
        let mut chars = pattern.chars();
        while let Some(c) = chars.next() {
            let after_percent = pieces.len() > 1;
            let last = pieces.last_mut().expect("starts with one and only grows");
            match c {
                // Runs of `%` are one.
                '%' if after_percent && last.tokens.is_empty() => {}
                '%' => pieces.push(Piece::default()),
                '_' => last.push_any(),
                '\\' => last.push_char(chars.next().unwrap_or('\\')),
                c => last.push_char(c),
            }
        }
        let texts: Option<Vec<&str>> = pieces.iter().map(Piece::as_text).collect();
        match texts.as_deref() {
            Some([only]) => Self::Exact((*only).into()),
            Some([start, ""]) => Self::Prefix((*start).into()),
            Some(["", end]) => Self::Suffix((*end).into()),
            Some(["", middle, ""]) => Self::Infix((*middle).into()),
            _ => Self::General(GeneralPattern { pieces }),
        }
    }

    /// Whether the whole of `text` matches.
    #[must_use]
    pub fn matches(&self, text: &str) -> bool {
        match self {
            Self::Exact(s) => text == &**s,
            Self::Prefix(s) => text.starts_with(&**s),
            Self::Suffix(s) => text.ends_with(&**s),
            Self::Infix(s) => text.contains(&**s),
            Self::General(pattern) => pattern.matches(text),
        }
    }

    /// Text that every match begins with; empty when there is none. For range scans.
    #[must_use]
    pub fn literal_prefix(&self) -> &str {
        match self {
            Self::Exact(s) | Self::Prefix(s) => s,
            Self::Suffix(_) | Self::Infix(_) => "",
            Self::General(pattern) => match pattern.pieces[0].tokens.first() {
                Some(Token::Text(text)) => text,
                _ => "",
            },
        }
    }

    /// A pattern text that reads back as this pattern.
    #[must_use]
    pub fn to_pattern(&self) -> String {
        let mut out = String::new();
        match self {
            Self::Exact(s) => escape(s, &mut out),
            Self::Prefix(s) => {
                escape(s, &mut out);
                out.push('%');
            }
            Self::Suffix(s) => {
                out.push('%');
                escape(s, &mut out);
            }
            Self::Infix(s) => {
                out.push('%');
                escape(s, &mut out);
                out.push('%');
            }
            Self::General(pattern) => {
                for (i, piece) in pattern.pieces.iter().enumerate() {
                    if i > 0 {
                        out.push('%');
                    }
                    for token in &piece.tokens {
                        match token {
                            Token::Text(s) => escape(s, &mut out),
                            Token::Any(n) => out.extend(std::iter::repeat_n('_', *n)),
                        }
                    }
                }
            }
        }
        out
    }
}

fn escape(text: &str, out: &mut String) {
    for c in text.chars() {
        if matches!(c, '%' | '_' | '\\') {
            out.push('\\');
        }
        out.push(c);
    }
}

impl GeneralPattern {
    /// Takes the leftmost place for each inner piece: an earlier end never spoils a later piece, so there
    /// is no backtracking over pieces.
    fn matches(&self, text: &str) -> bool {
        let (first, rest) = self.pieces.split_first().expect("a pattern has a piece");
        let Some(mut left) = first.strip_from_start(text) else {
            return false;
        };
        let Some((last, inner)) = rest.split_last() else {
            return left.is_empty();
        };
        for piece in inner {
            match piece.find(left) {
                Some(after) => left = after,
                None => return false,
            }
        }
        last.ends(left)
    }
}

impl Piece {
    fn push_char(&mut self, c: char) {
        if let Some(Token::Text(text)) = self.tokens.last_mut() {
            text.push(c);
        } else {
            self.tokens.push(Token::Text(c.into()));
        }
    }

    fn push_any(&mut self) {
        if let Some(Token::Any(n)) = self.tokens.last_mut() {
            *n += 1;
        } else {
            self.tokens.push(Token::Any(1));
        }
    }

    fn as_text(&self) -> Option<&str> {
        match self.tokens.as_slice() {
            [] => Some(""),
            [Token::Text(text)] => Some(text),
            _ => None,
        }
    }

    /// What follows the piece at the start of `text`.
    fn strip_from_start<'t>(&self, text: &'t str) -> Option<&'t str> {
        let mut left = text;
        for token in &self.tokens {
            left = match token {
                Token::Text(s) => left.strip_prefix(s.as_str())?,
                Token::Any(n) => skip_chars(left, *n)?,
            };
        }
        Some(left)
    }

    /// What follows the leftmost place of the piece in `text`.
    fn find<'t>(&self, text: &'t str) -> Option<&'t str> {
        if let Some(s) = self.as_text() {
            return text.find(s).map(|at| &text[at + s.len()..]);
        }
        let mut from = text;
        loop {
            if let Some(after) = self.strip_from_start(from) {
                return Some(after);
            }
            from = skip_chars(from, 1)?;
        }
    }

    fn ends(&self, text: &str) -> bool {
        let mut left = text;
        for token in self.tokens.iter().rev() {
            let shorter = match token {
                Token::Text(s) => left.strip_suffix(s.as_str()),
                Token::Any(n) => drop_last_chars(left, *n),
            };
            match shorter {
                Some(shorter) => left = shorter,
                None => return false,
            }
        }
        true
    }
}

fn skip_chars(text: &str, n: usize) -> Option<&str> {
    let mut chars = text.chars();
    for _ in 0..n {
        chars.next()?;
    }
    Some(chars.as_str())
}

fn drop_last_chars(text: &str, n: usize) -> Option<&str> {
    let mut chars = text.chars();
    for _ in 0..n {
        chars.next_back()?;
    }
    Some(chars.as_str())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The definition of `like`, by recursion: slow and plainly right.
    fn oracle(pattern: &[char], text: &[char]) -> bool {
        match pattern {
            [] => text.is_empty(),
            ['%', rest @ ..] => (0..=text.len()).any(|n| oracle(rest, &text[n..])),
            ['_', rest @ ..] => !text.is_empty() && oracle(rest, &text[1..]),
            ['\\', c, rest @ ..] | [c, rest @ ..] => {
                text.first() == Some(c) && oracle(rest, &text[1..])
            }
        }
    }

    proptest! {
        #[test]
        fn matching_agrees_with_the_definition(pattern in "[abé%_\\\\]{0,8}", text in "[abé%_]{0,8}") {
            let like = LikePattern::new(&pattern);
            let chars: Vec<char> = pattern.chars().collect();
            let expected = oracle(&chars, &text.chars().collect::<Vec<_>>());
            prop_assert_eq!(like.matches(&text), expected, "{} like {}", text, pattern);
            prop_assert_eq!(&LikePattern::new(&like.to_pattern()), &like);
            if expected {
                prop_assert!(text.starts_with(like.literal_prefix()));
            }
        }
    }

    #[test]
    fn simple_shapes_are_recognised() {
        for (pattern, shape) in [
            ("abc", LikePattern::Exact("abc".into())),
            ("", LikePattern::Exact("".into())),
            ("abc%%", LikePattern::Prefix("abc".into())),
            ("%", LikePattern::Prefix("".into())),
            ("%abc", LikePattern::Suffix("abc".into())),
            ("%a\\%c%", LikePattern::Infix("a%c".into())),
            ("a\\", LikePattern::Exact("a\\".into())),
        ] {
            assert_eq!(LikePattern::new(pattern), shape, "{pattern}");
        }
        assert!(matches!(LikePattern::new("a%b"), LikePattern::General(_)));
        assert!(matches!(LikePattern::new("a_"), LikePattern::General(_)));
    }

    #[test]
    fn start_and_end_do_not_overlap() {
        assert!(!LikePattern::new("aba%ba").matches("aba"));
        assert!(LikePattern::new("aba%ba").matches("ababa"));
    }
}
