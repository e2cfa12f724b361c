//! The code itself: which shard lies at which point, and the coefficients that give any shard from any `p` others.
//!
//! A container's column is a polynomial over the points of a *domain*: data shards are its values at the first `p`
//! points of the domain, zeros its values at the rest, parity shards its values at points outside. Which domain is a
//! function of `p` and `q` alone (see [`Layout`]), chosen so that either the domain or its complement is a subspace of
//! a power of two, which is what an additive FFT needs; where 256 points are too few for that, it is exactly the data.
//!
//! Every coefficient has a closed form, so decoding needs no matrix inversion: with U the points whose values are
//! unknown (all but the present shards and the zeros), value(w) = sum over present h of value(h) * B(h) / ((w + h) *
//! B'(w)), where B(x) is the product of x + u over u in U, and B'(w) the same without u = w.
//! format: erasure-code §3, §4, §6

use crate::{
    Error,
    field::{POINTS, inverse, mul},
};

/// Most shards of a code.
pub(crate) const SHARDS_MAX: usize = 255;

/// Where the shards lie. Fixed for ever by `p` and `q`: stored bytes depend on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Layout {
    /// Parity at points 0..q, data from `block` (a power of two, >= q) on; the domain is all points from `block` on.
    ParityFirst {
        /// Points set aside for parity.
        block: usize,
    },
    /// Data at points 0..p, parity from `block` (a power of two >= p, or p where that is too much) on; the domain is
    /// the first `block` points.
    DataFirst {
        /// Points of the domain.
        block: usize,
    },
}

/// A code `p+q`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Generator {
    data_shards: usize,
    parity_shards: usize,
    layout: Layout,
}

impl Generator {
    pub(crate) fn new(data_shards: usize, parity_shards: usize) -> Result<Self, Error> {
        // the bounds on each keep the sum from overflowing
        let possible = (2..SHARDS_MAX).contains(&data_shards)
            && (1..SHARDS_MAX).contains(&parity_shards)
            && data_shards + parity_shards <= SHARDS_MAX;
        if !possible {
            return Err(Error::Policy { data_shards, parity_shards });
        }
        let longer = data_shards.max(parity_shards);
        let block = data_shards.min(parity_shards).next_power_of_two();
        let layout = if block + longer > POINTS.len() {
            Layout::DataFirst { block: data_shards }
        } else if data_shards >= parity_shards {
            Layout::ParityFirst { block }
        } else {
            Layout::DataFirst { block }
        };
        Ok(Self { data_shards, parity_shards, layout })
    }

    pub(crate) fn data_shards(&self) -> usize {
        self.data_shards
    }

    pub(crate) fn parity_shards(&self) -> usize {
        self.parity_shards
    }

    pub(crate) fn total_shards(&self) -> usize {
        self.data_shards + self.parity_shards
    }

    pub(crate) fn layout(&self) -> Layout {
        self.layout
    }

    /// Number of the point at which a shard lies.
    fn place(&self, shard: usize) -> usize {
        let (p, is_data) = (self.data_shards, shard < self.data_shards);
        match self.layout {
            Layout::ParityFirst { block } if is_data => block + shard,
            Layout::ParityFirst { .. } => shard - p,
            Layout::DataFirst { .. } if is_data => shard,
            Layout::DataFirst { block } => block + shard - p,
        }
    }

    /// The coefficients of `q` parity shards (rows) over `p` data shards (columns).
    pub(crate) fn parity_rows(&self) -> Vec<u8> {
        let shards: Vec<usize> = (0..self.total_shards()).collect();
        let (data, parity) = shards.split_at(self.data_shards);
        self.rows(data, parity)
    }

    /// The coefficients of each shard of `want` (rows) over those of `have` (columns): `p` distinct shards, and any
    /// distinct others.
    pub(crate) fn rows(&self, have: &[usize], want: &[usize]) -> Vec<u8> {
        assert_eq!(have.len(), self.data_shards, "a column is determined by exactly p shards");
        // first the state of each point: is its value known?
        let mut known = [false; POINTS.len()];
        have.iter().for_each(|&shard| known[self.place(shard)] = true);
        match self.layout {
            Layout::ParityFirst { block } => known[block + self.data_shards..].fill(true),
            Layout::DataFirst { block } => known[self.data_shards..block].fill(true),
        }
        // The products over unknown points and over known ones give the same, as x^256 - x has derivative 1:
        // take the shorter.
        let over = match self.layout {
            Layout::ParityFirst { .. } => false,
            Layout::DataFirst { .. } => true,
        };
        let factors: Vec<u8> =
            (0..POINTS.len()).filter(|&n| known[n] == over).map(|n| POINTS[n]).collect();
        let product =
            |x: u8| factors.iter().filter(|&&y| y != x).fold(1, |product, &y| mul(product, x ^ y));
        let point = |shard: usize| POINTS[self.place(shard)];
        let have: Vec<(u8, u8)> = have
            .iter()
            .map(|&shard| {
                let x = point(shard);
                (x, if over { inverse(product(x)) } else { product(x) })
            })
            .collect();
        let mut rows = Vec::with_capacity(have.len() * want.len());
        for &shard in want {
            let x = point(shard);
            let scale = if over { product(x) } else { inverse(product(x)) };
            rows.extend(have.iter().map(|&(y, factor)| mul(mul(scale, factor), inverse(x ^ y))));
        }
        rows
    }
}

#[cfg(test)]
mod tests;
