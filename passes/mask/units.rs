//! What becomes zero together in a weight, under a pattern.

use crate::recover::{Layout, Map, Skipped};
use sparsec_plan::Pattern;
use std::ops::Range;
use thiserror::Error;

/// Why a weight stays dense.
#[derive(Clone, Debug, PartialEq, Error)]
pub enum Unmaskable {
    /// The weight is not re-solved either.
    #[error("{0}")]
    NotSolved(Skipped),
    /// A block would reach over outputs that read other inputs.
    #[error("only {outputs} of its outputs read the same inputs, fewer than a block of {block}")]
    NoBlock {
        /// Outputs that read the same inputs.
        outputs: usize,
        /// Outputs of a block.
        block: usize,
    },
    /// Fewer inputs than the pattern counts.
    #[error("an output reads {inputs} inputs, fewer than {of}")]
    NoRun {
        /// Inputs.
        inputs: usize,
        /// Inputs that the pattern counts.
        of: u32,
    },
    /// An output reads one channel, which a kernel that skips zeros would have to read all the same.
    #[error("each of its outputs reads one channel: there is nothing to gain")]
    Depthwise,
    /// The node's result is none of the model's: a recurrence, whose input weights no kernel reads on their own.
    #[error("it lies inside a node")]
    Inside,
}

/// The units of a weight: for each group of the node, block of outputs, and unknown, in this order, one that is zero or
/// not for all outputs of the block.
pub(crate) struct Units {
    pub(crate) groups: usize,
    /// Unknowns of one output.
    pub(crate) width: usize,
    /// Columns of a group's map that belong together.
    pub(crate) blocks: Vec<Vec<usize>>,
    /// For N of M: the run of inputs that each unknown belongs to, and how many of a run stay.
    pub(crate) runs: Option<(Vec<usize>, usize)>,
    pub(crate) pattern: Pattern,
    /// Unknowns that no run is cut by.
    pub(crate) grain: usize,
}

impl Units {
    pub(crate) fn of(layout: &Layout, pattern: Pattern) -> Result<Self, Unmaskable> {
        let (block, outputs) = (pattern.outputs(), layout.per_group);
        if layout.inputs == 1 && layout.groups > 1 {
            return Err(Unmaskable::Depthwise);
        }
        if outputs < block {
            return Err(Unmaskable::NoBlock { outputs, block });
        }
        let (spread, taps) = (layout.spread, layout.taps);
        // Each tap of a scattering window is an output of its own.
        let columns = |(from, tap): (usize, usize)| {
            (from..(from + block).min(outputs)).map(|o| o * spread + tap).collect::<Vec<usize>>()
        };
        let starts = (0..outputs).step_by(block).flat_map(|from| (0..spread).map(move |tap| (from, tap)));
        let blocks = starts.map(columns).collect();
        let (mut runs, mut grain) = (None, 1);
        if let Pattern::Of { stay, of } = pattern {
            if layout.inputs < of as usize {
                return Err(Unmaskable::NoRun { inputs: layout.inputs, of });
            }
            // Inputs in a row at the same tap.
            let run = |row: usize| row / taps / of as usize * taps + row % taps;
            runs = Some(((0..layout.width()).map(run).collect(), stay as usize));
            grain = taps * of as usize;
        }
        Ok(Self { groups: layout.groups, width: layout.width(), blocks, runs, pattern, grain })
    }
    /// Number of units.
    pub(crate) fn count(&self) -> usize {
        self.groups * self.blocks.len() * self.width
    }
    /// Units of one block of a group.
    pub(crate) fn of_block(&self, group: usize, block: usize) -> Range<usize> {
        let from = (group * self.blocks.len() + block) * self.width;
        from..from + self.width
    }
    /// Units that stay at a share.
    pub(crate) fn stay(&self, density: f64) -> usize {
        // The last digits of a share that was computed are no unit.
        ((density * self.count() as f64 + 1e-6).floor() as usize).clamp(1, self.count())
    }
    /// Whether so many units may be other than zero at a share.
    pub(crate) fn allows(&self, nonzero: &[bool], density: f64) -> bool {
        let Some((runs, stay)) = &self.runs else {
            return nonzero.iter().filter(|n| **n).count() <= self.stay(density);
        };
        nonzero.chunks(self.width.max(1)).all(|block| {
            let mut left = vec![*stay; self.width];
            let take = |row: usize| left[runs[row]].checked_sub(1).map(|n| left[runs[row]] = n).is_some();
            (0..block.len()).filter(|row| block[*row]).all(take)
        })
    }
    /// Zeros what does not stay in the map of a group.
    pub(crate) fn zero(&self, map: &mut Map, group: usize, kept: &[bool]) {
        for (b, columns) in self.blocks.iter().enumerate() {
            for (row, _) in kept[self.of_block(group, b)].iter().enumerate().filter(|(_, kept)| !**kept) {
                columns.iter().for_each(|c| map.weight.set(row, *c, 0.0));
            }
        }
    }
    /// Which units of a group's map are not all zero, block by block.
    pub(crate) fn nonzero(&self, map: &Map) -> Vec<bool> {
        let unit = |columns: &[usize], row: usize| columns.iter().any(|c| map.weight.get(row, *c) != 0.0);
        self.blocks.iter().flat_map(|columns| (0..self.width).map(move |row| unit(columns, row))).collect()
    }
}
