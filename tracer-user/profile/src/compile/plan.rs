//! Decides when each value is read, from which level on, and where it travels.

use std::sync::Arc;

use tracer_abi::{CaptureLevel, MAX_VALUES};

use super::{Compiler, Item, Moment, Plan, Role, level_name};
use crate::{
    error::ProfileError,
    expression::Origin,
    profile::{Field, Place},
};

impl Compiler<'_> {
    /// Decides when each item is read.
    pub(super) fn plan(&mut self, order: &[usize]) -> Result<(), ProfileError> {
        self.plans = vec![
            Plan {
                moment: Moment::Entry,
                level: CaptureLevel::Timing,
                place: None,
            };
            self.items.len()
        ];
        for &index in order {
            let item = &self.items[index];
            let capture = &item.capture.value;
            let needs_exit = capture.address().origin == Origin::Return
                || self
                    .uses(index)?
                    .iter()
                    .any(|used| self.plans[*used].moment == Moment::Exit);
            let earliest = if needs_exit || (capture.is_chunk() && !self.emission.entry) {
                // Slots, not chunks, are kept from entry to exit.
                Moment::Exit
            } else {
                Moment::Entry
            };
            let moment = item.moment.unwrap_or(earliest);
            let name = &item.name.value;
            if moment < earliest {
                let problem = format!("`{name}` is not known before the function returns");
                return Err(self.source.wrong(item.capture.at, problem));
            }
            if moment == Moment::Exit && !self.emission.exit {
                let problem = format!(
                    "`{name}` needs a record at the exit: write emit = \"exit\" or \"both\""
                );
                return Err(self.source.wrong(item.capture.at, problem));
            }
            self.plans[index].moment = moment;
        }
        Ok(())
    }

    /// Decides from which level on each item is read: a field by its role and setting, a local by
    /// the least of those that use it.
    pub(super) fn set_levels(&mut self, order: &[usize]) -> Result<(), ProfileError> {
        for (index, item) in self.items.iter().enumerate() {
            let Some(floor) = floor(item) else {
                // Until a user lowers it.
                self.plans[index].level = CaptureLevel::Text;
                continue;
            };
            let level = item.level.unwrap_or(floor);
            if level < floor {
                let (name, floor) = (&item.name.value, level_name(floor));
                let problem = format!("`{name}` must not leave the process below level {floor}");
                return Err(self.source.wrong(item.capture.at, problem));
            }
            self.plans[index].level = level;
        }
        for condition in self.conditions {
            let index = self.find(&condition.value.name, condition.at)?;
            if !self.items[index].role.is_field() {
                self.plans[index].level = CaptureLevel::Timing;
            } else if self.plans[index].level > CaptureLevel::Timing {
                let problem = format!(
                    "`{}` is not read at every level: let the condition use a local",
                    condition.value.name
                );
                return Err(self.source.wrong(condition.at, problem));
            }
        }
        for &index in order.iter().rev() {
            let level = self.plans[index].level;
            for used in self.uses(index)? {
                if !self.items[used].role.is_field() {
                    self.plans[used].level = self.plans[used].level.min(level);
                } else if self.plans[used].level > level {
                    let name = &self.items[used].name.value;
                    let problem = format!(
                        "`{name}` is read only from level {} on, this from {}: use a local",
                        level_name(self.plans[used].level),
                        level_name(level)
                    );
                    return Err(self.source.wrong(self.items[index].capture.at, problem));
                }
            }
        }
        Ok(())
    }

    /// Gives every field its slot or chunk; what a record carries comes first.
    pub(super) fn place(&mut self) -> Result<Vec<Field>, ProfileError> {
        let mut fields = Vec::new();
        let mut chunks = 0_u8;
        for (index, item) in self.items.iter().enumerate() {
            let role = match item.role {
                Role::Known(role) => Some(role),
                Role::Own => None,
                Role::Local | Role::Inner => continue,
            };
            let place = if item.capture.value.is_chunk() {
                chunks += 1;
                Place::Chunk(chunks - 1)
            } else {
                Place::Slot(self.take_slot(item.name.at)?)
            };
            self.plans[index].place = Some(place);
            fields.push(Field {
                role,
                name: item.name.value.as_str().into(),
                words: item.words.as_ref().map(Arc::clone),
                level: self.plans[index].level,
                moment: self.plans[index].moment,
                place,
                kind: item.capture.value.kind(),
            });
        }
        Ok(fields)
    }

    pub(super) fn place_locals(&mut self, at: usize) -> Result<(), ProfileError> {
        for (index, item) in self.items.iter().enumerate() {
            if item.role.is_field() {
                continue;
            }
            if item.capture.value.is_chunk() {
                let problem = format!("local `{}` must be a number", item.name.value);
                return Err(self.source.wrong(item.capture.at, problem));
            }
            self.plans[index].place = Some(Place::Slot(self.take_slot(at)?));
        }
        Ok(())
    }

    pub(super) fn take_slot(&mut self, at: usize) -> Result<u8, ProfileError> {
        if usize::from(self.slots) == MAX_VALUES {
            let problem = format!("the probe needs more than {MAX_VALUES} numbers");
            return Err(self.source.wrong(at, problem));
        }
        self.slots += 1;
        Ok(self.slots - 1)
    }
}

/// The lowest level at which a field may leave the process; `None` for what never does. What only
/// the profile's author knows is taken for content if it could be.
fn floor(item: &Item) -> Option<CaptureLevel> {
    match item.role {
        Role::Known(role) => Some(role.floor()),
        Role::Own => Some(item.capture.value.shape().floor()),
        Role::Local | Role::Inner => None,
    }
}
