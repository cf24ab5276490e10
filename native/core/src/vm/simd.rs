//! One machine per instruction set, chosen at run time.

use std::sync::OnceLock;

#[cfg(target_arch = "x86_64")]
use crate::codec::{Avx2, Avx512};
use crate::codec::{Isa, Portable};
use crate::dtype::Dtype;

/// The environment variable that names the best level to take.
const VARIABLE: &str = "BMERGE_VECTORS";

/// Instruction sets that the machine is compiled for, the better the later.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Level {
    /// What every processor of the architecture has.
    Portable,
    /// 256-bit vectors, conversions of half floats, and products added at once.
    #[cfg(target_arch = "x86_64")]
    Avx2,
    /// 512-bit vectors with masks.
    #[cfg(target_arch = "x86_64")]
    Avx512,
}

/// Work that is compiled once for each level.
///
/// `run` and all that it calls must be inlined: what stays a function has no instruction set.
pub(crate) trait Task {
    type Output;
    fn run<I: Isa>(self) -> Self::Output;
}

impl Level {
    /// The level to take: the best of this processor, or the one that the environment asks for.
    pub(crate) fn detect() -> Self {
        static LEVEL: OnceLock<Level> = OnceLock::new();
        *LEVEL.get_or_init(|| {
            let wanted = std::env::var(VARIABLE).unwrap_or_default();
            let levels = Self::all();
            let found = levels.iter().find(|level| level.name() == wanted);
            *found.or(levels.last()).unwrap_or(&Self::Portable)
        })
    }

    /// All levels of this processor, the best last.
    pub(crate) fn all() -> Vec<Self> {
        #[cfg_attr(not(target_arch = "x86_64"), allow(unused_mut))]
        let mut levels = vec![Self::Portable];
        #[cfg(target_arch = "x86_64")]
        {
            use std::arch::is_x86_feature_detected as has;
            if has!("avx2") && has!("f16c") && has!("fma") {
                levels.push(Self::Avx2);
                let wide = has!("avx512f") && has!("avx512bw");
                let wide = wide && has!("avx512dq") && has!("avx512vl");
                if wide && has!("popcnt") {
                    levels.push(Self::Avx512);
                }
            }
        }
        levels
    }

    /// What the environment calls it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Portable => "portable",
            #[cfg(target_arch = "x86_64")]
            Self::Avx2 => "avx2",
            #[cfg(target_arch = "x86_64")]
            Self::Avx512 => "avx512",
        }
    }

    /// Whether formulas of numbers of a type write their results past the caches when asked to.
    pub(crate) fn writes_past(self, dtype: Dtype) -> bool {
        let dtypes: &[Dtype] = match self {
            Self::Portable => &[],
            #[cfg(target_arch = "x86_64")]
            Self::Avx2 => &[Dtype::F16],
            #[cfg(target_arch = "x86_64")]
            Self::Avx512 => &[Dtype::F16, Dtype::BF16],
        };
        dtypes.contains(&dtype)
    }

    /// Do work as it is compiled for this level.
    #[inline]
    pub(crate) fn run<T: Task>(self, task: T) -> T::Output {
        match self {
            Self::Portable => task.run::<Portable>(),
            #[cfg(target_arch = "x86_64")]
            // SAFETY: this level is only made where these features were detected.
            Self::Avx2 => unsafe { avx2(task) },
            #[cfg(target_arch = "x86_64")]
            // SAFETY: this level is only made where these features were detected.
            Self::Avx512 => unsafe { avx512(task) },
        }
    }
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,f16c,fma")]
fn avx2<T: Task>(task: T) -> T::Output {
    task.run::<Avx2>()
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,f16c,fma,popcnt,avx512f,avx512bw,avx512dq,avx512vl")]
fn avx512<T: Task>(task: T) -> T::Output {
    task.run::<Avx512>()
}
