//! Every instruction set gives the same bits, for every operation and every type.

use std::sync::Arc;

use super::frame::{Encoding, Frame};
use super::geometry::Geometry;
use super::machine::Machine;
use super::simd::Level;
use super::view::View;
use super::BLOCK;
use crate::codec::blocks::{Code, Codec, Scaled, Scales, Window};
use crate::dtype::Dtype;
use crate::program::stage::Stage;
use crate::program::{Binary, Program, RawNode, Unary};
use crate::reduce::{Bracket, Form, Local};

const LENGTH: usize = BLOCK - 5;

const DTYPES: [Dtype; 6] =
    [Dtype::F16, Dtype::BF16, Dtype::F32, Dtype::F64, Dtype::F8_E4M3, Dtype::F8_E5M2];

fn node(name: &str, args: &[usize], constants: &[f64]) -> RawNode {
    (name.to_owned(), args.to_vec(), constants.to_vec())
}

/// Random bits: every kind of number, subnormals, infinities and NaN among them.
fn bits(count: usize, seed: u64) -> Vec<u8> {
    let mut state = seed;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state as u8
    };
    (0..count).map(|_| next()).collect()
}

/// A run from the first of so many elements on, without anything random.
fn frame<'a>(
    stage: &'a Stage,
    inputs: &'a [View<'a>],
    scalars: &'a [f32],
    elements: u64,
    encoding: Encoding,
) -> Frame<'a> {
    let geometry = Geometry::of(&[elements]);
    Frame {
        stage,
        inputs,
        scalars,
        vectors: &[],
        geometry,
        seed: 0,
        begin: 0,
        encoding,
        past: false,
    }
}

/// Encode a program's block; NaN made one, since their payloads differ between instructions.
fn run(level: Level, nodes: &[RawNode], from: Dtype, to: Dtype) -> Vec<u8> {
    let program = Program::new(nodes, nodes.len() - 1).unwrap();
    let stage = &program.stages()[0];
    let sources = [bits(LENGTH * 8, 1), bits(LENGTH * 8, 2)];
    let inputs: Vec<View> =
        stage.inputs.iter().map(|input| View::Plain(&sources[*input][..], from)).collect();
    let vectors: Vec<Arc<Vec<f32>>> = Vec::new();
    let geometry = Geometry::of(&[3, LENGTH as u64]);
    let results = [false, true].map(|by_chance| {
        let frame = Frame {
            stage,
            inputs: &inputs,
            scalars: &[0.7],
            vectors: &vectors,
            geometry,
            seed: 9,
            begin: 1000,
            encoding: Encoding { dtype: to, by_chance },
            past: false,
        };
        let mut machine = Machine::at_level(level);
        machine.start(&frame);
        let mut output = vec![0; LENGTH * to.bytes()];
        machine.produce(&frame, 0, &mut output);
        output
    });
    results.concat()
}

fn same(nodes: &[RawNode], from: Dtype, to: Dtype) {
    let portable = run(Level::Portable, nodes, from, to);
    let name = &nodes[nodes.len() - 1].0;
    for level in Level::all() {
        let found = run(level, nodes, from, to);
        let pairs = portable.chunks(to.bytes()).zip(found.chunks(to.bytes()));
        for (index, (x, y)) in pairs.enumerate() {
            let both_nan = to == Dtype::F32 && [x, y].iter().all(|bytes| is_nan(bytes));
            let what = format!("{name} of {from:?} as {to:?} by {level:?} at {index}");
            assert!(x == y || both_nan, "{what}: {x:?} {y:?}");
        }
    }
}

fn is_nan(bytes: &[u8]) -> bool {
    f32::from_le_bytes(bytes.try_into().unwrap()).is_nan()
}

#[test]
fn conversions_are_the_same_on_every_processor() {
    for from in DTYPES {
        for to in DTYPES {
            same(&[node("input", &[], &[0.0])], from, to);
        }
    }
}

#[test]
fn operations_are_the_same_on_every_processor() {
    let inputs = || vec![node("input", &[], &[0.0]), node("input", &[], &[1.0])];
    let with = |last: RawNode| {
        let mut nodes = inputs();
        nodes.push(node("scalar", &[], &[0.0]));
        nodes.push(node("less", &[0, 1], &[]));
        nodes.push(last);
        nodes
    };
    for from in [Dtype::F32, Dtype::F16] {
        for (op, name) in Unary::ALL {
            let argument = if *op == Unary::LogicalNot { 3 } else { 0 };
            same(&with(node(name, &[argument], &[])), from, Dtype::F32);
        }
        for (op, name) in Binary::ALL {
            let logical = matches!(op, Binary::LogicalAnd | Binary::LogicalOr);
            let pairs = if logical { vec![[3, 3]] } else { vec![[0, 1], [0, 2], [2, 0]] };
            for pair in pairs {
                same(&with(node(name, &pair, &[])), from, Dtype::F32);
            }
        }
        same(&with(node("where", &[3, 0, 2], &[])), from, Dtype::F32);
        same(&with(node("row_index", &[], &[])), from, Dtype::F32);
        same(&with(node("random_uniform", &[], &[1.0])), from, Dtype::F32);
        same(&with(node("random_normal", &[], &[1.0])), from, Dtype::F32);
    }
}

/// A sum of random numbers, as a machine computes it.
#[derive(PartialEq)]
struct Sum {
    finite: bool,
    nonfinite: Vec<bool>,
    /// All NaN made one.
    numbers: Vec<u16>,
    /// Whether the machine has a way straight from bytes.
    straight: bool,
}

/// How a sum is computed.
#[derive(Clone, Copy, PartialEq)]
enum By {
    /// Step by step over strips.
    Registers,
    /// In long runs, where the stage is one that can be.
    Runs,
    /// As the machine likes best.
    Choice,
    /// The same, with stores past the caches where it has them.
    PastCaches,
}

/// A sum of random numbers of which some bits are kept and some set.
fn weighted(level: Level, nodes: &[RawNode], dtype: Dtype, (kept, set): (u16, u16), by: By) -> Sum {
    let program = Program::new(nodes, nodes.len() - 1).unwrap();
    let stage = &program.stages()[0];
    let masked = |seed| -> Vec<u8> {
        let bits = bits(LENGTH * 2, seed);
        let halves = bits.as_chunks::<2>().0.iter().map(|bytes| u16::from_le_bytes(*bytes));
        halves.flat_map(|half| (half & kept | set).to_le_bytes()).collect()
    };
    let sources = [masked(1), masked(2), masked(3)];
    let inputs: Vec<View> =
        stage.inputs.iter().map(|input| View::Plain(&sources[*input][..], dtype)).collect();
    let encoding = Encoding { dtype, by_chance: false };
    let frame = frame(stage, &inputs, &[0.7, -1.3, 0.2, 1.1], LENGTH as u64, encoding);
    let mut machine = Machine::at_level(level);
    machine.start(&frame);
    let mut output = vec![0; LENGTH * 2];
    if by == By::Registers {
        machine.forget_runs();
    }
    let finite = match by {
        By::Registers | By::Runs => machine.compute(&frame, 0, &mut output),
        By::Choice => machine.produce(&frame, 0, &mut output),
        By::PastCaches => {
            let frame = Frame { past: true, ..frame };
            // Where no vector may be written past the caches, too.
            let mut odd = vec![0; LENGTH * 2 + 1];
            let finite = machine.produce(&frame, 0, &mut odd[1..]);
            assert_eq!(machine.produce(&frame, 0, &mut output), finite);
            assert!(odd[1..] == output);
            finite
        }
    };
    let straight = machine.is_short();
    let infinity = if dtype == Dtype::F16 { 0x7c00 } else { 0x7f80 };
    let halves = output.as_chunks::<2>().0.iter().map(|bytes| u16::from_le_bytes(*bytes));
    let numbers = halves.map(|half| if half & 0x7fff > infinity { u16::MAX } else { half });
    Sum { finite, nonfinite: machine.nonfinite, numbers: numbers.collect(), straight }
}

/// Programs whose sums are computed straight from bytes.
fn sums() -> Vec<Vec<RawNode>> {
    let leaves = |inputs: usize, scalars: usize| -> Vec<RawNode> {
        let leaf = |name| move |index: usize| node(name, &[], &[index as f64]);
        (0..inputs).map(leaf("input")).chain((0..scalars).map(leaf("scalar"))).collect()
    };
    let two = ["add", "subtract"].into_iter().flat_map(|op| {
        [[4, 5], [5, 4], [4, 1], [0, 5]].map(|last| {
            let products = [node("multiply", &[0, 2], &[]), node("multiply", &[1, 3], &[])];
            [leaves(2, 2), products.to_vec(), vec![node(op, &last, &[])]].concat()
        })
    });
    // x + (y - z) * s and what differs from it in signs.
    let changes = || {
        let difference = node("subtract", &[1, 2], &[]);
        let products = [node("multiply", &[3, 5], &[]), node("multiply", &[0, 3], &[])];
        [leaves(3, 2), vec![difference], products.to_vec()].concat()
    };
    let three = [[0, 6], [6, 0], [7, 5], [5, 7], [7, 6]].into_iter().flat_map(move |last| {
        ["add", "subtract"].map(|op| [changes(), vec![node(op, &last, &[])]].concat())
    });
    // x + ((y - x) * s + (z - x) * t)
    let around = [
        node("subtract", &[1, 0], &[]),
        node("subtract", &[2, 0], &[]),
        node("multiply", &[5, 3], &[]),
        node("multiply", &[6, 4], &[]),
        node("add", &[7, 8], &[]),
        node("add", &[0, 9], &[]),
    ];
    let around = [leaves(3, 2), around.to_vec()].concat();
    let votes = [false, true].map(voted_changes);
    two.chain(three).chain([around, sides()]).chain(votes).collect()
}

/// A vote of two trimmed changes with a scale.
fn voted_changes(by_count: bool) -> Vec<RawNode> {
    let mut nodes = voting(2, by_count, true);
    let scale = nodes.iter().position(|node| node.0 == "scalar").unwrap();
    let (_, args, _) = nodes.pop().unwrap();
    nodes.push(node("multiply", &[args[1], scale], &[]));
    nodes.push(node("add", &[args[0], nodes.len() - 1], &[]));
    nodes
}

/// A root of two squared differences with the sign of another.
fn sides() -> Vec<RawNode> {
    let step = |name, args: &[usize]| node(name, args, &[]);
    let [a, b, c, s, t] = [0, 1, 2, 3, 4];
    vec![
        node("input", &[], &[0.0]),
        node("input", &[], &[1.0]),
        node("input", &[], &[2.0]),
        node("scalar", &[], &[0.0]),
        node("scalar", &[], &[1.0]),
        step("subtract", &[a, c]),
        step("multiply", &[5, s]),
        step("square", &[6]),
        step("subtract", &[b, c]),
        step("multiply", &[8, t]),
        step("square", &[9]),
        step("add", &[7, 10]),
        step("sqrt", &[11]),
        step("multiply", &[s, a]),
        step("multiply", &[t, b]),
        step("add", &[13, 14]),
        step("subtract", &[15, c]),
        step("copysign", &[12, 16]),
        step("multiply", &[17, s]),
        step("add", &[c, 18]),
    ]
}

/// Programs that sum products of two or three values over a tensor, straight from bytes.
fn summing() -> Vec<Vec<RawNode>> {
    let leaves = || {
        let leaf = |index: usize| node("input", &[], &[index as f64]);
        let scalars = [0, 1].map(|index| node("scalar", &[], &[f64::from(index)]));
        [[0, 1, 2].map(leaf).to_vec(), scalars.to_vec()].concat()
    };
    let step = |name, args: &[usize]| node(name, args, &[]);
    let whole = |name, args: &[usize]| node(name, args, &[-2.0]);
    let angle =
        |x, y| [whole("vector_norm", &[x]), whole("vector_norm", &[y]), whole("vecdot", &[x, y])];
    let both = |first| [step("add", &[first, first + 1]), step("add", &[first + 3, first + 2])];
    let inputs = [leaves(), angle(1, 0).to_vec(), both(5).to_vec()].concat();
    let differences = [step("subtract", &[0, 1]), step("subtract", &[2, 1])];
    let changes = [leaves(), differences.to_vec(), angle(5, 6).to_vec(), both(7).to_vec()].concat();
    let between = [
        step("multiply", &[0, 3]),
        step("multiply", &[2, 4]),
        step("add", &[7, 8]),
        step("subtract", &[9, 1]),
    ];
    let norms = [5, 6, 10].map(|value| whole("vector_norm", &[value]));
    let sides =
        [leaves(), differences.to_vec(), between.to_vec(), norms.to_vec(), both(11).to_vec()];
    vec![inputs, changes, sides.concat()]
}

/// A program that looks for k-th values of two differences, in its second pass for where they are.
fn selecting() -> Vec<RawNode> {
    let step = |name, args: &[usize]| node(name, args, &[]);
    vec![
        node("input", &[], &[0.0]),
        node("input", &[], &[1.0]),
        node("input", &[], &[2.0]),
        node("constant", &[], &[100.0]),
        step("subtract", &[0, 1]),
        step("subtract", &[2, 1]),
        step("kth_abs", &[4, 3]),
        step("kth_abs", &[5, 3]),
        step("add", &[6, 7]),
        step("add", &[8, 0]),
    ]
}

/// A block of random numbers; of the last byte of each, with the highest bit of the exponent, `kept`.
fn masked(dtype: Dtype, kept: u8, seed: u64) -> Vec<u8> {
    let mut bytes = bits(BLOCK * dtype.bytes(), seed);
    bytes.iter_mut().skip(dtype.bytes() - 1).step_by(dtype.bytes()).for_each(|x| *x &= kept);
    bytes
}

/// What a block at most of random numbers counts for k-th values, and which inputs are not finite.
fn counted(
    level: Level,
    (stage, bracket): (&Stage, Bracket),
    dtype: Dtype,
    (kept, length): (u8, usize),
    straight: bool,
) -> (String, Vec<bool>) {
    let sources = [1, 2, 3].map(|seed| masked(dtype, kept, seed));
    let inputs: Vec<View> =
        stage.inputs.iter().map(|input| View::Plain(&sources[*input][..], dtype)).collect();
    let encoding = Encoding { dtype, by_chance: false };
    let frame = frame(stage, &inputs, &[], length as u64, encoding);
    let mut machine = Machine::at_level(level);
    machine.start(&frame);
    assert!(machine.is_short());
    let mut local = Local::default();
    local.begin_unit(&Form::all(stage, &frame.geometry, |_| bracket), &frame.geometry);
    local.begin_tile(0, length as u64);
    for offset in (0..length).step_by(400) {
        let count = 400.min(length - offset);
        if straight {
            machine.collect(&frame, &mut local, (0, offset), count);
        } else {
            machine.collect_registers(&frame, &mut local, (0, offset), count);
        }
    }
    (format!("{local:?}"), machine.nonfinite)
}

#[test]
fn counts_straight_from_bytes_are_those_of_the_registers() {
    let nodes = selecting();
    let program = Program::new(&nodes, nodes.len() - 1).unwrap();
    let bracket = Bracket { first: 0.25_f32.to_bits(), length: 1 << 23 };
    for stage in &program.stages()[..2] {
        for dtype in [Dtype::F16, Dtype::BF16, Dtype::F32] {
            for case in [(0xff, BLOCK), (0xbf, 5), (0xbf, 16), (0xbf, 777)] {
                let wanted = counted(Level::Portable, (stage, bracket), dtype, case, false);
                assert_eq!(wanted.1.contains(&true), case.0 == 0xff);
                for level in Level::all() {
                    let found = counted(level, (stage, bracket), dtype, case, true);
                    assert!(found == wanted, "{level:?}, {dtype:?}, {case:?}");
                }
            }
        }
    }
}

/// The sums that a stage collects of random numbers, a block at most, and which inputs are not finite.
fn summed(
    level: Level,
    nodes: &[RawNode],
    dtype: Dtype,
    (kept, length): (u8, usize),
    straight: bool,
) -> (Vec<u64>, Vec<bool>) {
    let program = Program::new(nodes, nodes.len() - 1).unwrap();
    let stage = &program.stages()[0];
    let sources = [1, 2, 3].map(|seed| masked(dtype, kept, seed));
    let inputs: Vec<View> =
        stage.inputs.iter().map(|input| View::Plain(&sources[*input][..], dtype)).collect();
    let encoding = Encoding { dtype, by_chance: false };
    let frame = frame(stage, &inputs, &[0.7, -1.3], length as u64, encoding);
    let mut machine = Machine::at_level(level);
    machine.start(&frame);
    assert!(machine.is_short(), "{nodes:?} of {dtype:?}");
    let mut local = Local::default();
    local.begin_unit(&Form::all(stage, &frame.geometry, |_| Bracket::default()), &frame.geometry);
    local.begin_tile(0, length as u64);
    for offset in (0..length).step_by(400) {
        let count = 400.min(length - offset);
        if straight {
            machine.collect(&frame, &mut local, (0, offset), count);
        } else {
            machine.collect_registers(&frame, &mut local, (0, offset), count);
        }
    }
    let bits = |x: f64| if x.is_nan() { u64::MAX } else { x.to_bits() };
    (local.folded().into_iter().map(bits).collect(), machine.nonfinite)
}

#[test]
fn sums_straight_from_bytes_are_those_of_the_registers() {
    for dtype in [Dtype::F16, Dtype::BF16, Dtype::F32] {
        for nodes in summing() {
            for case in [(0xff, BLOCK), (0xbf, BLOCK), (0xbf, 5), (0xbf, 16), (0xbf, 777)] {
                let wanted = summed(Level::Portable, &nodes, dtype, case, false);
                assert!(case.0 == 0xff || !wanted.0.contains(&u64::MAX));
                assert_eq!(wanted.1.contains(&true), case.0 == 0xff);
                for level in Level::all() {
                    let found = summed(level, &nodes, dtype, case, true);
                    assert_eq!(found, wanted, "{level:?}, {dtype:?}, {case:?}, {nodes:?}");
                }
            }
        }
    }
}

#[test]
fn a_sum_straight_from_bytes_is_that_of_the_registers() {
    for (dtype, exponent, last) in [(Dtype::F16, 0x7c00, 0x0400), (Dtype::BF16, 0x7f80, 0x0080)] {
        // All numbers; none infinite, but some of the sums; small ones.
        let large = (!last, exponent & !last & 0x7c00);
        let cases = [((0xffff, 0), [false; 2]), (large, [true, false]), ((0xbfff, 0), [true; 2])];
        for (mask, expected) in cases {
            for nodes in sums() {
                let sum = |level, by| weighted(level, &nodes, dtype, mask, by);
                let wanted = sum(Level::Portable, By::Registers);
                assert!(wanted.straight, "{nodes:?} of {dtype:?}");
                assert_eq!([!wanted.nonfinite.contains(&true), wanted.finite], expected);
                for level in Level::all() {
                    assert!(sum(level, By::Runs) == wanted, "{nodes:?} of {dtype:?}");
                    assert!(sum(level, By::Choice) == wanted, "{nodes:?} of {dtype:?}");
                    assert!(sum(level, By::PastCaches) == wanted, "{nodes:?} of {dtype:?}");
                }
            }
        }
    }
}

/// Programs that look like sums of [`sums`] and are not.
fn unlike_sums() -> Vec<Vec<RawNode>> {
    let leaves = [
        node("input", &[], &[0.0]),
        node("input", &[], &[1.0]),
        node("input", &[], &[2.0]),
        node("scalar", &[], &[0.0]),
    ];
    let with = |steps: &[RawNode]| [&leaves[..], steps].concat();
    let difference = || node("subtract", &[1, 2], &[]);
    let scaled = || node("multiply", &[3, 4], &[]);
    vec![
        // x * s + (y - z) * s, times s
        with(&[
            difference(),
            scaled(),
            node("multiply", &[0, 3], &[]),
            node("add", &[6, 5], &[]),
            node("multiply", &[7, 3], &[]),
        ]),
        // x + ((y - x) * s + (z - y) * s)
        with(&[
            node("subtract", &[1, 0], &[]),
            node("subtract", &[2, 1], &[]),
            node("multiply", &[4, 3], &[]),
            node("multiply", &[5, 3], &[]),
            node("add", &[6, 7], &[]),
            node("add", &[0, 8], &[]),
        ]),
        // x * s + x * s - y
        with(&[
            node("multiply", &[0, 3], &[]),
            node("add", &[4, 4], &[]),
            node("subtract", &[5, 1], &[]),
        ]),
    ]
}

#[test]
fn what_only_looks_like_a_sum_is_what_the_registers_make_of_it() {
    for dtype in [Dtype::F16, Dtype::BF16] {
        for nodes in unlike_sums() {
            for level in Level::all() {
                let produced = weighted(level, &nodes, dtype, (0xbfff, 0), By::Choice);
                let wanted = weighted(Level::Portable, &nodes, dtype, (0xbfff, 0), By::Registers);
                assert!(produced.numbers == wanted.numbers, "{nodes:?} of {dtype:?}");
            }
        }
    }
}

/// Numbers of a block that is looked up in a table.
const LOOKED_UP: usize = 61;

/// Every pair of bytes, NaN and infinities among them, by a machine that goes from one stage and
/// scalar to the next and back, against registers. Its tables must not be taken for one another.
fn tabled(level: Level, programs: [&Program; 2], from: [Dtype; 2], to: Dtype) {
    let sources: [Vec<u8>; 2] =
        [(0..=255).flat_map(|x| [x; 256]).collect(), (0..=255).collect::<Vec<u8>>().repeat(256)];
    let inputs = [0, 1].map(|input| View::Plain(&sources[input][..], from[input]));
    let encoding = Encoding { dtype: to, by_chance: false };
    let stages = programs.map(|program| &program.stages()[0]);
    // Neighbours differ in the scalar only, or in the stage only.
    let turns = [(0, 0.7), (0, 0.25), (1, 0.25), (1, 0.7), (0, 0.7)];
    let mut machine = Machine::at_level(level);
    let mut before = Vec::new();
    for (stage, scalar) in turns {
        let scalars = [scalar];
        let frame = frame(stages[stage], &inputs, &scalars, 1 << 20, encoding);
        let mut registers = Machine::at_level(level);
        machine.start(&frame);
        assert!(machine.is_short());
        let mut all = Vec::new();
        // Blocks so short that most have finite numbers only: others are not looked up.
        for offset in (0..(1 << 16) - LOOKED_UP).step_by(LOOKED_UP) {
            let size = LOOKED_UP * to.bytes();
            let (mut output, mut expected) = (vec![0; size], vec![0; size]);
            machine.start(&frame);
            registers.start(&frame);
            let finite = machine.produce(&frame, offset, &mut output);
            assert_eq!(registers.compute(&frame, offset, &mut expected), finite);
            assert_eq!(machine.nonfinite, registers.nonfinite);
            assert_eq!(
                output, expected,
                "{from:?} to {to:?}, {stage} with {scalar}, from {offset}"
            );
            all.extend(expected);
        }
        assert!(all != before, "each turn has results of its own");
        before = all;
    }
}

#[test]
fn a_table_of_pairs_has_what_the_registers_have() {
    let program = |last: &str| {
        let nodes = [
            node("input", &[], &[0.0]),
            node("input", &[], &[1.0]),
            node("scalar", &[], &[0.0]),
            node("less", &[0, 1], &[]),
            node("where", &[3, 0, 2], &[]),
            node("multiply", &[4, 1], &[]),
            node(last, &[5], &[]),
        ];
        Program::new(&nodes, nodes.len() - 1).unwrap()
    };
    let programs = ["sin", "cos"].map(program);
    let (four, five) = (Dtype::F8_E4M3, Dtype::F8_E5M2);
    for level in Level::all() {
        for from in [[four, four], [five, five], [four, five], [five, four]] {
            for to in [four, five, Dtype::F16, Dtype::BF16] {
                tabled(level, programs.each_ref(), from, to);
            }
        }
    }
}

#[test]
fn no_table_is_made_of_what_is_no_function_of_two_bytes() {
    let inputs = [node("input", &[], &[0.0]), node("input", &[], &[1.0])];
    let with = |last: &[RawNode]| [&inputs[..], last].concat();
    let eight = [Dtype::F8_E4M3; 2];
    let nearest = Encoding { dtype: Dtype::F8_E4M3, by_chance: false };
    let short = |nodes: &[RawNode], from: [Dtype; 2], encoding: Encoding, elements: u64| {
        let program = Program::new(nodes, nodes.len() - 1).unwrap();
        let stage = &program.stages()[0];
        let inputs = from.map(|dtype| View::Plain(&[0_u8; 8][..], dtype));
        let inputs = &inputs[..stage.inputs.len()];
        let frame = frame(stage, inputs, &[2e38], elements, encoding);
        let mut machine = Machine::new();
        machine.start(&frame);
        machine.is_short()
    };
    let sum = with(&[node("add", &[0, 1], &[])]);
    let large = 1 << 20;
    assert!(short(&sum, eight, nearest, large));
    assert!(!short(&sum, eight, nearest, 1000));
    assert!(!short(&sum, [Dtype::F8_E4M3, Dtype::F16], nearest, large));
    assert!(!short(&sum, eight, Encoding { dtype: Dtype::F32, ..nearest }, large));
    assert!(!short(&sum, eight, Encoding { by_chance: true, ..nearest }, large));
    let drawn = [node("random_uniform", &[], &[1.0]), node("add", &[0, 2], &[])];
    assert!(!short(
        &[with(&drawn), vec![node("add", &[3, 1], &[])]].concat(),
        eight,
        nearest,
        large
    ));
    let row = [node("row_index", &[], &[]), node("add", &[0, 2], &[])];
    assert!(!short(&[with(&row), vec![node("add", &[3, 1], &[])]].concat(), eight, nearest, large));
    // Overflows in float32 are told of each element, so they are computed.
    let overflow = with(&[
        node("scalar", &[], &[0.0]),
        node("multiply", &[0, 2], &[]),
        node("multiply", &[3, 1], &[]),
    ]);
    assert!(!short(&overflow, eight, nearest, large));
}

/// The nodes of a merge of task vectors whose greatest elements vote: of the models after the first
/// input, with a threshold and a weight for each.
fn voting(models: usize, by_count: bool, normalised: bool) -> Vec<RawNode> {
    let mut nodes: Vec<RawNode> = Vec::new();
    let mut add = |name: &str, args: &[usize], constants: &[f64]| {
        nodes.push(node(name, args, constants));
        nodes.len() - 1
    };
    let [zero, one, minus, small] = [0.0, 1.0, -1.0, 1e-8].map(|x| add("constant", &[], &[x]));
    let base = add("input", &[], &[0.0]);
    let mut weights = Vec::new();
    let mut values = Vec::new();
    for model in 0..models {
        let x = add("input", &[], &[(model + 1) as f64]);
        let least = add("scalar", &[], &[(2 * model) as f64]);
        let weight = add("scalar", &[], &[(2 * model + 1) as f64]);
        let d = add("subtract", &[x, base], &[]);
        let magnitude = add("abs", &[d], &[]);
        let large = add("greater_equal", &[magnitude, least], &[]);
        let kept = add("where", &[large, d, zero], &[]);
        values.push(add("multiply", &[weight, kept], &[]));
        weights.push(weight);
    }
    let votes: Vec<usize> = if by_count {
        values.iter().map(|value| add("sign", &[*value], &[])).collect()
    } else {
        values.clone()
    };
    let sum = votes.into_iter().reduce(|x, y| add("add", &[x, y], &[])).unwrap();
    let elected = if by_count {
        add("sign", &[sum], &[])
    } else {
        let positive = add("greater_equal", &[sum, zero], &[]);
        add("where", &[positive, one, minus], &[])
    };
    let (mut mixed, mut shares) = (Vec::new(), Vec::new());
    for (value, weight) in values.iter().zip(weights) {
        let product = add("multiply", &[*value, elected], &[]);
        let agrees = add("greater", &[product, zero], &[]);
        mixed.push(add("where", &[agrees, *value, zero], &[]));
        shares.push(add("where", &[agrees, weight, zero], &[]));
    }
    let mut result = mixed.into_iter().reduce(|x, y| add("add", &[x, y], &[])).unwrap();
    if normalised {
        let share = shares.into_iter().reduce(|x, y| add("add", &[x, y], &[])).unwrap();
        let magnitude = add("abs", &[share], &[]);
        let none = add("less", &[magnitude, small], &[]);
        let divisor = add("where", &[none, one, share], &[]);
        result = add("divide", &[result, divisor], &[]);
    }
    add("add", &[base, result], &[]);
    nodes
}

/// The same for one element, as its description has it.
fn voted(numbers: &[f32], scalars: &[f32], by_count: bool, normalised: bool) -> f32 {
    let base = numbers[0];
    let trimmed = |(model, x): (usize, &f32)| {
        let (least, weight) = (scalars[2 * model], scalars[2 * model + 1]);
        weight * if (x - base).abs() >= least { x - base } else { 0.0 }
    };
    let values: Vec<f32> = numbers[1..].iter().enumerate().map(trimmed).collect();
    let sign = |x: f32| f32::from(i8::from(x > 0.0) - i8::from(x < 0.0));
    let sum = |values: Vec<f32>| values.into_iter().reduce(|x, y| x + y).unwrap();
    let elected = if by_count {
        sign(sum(values.iter().map(|x| sign(*x)).collect()))
    } else if sum(values.clone()) >= 0.0 {
        1.0
    } else {
        -1.0
    };
    let agrees = |value: &f32| value * elected > 0.0;
    let mixed = sum(values.iter().map(|x| if agrees(x) { *x } else { 0.0 }).collect());
    let shares = values.iter().enumerate();
    let share =
        sum(shares.map(|(i, x)| if agrees(x) { scalars[2 * i + 1] } else { 0.0 }).collect());
    let divisor = if share.abs() < 1e-8 { 1.0 } else { share };
    base + if normalised { mixed / divisor } else { mixed }
}

#[test]
fn a_vote_in_one_loop_is_that_of_its_formula() {
    use crate::program::stage::Instruction::{Trim, Vote};
    let scalars = [0.5, 1.0, 0.1, 0.7, f32::INFINITY, 1.5, 0.0, -0.3, 0.2, 1.0];
    let finite = |bytes: [u8; 4]| f32::from_le_bytes([bytes[0], bytes[1], bytes[2], 0x3e]);
    let sources: [Vec<u8>; 6] = std::array::from_fn(|seed| {
        let bits = bits(LENGTH * 4, seed as u64 + 1);
        // Numbers of both signs about as large as thresholds, and some that are equal.
        let number =
            |bytes: &[u8; 4]| finite(*bytes) * [1.0, -1.0, 0.0, 4.0][usize::from(bytes[3] % 4)];
        bits.as_chunks::<4>().0.iter().flat_map(|bytes| number(bytes).to_le_bytes()).collect()
    });
    for models in 2..=5 {
        for (by_count, normalised) in [(false, false), (false, true), (true, false), (true, true)] {
            let nodes = voting(models, by_count, normalised);
            let program = Program::new(&nodes, nodes.len() - 1).unwrap();
            let stage = &program.stages()[0];
            let trims = stage.body.iter().filter(|step| matches!(step, Trim { .. })).count();
            let votes = stage.body.iter().filter(|step| matches!(step, Vote { .. })).count();
            assert_eq!((trims, votes), (models, usize::from(models < 5)));
            let inputs: Vec<View> = stage
                .inputs
                .iter()
                .map(|input| View::Plain(&sources[*input][..], Dtype::F32))
                .collect();
            let known: Vec<f32> = stage
                .scalars
                .iter()
                .map(|node| match nodes[*node].2[0] {
                    index if nodes[*node].0 == "scalar" => scalars[index as usize],
                    constant => constant as f32,
                })
                .collect();
            let number = |input: usize, index: usize| {
                let bytes = sources[input].as_chunks::<4>().0[index];
                f32::from_le_bytes(bytes)
            };
            for level in Level::all() {
                let encoding = Encoding { dtype: Dtype::F32, by_chance: false };
                let frame = frame(stage, &inputs, &known, LENGTH as u64, encoding);
                let mut machine = Machine::at_level(level);
                machine.start(&frame);
                let found = machine.results(&frame, 0, LENGTH).to_vec();
                let mut stored = vec![0.0; LENGTH];
                machine.results_into(&frame, 0, &mut stored);
                assert!(stored.iter().map(|x| x.to_bits()).eq(found.iter().map(|x| x.to_bits())));
                for (index, found) in found.iter().enumerate() {
                    let numbers: Vec<f32> =
                        (0..=models).map(|input| number(input, index)).collect();
                    let wanted = voted(&numbers, &scalars, by_count, normalised);
                    let what = format!("{models} models, {by_count} {normalised}, {level:?}");
                    assert_eq!(found.to_bits(), wanted.to_bits(), "{what}, {numbers:?}");
                }
            }
        }
    }
}

/// Codes of nvfp4 of rows whose bytes are in no order, but for a scale of the whole tensor that is small.
fn codes(rows: u64, columns: u64) -> (Codec, Vec<Vec<u8>>) {
    let codec = Codec::Scaled(Scaled {
        code: Code::E2M1,
        rows,
        columns,
        stride: columns,
        scales: Scales::Tiled { columns: 16, tiles: columns.div_ceil(64) },
        scale: Dtype::F8_E4M3,
        tensor_scale: true,
        column_factors: false,
        factor: 1.0,
        rotation: None,
    });
    let sizes = codec.sizes().unwrap();
    let mut parts: Vec<Vec<u8>> = (5..).zip(&sizes).map(|(i, n)| bits(*n as usize, i)).collect();
    parts[2] = 0.03_f32.to_le_bytes().to_vec();
    let mut rows = Vec::new();
    codec.untile((0, codec.elements()), &parts[1], &mut rows);
    parts[1] = rows;
    (codec, parts)
}

#[test]
fn runs_of_codes_are_those_that_are_decoded_one_by_one() {
    let (codec, parts) = codes(61, 208);
    let elements = codec.elements() as usize;
    let window = Window::new(&codec, parts.iter().map(|part| &part[..]), (0, elements as u64));
    let mut decoded = vec![0.0; elements];
    window.read(&mut decoded);
    let plain = bits(4 * elements, 3);
    let others = plain.as_chunks::<4>().0.iter().map(|bytes| f32::from_le_bytes(*bytes));
    let wanted: Vec<f32> = decoded.iter().zip(others).map(|(x, y)| x * 0.7 + y * -1.3).collect();
    let inputs = [View::Coded(window), View::Plain(&plain, Dtype::F32)];
    let leaf = |name, at| node(name, &[], &[f64::from(at)]);
    let mut nodes = vec![leaf("input", 0), leaf("input", 1), leaf("scalar", 0), leaf("scalar", 1)];
    nodes.extend([[0, 2], [1, 3]].map(|args| node("multiply", &args, &[])));
    nodes.push(node("add", &[4, 5], &[]));
    let bits = |numbers: &[f32]| -> Vec<u32> {
        numbers.iter().map(|x| if x.is_nan() { u32::MAX } else { x.to_bits() }).collect()
    };
    for (last, wanted) in [(nodes.len(), &wanted), (1, &decoded)] {
        let program = Program::new(&nodes[..last], last - 1).unwrap();
        let stage = &program.stages()[0];
        let encoding = Encoding { dtype: Dtype::F32, by_chance: false };
        let inputs = &inputs[..stage.inputs.len()];
        let frame = frame(stage, inputs, &[0.7, -1.3], elements as u64, encoding);
        for level in Level::all() {
            let mut machine = Machine::at_level(level);
            machine.start(&frame);
            assert!(machine.together() > BLOCK);
            for (offset, length) in [(0, elements), (1000, 9001), (16, 4096), (elements - 1, 1)] {
                let mut found = vec![0.0; length];
                machine.results_into(&frame, offset, &mut found);
                let wanted = &wanted[offset..offset + length];
                assert!(bits(&found) == bits(wanted), "{level:?} {offset} {length}");
            }
            assert!(machine.nonfinite.iter().all(|nonfinite| *nonfinite));
        }
    }
}
