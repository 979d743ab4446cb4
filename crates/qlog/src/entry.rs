//! One entry of the log, and the checksum that travels with it from the writer to the last reader.

use bytes::Bytes;
use holdfast_types::{ChannelId, Lsn, Timestamp};

/// Who sent an append and which of theirs it is: a repeated one is recognised by this.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RequestId {
    /// The client, chosen at random once by it.
    pub client: u64,
    /// Counts the client's requests.
    pub sequence: u64,
}

/// One entry: immutable from the moment the writer has made it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Its position in the log.
    pub lsn: Lsn,
    /// Its stamp; strictly rising along the log.
    pub tick: Timestamp,
    /// The request it comes from, where the client named one.
    pub request: Option<RequestId>,
    /// Its bytes.
    pub payload: Bytes,
    /// CRC-32C made by the writer over the log, everything above and the payload. Log-nodes, readers and
    /// uploaded objects carry it on and check it; nobody but the writer ever computes it anew. The segment and
    /// the epoch are not in it: an entry that is carried over to the next segment keeps it.
    pub checksum: u32,
}

impl Entry {
    /// An entry of `log`, with its checksum.
    #[must_use]
    pub fn new(
        log: ChannelId,
        lsn: Lsn,
        tick: Timestamp,
        request: Option<RequestId>,
        payload: Bytes,
    ) -> Self {
        let checksum = checksum(log, lsn, tick, request, &payload);
        Self {
            lsn,
            tick,
            request,
            payload,
            checksum,
        }
    }

    /// Whether this is what the writer of `log` made.
    #[must_use]
    pub fn is_intact(&self, log: ChannelId) -> bool {
        self.checksum == checksum(log, self.lsn, self.tick, self.request, &self.payload)
    }
}

fn checksum(
    log: ChannelId,
    lsn: Lsn,
    tick: Timestamp,
    request: Option<RequestId>,
    payload: &[u8],
) -> u32 {
    let mut head = [0; 4 + 8 + 8 + 1 + 16 + 8];
    let mut at = 0;
    let mut put = |bytes: &[u8]| {
        head[at..at + bytes.len()].copy_from_slice(bytes);
        at += bytes.len();
    };
    put(&log.0.to_le_bytes());
    put(&lsn.0.to_le_bytes());
    put(&tick.0.to_le_bytes());
    put(&[u8::from(request.is_some())]);
    let RequestId { client, sequence } = request.unwrap_or(RequestId {
        client: 0,
        sequence: 0,
    });
    put(&client.to_le_bytes());
    put(&sequence.to_le_bytes());
    put(&(payload.len() as u64).to_le_bytes());
    crc32c::crc32c_append(crc32c::crc32c(&head), payload)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_of_anything_is_noticed() {
        let log = ChannelId(3);
        let id = RequestId {
            client: 1,
            sequence: 2,
        };
        let good = Entry::new(
            log,
            Lsn(7),
            Timestamp(9),
            Some(id),
            Bytes::from_static(b"row"),
        );
        assert!(good.is_intact(log));
        assert!(!good.is_intact(ChannelId(4)));
        let changes: [fn(&mut Entry); 5] = [
            |e| e.lsn = Lsn(8),
            |e| e.tick = Timestamp(8),
            |e| e.request = None,
            |e| e.payload = Bytes::from_static(b"raw"),
            |e| e.checksum ^= 1,
        ];
        for change in changes {
            let mut bad = good.clone();
            change(&mut bad);
            assert!(!bad.is_intact(log), "{bad:?}");
        }
    }
}
