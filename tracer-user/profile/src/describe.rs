//! What an expression reads, in plain words.

use tracer_abi::{Layout, Register};

use crate::{
    compile::Item,
    expression::{Address, Capture, Count, Elements, Extent, Origin, TextKind, Type},
};

/// What a capture reads. `items` holds the counts that were given names.
pub(crate) fn capture(capture: &Capture, items: &[Item]) -> String {
    match capture {
        Capture::Number(kind, address) => match address.through.is_empty() {
            true => format!("{} {}", number(*kind), value(address)),
            false => format!("{} at {}", number(*kind), place(address)),
        },
        Capture::Part {
            width,
            signed,
            address,
            from,
        } => {
            let (width, signed) = (*width, *signed);
            let part = number(Type::Integer { width, signed });
            let whole = Capture::Number(Type::SIZE, address.clone());
            format!(
                "{part} from bit {from} on of the {}",
                self::capture(&whole, items)
            )
        }
        Capture::Membership(kind, address, set) => {
            let of = match address.through.is_empty() {
                true => value(address),
                false => format!("at {}", place(address)),
            };
            format!("whether the {} {of} is in the set {set}", number(*kind))
        }
        Capture::Element {
            address,
            index,
            size,
        } => {
            let base = match address.through.is_empty() {
                true => value(address),
                false => format!("at {}", place(address)),
            };
            format!("the address {base}, and `{index}` times {size} bytes further")
        }
        Capture::Length {
            address,
            layout,
            size,
        } => match layout {
            Layout::BeginEnd => {
                let place = behind(address);
                format!("how many elements of {size} bytes the std::vector at {place} has")
            }
            Layout::Plain
            | Layout::PointerLength
            | Layout::LengthPointer
            | Layout::LibcxxString
            | Layout::CapacityPointerLength => {
                format!(
                    "the length of the {} at {}",
                    front(*layout),
                    behind(address)
                )
            }
        },
        Capture::Numbers(kind, elements) => several(&numbers(*kind), elements, items),
        Capture::Gather(kind, elements) => {
            let what = format!("{} behind pointers", numbers(*kind));
            several(&what, elements, items)
        }
        Capture::Bytes(elements) => several("bytes", elements, items),
        Capture::CString { address, .. } => {
            format!("the NUL-terminated text at {}", behind(address))
        }
        Capture::Texts(kind, elements) => several(texts(*kind), elements, items),
    }
}

fn several(what: &str, elements: &Elements, items: &[Item]) -> String {
    let Elements {
        address,
        extent,
        stride,
        limit: _,
    } = elements;
    let apart = match stride {
        Some(stride) => format!(", {stride} bytes apart"),
        None => String::new(),
    };
    match extent {
        Extent::Front(layout) => {
            let place = behind(address);
            format!("the {what} of the {} at {place}{apart}", front(*layout))
        }
        Extent::Count(counted) => {
            let number = match counted {
                Count::Named(name) => {
                    let inner = items.iter().find(|item| item.name.value == *name);
                    match inner {
                        Some(item) if name.contains(' ') => count(&item.capture.value, items),
                        Some(_) | None => format!("`{name}`"),
                    }
                }
                Count::Constant(number) => number.to_string(),
                Count::Read(kind, address) => {
                    count(&Capture::Number(*kind, address.clone()), items)
                }
            };
            format!("{what} at {}, as many as {number}{apart}", behind(address))
        }
    }
}

fn count(counted: &Capture, items: &[Item]) -> String {
    match counted {
        Capture::Number(_, address) => match address.origin {
            Origin::Constant(number) => number.to_string(),
            Origin::Register(_) | Origin::Frame | Origin::Return | Origin::Named(_) => {
                format!("the {}", capture(counted, items))
            }
        },
        other => capture(other, items),
    }
}

fn number(kind: Type) -> String {
    match kind {
        Type::Integer {
            width,
            signed: true,
        } => format!("{width}-byte signed integer"),
        Type::Integer {
            width,
            signed: false,
        } => format!("{width}-byte unsigned integer"),
        Type::Float { width } => format!("{width}-byte float"),
        Type::Address => "address".to_owned(),
    }
}

fn numbers(kind: Type) -> String {
    match kind {
        Type::Address => "addresses".to_owned(),
        Type::Integer { .. } | Type::Float { .. } => format!("{}s", number(kind)),
    }
}

const fn front(layout: Layout) -> &'static str {
    match layout {
        Layout::Plain => "array",
        Layout::PointerLength => "std::string or slice (pointer, length)",
        Layout::LengthPointer => "std::string_view (length, pointer)",
        Layout::BeginEnd => "std::vector",
        Layout::LibcxxString => "libc++ std::string",
        Layout::CapacityPointerLength => "Rust Vec or String",
    }
}

const fn texts(kind: TextKind) -> &'static str {
    match kind {
        TextKind::C => "NUL-terminated texts behind pointers",
        TextKind::Cxx => "std::strings",
        TextKind::Libcxx => "libc++ std::strings",
        TextKind::View => "std::string_views",
        TextKind::Str => "Rust &strs",
        TextKind::RustString => "Rust Strings",
    }
}

/// A value that is there without reading memory.
fn value(address: &Address) -> String {
    match &address.origin {
        Origin::Register(register) => format!("in {}", argument(*register)),
        Origin::Frame => "frame address".to_owned(),
        Origin::Return => "returned".to_owned(),
        Origin::Named(name) => format!("in `{name}`"),
        Origin::Constant(number) => format!("{number}"),
    }
}

/// A place in memory that is read.
fn place(address: &Address) -> String {
    let mut steps = address.through.iter();
    let mut text = start(&address.origin, steps.next().copied());
    for step in steps {
        text.push_str(&match step {
            0 => ", behind the pointer there".to_owned(),
            _ => format!(", {} behind the pointer there", signed(*step)),
        });
    }
    text
}

/// A place in memory where something begins.
fn behind(address: &Address) -> String {
    let mut steps = address.through.clone();
    steps.push(address.plus);
    place(&Address {
        origin: address.origin.clone(),
        through: steps,
        plus: 0,
    })
}

fn start(origin: &Origin, step: Option<i32>) -> String {
    let step = step.unwrap_or(0);
    match origin {
        Origin::Frame => {
            let slot = i64::from(step) + 8;
            format!("the stack ([rsp {}] on entry)", signed_wide(slot))
        }
        Origin::Register(register) => plus(&argument(*register), step),
        Origin::Return => plus("the result", step),
        Origin::Named(name) => plus(&format!("`{name}`"), step),
        Origin::Constant(number) => plus(&number.to_string(), step),
    }
}

fn plus(what: &str, step: i32) -> String {
    match step {
        0 => what.to_owned(),
        _ => format!("{what} {}", signed(step)),
    }
}

fn signed(step: i32) -> String {
    signed_wide(step.into())
}

fn signed_wide(step: i64) -> String {
    if step < 0 {
        format!("- {}", -step)
    } else {
        format!("+ {step}")
    }
}

/// A register, with the argument that the System V ABI passes in it.
fn argument(register: Register) -> String {
    let (name, number) = match register {
        Register::Rdi => ("rdi", Some(1)),
        Register::Rsi => ("rsi", Some(2)),
        Register::Rdx => ("rdx", Some(3)),
        Register::Rcx => ("rcx", Some(4)),
        Register::R8 => ("r8", Some(5)),
        Register::R9 => ("r9", Some(6)),
        Register::Rax => ("rax", None),
        Register::Rbx => ("rbx", None),
        Register::Rbp => ("rbp", None),
        Register::Rsp => ("rsp", None),
        Register::R10 => ("r10", None),
        Register::R11 => ("r11", None),
        Register::R12 => ("r12", None),
        Register::R13 => ("r13", None),
        Register::R14 => ("r14", None),
        Register::R15 => ("r15", None),
    };
    match number {
        Some(number) => format!("{name} (argument {number})"),
        None => name.to_owned(),
    }
}
