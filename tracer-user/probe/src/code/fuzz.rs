//! What fuzz targets call: everything that this room does with bytes from outside, and what must hold
//! of its answers whatever the bytes are.

use super::{
    Fingerprint, Image, Planner, ReadAt, Request, SymbolTable,
    site::{Argument, ExitPreference, ResultUse, SitePlan},
};

/// Functions planned of one input; enough to reach every path, few enough to stay fast.
const FUNCTIONS: usize = 16;

/// Reads bytes as an image: headers, symbols, unwind table, and the sites of a few functions.
///
/// # Panics
/// When a plan contradicts itself, which is what fuzzing looks for.
pub fn image(bytes: &[u8]) {
    let Ok(mut image) = Image::parse(bytes) else {
        return;
    };
    // Every answer is welcome, an error too; only how it is come by is tried here.
    drop((
        image.build_id(),
        image.soname(),
        image.needed(),
        image.debuglink(),
    ));
    drop(image.symbols(&["llama_decode", "main", ""]));
    drop((
        image.functions_referring_to(b"work\0"),
        image.returned_string(0x1000),
    ));
    drop(image.functions_matching("_Z", |name| name.len() > 4, FUNCTIONS));
    tables(&image);
    // Whatever it holds, unpacking it is bounded.
    let _ = image.adopt_embedded_symbols();
    drop(image.symbols(&["llama_decode"]));

    let mut requests = Vec::new();
    for table in [SymbolTable::Dynamic, SymbolTable::Static] {
        let functions = image.functions(table).unwrap_or_default();
        requests.extend(
            functions
                .iter()
                .take(FUNCTIONS)
                .map(|symbol| request(symbol.vaddr, symbol.size)),
        );
    }
    let starts = image.frame_starts().unwrap_or_default();
    requests.extend(
        starts
            .into_iter()
            .take(FUNCTIONS)
            .map(|vaddr| request(vaddr, 0)),
    );
    for plan in Planner::new(&image)
        .plan_all(&requests)
        .into_iter()
        .flatten()
    {
        check(&image, &plan);
    }
}

fn tables<R: ReadAt>(image: &Image<R>) {
    let print = Fingerprint {
        at_least: 1,
        begins: vec![(0, vec![0x55]), (1, Vec::new())],
    };
    let tables = [image.table_like(&print), image.table_returned_by(0x1000, 1)];
    for table in tables.into_iter().flatten().flatten() {
        let function = image.slot(table, 0);
        assert!(
            function.is_ok_and(|function| function.is_some()),
            "a table without its first function"
        );
    }
}

fn request(vaddr: u64, size: u64) -> Request {
    Request {
        vaddr,
        size,
        arguments: vec![
            Argument::Register(tracer_abi::Register::Rdi),
            Argument::Stack {
                offset: 0,
                length: 8,
            },
        ],
        result: ResultUse::Required,
        exits: ExitPreference::AllowStepped,
        shadow_stack: false,
    }
}

fn check<R: ReadAt>(image: &Image<R>, plan: &SitePlan) {
    assert_eq!(
        image.file_offset(plan.entry.vaddr),
        Some(plan.entry.file_offset)
    );
    assert!(
        plan.ranges[0].contains(&plan.entry.vaddr),
        "the entry lies outside of the function"
    );
    for exit in plan.exits.iter().flatten() {
        assert_eq!(image.file_offset(exit.vaddr), Some(exit.file_offset));
        assert_ne!(
            exit.vaddr, plan.entry.vaddr,
            "entry and exit share an instruction"
        );
        assert!(
            plan.ranges.iter().any(|range| range.contains(&exit.vaddr)),
            "an exit lies outside of the function"
        );
    }
}
