//! What a run tells of the changes that rounding leaves.

use crate::common::{bytes, job, lerp, numbers, options, run_jobs};
use bmerge_core::merge::{Base, Job, Plain, Rounded, Source};
use bmerge_core::{Dtype, Error, Program};

const COUNT: usize = 300_001;
const SAMPLE: usize = 70_000;

/// The middle of a tensor of [`COUNT`] elements.
fn middle(values: &[f32]) -> &[f32] {
    let begin = (COUNT - SAMPLE) / 2;
    &values[begin..begin + SAMPLE]
}

fn lerp_to_bf16(program: &Program, base: Plain) -> Job {
    let base = Some(Base { input: base.into(), sample: SAMPLE as u64 });
    Job { dtype: Dtype::BF16, base, ..job(program, &[COUNT as u64]) }
}

fn near(value: f64, exact: f64) {
    assert!((value / exact - 1.0).abs() < 1e-9, "{value} instead of {exact}");
}

#[test]
fn sums_are_those_of_the_middle_for_any_threads_and_memory() {
    let program = lerp();
    let (a, b) = (numbers(COUNT, 1), numbers(COUNT, 2));
    let (low, high) = ((1.0 - 0.3_f64) as f32, 0.3_f64 as f32);
    let mut exact = Rounded::default();
    for (a, b) in middle(&a).iter().zip(middle(&b)) {
        let result = a * low + b * high;
        let bits = result.to_bits();
        let rounded = f32::from_bits((bits + 0x7fff + ((bits >> 16) & 1)) & 0xffff_0000);
        let (base, change) = (f64::from(*a), f64::from(result) - f64::from(*a));
        exact.change += change * change;
        exact.arrived += change * (f64::from(rounded) - base);
        exact.size += base * base;
    }
    let base = Plain { source: 0, offset: 0, dtype: Dtype::F32 };
    let (a, b) = (bytes(&a), bytes(&b));
    for (threads, memory) in [(1, 1 << 20), (1, 1 << 28), (4, 1 << 20), (3, 1 << 24)] {
        let mut output = vec![0; 2 * COUNT];
        let report = run_jobs(
            &[&program],
            vec![Source::Bytes(&a), Source::Bytes(&b)],
            &mut output,
            vec![lerp_to_bf16(&program, base)],
            options(threads, memory),
        );
        let found = report.unwrap().rounded_by_job();
        assert_eq!(found.keys().copied().collect::<Vec<_>>(), [0]);
        near(found[&0].change, exact.change);
        near(found[&0].arrived, exact.arrived);
        near(found[&0].size, exact.size);
    }
}

#[test]
fn a_base_beyond_its_source_is_refused() {
    let program = lerp();
    let values = bytes(&numbers(COUNT, 1));
    let base = Plain { source: 0, offset: 4, dtype: Dtype::F32 };
    let mut output = vec![0; 2 * COUNT];
    let report = run_jobs(
        &[&program],
        vec![Source::Bytes(&values), Source::Bytes(&values)],
        &mut output,
        vec![lerp_to_bf16(&program, base)],
        options(1, 1 << 20),
    );
    assert!(matches!(report, Err(Error::Range { .. })));
}

#[test]
fn a_job_without_a_base_tells_nothing() {
    let program = lerp();
    let values = bytes(&numbers(COUNT, 1));
    let mut output = vec![0; 4 * COUNT];
    let sources = vec![Source::Bytes(&values), Source::Bytes(&values)];
    let jobs = vec![job(&program, &[COUNT as u64])];
    let report = run_jobs(&[&program], sources, &mut output, jobs, options(1, 1 << 20)).unwrap();
    assert!(report.rounded.is_empty());
}
