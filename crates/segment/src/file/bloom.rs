//! A split-block Bloom filter: one 32-byte block per key, one bit in each of its eight words.
//!
//! Putze, Sanders, Singler, *Cache-, Hash- and Space-Efficient Bloom Filters* (2007), in the form that
//! the Parquet format uses; the salts are that format's.

const BLOCK_BYTES: usize = 32;
/// About one false positive in a hundred.
const BITS_PER_KEY: usize = 10;
const SALTS: [u32; 8] = [
    0x47b6_137b,
    0x4497_4d91,
    0x8824_ad5b,
    0xa2b7_289d,
    0x7054_95c7,
    0x2df1_424b,
    0x9efc_4947,
    0x5c6b_fb31,
];

/// The filter over these hashes, a multiple of 64 bytes so that what follows it stays aligned.
pub(crate) fn build(hashes: impl ExactSizeIterator<Item = u64>) -> Vec<u8> {
    let bytes = (hashes.len() * BITS_PER_KEY)
        .div_ceil(8)
        .next_multiple_of(2 * BLOCK_BYTES)
        .max(2 * BLOCK_BYTES);
    let mut filter = vec![0_u8; bytes];
    for hash in hashes {
        let start = block(hash, bytes);
        for (word, bit) in bits(hash).into_iter().enumerate() {
            filter[start + word * 4 + bit / 8] |= 1 << (bit % 8);
        }
    }
    filter
}

/// Whether a key of this hash may have been put in. `filter` is a non-empty multiple of 32 bytes.
pub(crate) fn may_contain(filter: &[u8], hash: u64) -> bool {
    let start = block(hash, filter.len());
    bits(hash)
        .into_iter()
        .enumerate()
        .all(|(word, bit)| filter[start + word * 4 + bit / 8] & (1 << (bit % 8)) != 0)
}

/// Start of the key's block. The upper half of the hash chooses: the lower half also chose the shard.
fn block(hash: u64, bytes: usize) -> usize {
    let blocks = (bytes / BLOCK_BYTES) as u64;
    let index = ((hash >> 32) * blocks) >> 32;
    index as usize * BLOCK_BYTES
}

/// The bit to set in each of a block's words.
fn bits(hash: u64) -> [usize; 8] {
    SALTS.map(|salt| ((hash as u32).wrapping_mul(salt) >> 27) as usize)
}

#[cfg(test)]
mod tests {
    use holdfast_types::Pk;

    use super::*;

    #[test]
    fn every_key_is_found_and_few_strangers_are() {
        let hashes: Vec<u64> = (0..10_000).map(|i| Pk::Int(i).stable_hash()).collect();
        let filter = build(hashes.iter().copied());
        assert!(hashes.iter().all(|h| may_contain(&filter, *h)));
        let strangers = (10_000..30_000)
            .filter(|i| may_contain(&filter, Pk::Int(*i).stable_hash()))
            .count();
        assert!(strangers < 600, "{strangers} of 20000 strangers");
    }
}
