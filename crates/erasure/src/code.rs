//! The public face: encode, and decode from any `p` shards.

use crate::{
    Error, Kernel, Role,
    columns::Columns,
    fft::Fft,
    generator::{Generator, SHARDS_MAX},
    kernel::ForLanes,
    lanes::Lanes,
    matrix::Matrix,
};

/// A systematic Reed-Solomon code `p+q` over GF(2^8): `p` data shards, kept as they are, and `q` parity shards; any `p`
/// of the `p+q` give all others.
///
/// What it computes depends on `p` and `q` alone, byte position by byte position: neither the kernel nor how a shard is
/// cut into calls changes a byte. Immutable; share it behind an [`Arc`](std::sync::Arc).
///
/// ```
/// let code = prunedb_erasure::ReedSolomon::new(2, 1)?;
/// let (a, b, mut parity) = ([1, 2, 3], [4, 5, 6], [0; 3]);
/// code.encode(&[&a, &b], &mut [&mut parity])?;
///
/// // shard 0 is lost: shards 1 and 2 give it back
/// let mut lost = [0; 3];
/// code.decoder(&[1, 2], &[0])?.decode(&[&b, &parity], &mut [&mut lost])?;
/// assert_eq!(lost, a);
/// # Ok::<(), prunedb_erasure::Error>(())
/// ```
pub struct ReedSolomon {
    generator: Generator,
    kernel: Kernel,
    algorithm: Algorithm,
    encoder: Box<dyn Linear>,
}

impl ReedSolomon {
    /// The code `data_shards+parity_shards`, on the fastest kernel that this processor has, or on the one that the
    /// environment variable `PRUNEDB_KERNEL` names (for tests and benchmarks).
    ///
    /// # Errors
    /// [`Error::Policy`] unless p >= 2, q >= 1 and p+q <= 255; [`Error::UnknownKernel`] and
    /// [`Error::KernelUnavailable`] for what `PRUNEDB_KERNEL` says.
    pub fn new(data_shards: usize, parity_shards: usize) -> Result<Self, Error> {
        Self::with_kernel(data_shards, parity_shards, Kernel::choose()?)
    }

    /// The code `data_shards+parity_shards` on one kernel.
    ///
    /// # Errors
    /// [`Error::Policy`] unless p >= 2, q >= 1 and p+q <= 255; [`Error::KernelUnavailable`] where the processor lacks it.
    pub fn with_kernel(
        data_shards: usize,
        parity_shards: usize,
        kernel: Kernel,
    ) -> Result<Self, Error> {
        let generator = Generator::new(data_shards, parity_shards)?;
        let encoder = kernel.with_lanes(Encoder(generator, None))?;
        let (algorithm, encoder) = encoder.expect("the matrix is there for every policy");
        Ok(Self { generator, kernel, algorithm, encoder })
    }

    /// The code `data_shards+parity_shards` on one kernel, encoding by one algorithm: to compare them.
    ///
    /// # Errors
    /// As [`Self::with_kernel`], and [`Error::NoTransform`] where the policy has no FFT.
    pub fn with_algorithm(
        data_shards: usize,
        parity_shards: usize,
        kernel: Kernel,
        algorithm: Algorithm,
    ) -> Result<Self, Error> {
        let generator = Generator::new(data_shards, parity_shards)?;
        let encoder = kernel.with_lanes(Encoder(generator, Some(algorithm)))?;
        let (algorithm, encoder) =
            encoder.ok_or(Error::NoTransform { data_shards, parity_shards })?;
        Ok(Self { generator, kernel, algorithm, encoder })
    }

    /// p
    pub fn data_shards(&self) -> usize {
        self.generator.data_shards()
    }

    /// q
    pub fn parity_shards(&self) -> usize {
        self.generator.parity_shards()
    }

    /// p+q
    pub fn total_shards(&self) -> usize {
        self.generator.total_shards()
    }

    /// The kernel in use.
    pub fn kernel(&self) -> Kernel {
        self.kernel
    }

    /// How this code encodes; it always decodes by matrix.
    pub fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    /// Computes all parity shards from all data shards. All are of one length, of any alignment; a range of columns is
    /// just the same range of each.
    ///
    /// # Errors
    /// [`Error::ShardCount`], [`Error::ShardLength`]; nothing has been written then.
    pub fn encode(&self, data: &[&[u8]], parity: &mut [&mut [u8]]) -> Result<(), Error> {
        check_count(Role::Data, data, self.data_shards())?;
        check_count(Role::Parity, parity, self.parity_shards())?;
        check_lengths(Role::Data, data, Role::Parity, parity)?;
        self.encoder.apply(&mut Columns::new(data, parity));
        Ok(())
    }

    /// Prepares to compute the shards `want` from the shards `have`: numbers from 0, data shards first, each list in any
    /// order. Costs about a microsecond for 16+4; keep it for all rows of a container.
    ///
    /// # Errors
    /// [`Error::TooFewShards`] or [`Error::ShardCount`] unless `have` are exactly p, [`Error::ShardOutOfRange`],
    /// [`Error::DuplicateShard`], [`Error::WantedShardPresent`].
    pub fn decoder(&self, have: &[u8], want: &[u8]) -> Result<Decoder, Error> {
        #[derive(Clone, Copy, PartialEq)]
        enum Seen {
            No,
            Present,
            Wanted,
        }
        let mut seen = [Seen::No; SHARDS_MAX];
        let total = self.total_shards();
        let last = u8::try_from(total - 1).expect("at most 255 shards");
        for (list, mark) in [(have, Seen::Present), (want, Seen::Wanted)] {
            for &shard in list {
                let slot = seen[..total]
                    .get_mut(usize::from(shard))
                    .ok_or(Error::ShardOutOfRange { shard, last })?;
                match *slot {
                    Seen::No => *slot = mark,
                    before if before == mark => return Err(Error::DuplicateShard { shard }),
                    _ => return Err(Error::WantedShardPresent { shard }),
                }
            }
        }
        let needed = self.data_shards();
        if have.len() < needed {
            return Err(Error::TooFewShards { needed, found: have.len() });
        }
        check_count(Role::Present, have, needed)?;
        let numbers =
            |list: &[u8]| list.iter().map(|&shard| usize::from(shard)).collect::<Vec<_>>();
        let rows = self.generator.rows(&numbers(have), &numbers(want));
        let matrix = self.kernel.with_lanes(Rows { inputs: needed, rows })?;
        Ok(Decoder { present: needed, wanted: want.len(), matrix })
    }
}

/// How parity is computed; the bytes are the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Algorithm {
    /// As a coefficient matrix times the data: for few parity shards.
    Matrix,
    /// By additive FFT: for many.
    Fft,
}

impl std::fmt::Debug for ReedSolomon {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (p, q) = (self.data_shards(), self.parity_shards());
        write!(f, "ReedSolomon({p}+{q}, {})", self.kernel)
    }
}

/// Computes some shards from `p` others: [`ReedSolomon::decoder`].
pub struct Decoder {
    present: usize,
    wanted: usize,
    matrix: Box<dyn Linear>,
}

impl Decoder {
    /// Computes the wanted shards, all in the order given to [`ReedSolomon::decoder`]. All are of one length; the same
    /// range of each shard will do.
    ///
    /// # Errors
    /// [`Error::ShardCount`], [`Error::ShardLength`]; nothing has been written then.
    pub fn decode(&self, have: &[&[u8]], want: &mut [&mut [u8]]) -> Result<(), Error> {
        check_count(Role::Present, have, self.present)?;
        check_count(Role::Wanted, want, self.wanted)?;
        check_lengths(Role::Present, have, Role::Wanted, want)?;
        self.matrix.apply(&mut Columns::new(have, want));
        Ok(())
    }
}

impl std::fmt::Debug for Decoder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Decoder({} from {})", self.wanted, self.present)
    }
}

/// A linear map from input to output shards, on some kernel.
trait Linear: Send + Sync {
    fn apply(&self, columns: &mut Columns<'_, '_>);
}

impl<L: Lanes> Linear for Matrix<L> {
    fn apply(&self, columns: &mut Columns<'_, '_>) {
        Matrix::apply(self, columns);
    }
}

/// The transform, and the matrix for shards shorter than a vector.
struct Transform<L: Lanes> {
    fft: Fft<L>,
    matrix: Matrix<L>,
}

impl<L: Lanes> Linear for Transform<L> {
    fn apply(&self, columns: &mut Columns<'_, '_>) {
        if columns.len() < L::BYTES {
            self.matrix.apply(columns);
        } else {
            self.fft.apply(columns);
        }
    }
}

/// Rows of coefficients over `inputs` shards.
struct Rows {
    inputs: usize,
    rows: Vec<u8>,
}

impl ForLanes for Rows {
    type Output = Box<dyn Linear>;

    fn run<L: Lanes>(self, lanes: L) -> Box<dyn Linear> {
        Box::new(Matrix::new(lanes, self.inputs, self.rows))
    }
}

/// The encoder of a code, by an algorithm or by the faster one.
struct Encoder(Generator, Option<Algorithm>);

impl ForLanes for Encoder {
    type Output = Option<(Algorithm, Box<dyn Linear>)>;

    fn run<L: Lanes>(self, lanes: L) -> Self::Output {
        let Self(generator, algorithm) = self;
        let matrix = Matrix::new(lanes, generator.data_shards(), generator.parity_rows());
        let fft = match algorithm {
            Some(Algorithm::Matrix) => None,
            Some(Algorithm::Fft) => Some(Fft::new(lanes, &generator)?),
            None => Fft::new(lanes, &generator).filter(|fft| fft.is_faster()),
        };
        Some(match fft {
            Some(fft) => (Algorithm::Fft, Box::new(Transform { fft, matrix })),
            None => (Algorithm::Matrix, Box::new(matrix)),
        })
    }
}

fn check_count<T>(role: Role, shards: &[T], expected: usize) -> Result<(), Error> {
    if shards.len() == expected {
        Ok(())
    } else {
        Err(Error::ShardCount { role, expected, found: shards.len() })
    }
}

/// Every shard as long as the first input.
fn check_lengths(
    input_role: Role,
    inputs: &[&[u8]],
    output_role: Role,
    outputs: &[&mut [u8]],
) -> Result<(), Error> {
    let expected = inputs.first().map_or(0, |shard| shard.len());
    let inputs = inputs.iter().map(|shard| shard.len()).enumerate().map(|at| (input_role, at));
    let outputs = outputs.iter().map(|shard| shard.len()).enumerate().map(|at| (output_role, at));
    match inputs.chain(outputs).find(|&(_, (_, found))| found != expected) {
        None => Ok(()),
        Some((role, (position, found))) => {
            Err(Error::ShardLength { role, position, expected, found })
        }
    }
}
