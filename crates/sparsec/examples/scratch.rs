//! scratch
use sparsec_analysis::*;
fn main() {
    for path in std::env::args().skip(1) {
        let l = sparsec_onnx::load(path.as_ref()).unwrap();
        let table = sparsec_ops::table();
        let t = std::time::Instant::now();
        let inf = infer(&l.model, &table);
        for p in inf.problems.iter().take(5) { println!("  problem {p:?}"); }
        let c = channels(&l.model, &inf.facts, &table);
        println!("{path}: params {:?} groups {} units {} slots {} in {:?}", c.params, c.groups.len(), c.units.len(), c.axes.slot_count(), t.elapsed());
        for g in &c.groups { println!("  {} units {} params {} axes {}", g.id, g.units.len(), g.params, g.axes.iter().map(|(a,n)| format!("{}x{n}", c.axes.label(&l.model.graph,*a))).collect::<Vec<_>>().join(" ")); }
        for f in &c.frozen { println!("  frozen {} {} slots: {} params {}", c.axes.label(&l.model.graph,f.axis), f.slots, f.freeze.reason, f.params); }
    }
}
