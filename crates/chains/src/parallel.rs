//! The same work on many things, spread over a few threads.
//!
//! [`in_order`] is for what is read from one place and goes to one place, lot by lot:
//! ```text
//! read     one thread at a time, whichever is free    lots follow each other
//! work     the thread that read the lot               side by side, each thread with a scratch of its own
//! take     the caller's thread                        in the order of reading
//! ```
//! The caller's thread reads and works, too, while there is nothing to take; so as many threads are busy as there are
//! scratches, as long as neither reading nor taking is more than one thread can do. What is taken does not depend on the
//! number of threads: of several errors the first in the order of reading comes out, and nothing after it was taken.
//!
//! Memory: [`LOTS_PER_THREAD`] lots for each thread; no lot is read while those in flight have [`IN_FLIGHT_BYTES_MAX`].

use std::{
    collections::VecDeque,
    sync::{
        Condvar, Mutex, MutexGuard,
        atomic::{AtomicUsize, Ordering},
    },
};

/// A lot ends with the item that reaches this: some hundreds of microseconds of work.
pub(crate) const LOT_BYTES: usize = 64 << 10;
/// Lots between reading and taking, so that no thread waits for another one's lot.
const LOTS_PER_THREAD: usize = 4;
/// Most items that [`lots`] puts together.
const LOT_ITEMS: usize = 64;
/// Bytes between reading and taking beyond which no lot is read.
const IN_FLIGHT_BYTES_MAX: usize = 32 << 20;

/// Some items that were read together.
pub(crate) struct Lot<T> {
    /// the items
    pub(crate) items: T,
    /// what they take of the memory
    pub(crate) bytes: usize,
}

/// Items, and what is wrong after them.
pub(crate) type Run<T, E> = (Vec<T>, Result<(), E>);

/// Puts items together that come one by one, until they have `bytes_max`; the last lot has the error, if one ends them.
pub(crate) fn lots<T, E>(
    mut next: impl FnMut() -> Result<Option<T>, E>,
    bytes_of: impl Fn(&T) -> usize,
    bytes_max: usize,
) -> impl FnMut() -> Option<Lot<Run<T, E>>> {
    let mut ended = false;
    move || {
        if ended {
            return None;
        }
        let (mut items, mut bytes, mut after) = (Vec::new(), 0, Ok(()));
        while !ended && items.len() < LOT_ITEMS && bytes < bytes_max {
            match next() {
                Ok(Some(item)) => {
                    bytes += bytes_of(&item);
                    items.push(item);
                }
                end => {
                    ended = true;
                    after = end.map(|_| ());
                }
            }
        }
        Some(Lot { items: (items, after), bytes })
    }
}

/// Reads lots until there are no more, works on them side by side, and takes the results in order.
///
/// As many threads as there are scratches, the caller's own among them; with one scratch there is no other. `work` is told the
/// number of the lot, from 0.
///
/// # Errors
/// The first one of `take`; nothing is taken after it.
pub(crate) fn in_order<S: Send, T, R: Send, E>(
    scratches: &mut [S],
    read: impl FnMut() -> Option<Lot<T>> + Send,
    work: impl Fn(&mut S, usize, T) -> R + Sync,
    mut take: impl FnMut(R) -> Result<(), E>,
) -> Result<(), E> {
    let lots_max = scratches.len() * LOTS_PER_THREAD;
    let (mine, others) = scratches.split_first_mut().expect("a scratch for the caller");
    if others.is_empty() {
        let lots = std::iter::from_fn(read).enumerate();
        for (number, lot) in lots {
            take(work(mine, number, lot.items))?;
        }
        return Ok(());
    }
    let line = Line { state: Mutex::new(State::of(read)), changed: Condvar::new(), work, lots_max };
    let line = &line;
    std::thread::scope(|scope| {
        let help = |scratch| scope.spawn(move || line.help(scratch));
        let helpers: Vec<_> = others.iter_mut().map(help).collect();
        let done = line.lead(mine, take);
        for helper in helpers {
            if let Err(panic) = helper.join() {
                std::panic::resume_unwind(panic);
            }
        }
        done
    })
}

/// What the threads of one [`in_order`] share.
struct Line<F, W, R> {
    state: Mutex<State<F, R>>,
    /// something can be read, or taken, or nothing will be any more
    changed: Condvar,
    work: W,
    lots_max: usize,
}

struct State<F, R> {
    /// not there while a thread reads
    read: Option<F>,
    /// nothing more is read
    ended: bool,
    /// a thread panicked: some results never come
    broken: bool,
    /// read and not taken, in order
    in_flight: VecDeque<InFlight<R>>,
    in_flight_bytes: usize,
    /// lots taken
    taken: usize,
}

struct InFlight<R> {
    bytes: usize,
    result: Option<R>,
}

impl<F, R> State<F, R> {
    const fn of(read: F) -> Self {
        Self {
            read: Some(read),
            ended: false,
            broken: false,
            in_flight: VecDeque::new(),
            in_flight_bytes: 0,
            taken: 0,
        }
    }

    /// The result that is next in order, if it is there.
    fn next_result(&mut self) -> Option<R> {
        let result = self.in_flight.front_mut()?.result.take()?;
        let InFlight { bytes, .. } = self.in_flight.pop_front()?;
        self.in_flight_bytes -= bytes;
        self.taken += 1;
        Some(result)
    }

    /// The right to read the next lot, if nobody has it and there is room.
    fn reader(&mut self, lots_max: usize) -> Option<F> {
        let room = self.in_flight.len() < lots_max && self.in_flight_bytes < IN_FLIGHT_BYTES_MAX;
        self.read.take_if(|_| room && !self.ended)
    }
}

impl<F, W, R> Line<F, W, R> {
    fn lock(&self) -> MutexGuard<'_, State<F, R>> {
        self.state.lock().expect("nothing under the lock panics")
    }

    /// The caller's part: takes, and helps while there is nothing to take.
    fn lead<S, T, E>(
        &self,
        scratch: &mut S,
        mut take: impl FnMut(R) -> Result<(), E>,
    ) -> Result<(), E>
    where
        F: FnMut() -> Option<Lot<T>>,
        W: Fn(&mut S, usize, T) -> R,
    {
        let _leaving = Leaving(self);
        let mut state = self.lock();
        loop {
            if let Some(result) = state.next_result() {
                drop(state);
                self.changed.notify_all();
                take(result)?;
                state = self.lock();
            } else if state.broken || (state.ended && state.in_flight.is_empty()) {
                return Ok(());
            } else {
                state = self.step(state, scratch);
            }
        }
    }

    /// The other threads' part.
    fn help<S, T>(&self, scratch: &mut S)
    where
        F: FnMut() -> Option<Lot<T>>,
        W: Fn(&mut S, usize, T) -> R,
    {
        let _leaving = Leaving(self);
        let mut state = self.lock();
        while !state.ended {
            state = self.step(state, scratch);
        }
    }

    /// Reads a lot and works on it, or waits where none can be read.
    fn step<'a, S, T>(
        &'a self,
        mut state: MutexGuard<'a, State<F, R>>,
        scratch: &mut S,
    ) -> MutexGuard<'a, State<F, R>>
    where
        F: FnMut() -> Option<Lot<T>>,
        W: Fn(&mut S, usize, T) -> R,
    {
        let Some(mut read) = state.reader(self.lots_max) else {
            return self.changed.wait(state).expect("nothing under the lock panics");
        };
        drop(state);
        let lot = read();
        let mut state = self.lock();
        let Some(Lot { items, bytes }) = lot else {
            state.ended = true;
            self.changed.notify_all();
            return state;
        };
        let number = state.taken + state.in_flight.len();
        state.in_flight.push_back(InFlight { bytes, result: None });
        state.in_flight_bytes += bytes;
        state.read = Some(read);
        drop(state);
        self.changed.notify_all();
        let result = (self.work)(scratch, number, items);
        let mut state = self.lock();
        let place = number - state.taken; // it is not taken before it is there
        state.in_flight[place].result = Some(result);
        self.changed.notify_all();
        state
    }
}

/// A thread's end, in whatever way it comes: a helper goes when all is read, the leader when all is taken or something is wrong.
struct Leaving<'a, F, W, R>(&'a Line<F, W, R>);

impl<F, W, R> Drop for Leaving<'_, F, W, R> {
    fn drop(&mut self) {
        let mut state = self.0.lock();
        state.ended = true;
        state.broken |= std::thread::panicking();
        drop(state);
        self.0.changed.notify_all();
    }
}

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
    use std::collections::BTreeSet;

    /// Squares of `0..count`, one a lot, until one is `wrong`; what was taken, and the error.
    fn squares(threads: usize, count: u64, wrong: Option<u64>) -> (Vec<u64>, Result<(), u64>) {
        let (mut numbers, mut taken) = (0..count, Vec::new());
        let mut scratches = vec![0u64; threads];
        let done = in_order(
            &mut scratches,
            || numbers.next().map(|items| Lot { items, bytes: LOT_BYTES }),
            |worked, lot, number| {
                *worked += 1;
                assert_eq!(lot as u64, number);
                // the later ones overtake
                std::thread::sleep(std::time::Duration::from_micros(if number % 3 == 0 {
                    50
                } else {
                    0
                }));
                if wrong.is_some_and(|wrong| number >= wrong) {
                    Err(number)
                } else {
                    Ok(number * number)
                }
            },
            |result| result.map(|square| taken.push(square)),
        );
        if wrong.is_none() {
            assert_eq!(scratches.iter().sum::<u64>(), count);
        }
        (taken, done)
    }

    #[test]
    fn lots_are_taken_in_order_whatever_the_threads() {
        let expected: Vec<u64> = (0..500).map(|number| number * number).collect();
        for threads in 1..5 {
            assert_eq!(squares(threads, 500, None), (expected.clone(), Ok(())), "{threads}");
            assert_eq!(squares(threads, 0, None), (vec![], Ok(())), "{threads}");
        }
    }

    #[test]
    fn the_first_error_in_order_comes_out_whatever_the_threads() {
        for threads in 1..5 {
            for wrong in [0, 1, 17, 499] {
                let (taken, done) = squares(threads, 500, Some(wrong));
                assert_eq!((taken.len() as u64, done), (wrong, Err(wrong)), "{threads}");
            }
        }
    }

    #[test]
    fn no_more_is_in_flight_than_there_is_room_for() {
        for (bytes, most) in
            [(1, 3 * LOTS_PER_THREAD), (IN_FLIGHT_BYTES_MAX / 2, 2), (usize::MAX / 1000, 1)]
        {
            let (read, mut taken) = (AtomicUsize::new(0), 0);
            let done: Result<(), ()> = in_order(
                &mut [(), (), ()],
                || {
                    let number = read.fetch_add(1, Ordering::SeqCst);
                    (number < 200).then_some(Lot { items: number, bytes })
                },
                |(), _, number| number,
                |number| {
                    // this one no longer counts
                    let in_flight = read.load(Ordering::SeqCst).min(200) - number - 1;
                    assert!(in_flight <= most, "{in_flight} of {bytes} bytes");
                    taken += 1;
                    Ok(())
                },
            );
            assert_eq!((done, taken), (Ok(()), 200));
        }
    }

    #[test]
    fn a_panic_comes_out_and_ends_the_others() {
        for threads in 1..4 {
            for (reading, working, taking) in [(9, 99, 99), (99, 9, 99), (99, 99, 9)] {
                let mut numbers = 0..20;
                let panic = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
                    let or_panic =
                        |number, at| if number == at { panic!("{number} of {at}") } else { number };
                    in_order(
                        &mut vec![(); threads],
                        || {
                            numbers
                                .next()
                                .map(|number| Lot { items: or_panic(number, reading), bytes: 1 })
                        },
                        |(), _, number| or_panic(number, working),
                        |number| {
                            or_panic(number, taking);
                            Ok::<_, ()>(())
                        },
                    )
                }));
                let message = panic.expect_err("a panic");
                assert_eq!(message.downcast_ref::<String>().map(|text| &text[..]), Some("9 of 9"));
            }
        }
    }

    #[test]
    fn items_of_a_map_are_each_worked_on_once() {
        let items: Vec<u64> = (0..1000).collect();
        for threads in 1..4 {
            let mut scratches = vec![BTreeSet::new(); threads];
            let squares = map(&mut scratches, &items, |seen, item| {
                assert!(seen.insert(*item));
                item * item
            });
            assert!(squares.iter().zip(&items).all(|(square, item)| *square == item * item));
            assert_eq!(scratches.iter().map(BTreeSet::len).sum::<usize>(), 1000);
        }
    }
}
