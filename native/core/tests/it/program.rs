//! Programs: what is refused, and that whatever is accepted runs.

use crate::common::{node, run_f32};
use bmerge_core::program::{Binary, RawNode, Unary};
use bmerge_core::Program;
use proptest::prelude::*;

#[test]
fn counts_follow_from_the_nodes() {
    let nodes = [
        node("input", &[], &[2.0]),
        node("scalar", &[], &[1.0]),
        node("vector_norm", &[0], &[-2.0]),
        node("multiply", &[2, 1], &[]),
        node("kth_abs", &[0, 3], &[]),
        node("multiply", &[0, 4], &[]),
    ];
    let program = Program::new(&nodes, 5).unwrap();
    assert_eq!((program.inputs(), program.scalars(), program.passes()), (3, 2, 4));
}

#[test]
fn malformed_programs_are_refused() {
    let input = || node("input", &[], &[0.0]);
    let cases = [
        (vec![], 0, "output is node 0"),
        (vec![node("nonsense", &[], &[])], 0, "unknown op"),
        (vec![input(), node("add", &[0], &[])], 1, "takes 2 arguments, 1 given"),
        (vec![node("neg", &[0], &[])], 0, "not an earlier node"),
        (vec![input(), node("neg", &[0], &[1.0])], 1, "takes no constants"),
        (vec![node("constant", &[], &[])], 0, "takes 1 constant"),
        (vec![node("input", &[], &[-1.0])], 0, "whole numbers"),
        (vec![node("random_uniform", &[], &[5e9])], 0, "whole numbers"),
        (vec![node("input", &[], &[f64::NAN])], 0, "whole numbers"),
        (vec![input(), node("sum", &[0], &[2.0])], 1, "axis is 2"),
        (vec![input(), node("logical_not", &[0], &[])], 1, "takes truths"),
        (vec![input(), node("any", &[0], &[0.0])], 1, "takes truths"),
        (vec![input(), node("kth_abs", &[0, 0], &[])], 1, "one number per tensor"),
        (vec![node("rows", &[], &[]), node("sum", &[0], &[-2.0])], 1, "nothing to reduce"),
    ];
    for (nodes, output, expected) in cases {
        let message = Program::new(&nodes, output).unwrap_err().to_string();
        assert!(message.contains(expected), "{message}");
    }
}

/// The input, and then every node made of the one before and the first.
fn chain(count: usize, op: impl Fn(usize) -> (String, Vec<usize>, Vec<f64>)) -> Vec<RawNode> {
    std::iter::once(node("input", &[], &[0.0])).chain((1..count).map(op)).collect()
}

#[test]
fn long_programs_are_limited_by_what_they_take() {
    let count = usize::from(u16::MAX);
    let add = |index| node("add", &[index - 1, 0], &[]);
    let program = Program::new(&chain(count, add), count - 1).unwrap();
    assert_eq!(program.passes(), 1);
    let message = Program::new(&chain(count + 1, add), count).unwrap_err().to_string();
    assert!(message.contains("program has 65536 nodes; allowed: 65535"), "{message}");

    // Every second node needs a sum over all elements of the one before: one more pass each, in
    // which all of the others are computed once more.
    let sums = |index| match index % 2 {
        1 => node("sum", &[index - 1], &[-2.0]),
        _ => node("multiply", &[index - 2, index - 1], &[]),
    };
    assert_eq!(Program::new(&chain(2001, sums), 2000).unwrap().passes(), 1001);
    let message = Program::new(&chain(4001, sums), 4000).unwrap_err().to_string();
    assert!(message.contains("program of 4001 nodes needs 2001 passes"), "{message}");
}

/// Nodes whose arguments are earlier nodes, but which need not fit in kind.
fn nodes() -> impl Strategy<Value = Vec<(String, Vec<usize>, Vec<f64>)>> {
    let mut ops: Vec<(&str, usize, bool)> = vec![("where", 3, false), ("kth_abs", 2, false)];
    ops.extend(Unary::ALL.iter().map(|op| (op.1, 1, false)));
    ops.extend(Binary::ALL.iter().map(|op| (op.1, 2, false)));
    let reductions = ["sum", "mean", "vector_norm", "min", "max", "any", "all"];
    ops.extend(reductions.map(|op| (op, 1, true)));
    ops.push(("vecdot", 2, true));
    let step = (
        proptest::sample::select(ops),
        prop::array::uniform3(any::<prop::sample::Index>()),
        0..3_usize,
    );
    proptest::collection::vec(step, 1..30).prop_map(|steps| {
        let mut nodes = vec![
            node("input", &[], &[0.0]),
            node("input", &[], &[1.0]),
            node("scalar", &[], &[0.0]),
            node("constant", &[], &[0.5]),
            node("row_index", &[], &[]),
            node("numel", &[], &[]),
            node("random_normal", &[], &[7.0]),
            node("less", &[0, 1], &[]),
        ];
        for ((name, arity, axis), args, code) in steps {
            let args: Vec<usize> = args[..arity].iter().map(|arg| arg.index(nodes.len())).collect();
            let constants = if axis { vec![[-2.0, -1.0, 0.0][code]] } else { vec![] };
            let added = (name.to_owned(), args, constants);
            nodes.push(added);
            // Keep what fits, so that long programs come about.
            if Program::new(&nodes, nodes.len() - 1).is_err() {
                nodes.pop();
            }
        }
        nodes
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn accepted_programs_run_the_same_however_they_are_cut(
        nodes in nodes(),
        output: prop::sample::Index,
        shape in proptest::sample::select(vec![
            vec![], vec![1], vec![3, 5], vec![2000], vec![70, 1000], vec![3, 70_000], vec![40, 50, 3, 3],
        ]),
    ) {
        let program = Program::new(&nodes, output.index(nodes.len())).unwrap();
        let one = run_f32(&program, &shape, 1, 1 << 25);
        let three = run_f32(&program, &shape, 3, 1 << 20);
        prop_assert_eq!(one, three);
    }

    #[test]
    fn no_list_of_nodes_panics(
        raw in proptest::collection::vec(
            (
                proptest::sample::select(vec!["input", "constant", "add", "sum", "where", "kth_abs", "x"]),
                proptest::collection::vec(0..6_usize, 0..4),
                proptest::collection::vec(any::<f64>(), 0..2),
            ),
            0..6,
        ),
        output in 0..7_usize,
    ) {
        let nodes: Vec<_> = raw.into_iter().map(|(name, a, c)| (name.to_owned(), a, c)).collect();
        let _ = Program::new(&nodes, output);
    }
}
