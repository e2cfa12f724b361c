//! Outputs as a coefficient matrix times the inputs: register-blocked, one pass over the inputs for several rows.
//!
//! Cost: one product per coefficient and vector. A pass keeps `rows x unroll` sums in registers and takes two inputs
//! at a time, so that both products go into a sum by one three-operand XOR where there is one.

#![expect(
    clippy::needless_range_loop,
    reason = "constant indices into several arrays of registers: plainer, and faster to compile"
)]

use crate::{
    columns::Columns,
    field::mul,
    lanes::{Job, Lanes},
};

/// Bytes of all inputs that the passes of one block share: they stay in the first-level cache.
const BLOCK_BYTES: usize = 24 * 1024;
/// Blocks are cut at multiples of this: whole steps of every kernel.
const BLOCK_ALIGN: usize = 256;

/// A coefficient matrix made ready for one kind of vectors.
pub(crate) struct Matrix<L: Lanes> {
    lanes: L,
    inputs: usize,
    /// Row by row: for shards shorter than a vector.
    rows: Vec<u8>,
    passes: Vec<Pass>,
    /// Pass by pass, input by input, row by row.
    coefficients: Vec<L::Stored>,
}

/// Some adjacent rows, computed together.
struct Pass {
    first_row: usize,
    rows: usize,
    first_coefficient: usize,
}

impl<L: Lanes> Matrix<L> {
    /// `rows`: row by row, `inputs` coefficients each.
    pub(crate) fn new(lanes: L, inputs: usize, rows: Vec<u8>) -> Self {
        let outputs = rows.len() / inputs;
        assert_eq!(rows.len(), outputs * inputs, "whole rows");
        let pass_count = outputs.div_ceil(L::ROWS_MAX);
        let (mut passes, mut coefficients) = (Vec::new(), Vec::new());
        let mut first_row = 0;
        for pass in 0..pass_count {
            // as equal as can be: 9 rows are 5 + 4, not 8 + 1
            let height = (outputs - first_row).div_ceil(pass_count - pass);
            passes.push(Pass { first_row, rows: height, first_coefficient: coefficients.len() });
            for input in 0..inputs {
                let column = (first_row..first_row + height).map(|row| rows[row * inputs + input]);
                coefficients.extend(column.map(L::store_form));
            }
            first_row += height;
        }
        Self { lanes, inputs, rows, passes, coefficients }
    }

    /// Computes all outputs.
    pub(crate) fn apply(&self, columns: &mut Columns<'_, '_>) {
        assert_eq!(columns.inputs().len() * columns.outputs().len(), self.rows.len());
        if columns.outputs().is_empty() {
            return;
        }
        if columns.len() < L::BYTES {
            self.apply_bytewise(columns);
        } else {
            self.apply_passes(columns);
        }
    }

    fn apply_passes(&self, columns: &mut Columns<'_, '_>) {
        let len = columns.len();
        let block_bytes = if self.passes.len() == 1 {
            len
        } else {
            (BLOCK_BYTES / self.inputs / BLOCK_ALIGN * BLOCK_ALIGN).max(BLOCK_ALIGN)
        };
        let mut start = 0;
        while start < len {
            let end = len.min(start + block_bytes);
            for pass in &self.passes {
                macro_rules! by_rows {
                    ($($rows:literal)*) => {
                        match pass.rows {
                            $($rows if const { $rows <= L::ROWS_MAX } => {
                                self.lanes.enter(RunPass::<L, $rows> { matrix: self, pass, columns, start, end });
                            })*
                            _ => unreachable!("a pass has 1 to ROWS_MAX rows"),
                        }
                    };
                }
                by_rows!(1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20);
            }
            start = end;
        }
    }

    /// The plain definition.
    fn apply_bytewise(&self, columns: &mut Columns<'_, '_>) {
        for (row, coefficients) in self.rows.chunks_exact(self.inputs).enumerate() {
            for offset in 0..columns.len() {
                let terms = coefficients.iter().zip(columns.inputs());
                let sum = terms.fold(0, |sum, (&c, shard)| sum ^ mul(c, shard[offset]));
                columns.outputs()[row][offset] = sum;
            }
        }
    }
}

/// One pass over columns `start..end`, compiled for its number of rows.
struct RunPass<'m, 'c, 'a, 'b, L: Lanes, const R: usize> {
    matrix: &'m Matrix<L>,
    pass: &'m Pass,
    columns: &'c mut Columns<'a, 'b>,
    start: usize,
    end: usize,
}

impl<L: Lanes, const R: usize> Job<L> for RunPass<'_, '_, '_, '_, L, R> {
    #[inline(always)]
    fn run(self, lanes: L) {
        let Self { matrix, pass, columns, start, end } = self;
        let coefficients = &matrix.coefficients[pass.first_coefficient..][..matrix.inputs * R];
        let (coefficients, _) = coefficients.as_chunks::<R>();
        assert!(coefficients.len() == columns.inputs().len());
        assert!(pass.first_row + R <= columns.outputs().len());
        assert!(start.is_multiple_of(L::BYTES));
        assert!(L::BYTES <= end && end <= columns.len());
        let stream = columns.streamed();
        let mut offset = start;
        macro_rules! steps {
            ($unroll:literal) => {
                while offset + $unroll * L::BYTES <= end {
                    // SAFETY: inputs and rows exist, as asserted above; the bytes end at or before `end`; `offset` stays
                    // a multiple of the vector
                    unsafe {
                        tile::<L, R, $unroll>(lanes, coefficients, pass.first_row, columns, offset, stream);
                    }
                    offset += $unroll * L::BYTES;
                }
            };
        }
        if const { R <= L::ROWS_BY_4 } {
            steps!(4);
        } else if const { R <= L::ROWS_BY_2 } {
            steps!(2);
        }
        steps!(1);
        if offset < end {
            // the last bytes again, with what is new: outputs depend on inputs alone
            // SAFETY: as above; `end` is at least a vector, and nothing is streamed
            unsafe {
                let offset = end - L::BYTES;
                tile::<L, R, 1>(lanes, coefficients, pass.first_row, columns, offset, false);
            }
        }
        if stream {
            lanes.finish_streams();
        }
    }
}

/// `R` outputs of `U` vectors.
///
/// # Safety
/// There are `coefficients.len()` inputs and `first_row + R` outputs, and all have `offset + U * L::BYTES` bytes. With
/// `stream`, `columns` are streamed and `offset` is a multiple of `L::BYTES`.
#[inline(always)]
unsafe fn tile<L: Lanes, const R: usize, const U: usize>(
    lanes: L,
    coefficients: &[[L::Stored; R]],
    first_row: usize,
    columns: &mut Columns<'_, '_>,
    offset: usize,
    stream: bool,
) {
    let mut sums = [[lanes.zero(); U]; R];
    let mut input = 0;
    while input + 1 < coefficients.len() {
        // SAFETY: both inputs exist, and have U vectors at `offset`
        let [x, y]: [[L::V; U]; 2] =
            unsafe { [columns.load(lanes, input, offset), columns.load(lanes, input + 1, offset)] };
        let (x, y) = (factors(lanes, x), factors(lanes, y));
        let (a, b) = (&coefficients[input], &coefficients[input + 1]);
        for r in 0..R {
            let (a, b) = (lanes.coefficient(&a[r]), lanes.coefficient(&b[r]));
            for u in 0..U {
                sums[r][u] = lanes.xor3(sums[r][u], lanes.mul(x[u], a), lanes.mul(y[u], b));
            }
        }
        input += 2;
    }
    if input < coefficients.len() {
        // SAFETY: the input exists, and has U vectors at `offset`
        let x: [L::Factor; U] = factors(lanes, unsafe { columns.load(lanes, input, offset) });
        for r in 0..R {
            let a = lanes.coefficient(&coefficients[input][r]);
            for u in 0..U {
                sums[r][u] = lanes.xor(sums[r][u], lanes.mul(x[u], a));
            }
        }
    }
    // SAFETY: the outputs exist, and have U vectors at `offset`; if streamed, they are aligned there
    unsafe {
        if stream {
            for r in 0..R {
                columns.stream(lanes, first_row + r, offset, sums[r]);
            }
        } else {
            for r in 0..R {
                columns.store(lanes, first_row + r, offset, sums[r]);
            }
        }
    }
}

#[inline(always)]
fn factors<L: Lanes, const U: usize>(lanes: L, v: [L::V; U]) -> [L::Factor; U] {
    let mut x = [lanes.factor(v[0]); U];
    for u in 1..U {
        x[u] = lanes.factor(v[u]);
    }
    x
}
