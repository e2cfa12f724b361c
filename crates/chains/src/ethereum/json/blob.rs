//! What a unit of blob gas cost: by the excess in the header, and how fast the price grew with it under the fork of that time.

use super::Quantity;
use crate::ethereum::block::Header;

/// Mainnet's forks that changed it: since when (Unix time), and the excess by which the price grows e-fold.
const MAINNET: [(u64, u64); 4] = [
    (1_710_338_135, 3_338_477),  // Cancun
    (1_746_612_311, 5_007_716),  // Prague
    (1_765_290_071, 8_346_193),  // BPO1
    (1_767_747_671, 11_684_671), // BPO2
];
/// 1 March 2026: what came later is not known here.
const KNOWN_UNTIL: u64 = 1_772_323_200;

/// The price in a block of the chain that a transaction names; `None` where it is not known.
pub(super) fn blob_gas_price(header: &Header<'_>, chain_id: Option<u64>) -> Option<Quantity> {
    match (header.excess_blob_gas?, chain_id) {
        // the least there is, in every fork
        (0, _) => Some(Quantity(1)),
        (excess, Some(1)) if header.timestamp < KNOWN_UNTIL => {
            let forks = MAINNET.iter().rev();
            let (_, fraction) = forks.into_iter().find(|(since, _)| *since <= header.timestamp)?;
            exponential(excess, *fraction).map(Quantity)
        }
        _ => None,
    }
}

/// e^(numerator / denominator) in integers, as EIP-4844 defines it.
fn exponential(numerator: u64, denominator: u64) -> Option<u64> {
    let (numerator, denominator) = (u128::from(numerator), u128::from(denominator));
    let (mut sum, mut term) = (0u128, denominator);
    for index in 1u128.. {
        if term == 0 {
            break;
        }
        sum = sum.checked_add(term)?;
        term = term.checked_mul(numerator)? / denominator.checked_mul(index)?;
    }
    u64::try_from(sum / denominator).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prices_grow_e_fold() {
        let fraction = 3_338_477;
        assert_eq!(exponential(0, fraction), Some(1));
        assert_eq!(exponential(2_314_057, fraction), Some(1));
        assert_eq!(exponential(2_314_058, fraction), Some(2));
        assert_eq!(exponential(10 * 1024 * 1024, fraction), Some(23));
        assert_eq!(exponential(20 * fraction, fraction), Some(485_165_195));
        // as if the excess were that of a hostile header
        assert_eq!(exponential(u64::MAX, fraction), None);
        assert_eq!(exponential(u64::MAX, 1), None);
    }
}
