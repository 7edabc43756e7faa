//! The spool's segments: whatever lies on the disk, opening ends, and what is given out has the form of
//! records in the order of their sessions.
#![cfg_attr(fuzzing, no_main)]

use std::{
    cell::RefCell,
    collections::BTreeMap,
    io::{self, ErrorKind},
    rc::Rc,
};

use tracer_agent::spool::{Append, Limits, Next, Spool, Storage};
use tracer_wire::{Gap, Position, Record, SigningKey};

#[cfg(fuzzing)]
libfuzzer_sys::fuzz_target!(|bytes: &[u8]| run(bytes));

#[cfg(not(fuzzing))]
fn main() {
    run(&[]);
}

fn run(bytes: &[u8]) {
    let memory = Memory::default();
    let name = "telemetry-0000000000000000.segment".to_owned();
    memory.0.borrow_mut().insert(name, bytes.to_vec());
    let limits = Limits {
        total: 1 << 20,
        segment: 1 << 10,
    };
    let (mut spool, found) = Spool::open(memory, limits).expect("memory does not fail");
    assert!(found.damaged_bytes <= bytes.len() as u64);
    let key = SigningKey::from_seed(&[1; 32]).expect("it is a seed");
    let sign = |gap: Gap| Record::gap(gap, &key);
    for session in spool.sessions().collect::<Vec<_>>() {
        let mut position = Position::START;
        while let Some(next) = spool
            .next(session, &position)
            .expect("memory does not fail")
        {
            let record = match next {
                Next::Record(record) => *record,
                Next::Missing(gap) => sign(gap),
            };
            let claims = record.claims();
            assert_eq!(claims.session, session);
            assert!(claims.first() <= position.next && position.next <= claims.sequence);
            if claims.sequence.next() == claims.sequence {
                break;
            }
            position = Position {
                next: claims.sequence.next(),
                link: record.link(),
                epoch: Some(claims.epoch),
                closed: false,
            };
        }
        spool.acknowledge(session, position.next);
    }
}

/// A disk that never fails.
#[derive(Clone, Default)]
struct Memory(Rc<RefCell<BTreeMap<String, Vec<u8>>>>);

/// A file of it.
struct File(Memory, String);

impl Storage for Memory {
    type File = File;

    fn list(&self) -> io::Result<Vec<String>> {
        Ok(self.0.borrow().keys().cloned().collect())
    }

    fn create(&self, name: &str) -> io::Result<File> {
        let file = (name.to_owned(), Vec::new());
        self.0.borrow_mut().extend([file]);
        Ok(File(self.clone(), name.to_owned()))
    }

    fn read(&self, name: &str, limit: u64) -> io::Result<Vec<u8>> {
        let files = self.0.borrow();
        let bytes = files.get(name).ok_or(ErrorKind::NotFound)?;
        let limit = usize::try_from(limit).unwrap_or(usize::MAX);
        Ok(bytes.iter().take(limit).copied().collect())
    }

    fn read_at(&self, name: &str, offset: u64, length: usize) -> io::Result<Vec<u8>> {
        let files = self.0.borrow();
        let bytes = files.get(name).ok_or(ErrorKind::NotFound)?;
        let offset = usize::try_from(offset).unwrap_or(usize::MAX);
        let part = bytes.get(offset..).and_then(|rest| rest.get(..length));
        Ok(part.ok_or(ErrorKind::UnexpectedEof)?.to_vec())
    }

    fn sync(&self, _: &str) -> io::Result<()> {
        Ok(())
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        self.0.borrow_mut().remove(name);
        Ok(())
    }

    fn sync_folder(&self) -> io::Result<()> {
        Ok(())
    }
}

impl Append for File {
    fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        let mut files = self.0.0.borrow_mut();
        let file = files.get_mut(&self.1).ok_or(ErrorKind::NotFound)?;
        file.extend_from_slice(bytes);
        Ok(())
    }

    fn sync(&mut self) -> io::Result<()> {
        Ok(())
    }

    fn cut(&mut self, length: u64) -> io::Result<()> {
        let mut files = self.0.0.borrow_mut();
        let file = files.get_mut(&self.1).ok_or(ErrorKind::NotFound)?;
        file.truncate(usize::try_from(length).unwrap_or(usize::MAX));
        Ok(())
    }
}
