//! The search against every plan there is, on instances small enough to try them all.

use sparsec_ir::Draw;
use sparsec_plan::{Curve, Evaluate, Limit, LimitKind, Price, search};

/// A kernel that contracts the units of one group into those of another; the ends have a fixed side.
struct Kernel {
    /// Groups of its inputs and outputs.
    sides: [Option<usize>; 2],
    /// Multiplications for a pair of units.
    macs: f64,
    /// The group of its mask, whose counts are shares in eighths.
    mask: Option<usize>,
}

/// Kernels in a chain or on a grid, with curves and limits drawn at random.
struct Instance {
    kernels: Vec<Kernel>,
    curves: Vec<Curve>,
    limits: Vec<Limit>,
    /// Units that the target's time rounds up to.
    stair: u32,
    coupled: Vec<Vec<usize>>,
}

/// Units on a fixed side of a kernel.
const FIXED: f64 = 3.0;
/// Shares of a mask are counted in these.
const SHARES: u32 = 8;

impl Instance {
    /// The instance of a seed: three or four groups in a chain, with every second seed also between the first and the
    /// others, up to two masks; a limit on multiplications, with every third seed another one on time.
    fn draw(seed: u64) -> Self {
        let mut draw = Draw::new(seed);
        let groups = 3 + (seed % 2) as usize;
        let mut pairs: Vec<[Option<usize>; 2]> = vec![[None, Some(0)]];
        pairs.extend((1..groups).map(|g| [Some(g - 1), Some(g)]));
        pairs.push([Some(groups - 1), None]);
        if seed / 2 % 2 == 1 {
            pairs.extend((2..groups).map(|g| [Some(0), Some(g)]));
        }
        let mut kernels: Vec<Kernel> =
            pairs.into_iter().map(|sides| Kernel { sides, macs: 1.0 + 9.0 * draw.unit(), mask: None }).collect();
        let mut curves: Vec<Curve> = (0..groups).map(|_| curve(&mut draw, 4 + (seed % 3) as u32, 4)).collect();
        for _ in 0..seed % 3 {
            let at = (draw.bits() % kernels.len() as u64) as usize;
            if kernels[at].mask.is_none() {
                kernels[at].mask = Some(curves.len());
                curves.push(curve(&mut draw, SHARES, 1));
            }
        }
        let choices = curves.len();
        let of = |k: &Kernel| k.sides.into_iter().chain([k.mask]).flatten().collect::<Vec<_>>();
        let meets = |g: usize| {
            let own = kernels.iter().map(of).filter(|of| of.contains(&g)).flatten();
            let mut out: Vec<usize> = own.filter(|o| *o != g).collect();
            out.sort_unstable();
            out.dedup();
            out
        };
        let coupled = (0..choices).map(meets).collect();
        let mut out = Self { kernels, curves, limits: Vec::new(), stair: 8, coupled };
        let whole = out.price(&out.curves.iter().map(|c| c.counts.last().copied().unwrap_or(0)).collect::<Vec<_>>());
        out.limits.push(Limit { kind: LimitKind::Macs, at_most: (0.3 + 0.5 * draw.unit()) * whole.macs });
        if seed.is_multiple_of(3) {
            out.limits.push(Limit { kind: LimitKind::Latency, at_most: (0.5 + 0.4 * draw.unit()) * whole.latency_ms });
        }
        out
    }

    /// The least error of all plans within the limits.
    fn least(&self) -> Option<f64> {
        let mut at = vec![0; self.curves.len()];
        let mut best: Option<f64> = None;
        loop {
            let keep: Vec<u32> = at.iter().zip(&self.curves).map(|(i, c): (&usize, _)| c.counts[*i]).collect();
            let error: f64 = at.iter().zip(&self.curves).map(|(i, c)| c.error[*i]).sum();
            if best.is_none_or(|b| error < b) {
                let price = self.price(&keep);
                if self.limits.iter().all(|l| l.kind.of(&price) <= l.at_most) {
                    best = Some(error);
                }
            }
            let Some(next) = (0..at.len()).find(|g| at[*g] + 1 < self.curves[*g].counts.len()) else { return best };
            at[..next].fill(0);
            at[next] += 1;
        }
    }
}

/// A curve over so many counts, `step` units apart: a power of what is gone, on which cliffs stand.
fn curve(draw: &mut Draw, counts: u32, step: u32) -> Curve {
    let (height, power) = (10f64.powf(-1.0 + 2.0 * draw.unit()), 0.7 + 2.0 * draw.unit());
    let cliff = |draw: &mut Draw| if draw.unit() < 0.2 { 0.3 * draw.unit() } else { 0.0 };
    let error = |k: u32| (1.0 - f64::from(k) / f64::from(counts)).powf(power);
    let error = (1..=counts).map(|k| height * (error(k) + cliff(draw))).collect();
    Curve::new((1..=counts).map(|k| k * step).collect(), error)
}

impl Evaluate for Instance {
    fn price(&self, keep: &[u32]) -> Price {
        let mut price = Price::default();
        for k in &self.kernels {
            let [a, b] = k.sides.map(|g| g.map_or(FIXED, |g| f64::from(keep[g])));
            let share = k.mask.map_or(1.0, |m| f64::from(keep[m]) / f64::from(SHARES));
            price.macs += k.macs * a * b * share;
            let up = k.sides[1].map_or(FIXED, |g| f64::from(keep[g].next_multiple_of(self.stair)));
            price.latency_ms += k.macs * a * up;
        }
        price
    }
    fn coupled(&self, group: usize) -> &[usize] {
        &self.coupled[group]
    }
    fn inside(&self, _: usize) -> &[usize] {
        &[]
    }
    fn interrupted(&self) -> bool {
        false
    }
}

/// Instances that are tried.
const INSTANCES: u64 = 2000;
/// What the search reaches on them: a change of it is seen here, and may be for the better. The bounds below stay.
const GAPS: &str = "1994 of 2000 are the best there is; gap: median 0.00 %, 95 % 0.00 %, worst 9.70 % (instance 719)";
/// By how much the error of the plan that is found may exceed the least.
const WORST: f64 = 0.1;
/// Share of the instances in which the plan that is found is the best there is.
const BEST: f64 = 0.99;

#[test]
fn the_search_finds_nearly_the_best_of_all_plans() {
    let mut gaps = Vec::new();
    for seed in 0..INSTANCES {
        let instance = Instance::draw(seed);
        let found = search(&instance.curves, &instance.limits, &instance).unwrap();
        let Some(least) = instance.least() else {
            assert!(!found.unmet.is_empty(), "no plan of instance {seed} holds the limits");
            continue;
        };
        assert!(found.unmet.is_empty(), "instance {seed} has a plan within the limits");
        gaps.push((found.error / least.max(f64::MIN_POSITIVE) - 1.0, seed));
    }
    gaps.sort_by(|a, b| a.0.total_cmp(&b.0));
    let at = |share: f64| 100.0 * gaps[((gaps.len() - 1) as f64 * share) as usize].0;
    let best = gaps.iter().filter(|g| g.0 < 1e-9).count();
    let worst = gaps[gaps.len() - 1];
    let told = format!(
        "{best} of {} are the best there is; gap: median {:.2} %, 95 % {:.2} %, worst {:.2} % (instance {})",
        gaps.len(),
        at(0.5),
        at(0.95),
        100.0 * worst.0,
        worst.1
    );
    assert_eq!(told, GAPS);
    assert!(worst.0 <= WORST, "{worst:?}");
    assert!(best as f64 >= BEST * gaps.len() as f64, "{best} of {}", gaps.len());
}
