//! The oracle of the fuzzer: which answers to a request the contract allows (docs/contract.md,
//! "What is refused"), and whether an answer is one of them.

use std::mem::offset_of;

use machine::failure::Failure;
use machine::require;
use nix::errno::Errno;
use vexfs_uapi::{Attach, Hit, Home, How, Report, Search, Stats, Why};

use super::request::{Access, FuzzedRequest, Kind, Target, word};

/// The results that a request may have, whatever other threads do.
#[derive(Debug, PartialEq, Eq)]
pub struct Allowed {
    success: bool,
    errnos: &'static [Errno],
    /// Whether EFAULT is allowed, because not all of the argument is in memory that can be read and
    /// written.
    fault: bool,
}

impl Allowed {
    /// What the contract's table allows, checked in the table's order.
    pub fn of(request: &FuzzedRequest) -> Allowed {
        let kind = Kind::of(request.number);
        let placement = request.placement;
        let refused =
            |errno| Allowed { success: false, errnos: errno, fault: !placement.is_writable() };
        let Target::File(_, access) = request.target else { return refused(&[Errno::ENOTTY]) };
        let lacking = match kind {
            Kind::Unknown => return refused(&[Errno::ENOTTY]),
            Kind::Attach | Kind::Detach => Access::Read,
            Kind::Search | Kind::Stats => Access::Write,
        };
        if access == lacking {
            return refused(&[Errno::EBADF]);
        }
        // A SEARCH that is too small for its header is refused for its number alone.
        let hopeless = kind == Kind::Search && request.bytes.len() < size_of::<Search>();
        if !placement.is_readable() && !hopeless {
            return refused(&[]);
        }
        if hopeless || !request.is_well_formed() {
            return refused(&[Errno::EINVAL]);
        }
        // From here on, the result depends on the file. DETACH writes nothing into its argument.
        let success = placement.is_writable() || kind == Kind::Detach;
        let errnos: &[Errno] = match kind {
            // ATTACH may refuse a row or a parameter of the kind, and the mount limits memory.
            Kind::Attach => &[Errno::EEXIST, Errno::EINVAL, Errno::ENOSPC],
            Kind::Detach | Kind::Stats => &[Errno::ENOENT],
            Kind::Search => &[Errno::ENOENT, Errno::EINVAL],
            Kind::Unknown => &[],
        };
        Allowed { success, errnos, fault: !placement.is_writable() }
    }

    /// Whether `outcome` is one of the allowed results.
    pub fn holds(&self, outcome: Result<(), Errno>) -> bool {
        match outcome {
            Ok(()) => self.success,
            Err(Errno::EFAULT) => self.fault,
            Err(errno) => self.errnos.contains(&errno),
        }
    }
}

/// Beyond components of this size, distances may be infinite and then have no order.
const LARGEST_ORDERLY: f32 = 1e15;

/// The limits that all answers must respect.
#[derive(Debug, Clone, Copy)]
pub struct Bounds {
    /// The home that serves the file.
    pub home: Home,
    /// The largest size in bytes of the fuzzer's files.
    pub file: u64,
    /// The mount's size limit in bytes.
    pub mount: u64,
}

impl Bounds {
    /// The most rows that a file can have.
    fn rows(&self, dim: u32) -> u64 {
        self.file / (u64::from(dim.max(1)) * 4)
    }

    /// Checks that `after` is a valid answer to the successful `request`, and that nothing else in
    /// it has changed.
    pub fn check(&self, request: &FuzzedRequest, after: &[u8]) -> Result<(), Failure> {
        let mut expected = request.bytes.clone();
        let mut takes =
            |from: usize, to: usize| expected[from..to].copy_from_slice(&after[from..to]);
        match Kind::of(request.number) {
            Kind::Attach => {
                let at = offset_of!(Attach, rows);
                takes(at, at + 8);
                let rows = long(after, at / 4);
                require!(
                    rows <= self.rows(request.word(2)),
                    "ATTACH reports {rows} rows, more than a file has"
                );
            }
            Kind::Stats => {
                takes(offset_of!(Stats, home), size_of::<Stats>().min(after.len()));
                self.check_stats(after)?;
            }
            Kind::Search => {
                let at = offset_of!(Search, found);
                takes(at, at + 4);
                let queries = request.word(7).max(1) as usize;
                let hits = queries * word(after, at / 4) as usize * size_of::<Hit>();
                require!(
                    word(after, at / 4) <= request.word(4),
                    "SEARCH reports {} hits for k = {}",
                    word(after, at / 4),
                    request.word(4)
                );
                takes(size_of::<Search>(), size_of::<Search>() + hits);
                self.check_hits(request, after, queries)?;
            }
            Kind::Detach | Kind::Unknown => {}
        }
        require!(expected == after, "bytes outside the answer have changed");
        Ok(())
    }

    fn check_stats(&self, after: &[u8]) -> Result<(), Failure> {
        let at = |offset: usize| offset / 4;
        let dim = word(after, at(offset_of!(Stats, dim)));
        let rows = long(after, at(offset_of!(Stats, rows)));
        let memory = long(after, at(offset_of!(Stats, memory)));
        let home = word(after, at(offset_of!(Stats, home)));
        require!(home == self.home as u32, "STATS reports home {home}, not the one under test");
        require!(
            rows <= self.rows(dim),
            "STATS reports {rows} rows of {dim} components, more than a file has"
        );
        require!(
            memory <= self.mount,
            "STATS reports {memory} bytes of memory on a mount of {}",
            self.mount
        );
        let numbers = [offset_of!(Stats, metric), offset_of!(Stats, kind), offset_of!(Stats, simd)];
        for (offset, last) in numbers.into_iter().zip([3, 5, 3]) {
            let number = word(after, at(offset));
            require!(
                (1..=last).contains(&number),
                "STATS reports the unknown value {number} at byte {offset}"
            );
        }
        let engine = &after[offset_of!(Stats, engine)..offset_of!(Stats, report)];
        let end = engine.iter().position(|&byte| byte == 0).unwrap_or(engine.len());
        require!(
            end > 0 && engine[..end].is_ascii() && engine[end..].iter().all(|&byte| byte == 0),
            "STATS reports the engine name {engine:?}, expected ASCII padded with zeros"
        );
        if after.len() >= size_of::<Stats>() { self.check_report(after) } else { Ok(()) }
    }

    fn check_report(&self, after: &[u8]) -> Result<(), Failure> {
        let of = |offset: usize| word(after, (offset_of!(Stats, report) + offset) / 4);
        let (search, reason) = (of(offset_of!(Report, search)), of(offset_of!(Report, reason)));
        let known = How::try_from(search).is_ok() && Why::try_from(reason).is_ok();
        require!(
            known,
            "STATS reports the kind of search {search} with the reason {reason}, expected known \
             ones"
        );
        let exact = search == How::Exact as u32;
        let effort = of(offset_of!(Report, effort));
        require!(
            exact == (effort == 0),
            "STATS reports effort {effort} for the kind of search {search}"
        );
        let (neighbours, found) =
            (of(offset_of!(Report, measured_neighbours)), of(offset_of!(Report, measured_found)));
        require!(found <= neighbours, "STATS reports {found} found of {neighbours} neighbours");
        Ok(())
    }

    fn check_hits(
        &self,
        request: &FuzzedRequest,
        after: &[u8],
        queries: usize,
    ) -> Result<(), Failure> {
        let found = word(after, offset_of!(Search, found) / 4) as usize;
        let components = queries * request.word(3) as usize;
        let header = size_of::<Search>() / 4;
        let orderly = (header..header + components)
            .all(|n| f32::from_bits(request.word(n)).abs() <= LARGEST_ORDERLY);
        let rows = self.rows(request.word(3));
        for query in 0..queries {
            let mut last: Option<(f32, u64)> = None;
            for rank in 0..found {
                let at = (size_of::<Search>() + (query * found + rank) * size_of::<Hit>()) / 4;
                let (row, distance) = (long(after, at), f32::from_bits(word(after, at + 2)));
                let hit = format!("hit {rank} of query {query} is row {row} at {distance}");
                require!(
                    row < rows && word(after, at + 3) == 0,
                    "{hit}, but a file has at most {rows} rows"
                );
                require!(distance.is_finite() || !orderly, "{hit}, which is not finite");
                if let Some((nearer, lower)) = last.filter(|_| orderly) {
                    let ordered = nearer < distance || nearer == distance && lower < row;
                    require!(ordered, "{hit}, but comes after row {lower} at {nearer}");
                }
                last = Some((distance, row));
            }
        }
        Ok(())
    }
}

/// The 64-bit number at word `n`.
fn long(bytes: &[u8], n: usize) -> u64 {
    u64::from(word(bytes, n)) | u64::from(word(bytes, n + 1)) << 32
}

#[cfg(test)]
mod tests {
    use super::super::memory::Placement;
    use super::*;
    use vexfs_uapi::{IOC_DETACH, IOC_STATS, ioc_search};

    const BOTH: Target = Target::File(0, Access::Both);
    const HERE: Placement = Placement::AfterGuard;

    fn request(number: u32, words: &[u32], target: Target, placement: Placement) -> FuzzedRequest {
        let bytes = words.iter().flat_map(|word| word.to_le_bytes()).collect();
        FuzzedRequest { number, bytes, placement, target }
    }

    #[rstest::rstest]
    #[case::fine(BOTH, HERE, 0, &[Ok(()), Err(Errno::ENOENT)])]
    #[case::slot(BOTH, HERE, 8, &[Err(Errno::EINVAL)])]
    #[case::rights(Target::File(0, Access::Read), HERE, 0, &[Err(Errno::EBADF)])]
    #[case::rights_first(Target::File(0, Access::Read), HERE, 8, &[Err(Errno::EBADF)])]
    #[case::directory(Target::Directory, HERE, 8, &[Err(Errno::ENOTTY)])]
    #[case::memory(BOTH, Placement::CutOff, 8, &[Err(Errno::EFAULT)])]
    #[case::either(Target::Directory, Placement::Null, 0, &[Err(Errno::ENOTTY), Err(Errno::EFAULT)])]
    fn the_table_decides(
        #[case] target: Target,
        #[case] placement: Placement,
        #[case] slot: u32,
        #[case] allowed: &[Result<(), Errno>],
    ) {
        let by_table = Allowed::of(&request(IOC_DETACH, &[1, 0, slot, 0], target, placement));
        let all = [
            Ok(()),
            Err(Errno::ENOTTY),
            Err(Errno::EBADF),
            Err(Errno::EFAULT),
            Err(Errno::EINVAL),
            Err(Errno::ENOENT),
            Err(Errno::EEXIST),
            Err(Errno::ENOSPC),
            Err(Errno::EIO),
        ];
        for outcome in all {
            assert_eq!(by_table.holds(outcome), allowed.contains(&outcome), "{outcome:?}");
        }
    }

    const BOUNDS: Bounds = Bounds { home: Home::Fuse, file: 8192, mount: 1 << 24 };

    /// An answer to one query of one component, with two hits.
    fn search(found: u32, hits: [u32; 8]) -> Result<(), Failure> {
        let header = [1, 0, 0, 1, 2, 0, 0, 1];
        let sent = [header, [9; 8]].concat();
        let asked = request(ioc_search(64), &sent, BOTH, HERE);
        let mut answer = [header, hits].concat();
        answer[5] = found;
        let bytes: Vec<u8> = answer.iter().flat_map(|word| word.to_le_bytes()).collect();
        BOUNDS.check(&asked, &bytes)
    }

    #[test]
    fn hits_must_be_in_order_and_exist() {
        let (one, two) = (1_f32.to_bits(), 2_f32.to_bits());
        assert_eq!(search(2, [5, 0, one, 0, 3, 0, two, 0]), Ok(()));
        assert_eq!(search(1, [5, 0, one, 0, 9, 9, 9, 9]), Ok(()));
        for (found, wrong) in [
            (2, [5, 0, two, 0, 3, 0, one, 0]),
            (2, [5, 0, one, 0, 3, 0, one, 0]),
            (2, [5, 0, one, 0, 2048, 0, two, 0]),
            (2, [5, 0, one, 1, 6, 0, two, 0]),
            (2, [5, 0, one, 0, 6, 0, f32::NAN.to_bits(), 0]),
            (1, [5, 0, one, 0, 9, 9, 9, 8]),
            (3, [5, 0, one, 0, 6, 0, two, 0]),
        ] {
            assert!(search(found, wrong).is_err(), "{found} {wrong:?}");
        }
    }

    #[test]
    fn stats_of_another_home_are_refused() {
        let mut words = [0; 34];
        words[0] = 1;
        let asked = request(IOC_STATS, &words, BOTH, HERE);
        (words[3], words[12], words[13], words[14], words[15]) = (1, 8, 1, 1, 1);
        words[16] = u32::from_le_bytes(*b"anns");
        let answer = |words: &[u32; 34]| -> Vec<u8> {
            words.iter().flat_map(|word| word.to_le_bytes()).collect()
        };
        assert_eq!(BOUNDS.check(&asked, &answer(&words)), Ok(()));
        let mut other = words;
        other[3] = Home::Kernel as u32;
        assert!(BOUNDS.check(&asked, &answer(&other)).is_err());
        words[20] = 1;
        assert!(BOUNDS.check(&asked, &answer(&words)).is_err());
    }
}
