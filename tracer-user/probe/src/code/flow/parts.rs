//! Finding the parts of a function: a jump out of it leads into its cold part or leaves it.

use iced_x86::{Decoder, DecoderOptions, FlowControl};

use super::{Body, Part, table};
use crate::code::{
    Image, ImageError,
    read::ReadAt,
    site::NoExit,
    unwind::{FrameRule, FunctionFrame},
};

/// What a jump out of the known parts leads to.
enum Beyond {
    /// Another function.
    Function,
    /// Another part of this one.
    Part(FunctionFrame),
    /// Neither, for certain.
    Unclear(NoExit),
}

impl Body {
    /// Adds every part that a jump or a jump table leads to, until there are no more.
    pub(super) fn gather_parts<R: ReadAt>(&mut self, image: &Image<R>) -> Result<(), ImageError> {
        let mut seen = 0;
        while seen < self.parts.len() && self.whole.is_ok() {
            for index in self.indices_of(seen) {
                for target in self.outward(image, index)? {
                    if self.whole.is_err() || self.contains(target) {
                        continue;
                    }
                    match self.beyond(image, index, target)? {
                        Beyond::Function => {}
                        Beyond::Part(frame) => {
                            let range = frame.range.clone();
                            let part = Part {
                                range,
                                frame: Some(frame),
                                cold: true,
                            };
                            self.add_part(image, part)?;
                            // The indices changed: look at this part again from its beginning.
                            return self.gather_parts(image);
                        }
                        Beyond::Unclear(reason) => self.doubt(reason),
                    }
                }
            }
            seen += 1;
        }
        self.check_entrances(image)
    }

    fn indices_of(&self, part: usize) -> Vec<usize> {
        let numbered = self.instructions.iter().enumerate();
        numbered
            .filter(|(_, decoded)| decoded.part == part)
            .map(|(index, _)| index)
            .collect()
    }

    /// Targets of a jump that lie outside of the known parts.
    fn outward<R: ReadAt>(&self, image: &Image<R>, index: usize) -> Result<Vec<u64>, ImageError> {
        let instruction = &self.instructions[index].instruction;
        match instruction.flow_control() {
            FlowControl::UnconditionalBranch | FlowControl::ConditionalBranch => {
                let target = instruction.near_branch_target();
                Ok(if self.contains(target) {
                    Vec::new()
                } else {
                    vec![target]
                })
            }
            FlowControl::IndirectBranch => match table::before(&self.instructions, index) {
                Some(table) => table.outward(image, self),
                None => Ok(Vec::new()),
            },
            FlowControl::Next
            | FlowControl::Return
            | FlowControl::Call
            | FlowControl::IndirectCall
            | FlowControl::Interrupt
            | FlowControl::XbeginXabortXend
            | FlowControl::Exception => Ok(Vec::new()),
        }
    }

    fn beyond<R: ReadAt>(
        &self,
        image: &Image<R>,
        index: usize,
        target: u64,
    ) -> Result<Beyond, ImageError> {
        let at = self.instructions[index].instruction.ip();
        let here = self.rule(index);
        let leaves = here == Some(FrameRule::Rsp(8));
        if leaves && image.stub_symbol(target)?.is_some() {
            return Ok(Beyond::Function);
        }
        let frame = match image.frame_at(target) {
            Ok(Some(frame)) => frame,
            Ok(None) if leaves => return Ok(Beyond::Function),
            Ok(None) => return Ok(Beyond::Unclear(NoExit::UnwindMismatch { at })),
            Err(cause) => return Ok(Beyond::Unclear(NoExit::Unwind { cause })),
        };
        let names = image.names_at(frame.range.start)?;
        let named_cold = names.iter().any(|name| is_cold(name));
        let part = if frame.range.start != target || !leaves {
            // Code of another function, entered elsewhere than at its beginning, belongs to both.
            if !names.is_empty() && !named_cold {
                return Ok(Beyond::Unclear(NoExit::SharedCode { at, target }));
            }
            true
        } else {
            named_cold || (names.is_empty() && self.returns_into(image, &frame)?)
        };
        if !part {
            return Ok(Beyond::Function);
        }
        if frame.rule(target) != here {
            return Ok(Beyond::Unclear(NoExit::UnwindMismatch { at: target }));
        }
        Ok(Beyond::Part(frame))
    }

    /// Whether code jumps into this function elsewhere than to its beginning, as its cold part does.
    fn returns_into<R: ReadAt>(
        &self,
        image: &Image<R>,
        frame: &FunctionFrame,
    ) -> Result<bool, ImageError> {
        let length = (frame.range.end - frame.range.start).min(super::UNSIZED);
        let offset = image.offset_of("cold part", frame.range.start)?;
        let code = image
            .bytes
            .vec("cold part", offset, length, super::UNSIZED)?;
        let start = self.parts[0].range.start;
        let jumps_back = Decoder::with_ip(64, &code, frame.range.start, DecoderOptions::NONE)
            .iter()
            .filter(|instruction| {
                instruction.is_jcc_short_or_near() || instruction.is_jmp_short_or_near()
            })
            .map(|instruction| instruction.near_branch_target())
            .any(|target| target != start && self.contains(target));
        Ok(jumps_back)
    }

    /// A function with a second entrance has calls that its entry does not see.
    fn check_entrances<R: ReadAt>(&mut self, image: &Image<R>) -> Result<(), ImageError> {
        for part in &self.parts {
            let inside = part.range.start.saturating_add(1)..part.range.end;
            if let Some(&(at, _)) = image.symbol_index()?.within(&inside).first() {
                self.doubt(NoExit::EnteredInside { at });
                break;
            }
        }
        Ok(())
    }
}

/// GCC and clang name a part that they split off `f.cold`, `f.cold.1` or `f.part.0.cold`.
fn is_cold(name: &str) -> bool {
    name.ends_with(".cold") || name.contains(".cold.")
}
