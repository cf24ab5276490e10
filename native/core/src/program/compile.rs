//! From nodes to passes.
//!
//! What is known before a pass (scalars, vectors of earlier passes) is loaded; what is needed of
//! the elements is computed anew in every pass, since keeping it would take a tensor's memory.

use std::collections::{BTreeSet, HashMap};

use super::groups::{Groups, Trim, Vote};
use super::op::{Binary, Leaf, Op, Reduction};
use super::stage::{Collect, Collector, Instruction, Operand, Register, Scaled, Stage, VOTERS};
use super::Node;
use crate::error::{Error, Result};

/// All passes together may have no more instructions; 32 MB, and minutes per tensor.
const MAX_INSTRUCTIONS: usize = 1 << 20;

/// Compile every pass of a program.
pub(super) fn compile(nodes: &[Node], output: usize) -> Result<Vec<Stage>> {
    let needed = reachable(nodes, output);
    let mut uses = vec![0; nodes.len()];
    for arg in needed.iter().flat_map(|node| &nodes[*node].args) {
        uses[*arg] += 1;
    }
    let last = nodes[output].level;
    let mut left = MAX_INSTRUCTIONS;
    let mut stages = Vec::new();
    for pass in 0..=last {
        let mut builder = Builder::new(Groups { nodes, uses: &uses }, pass);
        let collectors = needed.iter().filter_map(|node| collector(nodes, *node, pass));
        for (node, what) in collectors {
            builder.collect(node, what);
        }
        if pass == last {
            builder.stage.output = Some(builder.block(output));
        }
        let stage = builder.finish();
        left = left.checked_sub(stage.body.len()).ok_or_else(|| {
            let passes = last + 1;
            Error::program(format!("program of {} nodes needs {passes} passes", nodes.len()))
        })?;
        stages.push(stage);
    }
    Ok(stages)
}

/// All nodes that the output depends on, in order.
fn reachable(nodes: &[Node], output: usize) -> BTreeSet<usize> {
    let mut found = BTreeSet::from([output]);
    for index in (0..=output).rev() {
        if found.contains(&index) {
            found.extend(&nodes[index].args);
        }
    }
    found
}

/// Whether a node is collected in this pass, and how.
fn collector(nodes: &[Node], node: usize, pass: usize) -> Option<(usize, Collector)> {
    let what = match (nodes[node].op, nodes[node].level.checked_sub(pass)?) {
        (Op::Reduce(op, axis), 1) => Collector::Reduce(op, axis),
        (Op::KthAbs, 2) => Collector::KthBracket,
        (Op::KthAbs, 1) => Collector::KthValue,
        _ => return None,
    };
    Some((node, what))
}

/// A node and the scalar node it is multiplied with.
type Term = (usize, Option<usize>);

/// Operations that one instruction does.
enum Group {
    Scaled(Binary, [Term; 2]),
    Trim(Trim),
    Vote(Vote),
}

/// Emits instructions in virtual registers (one per value) and then assigns real ones.
struct Builder<'a> {
    nodes: &'a [Node],
    groups: Groups<'a>,
    pass: usize,
    stage: Stage,
    /// The virtual register of a node that has been emitted.
    emitted: Vec<Option<Register>>,
    next: Register,
    /// The places of nodes in the stage's list of scalars.
    scalars: HashMap<usize, u16>,
}

impl<'a> Builder<'a> {
    fn new(groups: Groups<'a>, pass: usize) -> Self {
        let (nodes, scalars) = (groups.nodes, HashMap::new());
        let emitted = vec![None; nodes.len()];
        Self { nodes, groups, pass, stage: Stage::default(), emitted, next: 0, scalars }
    }

    fn collect(&mut self, node: usize, what: Collector) {
        let args = &self.nodes[node].args;
        let x = self.block(args[0]);
        let two = matches!(what, Collector::Reduce(Reduction::Vecdot, _));
        let y = if two { self.block(args[1]) } else { x };
        self.stage.collects.push(Collect { node, what, x, y });
    }

    /// The register that holds a node's block, emitting all that is needed for it.
    fn block(&mut self, wanted: usize) -> Register {
        // Depth-first with an explicit stack: a chain of nodes may be long.
        let mut stack = vec![wanted];
        while let Some(&node) = stack.last() {
            if self.emitted[node].is_none() {
                let missing = self.missing_args(node);
                if !missing.is_empty() {
                    stack.extend(missing);
                    continue;
                }
                self.emitted[node] = Some(self.emit(node));
            }
            stack.pop();
        }
        self.emitted[wanted].unwrap_or_default() // emitted by the loop
    }

    /// Whether a node's value is known before this pass.
    fn is_loaded(&self, node: usize) -> bool {
        let known = &self.nodes[node];
        let stored = matches!(known.op, Op::Reduce(..)) && known.level <= self.pass;
        known.kind.is_scalar() || stored
    }

    /// Arguments that must be emitted first; scalars only where they need a block.
    fn missing_args(&self, node: usize) -> Vec<usize> {
        if self.is_loaded(node) {
            return Vec::new();
        }
        let sources = match self.group(node) {
            Some(Group::Vote(vote)) => Some(vote.values),
            Some(Group::Trim(trim)) => Some([trim.x].into_iter().chain(trim.y).collect()),
            Some(Group::Scaled(_, terms)) => Some(terms.map(|term| term.0).to_vec()),
            None => None,
        };
        if let Some(sources) = sources {
            let missing = sources.into_iter().rev();
            return missing.filter(|source| self.emitted[*source].is_none()).collect();
        }
        let direct = matches!(self.nodes[node].op, Op::Binary(_));
        let absent = |arg: &&usize| {
            self.emitted[**arg].is_none() && !(direct && self.nodes[**arg].kind.is_scalar())
        };
        self.nodes[node].args.iter().rev().filter(absent).copied().collect()
    }

    fn emit(&mut self, node: usize) -> Register {
        let target = self.next;
        self.next += 1;
        let known = &self.nodes[node];
        if known.kind.is_scalar() {
            let scalar = self.scalar(node);
            self.stage.prologue.push(Instruction::Splat { target, scalar });
            return target;
        }
        if let Some(group) = self.group(node) {
            let instruction = self.grouped(group, target);
            self.stage.body.push(instruction);
            return target;
        }
        let args = &known.args;
        let instruction = match known.op {
            Op::Leaf(leaf) => self.leaf(leaf, target),
            Op::Unary(op) => Instruction::Unary { op, target, x: self.register(args[0]) },
            Op::Binary(op) => {
                let (x, y) = (self.operand(args[0]), self.operand(args[1]));
                Instruction::Binary { op, target, x, y }
            }
            Op::Where => Instruction::Where {
                target,
                condition: self.register(args[0]),
                x: self.register(args[1]),
                y: self.register(args[2]),
            },
            Op::Reduce(..) | Op::KthAbs => {
                Instruction::Spread { target, node, extent: known.kind.extent }
            }
        };
        self.stage.body.push(instruction);
        target
    }

    /// The operations that one instruction does instead of a node's own.
    fn group(&self, node: usize) -> Option<Group> {
        let vote = || self.groups.vote(node).map(Group::Vote);
        let trim = || self.apart(self.groups.trim(node)?).map(Group::Trim);
        let terms = || self.scaled_terms(node);
        let scaled = || terms().map(|(op, terms)| Group::Scaled(op, terms));
        vote().or_else(trim).or_else(scaled)
    }

    /// A trim that takes a difference as it is, if that was needed before; `None` if what it keeps was.
    fn apart(&self, trim: Trim) -> Option<Trim> {
        if trim.factor.is_some() && self.emitted[trim.kept].is_some() {
            return None;
        }
        Some(match self.emitted[trim.d] {
            Some(_) => Trim { x: trim.d, y: None, ..trim },
            None => trim,
        })
    }

    fn grouped(&mut self, group: Group, target: Register) -> Instruction {
        match group {
            Group::Scaled(op, terms) => {
                let [x, y] = terms.map(|term| self.scaled(term));
                Instruction::Scaled { op, target, x, y }
            }
            Group::Trim(Trim { x, y, least, factor, .. }) => Instruction::Trim {
                target,
                x: self.register(x),
                y: y.map(|y| self.register(y)),
                least: self.scalar(least),
                factor: factor.map(|factor| self.scalar(factor)),
            },
            Group::Vote(Vote { values, by_count, weights }) => {
                let mut registers = [0; VOTERS];
                for (register, value) in registers.iter_mut().zip(&values) {
                    *register = self.register(*value);
                }
                let weights = weights.map(|weights| {
                    let mut scalars = [0; VOTERS];
                    for (scalar, weight) in scalars.iter_mut().zip(weights) {
                        *scalar = self.scalar(weight);
                    }
                    scalars
                });
                let count = values.len();
                Instruction::Vote { target, values: registers, count, by_count, weights }
            }
        }
    }

    /// The terms of a sum or difference of which at least one is a product with a scalar that
    /// nobody has needed yet: weighted sums are what merging is about, and one loop is faster
    /// than three. The products are rounded as they would be by themselves.
    fn scaled_terms(&self, node: usize) -> Option<(Binary, [Term; 2])> {
        let Node { op: Op::Binary(op @ (Binary::Add | Binary::Subtract)), args, .. } =
            &self.nodes[node]
        else {
            return None;
        };
        let terms = [self.term(args[0])?, self.term(args[1])?];
        terms.iter().any(|term| term.1.is_some()).then_some((*op, terms))
    }

    /// A node as a term; `None` if it is a scalar.
    fn term(&self, node: usize) -> Option<Term> {
        let known = &self.nodes[node];
        if known.kind.is_scalar() {
            return None;
        }
        let is_scalar = |arg: usize| self.nodes[arg].kind.is_scalar();
        match (known.op, &known.args[..]) {
            _ if self.emitted[node].is_some() => Some((node, None)),
            (Op::Binary(Binary::Multiply), [x, y]) if is_scalar(*y) => Some((*x, Some(*y))),
            (Op::Binary(Binary::Multiply), [x, y]) if is_scalar(*x) => Some((*y, Some(*x))),
            _ => Some((node, None)),
        }
    }

    fn scaled(&mut self, (node, scale): Term) -> Scaled {
        let scale = scale.map(|scale| self.scalar(scale));
        (self.register(node), scale)
    }

    fn leaf(&mut self, leaf: Leaf, target: Register) -> Instruction {
        match leaf {
            Leaf::Input(index) => {
                let input = slot(&mut self.stage.inputs, index);
                Instruction::Load { target, input }
            }
            Leaf::Random(distribution, stream) => {
                Instruction::Random { target, distribution, stream }
            }
            // The other leaves are scalars and never come here.
            _ => Instruction::RowIndex { target },
        }
    }

    fn register(&self, node: usize) -> Register {
        self.emitted[node].unwrap_or_default() // emitted before, see `missing_args`
    }

    fn operand(&mut self, node: usize) -> Operand {
        if self.nodes[node].kind.is_scalar() {
            return Operand::Scalar(self.scalar(node));
        }
        Operand::Register(self.register(node))
    }

    fn scalar(&mut self, node: usize) -> u16 {
        let list = &mut self.stage.scalars;
        *self.scalars.entry(node).or_insert_with(|| {
            list.push(node);
            (list.len() - 1) as u16
        })
    }

    fn finish(self) -> Stage {
        super::registers::assign(self.stage, usize::from(self.next))
    }
}

/// The place of a value in a list, appended if it is new.
fn slot(list: &mut Vec<usize>, value: usize) -> u16 {
    let place = list.iter().position(|known| *known == value);
    let place = place.unwrap_or_else(|| {
        list.push(value);
        list.len() - 1
    });
    place as u16
}
