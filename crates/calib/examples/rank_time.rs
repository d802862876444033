//! Times the ranking of groups of single channels: `cargo run --release --example rank_time -- 1024 3072`.

#![allow(clippy::print_stdout, reason = "a command for people")]

use sparsec_calib::rank;
use sparsec_linalg::{Matrix, add_gram};

fn main() {
    for n in std::env::args().skip(1).filter_map(|a| a.parse::<usize>().ok()) {
        let mut draw = sparsec_ir::Draw::new(7);
        let mut gram = |rows: usize| {
            let x: Vec<f32> = (0..rows * n).map(|_| (draw.unit() - 0.5) as f32).collect();
            let mut m = Matrix::zeros(n, n);
            add_gram(&mut m, &x, rows);
            m
        };
        let consumers = [(gram(2 * n), gram(n / 4), (0..n).map(|u| vec![u]).collect::<Vec<_>>())];
        let start = std::time::Instant::now();
        let ranking = rank(n, &consumers, &|| false).expect("nothing stops it");
        println!(
            "{n} units: {:.2} s, first {:?}",
            start.elapsed().as_secs_f64(),
            ranking.order.iter().take(3).collect::<Vec<_>>()
        );
    }
}
