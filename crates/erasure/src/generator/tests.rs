use super::*;

/// Every possible policy.
fn policies() -> impl Iterator<Item = Generator> {
    (2..255).flat_map(|p| (1..=255 - p).map(move |q| Generator::new(p, q).unwrap()))
}

/// Textbook Lagrange interpolation over the whole domain: the coefficient of each data shard in each parity shard.
fn lagrange(generator: &Generator) -> Vec<u8> {
    let domain = match generator.layout {
        Layout::ParityFirst { block } => block..256,
        Layout::DataFirst { block } => 0..block,
    };
    let domain = &POINTS[domain];
    let mut rows = Vec::new();
    for parity in generator.data_shards()..generator.total_shards() {
        let x = POINTS[generator.place(parity)];
        assert!(!domain.contains(&x));
        for j in 0..generator.data_shards() {
            assert_eq!(domain[j], POINTS[generator.place(j)]);
            let (mut above, mut below) = (1, 1);
            for &y in domain.iter().filter(|&&y| y != domain[j]) {
                above = mul(above, x ^ y);
                below = mul(below, domain[j] ^ y);
            }
            rows.push(mul(above, inverse(below)));
        }
    }
    rows
}

#[test]
fn generator_is_lagrange_interpolation() {
    for (p, q) in [
        (2, 1),
        (2, 2),
        (2, 3),
        (3, 2),
        (4, 9),
        (16, 4),
        (20, 20),
        (20, 80),
        (33, 200),
        (130, 100),
        (252, 3),
    ] {
        let generator = Generator::new(p, q).unwrap();
        assert_eq!(generator.parity_rows(), lagrange(&generator), "{p}+{q}");
    }
}

/// A matrix with entries r(i) * c(j) / (x(i) + y(j)), with all of r, c not 0 and all of x, y distinct, has only regular
/// square submatrices; and then any p of p+q shards determine the data. That it is of this form:
#[test]
fn generator_is_a_scaled_cauchy_matrix() {
    // every eleventh policy: p and q all take part
    for generator in policies().step_by(11) {
        let (p, q) = (generator.data_shards(), generator.parity_shards());
        let places: Vec<usize> = (0..p + q).map(|shard| generator.place(shard)).collect();
        let mut used = [false; 256];
        for &place in &places {
            assert!(
                !std::mem::replace(&mut used[place], true),
                "{p}+{q}: point {place} is taken twice"
            );
        }
        let rows = generator.parity_rows();
        // entry * (x + y) = r(i) * c(j) has rank one
        let scaled =
            |i: usize, j: usize| mul(rows[i * p + j], POINTS[places[p + i]] ^ POINTS[places[j]]);
        for i in 0..q {
            for j in 0..p {
                let product = mul(scaled(i, j), scaled(0, 0));
                assert!(product != 0);
                assert_eq!(product, mul(scaled(i, 0), scaled(0, j)), "{p}+{q}");
            }
        }
    }
}

#[test]
fn closed_forms_of_the_document() {
    for generator in policies().step_by(7) {
        let (p, q) = (generator.data_shards(), generator.parity_shards());
        // the product of x + point(u) over the first u points
        let z = |block: usize, x: u8| (0..block).fold(1, |product, u| mul(product, x ^ POINTS[u]));
        let rows = generator.parity_rows();
        for (i, j) in [(0, 0), (q - 1, 0), (0, p - 1), (q / 2, p / 2), (q - 1, p - 1)] {
            let (parity, data) = (POINTS[generator.place(p + i)], POINTS[generator.place(j)]);
            let numerator = match generator.layout {
                Layout::ParityFirst { block } => z(block, data),
                Layout::DataFirst { block } if block.is_power_of_two() => z(block, parity),
                // the derivative of z is constant only over a subspace
                Layout::DataFirst { block } => mul(
                    z(block, parity),
                    inverse(
                        (0..block)
                            .filter(|&u| u != j)
                            .fold(1, |product, u| mul(product, data ^ POINTS[u])),
                    ),
                ),
            };
            assert_eq!(rows[i * p + j], mul(numerator, inverse(parity ^ data)), "{p}+{q}");
        }
    }
}

#[test]
fn one_parity_shard_is_the_xor_of_the_data() {
    for p in 2..=254 {
        assert!(Generator::new(p, 1).unwrap().parity_rows().iter().all(|&c| c == 1));
    }
}

#[test]
fn layouts_are_as_documented() {
    let layout = |p, q| Generator::new(p, q).unwrap().layout;
    assert_eq!(layout(16, 4), Layout::ParityFirst { block: 4 });
    assert_eq!(layout(20, 20), Layout::ParityFirst { block: 32 });
    assert_eq!(layout(100, 28), Layout::ParityFirst { block: 32 });
    assert_eq!(layout(128, 64), Layout::ParityFirst { block: 64 });
    assert_eq!(layout(20, 80), Layout::DataFirst { block: 32 });
    assert_eq!(layout(130, 100), Layout::DataFirst { block: 130 });
    assert_eq!(layout(40, 200), Layout::DataFirst { block: 40 });
    let padded = policies().filter(|g| !matches!(g.layout, Layout::DataFirst { block } if block == g.data_shards() && !block.is_power_of_two()));
    println!("{} of {} policies have a power of two", padded.count(), policies().count());
}

#[test]
fn impossible_policies_are_refused() {
    for (p, q) in [
        (0, 0),
        (1, 1),
        (2, 0),
        (0, 2),
        (255, 1),
        (254, 2),
        (128, 128),
        (usize::MAX, 2),
        (2, usize::MAX),
    ] {
        assert_eq!(Generator::new(p, q), Err(Error::Policy { data_shards: p, parity_shards: q }));
    }
}
