//! Curves that survive an interruption: measuring them is most of the work, so what was measured is kept beside the
//! output, and a run that is repeated goes on from there.

use crate::cmd::model::{sha256, sha256_of};
use crate::error::CliError;
use crate::output;
use crate::record::LockedFile;
use crate::watch::Watch;
use serde::{Deserialize, Serialize};
use sparsec::drive::{
    BranchCurve, Concessions, Curves, Footing, GroupCurve, Known, MaskCurves, MaskErrors, Nothing, Observer, Prepared,
    Samples, Sampling, measure, measure_masks,
};
use sparsec_cost::Target;
use sparsec_plan::Pattern;
use sparsec_runtime::Runtime;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Where `sparsec compile` keeps measurements, in the folder of its output.
pub(crate) const STORE: &str = ".sparsec/measured.json";
/// Form of that file.
const SCHEMA: &str = "sparsec/measured@1";
/// What is measured meanwhile is lost when the process is killed.
const EVERY: Duration = Duration::from_secs(2);

/// Everything that curves depend on.
pub(crate) struct Measurement<'a> {
    pub(crate) dense: &'a Prepared,
    /// Files of the dense model.
    pub(crate) models: &'a BTreeMap<String, LockedFile>,
    /// Rewrites after which the dense model was taken as it was.
    pub(crate) rewrite_limit: Option<u64>,
    pub(crate) runtime: &'a dyn Runtime,
    pub(crate) samples: &'a Samples,
    pub(crate) target: &'a Target,
    /// Where zeros may lie, if their curves are wanted.
    pub(crate) masks: Option<Pattern>,
}

impl Measurement<'_> {
    /// Hash of all that but the pattern, under which masks are kept, and of the program itself; `None` where the program
    /// cannot be read.
    fn key(&self) -> Result<Option<String>, CliError> {
        let Some(program) = std::env::current_exe().ok().and_then(|p| sha256_of(&p).ok()) else { return Ok(None) };
        let mut lines = vec![
            program,
            self.runtime.name(),
            format!("{:?}", self.rewrite_limit),
            format!("memory {}", self.samples.memory),
            format!("{:?}", self.dense.concessions),
            self.target.to_yaml()?,
        ];
        lines.extend(self.models.iter().map(|(role, f)| format!("{role} {}", f.sha256)));
        for t in self.samples.parts.iter().flatten() {
            let bytes = t.bytes().map_err(sparsec_runtime::RuntimeError::from)?;
            lines.push(format!("{} {:?} {}", t.elem, t.dims, sha256(bytes)));
        }
        Ok(Some(sha256(lines.join("\n").as_bytes())))
    }
}

/// Measures the curves, with what an earlier run of the same measurement left in the file `store`.
pub(crate) fn measured(what: &Measurement, store: &Path, watch: &Watch) -> Result<Curves, CliError> {
    let store = what.key()?.map(|key| Store::open(store, key));
    let known: &dyn Known = store.as_ref().map_or(&Nothing, |s| s);
    let done = kept(what, store.as_ref(), known, watch);
    if let (Err(e), Some(store)) = (&done, &store)
        && matches!(e, CliError::Drive(d) if d.is_interruption())
    {
        // What ended the run is worth more to the user than that this failed, too.
        let _ = store.save();
    }
    done
}

/// What is stored, and else measured and stored.
fn kept(what: &Measurement, store: Option<&Store>, known: &dyn Known, watch: &Watch) -> Result<Curves, CliError> {
    let stored = store.and_then(|s| s.curves(&what.dense.concessions)).filter(|c| c.check(what.dense).is_ok());
    let again =
        |path: &Path| watch.note(&format!("curves are those that an earlier run measured (`{}`)", path.display()));
    if let (Some(_), Some(store)) = (&stored, store) {
        again(&store.path);
    }
    let mut curves = match stored {
        Some(curves) => curves,
        None => {
            let curves = measure(what.dense, what.runtime, what.samples, what.target, known, watch)?;
            store.map_or(Ok(()), |s| s.finish(&curves))?;
            curves
        }
    };
    let Some(pattern) = what.masks else { return Ok(curves) };
    curves.masks = store.and_then(|s| s.masks(pattern));
    if curves.masks.is_none() || curves.check(what.dense).is_err() {
        let (with, on) = ((what.runtime, what.target), (what.samples, known));
        curves = measure_masks(what.dense, &curves, pattern, with, on, watch)?;
        store.iter().zip(&curves.masks).try_for_each(|(s, m)| s.finish_masks(m))?;
    }
    Ok(curves)
}

/// The file's contents. Errors stand there by their bits: a decimal number may come back as its neighbour.
#[derive(Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Stored {
    schema: String,
    /// What it was measured of.
    key: String,
    /// While measuring: errors by group and units kept, and by branch at none.
    probes: BTreeMap<String, BTreeMap<u32, u64>>,
    /// When all is measured.
    samples: Option<Sampling>,
    curves: Vec<StoredCurve>,
    /// Errors of the branches, in the model's order.
    branches: Vec<(String, u64)>,
    /// Curves of weights by pattern.
    masks: BTreeMap<String, StoredMasks>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct StoredMasks {
    weights: Vec<StoredMask>,
    /// Of channels, and of masks.
    footing: [u64; 2],
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct StoredMask {
    weight: String,
    counts: Vec<u32>,
    error: Vec<u64>,
    why: Option<String>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct StoredCurve {
    id: String,
    order: Vec<u32>,
    by_weight: u32,
    counts: Vec<u32>,
    error: Vec<u64>,
}

struct Store {
    path: PathBuf,
    state: Mutex<(Stored, Instant)>,
}

impl Store {
    /// Reads the file, where it is there and of the same measurement.
    fn open(path: &Path, key: String) -> Self {
        let text = std::fs::read_to_string(path).unwrap_or_default();
        let found = serde_json::from_str::<Stored>(&text).ok().filter(|s| s.schema == SCHEMA && s.key == key);
        let stored = found.unwrap_or_else(|| Stored { schema: SCHEMA.to_string(), key, ..Stored::default() });
        Self { path: path.to_path_buf(), state: Mutex::new((stored, Instant::now())) }
    }
    // A map of numbers is whole whatever panicked while it was held.
    fn with<T>(&self, f: impl FnOnce(&mut (Stored, Instant)) -> T) -> T {
        f(&mut self.state.lock().unwrap_or_else(PoisonError::into_inner))
    }
    fn curves(&self, concessions: &Concessions) -> Option<Curves> {
        let curve = |c: &StoredCurve| GroupCurve {
            id: c.id.clone(),
            order: c.order.clone(),
            by_weight: c.by_weight,
            counts: c.counts.clone(),
            error: c.error.iter().map(|bits| f64::from_bits(*bits)).collect(),
        };
        let branch = |(id, bits): &(String, u64)| BranchCurve { id: id.clone(), error: f64::from_bits(*bits) };
        self.with(|(s, _)| {
            let (schema, samples, concessions) = (Curves::SCHEMA.to_string(), s.samples.clone(), concessions.clone());
            let (groups, branches) = (s.curves.iter().map(curve).collect(), s.branches.iter().map(branch).collect());
            let measured = !s.curves.is_empty() || !s.branches.is_empty();
            measured.then_some(Curves { schema, samples, concessions, groups, branches, masks: None })
        })
    }
    fn masks(&self, pattern: Pattern) -> Option<MaskCurves> {
        let one = |m: &StoredMask| MaskErrors {
            weight: m.weight.clone(),
            counts: m.counts.clone(),
            error: m.error.iter().map(|bits| f64::from_bits(*bits)).collect(),
            why: m.why.clone(),
        };
        self.with(|(s, _)| {
            let stored = s.masks.get(&pattern.to_string())?;
            let [channels, masks] = stored.footing.map(f64::from_bits);
            let weights = stored.weights.iter().map(one).collect();
            Some(MaskCurves { pattern, weights, footing: Footing { channels, masks } })
        })
    }
    /// Keeps the curves of masks, and the probes no longer.
    fn finish_masks(&self, masks: &MaskCurves) -> Result<(), CliError> {
        let one = |m: &MaskErrors| StoredMask {
            weight: m.weight.clone(),
            counts: m.counts.clone(),
            error: m.error.iter().map(|e| e.to_bits()).collect(),
            why: m.why.clone(),
        };
        self.with(|(stored, _)| {
            stored.probes = BTreeMap::new();
            let footing = [masks.footing.channels, masks.footing.masks].map(f64::to_bits);
            let weights = masks.weights.iter().map(one).collect();
            stored.masks.insert(masks.pattern.to_string(), StoredMasks { weights, footing });
        });
        self.save()
    }
    fn save(&self) -> Result<(), CliError> {
        self.with(|(stored, last)| {
            *last = Instant::now();
            write(&self.path, stored)
        })
    }
    /// Keeps the curves, and the probes no longer.
    fn finish(&self, curves: &Curves) -> Result<(), CliError> {
        let curve = |c: &GroupCurve| StoredCurve {
            id: c.id.clone(),
            order: c.order.clone(),
            by_weight: c.by_weight,
            counts: c.counts.clone(),
            error: c.error.iter().map(|e| e.to_bits()).collect(),
        };
        self.with(|(stored, _)| {
            stored.probes = BTreeMap::new();
            stored.samples = curves.samples.clone();
            stored.curves = curves.groups.iter().map(curve).collect();
            stored.branches = curves.branches.iter().map(|b| (b.id.clone(), b.error.to_bits())).collect();
        });
        self.save()
    }
}

fn write(path: &Path, stored: &Stored) -> Result<(), CliError> {
    let error = |source| CliError::Write { path: path.to_path_buf(), source };
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder).map_err(error)?;
    }
    let json = serde_json::to_vec(stored).map_err(|e| error(e.into()))?;
    output::file(path, &json)
}

impl Known for Store {
    fn error(&self, group: &str, keep: u32) -> Option<f64> {
        self.with(|(s, _)| s.probes.get(group)?.get(&keep).map(|bits| f64::from_bits(*bits)))
    }
    fn found(&self, group: &str, keep: u32, error: f64) {
        let due = self.with(|(s, last)| {
            s.probes.entry(group.to_string()).or_default().insert(keep, error.to_bits());
            last.elapsed() >= EVERY
        });
        if due {
            // The last write, when all is measured, tells why it failed.
            let _ = self.save();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_measured_is_found_again_by_the_same_measurement_only() {
        let dir = tempfile::TempDir::new().unwrap();
        let path = dir.path().join("deep/measured.json");
        let open = |key: &str| Store::open(&path, key.to_string());
        let third = 1.0 / 3.0;
        let first = open("a");
        first.found("g", 4, third);
        first.save().unwrap();
        assert_eq!(
            (open("a").error("g", 4), open("a").error("g", 5), open("b").error("g", 4)),
            (Some(third), None, None)
        );
        let groups = vec![GroupCurve {
            id: "g".into(),
            by_weight: 0,
            order: vec![1, 0],
            counts: vec![1, 2],
            error: vec![third, 0.0],
        }];
        let none = Concessions::default();
        let branches = vec![BranchCurve { id: "t".into(), error: third }];
        let schema = Curves::SCHEMA.to_string();
        let curves = Curves { schema, samples: None, concessions: none.clone(), groups, branches, masks: None };
        first.finish(&curves).unwrap();
        assert_eq!(
            (open("a").curves(&none), open("b").curves(&none), open("a").error("g", 4)),
            (Some(curves), None, None)
        );
        std::fs::write(&path, "{\"schema\": torn").unwrap();
        assert_eq!(open("a").curves(&none), None);
    }
}
