//! From tract's words back to the nodes of our graph.
//!
//! tract names nodes in its errors, but names in a model may be empty, equal, or part of one another. So each node is
//! handed to tract under its number, `@17@`, and the numbers are read in what tract says.

use super::NAME;
use crate::RuntimeError;
use crate::guard::guarded;
use std::cell::Cell;
use tract_onnx::pb::{AttributeProto, GraphProto, ModelProto};
use tract_onnx::prelude::TractResult;

/// Operator and label of each numbered node.
#[derive(Clone, Debug, Default)]
pub(super) struct Trace {
    nodes: Vec<(String, String)>,
}

impl Trace {
    /// Numbers the nodes of `proto`, those of subgraphs included.
    pub(super) fn mark(proto: &mut ModelProto) -> Self {
        let mut trace = Self::default();
        if let Some(graph) = &mut proto.graph {
            trace.mark_graph(graph);
        }
        trace
    }
    fn mark_graph(&mut self, graph: &mut GraphProto) {
        for node in &mut graph.node {
            let op = match node.domain.as_str() {
                "" => node.op_type.clone(),
                domain => format!("{domain}.{}", node.op_type),
            };
            let label = if node.name.is_empty() {
                format!("{op} → {}", node.output.first().map_or("", String::as_str))
            } else {
                node.name.clone()
            };
            node.name = format!("@{}@", self.nodes.len());
            self.nodes.push((op, label));
            for attribute in &mut node.attribute {
                let AttributeProto { g, graphs, .. } = attribute;
                g.iter_mut().chain(graphs).for_each(|g| self.mark_graph(g));
            }
        }
    }

    /// Runs one stage of loading; errors and panics name the node that tract speaks of.
    pub(super) fn stage<T>(&self, stage: &'static str, f: impl FnOnce() -> TractResult<T>) -> Result<T, RuntimeError> {
        match guarded(f) {
            Ok(Ok(t)) => Ok(t),
            Ok(Err(e)) => {
                let said = format!("{e:#}");
                let why = self.readable(&said);
                Err(match self.first(&said) {
                    Some((operator, node)) => {
                        RuntimeError::Unsupported { runtime: NAME.to_string(), operator, node, why }
                    }
                    None => RuntimeError::Load { runtime: NAME.to_string(), stage, why },
                })
            }
            Err(said) => {
                let (operator, node) = self.first(&said).unwrap_or_else(|| (stage.to_string(), String::new()));
                Err(RuntimeError::Panicked { runtime: NAME.to_string(), operator, node, why: self.readable(&said) })
            }
        }
    }

    /// Runs a plan that notes the node it is at; `name` gives that node's name.
    pub(super) fn running<T>(
        &self,
        at: &Cell<Option<usize>>,
        f: impl FnOnce() -> TractResult<T>,
        name: impl Fn(usize) -> String,
    ) -> Result<T, RuntimeError> {
        let place = |said: &str| {
            let named = at.get().map(&name).unwrap_or_default();
            self.first(&named).or_else(|| self.first(said)).unwrap_or((String::new(), self.readable(&named)))
        };
        let runtime = NAME.to_string();
        match guarded(f) {
            Ok(Ok(t)) => Ok(t),
            Ok(Err(e)) => {
                let said = format!("{e:#}");
                let (operator, node) = place(&said);
                Err(RuntimeError::Run { runtime, operator, node, why: self.readable(&said) })
            }
            Err(said) => {
                let (operator, node) = place(&said);
                Err(RuntimeError::Panicked { runtime, operator, node, why: self.readable(&said) })
            }
        }
    }

    /// The error for a node that tract, or we for it, cannot run.
    pub(super) fn unsupported(&self, name: &str, why: &str) -> RuntimeError {
        let (operator, node) = self.first(name).unwrap_or_else(|| (String::new(), name.to_string()));
        RuntimeError::Unsupported { runtime: NAME.to_string(), operator, node, why: why.to_string() }
    }

    /// Operator and label of the first node that `text` speaks of.
    fn first(&self, text: &str) -> Option<(String, String)> {
        self.marks(text).next().map(|(_, _, i)| self.nodes[i].clone())
    }

    /// `text` with labels in place of numbers, and short: tract prints whole facts and protobuf messages.
    fn readable(&self, text: &str) -> String {
        const LONGEST: usize = 600;
        let (mut out, mut done) = (String::new(), 0);
        for (start, end, i) in self.marks(text) {
            out.push_str(&text[done..start]);
            out.push_str(&self.nodes[i].1);
            done = end;
        }
        out.push_str(&text[done..]);
        if out.chars().count() > LONGEST {
            out = out.chars().take(LONGEST).collect();
            out.push('…');
        }
        out
    }

    /// Byte ranges of the marks in `text`, with the numbers of their nodes.
    fn marks<'t>(&'t self, text: &'t str) -> impl Iterator<Item = (usize, usize, usize)> + 't {
        text.match_indices('@').filter_map(|(start, _)| {
            let digits = text[start + 1..].find(|c: char| !c.is_ascii_digit())?;
            let end = start + 1 + digits;
            let number = text[start + 1..end].parse().ok().filter(|i| *i < self.nodes.len())?;
            text[end..].starts_with('@').then_some((start, end + 1, number))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_in_errors_become_labels() {
        let trace = Trace { nodes: vec![("Conv".into(), "c1".into()), ("Relu".into(), "a".into())] };
        assert_eq!(trace.readable("at @1@.x in @0@, mail@1.org @7@"), "at a.x in c1, mail@1.org @7@");
        assert_eq!(trace.first("in \"@1@\""), Some(("Relu".into(), "a".into())));
    }
}
