//! A merge method's body as data: checked once, then run without a failing path.
//!
//! Nodes are in topological order. [`Program::new`] gives each its [`Kind`] and its *level*: the
//! number of passes over the inputs that must be over before it is known. Then every pass is
//! compiled ([`compile`]) into a list of instructions over blocks of elements.

mod compile;
mod groups;
mod kind;
mod op;
mod registers;
pub(crate) mod scalar;
pub(crate) mod stage;

pub use kind::{Extent, Kind};
pub use op::{Axis, Binary, Distribution, Leaf, Op, Reduction, Unary};

pub(crate) use groups::LEAST_WEIGHT;

use stage::Stage;

use crate::error::{Error, Result};

/// No program may have more nodes; registers and slots are numbered in 16 bits.
const MAX_NODES: usize = u16::MAX as usize;

/// One operation and where its arguments come from.
#[derive(Debug, Clone)]
pub struct Node {
    /// What it does.
    pub op: Op,
    /// Indices of earlier nodes.
    pub args: Vec<usize>,
    pub(crate) kind: Kind,
    pub(crate) level: usize,
}

/// A validated, compiled program.
#[derive(Debug, Clone)]
pub struct Program {
    nodes: Vec<Node>,
    output: usize,
    inputs: usize,
    scalars: usize,
    stages: Vec<Stage>,
    text: String,
}

/// A node as it is given: name, argument indices, constants.
pub type RawNode = (String, Vec<usize>, Vec<f64>);

impl Program {
    /// Validate and compile; the error names the node.
    pub fn new(raw: &[RawNode], output: usize) -> Result<Self> {
        if raw.len() > MAX_NODES {
            let message = format!("program has {} nodes; allowed: {MAX_NODES}", raw.len());
            return Err(Error::Program(message));
        }
        let mut nodes = Vec::with_capacity(raw.len());
        for (index, (name, args, constants)) in raw.iter().enumerate() {
            let node = check_node(&nodes, name, args, constants)
                .map_err(|error| Error::program(format!("node {index} ({name}): {error}")))?;
            nodes.push(node);
        }
        if output >= nodes.len() {
            let message = format!("output is node {output}; there are {}", nodes.len());
            return Err(Error::Program(message));
        }
        let stages = compile::compile(&nodes, output)?;
        let leaves = || nodes.iter().map(|node| node.op);
        let inputs = count(leaves().map(matches_input));
        let scalars = count(leaves().map(matches_scalar));
        let text = format!("{output} of {raw:?}");
        Ok(Self { nodes, output, inputs, scalars, stages, text })
    }

    /// How often the inputs are streamed.
    pub fn passes(&self) -> usize {
        self.stages.len()
    }

    /// Number of inputs of a job: highest index + 1.
    pub fn inputs(&self) -> usize {
        self.inputs
    }

    /// Number of hyperparameters of a job: highest index + 1.
    pub fn scalars(&self) -> usize {
        self.scalars
    }

    /// The nodes in their given order.
    pub fn nodes(&self) -> &[Node] {
        &self.nodes
    }

    /// The node that is stored.
    pub fn output(&self) -> usize {
        self.output
    }

    /// What is the same of programs that do the same, and of no others.
    pub(crate) fn text(&self) -> &str {
        &self.text
    }

    pub(crate) fn stages(&self) -> &[Stage] {
        &self.stages
    }
}

fn check_node(nodes: &[Node], name: &str, args: &[usize], constants: &[f64]) -> Result<Node> {
    let op = Op::parse(name, constants)?;
    if args.len() != op.arity() {
        let message = format!("takes {} arguments, {} given", op.arity(), args.len());
        return Err(Error::Program(message));
    }
    if let Some(arg) = args.iter().find(|arg| **arg >= nodes.len()) {
        return Err(Error::program(format!("argument {arg} is not an earlier node")));
    }
    let kinds: Vec<Kind> = args.iter().map(|arg| nodes[*arg].kind).collect();
    let kind = Kind::of(op, &kinds)?;
    let ready = args.iter().map(|arg| nodes[*arg].level).max().unwrap_or(0);
    let level = match op {
        Op::Reduce(..) => ready + 1,
        Op::KthAbs => ready + 2,
        _ => ready,
    };
    Ok(Node { op, args: args.to_vec(), kind, level })
}

fn matches_input(op: Op) -> Option<usize> {
    match op {
        Op::Leaf(Leaf::Input(index)) => Some(index),
        _ => None,
    }
}

fn matches_scalar(op: Op) -> Option<usize> {
    match op {
        Op::Leaf(Leaf::Scalar(index)) => Some(index),
        _ => None,
    }
}

/// Highest index + 1, or 0.
fn count(indices: impl Iterator<Item = Option<usize>>) -> usize {
    indices.flatten().max().map_or(0, |index| index + 1)
}
