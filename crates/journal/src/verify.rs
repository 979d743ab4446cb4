//! Looking at every byte that means something, and naming those that are not what was written.

use std::{io, path::Path, sync::Arc};

use crate::{
    codec::Found,
    error::{Damage, JournalError, Loss, failed},
    file::JournalFile,
    format::{BATCH_HEADER_LEN, BLOCK, BatchHeader, Kind},
    identity::{self, IdentityFile},
    reader::Shared,
    recover::{Records, describe},
    scan::{Item, padding, walk},
    side::{self, Side},
};

/// What was looked at, and what was found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// Files read.
    pub files: u64,
    /// Intact batches in them.
    pub batches: u64,
    /// Intact records in those.
    pub records: u64,
    /// Bytes up to the end of what was written.
    pub bytes: u64,
    /// What is not intact.
    pub damage: Vec<Damage>,
}

pub(crate) fn verify(shared: &Shared, identity: &IdentityFile) -> Result<Report, JournalError> {
    let mut report = Report::default();
    let path = shared.dir.join(identity::NAME);
    for (at, problem) in (0..).zip(identity.problems(&path)?) {
        if let Some(problem) = problem {
            report.damage.push(Damage {
                file: path.clone(),
                offset: at * BLOCK,
                bytes: BLOCK,
                problem: format!("a copy of the identity: {problem}"),
                loss: Loss::Nothing,
            });
        }
    }
    // Held, so that none of them is given back and used again meanwhile.
    let (files, tail): (Vec<Arc<JournalFile>>, _) = {
        let state = shared.state();
        let files = state.files.values().map(|f| Arc::clone(&f.file));
        (files.collect(), state.tail)
    };
    for (at, file) in files.iter().enumerate() {
        let next = files.get(at + 1);
        let adjacent = next.filter(|n| n.header.file_seq == file.header.file_seq + 1);
        let mut next_seq = match next {
            None => Some(tail.seq),
            Some(_) => adjacent.map(|n| n.header.first_seq),
        };
        if next.is_some() {
            let said = side(shared, file, &mut report)?;
            next_seq = next_seq.or(said);
        }
        one(file, next_seq, &mut report)?;
    }
    Ok(report)
}

/// Checks the index beside a file, and says where it lets the next file begin.
fn side(
    shared: &Shared,
    file: &JournalFile,
    report: &mut Report,
) -> Result<Option<u64>, JournalError> {
    let seq = file.header.file_seq;
    let path = shared.dir.join(side::name(seq));
    let (problem, bytes) = match Side::read(&*shared.disk, &shared.dir, seq, file.seed) {
        Ok(Ok(side)) => return Ok(Some(side.next_seq)),
        Ok(Err(problem)) => (problem, u64::MAX),
        // It is made anew at the next start.
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(e) => return Err(failed("read", &path)(e)),
    };
    report.damage.push(Damage {
        file: path,
        offset: 0,
        bytes,
        problem: format!("the index beside a file: {problem}"),
        loss: Loss::Nothing,
    });
    Ok(None)
}

fn one(file: &JournalFile, next_seq: Option<u64>, report: &mut Report) -> Result<(), JournalError> {
    let io = |e| failed("read", &file.path)(e);
    report.files += 1;
    report.damage.extend(file.header_damage().map_err(io)?);
    let len = file.file.len().map_err(io)?;
    if len < file.header.capacity {
        report.damage.push(Damage {
            file: file.path.clone(),
            offset: len,
            bytes: file.header.capacity - len,
            problem: "cut short".to_owned(),
            loss: Loss::Nothing,
        });
    }
    let mut bad_padding = Vec::new();
    let (mut batches, mut records) = (0, 0);
    let mut damage = Vec::new();
    let checkpoint_last = file.header.checkpoint_last;
    let end = walk(file, next_seq, &mut |item| {
        match item {
            Item::Batch(batch) => {
                batches += 1;
                records += u64::from(batch.header.records);
                if !padding_is_zero(file, batch.at, &batch.header).map_err(io)? {
                    bad_padding.push((batch.at, batch.header));
                }
                let all = Records::of(&batch.header, file.seed, batch.payload);
                let sound = all.into_iter().all(|r| matches!(r, Ok(Found::Record(_))));
                if !sound {
                    let problem = "a record that was never intact";
                    damage.push(at(
                        &file.path,
                        batch.at,
                        &batch.header,
                        problem,
                        Loss::Entries,
                    ));
                }
            }
            Item::Damaged(bad) => {
                let loss = match bad.control {
                    _ if bad.last_seq <= checkpoint_last => Loss::Nothing,
                    _ if is_repeat(bad.readable.as_ref().map(|(header, _)| header)) => {
                        Loss::Nothing
                    }
                    Some(false) => Loss::Entries,
                    Some(true) | None => Loss::Control,
                };
                damage.push(describe(file, &bad, loss));
            }
        }
        Ok(())
    })?;
    report.bytes += end.at;
    report.batches += batches;
    report.records += records;
    report.damage.extend(damage);
    for (start, header) in bad_padding {
        let (offset, bytes) = padding(start, &header);
        report.damage.push(Damage {
            file: file.path.clone(),
            offset,
            bytes,
            problem: format!("padding of batch {} is not zero", header.seq),
            loss: Loss::Nothing,
        });
    }
    Ok(())
}

fn is_repeat(header: Option<&BatchHeader>) -> bool {
    header.is_some_and(|header| header.kind == Kind::Repeat)
}

fn at(path: &Path, offset: u64, header: &BatchHeader, problem: &str, loss: Loss) -> Damage {
    Damage {
        file: path.to_owned(),
        offset,
        bytes: BATCH_HEADER_LEN as u64 + u64::from(header.len),
        problem: problem.to_owned(),
        loss,
    }
}

fn padding_is_zero(file: &JournalFile, start: u64, header: &BatchHeader) -> io::Result<bool> {
    let (offset, len) = padding(start, header);
    let mut bytes = vec![0; usize::try_from(len).expect("less than a block")];
    file.file.read_exact_at(&mut bytes, offset)?;
    Ok(bytes.iter().all(|&byte| byte == 0))
}
