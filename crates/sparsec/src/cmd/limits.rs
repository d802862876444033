//! The options by which users state what a plan must reach.

use crate::values::{self, Limit};
use clap::Args;
use sparsec_plan::{LimitKind, Price};

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
    /// Bytes of the model file, e.g. `2MiB` or `50%`.
    #[arg(long, value_name = "SIZE", value_parser = values::size)]
    pub(crate) max_size: Option<Limit>,
}

/// The limits as the search takes them; `before` is the dense model's price.
pub(crate) fn resolve(args: &LimitArgs, before: &Price) -> Vec<sparsec_plan::Limit> {
    let all = [
        (LimitKind::Latency, args.max_latency),
        (LimitKind::Memory, args.max_memory),
        (LimitKind::Macs, args.max_macs),
        (LimitKind::Params, args.max_params),
        (LimitKind::Size, args.max_size),
    ];
    let one = |(kind, limit): (LimitKind, Option<Limit>)| {
        let at_most = match limit? {
            Limit::Absolute(v) => v,
            Limit::Share(share) => share * kind.of(before),
        };
        Some(sparsec_plan::Limit { kind, at_most })
    };
    all.into_iter().filter_map(one).collect()
}
