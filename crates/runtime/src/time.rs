//! Measures sessions. The only part of the crate that reads a clock.

use crate::{RuntimeError, Session};
use sparsec_ir::Tensor;
use std::time::Instant;

/// How long to measure.
#[derive(Clone, Copy, Debug)]
pub struct BenchOptions {
    /// Rounds that are run and not counted.
    pub warmup: usize,
    /// Rounds to count at least.
    pub repeats: usize,
    /// Seconds to measure at least.
    pub min_seconds: f64,
    /// Seconds after which no further round starts, whatever the other limits say; one round is always counted.
    pub max_seconds: f64,
}

impl Default for BenchOptions {
    fn default() -> Self {
        Self { warmup: 3, repeats: 30, min_seconds: 0.5, max_seconds: 10.0 }
    }
}

/// Times of one session, in milliseconds. Percentiles are by nearest rank.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Timing {
    /// Median.
    pub p50_ms: f64,
    /// 95th percentile.
    pub p95_ms: f64,
    /// 99th percentile.
    pub p99_ms: f64,
    /// Shortest.
    pub min_ms: f64,
    /// Mean.
    pub mean_ms: f64,
    /// Runs counted.
    pub runs: usize,
}

/// Times each session on its inputs. A round visits all sessions, so that a change of the machine's speed falls on all
/// of them; each round starts one session later, so that none always runs behind the same other one.
///
/// No further round starts once `stop` says so; one is always counted.
///
/// # Errors
/// That of the first run that fails.
pub fn interleaved(
    sessions: &[(&dyn Session, &[Tensor])],
    options: BenchOptions,
    stop: &dyn Fn() -> bool,
) -> Result<Vec<Timing>, RuntimeError> {
    for _ in 0..options.warmup {
        if stop() {
            break;
        }
        for (session, inputs) in sessions {
            session.run(inputs)?;
        }
    }
    let mut times: Vec<Vec<f64>> = vec![Vec::new(); sessions.len()];
    let start = Instant::now();
    let mut round = 0;
    loop {
        let seconds = start.elapsed().as_secs_f64();
        let enough = round >= options.repeats && seconds >= options.min_seconds;
        if sessions.is_empty() || round > 0 && (enough || seconds >= options.max_seconds || stop()) {
            break;
        }
        for i in 0..sessions.len() {
            let at = (round + i) % sessions.len();
            let (session, inputs) = sessions[at];
            let before = Instant::now();
            let outputs = session.run(inputs)?;
            times[at].push(before.elapsed().as_secs_f64() * 1e3);
            drop(outputs);
        }
        round += 1;
    }
    Ok(times.into_iter().map(summary).collect())
}

/// Statistics of times in milliseconds, of which there is at least one.
fn summary(mut times: Vec<f64>) -> Timing {
    times.sort_by(f64::total_cmp);
    let runs = times.len();
    let rank = |percent: usize| times[(runs * percent).div_ceil(100).clamp(1, runs) - 1];
    let mean_ms = times.iter().sum::<f64>() / runs as f64;
    Timing { p50_ms: rank(50), p95_ms: rank(95), p99_ms: rank(99), min_ms: times[0], mean_ms, runs }
}

/// Most memory that this process has held at one time, in bytes (`VmHWM` of Linux's `/proc/self/status`); `None` on
/// systems that do not say.
pub fn peak_rss_bytes() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|l| l.strip_prefix("VmHWM:"))?;
    line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()?.checked_mul(1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_by_nearest_rank() {
        let t = summary((1..=100).rev().map(f64::from).collect());
        assert_eq!((t.min_ms, t.p50_ms, t.p95_ms, t.p99_ms), (1., 50., 95., 99.));
        assert_eq!((t.mean_ms, t.runs), (50.5, 100));
        let one = summary(vec![7.]);
        assert_eq!((one.p50_ms, one.p99_ms), (7., 7.));
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn peak_memory_is_known_on_linux() {
        assert!(peak_rss_bytes().unwrap() > 100_000);
    }
}
