//! Recurrent layers. Spec: ai.onnx `GRU` (1, 3, 7, 14, 22), `LSTM` and `RNN` (1, 7, 14, 22).
//!
//! D directions, T steps, B sequences, I inputs, H hidden units, G gates (GRU 3, LSTM 4, RNN 1):
//! x [T,B,I]; W [D,G·H,I]; R [D,G·H,H]; bias [D,2·G·H]; initial state and last states [D,B,H]; Y [T,D,B,H];
//! peepholes [D,3·H]. With `layout` 1: x [B,T,I], Y [B,T,D,H], states [B,D,H].
//!  R1  x axis 2 is contracted with W axis 2.
//!  R2  The hidden units are one axis: the last of Y, of the states and, contracted, of R.
//!  R3  Axis 1 of W and R is (gate, hidden unit), that of the bias (2·gates, hidden unit), that of the peepholes
//!      (3, hidden unit); gates are frozen.
//!  R4  Sequences are one axis of x, `sequence_lens`, Y and the states.
//!  R5  Directions are frozen.
//!  R6  Steps are frozen: each needs the one before.
//!  R7  `hidden_size` follows.
//!  R8  The gates see W·x with the first half of the bias: a linear map of x where both are constant.

use crate::form::{At, contract, differ, dims, freeze, mismatch, product, sizes, tie};
use sparsec_ir::{
    Affine, Attr, AxisRef, Dim, Edit, Fact, InnerMap, Kernel, LinearRule, NodeRef, ONNX, OpDef, OpError, Operand,
    Reason, Relate, Relations, Resize, Resized, ShapeRule, Work, WorkRule,
};

type WorkOf = fn(&NodeRef) -> Result<Work, OpError>;
type RelateOf = fn(&NodeRef, &mut Relations) -> Result<(), OpError>;
type ShapeOf = fn(&NodeRef) -> Result<Vec<Fact>, OpError>;

const fn layer(
    name: &'static str,
    since: &'static [i64],
    shape: ShapeOf,
    relate: RelateOf,
    work: WorkOf,
    resize: fn(&Resized) -> Result<Vec<Edit>, OpError>,
    linear: fn(&NodeRef) -> Result<Option<InnerMap>, OpError>,
) -> OpDef {
    OpDef {
        name,
        domain: ONNX,
        since,
        shape: ShapeRule::By(shape),
        relate: Relate::By(relate),
        work: WorkRule::By(work),
        resize: Resize::By(resize),
        linear: LinearRule::Inner(linear),
        affine: Affine::Never,
    }
}

/// One row of [`OPS`]: the facets of a layer with `$gates` gates.
macro_rules! layer {
    ($name:literal, $since:expr, $gates:literal) => {
        layer(
            $name,
            $since,
            |n| shape(n, $gates),
            |n, r| relate(n, $gates, r),
            |n| work(n, $gates),
            resize,
            |n| linear(n, $gates),
        )
    };
}

pub(crate) const OPS: &[OpDef] =
    &[layer!("GRU", &[1, 3, 7, 14, 22], 3), layer!("LSTM", &[1, 7, 14, 22], 4), layer!("RNN", &[1, 7, 14, 22], 1)];

const X: usize = 0;
const W: usize = 1;
const R: usize = 2;
const BIAS: usize = 3;
const LENGTHS: usize = 4;
/// Initial hidden state and, for `LSTM`, initial cell.
const STATES: [usize; 2] = [5, 6];
const PEEPHOLES: usize = 7;

/// Operands and where the axes lie in them.
struct Layer<'g> {
    x: Operand<'g>,
    w: Operand<'g>,
    r: Operand<'g>,
    gates: u64,
    /// Axes of x.
    steps: usize,
    batch: usize,
    /// Axes of Y.
    y_steps: usize,
    y_batch: usize,
    y_directions: usize,
    /// Axes of the states.
    state_batch: usize,
    state_directions: usize,
}

impl<'g> Layer<'g> {
    fn view(node: &NodeRef<'g>, gates: u64) -> Result<Self, OpError> {
        for operand in [X, W, R] {
            let rank = node.rank(operand)?;
            if rank != 3 {
                return Err(mismatch("rank of x, W or R of a recurrent layer", rank, 3));
            }
        }
        let (x, w, r) = (node.need_input(X)?, node.need_input(W)?, node.need_input(R)?);
        let batch_first = node.int_or("layout", 0)? != 0;
        let pick = |time_first: usize, batch_first_axis: usize| if batch_first { batch_first_axis } else { time_first };
        Ok(Self {
            x,
            w,
            r,
            gates,
            steps: pick(0, 1),
            batch: pick(1, 0),
            y_steps: pick(0, 1),
            y_batch: pick(2, 0),
            y_directions: pick(1, 2),
            state_batch: pick(1, 0),
            state_directions: pick(0, 1),
        })
    }
    /// Operands and results of the shape of a state.
    fn states(&self, node: &NodeRef<'g>) -> impl Iterator<Item = Operand<'g>> {
        let initial = STATES.map(|i| node.input(i));
        let last = [1, 2].map(|i| node.output(i));
        initial.into_iter().chain(last).flatten()
    }
}

fn shape(node: &NodeRef, gates: u64) -> Result<Vec<Fact>, OpError> {
    let v = Layer::view(node, gates)?;
    let (x, w, r) = (dims(node, X)?, dims(node, W)?, dims(node, R)?);
    let (directions, hidden) = (&w[0], &r[2]);
    if differ(&x[2], &w[2]) {
        return Err(mismatch("inputs of x and W", &x[2], &w[2]));
    }
    let rows = i64::try_from(gates).ok().and_then(|g| hidden.mul(&Dim::from(g))).ok_or(OpError::Overflow)?;
    for side in [&w[1], &r[1]] {
        if differ(side, &rows) {
            return Err(mismatch("rows of W or R against gates times hidden units", side, rows));
        }
    }
    let mut y = vec![hidden.clone(); 4];
    y[v.y_steps] = x[v.steps].clone();
    y[v.y_batch] = x[v.batch].clone();
    y[v.y_directions] = directions.clone();
    let mut state = vec![hidden.clone(); 3];
    state[v.state_batch] = x[v.batch].clone();
    state[v.state_directions] = directions.clone();
    let fact = |shape: Vec<Dim>| Fact { elem: v.x.fact.elem, shape: Some(shape), content: None };
    let count = node.output_count().max(1);
    Ok(std::iter::once(fact(y)).chain(std::iter::repeat_n(fact(state), count - 1)).collect())
}

fn relate(node: &NodeRef, gates: u64, r: &mut Relations) -> Result<(), OpError> {
    let v = Layer::view(node, gates)?;
    let units = v.r.size(2).ok_or(OpError::UnboundSize { index: R })?;
    contract(r, (&v.x, 2), (&v.w, 2), "R1");

    let hidden = r.virtual_axis(units);
    r.contract(hidden, v.r.axis(2), units, "R2");
    let y = node.output(0);
    let states: Vec<Operand> = v.states(node).collect();
    let last = y.iter().map(|y| (y, 3)).chain(states.iter().map(|s| (s, 2)));
    for (o, axis) in last.filter(|(o, axis)| o.size(*axis) == Some(units)) {
        r.tie(hidden, o.axis(axis), units, "R2");
    }

    gated(r, (&v.w, 1), gates, (hidden, units))?;
    gated(r, (&v.r, 1), gates, (hidden, units))?;
    if let Some(bias) = node.input(BIAS) {
        gated(r, (&bias, 1), 2 * gates, (hidden, units))?;
    }
    if let Some(peepholes) = node.input(PEEPHOLES) {
        gated(r, (&peepholes, 1), 3, (hidden, units))?;
    }

    let (directions, steps) = (Reason::Rule("directions of a recurrence"), Reason::Rule("steps of a recurrence"));
    let parameters = [W, R, BIAS, PEEPHOLES].into_iter().filter_map(|i| node.input(i));
    for parameter in parameters {
        freeze(r, &parameter, [0], &directions); // R5
    }
    freeze(r, &v.x, [v.steps], &steps); // R6
    if let Some(lengths) = node.input(LENGTHS) {
        tie(r, (&v.x, v.batch), (&lengths, 0), "R4");
    }
    if let Some(y) = &y {
        tie(r, (&v.x, v.batch), (y, v.y_batch), "R4");
        freeze(r, y, [v.y_directions], &directions); // R5
        freeze(r, y, [v.y_steps], &steps); // R6
    }
    for state in &states {
        tie(r, (&v.x, v.batch), (state, v.state_batch), "R4");
        freeze(r, state, [v.state_directions], &directions); // R5
    }
    Ok(())
}

/// R3: `rows` is (gate, hidden unit) with frozen gates.
fn gated(r: &mut Relations, rows: At, gates: u64, (hidden, units): (AxisRef, u64)) -> Result<(), OpError> {
    let (operand, axis) = rows;
    let expected = gates.checked_mul(units).ok_or(OpError::Overflow)?;
    match operand.size(axis) {
        Some(len) if len == expected => {}
        len => {
            let len = len.map_or("an unknown number".to_string(), |n| n.to_string());
            return Err(mismatch("rows against gates times hidden units", len, expected));
        }
    }
    if gates == 1 {
        r.tie(operand.axis(axis), hidden, units, "R3");
        return Ok(());
    }
    let gate = r.virtual_axis(gates);
    r.freeze(gate, Reason::Rule("gates of a recurrence"));
    r.product(operand.axis(axis), &[gate, hidden], "R3");
    Ok(())
}

fn work(node: &NodeRef, gates: u64) -> Result<Work, OpError> {
    let v = Layer::view(node, gates)?;
    let (x, w, r) = (sizes(node, X)?, sizes(node, W)?, sizes(node, R)?);
    let (input, hidden) = (x[2], r[2]);
    let steps = product(&[x[v.steps], x[v.batch], w[0]])?;
    let fan_in = input.checked_add(hidden).ok_or(OpError::Overflow)?;
    let macs = product(&[steps, gates, hidden, fan_in])?;
    Ok(Work { kernel: Kernel::Recurrent { steps, input, hidden, gates: v.gates }, macs })
}

fn resize(cut: &Resized) -> Result<Vec<Edit>, OpError> {
    let r = cut.before.need_input(R)?;
    let Some(kept) = (cut.kept)(r.value, 2) else { return Ok(Vec::new()) };
    let units = i64::try_from(kept.len()).map_err(|_| OpError::Overflow)?;
    Ok(vec![Edit::Attr("hidden_size", Attr::Int(units))]) // R7
}

/// R8
fn linear(node: &NodeRef, gates: u64) -> Result<Option<InnerMap>, OpError> {
    let v = Layer::view(node, gates)?;
    let constant = v.w.tensor.is_some() && node.input(BIAS).is_none_or(|b| b.tensor.is_some());
    let (Some(directions), Some(rows)) = (v.w.size(0), v.w.size(1)) else { return Ok(None) };
    let row = |d: u64, r: u64| (d * 2 * rows + r) as usize;
    let places = || (0..directions).flat_map(|d| (0..rows).map(move |r| row(d, r))).collect();
    Ok(constant.then(|| InnerMap { x: X, w: W, bias: BIAS, bias_dims: vec![directions, 2 * rows], places: places() }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{check_relation, check_resize, check_shape, check_work};

    fn gru(attrs: &str, x: &str, results: &str) -> String {
        format!(
            r#"g (float[{x}] x) => ()
            <float[2,12,3] w = ["location": "random:1"], float[2,12,4] r = ["location": "random:2"],
             float[2,24] b = ["location": "random:3"]>
            {{ {results} = GRU <hidden_size=4, direction="bidirectional"{attrs}> (x, w, r, b) }}"#
        )
    }
    const LSTM: &str = r#"g (float[7,2,3] x, int32[2] lens, float[1,2,4] h0, float[1,2,4] c0) => ()
        <float[1,16,3] w = ["location": "random:1"], float[1,16,4] r = ["location": "random:2"],
         float[1,12] p = ["location": "random:3"]>
        { y, h, c = LSTM <hidden_size=4> (x, w, r, , lens, h0, c0, p) }"#;

    #[test]
    fn r1_to_r6_gru_hidden_units_are_one_axis() {
        check_relation(
            &gru("", "7,n,3", "y, h"),
            "R1 x:2 * w:2
             R2 $0(4) * r:2
             R2 $0(4) = y:3
             R2 $0(4) = h:2
             freeze $1(3): gates of a recurrence
             R3 w:1 = $1(3) x $0(4)
             freeze $2(3): gates of a recurrence
             R3 r:1 = $2(3) x $0(4)
             freeze $3(6): gates of a recurrence
             R3 b:1 = $3(6) x $0(4)
             freeze w:0: directions of a recurrence
             freeze r:0: directions of a recurrence
             freeze b:0: directions of a recurrence
             freeze x:0: steps of a recurrence
             freeze y:1: directions of a recurrence
             freeze y:0: steps of a recurrence
             freeze h:0: directions of a recurrence",
        );
    }

    #[test]
    fn r2_r3_r4_lstm_has_states_lengths_and_peepholes() {
        check_relation(
            LSTM,
            "R1 x:2 * w:2
             R2 $0(4) * r:2
             R2 $0(4) = y:3
             R2 $0(4) = h0:2
             R2 $0(4) = c0:2
             R2 $0(4) = h:2
             R2 $0(4) = c:2
             freeze $1(4): gates of a recurrence
             R3 w:1 = $1(4) x $0(4)
             freeze $2(4): gates of a recurrence
             R3 r:1 = $2(4) x $0(4)
             freeze $3(3): gates of a recurrence
             R3 p:1 = $3(3) x $0(4)
             freeze w:0: directions of a recurrence
             freeze r:0: directions of a recurrence
             freeze p:0: directions of a recurrence
             freeze x:0: steps of a recurrence
             R4 x:1 = lens:0
             R4 x:1 = y:2
             freeze y:1: directions of a recurrence
             freeze y:0: steps of a recurrence
             R4 x:1 = h0:1
             freeze h0:0: directions of a recurrence
             R4 x:1 = c0:1
             freeze c0:0: directions of a recurrence
             R4 x:1 = h:1
             freeze h:0: directions of a recurrence
             R4 x:1 = c:1
             freeze c:0: directions of a recurrence",
        );
    }

    #[test]
    fn r3_one_gate_is_no_product() {
        let rnn = r#"g (float[7,2,3] x) => () <float[1,4,3] w = ["location": "random:1"],
            float[1,4,4] r = ["location": "random:2"]> { , h = RNN <hidden_size=4> (x, w, r) }"#;
        check_relation(
            rnn,
            "R1 x:2 * w:2
             R2 $0(4) * r:2
             R2 $0(4) = h:2
             R3 w:1 = $0(4)
             R3 r:1 = $0(4)
             freeze w:0: directions of a recurrence
             freeze r:0: directions of a recurrence
             freeze x:0: steps of a recurrence
             R4 x:1 = h:1
             freeze h:0: directions of a recurrence",
        );
    }

    #[test]
    fn shapes_follow_layout_and_directions() {
        check_shape(&gru("", "7,n,3", "y, h"), "float[7,2,n,4]; float[2,n,4]");
        check_shape(&gru(", layout=1", "n,7,3", "y, h"), "float[n,7,2,4]; float[n,2,4]");
        check_shape(LSTM, "float[7,1,2,4]; float[1,2,4]; float[1,2,4]");
        check_shape(&gru("", "7,n,5", "y"), "error: inputs of x and W: 5 against 3");
    }

    #[test]
    fn work_counts_both_directions() {
        let kernel = Kernel::Recurrent { steps: 7 * 5 * 2, input: 3, hidden: 4, gates: 3 };
        check_work(&gru("", "7,n,3", "y"), &[("n", 5)], kernel, 7 * 5 * 2 * 3 * 4 * (3 + 4));
    }

    #[test]
    fn r7_hidden_size_follows() {
        check_resize(&gru("", "7,n,3", "y"), &[("r", 2, &[0, 3])], "hidden_size=Int(2)");
        check_resize(&gru("", "7,n,3", "y"), &[("w", 2, &[0])], "");
    }
}
