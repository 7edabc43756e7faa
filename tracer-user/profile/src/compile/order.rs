//! Brings values into an order in which each follows what it uses.

use super::Compiler;
use crate::{
    error::ProfileError,
    expression::{Capture, Origin, unknown},
};

#[derive(Clone, Copy)]
enum Mark {
    New,
    Open,
    Done,
}

impl Compiler<'_> {
    /// The items in an order in which each follows what it uses.
    pub(super) fn order(&self) -> Result<Vec<usize>, ProfileError> {
        for (index, item) in self.items.iter().enumerate() {
            self.check_shape(item)?;
            let earlier = &self.items[..index];
            if earlier
                .iter()
                .any(|other| other.name.value == item.name.value)
            {
                let problem = format!("`{}` is defined twice", item.name.value);
                return Err(self.source.wrong(item.name.at, problem));
            }
        }
        let mut order = Vec::with_capacity(self.items.len());
        let mut marks = vec![Mark::New; self.items.len()];
        // What conditions test comes first: a dropped call should cost no more than that.
        for condition in self.conditions {
            let index = self.find(&condition.value.name, condition.at)?;
            self.visit(index, &mut marks, &mut order)?;
        }
        for index in 0..self.items.len() {
            self.visit(index, &mut marks, &mut order)?;
        }
        Ok(order)
    }

    fn visit(
        &self,
        index: usize,
        marks: &mut [Mark],
        order: &mut Vec<usize>,
    ) -> Result<(), ProfileError> {
        match marks[index] {
            Mark::Done => return Ok(()),
            Mark::Open => {
                let name = &self.items[index].name;
                let problem = format!("`{}` is defined by itself", name.value);
                return Err(self.source.wrong(name.at, problem));
            }
            Mark::New => marks[index] = Mark::Open,
        }
        for used in self.uses(index)? {
            self.visit(used, marks, order)?;
        }
        marks[index] = Mark::Done;
        order.push(index);
        Ok(())
    }

    /// The items that an item's expression names.
    pub(super) fn uses(&self, index: usize) -> Result<Vec<usize>, ProfileError> {
        let capture = &self.items[index].capture;
        let origin = match &capture.value.address().origin {
            Origin::Named(name) => Some(name),
            Origin::Register(_) | Origin::Frame | Origin::Return | Origin::Constant(_) => None,
        };
        let index = match &capture.value {
            Capture::Element { index, .. } => Some(index),
            Capture::Number(..)
            | Capture::Part { .. }
            | Capture::Membership(..)
            | Capture::Length { .. }
            | Capture::Numbers(..)
            | Capture::Gather(..)
            | Capture::Bytes(_)
            | Capture::CString { .. }
            | Capture::Texts(..) => None,
        };
        let names = origin.into_iter().chain(capture.value.count()).chain(index);
        names.map(|name| self.find(name, capture.at)).collect()
    }

    /// The item of a name, which must be a single number.
    pub(super) fn find(&self, name: &str, at: usize) -> Result<usize, ProfileError> {
        let names = self.items.iter().map(|item| item.name.value.as_str());
        let found = self.items.iter().position(|item| item.name.value == name);
        let index = found.ok_or_else(|| {
            let problem = unknown("field or local", name, names);
            self.source.wrong(at, problem)
        })?;
        if self.items[index].capture.value.is_chunk() {
            let problem = format!("`{name}` is not a single number");
            return Err(self.source.wrong(at, problem));
        }
        if matches!(self.items[index].capture.value, Capture::Part { .. }) {
            let problem = format!("`{name}` is a part of a word: nothing else can be read by it");
            return Err(self.source.wrong(at, problem));
        }
        Ok(index)
    }
}
