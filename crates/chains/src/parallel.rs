//! The same work on many items, spread over a few threads.

use std::sync::atomic::{AtomicUsize, Ordering};

/// Applies `work` to every item, each thread with a scratch of its own, and gives the results in the items' order.
///
/// As many threads as there are scratches; with one, the caller's own.
pub(crate) fn map<S: Send, T: Sync, R: Send>(
    scratches: &mut [S],
    items: &[T],
    work: impl Fn(&mut S, &T) -> R + Sync,
) -> Vec<R> {
    if let [scratch] = scratches {
        return items.iter().map(|item| work(scratch, item)).collect();
    }
    let next = AtomicUsize::new(0);
    let mut done: Vec<(usize, R)> = Vec::with_capacity(items.len());
    let run = |scratch: &mut S| {
        let mut mine = Vec::new();
        loop {
            let index = next.fetch_add(1, Ordering::Relaxed);
            let Some(item) = items.get(index) else { return mine };
            mine.push((index, work(scratch, item)));
        }
    };
    let run = &run;
    std::thread::scope(|scope| {
        let threads: Vec<_> =
            scratches.iter_mut().map(|scratch| scope.spawn(move || run(scratch))).collect();
        for thread in threads {
            match thread.join() {
                Ok(mine) => done.extend(mine),
                Err(panic) => std::panic::resume_unwind(panic),
            }
        }
    });
    done.sort_unstable_by_key(|&(index, _)| index);
    done.into_iter().map(|(_, result)| result).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_are_in_order_whatever_the_threads() {
        let items: Vec<u64> = (0..1000).collect();
        let expected: Vec<u64> = items.iter().map(|item| item * item).collect();
        for threads in 1..4 {
            let mut scratches = vec![0u64; threads];
            let squares = map(&mut scratches, &items, |count, item| {
                *count += 1;
                item * item
            });
            assert_eq!(squares, expected);
            assert_eq!(scratches.iter().sum::<u64>(), 1000);
        }
    }
}
