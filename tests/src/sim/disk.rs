//! A device's disk: files that are written in the steps in which the real ledger writes them, and what is left of a
//! write that a crash interrupts.
//!
//! The ledger writes each part under another name, synchronises it, renames it, and synchronises the folder. So a
//! part is old or new after a crash and never half; but any of the parts of one write may be old or new, as long as
//! none is new whose predecessor in the write is old: a write that returned is on disk.

use std::collections::BTreeMap;

/// Files by name.
#[derive(Debug, Default, Clone)]
pub(super) struct Disk {
    files: BTreeMap<&'static str, Vec<u8>>,
    pending: Vec<(&'static str, Vec<u8>)>,
}

impl Disk {
    /// A write begins: its files, in their order.
    pub(super) fn begin(&mut self, files: Vec<(&'static str, Vec<u8>)>) {
        self.pending = files;
    }

    /// It is done, and on disk.
    pub(super) fn finish(&mut self) {
        self.files.extend(std::mem::take(&mut self.pending));
    }

    /// A crash comes before it is done: some of its files are there.
    pub(super) fn crash(&mut self, rng: &mut fastrand::Rng) {
        let pending = std::mem::take(&mut self.pending);
        let there = rng.usize(..=pending.len());
        self.files.extend(pending.into_iter().take(there));
    }

    pub(super) fn read(&self, name: &str) -> Option<&[u8]> {
        self.files.get(name).map(Vec::as_slice)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_crash_leaves_a_beginning_of_the_write() {
        for seed in 0..20 {
            let mut disk = Disk::default();
            disk.begin(vec![("a", vec![1]), ("b", vec![1])]);
            disk.finish();
            disk.begin(vec![("a", vec![2]), ("b", vec![2])]);
            disk.crash(&mut fastrand::Rng::with_seed(seed));
            let read = [disk.read("a"), disk.read("b")].map(|file| file.unwrap()[0]);
            assert!([[1, 1], [2, 1], [2, 2]].contains(&read), "{read:?}");
        }
    }
}
