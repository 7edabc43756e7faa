//! Gives counts that stand inside an expression a name of their own, so that behind this point each
//! count is another value.

use super::{Emission, Item, Moment, Role};
use crate::{
    document::Placed,
    expression::{Address, Capture, Count, Extent, Origin, Type},
};

/// The items, and behind them one for each count that was a number or a place.
pub(super) fn named(items: &[Item], emission: Emission) -> Vec<Item> {
    let mut all = items.to_vec();
    let mut inner = Vec::new();
    for item in &mut all {
        let is_late = is_late(item, emission);
        let Some(elements) = item.capture.value.elements_mut() else {
            continue;
        };
        let capture = match &elements.extent {
            Extent::Count(Count::Constant(number)) => {
                // So many are all that there can be: nothing more is set aside for them.
                let all = u32::try_from(*number).unwrap_or(u32::MAX);
                elements.limit = elements.limit.or(Some(all));
                Capture::Number(Type::SIZE, Address::at(Origin::Constant(*number)))
            }
            Extent::Count(Count::Read(kind, address)) => Capture::Number(*kind, address.clone()),
            Extent::Count(Count::Named(_)) | Extent::Front(_) => continue,
        };
        // No name in a profile has a space.
        let name = format!("count of {}", item.name.value);
        elements.extent = Extent::Count(Count::Named(name.clone()));
        // An argument is kept from the entry; what lies in memory is read with what it counts.
        let moment = (is_late && !is_argument(capture.address())).then_some(Moment::Exit);
        inner.push(Item {
            name: Placed {
                value: name,
                at: item.name.at,
            },
            role: Role::Inner,
            capture: Placed {
                value: capture,
                at: item.capture.at,
            },
            written: item.written.clone(),
            level: None,
            moment,
            words: None,
        });
    }
    all.extend(inner);
    all
}

/// Whether the item is read at the exit, as far as it says so itself.
fn is_late(item: &Item, emission: Emission) -> bool {
    item.moment == Some(Moment::Exit)
        || !emission.entry
        || item.capture.value.address().origin == Origin::Return
}

/// Whether the address is a value that the caller passed, or a constant.
fn is_argument(address: &Address) -> bool {
    match address.origin {
        Origin::Constant(_) => true,
        Origin::Register(_) => address.through.is_empty(),
        Origin::Frame => address.through.len() == 1,
        Origin::Return | Origin::Named(_) => false,
    }
}
