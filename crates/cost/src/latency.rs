//! Time of one kernel: a roofline with stairs.
//!
//! t = max(M / R, A / B) + W · c + s + o, times the factor of the slow path where the kernel is on it:
//!
//! | | | unit |
//! |---|---|---|
//! | M | multiply-accumulates, output channels rounded up to the target's block | |
//! | R | peak rate of the kernel class | 1/µs |
//! | A | activations read and written, and the weights that stay in the cache | bytes |
//! | B | rate of the innermost level that holds A, or of the class if that is lower | bytes/µs |
//! | W | weights that are not in the cache | KB |
//! | c | cost of cold weights | µs/KB |
//! | s, o | constant cost of a call: the kernel's and the runtime's | µs |
//!
//! The factor applies to max(M / R, A / B). A concatenation of channels whose parts do not fit the blocked layout adds one
//! change of layout for each part and one for the result. Roofline: Williams, Waterman, Patterson, *Roofline*, CACM 52(4), 2009.

use crate::{ByteClass, ComputeClass, Target};
use sparsec_ir::{Kernel, Work};

/// What one kernel moves, in bytes.
#[derive(Clone, Copy, Default)]
pub(crate) struct Traffic {
    pub(crate) read: u64,
    pub(crate) written: u64,
    pub(crate) weights: u64,
    /// Bytes that fused transcendental functions read and write.
    pub(crate) heavy: u64,
}

/// Time of one kernel and how far off it may be.
#[derive(Clone, Copy)]
pub(crate) struct Time {
    pub(crate) us: f64,
    /// The true time lies between us / (1 + error) and us · (1 + error).
    pub(crate) error: f64,
}

/// Kernel class that a convolution gets.
enum ConvClass {
    Conv,
    Pointwise,
    Depthwise,
    Grouped,
    Transposed,
}

/// How a kernel runs on a target.
struct Run<'t> {
    rate: Rate<'t>,
    /// Arithmetic over the kernel's own, by padding.
    padding: f64,
    /// Factor of the slow path; 1 on the fast one.
    slow: f64,
    /// Changes of layout that it forces on its neighbours.
    reorders: usize,
}

enum Rate<'t> {
    Compute(&'t ComputeClass),
    Bytes(&'t ByteClass),
}

/// Time of a kernel with this work (none where it is not known) and traffic, if `cold` of its weights (0 to 1) are not in
/// the cache.
pub(crate) fn time(work: Option<&Work>, traffic: Traffic, cold: f64, target: &Target) -> Time {
    let run = match work {
        Some(w) => run(&w.kernel, target),
        None => Run { rate: Rate::Bytes(&target.kernels.movement), padding: 1.0, slow: 1.0, reorders: 0 },
    };
    let weights = traffic.weights as f64;
    let bytes = traffic.read as f64 + traffic.written as f64 + weights * (1.0 - cold);
    let level = rate_for(bytes, target);
    let macs = work.map_or(0.0, |w| w.macs as f64) * run.padding;
    let (bound, start, error) = match run.rate {
        Rate::Compute(c) => ((macs / (c.gmac_s * 1e3)).max(bytes / level), c.start_us, c.error),
        Rate::Bytes(c) => (bytes / level.min(c.gb_s * 1e3), c.start_us, c.error),
    };
    let heavy = traffic.heavy as f64 / (target.kernels.transcendental.gb_s * 1e3);
    let cold_weights = weights * cold / 1e3 * target.weights.cold_us_per_kb;
    let reorders = run.reorders as f64 * target.channels.reorder_us;
    Time { us: bound * run.slow + reorders + heavy + cold_weights + start + target.overhead.node_us, error }
}

/// Share of the weights that is cold when a kernel starts, if all of them together are `weight_bytes`.
pub(crate) fn cold_share(weight_bytes: u64, target: &Target) -> f64 {
    let cache = target.weights.cache_kib as f64 * 1024.0;
    if cache == 0.0 { 1.0 } else { (weight_bytes as f64 / cache - 1.0).clamp(0.0, 1.0) }
}

/// `1 tap`, `9 taps`.
fn counted(n: u64, what: &str) -> String {
    format!("{n} {what}{}", if n == 1 { "" } else { "s" })
}

/// What people call the kernel, with the sizes that decide and where the target makes it slower than it looks.
pub(crate) fn describe(kernel: &Kernel, target: &Target) -> String {
    let slow = run(kernel, target).slow;
    let path = if slow > 1.0 { format!(", off the fast path (x{slow})") } else { String::new() };
    let stairs = |n: u64, block: u64| match up(n, block) {
        padded if padded != n => format!("{n} (as {padded})"),
        _ => n.to_string(),
    };
    match kernel {
        Kernel::Conv { cin, cout, groups, taps, positions, .. } => {
            let (class, block) = match conv_class(kernel) {
                Some(ConvClass::Pointwise) => ("pointwise convolution", target.channels.block),
                Some(ConvClass::Depthwise) => ("depthwise convolution", target.channels.block),
                Some(ConvClass::Grouped) => ("grouped convolution", 1),
                Some(ConvClass::Transposed) => ("transposed convolution", 1),
                Some(ConvClass::Conv) | None => ("convolution", target.channels.block),
            };
            let groups = if *groups > 1 { format!(" in {groups} groups") } else { String::new() };
            let (taps, positions) = (counted(*taps, "tap"), counted(*positions, "position"));
            format!("{class} {cin} to {}{groups}, {taps}, {positions}{path}", stairs(*cout, block))
        }
        Kernel::Gemm { m, n, k } => format!("matrix product {m} x {k} x {}", stairs(*n, target.channels.gemm_block)),
        Kernel::BatchedMatMul { batch, m, n, k } => {
            format!("product of activations {batch} x {m} x {k} x {}", stairs(*n, target.channels.gemm_block))
        }
        Kernel::Recurrent { steps, input, hidden, gates } => {
            format!("recurrence {input} to {hidden}, {gates} gates, {}", counted(*steps, "step"))
        }
        Kernel::Elementwise { heavy: true } => "transcendental function".to_string(),
        Kernel::Elementwise { heavy: false } => "elementwise".to_string(),
        Kernel::Reduce => "reduction".to_string(),
        Kernel::Join { parts } => {
            let parts: Vec<String> = parts.iter().map(u64::to_string).collect();
            let reorders = match run(kernel, target).reorders {
                0 => String::new(),
                n => format!(", {n} changes of layout"),
            };
            format!("concatenation of {} channels{reorders}", parts.join(" + "))
        }
        Kernel::Move => "movement of data".to_string(),
        Kernel::Free => "nothing at run time".to_string(),
    }
}

fn run<'t>(kernel: &Kernel, target: &'t Target) -> Run<'t> {
    let k = &target.kernels;
    let compute = |class, padding, slow| Run { rate: Rate::Compute(class), padding, slow, reorders: 0 };
    let bytes = |class| Run { rate: Rate::Bytes(class), padding: 1.0, slow: 1.0, reorders: 0 };
    match kernel {
        Kernel::Conv { .. } => conv(kernel, target),
        Kernel::Gemm { n, .. } => compute(&k.gemm, padding(*n, target.channels.gemm_block), 1.0),
        Kernel::BatchedMatMul { n, .. } => compute(&k.matmul, padding(*n, target.channels.gemm_block), 1.0),
        Kernel::Recurrent { .. } => compute(&k.recurrent, 1.0, 1.0),
        Kernel::Elementwise { heavy: true } => bytes(&k.transcendental),
        Kernel::Elementwise { heavy: false } => bytes(&k.elementwise),
        Kernel::Reduce => bytes(&k.reduce),
        Kernel::Join { parts } => {
            // The parts leave the blocked layout and the result comes back into it.
            let off = parts.iter().any(|p| p % target.channels.join != 0);
            Run { reorders: if off { parts.len() + 1 } else { 0 }, ..bytes(&k.movement) }
        }
        Kernel::Move | Kernel::Free => bytes(&k.movement),
    }
}

fn conv_class(kernel: &Kernel) -> Option<ConvClass> {
    let Kernel::Conv { cin, cout, groups, taps, transposed, .. } = kernel else { return None };
    Some(match (*transposed, *groups) {
        (true, _) => ConvClass::Transposed,
        (false, 0 | 1) if *taps == 1 => ConvClass::Pointwise,
        (false, 0 | 1) => ConvClass::Conv,
        (false, g) if g == *cin && g == *cout => ConvClass::Depthwise,
        (false, _) => ConvClass::Grouped,
    })
}

fn conv<'t>(kernel: &Kernel, target: &'t Target) -> Run<'t> {
    let (k, c) = (&target.kernels, &target.channels);
    let Kernel::Conv { cin, cout, groups, .. } = *kernel else {
        return Run { rate: Rate::Bytes(&k.movement), padding: 1.0, slow: 1.0, reorders: 0 };
    };
    let dense_path = cin < c.input_free_below || cin.is_multiple_of(c.legal);
    let (class, fast, factor, padding) = match conv_class(kernel) {
        Some(ConvClass::Pointwise) => (&k.pointwise, dense_path, c.off_path.pointwise, padding(cout, c.block)),
        Some(ConvClass::Depthwise) => {
            (&k.depthwise, cin.is_multiple_of(c.legal), c.off_path.depthwise, padding(cout, c.block))
        }
        Some(ConvClass::Grouped) => {
            let each = |channels: u64| (channels / groups).is_multiple_of(c.grouped);
            (&k.grouped, each(cin) && each(cout), c.off_path.grouped, 1.0)
        }
        Some(ConvClass::Transposed) => (&k.transposed, true, 1.0, 1.0),
        Some(ConvClass::Conv) | None => (&k.conv, dense_path, c.off_path.conv, padding(cout, c.block)),
    };
    // Off the fast path channels are not blocked: no stairs on top of the factor.
    let (slow, padding) = if fast { (1.0, padding) } else { (factor, 1.0) };
    Run { rate: Rate::Compute(class), padding, slow, reorders: 0 }
}

/// Arithmetic of `n` channels in whole blocks over that of `n`.
fn padding(n: u64, block: u64) -> f64 {
    if n == 0 { 1.0 } else { up(n, block) as f64 / n as f64 }
}

fn up(n: u64, block: u64) -> u64 {
    let block = block.max(1);
    n.div_ceil(block).saturating_mul(block)
}

/// Rate in bytes/µs of the innermost level that holds `bytes`.
fn rate_for(bytes: f64, target: &Target) -> f64 {
    let holds = |kib: Option<u64>| kib.is_none_or(|k| bytes <= k as f64 * 1024.0);
    let level = target.levels.list.iter().find(|l| holds(l.kib)).or(target.levels.list.last());
    level.map_or(f64::INFINITY, |l| l.gb_s * 1e3)
}
