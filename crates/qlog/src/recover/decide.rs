//! Where a segment ends, from what its holders say.

use holdfast_types::Lsn;

use crate::{
    copies::Copies,
    rules::{Rule, kept},
};

/// What one holder with authority said, after it promised.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Word {
    /// The last entry that it vouches for.
    pub certain: Lsn,
    /// The last entry that it may have held.
    pub possible: Lsn,
}

/// Not yet: the words of these holders, by index, would help.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Undecided {
    /// Those that have said nothing, or cannot swear.
    pub missing: Vec<usize>,
}

/// The end of a segment that begins after `before`: the longest tail that anybody vouches for, once it is certain that
/// nothing beyond it was acknowledged and nothing more ever will be.
///
/// An entry is *absent* when those who do not deny it could not have acknowledged it: they are too few, or lie in too few
/// zones. Until then more words are needed. A holder that denies it has promised, so the same condition stops later
/// acknowledgements.
///
/// # Errors
/// [`Undecided`].
pub fn decide(copies: &Copies, before: Lsn, words: &[Option<Word>]) -> Result<Lsn, Undecided> {
    let longest = words.iter().flatten().map(|w| w.certain).max();
    let end = longest.unwrap_or(before).max(before);
    let denies = |word: &Option<Word>| word.is_some_and(|w| w.possible <= end);
    let not_denied = (0..copies.holders.len())
        .filter(|&i| !words.get(i).is_some_and(denies))
        .collect::<Vec<_>>();
    if copies.suffice(not_denied.iter().copied()) {
        return Err(Undecided {
            missing: not_denied,
        });
    }
    if !kept(Rule::LongestTail) {
        let mut ends: Vec<Lsn> = words.iter().flatten().map(|w| w.certain).collect();
        ends.sort_unstable_by(|a, b| b.cmp(a));
        return Ok(ends.get(1).map_or(end, |second| (*second).max(before)));
    }
    Ok(end)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::copies::{CopyHolder, StorageId, Zone};

    fn copies(zones: &str) -> Copies {
        let holder = |(n, zone): (usize, char)| CopyHolder {
            node: format!("n{n}").into(),
            storage: StorageId([u8::try_from(n).unwrap(); 16]),
            zone: Zone(zone.to_string().into()),
        };
        Copies {
            holders: zones.chars().enumerate().map(holder).collect(),
            quorum: 2,
            zones: 2,
        }
    }

    /// `words`: `certain`, or `certain?possible`, or `-` for none.
    #[track_caller]
    fn check(zones: &str, words: &str, expect: Result<u64, &[usize]>) {
        let word = |w: &str| {
            let (certain, possible) = w.split_once('?').unwrap_or((w, w));
            Some(Word {
                certain: Lsn(certain.parse().ok()?),
                possible: Lsn(possible.parse().ok()?),
            })
        };
        let words: Vec<Option<Word>> = words.split(' ').map(word).collect();
        let found = decide(&copies(zones), Lsn(2), &words);
        assert_eq!(
            found.map(|l| l.0).map_err(|u| u.missing),
            expect.map_err(<[usize]>::to_vec)
        );
    }

    #[test]
    fn the_longest_tail_of_two_wins() {
        check("abc", "4 7 -", Ok(7));
        check("abc", "7 4 6", Ok(7));
    }

    #[test]
    fn one_word_does_not_decide() {
        check("abc", "7 - -", Err(&[1, 2]));
        check("abc", "- - -", Err(&[0, 1, 2]));
    }

    #[test]
    fn two_empty_copies_mean_an_empty_segment() {
        check("abc", "0 0 -", Ok(2));
    }

    #[test]
    fn what_cannot_be_read_is_no_denial() {
        check("abc", "3?7 5 -", Err(&[0, 2]));
        check("abc", "3?7 5 5", Ok(5));
        check("abc", "3?7 5 6", Ok(6));
        check("abc", "3?5 5 -", Ok(5));
    }

    #[test]
    fn the_only_node_of_a_zone_decides_alone() {
        check("aab", "- - 6", Ok(6));
        check("aab", "6 - -", Err(&[1, 2]));
        check("aab", "6 7 -", Ok(7));
    }
}
