//! Making every node reachable, ordering nodes for locality, and writing the file.

use std::collections::VecDeque;

use holdfast_types::{DataType, Metric};

use super::{build::HnswParams, codes::Codebook};
use crate::{
    error::BuildError,
    file::{Kind, Writer, le_bytes},
    search::Cancel,
    vectors::VectorData,
};

/// Section tags.
pub(super) mod tag {
    pub(in crate::hnsw) const META: u32 = 1;
    pub(in crate::hnsw) const ORDER: u32 = 2;
    pub(in crate::hnsw) const ROWS: u32 = 3;
    pub(in crate::hnsw) const OFFSETS: u32 = 4;
    pub(in crate::hnsw) const LINKS: u32 = 5;
    pub(in crate::hnsw) const LEVEL_ENDS: u32 = 6;
    pub(in crate::hnsw) const LEVEL_NODES: u32 = 7;
    pub(in crate::hnsw) const LEVEL_OFFSETS: u32 = 8;
    pub(in crate::hnsw) const LEVEL_LINKS: u32 = 9;
    pub(in crate::hnsw) const CODES: u32 = 10;
    pub(in crate::hnsw) const ADDENDS: u32 = 11;
    pub(in crate::hnsw) const MEAN: u32 = 12;
}

/// Positions in the META section, which is an array of u32.
pub(super) mod meta {
    pub(in crate::hnsw) const ROWS: usize = 0;
    pub(in crate::hnsw) const DIM: usize = 1;
    pub(in crate::hnsw) const METRIC: usize = 2;
    pub(in crate::hnsw) const DATA_TYPE: usize = 3;
    pub(in crate::hnsw) const M: usize = 4;
    pub(in crate::hnsw) const EF_CONSTRUCTION: usize = 5;
    pub(in crate::hnsw) const LEVELS: usize = 6;
    pub(in crate::hnsw) const ENTRY: usize = 7;
    pub(in crate::hnsw) const CODED: usize = 8;
    pub(in crate::hnsw) const SCALE: usize = 9;
    pub(in crate::hnsw) const MAPPED: usize = 10;
    pub(in crate::hnsw) const WORDS: usize = 16;
}

/// The numbers of metrics in a file.
const METRICS: [(Metric, u32); 3] = [(Metric::L2, 1), (Metric::Ip, 2), (Metric::Cosine, 3)];

pub(super) fn metric_number(metric: Metric) -> Option<u32> {
    METRICS.iter().find(|(m, _)| *m == metric).map(|(_, n)| *n)
}

pub(super) fn metric_of(number: u32) -> Option<Metric> {
    METRICS.iter().find(|(_, n)| *n == number).map(|(m, _)| *m)
}

/// A graph by row, as it was grown.
#[derive(Default)]
pub(super) struct Grown {
    /// The highest level of a row.
    pub(super) levels: Vec<u8>,
    /// Links of a row, level by level from the base.
    pub(super) links: Vec<Vec<Vec<u32>>>,
}

/// Unreached parts of the graph that are tied in at their nearest reached row. Any more of them are tied
/// one to the next: such a graph is of equal rows, where any link is as good.
const NEAREST_TIES: usize = 64;

/// Rows in the order a breadth-first walk from `entry` reaches them, after adding the links that make
/// every row reachable.
fn reach_all(
    base: &mut [Vec<u32>],
    entry: u32,
    near: impl Fn(u32, u32) -> f32,
    cancel: &Cancel,
) -> Result<Vec<u32>, BuildError> {
    let n = base.len();
    let mut reached = vec![false; n];
    let mut order = Vec::with_capacity(n);
    let mut queue = VecDeque::new();
    let mut ties = 0;
    let mut next_unreached = 0;
    reached[entry as usize] = true;
    queue.push_back(entry);
    let mut last_tied = entry;
    loop {
        while let Some(row) = queue.pop_front() {
            order.push(row);
            for &to in &base[row as usize] {
                if !std::mem::replace(&mut reached[to as usize], true) {
                    queue.push_back(to);
                }
            }
        }
        while next_unreached < n && reached[next_unreached] {
            next_unreached += 1;
        }
        if next_unreached == n {
            return Ok(order);
        }
        cancel.check()?;
        let row = next_unreached as u32;
        let from = if ties < NEAREST_TIES {
            order
                .iter()
                .copied()
                .min_by(|&a, &b| near(row, a).total_cmp(&near(row, b)))
                .unwrap_or(entry)
        } else {
            last_tied
        };
        ties += 1;
        last_tied = row;
        base[from as usize].push(row);
        reached[row as usize] = true;
        queue.push_back(row);
    }
}

/// Lists one after the other.
struct Lists {
    offsets: Vec<u32>,
    links: Vec<u32>,
}

impl Lists {
    fn new() -> Self {
        Self {
            offsets: vec![0],
            links: Vec::new(),
        }
    }

    fn push(&mut self, list: impl Iterator<Item = u32>) -> Result<(), BuildError> {
        self.links.extend(list);
        let end =
            u32::try_from(self.links.len()).map_err(|_| BuildError::TooLarge { what: "links" })?;
        self.offsets.push(end);
        Ok(())
    }
}

/// Writes the file. `near` is the distance of two rows, as the graph was grown by.
#[expect(
    clippy::too_many_arguments,
    reason = "each is one part of the file, and the one caller has them apart"
)]
pub(super) fn freeze(
    grown: Grown,
    data: &VectorData<'_>,
    rows: Option<&[u32]>,
    metric: Metric,
    params: HnswParams,
    codes: Option<(&Codebook, &[Vec<i8>])>,
    near: impl Fn(u32, u32) -> f32,
    cancel: &Cancel,
) -> Result<Vec<u8>, BuildError> {
    let Grown { levels, mut links } = grown;
    let n = levels.len();
    let top = levels.iter().copied().max().unwrap_or(0);
    let entry = levels.iter().position(|&l| l == top).unwrap_or(0) as u32;

    let order = if n == 0 {
        Vec::new()
    } else {
        let mut base: Vec<Vec<u32>> = links
            .iter_mut()
            .map(|lists| lists.first_mut().map(std::mem::take).unwrap_or_default())
            .collect();
        let order = reach_all(&mut base, entry, near, cancel)?;
        for (lists, list) in links.iter_mut().zip(base) {
            if lists.is_empty() {
                lists.push(list);
            } else {
                lists[0] = list;
            }
        }
        order
    };
    let mut node_of = vec![0_u32; n];
    for (node, &row) in order.iter().enumerate() {
        node_of[row as usize] = node as u32;
    }

    let mut base = Lists::new();
    for &row in &order {
        let list = &links[row as usize][0];
        base.push(list.iter().map(|&to| node_of[to as usize]))?;
    }

    // Upper levels: the nodes of a level ascending, links as positions among them.
    let mut level_ends = Vec::new();
    let mut level_nodes: Vec<u32> = Vec::new();
    let mut upper = Lists::new();
    let mut entry_position = 0;
    for level in 1..=top {
        let nodes: Vec<u32> = (0..n as u32)
            .filter(|&node| levels[order[node as usize] as usize] >= level)
            .collect();
        for &node in &nodes {
            let row = order[node as usize] as usize;
            let list = links[row]
                .get(usize::from(level))
                .map_or(&[][..], Vec::as_slice);
            let positions = list
                .iter()
                .filter_map(|&to| nodes.binary_search(&node_of[to as usize]).ok())
                .map(|position| position as u32);
            upper.push(positions)?;
        }
        if level == top {
            entry_position = nodes.binary_search(&node_of[entry as usize]).unwrap_or(0);
        }
        level_nodes.extend(nodes);
        level_ends.push(level_nodes.len() as u32);
    }
    if top == 0 && n > 0 {
        entry_position = node_of[entry as usize] as usize;
    }

    let narrow = |x: usize| x as u32;
    let mut head = vec![0_u32; meta::WORDS];
    head[meta::ROWS] = narrow(n);
    head[meta::DIM] = narrow(data.dim());
    head[meta::METRIC] = metric_number(metric).unwrap_or(0);
    head[meta::DATA_TYPE] = DataType::wire_number(data.data_type()).cast_unsigned();
    head[meta::M] = narrow(params.m);
    head[meta::EF_CONSTRUCTION] = narrow(params.ef_construction);
    head[meta::LEVELS] = u32::from(top);
    head[meta::ENTRY] = narrow(entry_position);
    head[meta::CODED] = u32::from(codes.is_some());
    head[meta::SCALE] = codes.map_or(0, |(book, _)| book.scale.to_bits());
    head[meta::MAPPED] = u32::from(rows.is_some());

    let mut writer = Writer::new(Kind::Hnsw);
    writer.section(tag::META, le_bytes(&head));
    writer.section(tag::ORDER, le_bytes(&order));
    if let Some(rows) = rows {
        writer.section(tag::ROWS, le_bytes(rows));
    }
    writer.section(tag::OFFSETS, le_bytes(&base.offsets));
    writer.section(tag::LINKS, le_bytes(&base.links));
    writer.section(tag::LEVEL_ENDS, le_bytes(&level_ends));
    writer.section(tag::LEVEL_NODES, le_bytes(&level_nodes));
    writer.section(tag::LEVEL_OFFSETS, le_bytes(&upper.offsets));
    writer.section(tag::LEVEL_LINKS, le_bytes(&upper.links));
    if let Some((book, codes)) = codes {
        let mut stored = Vec::new();
        for &row in &order {
            Codebook::store(book.of(&codes[row as usize]), &mut stored);
        }
        writer.section(tag::CODES, stored);
        if metric == Metric::L2 {
            let addends: Vec<f32> = order
                .iter()
                .map(|&row| book.addend(book.of(&codes[row as usize])))
                .collect();
            writer.section(tag::ADDENDS, le_bytes(&addends));
        }
        writer.section(tag::MEAN, le_bytes(&book.mean));
    }
    writer.finish()
}
