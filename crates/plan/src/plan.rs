//! The plan file.

use crate::{Concessions, MaskPlan, Ordered};
use serde::{Deserialize, Serialize};
use serde_saphyr::{DefaultMessageFormatter, MessageFormatter};
use sparsec_analysis::{Channels, OrderError, Removal, UnitId};
use std::collections::BTreeMap;
use thiserror::Error;

/// Form of the plans that this build writes and reads.
const SCHEMA: &str = "sparsec/plan@1";

/// Which units of each group stay. Groups that are not listed stay whole.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct Plan {
    /// Form of the file: `sparsec/plan@1`.
    pub schema: String,
    /// SHA-256 of the model file that the plan was made for; checked when it is given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub model_sha256: Option<String>,
    /// Target that the plan was made for; for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target: Option<String>,
    /// What the user allowed beyond exact cuts: the groups are those of the model under it.
    #[serde(default, skip_serializing_if = "Concessions::is_empty")]
    pub concessions: Concessions,
    /// What is kept of each group.
    #[serde(default)]
    pub groups: Vec<GroupPlan>,
    /// Branches that are dropped whole, as `sparsec inspect --groups` names them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub branches: Vec<String>,
    /// Weights of the smaller model that are partly zero.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub masks: Vec<MaskPlan>,
}

/// What is kept of one group.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GroupPlan {
    /// Id of the group, as `sparsec inspect --groups` prints it.
    pub id: String,
    /// The layers that make its units; for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub layers: Option<String>,
    /// Units that the group has in the model.
    pub units: u32,
    /// Units that stay, by their original number, in the order in which they lie in the smaller model.
    pub keep: Ordered,
    /// Why not more was cut; for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
}

/// Why a plan cannot be read or applied.
#[derive(Debug, Error)]
pub enum PlanError {
    /// The text is not a plan.
    #[error("not a plan: line {line}, column {column}: {message}")]
    Syntax {
        /// Line, from 1; 0 where it is not known.
        line: u64,
        /// Column, from 1; 0 where it is not known.
        column: u64,
        /// What the parser says.
        message: String,
    },
    /// A plan of another form.
    #[error("the plan is of form `{found}`, and this build reads `{expected}`")]
    Schema {
        /// Form that the file states.
        found: String,
        /// Form that this build reads.
        expected: &'static str,
    },
    /// The plan cannot be written as YAML.
    #[error("cannot write the plan as YAML: {message}")]
    Write {
        /// What is wrong.
        message: String,
    },
    /// The model has no such group.
    #[error("group `{id}` is not in the model; it has {known}")]
    NoSuchGroup {
        /// Group in the plan.
        id: String,
        /// Groups of the model.
        known: String,
    },
    /// The model has no such branch.
    #[error("branch `{id}` is not in the model; it has {}", if known.is_empty() { "none" } else { known })]
    NoSuchBranch {
        /// Branch in the plan.
        id: String,
        /// Branches of the model.
        known: String,
    },
    /// A branch is listed twice.
    #[error("branch `{id}` is listed twice")]
    BranchTwice {
        /// Branch.
        id: String,
    },
    /// A group is listed twice.
    #[error("group `{id}` is listed twice")]
    Twice {
        /// Group.
        id: String,
    },
    /// The group has another number of units.
    #[error("group `{id}` has {found} units in the model, {planned} in the plan")]
    Units {
        /// Group.
        id: String,
        /// Units in the model.
        found: usize,
        /// Units in the plan.
        planned: u32,
    },
    /// A unit that the group does not have.
    #[error("group `{id}` has units 0-{last}, but the plan keeps unit {index}")]
    NoSuchUnit {
        /// Group.
        id: String,
        /// Last unit.
        last: usize,
        /// Unit in the plan.
        index: u32,
    },
    /// Units that are listed in an order in which they cannot lie.
    #[error("group `{id}` keeps its units in another order than the model's: {source}")]
    Order {
        /// Group.
        id: String,
        /// Why not.
        source: OrderError,
    },
    /// A weight is masked twice.
    #[error("weight `{weight}` is masked twice")]
    MaskTwice {
        /// Weight.
        weight: String,
    },
    /// A share that no mask of the pattern has.
    #[error("the mask of `{weight}` has density {density}: {wanted}")]
    Density {
        /// Weight.
        weight: String,
        /// Share in the plan.
        density: f64,
        /// What would do.
        wanted: String,
    },
    /// Nothing would be left.
    #[error("group `{id}` would keep no unit; at least one must stay")]
    Empty {
        /// Group.
        id: String,
    },
}

impl PlanError {
    fn yaml(error: &serde_saphyr::Error) -> Self {
        let error = error.without_snippet();
        let (line, column) = error.location().map_or((0, 0), |l| (l.line(), l.column()));
        // The text of a hostile file may reach the message: control characters must not reach a terminal.
        let message = DefaultMessageFormatter.format_message(error);
        let message = message.chars().flat_map(|c| if c.is_control() { c.escape_default().collect() } else { vec![c] });
        Self::Syntax { line, column, message: message.collect() }
    }
}

impl Plan {
    /// The plan of a removal: every group that loses a unit or whose units change places, and every branch that is dropped.
    pub fn of(channels: &Channels, removal: &Removal) -> Self {
        let groups = channels.groups.iter().filter_map(|g| {
            let numbers: BTreeMap<UnitId, u32> = g.units.iter().copied().zip(0..).collect();
            let held = g.units.iter().map(|place| removal.held(*place)).filter(|u| !removal.leaves(*u));
            let keep: Vec<u32> = held.filter_map(|u| numbers.get(&u).copied()).collect();
            (!keep.iter().copied().eq(0..g.units.len() as u32)).then(|| GroupPlan {
                id: g.id.clone(),
                layers: None,
                units: g.units.len() as u32,
                keep: Ordered::new(keep),
                why: None,
            })
        });
        let groups = groups.collect();
        Self {
            schema: SCHEMA.to_string(),
            model_sha256: None,
            target: None,
            concessions: Concessions::default(),
            groups,
            branches: removal.dropped().iter().map(|b| channels.branches[*b].id.clone()).collect(),
            masks: Vec::new(),
        }
    }
    /// Reads a plan from YAML.
    pub fn parse(text: &str) -> Result<Self, PlanError> {
        let plan: Self = serde_saphyr::from_str(text).map_err(|e| PlanError::yaml(&e))?;
        if plan.schema != SCHEMA {
            return Err(PlanError::Schema { found: plan.schema, expected: SCHEMA });
        }
        plan.check_masks()?;
        Ok(plan)
    }
    fn check_masks(&self) -> Result<(), PlanError> {
        let mut seen = std::collections::BTreeSet::new();
        for mask in &self.masks {
            let (weight, density) = (mask.weight.clone(), mask.density);
            let wanted = match mask.pattern.share() {
                Some(share) if (share - density).abs() < 1e-6 => None,
                Some(share) => Some(format!("{} leaves {share}", mask.pattern)),
                None if density > 0.0 && density <= 1.0 => None,
                None => Some("it must be above 0 and at most 1".to_string()),
            };
            if let Some(wanted) = wanted {
                return Err(PlanError::Density { weight, density, wanted });
            }
            if !seen.insert(&mask.weight) {
                return Err(PlanError::MaskTwice { weight });
            }
        }
        Ok(())
    }
    /// The plan as YAML.
    pub fn to_yaml(&self) -> Result<String, PlanError> {
        serde_saphyr::to_string(self).map_err(|e| PlanError::Write { message: e.to_string() })
    }
    /// What leaves the model whose channels are given.
    pub fn removal(&self, channels: &Channels) -> Result<Removal, PlanError> {
        let mut removal = Removal::none(channels);
        let mut seen = std::collections::BTreeSet::new();
        for planned in &self.groups {
            let id = planned.id.clone();
            if !seen.insert(id.clone()) {
                return Err(PlanError::Twice { id });
            }
            let Some(group) = channels.group(&id) else {
                let known: Vec<String> = channels.groups.iter().map(|g| format!("`{}`", g.id)).collect();
                return Err(PlanError::NoSuchGroup { id, known: known.join(", ") });
            };
            let units = &channels.groups[group].units;
            if units.len() != planned.units as usize {
                return Err(PlanError::Units { id, found: units.len(), planned: planned.units });
            }
            let keep = planned.keep.indices();
            if keep.is_empty() {
                return Err(PlanError::Empty { id });
            }
            if let Some(&index) = keep.iter().find(|i| **i as usize >= units.len()) {
                return Err(PlanError::NoSuchUnit { id, last: units.len() - 1, index });
            }
            let stay: Vec<UnitId> = keep.iter().map(|i| units[*i as usize]).collect();
            units.iter().for_each(|u| removal.set(*u, true));
            stay.iter().for_each(|u| removal.set(*u, false));
            removal.arrange(channels, group, &stay).map_err(|source| PlanError::Order { id, source })?;
        }
        for id in &self.branches {
            let Some(branch) = channels.branches.iter().position(|b| b.id == *id) else {
                let known: Vec<String> = channels.branches.iter().map(|b| format!("`{}`", b.id)).collect();
                return Err(PlanError::NoSuchBranch { id: id.clone(), known: known.join(", ") });
            };
            if removal.dropped().contains(&branch) {
                return Err(PlanError::BranchTwice { id: id.clone() });
            }
            removal.set_branch(branch, true);
        }
        Ok(removal)
    }
}
