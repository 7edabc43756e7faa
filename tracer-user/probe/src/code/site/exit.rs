//! The exits: sites of which each returning call passes exactly one, after which it can only return.

use tracer_abi::Register;

use super::{
    ExitKind, ExitPreference, ExitSite, NoExit, Request, ResultLocation, ResultUse,
    end::{Carried, End},
};
use crate::code::{
    Image,
    flow::{Body, Decoded, Step, TailTarget},
    instruction::{Emulated, SiteClass},
    read::ReadAt,
};

/// Whether a function ends here in one that frees memory: what C++ makes of most destructors. Such a
/// function returns nothing, and freeing is the last that it does, so that the jump is as good as its
/// return.
pub(super) fn is_deallocation(step: &Step) -> bool {
    let Step::TailJump(TailTarget::Import(symbol)) = step else {
        return false;
    };
    symbol == "free" || symbol.starts_with("_ZdlPv") || symbol.starts_with("_ZdaPv")
}

/// The exit at such a jump.
pub(super) fn deallocation<R: ReadAt>(
    image: &Image<R>,
    decoded: &Decoded,
    request: &Request,
    is_entry: bool,
) -> Result<ExitSite, NoExit> {
    let vaddr = decoded.instruction.ip();
    if is_entry {
        return Err(NoExit::SharesEntry { at: vaddr });
    }
    let class = decoded.class.map_err(|refused| NoExit::Refused {
        at: vaddr,
        refused: refused.to_string(),
    })?;
    if !class.is_emulated() && request.exits == ExitPreference::Emulated {
        return Err(NoExit::OnlyStepped { at: vaddr });
    }
    Ok(ExitSite {
        file_offset: image.offset_of("exit site", vaddr)?,
        vaddr,
        class,
        frame_offset: decoded
            .frame_offset
            .ok_or(NoExit::FrameUnknown { at: vaddr })?,
        result: match request.result {
            ResultUse::Required => ResultLocation::Register {
                register: Register::Rax,
                width: 8,
            },
            ResultUse::Unused => ResultLocation::Unused,
        },
        kind: ExitKind::Deallocation,
    })
}

/// Chooses the exits in a body. Tail jumps are not exits: the call goes on in another function.
pub(super) fn choose<R: ReadAt>(
    image: &Image<R>,
    body: &Body,
    request: &Request,
    entry: Option<usize>,
) -> Result<Vec<ExitSite>, NoExit> {
    let end = End::of(body);
    let leaves = body.instructions.iter().any(|decoded| {
        matches!(
            decoded.step,
            Step::Return | Step::TailJump(_) | Step::ConditionalTailJump(_)
        )
    });
    if !leaves {
        return Err(NoExit::NeverReturns);
    }
    let mut usable = vec![false; body.instructions.len()];
    // A jump that is not understood may lead anywhere but past a return.
    if !body
        .instructions
        .iter()
        .any(|decoded| decoded.step == Step::Unresolved)
    {
        for &index in &end.order {
            let decoded = &body.instructions[index];
            let emulated = matches!(
                decoded.class,
                Ok(SiteClass::Emulated(
                    Emulated::Nop | Emulated::Push | Emulated::Jump | Emulated::ConditionalJump
                ))
            );
            let known = request.result == ResultUse::Unused
                || matches!(end.results[index], Carried::In { .. });
            usable[index] =
                emulated && known && Some(index) != entry && decoded.frame_offset.is_some();
        }
    }
    let chosen = end.cut(body, usable);

    let mut sites = Vec::with_capacity(chosen.len());
    for index in chosen {
        let decoded = &body.instructions[index];
        let vaddr = decoded.instruction.ip();
        let returns = decoded.step == Step::Return;
        if Some(index) == entry {
            return Err(NoExit::SharesEntry { at: vaddr });
        }
        if returns && request.exits == ExitPreference::Emulated {
            return Err(NoExit::OnlyStepped { at: vaddr });
        }
        let class = decoded.class.map_err(|refused| NoExit::Refused {
            at: vaddr,
            refused: refused.to_string(),
        })?;
        let result = match (request.result, end.results[index]) {
            (ResultUse::Required, Carried::In { register, width }) => {
                ResultLocation::Register { register, width }
            }
            (ResultUse::Unused, _) | (ResultUse::Required, Carried::Any | Carried::Lost) => {
                ResultLocation::Unused
            }
        };
        sites.push(ExitSite {
            file_offset: image.offset_of("exit site", vaddr)?,
            vaddr,
            class,
            frame_offset: decoded
                .frame_offset
                .ok_or(NoExit::FrameUnknown { at: vaddr })?,
            result,
            kind: match (returns, body.parts[decoded.part].cold) {
                (false, _) => ExitKind::EmulatedBeforeReturn,
                (true, false) => ExitKind::Return,
                (true, true) => ExitKind::ColdReturn,
            },
        });
    }
    sites.sort_by_key(|site| site.vaddr);
    Ok(sites)
}
