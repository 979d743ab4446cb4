//! Opening the file, checking all of it, and searching.

use std::ops::Bound;

use bytes::Bytes;
use holdfast_types::{DataType, Metric};

use super::{
    codes::{CodeQuery, PAD},
    freeze::{meta, metric_of, tag},
    rows::float_query,
    walk::{
        Candidate, Links, NodeDistance, Side, Wanted, WantedBeyond, descend, nearest,
        nearest_beyond, nearest_passing, prefetch,
    },
};
use crate::{
    allow::Allow,
    error::DamagedIndex,
    file::{Kind, Reader, Section},
    kernel::{Scan, with_distance},
    search::{Cancel, Cancelled, Neighbor, TopK, Within},
    vectors::{QueryVector, VectorData},
};

/// Graphs with at most this many rows are not worth walking.
const SCANNED: usize = 128;
/// Fewest distances a filtered walk may take before a scan takes over.
const BUDGET_MIN: usize = 1024;
/// Rows compared between two looks at the cancel flag.
const ROWS_PER_POLL: usize = 1024;
/// Levels above the base at most.
const LEVELS_MAX: usize = 64;

/// A graph that was built, opened in place. Cheap to clone: the bytes are shared.
#[derive(Clone)]
pub struct FrozenHnsw {
    metric: Metric,
    data_type: DataType,
    dim: usize,
    len: usize,
    entry: usize,
    order: Section<u32>,
    rows: Option<Section<u32>>,
    offsets: Section<u32>,
    links: Section<u32>,
    /// From level 1 up: where its nodes are in `level_nodes`.
    levels: Vec<std::ops::Range<usize>>,
    level_nodes: Section<u32>,
    level_offsets: Section<u32>,
    level_links: Section<u32>,
    codes: Option<Codes>,
    file_bytes: usize,
}

#[derive(Clone)]
struct Codes {
    scale: f32,
    stride: usize,
    codes: Section<u8>,
    addends: Option<Section<f32>>,
    mean: Section<f32>,
}

impl std::fmt::Debug for FrozenHnsw {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("FrozenHnsw")
            .field("metric", &self.metric)
            .field("data_type", &self.data_type)
            .field("dim", &self.dim)
            .field("len", &self.len)
            .finish_non_exhaustive()
    }
}

impl FrozenHnsw {
    /// Opens an index. The large parts are read where they are: bytes of a memory map stay mapped.
    ///
    /// # Errors
    /// [`DamagedIndex`] when a checksum, a length, a link or any other number is wrong. What was opened
    /// cannot lead a search out of bounds.
    pub fn open(bytes: Bytes) -> Result<Self, DamagedIndex> {
        let file_bytes = bytes.len();
        let file = Reader::open(bytes, Kind::Hnsw)?;
        let head = file.array::<u32>(tag::META, "meta", meta::WORDS)?;
        let word = |i: usize| head.get()[i];
        let metric = metric_of(word(meta::METRIC))
            .ok_or_else(|| head.damaged(meta::METRIC, "unknown metric"))?;
        let data_type = DataType::from_wire_number(word(meta::DATA_TYPE).cast_signed())
            .filter(|&t| metric.applies_to(t))
            .ok_or_else(|| head.damaged(meta::DATA_TYPE, "not a type of this metric"))?;
        let dim = word(meta::DIM) as usize;
        if dim == 0 || dim > holdfast_types::limits::MAX_DIM as usize {
            return Err(head.damaged(meta::DIM, format!("{dim} dimensions")));
        }
        let len = word(meta::ROWS) as usize;
        if len >= 1 << 31 {
            return Err(head.damaged(meta::ROWS, format!("{len} rows")));
        }

        let order = file.array::<u32>(tag::ORDER, "order", len)?;
        check_permutation(&order)?;
        let rows = match word(meta::MAPPED) {
            0 => None,
            1 => Some(file.array::<u32>(tag::ROWS, "rows", len)?),
            other => return Err(head.damaged(meta::MAPPED, format!("{other} is no flag"))),
        };
        let offsets = file.array::<u32>(tag::OFFSETS, "link offsets", len + 1)?;
        let links = file.whole::<u32>(tag::LINKS, "links")?;
        offsets.check_offsets(links.get().len())?;
        links.check_below(len)?;

        let level_count = word(meta::LEVELS) as usize;
        if level_count > LEVELS_MAX {
            return Err(head.damaged(meta::LEVELS, format!("{level_count} levels")));
        }
        let level_ends = file.array::<u32>(tag::LEVEL_ENDS, "level ends", level_count)?;
        let level_nodes = file.whole::<u32>(tag::LEVEL_NODES, "level nodes")?;
        let all_level_nodes = level_nodes.get().len();
        let level_offsets = file.array::<u32>(
            tag::LEVEL_OFFSETS,
            "level link offsets",
            all_level_nodes + 1,
        )?;
        let level_links = file.whole::<u32>(tag::LEVEL_LINKS, "level links")?;
        level_offsets.check_offsets(level_links.get().len())?;
        let levels = check_levels(&level_ends, &level_nodes, &level_offsets, &level_links, len)?;
        let entry = word(meta::ENTRY) as usize;
        let entry_bound = levels.last().map_or(len, ExactSizeIterator::len);
        if entry >= entry_bound.max(1) {
            return Err(head.damaged(meta::ENTRY, format!("{entry} is not below {entry_bound}")));
        }

        let codes = match word(meta::CODED) {
            0 => None,
            1 => {
                let scale = f32::from_bits(word(meta::SCALE));
                if !scale.is_normal() || scale < 0.0 {
                    return Err(head.damaged(meta::SCALE, format!("{scale} is no scale")));
                }
                let stride = dim.next_multiple_of(PAD);
                Some(Codes {
                    scale,
                    stride,
                    codes: file.array::<u8>(tag::CODES, "codes", len * stride)?,
                    addends: match metric {
                        Metric::L2 => Some(file.array::<f32>(tag::ADDENDS, "addends", len)?),
                        _ => None,
                    },
                    mean: file.array::<f32>(tag::MEAN, "mean", dim)?,
                })
            }
            other => return Err(head.damaged(meta::CODED, format!("{other} is no flag"))),
        };
        Ok(Self {
            metric,
            data_type,
            dim,
            len,
            entry,
            order,
            rows,
            offsets,
            links,
            levels,
            level_nodes,
            level_offsets,
            level_links,
            codes,
            file_bytes,
        })
    }

    /// The metric the graph was built by.
    #[must_use]
    pub fn metric(&self) -> Metric {
        self.metric
    }

    /// Type of the vectors the graph was built over.
    #[must_use]
    pub fn data_type(&self) -> DataType {
        self.data_type
    }

    /// Dimensions of the vectors the graph was built over.
    #[must_use]
    pub fn dim(&self) -> usize {
        self.dim
    }

    /// Number of rows.
    #[must_use]
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there is no row.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Bytes of the file.
    #[must_use]
    pub fn file_bytes(&self) -> usize {
        self.file_bytes
    }

    /// Whether the graph is walked by 8-bit codes; otherwise by the full vectors.
    #[must_use]
    pub fn is_coded(&self) -> bool {
        self.codes.is_some()
    }

    /// Whether the index can be searched with these vectors: as many, of the same type and dimension.
    #[must_use]
    pub fn fits(&self, data: &VectorData<'_>) -> bool {
        data.len() == self.len
            && (self.is_empty() || data.dim() == self.dim)
            && data.data_type() == self.data_type
    }

    /// The `k` nearest allowed rows inside the window that a walk of breadth `ef` finds: ascending
    /// distance, then row. Rows, and bits of `allow`, are segment rows. Distances are exact: `data` is what
    /// the index was built over. `ef` below `k` counts as `k`.
    ///
    /// # Errors
    /// [`Cancelled`] soon after the flag is raised.
    ///
    /// # Panics
    /// If `data` does not fit the index ([`Self::fits`]) or the query does not fit the data
    /// ([`VectorData::check_query`]).
    #[expect(
        clippy::too_many_arguments,
        reason = "a search is all of these, and its callers have them apart"
    )]
    pub fn search(
        &self,
        data: &VectorData<'_>,
        query: &QueryVector,
        k: usize,
        ef: usize,
        allow: Allow<'_>,
        within: &Within,
        cancel: &Cancel,
    ) -> Result<Vec<Neighbor>, Cancelled> {
        assert!(self.fits(data), "the vectors are not those of the index");
        cancel.check()?;
        if k == 0 || self.is_empty() {
            return Ok(Vec::new());
        }
        let search = Search {
            index: self,
            query,
            k,
            ef: ef.max(k),
            allow,
            within,
            cancel,
        };
        with_distance(data, query, self.metric, search)
    }

    fn base(&self) -> Links<'_> {
        Links {
            offsets: self.offsets.get(),
            links: self.links.get(),
        }
    }

    /// The node at the base from which to walk.
    fn start<D: NodeDistance>(&self, distance: &D) -> u32 {
        let mut position = self.entry;
        let mut node = position as u32;
        for (depth, range) in self.levels.iter().rev().enumerate() {
            let nodes = &self.level_nodes.get()[range.clone()];
            if depth > 0 {
                // Checked on opening: every node of a level is on the level below.
                position = nodes.binary_search(&node).unwrap_or(0);
            }
            let links = Links {
                offsets: &self.level_offsets.get()[range.start..=range.end],
                links: self.level_links.get(),
            };
            node = nodes[descend(nodes, links, position, distance)];
        }
        node
    }

    #[inline(always)]
    fn row_of_data(&self, data_row: u32) -> u32 {
        match &self.rows {
            None => data_row,
            Some(rows) => rows.get()[data_row as usize],
        }
    }
}

fn check_permutation(order: &Section<u32>) -> Result<(), DamagedIndex> {
    let n = order.get().len();
    let mut seen = vec![false; n];
    for (i, &row) in order.get().iter().enumerate() {
        match seen.get_mut(row as usize) {
            Some(seen) if !*seen => *seen = true,
            Some(_) => return Err(order.damaged(i, format!("row {row} is there twice"))),
            None => return Err(order.damaged(i, format!("{row} is not below {n}"))),
        }
    }
    Ok(())
}

/// The nodes of each level: ascending, below `len`, on the level below too; links are positions in it.
fn check_levels(
    ends: &Section<u32>,
    nodes: &Section<u32>,
    offsets: &Section<u32>,
    links: &Section<u32>,
    len: usize,
) -> Result<Vec<std::ops::Range<usize>>, DamagedIndex> {
    let mut levels: Vec<std::ops::Range<usize>> = Vec::new();
    let mut start = 0;
    for (i, &end) in ends.get().iter().enumerate() {
        let end = end as usize;
        if end <= start || end > nodes.get().len() {
            return Err(ends.damaged(i, format!("level ends at {end}")));
        }
        let here = &nodes.get()[start..end];
        if let Some(at) = here.windows(2).position(|w| w[0] >= w[1]) {
            return Err(nodes.damaged(start + at, "nodes do not ascend"));
        }
        if let Some(at) = here.iter().position(|&x| x as usize >= len) {
            return Err(nodes.damaged(start + at, format!("not below {len}")));
        }
        if let Some(below) = levels.last() {
            let below = &nodes.get()[below.clone()];
            if let Some(at) = here.iter().position(|x| below.binary_search(x).is_err()) {
                return Err(nodes.damaged(start + at, "not on the level below"));
            }
        }
        let (from, to) = (offsets.get()[start] as usize, offsets.get()[end] as usize);
        if let Some(at) = links.get()[from..to]
            .iter()
            .position(|&p| p as usize >= here.len())
        {
            return Err(links.damaged(from + at, format!("not below {}", here.len())));
        }
        levels.push(start..end);
        start = end;
    }
    if start != nodes.get().len() {
        return Err(nodes.damaged(start, "nodes of no level"));
    }
    Ok(levels)
}

struct ByCodes<'a> {
    query: &'a CodeQuery,
    codes: &'a [u8],
    addends: Option<&'a [f32]>,
}

impl NodeDistance for ByCodes<'_> {
    #[inline(always)]
    fn distance(&self, node: u32) -> f32 {
        let stride = self.query.stride();
        let at = node as usize * stride;
        let addend = self.addends.map_or(0.0, |a| a[node as usize]);
        self.query.distance(&self.codes[at..at + stride], addend)
    }

    #[inline(always)]
    fn prefetch(&self, node: u32) {
        let stride = self.query.stride();
        let at = node as usize * stride;
        prefetch(&self.codes[at..at + stride]);
        if let Some(addends) = self.addends {
            prefetch(&addends[node as usize..=node as usize]);
        }
    }
}

struct ByRows<'a, F> {
    order: &'a [u32],
    exact: &'a F,
}

impl<F: Fn(usize) -> f32> NodeDistance for ByRows<'_, F> {
    #[inline(always)]
    fn distance(&self, node: u32) -> f32 {
        (self.exact)(self.order[node as usize] as usize)
    }

    #[inline(always)]
    fn prefetch(&self, _node: u32) {}
}

struct Search<'a> {
    index: &'a FrozenHnsw,
    query: &'a QueryVector,
    k: usize,
    ef: usize,
    allow: Allow<'a>,
    within: &'a Within,
    cancel: &'a Cancel,
}

impl Scan for Search<'_> {
    type Out = Result<Vec<Neighbor>, Cancelled>;

    fn run(self, exact: impl Fn(usize) -> f32) -> Self::Out {
        let index = self.index;
        if index.len <= self.ef.max(SCANNED) {
            return self.scan(exact);
        }
        // Which side of a window's near end a node is on is told by its distance, which must then be exact.
        let beyond = self.within.from != Bound::Unbounded;
        let found = match &index.codes {
            Some(codes) if !beyond => {
                let wide = float_query(self.query, index.metric);
                let query = CodeQuery::new(&wide, index.metric, codes.scale, codes.mean.get());
                debug_assert_eq!(query.stride(), codes.stride);
                let by_codes = ByCodes {
                    query: &query,
                    codes: codes.codes.get(),
                    addends: codes.addends.as_ref().map(Section::get),
                };
                let found = self.walk(&by_codes)?;
                found.map(|found| self.compare_exactly(&found, &exact))
            }
            _ => {
                let by_rows = ByRows {
                    order: index.order.get(),
                    exact: &exact,
                };
                let found = if beyond {
                    self.walk_beyond(&by_rows)?
                } else {
                    self.walk(&by_rows)?
                };
                found.map(|found| found.iter().map(|c| self.hit(c.node, c.distance)).collect())
            }
        };
        match found {
            Some(hits) => Ok(self.best(hits)),
            None => self.scan(exact),
        }
    }
}

impl Search<'_> {
    /// The nearest allowed nodes. `None` when a scan is the better way.
    fn walk<D: NodeDistance>(&self, distance: &D) -> Result<Option<Vec<Candidate>>, Cancelled> {
        let index = self.index;
        let start = index.start(distance);
        let bits = match self.allow {
            Allow::All => {
                let found = nearest(index.base(), start, self.ef, distance, self.cancel)?;
                // A walk that was cut off from part of the graph.
                let enough = found.len() >= self.k.min(index.len);
                return Ok(enough.then_some(found));
            }
            Allow::Bits(bits) => bits,
        };
        let allowed = self.allowed();
        if allowed == 0 {
            return Ok(Some(Vec::new()));
        }
        let settled = self.settled(allowed);
        let wanted = Wanted {
            settled,
            keep: settled.max(self.rescored()),
            budget: allowed.max(BUDGET_MIN),
        };
        let passes = |node: u32| bits.get(self.row(node) as usize);
        let found = nearest_passing(index.base(), start, &wanted, distance, passes, self.cancel)?;
        Ok(found.filter(|found| found.len() >= self.k.min(allowed)))
    }

    /// The nearest allowed nodes from the near end of the window on. `None` when a scan is the better way.
    fn walk_beyond<D: NodeDistance>(
        &self,
        distance: &D,
    ) -> Result<Option<Vec<Candidate>>, Cancelled> {
        let index = self.index;
        let allowed = self.allowed();
        if allowed == 0 {
            return Ok(Some(Vec::new()));
        }
        let wanted = WantedBeyond {
            settled: self.settled(allowed),
            k: self.k,
            budget: allowed.max(BUDGET_MIN),
        };
        // The far end does not matter here: what lies behind it is settled all the same, and then left out.
        let near_end = Within {
            from: self.within.from,
            to: Bound::Unbounded,
        };
        let side = |node: u32, distance: f32| {
            if !self.allow.allows(self.row(node) as usize) {
                Side::Refused
            } else if near_end.contains(distance) {
                Side::Beyond
            } else {
                Side::Nearer
            }
        };
        let start = index.start(distance);
        nearest_beyond(index.base(), start, &wanted, distance, side, self.cancel)
    }

    /// Number of rows that are allowed.
    fn allowed(&self) -> usize {
        match self.allow {
            Allow::All => self.index.len,
            Allow::Bits(bits) => bits.count().min(self.index.len),
        }
    }

    /// How many allowed nodes a walk settles when `allowed` are.
    ///
    /// A walk of breadth ef explores ef nodes around the query. Of those that share p passes; measured, the
    /// same recall needs ef * sqrt(p) passing ones to be settled.
    fn settled(&self, allowed: usize) -> usize {
        let share = allowed as f64 / self.index.len as f64;
        ((self.ef as f64 * share.sqrt()).ceil() as usize).max(self.k)
    }

    /// How many of the best by codes are compared exactly.
    fn rescored(&self) -> usize {
        self.k + self.k.max(20)
    }

    fn compare_exactly(&self, found: &[Candidate], exact: &impl Fn(usize) -> f32) -> Vec<Neighbor> {
        let order = self.index.order.get();
        found
            .iter()
            .take(self.rescored())
            .map(|c| self.hit(c.node, exact(order[c.node as usize] as usize)))
            .collect()
    }

    fn hit(&self, node: u32, distance: f32) -> Neighbor {
        Neighbor {
            row: self.row(node),
            distance,
        }
    }

    #[inline(always)]
    fn row(&self, node: u32) -> u32 {
        self.index
            .row_of_data(self.index.order.get()[node as usize])
    }

    fn best(&self, mut hits: Vec<Neighbor>) -> Vec<Neighbor> {
        hits.retain(|hit| self.within.contains(hit.distance));
        hits.sort_unstable();
        hits.truncate(self.k);
        hits
    }

    /// Compares every allowed row exactly.
    fn scan(&self, exact: impl Fn(usize) -> f32) -> Result<Vec<Neighbor>, Cancelled> {
        let mut top = TopK::new(self.k, self.index.len);
        for data_row in 0..self.index.len {
            if data_row % ROWS_PER_POLL == 0 {
                self.cancel.check()?;
            }
            let row = self.index.row_of_data(data_row as u32);
            if !self.allow.allows(row as usize) {
                continue;
            }
            let distance = exact(data_row);
            if self.within.contains(distance) {
                top.offer(Neighbor { row, distance });
            }
        }
        Ok(top.into_sorted())
    }
}
