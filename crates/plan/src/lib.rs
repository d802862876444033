//! Plans: which units of which groups stay, as a file that people read, edit and replay; and the search for one.
//!
//! ```
//! let plan: sparsec_plan::Plan = sparsec_plan::Plan::parse(
//!     "schema: sparsec/plan@1\ngroups:\n  - id: conv1.weight:0\n    units: 8\n    keep: 0-3, 6\n",
//! ).unwrap();
//! assert_eq!(plan.groups[0].keep.indices(), [0, 1, 2, 3, 6]);
//! ```

mod concessions;
mod indices;
mod mask;
mod pattern;
mod plan;
mod search;
mod walk;

pub use concessions::{Concessions, GivenUp};
pub use indices::{Indices, Ordered};
pub use mask::{MaskCurve, MaskPlan, allocate};
pub use pattern::{Bits, Pattern};
pub use plan::{GroupPlan, Plan, PlanError};
pub use search::{Curve, Evaluate, Limit, LimitKind, Outcome, Price, SearchError, search, search_from};
