//! Orders of channels in which those that can share their zeros lie in one block.

use super::cut::on_itself;
use super::{DriveError, Observer, Prepared, Samples};
use sparsec_analysis::{Group, Removal, UnitId};
use sparsec_ir::Model;
use sparsec_passes::mask::{Rows, arranged, rows};
use sparsec_plan::Pattern;
use sparsec_runtime::Runtime;
use std::collections::BTreeMap;

/// `removal` with an order for each group whose units are outputs of weights that blocks of the pattern fit: one by which
/// little is lost in `model`, which has lost what leaves. Groups of which a unit has several slots on such an axis keep
/// theirs: blocks lie along slots.
pub fn order_for_masks(
    dense: &Prepared,
    removal: &Removal,
    model: &Model,
    (pattern, density): (Pattern, f64),
    runtime: &dyn Runtime,
    samples: &Samples,
    watch: &dyn Observer,
) -> Result<Removal, DriveError> {
    let mut out = removal.clone();
    if pattern.outputs() < 2 {
        return Ok(out);
    }
    let rows = on_itself(dense, model, (runtime, samples), (watch, "order"), |cx| Ok(rows(cx, model, pattern)?))?;
    for (id, group) in dense.channels.groups.iter().enumerate() {
        let units: Vec<UnitId> = group.units.iter().copied().filter(|u| !removal.leaves(*u)).collect();
        let found: Vec<Vec<Vec<f64>>> =
            rows.iter().filter_map(|r| of_units(dense, removal, r, (group, &units))).collect();
        if found.is_empty() || !dense.channels.interchangeable(id) {
            continue;
        }
        let all: Vec<&[Vec<f64>]> = found.iter().map(Vec::as_slice).collect();
        let order = arranged(&all, pattern.outputs(), density);
        let units: Vec<UnitId> = order.into_iter().map(|i| units[i]).collect();
        out.arrange(&dense.channels, id, &units)
            .map_err(|source| DriveError::Order { id: group.id.clone(), source })?;
    }
    Ok(out)
}

/// The numbers of each unit, where the outputs of a weight are the units of a group that stay, each one slot.
fn of_units(
    dense: &Prepared,
    removal: &Removal,
    rows: &Rows,
    (group, units): (&Group, &[UnitId]),
) -> Option<Vec<Vec<f64>>> {
    let axis = dense.channels.axes.find(rows.weight, rows.axis)?;
    if !group.axes.contains(&(axis, 1)) {
        return None;
    }
    let all = || (0..dense.channels.axes.len(axis)).collect();
    let slots = dense.channels.kept(axis, removal).unwrap_or_else(all);
    let mut of: BTreeMap<UnitId, &Vec<f64>> = BTreeMap::new();
    for (slot, rises) in slots.into_iter().zip(&rows.rises) {
        let [unit] = dense.channels.cut(axis, slot) else { return None };
        of.insert(*unit, rises);
    }
    (of.len() == units.len()).then(|| units.iter().filter_map(|u| of.get(u).map(|r| r.to_vec())).collect::<Vec<_>>())
}
