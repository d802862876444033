//! The options by which users state what a plan must reach.

use crate::values::{self, Limit};
use clap::Args;

/// Limits; several may be given, and all must hold. A percentage is of the dense model's own figure.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Limits")]
pub(crate) struct LimitArgs {
    /// Time of one inference, e.g. `20ms` or `60%`.
    #[arg(long, value_name = "TIME", value_parser = values::latency)]
    pub(crate) max_latency: Option<Limit>,
    /// Weights and activations at the worst moment, e.g. `64MiB` or `50%`.
    #[arg(long, value_name = "SIZE", value_parser = values::size)]
    pub(crate) max_memory: Option<Limit>,
    /// Multiply-accumulates, e.g. `8M` or `50%`.
    #[arg(long, value_name = "COUNT", value_parser = values::count)]
    pub(crate) max_macs: Option<Limit>,
    /// Parameters, e.g. `100k` or `50%`.
    #[arg(long, value_name = "COUNT", value_parser = values::count)]
    pub(crate) max_params: Option<Limit>,
    /// Bytes of all constants, e.g. `2MiB` or `50%`.
    #[arg(long, value_name = "SIZE", value_parser = values::size)]
    pub(crate) max_size: Option<Limit>,
    /// Energy of one inference, e.g. `3mJ` or `50%`.
    #[arg(long, value_name = "ENERGY", value_parser = values::energy)]
    pub(crate) max_energy: Option<Limit>,
    /// Points of the metric that may be lost, e.g. `1.0`.
    #[arg(long, value_name = "POINTS", value_parser = values::points)]
    pub(crate) max_drop: Option<f64>,
}
